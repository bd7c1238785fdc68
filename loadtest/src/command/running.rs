//! The part of the command line that every command has which runs a plan, and the run itself.

mod outputs;

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use clap::Args;

use crate::access::{AccessError, AccessOptions};
use crate::check::{CheckError, check};
use crate::cost::Watched;
use crate::drive::{DriveError, Stop};
use crate::interrupt;
use crate::live;
use crate::plan::{Limit, Plan};
use crate::report::text;
use crate::run::{MOST_UNDER_WAY, PlanError, Prepared, Pullers, RunError, RunOptions};
use crate::snapshot::Live;
use crate::subject::SubjectError;
use crate::workload::{ListingError, Weighted, read_listing};
use outputs::{OutputError, Outputs};

/// What is pulled, and how it is reached.
#[derive(Debug, Args)]
#[command(next_help_heading = "Target")]
pub(crate) struct Target {
    /// What is pulled: HOST[:PORT]/REPOSITORY:TAG, …@sha256:HEX, or the URL of a blob or of any file
    #[arg(value_name = "SUBJECT", help_heading = None)]
    subjects: Vec<String>,
    /// File with more of them, one a line; a weight and a tab may go before each
    #[arg(long = "subjects", value_name = "FILE")]
    listing: Option<PathBuf>,
    /// Begin without asking first whether the targets answer and have the images
    #[arg(long)]
    no_check: bool,
    #[command(flatten)]
    access: AccessOptions,
}

/// How this process works.
#[derive(Debug, Args)]
#[command(next_help_heading = "This process")]
pub(crate) struct Process {
    /// Threads that pull, each with its own connections [default: 1, or what the scenario says]
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) threads: Option<u16>,
    /// CPUs that the threads are bound to, one after the other
    #[arg(long, value_name = "CPU,…", value_delimiter = ',')]
    pin: Vec<usize>,
    /// Of every random choice; the report says which was drawn
    #[arg(long, value_name = "NUMBER")]
    pub(crate) seed: Option<u64>,
    /// Safety bound of pulls under way; a run that reaches it says so
    #[arg(long, value_name = "COUNT", default_value_t = MOST_UNDER_WAY as u32, value_parser = clap::value_parser!(u32).range(1..))]
    most_under_way: u32,
}

/// What comes of the run.
#[derive(Debug, Args)]
#[command(next_help_heading = "Results")]
pub(crate) struct Results {
    /// Fail unless this holds: [FLOW:][PHASE.]MEASURE<=BOUND or >=, such as p99<=500ms. May be repeated
    #[arg(long = "limit", value_name = "LIMIT")]
    pub(crate) limits: Vec<Limit>,
    /// Watch the CPU of a local server and its children. May be repeated
    #[arg(long, value_name = "NAME=PID")]
    server_pid: Vec<Watched>,
    /// Read a node's metrics here, such as http://127.0.1.1:9100/metrics. May be repeated
    #[arg(long, value_name = "URL")]
    metrics: Vec<String>,
    /// Write the report to this file, for `compare` and for other programs
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Write the report to this file as a page with plots
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
    /// Print nothing but errors
    #[arg(long, short)]
    quiet: bool,
}

/// What a report says of how the run was started.
pub(crate) struct Line<'a> {
    pub(crate) arguments: &'a [OsString],
    /// The commands of the plan's events as their scenario has them, before `--set` filled them.
    pub(crate) commands: &'a [String],
}

/// Why a command came to no result.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CommandError {
    #[error("{0}")]
    Wrong(String),
    #[error(transparent)]
    Subject(#[from] SubjectError),
    #[error(transparent)]
    Listing(#[from] ListingError),
    #[error(transparent)]
    Access(#[from] AccessError),
    #[error(transparent)]
    Check(#[from] CheckError),
    #[error(transparent)]
    Output(#[from] OutputError),
    #[error(transparent)]
    Run(#[from] RunError),
    #[error("Ctrl-C cannot be listened to: {0}")]
    Signals(std::io::Error),
}

impl CommandError {
    /// 2 for wrong input, 3 for a target that cannot be reached, 1 for the rest.
    fn code(&self) -> u8 {
        match self {
            Self::Check(CheckError::Unreachable { .. }) => 3,
            Self::Run(RunError::Drive(DriveError::Thread(_) | DriveError::Panicked) | RunError::Tally(_))
            | Self::Check(CheckError::System(_))
            | Self::Signals(_)
            | Self::Output(OutputError::Late { .. } | OutputError::Page(_)) => 1,
            _ => 2,
        }
    }
}

impl From<PlanError> for CommandError {
    fn from(error: PlanError) -> Self {
        Self::Run(error.into())
    }
}

/// Ends a command: prints why it came to nothing, and gives the exit code of what it came to.
pub(crate) fn ended(command: &str, result: Result<bool, CommandError>) -> ExitCode {
    match result {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("loadtest {command}: {error}");
            ExitCode::from(error.code())
        }
    }
}

impl Target {
    /// What the command line and the file name.
    pub(crate) fn subjects(&self) -> Result<Vec<Weighted>, CommandError> {
        let mut subjects =
            self.subjects.iter().map(|text| Weighted::named(text)).collect::<Result<Vec<_>, _>>()?;
        if let Some(listing) = &self.listing {
            subjects.extend(read_listing(listing)?);
        }
        Ok(subjects)
    }
}

/// Checks `plan` and the targets, runs it, and tells what came of it. True if it passed.
pub(crate) fn execute(
    plan: Plan,
    given: &[Weighted],
    target: &Target,
    process: &Process,
    results: &Results,
    line: &Line<'_>,
) -> Result<bool, CommandError> {
    let most_under_way = process.most_under_way as usize;
    let prepared = Prepared::new(plan, given, most_under_way)?;
    let access = Arc::new(target.access.open()?);
    if !target.no_check {
        check(&access, &prepared.subjects())?;
    }
    let outputs = Outputs::open(results.json.as_deref(), results.html.as_deref())?;
    let stop = Stop::new();
    interrupt::listen(stop.clone()).map_err(CommandError::Signals)?;
    let pullers = Pullers::new(access, prepared.plan(), prepared.seed());
    let mut options = RunOptions {
        pins: process.pin.clone(),
        most_under_way,
        watched: results.server_pid.clone(),
        metrics: results.metrics.clone(),
        command: without_secrets(line.arguments),
        live: live::live(results.quiet).map(|live| live as Box<dyn Live>),
        stop,
    };
    let mut report = prepared.run(&pullers, &mut options)?;
    hide_secrets(&mut report.plan, line.commands);
    outputs.write(&report)?;
    if !results.quiet {
        // A reader that has seen enough has not made the run fail.
        let _ = std::io::Write::write_all(&mut std::io::stdout(), text::summary(&report).as_bytes());
    }
    Ok(report.passed)
}

/// A command line for a report: a query may hold a signature, and what a scenario is told to run may hold anything.
fn without_secrets(arguments: &[OsString]) -> Vec<String> {
    let mut command = Vec::new();
    let mut of_set = false;
    for argument in arguments {
        let text = argument.to_string_lossy();
        let text = match text.strip_prefix("--set=") {
            Some(set) => format!("--set={}", name_of(set)),
            None if of_set => name_of(&text),
            None => match text.split_once('?') {
                Some((before, _)) => format!("{before}?…"),
                None => text.clone().into_owned(),
            },
        };
        of_set = text == "--set";
        command.push(text);
    }
    command
}

/// As `without_secrets`, in the plan: a report that is shown to others must not say more than its command line.
fn hide_secrets(plan: &mut Plan, commands: &[String]) {
    for (event, written) in plan.events.iter_mut().zip(commands) {
        event.run.clone_from(written);
    }
    for subject in plan.flows.iter_mut().flat_map(|flow| &mut flow.subjects) {
        if let Some((before, _)) = subject.split_once('?') {
            *subject = format!("{before}?…");
        }
    }
}

fn name_of(set: &str) -> String {
    let name = set.split('=').next().unwrap_or_default();
    format!("{name}=…")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_does_not_show_queries_nor_what_a_scenario_is_told_to_run() {
        let arguments = [
            "loadtest",
            "--set",
            "drain=curl -H secret",
            "--set=b=secret",
            "http://h/a?sig=secret",
            "--seed",
            "3",
        ];
        let shown = without_secrets(&arguments.map(OsString::from));
        assert_eq!(shown, ["loadtest", "--set", "drain=…", "--set=b=…", "http://h/a?…", "--seed", "3"]);
    }

    #[test]
    fn nor_does_the_plan_in_it() {
        let text = "
            title = 't'
            [[flow]]
            name = 'f'
            subjects = ['http://h/a?sig=secret', 'http://h/b']
            arrivals = { kind = 'burst', pulls = 1 }
            [[event]]
            at = '1s'
            name = 'drain'
            run = 'curl -H {{token}} http://h/drain'
        ";
        let file = tempfile::NamedTempFile::with_suffix(".toml").expect("a file");
        std::fs::write(file.path(), text).expect("written");
        let scenario =
            crate::scenario::Scenario::find(&file.path().display().to_string()).expect("a scenario");
        let set = [("token".to_owned(), "secret".to_owned())].into();
        let mut plan = scenario.plan(&set).expect("a plan");
        assert_eq!(plan.events[0].run, "curl -H secret http://h/drain");
        hide_secrets(&mut plan, &scenario.commands());
        assert_eq!(plan.events[0].run, "curl -H {{token}} http://h/drain");
        assert_eq!(plan.flows[0].subjects, ["http://h/a?…", "http://h/b"]);
    }
}
