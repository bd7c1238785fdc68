//! What a report says of itself, in words: each limit beside what was found, and what a reader must know first.

use super::{Judged, Report, totals, unit};
use crate::plan::{Arrivals, Measure};

/// One limit and what came of it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Line {
    /// The flow; `whole run` where it is not of one.
    pub(crate) flow: String,
    /// Such as `p99 of pull`.
    pub(crate) number: String,
    /// Such as `at most 250 ms`.
    pub(crate) wanted: String,
    /// Such as `312 ms`; `nothing to measure` where there is no number.
    pub(crate) found: String,
    /// Whether it held.
    pub(crate) held: bool,
}

/// Each limit, in the report's order.
pub(crate) fn lines(report: &Report) -> Vec<Line> {
    report.judged.iter().map(line).collect()
}

fn line(judged: &Judged) -> Line {
    let measure = judged.limit.measure;
    let bounds = [("at most", judged.limit.at_most), ("at least", judged.limit.at_least)];
    let wanted: Vec<String> = bounds
        .into_iter()
        .filter_map(|(words, bound)| Some(format!("{words} {}", value(measure, bound?))))
        .collect();
    let number = match judged.limit.phase {
        Some(phase) => format!("{} of {}", measure.as_str(), phase.as_str()),
        None if measure.is_latency() => format!("{} of pull", measure.as_str()),
        None => measure.as_str().to_owned(),
    };
    Line {
        flow: if judged.flow.is_empty() { "whole run".to_owned() } else { judged.flow.clone() },
        number,
        wanted: if wanted.is_empty() { "no bound".to_owned() } else { wanted.join(", ") },
        found: judged.found.map_or_else(|| "nothing to measure".to_owned(), |found| value(measure, found)),
        held: judged.held,
    }
}

/// A number of this measure with its unit.
fn value(measure: Measure, value: f64) -> String {
    match measure {
        Measure::FailedShare => unit::share(value),
        Measure::Failed | Measure::Resumed => format!("{} pulls", unit::significant(value)),
        Measure::PullRate => format!("{} pulls/s", unit::significant(value)),
        Measure::ByteRate => unit::byte_rate(value),
        Measure::CpuPerGib => format!("{}/GiB", unit::seconds(value)),
        Measure::HottestOverMean => format!("{} ×", unit::significant(value)),
        _ => unit::seconds(value),
    }
}

/// What broke, as sentences: limits, events, and why the run was stopped. Empty for a run that passed.
pub(crate) fn broken(report: &Report) -> Vec<String> {
    let mut broken = Vec::new();
    if let Some(why) = &report.stalled {
        broken.push(format!("the run was stopped before its end: {why}"));
    }
    let limits = lines(report).into_iter().filter(|line| !line.held);
    broken
        .extend(limits.map(|line| {
            format!("{}: {} was {}, wanted {}", line.flow, line.number, line.found, line.wanted)
        }));
    broken.extend(report.events.iter().filter_map(|event| {
        let failure = event.failure.as_ref()?;
        Some(format!("event {}: {failure}", event.name))
    }));
    broken
}

/// The outcome of the run in one sentence.
pub(crate) fn headline(report: &Report) -> String {
    let limits = report.judged.len();
    let missed = report.judged.iter().filter(|judged| !judged.held).count();
    match (report.passed, limits) {
        (true, 0) => "Came to its end; no limits were set".to_owned(),
        (true, 1) => "Passed: its limit held".to_owned(),
        (true, _) => format!("Passed: all {limits} limits held"),
        (false, _) if missed > 0 => format!("Failed: {missed} of {limits} limits broken"),
        (false, _) if report.stalled.is_some() => "Failed: stopped before its end".to_owned(),
        (false, _) => "Failed".to_owned(),
    }
}

/// What makes the numbers say less, or something else, than they seem to.
pub(crate) fn warnings(report: &Report) -> Vec<String> {
    let mut warnings = report.client.bottlenecks.clone();
    let congestion = report.machine.congestion_control.to_ascii_lowercase();
    // The default says nothing where the loopback's route has its own: `bbr (loopback: cubic)`.
    let congestion = congestion.split_once("loopback: ").map_or(congestion.as_str(), |(_, own)| own);
    let told = warnings.iter().any(|warning| warning.to_ascii_lowercase().contains("bbr"));
    if congestion.contains("bbr") && !told && is_on_loopback(report) {
        warnings.push(
            "loopback uses the congestion control BBR, whose timers triple the cost of a byte there; \
             compare only with runs that had it too"
                .to_owned(),
        );
    }
    for flow in &report.flows {
        if flow.unfinished > 0 {
            let unfinished = unit::count(flow.unfinished);
            let name = &flow.name;
            warnings.push(format!("{name}: {unfinished} pulls still ran at the end, and count nowhere"));
        }
        if totals::all(&flow.pulls) == 0 {
            warnings.push(format!("{}: no pull ended", flow.name));
        }
    }
    let closed = report.plan.flows.iter().filter(|flow| matches!(flow.arrivals, Arrivals::Closed { .. }));
    warnings.extend(closed.map(|flow| {
        format!("{}: a closed loop; its latencies hide what a slow server kept from being asked", flow.name)
    }));
    let missed = report.nodes.iter().filter(|node| node.missed > 0);
    warnings.extend(missed.map(|node| {
        let times =
            if node.missed == 1 { "once".to_owned() } else { format!("{} times", unit::count(node.missed)) };
        format!("{}: could not be read {times}", node.url)
    }));
    warnings
}

fn is_on_loopback(report: &Report) -> bool {
    let named = report.plan.flows.iter().flat_map(|flow| &flow.subjects).chain(&report.command);
    let mut named = named.map(|text| text.rsplit_once("://").map_or(text.as_str(), |(_, rest)| rest));
    named.any(|rest| ["127.", "localhost", "[::1]"].iter().any(|host| rest.starts_with(host)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::sample;

    #[test]
    fn what_broke_is_told_with_the_number_and_the_bound() {
        let mut report = sample::report();
        report.plan.limits = ["warm:p99<=1ms", "failed_share<=1", "cpu_per_gib<=1000", "resolve.p50<=1"]
            .map(|text| text.parse().expect("valid"))
            .into();
        report.judged = crate::judge::judge(&report);
        report.events[0].failure = Some("exit status: 1".to_owned());
        let broken = broken(&report);
        let p99 = unit::seconds(report.judged[0].found.expect("a number"));
        assert_eq!(broken[0], format!("warm: p99 of pull was {p99}, wanted at most 1.00 ms"));
        assert_eq!(broken[1], "warm: p50 of resolve was nothing to measure, wanted at most 1.00 s");
        assert_eq!(broken[4], "event drain a1: exit status: 1");
        assert_eq!(headline(&report), "Failed: 4 of 8 limits broken");
    }

    #[test]
    fn bbr_on_loopback_is_warned_of_once() {
        let mut report = sample::report();
        report.client.bottlenecks.clear();
        let bbr = |report: &Report| warnings(report).iter().filter(|text| text.contains("BBR")).count();
        assert_eq!(bbr(&report), 1);
        report.client.bottlenecks.push("BBR on loopback".to_owned());
        assert_eq!(bbr(&report), 1);
        report.client.bottlenecks.clear();
        for (congestion, warned) in
            [("cubic", 0), ("bbr (loopback: cubic)", 0), ("cubic (loopback: bbr)", 1), ("bbr", 1)]
        {
            report.machine.congestion_control = congestion.to_owned();
            assert_eq!(bbr(&report), warned, "{congestion}");
        }
        report
            .plan
            .flows
            .iter_mut()
            .for_each(|flow| flow.subjects = vec!["https://contoso.example/a:1".to_owned()]);
        assert_eq!(bbr(&report), 0, "{:?}", report.command);
    }
}
