//! Holds a result to its limits.
//!
//! | measure | what it is, in one flow |
//! |---|---|
//! | `p50` … `max` | latency of one phase (the pull where none is named) among the good: `ok` and `resumed` together |
//! | `failed` | pulls that ended otherwise, by a count; `failed_share`: over all that ended |
//! | `resumed` | pulls whose outcome is `resumed` |
//! | `pull_rate` | good pulls over the seconds that count; `byte_rate`: bytes of bodies, of failed pulls also |
//! | `cpu_per_gib`, `cpu_per_request` | of the whole run: the sum over all watched servers |
//! | `hottest_over_mean` | of the whole run: CPU of the node that used most over the mean of all nodes |
//!
//! Pulls of the warm-up, and those that still ran when a run was stopped, count nowhere. A limit that names no flow is
//! judged for each flow; one on the whole run once, under an empty flow name. Where there is *nothing to measure* the
//! limit is broken, however loose it is: a flow in which no pull ended, a phase that no good pull passed, a server that
//! was not watched or moved too little to say, a flow that is not in the report. A limit with no bound or two is broken
//! too; `Plan::check_limits` refuses it before the run.

use crate::outcome::Outcome;
use crate::phase::Phase;
use crate::plan::{Limit, Measure};
use crate::report::{Distribution, FlowReport, Judged, Report, totals};

/// What comes of each limit of the report's plan, in its order, and within a limit in the order of flows.
pub fn judge(report: &Report) -> Vec<Judged> {
    report.plan.limits.iter().flat_map(|limit| judge_one(report, limit)).collect()
}

/// Whether the run passed: every limit held, every event succeeded, and nothing stopped it.
pub fn passed(report: &Report, judged: &[Judged]) -> bool {
    let events = report.events.iter().all(|event| event.failure.is_none());
    judged.iter().all(|judged| judged.held) && events && report.stalled.is_none()
}

fn judge_one(report: &Report, limit: &Limit) -> Vec<Judged> {
    if limit.measure.is_of_run() {
        return vec![judged(limit, String::new(), of_run(report, limit.measure))];
    }
    let named = |flow: &&FlowReport| limit.flow.as_ref().is_none_or(|name| *name == flow.name);
    let mut all: Vec<Judged> = report
        .flows
        .iter()
        .filter(named)
        .map(|flow| judged(limit, flow.name.clone(), of_flow(report, flow, limit)))
        .collect();
    if all.is_empty() {
        all.push(judged(limit, limit.flow.clone().unwrap_or_default(), None));
    }
    all
}

fn judged(limit: &Limit, flow: String, found: Option<f64>) -> Judged {
    let found = found.filter(|found| found.is_finite());
    let held = match (found, limit.at_most, limit.at_least) {
        (Some(found), Some(most), None) => found <= most,
        (Some(found), None, Some(least)) => found >= least,
        _ => false,
    };
    Judged { limit: limit.clone(), flow, found, held }
}

fn of_run(report: &Report, measure: Measure) -> Option<f64> {
    match measure {
        Measure::CpuPerGib => totals::cpu_per_gib(report),
        Measure::CpuPerRequest => totals::cpu_per_request(report),
        Measure::HottestOverMean => totals::hottest_over_mean(report),
        _ => None,
    }
}

fn of_flow(report: &Report, flow: &FlowReport, limit: &Limit) -> Option<f64> {
    if totals::all(&flow.pulls) == 0 {
        return None;
    }
    let latency = || {
        let good = Distribution::of_good(flow, limit.phase.unwrap_or(Phase::Pull));
        (good.summary().count > 0).then(|| *good.summary())
    };
    match limit.measure {
        Measure::P50 => latency().map(|good| good.p50),
        Measure::P90 => latency().map(|good| good.p90),
        Measure::P95 => latency().map(|good| good.p95),
        Measure::P99 => latency().map(|good| good.p99),
        Measure::P999 => latency().map(|good| good.p999),
        Measure::Max => latency().map(|good| good.max),
        Measure::FailedShare => totals::failed_share(flow),
        Measure::Failed => Some(totals::failed(&flow.pulls) as f64),
        Measure::Resumed => {
            Some(flow.pulls.get(Outcome::Resumed.as_str()).copied().unwrap_or_default() as f64)
        }
        Measure::PullRate => totals::per_second(report, totals::good(&flow.pulls)),
        Measure::ByteRate => totals::per_second(report, totals::all(&flow.bytes)),
        Measure::CpuPerGib | Measure::CpuPerRequest | Measure::HottestOverMean => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::sample;

    fn judge_text(report: &Report, limits: &[&str]) -> Vec<(String, Option<f64>, bool)> {
        let mut report = report.clone();
        report.plan.limits = limits.iter().map(|text| text.parse().expect("a limit")).collect();
        judge(&report).into_iter().map(|judged| (judged.flow, judged.found, judged.held)).collect()
    }

    #[test]
    fn a_limit_without_a_flow_is_judged_for_each_and_breaks_in_the_one_that_broke_it() {
        let report = sample::report();
        let good = |index: usize| Distribution::of_good(&report.flows[index], Phase::Pull).summary().p99;
        let (first, second) = (good(0), good(1));
        assert!(first < second, "the sample has a fast flow first");
        let bound = format!("p99<={}", (first + second) / 2.0);
        let found = judge_text(&report, &[&bound]);
        assert_eq!(found.len(), report.flows.len());
        assert_eq!((found[0].1, found[0].2), (Some(first), true));
        assert_eq!((found[1].1, found[1].2), (Some(second), false));
    }

    #[test]
    fn a_bound_itself_still_holds_from_either_side() {
        let report = sample::report();
        let name = &report.flows[0].name;
        let rate = totals::good(&report.flows[0].pulls) as f64 / report.seconds;
        for (sign, bound, held) in [(">=", rate, true), ("<=", rate, true), (">=", rate * 1.01, false)] {
            let found = judge_text(&report, &[&format!("{name}:pull_rate{sign}{bound}")]);
            assert_eq!(found, [(name.clone(), Some(rate), held)], "{sign} {bound}");
        }
    }

    #[test]
    fn where_there_is_nothing_to_measure_a_limit_is_broken_however_loose() {
        let mut report = sample::report();
        report.servers.clear();
        report.nodes.clear();
        report.flows.truncate(1);
        report.flows[0].pulls.clear();
        for text in
            ["p99<=1000", "failed<=1000", "failed_share<=1", "pull_rate>=0", "byte_rate>=0", "resumed<=9"]
        {
            assert_eq!(judge_text(&report, &[text]), [(report.flows[0].name.clone(), None, false)], "{text}");
        }
        for text in ["cpu_per_gib<=1000", "cpu_per_request<=9", "hottest_over_mean<=99"] {
            assert_eq!(judge_text(&report, &[text]), [(String::new(), None, false)], "{text}");
        }
        assert_eq!(judge_text(&report, &["gone:p99<=1000"]), [("gone".to_owned(), None, false)]);
        let sample = sample::report();
        let found = judge_text(&sample, &["resolve.p99<=1000"]);
        assert!(found.iter().all(|(_, found, held)| found.is_none() && !held), "no flow resolved: {found:?}");
    }

    #[test]
    fn failures_are_counted_of_the_pulls_that_ended_and_resumed_ones_are_none() {
        let mut report = sample::report();
        report.flows.truncate(1);
        let pulls = [("ok", 96), ("resumed", 2), ("short", 1), ("wrong_digest", 1)];
        report.flows[0].pulls = pulls.map(|(name, count)| (name.to_owned(), count)).into();
        let found = judge_text(&report, &["failed<=1", "failed_share<=2%", "resumed<=2"]);
        let found: Vec<_> = found.into_iter().map(|(_, found, held)| (found, held)).collect();
        assert_eq!(found, [(Some(2.0), false), (Some(0.02), true), (Some(2.0), true)]);
    }

    #[test]
    fn a_limit_with_two_bounds_or_none_is_broken() {
        let mut report = sample::report();
        let mut limit: Limit = "p50<=1000".parse().expect("a limit");
        limit.at_least = Some(0.0);
        report.plan.limits = vec![limit.clone(), Limit { at_most: None, at_least: None, ..limit }];
        assert!(judge(&report).iter().all(|judged| !judged.held));
    }

    #[test]
    fn a_run_passes_if_its_limits_held_its_events_succeeded_and_nothing_stopped_it() {
        let mut report = sample::report();
        report.plan.limits = vec!["p50<=1000".parse().expect("a limit")];
        report.stalled = None;
        for event in &mut report.events {
            event.failure = None;
        }
        let judged = judge(&report);
        assert!(passed(&report, &judged));
        report.stalled = Some("nothing arrived for 30 s".to_owned());
        assert!(!passed(&report, &judged));
        report.stalled = None;
        report.events[0].failure = Some("exit status: 1".to_owned());
        assert!(!passed(&report, &judged));
    }
}
