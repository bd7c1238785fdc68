//! A whole region on one machine: a router, two stamps of two nodes and a front door, each a process of its own.
//!
//! `options → data → (ports, seeds) → supervise → (azurite, publish) → router → nodes`. One binary plays every part: it starts itself again
//! for each of them, and passes `region dataproxy …`, `region router …`, `region stampctl …` and `region loadtest …` on to
//! those command lines.

mod azurite;
mod charge;
mod control;
mod data;
mod error;
mod greeting;
mod import_command;
mod node_log;
mod node_process;
mod node_settings;
mod options;
mod ports;
mod publish;
mod readiness;
mod router_settings;
mod run;
mod seed;
mod supervise;
mod topology;

use std::ffi::OsString;
use std::process::ExitCode;

use clap::Parser;

use options::{Command, Options};

fn main() -> ExitCode {
    let options = Options::parse();
    let done = match options.command {
        None => run::run(&options.run),
        Some(Command::Import(import)) => import_command::import(&import),
        Some(Command::Dataproxy { arguments }) => return node_process::dataproxy(arguments),
        Some(Command::Loadtest { arguments }) => {
            return dataproxy_loadtest::main_with_args(named("region loadtest", arguments));
        }
        Some(Command::Router { arguments }) => {
            return dataproxy_router::main_with_args(named("router", arguments));
        }
        Some(Command::Stampctl { arguments }) => {
            return dataproxy_router::stampctl::main_with_args(named("stampctl", arguments));
        }
        Some(Command::Node { config }) => return node_process::node(config),
        Some(Command::Control { config }) => return node_process::router(config),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("region: {error}");
            error.exit_code()
        }
    }
}

/// The arguments of another command line, after the name that it is to call itself.
fn named(name: &str, arguments: Vec<OsString>) -> impl Iterator<Item = OsString> {
    std::iter::once(OsString::from(name)).chain(arguments)
}
