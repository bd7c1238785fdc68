//! The plots of what the client saw.

use std::fmt::Write as _;

use super::{lines, section};
use crate::phase::Phase;
use crate::report::plot::axis::{Axis, Quantity};
use crate::report::plot::{Line, Plot, PlotError, Reading, Tint};
use crate::report::{Bin, ByOutcome, Distribution, FlowReport, Report, Summary, totals, unit};

pub(super) fn write(to: &mut String, report: &Report) -> Result<(), PlotError> {
    section(to, "latency", "Latency over time");
    for flow in &report.flows {
        latency(to, report, flow)?;
    }
    to.push_str("</section>\n");
    section(to, "percentiles", "Latency by percentile");
    percentiles(to, report)?;
    to.push_str("</section>\n");
    section(to, "throughput", "Throughput over time");
    let bytes = |bin: &Bin| bin.bytes as f64 / bin.length;
    over_time(to, report, "Bytes of bodies per second", Quantity::ByteRate, &bytes)?;
    let pulls = |bin: &Bin| totals::good(&bin.pulls) as f64 / bin.length;
    over_time(to, report, "Good pulls per second, by their intended start", Quantity::Plain, &pulls)?;
    failed(to, report)?;
    to.push_str("</section>\n");
    Ok(())
}

fn middle(bin: &Bin) -> f64 {
    bin.at + bin.length / 2.0
}

type Percentile = fn(&Summary) -> f64;

/// The lines of a latency plot, from the one on top to the one that stands back.
const PERCENTILES: [(&str, Tint, Percentile); 4] = [
    ("p50", Tint::Number(0), |summary| summary.p50),
    ("p95", Tint::Number(2), |summary| summary.p95),
    ("p99", Tint::Number(1), |summary| summary.p99),
    ("max", Tint::Grey, |summary| summary.max),
];

fn latency(to: &mut String, report: &Report, flow: &FlowReport) -> Result<(), PlotError> {
    let seen = flow.series.iter().filter(|bin| bin.latency.count > 0);
    let values = seen.clone().flat_map(|bin| [bin.latency.p50, bin.latency.max]);
    let (x, y) = (lines::time(report), Axis::of_values("latency", Quantity::Seconds, values));
    let lines = PERCENTILES.map(|(name, tint, value)| {
        let values =
            flow.series.iter().map(|bin| (middle(bin), (bin.latency.count > 0).then(|| value(&bin.latency))));
        Line { name: name.to_owned(), tint, pieces: lines::pieces(&x, &y, values) }
    });
    let readings = seen.map(|bin| {
        let (p50, p95) = (unit::seconds(bin.latency.p50), unit::seconds(bin.latency.p95));
        let (p99, max) = (unit::seconds(bin.latency.p99), unit::seconds(bin.latency.max));
        let text = format!(
            "{}: p50 {p50}, p95 {p95}, p99 {p99}, max {max}, {} pulls",
            unit::clock(bin.at),
            unit::count(bin.latency.count)
        );
        Reading { from: bin.at, to: bin.at + bin.length, text }
    });
    let plot =
        Plot { readings: readings.collect(), marks: lines::marks(report, &x), lines: lines.into(), x, y };
    let title = format!("{}: latency of good pulls", flow.name);
    lines::figure(
        to,
        &title,
        "By when each pull was meant to start, so that a stall shows where it hit.",
        plot,
    )
}

fn percentiles(to: &mut String, report: &Report) -> Result<(), PlotError> {
    let flows: Vec<(&FlowReport, Distribution)> =
        report.flows.iter().map(|flow| (flow, Distribution::of_good(flow, Phase::Pull))).collect();
    let most = flows.iter().map(|(_, good)| good.summary().count).max().unwrap_or(0);
    // The last of so many pulls has a rank of 1 - 1/count; beyond it nothing is known.
    let x = Axis::Nines { to: (most.max(10) as f64).log10() };
    let values = flows.iter().flat_map(|(_, good)| good.buckets().iter().map(|(end, _)| *end));
    let y = Axis::of_values("latency", Quantity::Seconds, values);
    let line = |(index, (flow, good)): (usize, &(&FlowReport, Distribution))| Line {
        name: flow.name.clone(),
        tint: Tint::Number(index),
        pieces: lines::pieces(&x, &y, curve(good).into_iter()),
    };
    let lines = flows.iter().enumerate().map(line).collect();
    let plot = Plot { lines, marks: Vec::new(), readings: Vec::new(), x, y };
    lines::figure(to, "Good pulls, each flow", "Each step to the right is ten times rarer.", plot)
}

/// The stairs of a distribution: up to which quantile its values are at most so much.
fn curve(good: &Distribution) -> Vec<(f64, Option<f64>)> {
    let total: u64 = good.buckets().iter().fold(0, |sum, (_, count)| sum.saturating_add(*count));
    // 1 would be an infinity of nines.
    let last = 1.0 - 1.0 / (total.max(1) as f64);
    let mut seen = 0_u64;
    let mut curve = Vec::with_capacity(good.buckets().len() * 2);
    for (end, count) in good.buckets() {
        curve.push(((seen as f64 / total as f64).min(last), Some(*end)));
        seen = seen.saturating_add(*count);
        curve.push(((seen as f64 / total as f64).min(last), Some(*end)));
    }
    curve
}

fn over_time(
    to: &mut String,
    report: &Report,
    title: &'static str,
    quantity: Quantity,
    value: &dyn Fn(&Bin) -> f64,
) -> Result<(), PlotError> {
    let values = report.flows.iter().flat_map(|flow| flow.series.iter().map(value));
    let name = if quantity == Quantity::ByteRate { "bytes" } else { "pulls/s" };
    let (x, y) = (lines::time(report), Axis::from_zero(name, quantity, values));
    let line = |(index, flow): (usize, &FlowReport)| Line {
        name: flow.name.clone(),
        tint: Tint::Number(index),
        pieces: lines::pieces(&x, &y, flow.series.iter().map(|bin| (middle(bin), Some(value(bin))))),
    };
    let lines = report.flows.iter().enumerate().map(line).collect();
    let show = |value: f64| {
        if quantity == Quantity::ByteRate { unit::byte_rate(value) } else { unit::significant(value) }
    };
    let plot =
        Plot { readings: readings(report, value, &show), marks: lines::marks(report, &x), lines, x, y };
    lines::figure(to, title, "", plot)
}

/// What each flow had in each bin of the longest series; all flows have the same bins.
fn readings(report: &Report, value: &dyn Fn(&Bin) -> f64, show: &dyn Fn(f64) -> String) -> Vec<Reading> {
    let longest = report.flows.iter().map(|flow| &flow.series).max_by_key(|series| series.len());
    let reading = |(index, bin): (usize, &Bin)| {
        let mut text = unit::clock(bin.at);
        for flow in &report.flows {
            if let Some(bin) = flow.series.get(index) {
                let _ = write!(text, "\n{}: {}", flow.name, show(value(bin)));
            }
        }
        Reading { from: bin.at, to: bin.at + bin.length, text }
    };
    longest.into_iter().flatten().enumerate().map(reading).collect()
}

/// Failed pulls over time by outcome, of all flows; nothing where none failed.
fn failed(to: &mut String, report: &Report) -> Result<(), PlotError> {
    let all = totals::sum(report.flows.iter().map(|flow| &flow.pulls));
    let outcomes: Vec<&str> = totals::names(&all).into_iter().filter(|name| !totals::is_good(name)).collect();
    if outcomes.is_empty() {
        return Ok(());
    }
    let longest = report.flows.iter().map(|flow| flow.series.len()).max().unwrap_or(0);
    let bins: Vec<(f64, f64, ByOutcome)> = (0..longest)
        .filter_map(|index| {
            let here: Vec<&Bin> = report.flows.iter().filter_map(|flow| flow.series.get(index)).collect();
            let first = here.first()?;
            Some((first.at, first.length, totals::sum(here.iter().map(|bin| &bin.pulls))))
        })
        .collect();
    let rate = |(_, length, pulls): &(f64, f64, ByOutcome), outcome: &str| {
        pulls.get(outcome).copied().unwrap_or_default() as f64 / length
    };
    let values = bins.iter().flat_map(|bin| outcomes.iter().map(|outcome| rate(bin, outcome)));
    let (x, y) = (lines::time(report), Axis::from_zero("pulls/s", Quantity::Plain, values));
    let line = |(index, outcome): (usize, &&str)| Line {
        name: (*outcome).to_owned(),
        tint: Tint::Number(index + 1),
        pieces: lines::pieces(&x, &y, bins.iter().map(|bin| (bin.0 + bin.1 / 2.0, Some(rate(bin, outcome))))),
    };
    let lines = outcomes.iter().enumerate().map(line).collect();
    let plot = Plot { lines, marks: lines::marks(report, &x), readings: Vec::new(), x, y };
    lines::figure(to, "Failed pulls per second by outcome, all flows", "", plot)
}
