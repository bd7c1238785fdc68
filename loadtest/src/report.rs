//! What a run found: the model of the JSON report. The HTML page, the terminal and `compare` are made from it alone.
//!
//! Times are seconds, sizes bytes, instants seconds since the start of the run (warm-up included), unless a name says
//! otherwise. Fields are only added; a change that breaks a reader raises [`FORMAT`].

pub mod compare;
mod cost;
mod distribution;
mod file;
mod flow;
pub mod html;
mod plot;
#[cfg(any(test, feature = "testing"))]
pub mod sample;
pub mod text;
pub(crate) mod totals;
pub(crate) mod unit;
mod verdict;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

pub use cost::{Client, Node, Point, Server};
pub use distribution::Distribution;
pub use file::ReadError;
pub use flow::{Bin, FlowReport, PhaseReport, Sample, Summary};

use crate::plan::{Limit, Plan};

/// The version of the report's form.
pub const FORMAT: u32 = 1;

/// A whole run.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Report {
    /// [`FORMAT`] of the writer.
    pub format: u32,
    /// `loadtest` and its version.
    pub tool: String,
    /// Where the load came from.
    pub machine: Machine,
    /// When the run began, as RFC 3339 in UTC.
    pub started: String,
    /// The command line, without secrets.
    pub command: Vec<String>,
    /// What was to be done, its seed included.
    pub plan: Plan,
    /// The seed of every random choice.
    pub seed: u64,
    /// Seconds that count: from the end of the warm-up to the end of the last pull.
    pub seconds: f64,
    /// What each flow found, in the plan's order.
    pub flows: Vec<FlowReport>,
    /// Local processes that were watched.
    #[serde(default)]
    pub servers: Vec<Server>,
    /// Nodes whose `/metrics` were read.
    #[serde(default)]
    pub nodes: Vec<Node>,
    /// How this process fared itself.
    pub client: Client,
    /// Commands of the plan that were run.
    #[serde(default)]
    pub events: Vec<EventReport>,
    /// Every limit and what came of it; the run passed if all held and `stalled` is absent.
    #[serde(default)]
    pub judged: Vec<Judged>,
    /// Why the run was stopped before its end, where it was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stalled: Option<String>,
    /// Whether all limits held, every event succeeded, and the run came to its end.
    pub passed: bool,
}

/// The machine that the load came from.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
pub struct Machine {
    /// CPU model.
    pub cpu: String,
    /// Logical cores that this process may use.
    pub cores: u32,
    /// Bytes of memory.
    pub memory: u64,
    /// Kernel name and release.
    pub kernel: String,
    /// TCP congestion control by default, and of the loopback's route where that differs: BBR's timers triple the cost there.
    pub congestion_control: String,
    /// The system's name.
    pub system: String,
}

/// A command of the plan.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct EventReport {
    /// Its name.
    pub name: String,
    /// When it was begun.
    pub at: f64,
    /// How long it took.
    pub took: f64,
    /// What went wrong, where it did not succeed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<String>,
}

/// One limit, and what was found.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Judged {
    /// The limit.
    pub limit: Limit,
    /// The flow it was applied to; empty where the number is of the whole run.
    pub flow: String,
    /// The number that was found; absent where there was nothing to measure, which breaks the limit.
    pub found: Option<f64>,
    /// Whether it held.
    pub held: bool,
}

/// Counts by the name of an outcome.
pub type ByOutcome = BTreeMap<String, u64>;
