//! What a result must hold to.

mod short;

use serde::{Deserialize, Serialize};

pub use short::ShortLimitError;

use super::Plan;
use crate::phase::Phase;

/// One bound on one number of the report. Exactly one of `at_most` and `at_least` is wanted. On the command line it is
/// written short, as `p99<=0.5` or `warm:first_byte.p95<=50ms`.
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
    /// Server CPU, seconds per GiB: all watched servers together. Of the whole run, as what follows.
    CpuPerGib,
    /// Server CPU, seconds per request.
    CpuPerRequest,
    /// The highest CPU of one node over the mean of all nodes.
    HottestOverMean,
}

impl Measure {
    /// Every measure.
    pub const ALL: [Self; 14] = [
        Self::P50,
        Self::P90,
        Self::P95,
        Self::P99,
        Self::P999,
        Self::Max,
        Self::FailedShare,
        Self::Failed,
        Self::Resumed,
        Self::PullRate,
        Self::ByteRate,
        Self::CpuPerGib,
        Self::CpuPerRequest,
        Self::HottestOverMean,
    ];

    /// Its stable name in plans and reports.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::P50 => "p50",
            Self::P90 => "p90",
            Self::P95 => "p95",
            Self::P99 => "p99",
            Self::P999 => "p999",
            Self::Max => "max",
            Self::FailedShare => "failed_share",
            Self::Failed => "failed",
            Self::Resumed => "resumed",
            Self::PullRate => "pull_rate",
            Self::ByteRate => "byte_rate",
            Self::CpuPerGib => "cpu_per_gib",
            Self::CpuPerRequest => "cpu_per_request",
            Self::HottestOverMean => "hottest_over_mean",
        }
    }

    /// Whether it is a latency, and so of one phase.
    pub fn is_latency(self) -> bool {
        matches!(self, Self::P50 | Self::P90 | Self::P95 | Self::P99 | Self::P999 | Self::Max)
    }

    /// Whether it is of the whole run, and not of one flow.
    pub fn is_of_run(self) -> bool {
        matches!(self, Self::CpuPerGib | Self::CpuPerRequest | Self::HottestOverMean)
    }
}

/// A limit that no result could be held to.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("the limit on {measure} {problem}")]
pub struct LimitError {
    measure: &'static str,
    problem: String,
}

impl Plan {
    /// Whether every limit of the plan can be judged.
    ///
    /// # Errors
    /// The first that cannot, and what would be right: it has no bound or two, or one that is no number; it names a flow
    /// that is not in the plan, a phase of what is no latency, or a flow for a number of the whole run.
    pub fn check_limits(&self) -> Result<(), LimitError> {
        let flows: Vec<&str> = self.flows.iter().map(|flow| flow.name.as_str()).collect();
        self.limits.iter().try_for_each(|limit| limit.check(&flows))
    }
}

impl Limit {
    fn check(&self, flows: &[&str]) -> Result<(), LimitError> {
        let wrong = |problem: String| Err(LimitError { measure: self.measure.as_str(), problem });
        let bound = match (self.at_most, self.at_least) {
            (Some(bound), None) | (None, Some(bound)) => bound,
            (None, None) => return wrong("has no bound; say at_most or at_least".to_owned()),
            (Some(_), Some(_)) => {
                return wrong("has both at_most and at_least; make two limits of it".to_owned());
            }
        };
        if !bound.is_finite() || bound < 0.0 {
            return wrong(format!("has the bound {bound}; it must be 0 or more"));
        }
        if self.measure == Measure::FailedShare && bound > 1.0 {
            return wrong(format!("has the bound {bound}; a share is from 0 to 1, and 1 % is 0.01"));
        }
        if let (Some(phase), false) = (self.phase, self.measure.is_latency()) {
            return wrong(format!("names the phase {}, but only latencies have phases", phase.as_str()));
        }
        match &self.flow {
            Some(flow) if self.measure.is_of_run() => {
                wrong(format!("names the flow {flow:?}, but it is of the whole run; leave the flow out"))
            }
            Some(flow) if !flows.contains(&flow.as_str()) => {
                wrong(format!("names the flow {flow:?}, which is not in the plan; there are {flows:?}"))
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_measure_is_listed_under_the_name_that_plans_use() {
        for measure in Measure::ALL {
            let written = serde_json::to_string(&measure).expect("a name");
            assert_eq!(written, format!("\"{}\"", measure.as_str()));
        }
    }

    #[test]
    fn a_limit_that_no_result_could_be_held_to_is_refused_with_what_would_be_right() {
        for (text, problem) in [
            ("measure = 'p99'", "say at_most or at_least"),
            ("measure = 'p99'\nat_most = 1\nat_least = 1", "make two limits"),
            ("measure = 'p99'\nat_most = nan", "0 or more"),
            ("measure = 'p99'\nat_most = -1", "0 or more"),
            ("measure = 'failed_share'\nat_most = 5", "1 % is 0.01"),
            ("measure = 'failed'\nphase = 'blob'\nat_most = 5", "only latencies have phases"),
            ("measure = 'cpu_per_gib'\nflow = 'warm'\nat_most = 5", "leave the flow out"),
            ("measure = 'p50'\nflow = 'wram'\nat_most = 5", "[\"warm\", \"cold\"]"),
        ] {
            let limit: Limit = toml::from_str(text).expect(text);
            let error = limit.check(&["warm", "cold"]).expect_err(text).to_string();
            assert!(error.contains(problem), "{text}: {error}");
        }
        let limit: Limit = toml::from_str("measure = 'p50'\nflow = 'warm'\nat_most = 5").expect("valid");
        assert_eq!(limit.check(&["warm"]), Ok(()));
    }
}
