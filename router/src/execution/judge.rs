//! What a pool measured after a phase, against what the plan predicted for it.

use dataproxy_planner::signal::Signal;
use dataproxy_planner::{Prediction, Window};

use super::guard::{Figures, Reading, Verdict};

/// Bins that have to be measured before a pool can fail its prediction early: one bad minute says nothing.
const EARLY_BINS: u32 = 60;

/// What the judge is asked.
#[derive(Clone, Copy, Debug)]
pub struct Case<'c> {
    /// What was predicted for the phase.
    pub predicted: &'c Prediction,
    /// Whether registries came to the pool; else they left it.
    pub is_destination: bool,
    /// What was measured since the phase was moved; none if nothing was.
    pub measured: Option<&'c Signal>,
    /// Whether it is of a whole peak window, so that it can be compared with what was predicted for one.
    pub is_whole: bool,
    /// P95 that a destination may not be above.
    pub limit: f64,
    /// How far above its prediction a pool may be, 0 to 1.
    pub drift: f64,
}

/// The answer.
pub fn judge(case: &Case<'_>) -> Reading {
    let Prediction { stamp, role, after, before, .. } = case.predicted;
    let check = if case.is_destination { "destination-p95" } else { "source-p95" };
    let pool = format!("{stamp} {}", role.as_str());
    let of = |verdict, seen: String, figures| Reading {
        check: check.into(),
        verdict,
        seen,
        is_early: verdict == Verdict::Inconclusive && !case.is_whole,
        figures,
    };
    let Some(signal) = case.measured else {
        return of(Verdict::Inconclusive, format!("{pool}: nothing was measured since"), None);
    };
    let percent = |figure: f64| format!("{:.1} %", figure * 100.0);
    let range = format!("{} to {}", percent(after.lo), percent(after.hi));
    let seen = format!(
        "{pool}: P95 {} over {} bins; predicted {range}, before {}",
        percent(signal.p95),
        signal.bins,
        percent(*before)
    );
    let figures = Figures::new(after, *before, signal.p95);
    // A destination may not be too hot, whatever was predicted; no end may be far off what was.
    let bound =
        if case.is_destination { case.limit.min(after.hi + case.drift) } else { after.hi + case.drift };
    if signal.p95_lo > bound
        && signal.bins - signal.suspect_bins >= EARLY_BINS.min(signal.bins)
        && enough(case, signal)
    {
        return of(Verdict::Fail, format!("{seen}; allowed {}", percent(bound)), Some(figures));
    }
    if !case.is_whole {
        return of(Verdict::Inconclusive, format!("{seen}; its peak window is not over"), Some(figures));
    }
    match (signal.is_valid(), signal.p95_hi <= bound) {
        (true, true) => of(Verdict::Pass, seen, Some(figures)),
        _ => of(Verdict::Inconclusive, format!("{seen}; too much of it was not measured"), Some(figures)),
    }
}

/// Whether a pool was measured for long enough to fail: an hour of minutes, or its whole window.
fn enough(case: &Case<'_>, signal: &Signal) -> bool {
    case.is_whole || signal.bins >= EARLY_BINS
}

/// The bins of the last `bins` whole ones before `now`, at most from `since` on; none if there is none.
pub fn window_since(since_ms: u64, now_ms: u64, bin_seconds: u32, bins: u32) -> Option<Window> {
    let length = u64::from(bin_seconds) * 1000;
    if length == 0 {
        return None;
    }
    // The bin that was running when the phase was moved has both in it, and the one that runs now is not over.
    let (first, end) = (since_ms.div_ceil(length), now_ms / length);
    let count = u32::try_from(end.checked_sub(first)?).unwrap_or(u32::MAX).min(bins);
    (count > 0).then(|| Window { first: end - u64::from(count), bins: count, bin_seconds })
}

#[cfg(test)]
mod tests {
    use dataproxy_planner::Interval;
    use dataproxy_planner::signal::Status;
    use dataproxy_router_api::Role;

    use super::*;

    fn predicted() -> Prediction {
        Prediction {
            stamp: "b".parse().unwrap(),
            role: Role::All,
            before: 0.30,
            after: Interval { median: 0.36, lo: 0.34, hi: 0.38 },
            max_before: 0.4,
            max_after: 0.5,
            avg_before: 0.1,
            avg_after: 0.2,
            node_lost: 0.5,
            cold: 0.4,
            censored_bins: 0,
        }
    }

    fn signal(p95: f64, bins: u32, suspect_bins: u32) -> Signal {
        Signal {
            window: Window { first: 0, bins, bin_seconds: 60 },
            p95,
            p95_lo: p95,
            p95_hi: p95,
            interpolated: p95,
            interpolated_bound: 0.0,
            max: p95,
            avg: p95,
            hottest: None,
            bins,
            suspect_bins,
            status: Status::Valid,
        }
    }

    fn verdict(measured: Option<&Signal>, is_destination: bool, is_whole: bool) -> Reading {
        judge(&Case { predicted: &predicted(), is_destination, measured, is_whole, limit: 0.45, drift: 0.05 })
    }

    #[test]
    fn a_pool_within_its_prediction_passes_once_its_window_is_whole() {
        let good = signal(0.37, 720, 0);
        assert_eq!(verdict(Some(&good), true, true).verdict, Verdict::Pass);
        let early = verdict(Some(&signal(0.37, 90, 0)), true, false);
        assert_eq!(early.verdict, Verdict::Inconclusive);
        assert!(early.is_early);
        assert!(early.seen.contains("predicted 34.0 % to 38.0 %, before 30.0 %"), "{}", early.seen);
        assert_eq!(verdict(None, true, true).verdict, Verdict::Inconclusive);
    }

    #[test]
    fn a_pool_that_is_far_above_its_prediction_fails_after_an_hour_and_not_for_one_bad_minute() {
        for is_destination in [true, false] {
            assert_eq!(verdict(Some(&signal(0.44, 60, 0)), is_destination, false).verdict, Verdict::Fail);
            assert_eq!(
                verdict(Some(&signal(0.99, 5, 0)), is_destination, false).verdict,
                Verdict::Inconclusive
            );
        }
        let failed = verdict(Some(&signal(0.46, 720, 0)), true, true);
        assert!(failed.seen.contains("allowed 43.0 %"), "{}", failed.seen);
    }

    #[test]
    fn what_was_not_measured_passes_nothing() {
        let holes = Signal {
            p95_hi: 1.0,
            suspect_bins: 100,
            status: Status::Insufficient { why: "holes".into() },
            ..signal(0.3, 720, 0)
        };
        let holes = verdict(Some(&holes), true, true);
        assert_eq!((holes.verdict, holes.is_early), (Verdict::Inconclusive, false));
    }

    #[test]
    fn a_window_has_whole_bins_that_began_after_the_phase_was_moved() {
        let window = |since, now| window_since(since, now, 60, 720).map(|window| (window.first, window.bins));
        assert_eq!(window(60_000, 119_999), None);
        assert_eq!(window(60_001, 180_000), Some((2, 1)));
        assert_eq!(window(0, 60_000 * 1000), Some((280, 720)));
        assert_eq!(window(120_000, 60_000), None, "a clock that was set back");
    }
}
