//! `loadtest scenario`: plans from files, those that come with the tool among them.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io::Write as _;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Subcommand};

use super::running::{CommandError, Line, Process, Results, Target, ended, execute};
use crate::plan::Plan;
use crate::scenario::{BUILT_IN, ScaleError, Scenario, ScenarioError, scale_rates, stretch_to};

/// Runs a scenario: flows, events and limits from a file. Some come with the tool
#[derive(Debug, Subcommand)]
pub(crate) enum Options {
    /// Lists the scenarios that come with the tool
    List,
    Run(Box<RunArguments>),
    /// Prints a scenario, to be changed and run as a file
    Show {
        /// Its name
        #[arg(value_name = "NAME")]
        name: String,
    },
}

/// Runs a scenario on the subjects that are named here, or on those in its file
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct RunArguments {
    /// A name from `loadtest scenario list`, or a file: a path that ends in .toml
    #[arg(value_name = "NAME|FILE.toml")]
    name: String,
    #[command(flatten)]
    target: Target,
    #[command(flatten)]
    change: Change,
    #[command(flatten)]
    results: Results,
    #[command(flatten)]
    process: Process,
}

const EXAMPLES: &str = "\
Examples:
  Fifty clients at once on an image that the cache does not have
    loadtest scenario run herd 127.0.0.1:5000/contoso/hello:v1 --html herd.html
  A scenario of one's own, made from one that is there
    loadtest scenario show warm > mine.toml && loadtest scenario run mine.toml --subjects images.txt
  A drain in the middle of a run, at a tenth of the usual rate
    loadtest scenario run drain --subjects images.txt --rate-scale 0.1 \\
      --set drain_command='stampctl node drain 127.0.1.1'

Exit codes: 0 passed, 1 a limit was broken or an event failed, 2 wrong input, 3 the target does not answer.";

/// What is changed of the scenario.
#[derive(Debug, Args)]
#[command(next_help_heading = "Changes to the scenario")]
struct Change {
    /// How long pulls that count are started; every other time but limits changes in proportion
    #[arg(long, short, value_name = "TIME", value_parser = humantime::parse_duration)]
    duration: Option<Duration>,
    /// Multiply every rate, burst and number of pullers by this
    #[arg(long, value_name = "TIMES")]
    rate_scale: Option<f64>,
    /// Fill the placeholder {{NAME}} of the scenario. May be repeated
    #[arg(long, value_name = "NAME=VALUE", value_parser = setting)]
    set: Vec<(String, String)>,
}

pub(crate) fn run(options: &Options, arguments: &[OsString]) -> ExitCode {
    match options {
        Options::List => {
            let width = BUILT_IN.iter().map(|scenario| scenario.name.len()).max().unwrap_or_default();
            let lines = BUILT_IN.iter().map(|built_in| {
                let about = about(built_in.text);
                format!("{:width$}  {about}\n", built_in.name)
            });
            print(&lines.collect::<String>());
            ExitCode::SUCCESS
        }
        Options::Show { name } => {
            let shown = Scenario::find(name).map(|scenario| print(&scenario.text));
            ended("scenario show", shown.map(|()| true).map_err(CommandError::from))
        }
        Options::Run(run) => ended("scenario run", run.run(arguments)),
    }
}

/// A reader that has seen enough has not made it fail.
fn print(text: &str) {
    let _ = std::io::stdout().write_all(text.as_bytes());
}

/// The title of a scenario, whose placeholders need not be filled.
fn about(text: &str) -> String {
    let table: toml::Table = text.parse().unwrap_or_default();
    table.get("title").and_then(toml::Value::as_str).unwrap_or_default().to_owned()
}

impl RunArguments {
    fn run(&self, arguments: &[OsString]) -> Result<bool, CommandError> {
        let scenario = Scenario::find(&self.name)?;
        let line = Line { arguments, commands: &scenario.commands() };
        let (plan, given) = (self.plan(&scenario)?, self.target.subjects()?);
        execute(plan, &given, &self.target, &self.process, &self.results, &line)
    }

    fn plan(&self, scenario: &Scenario) -> Result<Plan, CommandError> {
        let set: BTreeMap<String, String> = self.change.set.iter().cloned().collect();
        let mut plan = scenario.plan(&set)?;
        if let Some(duration) = self.change.duration {
            stretch_to(&mut plan, duration)?;
        }
        if let Some(by) = self.change.rate_scale {
            scale_rates(&mut plan, by)?;
        }
        if let Some(threads) = self.process.threads {
            plan.threads = threads;
        }
        plan.seed = self.process.seed.or(plan.seed);
        plan.limits.extend(self.results.limits.iter().cloned());
        Ok(plan)
    }
}

impl From<ScenarioError> for CommandError {
    fn from(error: ScenarioError) -> Self {
        Self::Wrong(error.to_string())
    }
}

impl From<ScaleError> for CommandError {
    fn from(error: ScaleError) -> Self {
        Self::Wrong(error.to_string())
    }
}

fn setting(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.trim().is_empty() => Ok((name.trim().to_owned(), value.to_owned())),
        _ => Err(format!("{text:?} is not NAME=VALUE")),
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Arguments {
        #[command(subcommand)]
        options: Options,
    }

    fn plan(arguments: &[&str]) -> Result<Plan, String> {
        let parsed = Arguments::try_parse_from(["scenario", "run"].iter().chain(arguments));
        match parsed.map_err(|error| error.to_string())?.options {
            Options::Run(run) => {
                let scenario = Scenario::find(&run.name).map_err(|error| error.to_string())?;
                run.plan(&scenario).map_err(|error| error.to_string())
            }
            _ => panic!("run"),
        }
    }

    #[test]
    fn a_scenario_is_changed_by_the_command_line() {
        let changed = [
            "warm",
            "h:1/a:1",
            "--duration",
            "6s",
            "--rate-scale",
            "0.5",
            "--threads",
            "2",
            "--seed",
            "7",
            "--limit",
            "p50<=1ms",
        ];
        let (before, after) = (plan(&["warm", "h:1/a:1"]).expect("a plan"), plan(&changed).expect("a plan"));
        assert_eq!(after.duration, Duration::from_secs(6));
        assert!(after.warm_up < before.warm_up);
        assert_eq!((after.threads, after.seed), (2, Some(7)));
        assert_eq!(after.limits.len(), before.limits.len() + 1);
    }

    #[test]
    fn a_drain_is_not_run_without_the_command_that_drains() {
        let error = plan(&["drain", "h:1/a:1"]).expect_err("unset");
        assert!(error.contains("--set drain_command=VALUE"), "{error}");
        let plan = plan(&["drain", "h:1/a:1", "--set", "drain_command=a=b"]).expect("a plan");
        assert_eq!(plan.events[0].run, "a=b");
        assert!(
            self::plan(&["drain", "--set", "drain_command"]).expect_err("no value").contains("NAME=VALUE")
        );
    }

    #[test]
    fn every_scenario_says_what_it_is_in_a_line() {
        for built_in in &BUILT_IN {
            assert!((10..=90).contains(&about(built_in.text).len()), "{}", built_in.name);
        }
    }

    #[test]
    fn the_options_are_consistent() {
        use clap::CommandFactory;
        Arguments::command().debug_assert();
    }
}
