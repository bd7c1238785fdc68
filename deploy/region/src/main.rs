//! A whole region on one machine: two stamps of two nodes and a front door, each a process of its own.
//!
//! `options → data → (ports, seeds) → supervise → (azurite, publish) → nodes`. One binary plays every part: it starts itself again
//! for each node, and passes `region dataproxy …` and `region loadtest …` on to those command lines.

mod azurite;
mod charge;
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
            return dataproxy_loadtest::main_with_args(
                [OsString::from("region loadtest")].into_iter().chain(arguments),
            );
        }
        Some(Command::Node { config }) => return node_process::node(config),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("region: {error}");
            error.exit_code()
        }
    }
}
