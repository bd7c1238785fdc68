//! Distributions put together: what several outcomes, or several runs, have in common.

use super::{FlowReport, Summary};
use crate::phase::Phase;

/// Counts by the upper end of their bucket, in order, and the exact moments of what was counted.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Distribution {
    buckets: Vec<(f64, u64)>,
    summary: Summary,
}

impl Distribution {
    /// Of the good ones (`ok` and `resumed`) in one phase of a flow; of nothing where there are none.
    pub fn of_good(flow: &FlowReport, phase: Phase) -> Self {
        let good = flow.phases.iter().filter(|found| found.phase == phase && found.outcome.is_good());
        good.fold(Self::default(), |sum, found| sum.with(&found.histogram, &found.summary))
    }

    /// In numbers. Of one part alone these are that part's own numbers; percentiles of several come from the buckets.
    pub fn summary(&self) -> &Summary {
        &self.summary
    }

    /// Every filled bucket: upper end in seconds, and count.
    pub fn buckets(&self) -> &[(f64, u64)] {
        &self.buckets
    }

    /// Both together.
    pub fn and(self, other: &Self) -> Self {
        self.with(&other.buckets, &other.summary)
    }

    fn with(mut self, histogram: &[(f64, u64)], summary: &Summary) -> Self {
        if summary.count == 0 {
            return self;
        }
        self.buckets.extend(histogram.iter().filter(|(end, count)| end.is_finite() && *count > 0));
        self.buckets.sort_by(|(a, _), (b, _)| a.total_cmp(b));
        self.buckets.dedup_by(|next, kept| {
            let same = next.0 == kept.0;
            if same {
                kept.1 = kept.1.saturating_add(next.1);
            }
            same
        });
        if self.summary.count == 0 {
            self.summary = *summary;
            return self;
        }
        self.summary = pooled(&self.summary, summary);
        for (quantile, value) in [
            (0.5, &mut self.summary.p50),
            (0.9, &mut self.summary.p90),
            (0.95, &mut self.summary.p95),
            (0.99, &mut self.summary.p99),
            (0.999, &mut self.summary.p999),
        ] {
            *value = quantile_of(&self.buckets, quantile).min(self.summary.max);
        }
        self
    }
}

/// The end of the bucket that holds the value of which `quantile` of all are not greater; 0 where there is nothing.
pub(crate) fn quantile_of(buckets: &[(f64, u64)], quantile: f64) -> f64 {
    let total: u64 = buckets.iter().fold(0, |sum, (_, count)| sum.saturating_add(*count));
    // At least the first, as HdrHistogram has it.
    let wanted = ((quantile * total as f64).ceil() as u64).max(1);
    let mut seen = 0_u64;
    for (end, count) in buckets {
        seen = seen.saturating_add(*count);
        if seen >= wanted {
            return *end;
        }
    }
    buckets.last().map_or(0.0, |(end, _)| *end)
}

/// Count, extremes, mean and deviation of two parts together (Chan's formula); percentiles are the caller's.
fn pooled(a: &Summary, b: &Summary) -> Summary {
    let (weight_a, weight_b) = (a.count as f64, b.count as f64);
    let total = weight_a + weight_b;
    let apart = b.mean - a.mean;
    let squares =
        a.stdev.powi(2) * weight_a + b.stdev.powi(2) * weight_b + apart.powi(2) * weight_a * weight_b / total;
    Summary {
        count: a.count.saturating_add(b.count),
        min: a.min.min(b.min),
        mean: a.mean + apart * weight_b / total,
        stdev: (squares / total).sqrt(),
        max: a.max.max(b.max),
        ..Summary::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(values: &[f64]) -> Distribution {
        let mut sorted = values.to_vec();
        sorted.sort_by(f64::total_cmp);
        let buckets: Vec<(f64, u64)> = sorted.iter().map(|value| (*value, 1)).collect();
        let count = values.len() as f64;
        let mean = values.iter().sum::<f64>() / count;
        let summary = Summary {
            count: values.len() as u64,
            min: sorted[0],
            mean,
            stdev: (values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / count).sqrt(),
            p50: quantile_of(&buckets, 0.5),
            p90: quantile_of(&buckets, 0.9),
            p95: quantile_of(&buckets, 0.95),
            p99: quantile_of(&buckets, 0.99),
            p999: quantile_of(&buckets, 0.999),
            max: sorted[sorted.len() - 1],
        };
        Distribution::default().with(&buckets, &summary)
    }

    #[test]
    fn two_parts_together_have_the_numbers_of_all_their_values() {
        let (a, b) = ([1.0, 2.0, 2.0, 9.0], [0.5, 2.0, 40.0]);
        let both = of(&a).and(&of(&b));
        let all = of(&[a.as_slice(), b.as_slice()].concat());
        assert_eq!(both.buckets, [(0.5, 1), (1.0, 1), (2.0, 3), (9.0, 1), (40.0, 1)]);
        let (x, y) = (both.summary(), all.summary());
        assert_eq!((x.count, x.min, x.p50, x.p90, x.max), (y.count, y.min, y.p50, y.p90, y.max));
        assert!((x.mean - y.mean).abs() < 1e-9 && (x.stdev - y.stdev).abs() < 1e-9, "{x:?} {y:?}");
    }

    #[test]
    fn a_part_alone_keeps_its_own_numbers_and_nothing_has_none() {
        let alone = of(&[1.0, 3.0]);
        assert_eq!(Distribution::default().and(&alone), alone);
        assert_eq!(alone.clone().and(&Distribution::default()), alone);
        assert_eq!(quantile_of(&[], 0.5), 0.0);
    }

    #[test]
    fn a_quantile_is_the_first_value_that_so_many_do_not_exceed() {
        let buckets: Vec<(f64, u64)> = (1..=100).map(|value| (f64::from(value), 1)).collect();
        for (quantile, value) in [(0.0, 1.0), (0.5, 50.0), (0.99, 99.0), (0.999, 100.0), (1.0, 100.0)] {
            assert_eq!(quantile_of(&buckets, quantile), value, "{quantile}");
        }
    }
}
