//! `simulate [--scenario SCENARIO]… [--seeds N] [--out DIR]`: prints the report as Markdown.
//!
//! Exit codes: 0 done, 1 it could not be done or written, 2 wrong command line.

use std::process::ExitCode;

use clap::Parser;
use dataproxy_simulate::{SimulateArgs, simulate};

/// Plays the planner against a model of regions whose truth is known.
#[derive(Debug, Parser)]
#[command(name = "simulate", version)]
struct Options {
    #[command(flatten)]
    simulate: SimulateArgs,
}

fn main() -> ExitCode {
    match simulate(&Options::parse().simulate) {
        Ok(report) => {
            println!("{report}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("simulate: {error}");
            ExitCode::FAILURE
        }
    }
}
