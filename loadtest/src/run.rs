//! From a plan to a report.
//!
//! ```text
//! plan ─► prepare ─► drive: threads that pull ─► tallies ─┐
//!                      └─ observe: events, cost, watchdog, ├─► report
//!                         view ────────────────────────────┘
//! ```

mod gauges;
mod observe;
mod prepare;
mod pullers;

use std::time::SystemTime;

use crate::cost::{WatchError, Watched};
use crate::drive::{DriveError, MakePull, Settings, Stop, drive};
use crate::judge::{judge, passed};
use crate::plan::Plan;
use crate::report::{FORMAT, FlowReport, Report};
use crate::snapshot::Live;
use crate::tally::{TallyError, flow_report};
use crate::workload::Weighted;
use crate::{health, machine, random};
pub(crate) use prepare::PlanError;
pub(crate) use pullers::Pullers;

/// The most pulls under way, unless the command line says otherwise.
pub(crate) const MOST_UNDER_WAY: usize = 20_000;

/// How a plan is run; none of it is part of the plan, for it says nothing of the load.
pub(crate) struct RunOptions<'a> {
    /// The CPUs that pulling threads are bound to, one after the other.
    pub(crate) pins: Vec<usize>,
    /// The most pulls under way.
    pub(crate) most_under_way: usize,
    /// Local servers whose cost is read.
    pub(crate) watched: Vec<Watched>,
    /// Addresses of nodes' metrics.
    pub(crate) metrics: Vec<String>,
    /// The command line, for the report.
    pub(crate) command: Vec<String>,
    /// Who shows the run while it runs.
    pub(crate) live: Option<Box<dyn Live + 'a>>,
    /// Asks the run to end.
    pub(crate) stop: Stop,
}

/// A run without a report.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RunError {
    #[error(transparent)]
    Plan(#[from] PlanError),
    #[error(transparent)]
    Drive(#[from] DriveError),
    #[error(transparent)]
    Watch(#[from] WatchError),
    #[error(transparent)]
    Tally(#[from] TallyError),
}

/// A plan that was found good, with its seed.
#[derive(Debug)]
pub(crate) struct Prepared {
    plan: Plan,
    seed: u64,
    flows: Vec<crate::drive::FlowWork>,
}

impl Prepared {
    /// Checks a plan and draws a seed where it has none.
    ///
    /// # Errors
    ///
    /// What is wrong with the plan.
    pub(crate) fn new(mut plan: Plan, given: &[Weighted], most_under_way: usize) -> Result<Self, PlanError> {
        let seed = *plan.seed.get_or_insert_with(random::draw_seed);
        let flows = prepare::prepare(&plan, seed, given, most_under_way)?;
        Ok(Self { plan, seed, flows })
    }

    /// The plan with its seed.
    pub(crate) fn plan(&self) -> &Plan {
        &self.plan
    }

    /// The seed of every random choice.
    pub(crate) fn seed(&self) -> u64 {
        self.seed
    }

    /// Every subject that may be pulled, each once, in the order of the plan.
    pub(crate) fn subjects(&self) -> Vec<std::sync::Arc<crate::subject::Subject>> {
        let mut seen = std::collections::HashSet::new();
        let all = self.flows.iter().flat_map(|flow| flow.workload.subjects());
        all.filter(|subject| seen.insert(std::sync::Arc::clone(subject))).cloned().collect()
    }

    /// Runs it with the pullers of `maker`.
    ///
    /// # Errors
    ///
    /// If it cannot begin, or a part of this tool fails. Pulls that fail are no error: the report tells of them.
    pub(crate) fn run<M: MakePull>(
        self,
        maker: &M,
        options: &mut RunOptions<'_>,
    ) -> Result<Report, RunError> {
        let Self { plan, seed, flows } = self;
        let settings = Settings {
            threads: usize::from(plan.threads),
            pins: options.pins.clone(),
            most_under_way: options.most_under_way,
            warm_up: plan.warm_up,
            duration: plan.duration,
        };
        let file_limit = health::raise_file_limit();
        let started = humantime::format_rfc3339_seconds(SystemTime::now()).to_string();
        let stop = options.stop.clone();
        let observed = drive(&flows, maker, &settings, &stop, async |running| {
            observe::observe(running, &plan, &flows, file_limit, options).await
        })??;
        let reports: Vec<FlowReport> = flows
            .iter()
            .zip(&observed.flows)
            .map(|(flow, state)| {
                let subjects = flow.workload.subjects().len() as u64;
                flow_report(&flow.name, subjects, state, &observed.frame)
            })
            .collect();
        let mut report = Report {
            format: FORMAT,
            tool: concat!("loadtest ", env!("CARGO_PKG_VERSION")).to_owned(),
            machine: machine::look(),
            started,
            command: options.command.clone(),
            plan,
            seed,
            seconds: observed.seconds,
            flows: reports,
            servers: observed.servers,
            nodes: observed.nodes,
            client: observed.client,
            events: observed.events,
            judged: Vec::new(),
            stalled: observed.stopped,
            passed: false,
        };
        report.judged = judge(&report);
        report.passed = passed(&report, &report.judged);
        Ok(report)
    }
}

#[cfg(test)]
mod tests;
