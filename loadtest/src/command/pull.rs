//! `loadtest pull`: one flow of pulls, put together on the command line.

mod reading;
mod timing;

use std::ffi::OsString;
use std::process::ExitCode;

use clap::Args;

use super::running::{CommandError, Line, Process, Results, Target, ended, execute};
use crate::plan::{Client, Flow, Limit, Measure, Plan, Popularity};
use crate::workload::Weighted;
use reading::ReadingOptions;
use timing::TimingOptions;

/// Pulls images or blobs as a real client does, and measures each pull from the time at which it was meant to start.
///
/// Without more it pulls twice a second for ten seconds, as containerd does, prints a summary, and fails if a pull failed.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Options {
    #[command(flatten)]
    target: Target,
    #[command(flatten)]
    timing: TimingOptions,
    #[command(flatten)]
    choice: Choice,
    #[command(flatten)]
    reading: ReadingOptions,
    #[command(flatten)]
    results: Results,
    #[command(flatten)]
    process: Process,
}

const EXAMPLES: &str = "\
Examples:
  Is it up, and how fast is it?
    loadtest pull 127.0.0.1:5000/contoso/hello:v1
  50 pulls a second at random times, ten seconds of warm-up, a minute that counts, a page with plots
    loadtest pull --subjects images.txt --zipf 1 --poisson 50 --warm-up 10s --duration 1m --html run.html
  What it costs the server, by a closed loop of eight, without hashing here
    loadtest pull http://127.0.0.1:8080/big --client plain --closed 8 --no-hash --server-pid nginx=$(pgrep -o nginx)
  Fail if one pull in a hundred takes longer than half a second, or any fails
    loadtest pull registry.example/app:v1 --rate 10 --limit 'p99<=500ms' --limit 'failed<=0' --json run.json

Exit codes: 0 passed, 1 a limit was broken (without --limit: a pull failed), 2 wrong input, 3 the target does not answer.";

/// Which subject each pull takes.
#[derive(Debug, Args)]
#[command(
    next_help_heading = "Choice among several subjects (round-robin, or by the weights of the file, if not one of these)"
)]
#[group(multiple = false)]
struct Choice {
    /// Each once, and then end
    #[arg(long)]
    once: bool,
    /// At random, all alike
    #[arg(long)]
    uniform: bool,
    /// At random, the k-th registry, repository and subject with a weight of 1/k^S; 0.9 to 1.1 is what is seen
    #[arg(long, value_name = "S")]
    zipf: Option<f64>,
}

pub(crate) fn run(options: &Options, arguments: &[OsString]) -> ExitCode {
    ended("pull", options.run(arguments))
}

impl Options {
    fn run(&self, arguments: &[OsString]) -> Result<bool, CommandError> {
        let given = self.target.subjects()?;
        let plan = self.plan(&given)?;
        let line = Line { arguments, commands: &[] };
        execute(plan, &given, &self.target, &self.process, &self.results, &line)
    }

    fn plan(&self, given: &[Weighted]) -> Result<Plan, CommandError> {
        let title = match given {
            [] if self.timing.has_trace() => "Pulls by a trace".to_owned(),
            [] => {
                let wanted = "name what to pull, as in loadtest pull 127.0.0.1:5000/contoso/hello:v1, or --subjects FILE";
                return Err(CommandError::Wrong(wanted.to_owned()));
            }
            [one] => format!("Pulls of {}", one.subject.without_query()),
            many => format!("Pulls of {} subjects", many.len()),
        };
        let flow = Flow {
            name: "pull".to_owned(),
            subjects: Vec::new(),
            only: None,
            client: self.reading.client,
            arrivals: self.timing.arrivals(),
            popularity: self.choice.popularity(given),
            begin: self.timing.begin(),
            end: None,
            pulls: self.timing.pulls,
            reading: self.reading.reading(),
        };
        let limits = match self.results.limits.as_slice() {
            [] => vec![Limit {
                flow: None,
                measure: Measure::Failed,
                phase: None,
                at_most: Some(0.0),
                at_least: None,
            }],
            limits => limits.to_vec(),
        };
        Ok(Plan {
            title,
            about: String::new(),
            seed: self.process.seed,
            threads: self.process.threads.unwrap_or(1),
            warm_up: self.timing.warm_up(),
            duration: self.timing.duration(),
            stall_after: self.timing.stall_after(),
            flows: vec![flow],
            events: Vec::new(),
            limits,
        })
    }
}

impl Choice {
    fn popularity(&self, given: &[Weighted]) -> Popularity {
        match *self {
            Self { once: true, .. } => Popularity::Once,
            Self { uniform: true, .. } => Popularity::Uniform,
            Self { zipf: Some(exponent), .. } => Popularity::Zipf { exponent },
            _ if given.iter().any(|subject| subject.weight.is_some()) => Popularity::Weighted,
            _ => Popularity::RoundRobin,
        }
    }
}

/// The client that is imitated where no other is asked for.
const CLIENT: Client = Client::Containerd;

#[cfg(test)]
mod tests;
