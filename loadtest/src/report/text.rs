//! The summary that is printed at the end of a run: at most 100 columns, as long as names are short.

use std::fmt::Write as _;

use super::{FlowReport, Report, Summary, totals, unit, verdict};

/// The whole summary, ending in a line feed. What a target or a plan says is printed without control characters.
pub fn summary(report: &Report) -> String {
    let mut text = String::new();
    // Writing into a string cannot fail.
    let _ = write_summary(&mut text, report);
    text.chars().filter(|c| !c.is_control() || *c == '\n').collect()
}

fn write_summary(text: &mut String, report: &Report) -> std::fmt::Result {
    writeln!(
        text,
        "{} (seed {}, {} measured)",
        one_line(&report.plan.title),
        report.seed,
        unit::lasted(report.seconds)
    )?;
    for flow in &report.flows {
        writeln!(text)?;
        write_flow(text, report, flow)?;
    }
    write_cost(text, report)?;
    let warnings = verdict::warnings(report);
    if !warnings.is_empty() {
        writeln!(text)?;
    }
    for warning in warnings {
        writeln!(text, "{}", wrapped("warning: ", &warning))?;
    }
    write_verdict(text, report)
}

fn write_flow(text: &mut String, report: &Report, flow: &FlowReport) -> std::fmt::Result {
    let ended = totals::all(&flow.pulls);
    let rate = |amount| totals::per_second(report, amount).unwrap_or(f64::NAN);
    writeln!(
        text,
        "{}: {} pulls, {}/s good, {} ({}), {} requests, {} connections",
        one_line(&flow.name),
        unit::count(ended),
        unit::significant(rate(totals::good(&flow.pulls))),
        unit::bytes(totals::all(&flow.bytes) as f64),
        unit::byte_rate(rate(totals::all(&flow.bytes))),
        unit::count(flow.requests),
        unit::count(flow.connections),
    )?;
    let share = |count: u64| unit::share(count as f64 / ended as f64);
    let outcomes = totals::names(&flow.pulls).into_iter().map(|name| {
        let count = flow.pulls.get(name).copied().unwrap_or_default();
        format!("{} {} ({})", one_line(name), unit::count(count), share(count))
    });
    let outcomes: Vec<String> = outcomes.collect();
    if !outcomes.is_empty() {
        writeln!(text, "  {}", outcomes.join(", "))?;
    }
    if !flow.phases.is_empty() {
        let heads =
            ["phase", "outcome", "count", "p50", "p90", "p95", "p99", "p99.9", "max"].map(str::to_owned);
        writeln!(text, "{}", row(&heads))?;
    }
    for found in &flow.phases {
        let [count, times @ ..] = numbers(&found.summary);
        let [p50, p90, p95, p99, p999, max] = times;
        let names = (found.phase.as_str().to_owned(), found.outcome.as_str().to_owned());
        writeln!(text, "{}", row(&[names.0, names.1, count, p50, p90, p95, p99, p999, max]))?;
    }
    if flow.lateness.count > 0 {
        let (p99, max) = (unit::seconds(flow.lateness.p99), unit::seconds(flow.lateness.max));
        writeln!(text, "  started late by this machine: p99 {p99}, at most {max}")?;
    }
    // One of each outcome.
    let mut told = Vec::new();
    for sample in &flow.failures {
        if told.contains(&sample.outcome) {
            continue;
        }
        told.push(sample.outcome);
        let line = format!("{} at {}: {}", sample.outcome, unit::clock(sample.at), one_line(&sample.detail));
        writeln!(text, "{}", wrapped("  e.g. ", &line))?;
    }
    Ok(())
}

fn numbers(summary: &Summary) -> [String; 7] {
    let time = |value: f64| if summary.count == 0 { unit::NONE.to_owned() } else { unit::seconds(value) };
    [
        unit::count(summary.count),
        time(summary.p50),
        time(summary.p90),
        time(summary.p95),
        time(summary.p99),
        time(summary.p999),
        time(summary.max),
    ]
}

fn row(cells: &[String; 9]) -> String {
    let [phase, outcome, count, times @ ..] = cells;
    let mut line = format!("  {phase:<11}{outcome:<12}{count:>11}");
    for time in times {
        line.push_str(&format!(" {time:>9}"));
    }
    line
}

fn write_cost(text: &mut String, report: &Report) -> std::fmt::Result {
    if !report.servers.is_empty() || !report.nodes.is_empty() {
        writeln!(text)?;
    }
    for server in &report.servers {
        let or_none = |number: Option<f64>| number.map_or_else(|| unit::NONE.to_owned(), unit::seconds);
        writeln!(
            text,
            "server {}: {} CPU ({} user, {} system), {}/GiB, {}/request, {} at most",
            one_line(&server.name),
            unit::seconds(server.user + server.system),
            unit::seconds(server.user),
            unit::seconds(server.system),
            or_none(server.per_gib),
            or_none(server.per_request),
            unit::bytes(server.peak_rss as f64),
        )?;
    }
    for node in &report.nodes {
        writeln!(text, "node {}: {} CPU", one_line(&node.url), unit::seconds(node.cpu))?;
    }
    if let Some(ratio) = totals::hottest_over_mean(report).filter(|_| report.nodes.len() > 1) {
        writeln!(text, "hottest node over the mean: {} ×", unit::significant(ratio))?;
    }
    writeln!(
        text,
        "load: {} CPU, busiest thread {} of a core, timers {} late (p99), {} connections at most",
        unit::seconds(report.client.cpu),
        unit::share(report.client.busiest_thread),
        unit::seconds(report.client.timer_lag.p99),
        unit::count(report.client.peak_connections),
    )
}

fn write_verdict(text: &mut String, report: &Report) -> std::fmt::Result {
    writeln!(text)?;
    let lines = verdict::lines(report);
    let widest =
        |of: fn(&verdict::Line) -> &str| lines.iter().map(|line| of(line).chars().count()).max().unwrap_or(0);
    let (flow, number, wanted) =
        (widest(|line| &line.flow), widest(|line| &line.number), widest(|line| &line.wanted));
    for line in &lines {
        let word = if line.held { "held  " } else { "BROKEN" };
        writeln!(
            text,
            "{word}  {:<flow$}  {:<number$}  {:<wanted$}  found {}",
            one_line(&line.flow),
            line.number,
            line.wanted,
            line.found
        )?;
    }
    for event in report.events.iter() {
        if let Some(failure) = &event.failure {
            let what = format!("event {}: {}", one_line(&event.name), one_line(failure));
            writeln!(text, "{}", wrapped("BROKEN  ", &what))?;
        }
    }
    if let Some(why) = &report.stalled {
        writeln!(text, "{}", wrapped("STOPPED ", &one_line(why)))?;
    }
    writeln!(text, "{}", verdict::headline(report))
}

/// Without what would move the cursor or begin a line of its own.
fn one_line(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

/// `text` after `head`, broken between words before column 100, the other lines set in by as much.
fn wrapped(head: &str, text: &str) -> String {
    let inset = head.chars().count();
    let mut all = head.to_owned();
    let mut column = inset;
    for (place, word) in one_line(text).split_whitespace().enumerate() {
        let length = word.chars().count();
        if place > 0 && column + 1 + length > 100 {
            all.push('\n');
            all.extend(std::iter::repeat_n(' ', inset));
            column = inset;
        } else if place > 0 {
            all.push(' ');
            column += 1;
        }
        all.push_str(word);
        column += length;
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::sample;

    #[test]
    fn a_summary_has_every_flow_phase_outcome_and_limit_within_100_columns() {
        let report = sample::report();
        let text = summary(&report);
        for flow in &report.flows {
            assert!(
                text.contains(&format!("{}: {} pulls", flow.name, unit::count(totals::all(&flow.pulls)))),
                "{text}"
            );
            for found in &flow.phases {
                let wanted =
                    [found.phase.as_str(), found.outcome.as_str(), &unit::count(found.summary.count)];
                let p999 = unit::seconds(found.summary.p999);
                let mut lines = text.lines().filter(|line| line.contains(&p999));
                let is_it = |line: &str| line.split_whitespace().take(3).eq(wanted);
                assert!(lines.any(is_it), "{found:?} in\n{text}");
            }
        }
        let limits =
            text.lines().filter(|line| line.starts_with("held") || line.starts_with("BROKEN")).count();
        assert_eq!(limits, report.judged.len());
        let widest = text.lines().map(|line| line.chars().count()).max();
        assert!(widest <= Some(100), "{widest:?} columns:\n{text}");
    }

    #[test]
    fn what_a_target_says_cannot_move_the_cursor() {
        let text = summary(&sample::report_with_texts("\u{1b}[2J\r\u{9b}31m\u{7}evil\nnew line"));
        assert!(text.contains("evil new line"));
        assert!(text.chars().all(|c| c == '\n' || !c.is_control()));
        assert!(text.lines().all(|line| !line.starts_with("new line")), "{text}");
    }
}
