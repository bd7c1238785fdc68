//! The command line.

mod compare;
mod peers;
mod pull;
mod report;
mod running;
mod scenario;
mod seed;

use std::ffi::OsString;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Measures pulls against any container registry: latency from the intended start, outcomes, and what it cost the server.
#[derive(Debug, Parser)]
#[command(name = "loadtest", version, after_help = EXIT_CODES)]
struct Options {
    #[command(subcommand)]
    command: Command,
}

const EXIT_CODES: &str = "\
Exit codes: 0 passed, 1 a limit was broken, something got worse, or the run was interrupted and its report written,
2 wrong input, 3 the target or a program that is needed is not there, 130 interrupted a second time.";

#[derive(Debug, Subcommand)]
enum Command {
    Compare(compare::Options),
    Peers(peers::Options),
    Pull(Box<pull::Options>),
    Report(report::Options),
    #[command(subcommand)]
    Scenario(scenario::Options),
    Seed(seed::Options),
}

pub(crate) fn run(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let arguments: Vec<OsString> = arguments.into_iter().collect();
    let options = match Options::try_parse_from(&arguments) {
        Ok(options) => options,
        Err(error) => {
            let code = if error.use_stderr() { 2 } else { 0 };
            // A closed pipe is not worth a word.
            let _ = error.print();
            return ExitCode::from(code);
        }
    };
    match options.command {
        Command::Compare(options) => compare::run(&options),
        Command::Peers(options) => peers::run(&options),
        Command::Pull(options) => pull::run(&options, &arguments),
        Command::Report(options) => report::run(&options),
        Command::Scenario(options) => scenario::run(&options, &arguments),
        Command::Seed(options) => seed::run(&options),
    }
}
