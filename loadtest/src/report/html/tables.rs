//! The tables of what the client saw: outcomes, phases, failures.

use std::fmt::Write as _;

use super::escape::Escaped;
use super::table::{Cell, Table};
use super::{paragraph, section};
use crate::outcome::Outcome;
use crate::report::{Report, totals, unit};

/// Failures of one outcome in one flow that are shown; the JSON report has more.
const EXAMPLES: usize = 4;

pub(super) fn write(to: &mut String, report: &Report) {
    write_outcomes(to, report);
    write_phases(to, report);
}

fn write_outcomes(to: &mut String, report: &Report) {
    section(to, "outcomes", "Pulls and bytes by outcome");
    let heads = ["flow", "outcome", "pulls", "share", "", "bytes", "share of bytes", ""];
    let mut table = Table::new("Pulls and bytes of bodies by outcome", &heads);
    for flow in &report.flows {
        let (pulls, bytes) = (totals::all(&flow.pulls) as f64, totals::all(&flow.bytes) as f64);
        let both = totals::sum([&flow.pulls, &flow.bytes]);
        for name in totals::names(&both) {
            let of = |counts: &crate::report::ByOutcome| counts.get(name).copied().unwrap_or_default();
            let (ended, arrived) = (of(&flow.pulls), of(&flow.bytes));
            let good = totals::is_good(name);
            table.row(vec![
                Cell::Text(flow.name.clone()),
                Cell::Text(name.to_owned()),
                Cell::Number(unit::count(ended)),
                Cell::Number(unit::share(ended as f64 / pulls)),
                Cell::Bar(ended as f64 / pulls, good),
                Cell::Number(unit::bytes(arrived as f64)),
                Cell::Number(unit::share(arrived as f64 / bytes)),
                Cell::Bar(arrived as f64 / bytes, good),
            ]);
        }
    }
    table.write(to);
    to.push_str("</section>\n");
}

fn write_phases(to: &mut String, report: &Report) {
    section(to, "phases", "Phases");
    let note = "A pull passes some phases many times. The last, pull, is counted from its intended start; the others from their own begin.";
    paragraph(to, "note", note);
    let heads = ["phase", "outcome", "count", "p50", "p90", "p95", "p99", "p99.9", "max", "stdev"];
    for flow in &report.flows {
        let caption = format!("{}: how long each phase took, by outcome", flow.name);
        let mut table = Table::new(&caption, &heads);
        for found in &flow.phases {
            let summary = &found.summary;
            let mut row = vec![
                Cell::Text(found.phase.as_str().to_owned()),
                Cell::Text(found.outcome.as_str().to_owned()),
                Cell::Number(unit::count(summary.count)),
            ];
            let times = [
                summary.p50,
                summary.p90,
                summary.p95,
                summary.p99,
                summary.p999,
                summary.max,
                summary.stdev,
            ];
            row.extend(times.map(|time| {
                Cell::Number(if summary.count == 0 { unit::NONE.to_owned() } else { unit::seconds(time) })
            }));
            table.row(row);
        }
        let _ = writeln!(to, "<h3>{}</h3>", Escaped(&flow.name));
        table.write(to);
    }
    to.push_str("</section>\n");
}

/// The first failures of each outcome; nothing where there are none.
pub(super) fn write_failures(to: &mut String, report: &Report) {
    if report.flows.iter().all(|flow| flow.failures.is_empty()) {
        return;
    }
    section(to, "failures", "Failures, the first of each outcome");
    let heads = ["flow", "at", "outcome", "subject", "what happened"];
    let mut table = Table::new("Failures as examples", &heads);
    for flow in &report.flows {
        let mut told: Vec<Outcome> = Vec::new();
        for sample in &flow.failures {
            told.push(sample.outcome);
            if told.iter().filter(|outcome| **outcome == sample.outcome).count() > EXAMPLES {
                continue;
            }
            table.row(vec![
                Cell::Text(flow.name.clone()),
                Cell::Number(unit::clock(sample.at)),
                Cell::Text(sample.outcome.as_str().to_owned()),
                Cell::Text(sample.subject.clone()),
                Cell::Text(sample.detail.clone()),
            ]);
        }
    }
    table.write(to);
    to.push_str("</section>\n");
}
