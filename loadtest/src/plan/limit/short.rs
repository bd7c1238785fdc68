//! Limits as one word of a command line: `[FLOW:][PHASE.]MEASURE<=BOUND`, or `>=`.
//!
//! ```text
//! p99<=0.5                   the pulls' 99th percentile of each flow: at most half a second
//! first_byte.p99<=50ms       of one phase
//! warm:pull.p95<=1s          of one flow
//! failed_share<=1%           a share: 0.01 or 1%
//! byte_rate>=100MiB          bytes per second
//! cpu_per_gib<=400ms         seconds of CPU
//! ```

use std::fmt;
use std::str::FromStr;

use super::{Limit, Measure};
use crate::phase::Phase;
use crate::plan::text::sized;

/// A text that is no limit.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error(
    "{text:?} is not a limit: {problem}; a limit is [FLOW:][PHASE.]MEASURE<=BOUND or >=, such as p99<=0.5, \
     first_byte.p99<=50ms or warm:failed_share<=1%"
)]
pub struct ShortLimitError {
    text: String,
    problem: String,
}

impl FromStr for Limit {
    type Err = ShortLimitError;

    fn from_str(text: &str) -> Result<Self, ShortLimitError> {
        let wrong = |problem: String| ShortLimitError { text: text.to_owned(), problem };
        let (left, right, most) = match (text.rsplit_once("<="), text.rsplit_once(">=")) {
            (Some((left, right)), None) => (left, right, true),
            (None, Some((left, right))) => (left, right, false),
            _ => return Err(wrong("it wants one <= or >=".to_owned())),
        };
        // A flow's name may have any character; a measure has neither colon nor point.
        let (flow, number) = match left.rsplit_once(':') {
            Some((flow, number)) => (Some(flow.trim()), number),
            None => (None, left),
        };
        if flow == Some("") {
            return Err(wrong("the flow before the colon has no name".to_owned()));
        }
        let (phase, measure) = match number.trim().split_once('.') {
            Some((phase, measure)) => (Some(named_phase(phase).map_err(&wrong)?), measure),
            None => (None, number.trim()),
        };
        let measure = named_measure(measure).map_err(&wrong)?;
        let bound = bound(measure, right.trim()).map_err(&wrong)?;
        let (at_most, at_least) = if most { (Some(bound), None) } else { (None, Some(bound)) };
        Ok(Self { flow: flow.map(str::to_owned), measure, phase, at_most, at_least })
    }
}

impl fmt::Display for Limit {
    /// As [`FromStr`] reads it, times in seconds.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(flow) = &self.flow {
            write!(f, "{flow}:")?;
        }
        if let Some(phase) = self.phase {
            write!(f, "{}.", phase.as_str())?;
        }
        f.write_str(self.measure.as_str())?;
        if let Some(bound) = self.at_most {
            write!(f, "<={bound}")?;
        }
        if let Some(bound) = self.at_least {
            write!(f, ">={bound}")?;
        }
        Ok(())
    }
}

fn named_phase(name: &str) -> Result<Phase, String> {
    Phase::ALL.into_iter().find(|phase| phase.as_str() == name).ok_or_else(|| {
        format!("there is no phase {name:?}; there are {}", Phase::ALL.map(Phase::as_str).join(", "))
    })
}

fn named_measure(name: &str) -> Result<Measure, String> {
    Measure::ALL.into_iter().find(|measure| measure.as_str() == name).ok_or_else(|| {
        format!("there is no measure {name:?}; there are {}", Measure::ALL.map(Measure::as_str).join(", "))
    })
}

/// A number, with a unit where the measure has one.
fn bound(measure: Measure, text: &str) -> Result<f64, String> {
    if let Ok(number) = text.parse::<f64>() {
        return Ok(number);
    }
    let is_time = measure.is_latency() || matches!(measure, Measure::CpuPerGib | Measure::CpuPerRequest);
    match measure {
        _ if is_time => humantime::parse_duration(text)
            .map(|time| time.as_secs_f64())
            .map_err(|_| format!("{text:?} is neither seconds nor a time such as 50ms")),
        Measure::FailedShare => text
            .strip_suffix('%')
            .and_then(|percent| percent.trim().parse::<f64>().ok())
            .map(|percent| percent / 100.0)
            .ok_or_else(|| format!("{text:?} is neither a share such as 0.01 nor 1%")),
        Measure::ByteRate => sized(text)
            .ok_or_else(|| format!("{text:?} is neither bytes per second nor a size such as 100MiB")),
        _ => Err(format!("{text:?} is not a number")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limit(
        flow: Option<&str>,
        phase: Option<Phase>,
        measure: Measure,
        most: Option<f64>,
        least: Option<f64>,
    ) -> Limit {
        Limit { flow: flow.map(str::to_owned), measure, phase, at_most: most, at_least: least }
    }

    #[test]
    fn a_short_limit_says_what_a_long_one_says() {
        use Measure::{ByteRate, CpuPerGib, FailedShare, P95, P99, PullRate};
        for (text, wanted) in [
            ("p99<=0.5", limit(None, None, P99, Some(0.5), None)),
            ("first_byte.p99<=50ms", limit(None, Some(Phase::FirstByte), P99, Some(0.05), None)),
            ("failed_share<=0.01", limit(None, None, FailedShare, Some(0.01), None)),
            ("failed_share <= 1%", limit(None, None, FailedShare, Some(0.01), None)),
            ("warm:pull.p95<=1s", limit(Some("warm"), Some(Phase::Pull), P95, Some(1.0), None)),
            ("a:b:pull_rate>=3", limit(Some("a:b"), None, PullRate, None, Some(3.0))),
            ("byte_rate>=1.5GiB", limit(None, None, ByteRate, None, Some(1_610_612_736.0))),
            ("cpu_per_gib<=400ms", limit(None, None, CpuPerGib, Some(0.4), None)),
        ] {
            let read: Limit = text.parse().expect(text);
            assert_eq!(read, wanted, "{text}");
            assert_eq!(read.to_string().parse::<Limit>().expect("as it is read"), wanted, "{text}");
        }
    }

    #[test]
    fn a_text_that_is_no_limit_is_refused_with_what_would_be_right() {
        for (text, problem) in [
            ("p99", "<= or >="),
            ("p99<0.5", "<= or >="),
            ("1<=p99>=2", "<= or >="),
            ("p98<=1", "there are p50, p90"),
            ("blobs.p99<=1", "there are resolve, connect"),
            (":p99<=1", "no name"),
            ("p99<=fast", "50ms"),
            ("failed_share<=few", "0.01 nor 1%"),
            ("byte_rate>=100 miles", "100MiB"),
            ("failed<=none", "not a number"),
        ] {
            let error = text.parse::<Limit>().expect_err(text).to_string();
            assert!(error.contains(problem) && error.contains("such as p99<=0.5"), "{text}: {error}");
        }
    }
}
