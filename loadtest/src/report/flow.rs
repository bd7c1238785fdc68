//! What one flow found.

use serde::{Deserialize, Serialize};

use super::ByOutcome;
use crate::outcome::Outcome;
use crate::phase::Phase;

/// One flow.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct FlowReport {
    /// Its name in the plan.
    pub name: String,
    /// How many subjects it chose from.
    pub subjects: u64,
    /// Pulls that were started after the warm-up and have ended, by outcome.
    pub pulls: ByOutcome,
    /// Pulls of the warm-up, not counted elsewhere.
    pub warm_up_pulls: u64,
    /// Pulls that still ran when the run was stopped, not counted elsewhere.
    pub unfinished: u64,
    /// Bytes of bodies that arrived, by the outcome of their pull.
    pub bytes: ByOutcome,
    /// Requests sent.
    pub requests: u64,
    /// Connections opened.
    pub connections: u64,
    /// Cut bodies that were continued.
    pub resumes: u64,
    /// Every phase and outcome that was seen.
    pub phases: Vec<PhaseReport>,
    /// How late pulls were really started: what this machine, not the server, added.
    pub lateness: Summary,
    /// The flow over time, by when pulls were meant to start; without gaps, all bins as long.
    pub series: Vec<Bin>,
    /// The first failures of each outcome, at most ten each.
    pub failures: Vec<Sample>,
}

/// One phase under one outcome.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct PhaseReport {
    /// Which.
    pub phase: Phase,
    /// How it ended.
    pub outcome: Outcome,
    /// In numbers.
    pub summary: Summary,
    /// Every filled bucket, in order: upper end in seconds, and count. Three significant digits.
    pub histogram: Vec<(f64, u64)>,
}

/// A distribution in numbers; seconds. All 0 where `count` is 0.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Serialize)]
pub struct Summary {
    /// How many.
    pub count: u64,
    /// The least.
    pub min: f64,
    /// The mean.
    pub mean: f64,
    /// The standard deviation.
    pub stdev: f64,
    /// The median.
    pub p50: f64,
    /// 90 % are at most this.
    pub p90: f64,
    /// 95 %.
    pub p95: f64,
    /// 99 %.
    pub p99: f64,
    /// 99.9 %.
    pub p999: f64,
    /// The greatest.
    pub max: f64,
}

/// One stretch of time.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Bin {
    /// Its begin.
    pub at: f64,
    /// Its length.
    pub length: f64,
    /// Pulls that were meant to start in it and ended, by outcome.
    pub pulls: ByOutcome,
    /// Bytes that arrived in it.
    pub bytes: u64,
    /// Latency of the good ones among `pulls`.
    pub latency: Summary,
}

/// A failure as an example.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Sample {
    /// When the pull was meant to start.
    pub at: f64,
    /// Its subject.
    pub subject: String,
    /// What it counts as.
    pub outcome: Outcome,
    /// What was asked, of whom, and what came instead.
    pub detail: String,
}
