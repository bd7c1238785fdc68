//! What a run looks like at one moment: plain data for whoever shows it while it runs.
//!
//! Counts are of the part that counts, after the warm-up; during the warm-up they are of the warm-up, and start again at
//! its end.

use std::time::Duration;

use crate::outcome::Outcome;
use crate::report::Summary;

/// Shows a run while it runs. Called about four times a second from a thread that pulls nothing, so it may be slow.
pub trait Live {
    /// The run as it is now.
    fn show(&mut self, now: &Snapshot);
    /// The run has ended: leave the terminal as it was found. Called once, after the last `show`.
    fn end(&mut self);
}

/// A run at one moment.
#[derive(Clone, Debug, PartialEq)]
pub struct Snapshot {
    /// The title of its plan.
    pub title: String,
    /// What it is doing.
    pub stage: Stage,
    /// Since its start, warm-up included.
    pub elapsed: Duration,
    /// How long its warm-up is.
    pub warm_up: Duration,
    /// How long pulls that count are started, after the warm-up.
    pub duration: Duration,
    /// Each flow, in the order of the plan.
    pub flows: Vec<FlowSnapshot>,
    /// Events that have begun, oldest first.
    pub events: Vec<EventSnapshot>,
    /// What a person should know now, as sentences: this machine does not keep up, a stall is near. Empty if nothing.
    pub notes: Vec<String>,
}

/// What a run is doing.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Stage {
    /// Pulls are made that do not count.
    WarmUp,
    /// Pulls are started that count.
    Measuring,
    /// No pull is started any more; those under way are waited for.
    Ending,
}

/// One flow at one moment.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct FlowSnapshot {
    /// Its name in the plan.
    pub name: String,
    /// Pulls that its schedule holds in all for this stage, where that is known before: not for random arrivals without a
    /// most, nor for closed loops.
    pub planned: Option<u64>,
    /// Pulls started.
    pub started: u64,
    /// Pulls started that have not ended.
    pub under_way: u64,
    /// Pulls that ended, by outcome: those that were seen, good ones first.
    pub finished: Vec<(Outcome, u64)>,
    /// Pulls that ended per second, over the last five seconds.
    pub pull_rate: f64,
    /// Bytes of bodies that arrived.
    pub bytes: u64,
    /// Bytes of bodies per second, over the last five seconds.
    pub byte_rate: f64,
    /// Latency of good pulls from their intended starts.
    pub latency: Summary,
    /// The same, of those that ended in the last five seconds.
    pub recent_latency: Summary,
}

/// One command of the plan at one moment.
#[derive(Clone, Debug, PartialEq)]
pub struct EventSnapshot {
    /// Its name.
    pub name: String,
    /// When it began, after the start of the run.
    pub at: Duration,
    /// What came of it.
    pub state: EventState,
}

/// What has come of a command.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum EventState {
    /// It has not ended.
    Running,
    /// It succeeded.
    Done,
    /// It failed, and why.
    Failed(String),
}
