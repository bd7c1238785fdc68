//! `stampctl simulate`: the planner against a model whose truth is known. It asks no router.

use std::io::{self, Write as _};

use dataproxy_simulate::{SimulateArgs, simulate};

use super::options::Output;
use super::{DONE, FAILED};

/// Simulates, writes the report, and gives the exit code.
pub(super) fn run(args: &SimulateArgs, output: Output) -> u8 {
    let report = match simulate(args) {
        Ok(report) => report,
        Err(error) => {
            eprintln!("stampctl: {error}");
            return FAILED;
        }
    };
    let text = match output {
        Output::Table => Ok(report.to_string()),
        Output::Json => serde_json::to_string_pretty(&report),
    };
    let written = text.map_err(io::Error::from).and_then(|text| writeln!(io::stdout(), "{text}"));
    match written {
        Ok(()) => DONE,
        Err(error) => {
            eprintln!("stampctl: cannot write the output: {error}");
            FAILED
        }
    }
}
