//! `loadtest report`: shows a report that was written before.

use std::fs;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;

use crate::report::{Report, html, text};

/// Shows the JSON report of a run again: as a summary, or as an HTML page.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// The report, as --json of a run wrote it
    #[arg(value_name = "RUN.json")]
    report: PathBuf,
    /// Writes the page to this file, in place of printing the summary
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
}

pub(crate) fn run(options: &Options) -> ExitCode {
    match show(options) {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("loadtest report: {why}");
            ExitCode::from(2)
        }
    }
}

fn show(options: &Options) -> Result<(), String> {
    let report = Report::read(&options.report).map_err(|error| error.to_string())?;
    match &options.html {
        Some(path) => {
            let page = html::render(&report).map_err(|error| error.to_string())?;
            fs::write(path, page).map_err(|error| format!("{}: {error}", path.display()))
        }
        None => {
            // A reader that has seen enough has not made it fail.
            let _ = std::io::stdout().write_all(text::summary(&report).as_bytes());
            Ok(())
        }
    }
}
