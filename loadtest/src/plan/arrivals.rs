//! When pulls start.

use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::text;

/// When the pulls of a flow start. All but `Closed` are open loops: a pull starts at its time, however many still run.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Arrivals {
    /// At even distances.
    Constant {
        /// Pulls per second.
        rate: f64,
    },
    /// At random, as from many users who know nothing of each other (exponential distances).
    Poisson {
        /// Pulls per second, on average.
        rate: f64,
    },
    /// One rate after the other, each at random as `Poisson`.
    Steps {
        /// In their order; the flow ends with the last.
        steps: Vec<Step>,
    },
    /// As many at once, at the beginning of the flow.
    Burst {
        /// How many.
        pulls: u64,
    },
    /// As a trace says: one line for each pull, `SECONDS` or `SECONDS SUBJECT`, in the order of time.
    Replay {
        /// The file.
        trace: PathBuf,
        /// How many times faster than it was recorded.
        #[serde(default = "as_recorded")]
        speed: f64,
    },
    /// A closed loop: each puller starts its next pull when its last one has ended. Its latencies hide what a stalled server
    /// keeps from being asked; for throughput and cost, not for latency.
    Closed {
        /// Pulls under way at any time.
        pullers: u32,
        /// Pause between two pulls of one puller.
        #[serde(default, with = "text::duration")]
        think: Duration,
    },
}

/// One rate for one time.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Step {
    /// Pulls per second, on average.
    pub rate: f64,
    /// For how long.
    #[serde(rename = "for", with = "text::duration")]
    pub lasts: Duration,
}

fn as_recorded() -> f64 {
    1.0
}
