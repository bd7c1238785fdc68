//! A distribution of times, to three significant digits.

use std::time::Duration;

use hdrhistogram::Histogram;

use crate::report::Summary;

/// Longer times count as this one.
const LONGEST: u64 = 3_600_000_000_000;

/// Times from a nanosecond to an hour, to three significant digits.
#[derive(Clone, Debug)]
pub(crate) struct Distribution(Histogram<u64>);

/// Histograms that cannot be made.
#[derive(Debug, thiserror::Error)]
#[error("cannot count times: {0}")]
pub(crate) struct TallyError(#[from] hdrhistogram::CreationError);

impl Distribution {
    /// An empty one.
    pub(crate) fn new() -> Result<Self, TallyError> {
        Ok(Self(Histogram::new_with_bounds(1, LONGEST, 3)?))
    }

    pub(crate) fn record(&mut self, time: Duration) {
        let nanoseconds = u64::try_from(time.as_nanos()).unwrap_or(LONGEST).min(LONGEST);
        self.0.saturating_record(nanoseconds);
    }

    /// Takes all of the other in. Both have the same bounds, so nothing is lost.
    pub(crate) fn add(&mut self, other: &Self) {
        debug_assert!(self.0.high() >= other.0.max());
        // Fails only where a value is out of bounds.
        let _ = self.0.add(&other.0);
    }

    /// What came since it was as `before`, an earlier copy of it.
    pub(crate) fn since(&self, before: &Self) -> Self {
        let mut left = self.clone();
        // Fails only where `before` has what `self` has not.
        let _ = left.0.subtract(&before.0);
        left
    }

    pub(crate) fn summary(&self) -> Summary {
        summary(&self.0, 1e-9)
    }

    /// Every filled bucket: its upper end in seconds, and its count.
    pub(crate) fn buckets(&self) -> Vec<(f64, u64)> {
        self.0
            .iter_recorded()
            .map(|step| (step.value_iterated_to() as f64 * 1e-9, step.count_since_last_iteration()))
            .collect()
    }
}

/// A histogram in numbers, its values in units of `unit` seconds.
pub(crate) fn summary<T: hdrhistogram::Counter>(histogram: &Histogram<T>, unit: f64) -> Summary {
    if histogram.is_empty() {
        return Summary::default();
    }
    let quantile = |quantile| histogram.value_at_quantile(quantile) as f64 * unit;
    Summary {
        count: histogram.len(),
        min: histogram.min() as f64 * unit,
        mean: histogram.mean() * unit,
        stdev: histogram.stdev() * unit,
        p50: quantile(0.5),
        p90: quantile(0.9),
        p95: quantile(0.95),
        p99: quantile(0.99),
        p999: quantile(0.999),
        max: histogram.max() as f64 * unit,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_come_back_to_a_thousandth_from_a_microsecond_to_an_hour() {
        for micros in [1_u64, 17, 999, 12_345, 5_000_000, 3_599_000_000] {
            let mut distribution = Distribution::new().expect("made");
            distribution.record(Duration::from_micros(micros));
            let (found, right) = (distribution.summary().p50, micros as f64 * 1e-6);
            assert!((found / right - 1.0).abs() < 0.001, "{found} for {right}");
        }
    }

    #[test]
    fn what_is_longer_than_an_hour_counts_as_an_hour() {
        let mut distribution = Distribution::new().expect("made");
        distribution.record(Duration::from_secs(100_000));
        let max = distribution.summary().max;
        assert!((max / 3600.0 - 1.0).abs() < 0.001, "{max}");
    }

    #[test]
    fn what_came_since_a_copy_is_what_was_recorded_after_it() {
        let mut distribution = Distribution::new().expect("made");
        distribution.record(Duration::from_millis(1));
        let before = distribution.clone();
        distribution.record(Duration::from_millis(100));
        let since = distribution.since(&before).summary();
        assert_eq!(since.count, 1);
        assert!((since.p50 / 0.1 - 1.0).abs() < 0.001);
    }
}
