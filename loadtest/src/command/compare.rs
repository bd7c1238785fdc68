//! `loadtest compare`: whether one run, or several, did better or worse than others.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;

use crate::report::Report;
use crate::report::compare::{self, Named, compare};

/// Compares runs by their JSON reports: percentiles, rates, failures and the servers' CPU, each with its spread. Exits with 1
/// if anything is worse, and 2 if the runs cannot be read or compared.
///
/// A difference is shown if it is larger than the threshold and than the spread of both sides. Five runs or more on each
/// side say much more than one.
#[derive(Debug, Args)]
#[command(override_usage = "loadtest compare [OPTIONS] BASE.json NEW.json\n       \
    loadtest compare [OPTIONS] --base A1.json [--base A2.json …] --new B1.json [--new B2.json …]")]
pub(crate) struct Options {
    /// The base, and what is compared with it
    #[arg(value_name = "RUN.json", num_args = 2, conflicts_with_all = ["base", "new"], required_unless_present_all = ["base", "new"])]
    runs: Vec<PathBuf>,
    /// A run of the base; may be repeated
    #[arg(long, value_name = "RUN.json", requires = "new")]
    base: Vec<PathBuf>,
    /// A run that is compared with the base; may be repeated
    #[arg(long, value_name = "RUN.json", requires = "base")]
    new: Vec<PathBuf>,
    /// Changes up to this are no difference, such as 5% or 0.05
    #[arg(long, value_name = "SHARE", default_value = "5%", value_parser = share)]
    threshold: f64,
    /// A measure that may be worse, such as pull.p99 or warm:pull.p99; may be repeated
    #[arg(long, value_name = "MEASURE")]
    allow: Vec<String>,
    /// Of the bootstrap that spreads are found by
    #[arg(long, value_name = "NUMBER", default_value_t = 1)]
    seed: u64,
    /// Prints JSON
    #[arg(long, conflicts_with = "markdown")]
    json: bool,
    /// Prints a Markdown table
    #[arg(long)]
    markdown: bool,
}

pub(crate) fn run(options: &Options) -> ExitCode {
    match compared(options) {
        Ok(false) => ExitCode::SUCCESS,
        Ok(true) => ExitCode::from(1),
        Err(why) => {
            eprintln!("loadtest compare: {why}");
            ExitCode::from(2)
        }
    }
}

/// Prints the comparison, and says whether anything is worse.
fn compared(options: &Options) -> Result<bool, String> {
    let (base, new) = match options.runs.as_slice() {
        [base, new] => (std::slice::from_ref(base), std::slice::from_ref(new)),
        _ => (options.base.as_slice(), options.new.as_slice()),
    };
    let (base, new) = (read(base)?, read(new)?);
    let how =
        compare::Options { threshold: options.threshold, allowed: options.allow.clone(), seed: options.seed };
    let comparison = compare(&base, &new, &how).map_err(|error| error.to_string())?;
    let shown = if options.json {
        let json = serde_json::to_string_pretty(&comparison).map_err(|error| error.to_string())?;
        json + "\n"
    } else if options.markdown {
        compare::markdown(&comparison)
    } else {
        compare::text(&comparison)
    };
    // A reader that has seen enough changes nothing of the result.
    let _ = std::io::stdout().write_all(shown.as_bytes());
    Ok(comparison.worse)
}

fn read(paths: &[PathBuf]) -> Result<Vec<Named>, String> {
    let one = |path: &PathBuf| {
        let report = Report::read(path).map_err(|error| error.to_string())?;
        Ok((path.display().to_string(), report))
    };
    paths.iter().map(one).collect()
}

fn share(text: &str) -> Result<f64, String> {
    let number = match text.strip_suffix('%') {
        Some(percent) => percent.trim().parse::<f64>().map(|percent| percent / 100.0),
        None => text.parse(),
    };
    match number {
        Ok(share) if share.is_finite() && share >= 0.0 => Ok(share),
        _ => Err("it is neither a share such as 0.05 nor 5%".to_owned()),
    }
}
