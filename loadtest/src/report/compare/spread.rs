//! What a number may as well have been: 99 % intervals of single runs, and ranges of several.
//!
//! - A percentile: the bootstrap. The r-th of n values drawn from a histogram is the histogram's quantile at the r-th of n
//!   uniform numbers, and that is distributed as Beta(r, n + 1 - r); so one draw does for n. Percentiles with fewer than ten
//!   values beyond them get none.
//! - Pulls of one time are alike (a stall hits many), which the bootstrap does not know. So the share of pulls that took no
//!   longer than the percentile is also looked at over the run's own time: batch means of up to ten stretches, and Student's t.
//!   The interval is from the quantile that much lower to the one that much higher, if that is wider; of every phase, as
//!   pulls alone are known over time.
//! - Rates and costs: batch means alone. Shares: Wilson's interval.

use rand::SeedableRng as _;
use rand::rngs::StdRng;
use rand_distr::{Beta, Distribution as _};

use crate::report::distribution::quantile_of;
use crate::report::{Bin, FlowReport, Report, Server, Summary, totals};

/// Draws of the bootstrap.
const DRAWS: usize = 600;
/// Stretches of time that a run is cut into, at most and at least.
const BATCHES: (usize, usize) = (10, 5);
/// Values beyond a percentile that it takes to say something of it.
const BEYOND: f64 = 10.0;
/// The normal distribution's 99.5 % quantile.
const NORMAL: f64 = 2.576;
/// Student's t at 99.5 % for 4 to 9 degrees of freedom: [`BATCHES`] less one.
const STUDENT: [f64; 6] = [4.604, 4.032, 3.707, 3.499, 3.355, 3.250];

/// The middle value; of two, their mean. Absent of none.
pub(super) fn median(values: &[f64]) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let upper = sorted.get(sorted.len() / 2)?;
    if sorted.len() % 2 == 1 {
        return Some(*upper);
    }
    let lower = sorted.get(sorted.len() / 2 - 1)?;
    Some(lower.midpoint(*upper))
}

/// By what share of itself the range of three and of four runs is widened at each end. By chance alone, all of three runs lie
/// beyond all of three others one time in ten, and of four one in 35; widened, one time in a hundred or less. Of five it is so
/// without.
const WIDENED: [f64; 2] = [0.5, 0.25];

/// The interval of a side: the range of its runs, widened where they are three or four; fewer bring their own intervals with
/// them.
pub(super) fn of_runs(values: &[f64], own: &[Option<(f64, f64)>]) -> Option<(f64, f64)> {
    let range = |ends: &mut dyn Iterator<Item = (f64, f64)>| {
        ends.reduce(|(low, high), (next_low, next_high)| (low.min(next_low), high.max(next_high)))
    };
    if values.len() >= 3 {
        let (low, high) = range(&mut values.iter().map(|value| (*value, *value)))?;
        let more = (high - low) * WIDENED.get(values.len() - 3).copied().unwrap_or(0.0);
        return Some((low - more, high + more));
    }
    let own: Option<Vec<(f64, f64)>> = own.iter().copied().collect();
    range(&mut own?.into_iter())
}

/// The bootstrap's interval of a quantile; absent where too few values lie beyond it.
pub(super) fn bootstrap(buckets: &[(f64, u64)], quantile: f64, seed: u64) -> Option<(f64, f64)> {
    let count = buckets.iter().fold(0_u64, |sum, (_, count)| sum.saturating_add(*count)) as f64;
    if count * (1.0 - quantile) < BEYOND {
        return None;
    }
    let rank = (quantile * count).ceil();
    let beta = Beta::new(rank, count + 1.0 - rank).ok()?;
    let mut random = StdRng::seed_from_u64(seed);
    let mut drawn: Vec<f64> = (0..DRAWS).map(|_| beta.sample(&mut random)).collect();
    drawn.sort_by(f64::total_cmp);
    // The quantile rises with what is drawn, so the ends of one are the ends of the other.
    let end = |share: f64| drawn.get((share * (DRAWS - 1) as f64).round() as usize).copied();
    Some((quantile_of(buckets, end(0.005)?), quantile_of(buckets, end(0.995)?)))
}

/// Batch means: the mean of ratios and half the width of its interval.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Batches {
    mean: f64,
    half: f64,
}

/// Of `amount / by` over stretches of equal length; absent where there are too few stretches with anything in them.
pub(super) fn batches(pairs: impl Iterator<Item = (f64, f64)>) -> Option<Batches> {
    let pairs: Vec<(f64, f64)> = pairs.collect();
    let count = pairs.len().min(BATCHES.0);
    let ratios: Vec<f64> = (0..count)
        .filter_map(|batch| {
            let range = batch * pairs.len() / count..(batch + 1) * pairs.len() / count;
            let (amount, by) =
                pairs.get(range)?.iter().fold((0.0, 0.0), |sum, pair| (sum.0 + pair.0, sum.1 + pair.1));
            Some(amount / by).filter(|ratio| ratio.is_finite())
        })
        .collect();
    let student = STUDENT.get(ratios.len().checked_sub(BATCHES.1)?)?;
    let count = ratios.len() as f64;
    let mean = ratios.iter().sum::<f64>() / count;
    let squares: f64 = ratios.iter().map(|ratio| (ratio - mean).powi(2)).sum();
    let half = student * (squares / (count - 1.0)).sqrt() / count.sqrt();
    Some(Batches { mean, half }).filter(|batches| batches.half.is_finite())
}

/// An interval around a value that is as wide, as a share of it, as the batches' is of their mean.
pub(super) fn around(value: Option<f64>, batches: &Option<Batches>) -> Option<(f64, f64)> {
    let (value, batches) = (value?, batches.as_ref()?);
    let half =
        if batches.mean == 0.0 { batches.half } else { value.abs() * batches.half / batches.mean.abs() };
    Some((value - half, value + half))
}

/// How uncertain time makes which quantile a latency is: half the width of the interval of the share of pulls that took at most
/// `value`, by the run's own bins. Absent where the run is too short to say.
pub(super) fn over_time(flow: &FlowReport, value: f64) -> Option<f64> {
    let seen = |bin: &Bin| {
        let count = bin.latency.count as f64;
        (share_at_most(&bin.latency, value) * count, count)
    };
    batches(flow.series.iter().map(seen)).map(|batches| batches.half)
}

/// The share of values that are at most `value`, between the known quantiles along a straight line.
fn share_at_most(of: &Summary, value: f64) -> f64 {
    let known = [
        (of.min, 0.0),
        (of.p50, 0.5),
        (of.p90, 0.9),
        (of.p95, 0.95),
        (of.p99, 0.99),
        (of.p999, 0.999),
        (of.max, 1.0),
    ];
    let mut below = (0.0, 0.0);
    for (end, share) in known {
        if value < end {
            let (begin, least) = below;
            let part = if end > begin { ((value - begin) / (end - begin)).max(0.0) } else { 0.0 };
            return least + (share - least) * part;
        }
        below = (end, share);
    }
    1.0
}

/// The interval of a quantile: the bootstrap's, or as wide as `uncertain` quantiles around it where that is wider.
pub(super) fn of_quantile(
    buckets: &[(f64, u64)],
    quantile: f64,
    uncertain: Option<f64>,
    seed: u64,
) -> Option<(f64, f64)> {
    let (low, high) = bootstrap(buckets, quantile, seed)?;
    let Some(half) = uncertain else { return Some((low, high)) };
    let (least, most) = ((quantile - half).max(0.0), (quantile + half).min(1.0));
    Some((low.min(quantile_of(buckets, least)), high.max(quantile_of(buckets, most))))
}

/// Wilson's interval of a share; absent of nothing.
pub(super) fn of_share(some: u64, all: u64) -> Option<(f64, f64)> {
    if all == 0 {
        return None;
    }
    let (all, share) = (all as f64, some as f64 / all as f64);
    let squared = NORMAL * NORMAL;
    let middle = (share + squared / (2.0 * all)) / (1.0 + squared / all);
    let half =
        NORMAL * (share * (1.0 - share) / all + squared / (4.0 * all * all)).sqrt() / (1.0 + squared / all);
    Some(((middle - half).max(0.0), (middle + half).min(1.0)))
}

/// What a server used in a stretch of time, and what came of it.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Used {
    /// Seconds of CPU.
    pub(super) cpu: f64,
    /// Bytes of bodies, of all flows.
    pub(super) bytes: f64,
    /// Pulls that were meant to start, of all flows.
    pub(super) pulls: f64,
}

/// The run in ten stretches of equal length. Empty where the server has no series.
pub(super) fn cpu_by_time(report: &Report, server: &Server) -> Vec<Used> {
    let bins = || report.flows.iter().flat_map(|flow| &flow.series);
    let begin = bins().map(|bin| bin.at).fold(f64::INFINITY, f64::min);
    let end = bins().map(|bin| bin.at + bin.length).fold(f64::NEG_INFINITY, f64::max);
    let length = (end - begin) / BATCHES.0 as f64;
    if server.cores.is_empty() || length <= 0.0 || !length.is_finite() {
        return Vec::new();
    }
    let stretch = |at: f64| (((at - begin) / length) as usize).min(BATCHES.0 - 1);
    let mut used = vec![Used::default(); BATCHES.0];
    let mut read = [(0.0, 0.0); BATCHES.0];
    for point in server.cores.iter().filter(|point| point.at >= begin && point.at <= end) {
        if let Some((sum, count)) = read.get_mut(stretch(point.at)) {
            *sum += point.value;
            *count += 1.0;
        }
    }
    for bin in bins() {
        if let Some(used) = used.get_mut(stretch(bin.at + bin.length / 2.0)) {
            used.bytes += bin.bytes as f64;
            used.pulls += totals::all(&bin.pulls) as f64;
        }
    }
    for (used, (sum, count)) in used.iter_mut().zip(read) {
        used.cpu = sum / count * length;
    }
    used.retain(|used| used.cpu.is_finite());
    used
}

#[cfg(test)]
mod tests {
    use rand::RngExt as _;

    use super::*;

    #[test]
    fn the_bootstrap_agrees_with_drawing_every_value() {
        // 1000 values, 1 to 1000; the rank of the median of as many draws has a deviation of sqrt(n)/2 = 15.8.
        let buckets: Vec<(f64, u64)> = (1..=1000).map(|value| (f64::from(value), 1)).collect();
        let (low, high) = bootstrap(&buckets, 0.5, 1).expect("enough");
        let wanted = (500.0 - 2.576 * 15.8, 500.0 + 2.576 * 15.8);
        assert!(
            (low - wanted.0).abs() < 12.0 && (high - wanted.1).abs() < 12.0,
            "{low}..{high}, wanted {wanted:?}"
        );
        assert_eq!(bootstrap(&buckets, 0.5, 1), Some((low, high)), "a seed says it all");
        assert_eq!(bootstrap(&buckets, 0.999, 1), None, "one value beyond is too few");
        assert_eq!(bootstrap(&[], 0.5, 1), None);
    }

    #[test]
    fn a_stall_leaves_the_median_certain_and_the_99th_percentile_not() {
        let of = |stalled: bool| {
            let [p50, high] = if stalled { [0.02, 5.0] } else { [0.02, 0.05] };
            Summary {
                count: 100,
                min: 0.01,
                p50,
                p90: high,
                p95: high,
                p99: high,
                p999: high,
                max: high,
                ..Summary::default()
            }
        };
        let mut flow = crate::report::sample::report().flows.swap_remove(0);
        for (index, bin) in flow.series.iter_mut().enumerate() {
            bin.latency = of(index == 30);
        }
        let (median, tail) =
            (over_time(&flow, 0.02).expect("enough"), over_time(&flow, 0.05).expect("enough"));
        assert!(median < 1e-9 && tail > 0.01, "{median} {tail}");
        let buckets = [(0.01, 500), (0.02, 3500), (0.05, 1960), (5.0, 40)];
        assert_eq!(of_quantile(&buckets, 0.5, Some(median), 1), Some((0.02, 0.02)));
        assert_eq!(of_quantile(&buckets, 0.99, Some(tail), 1), Some((0.05, 5.0)));
    }

    #[test]
    fn a_share_lies_between_the_known_quantiles() {
        let of = Summary {
            count: 9,
            min: 1.0,
            p50: 2.0,
            p90: 4.0,
            p95: 5.0,
            p99: 6.0,
            p999: 7.0,
            max: 8.0,
            ..Summary::default()
        };
        for (value, share) in
            [(0.5, 0.0), (1.0, 0.0), (1.5, 0.25), (2.0, 0.5), (3.0, 0.7), (8.0, 1.0), (9.0, 1.0)]
        {
            assert!(
                (share_at_most(&of, value) - share).abs() < 1e-9,
                "{value}: {}",
                share_at_most(&of, value)
            );
        }
    }

    #[test]
    fn batches_hold_the_mean_of_noise_and_grow_with_it() {
        let steady = batches((0..100).map(|_| (5.0, 1.0))).expect("enough");
        assert_eq!((steady.mean, steady.half), (5.0, 0.0));
        let noisy = |height: f64| batches((0..100).map(|at| (5.0 + height * f64::from(at % 20 / 10), 1.0)));
        let (small, large) = (noisy(1.0).expect("enough"), noisy(4.0).expect("enough"));
        assert!((large.half / small.half - 4.0).abs() < 1e-9, "{small:?} {large:?}");
        assert_eq!(batches((0..4).map(|_| (5.0, 1.0))), None, "four stretches say too little");
    }

    #[test]
    fn the_interval_of_a_share_is_wilsons() {
        // Both ends solve (p - 0.01)^2 = z^2 p (1 - p) / 1000, which is what Wilson's interval is.
        let (low, high) = of_share(10, 1000).expect("something");
        for end in [low, high] {
            let off = (end - 0.01_f64).powi(2) - NORMAL * NORMAL * end * (1.0 - end) / 1000.0;
            assert!(off.abs() < 1e-12, "{end}: {off}");
        }
        assert!(low < 0.01 && high > 0.01);
        let (low, high) = of_share(0, 100).expect("something");
        assert!(low == 0.0 && high > 0.05, "none of 100 may be one of 16: {high}");
        assert_eq!(of_share(0, 0), None);
    }

    #[test]
    fn runs_that_differ_by_chance_alone_lie_apart_one_time_in_fifty_at_most() {
        let mut random = StdRng::seed_from_u64(5);
        for count in 3..=7 {
            let mut side = || {
                let runs: Vec<f64> = (0..count).map(|_| random.sample(rand_distr::StandardNormal)).collect();
                of_runs(&runs, &vec![None; count]).expect("a range")
            };
            let pairs: Vec<_> = (0..4000).map(|_| (side(), side())).collect();
            let apart = pairs.iter().filter(|(a, b)| a.1 < b.0 || b.1 < a.0).count();
            assert!(apart < 4000 / 50, "{apart} of 4000 with {count} runs a side");
        }
    }

    #[test]
    fn five_runs_have_their_range_three_a_wider_one_and_two_bring_their_own_intervals() {
        assert_eq!(of_runs(&[3.0, 1.0, 2.0, 1.5, 2.5], &[None; 5]), Some((1.0, 3.0)));
        assert_eq!(of_runs(&[3.0, 1.0, 2.0], &[None; 3]), Some((0.0, 4.0)));
        assert_eq!(of_runs(&[3.0, 1.0], &[Some((2.0, 4.0)), Some((0.5, 1.5))]), Some((0.5, 4.0)));
        assert_eq!(of_runs(&[3.0, 1.0], &[Some((2.0, 4.0)), None]), None);
        assert_eq!(
            [median(&[3.0, 1.0, 2.0]), median(&[1.0, 2.0]), median(&[])],
            [Some(2.0), Some(1.5), None]
        );
    }
}
