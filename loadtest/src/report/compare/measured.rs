//! The numbers of one run that are compared.

use serde::Serialize;

use super::spread;
use crate::outcome::Outcome;
use crate::phase::Phase;
use crate::report::{Distribution, FlowReport, Report, Server, Summary, totals};

/// What a number is measured in.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// Seconds.
    Seconds,
    /// Pulls per second.
    PullRate,
    /// Bytes per second.
    ByteRate,
    /// From 0 to 1.
    Share,
    /// How many.
    Count,
    /// Bytes.
    Bytes,
}

/// Which way a number is better.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Better {
    /// The less the better.
    Lower,
    /// The more the better.
    Higher,
}

/// One number of one run.
#[derive(Clone, Debug)]
pub(super) struct Measured {
    /// The flow or server.
    pub(super) of: String,
    /// What it is.
    pub(super) name: String,
    pub(super) kind: Kind,
    pub(super) better: Better,
    pub(super) value: f64,
    /// What it may as well have been, by this run alone.
    pub(super) interval: Option<(f64, f64)>,
}

type Percentile = (&'static str, fn(&Summary) -> f64, f64);

/// The percentiles that are compared.
const PERCENTILES: [Percentile; 5] = [
    ("p50", |summary| summary.p50, 0.5),
    ("p90", |summary| summary.p90, 0.9),
    ("p95", |summary| summary.p95, 0.95),
    ("p99", |summary| summary.p99, 0.99),
    ("p99.9", |summary| summary.p999, 0.999),
];

/// All numbers of a run, flow by flow, then server by server. What is no number is left out.
pub(super) fn measured(report: &Report, seed: u64) -> Vec<Measured> {
    let flows = report.flows.iter().flat_map(|flow| of_flow(report, flow, seed));
    let servers = report.servers.iter().flat_map(|server| of_server(report, server));
    flows.chain(servers).filter(|one| one.value.is_finite()).collect()
}

fn of_flow(report: &Report, flow: &FlowReport, seed: u64) -> Vec<Measured> {
    let mut all = Vec::new();
    let pulls = Distribution::of_good(flow, Phase::Pull);
    let uncertain = PERCENTILES.map(|(_, value, _)| spread::over_time(flow, value(pulls.summary())));
    for phase in Phase::ALL {
        all.extend(latencies(flow, phase, &uncertain, seed));
    }
    let mut add = |name: &str, kind, better, value: Option<f64>, interval| {
        if let Some(value) = value {
            all.push(Measured {
                of: flow.name.clone(),
                name: name.to_owned(),
                kind,
                better,
                value,
                interval,
            });
        }
    };
    let rate = totals::per_second(report, totals::good(&flow.pulls));
    // What comes after the last start is the end of what had begun: no rate of the run's own.
    let end = (report.plan.warm_up + report.plan.duration).as_secs_f64();
    let bins = || flow.series.iter().filter(|bin| bin.at + bin.length <= end + 1e-6);
    let pulls = spread::batches(bins().map(|bin| (totals::good(&bin.pulls) as f64, bin.length)));
    add("pull_rate", Kind::PullRate, Better::Higher, rate, spread::around(rate, &pulls));
    let rate = totals::per_second(report, totals::all(&flow.bytes));
    let bytes = spread::batches(bins().map(|bin| (bin.bytes as f64, bin.length)));
    add("byte_rate", Kind::ByteRate, Better::Higher, rate, spread::around(rate, &bytes));
    let (ended, failed) = (totals::all(&flow.pulls), totals::failed(&flow.pulls));
    let share = totals::failed_share(flow);
    add("failed_share", Kind::Share, Better::Lower, share, spread::of_share(failed, ended));
    let count = |outcome: Outcome| flow.pulls.get(outcome.as_str()).copied().unwrap_or_default();
    let resumed = count(Outcome::Resumed);
    let share = (ended > 0).then(|| resumed as f64 / ended as f64);
    add("resumed_share", Kind::Share, Better::Lower, share, spread::of_share(resumed, ended));
    // No matter of chance, so without an interval around it.
    let wrong = count(Outcome::WrongDigest) as f64;
    add("wrong_digests", Kind::Count, Better::Lower, Some(wrong), Some((wrong, wrong)));
    all
}

/// `uncertain` is how uncertain time makes each percentile.
fn latencies(flow: &FlowReport, phase: Phase, uncertain: &[Option<f64>; 5], seed: u64) -> Vec<Measured> {
    let good = Distribution::of_good(flow, phase);
    if good.summary().count == 0 {
        return Vec::new();
    }
    let one = |((name, value, quantile), uncertain): (Percentile, &Option<f64>)| Measured {
        of: flow.name.clone(),
        name: format!("{}.{name}", phase.as_str()),
        kind: Kind::Seconds,
        better: Better::Lower,
        value: value(good.summary()),
        interval: spread::of_quantile(good.buckets(), quantile, *uncertain, seed),
    };
    PERCENTILES.into_iter().zip(uncertain).map(one).collect()
}

fn of_server(report: &Report, server: &Server) -> Vec<Measured> {
    let pairs = spread::cpu_by_time(report, server);
    let per_byte = spread::batches(pairs.iter().map(|pair| (pair.cpu, pair.bytes)));
    let per_pull = spread::batches(pairs.iter().map(|pair| (pair.cpu, pair.pulls)));
    let rows = [
        ("cpu_per_gib", Kind::Seconds, server.per_gib, spread::around(server.per_gib, &per_byte)),
        ("cpu_per_request", Kind::Seconds, server.per_request, spread::around(server.per_request, &per_pull)),
        // One run has one peak.
        ("peak_rss", Kind::Bytes, Some(server.peak_rss as f64), None),
    ];
    let rows = rows.into_iter().filter_map(|(name, kind, value, interval)| {
        let (of, name, better) = (server.name.clone(), name.to_owned(), Better::Lower);
        Some(Measured { of, name, kind, better, value: value?, interval })
    });
    rows.collect()
}
