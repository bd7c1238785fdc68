//! Pulls that were never made, and the numbers that they would have given.

use std::collections::BTreeMap;

use hdrhistogram::Histogram;
use rand::rngs::StdRng;
use rand_distr::{Distribution as _, LogNormal};

use crate::outcome::Outcome;
use crate::phase::Phase;
use crate::report::{Bin, ByOutcome, PhaseReport, Summary};

/// What a flow is like.
#[derive(Clone, Copy, Debug)]
pub(super) struct FlowShape {
    pub(super) rate: f64,
    /// Seconds.
    pub(super) median: f64,
    /// The standard deviation of the latency's logarithm.
    pub(super) spread: f64,
    /// Of each pull.
    pub(super) bytes: u64,
    /// Of each pull.
    pub(super) requests: u64,
    /// A share.
    pub(super) failed: f64,
}

impl FlowShape {
    #[allow(clippy::expect_used, reason = "shapes are written in the sample")]
    pub(super) fn latency(&self, random: &mut StdRng) -> f64 {
        LogNormal::new(self.median.ln(), self.spread).expect("a spread above 0").sample(random)
    }
}

/// Collects pulls.
pub(super) struct Draws {
    phases: BTreeMap<(Phase, Outcome), Histogram<u64>>,
    pulls: ByOutcome,
    bytes: ByOutcome,
    bins: Vec<(Bin, Histogram<u64>)>,
    begin: f64,
    length: f64,
}

#[allow(clippy::expect_used, reason = "three digits up to an hour are what HdrHistogram can do")]
fn histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1, 3_600_000_000_000, 3).expect("bounds that it takes")
}

impl Draws {
    pub(super) fn new(begin: f64, seconds: f64, length: f64) -> Self {
        let bins = (0..(seconds / length) as u32).map(|bin| {
            let at = begin + f64::from(bin) * length;
            let bin = Bin { at, length, pulls: ByOutcome::new(), bytes: 0, latency: Summary::default() };
            (bin, histogram())
        });
        let bins = bins.collect();
        Self {
            phases: BTreeMap::new(),
            pulls: ByOutcome::new(),
            bytes: ByOutcome::new(),
            bins,
            begin,
            length,
        }
    }

    pub(super) fn pull(&mut self, at: f64, latency: f64, outcome: Outcome, bytes: u64) {
        *self.pulls.entry(outcome.to_string()).or_default() += 1;
        let bytes = if outcome.is_good() { bytes } else { bytes / 3 };
        *self.bytes.entry(outcome.to_string()).or_default() += bytes;
        self.phase(Phase::Pull, outcome, latency);
        let last = self.bins.len() - 1;
        let place = |at: f64| (((at - self.begin) / self.length) as usize).min(last);
        let ended = place(at + latency);
        if let Some((bin, latencies)) = self.bins.get_mut(place(at)) {
            *bin.pulls.entry(outcome.to_string()).or_default() += 1;
            if outcome.is_good() {
                latencies.saturating_record((latency * 1e9) as u64);
            }
        }
        if let Some((bin, _)) = self.bins.get_mut(ended) {
            bin.bytes += bytes;
        }
    }

    /// The pull's parts, as shares of its latency.
    pub(super) fn parts(&mut self, latency: f64, outcome: Outcome, new_connections: bool) {
        let blobs = if outcome.is_good() { Outcome::Ok } else { outcome };
        for _ in 0..if new_connections { 5 } else { 1 } {
            self.phase(Phase::Connect, Outcome::Ok, 60e-6 + latency * 1e-4);
        }
        self.phase(Phase::Manifest, Outcome::Ok, latency * 0.12);
        self.phase(Phase::FirstByte, blobs, latency * 0.2);
        self.phase(Phase::Blob, blobs, latency * 0.8);
    }

    fn phase(&mut self, phase: Phase, outcome: Outcome, took: f64) {
        self.phases.entry((phase, outcome)).or_insert_with(histogram).saturating_record((took * 1e9) as u64);
    }

    pub(super) fn finish(self) -> (ByOutcome, ByOutcome, Vec<PhaseReport>, Vec<Bin>) {
        let phases = self.phases.iter().map(|((phase, outcome), histogram)| PhaseReport {
            phase: *phase,
            outcome: *outcome,
            summary: summary(histogram),
            histogram: buckets(histogram),
        });
        let bins = self.bins.into_iter().map(|(bin, latencies)| Bin { latency: summary(&latencies), ..bin });
        (self.pulls, self.bytes, phases.collect(), bins.collect())
    }
}

fn buckets(histogram: &Histogram<u64>) -> Vec<(f64, u64)> {
    let filled = histogram.iter_recorded();
    filled.map(|at| (at.value_iterated_to() as f64 / 1e9, at.count_at_value())).collect()
}

fn summary(histogram: &Histogram<u64>) -> Summary {
    if histogram.is_empty() {
        return Summary::default();
    }
    let at = |quantile| histogram.value_at_quantile(quantile) as f64 / 1e9;
    Summary {
        count: histogram.len(),
        min: histogram.min() as f64 / 1e9,
        mean: histogram.mean() / 1e9,
        stdev: histogram.stdev() / 1e9,
        p50: at(0.5),
        p90: at(0.9),
        p95: at(0.95),
        p99: at(0.99),
        p999: at(0.999),
        max: histogram.max() as f64 / 1e9,
    }
}
