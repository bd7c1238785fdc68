//! `simulate`: from arguments to a report, and its files.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use clap::Args;
use dataproxy_planner::Policy;

use crate::article;
use crate::error::SimulateError;
use crate::judge::{Judged, judge};
use crate::report::{Report, summarise};
use crate::scenarios::Scenario;

/// What to simulate.
#[derive(Clone, Debug, Args)]
pub struct SimulateArgs {
    /// Only this scenario; may be given more than once. All of them if absent.
    #[arg(long = "scenario", value_name = "SCENARIO", value_enum)]
    pub scenarios: Vec<Scenario>,
    /// Seeds of each scenario: 1 to this.
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u64).range(1..=10_000))]
    pub seeds: u64,
    /// Folder for `report.md`, `report.json` and `article.svg`; it is made if it is not there.
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
}

/// Simulates, and writes the files that were asked for. The report is the same for the same arguments.
///
/// It computes for minutes on all cores, and cannot be stopped but by ending the process; what is written is written at
/// the end.
///
/// # Errors
///
/// Input that the planner refuses, and files that cannot be written.
pub fn simulate(args: &SimulateArgs) -> Result<Report, SimulateError> {
    let policy = Policy::default();
    let scenarios = if args.scenarios.is_empty() { Scenario::ALL } else { &args.scenarios };
    let article =
        scenarios.contains(&Scenario::Article).then(|| article::run(args.seeds, &policy)).transpose()?;
    let cases = all_cases(scenarios, args.seeds, &policy)?;
    let summary = summarise(&cases, policy.goal * 100.0);
    let report =
        Report { version: env!("CARGO_PKG_VERSION"), seeds: args.seeds, policy, summary, article, cases };
    if let Some(folder) = &args.out {
        write(folder, &report)?;
    }
    Ok(report)
}

/// Judges every scenario with every seed, as many at a time as there are cores. Order and figures do not depend on that.
fn all_cases(scenarios: &[Scenario], seeds: u64, policy: &Policy) -> Result<Vec<Judged>, SimulateError> {
    let wanted: Vec<(Scenario, u64)> =
        scenarios.iter().flat_map(|&scenario| (1..=seeds).map(move |seed| (scenario, seed))).collect();
    let next = AtomicUsize::new(0);
    let judged = Mutex::new(Vec::with_capacity(wanted.len()));
    let threads = thread::available_parallelism().map_or(1, usize::from).min(wanted.len());
    thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                while let Some(&(scenario, seed)) = wanted.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let case = scenario.case(seed).map_err(SimulateError::from);
                    let result = case.and_then(|case| judge(&case, policy));
                    // A thread that panicked ends the scope; what it had locked does not matter then.
                    if let Ok(mut judged) = judged.lock() {
                        judged.push((scenario, seed, result));
                    }
                }
            });
        }
    });
    let mut judged = judged.into_inner().unwrap_or_default();
    judged.sort_by_key(|(scenario, seed, _)| (*scenario, *seed));
    judged.into_iter().map(|(_, _, result)| result).collect()
}

fn write(folder: &Path, report: &Report) -> Result<(), SimulateError> {
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |source| SimulateError::Write { path, source }
    };
    fs::create_dir_all(folder).map_err(failed(folder))?;
    let json = serde_json::to_string_pretty(report)
        .map_err(|error| SimulateError::Write { path: folder.join("report.json"), source: error.into() })?;
    let mut files = vec![("report.md", report.to_string()), ("report.json", json)];
    if let Some(article) = &report.article {
        files.push(("article.svg", article.svg()?));
    }
    for (name, text) in files {
        let path = folder.join(name);
        fs::write(&path, text).map_err(failed(&path))?;
    }
    Ok(())
}
