//! What a result must hold to.

use serde::{Deserialize, Serialize};

use crate::phase::Phase;

/// One bound on one number of the report. Exactly one of `at_most` and `at_least` is wanted.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Limit {
    /// The flow it is about; absent: each flow by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub flow: Option<String>,
    /// What is compared.
    pub measure: Measure,
    /// Of which phase, where the measure is a latency; absent: the whole pull.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub phase: Option<Phase>,
    /// Seconds, a share from 0 to 1, or a rate per second, as the measure has it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at_most: Option<f64>,
    /// As `at_most`, from below.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at_least: Option<f64>,
}

/// What a limit compares.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Measure {
    /// Latency of good ones, seconds: the median.
    P50,
    /// The 90th percentile.
    P90,
    /// The 95th percentile.
    P95,
    /// The 99th percentile.
    P99,
    /// The 99.9th percentile.
    P999,
    /// The worst.
    Max,
    /// Pulls that failed, as a share of those that ended.
    FailedShare,
    /// Pulls that failed.
    Failed,
    /// Pulls that were resumed.
    Resumed,
    /// Pulls that ended well, per second.
    PullRate,
    /// Bytes of bodies per second.
    ByteRate,
    /// Server CPU, seconds per GiB.
    CpuPerGib,
    /// Server CPU, seconds per request.
    CpuPerRequest,
    /// The highest CPU of one node over the mean of all nodes.
    HottestOverMean,
}
