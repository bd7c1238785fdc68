//! The command line.

mod report;
mod peers;
mod seed;

use std::ffi::OsString;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Measures pulls against any container registry: latency from the intended start, outcomes, and what it cost the server.
#[derive(Debug, Parser)]
#[command(name = "loadtest", version)]
struct Options {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Report(report::Options),
    Peers(peers::Options),
    Seed(seed::Options),
}

pub(crate) fn run(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let options = match Options::try_parse_from(arguments) {
        Ok(options) => options,
        Err(error) => {
            let code = if error.use_stderr() { 2 } else { 0 };
            // A closed pipe is not worth a word.
            let _ = error.print();
            return ExitCode::from(code);
        }
    };
    match options.command {
        Command::Report(options) => report::run(&options),
        Command::Peers(options) => peers::run(&options),
        Command::Seed(options) => seed::run(&options),
    }
}
