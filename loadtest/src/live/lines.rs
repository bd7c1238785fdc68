//! A moment of a run as lines of text.

use std::time::Duration;

use crate::outcome::Outcome;
use crate::report::{Summary, unit};
use crate::snapshot::{EventState, FlowSnapshot, Snapshot, Stage};

/// How far the stage is, and of what, in milliseconds.
pub(super) fn progress(now: &Snapshot) -> (u64, u64) {
    let (done, of) = match now.stage {
        Stage::WarmUp => (now.elapsed, now.warm_up),
        Stage::Measuring => (now.elapsed.saturating_sub(now.warm_up), now.duration),
        Stage::Ending => (now.duration, now.duration),
    };
    let millis = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
    (millis(done).min(millis(of)), millis(of))
}

/// What it is doing, and since when.
pub(super) fn stage(now: &Snapshot) -> String {
    let clock = |time: Duration| unit::clock(time.as_secs_f64());
    match now.stage {
        Stage::WarmUp => format!("warm-up {} of {}", clock(now.elapsed), clock(now.warm_up)),
        Stage::Measuring => {
            format!("measuring {} of {}", clock(now.elapsed.saturating_sub(now.warm_up)), clock(now.duration))
        }
        Stage::Ending => {
            let running: u64 = now.flows.iter().map(|flow| flow.under_way).sum();
            format!("waiting for {} pulls, {} since the start", unit::count(running), clock(now.elapsed))
        }
    }
}

/// The whole view below the bar: two lines for each flow, events, notes.
pub(super) fn view(now: &Snapshot) -> Vec<String> {
    let longest = now.flows.iter().map(|flow| flow.name.chars().count()).max().unwrap_or(0);
    let mut lines = Vec::new();
    for flow in &now.flows {
        let name = clean(&flow.name);
        lines.push(format!("{name:<longest$}  {}", counts(flow)));
        let indent = " ".repeat(longest);
        lines.push(format!(
            "{indent}  {}/s  {}  last 5 s: {}  all: {}",
            unit::significant(flow.pull_rate),
            unit::byte_rate(flow.byte_rate),
            latency(&flow.recent_latency),
            latency(&flow.latency),
        ));
    }
    for event in &now.events {
        let at = unit::clock(event.at.as_secs_f64());
        let state = match &event.state {
            EventState::Running => "under way".to_owned(),
            EventState::Done => "done".to_owned(),
            EventState::Failed(why) => format!("FAILED: {}", clean(why)),
        };
        lines.push(format!("event {} at {at}: {state}", clean(&event.name)));
    }
    lines.extend(now.notes.iter().map(|note| format!("! {}", clean(note))));
    lines
}

/// All in one line, for a log.
pub(super) fn one(now: &Snapshot) -> String {
    let flow = |flow: &FlowSnapshot| {
        let failed = failed(flow);
        let failed = if failed > 0 { format!(", {} failed", unit::count(failed)) } else { String::new() };
        format!(
            "{}: {}/s {} {}{failed}, {} under way",
            clean(&flow.name),
            unit::significant(flow.pull_rate),
            unit::byte_rate(flow.byte_rate),
            latency(&flow.recent_latency),
            unit::count(flow.under_way),
        )
    };
    let flows: Vec<String> = now.flows.iter().map(flow).collect();
    let mut line = format!("{}; {}", stage(now), flows.join("; "));
    for note in &now.notes {
        line.push_str("; ");
        line.push_str(&clean(note));
    }
    line
}

fn failed(flow: &FlowSnapshot) -> u64 {
    flow.finished.iter().filter(|(outcome, _)| !outcome.is_good()).map(|(_, count)| count).sum()
}

fn counts(flow: &FlowSnapshot) -> String {
    let of = flow.planned.map_or_else(String::new, |planned| format!(" of {}", unit::count(planned)));
    let mut text =
        format!("{}{of} started, {} under way", unit::count(flow.started), unit::count(flow.under_way));
    for (outcome, count) in &flow.finished {
        // What is well says so by itself; what is not stands out.
        let name = if *outcome == Outcome::Ok { "ok".to_owned() } else { outcome.as_str().to_uppercase() };
        text.push_str(&format!(", {} {name}", unit::count(*count)));
    }
    text
}

fn latency(of: &Summary) -> String {
    if of.count == 0 {
        return "no good pull".to_owned();
    }
    let [p50, p95, p99, max] = [of.p50, of.p95, of.p99, of.max].map(unit::seconds);
    format!("p50 {p50} p95 {p95} p99 {p99} max {max}")
}

/// Without what would move the cursor or begin a line.
pub(super) fn clean(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::snapshot::EventSnapshot;

    /// A run under way at a time of it.
    pub(in crate::live) fn at(seconds: u64) -> Snapshot {
        let latency =
            Summary { count: 9, p50: 0.018, p95: 0.04, p99: 0.052, max: 0.121, ..Summary::default() };
        Snapshot {
            title: "mixed day".to_owned(),
            stage: if seconds < 10 { Stage::WarmUp } else { Stage::Measuring },
            elapsed: Duration::from_secs(seconds),
            warm_up: Duration::from_secs(10),
            duration: Duration::from_secs(300),
            flows: vec![FlowSnapshot {
                name: "warm".to_owned(),
                planned: Some(36_000),
                started: 7433,
                under_way: 12,
                finished: vec![(Outcome::Ok, 7418), (Outcome::Reset, 3)],
                pull_rate: 118.4,
                bytes: 1 << 30,
                byte_rate: 283_115_520.0,
                latency,
                recent_latency: Summary::default(),
            }],
            events: vec![EventSnapshot {
                name: "drain a1".to_owned(),
                at: Duration::from_secs(61),
                state: EventState::Failed("exit status: 1".to_owned()),
            }],
            notes: vec!["a pulling thread is busy\u{1b}[2J".to_owned()],
        }
    }

    #[test]
    fn a_view_has_counts_rates_percentiles_events_and_notes() {
        assert_eq!(
            view(&at(72)),
            [
                "warm  7,433 of 36,000 started, 12 under way, 7,418 ok, 3 RESET",
                "      118/s  270 MiB/s  last 5 s: no good pull  all: p50 18.0 ms p95 40.0 ms p99 52.0 ms max 121 ms",
                "event drain a1 at 1:01: FAILED: exit status: 1",
                "! a pulling thread is busy [2J",
            ]
        );
        assert_eq!(stage(&at(72)), "measuring 1:02 of 5:00");
        assert_eq!(progress(&at(72)), (62_000, 300_000));
        assert_eq!((stage(&at(4)), progress(&at(4))), ("warm-up 0:04 of 0:10".to_owned(), (4000, 10_000)));
        assert_eq!(progress(&at(900)), (300_000, 300_000), "a bar has an end");
    }

    #[test]
    fn a_line_of_a_log_says_the_same_in_short() {
        assert_eq!(
            one(&at(72)),
            "measuring 1:02 of 5:00; warm: 118/s 270 MiB/s no good pull, 3 failed, 12 under way; \
             a pulling thread is busy [2J"
        );
        let ending = Snapshot { stage: Stage::Ending, ..at(320) };
        assert!(one(&ending).starts_with("waiting for 12 pulls, 5:20 since the start"));
    }
}
