//! A flow over time, in bins of the same length and in bounded memory.

use std::time::{Duration, Instant};

use hdrhistogram::Histogram;

use super::distribution::summary;
use crate::outcome::Outcome;
use crate::report::{Bin, ByOutcome, Summary};

/// The most bins.
pub(super) const BINS: usize = 600;

/// What was seen, by time.
#[derive(Clone, Debug)]
pub(crate) struct Series {
    begin: Instant,
    length: Duration,
    bins: Vec<Slot>,
}

#[derive(Clone, Debug, Default)]
struct Slot {
    pulls: [u64; Outcome::ALL.len()],
    bytes: u64,
    /// Microseconds of good pulls, to two significant digits: each bin has one, so they have to be small.
    latency: Option<Box<Histogram<u32>>>,
}

impl Series {
    pub(super) fn new(begin: Instant, length: Duration) -> Self {
        Self { begin, length, bins: Vec::new() }
    }

    /// A pull that was meant to start at `intended` has ended.
    pub(super) fn pull(&mut self, intended: Instant, outcome: Outcome, latency: Duration) {
        let slot = self.slot(intended);
        slot.pulls[outcome as usize] += 1;
        if outcome.is_good() {
            let micros = u64::try_from(latency.as_micros()).unwrap_or(u64::MAX).clamp(1, 3_600_000_000);
            if slot.latency.is_none() {
                // Two digits are a form that is always there.
                slot.latency = empty().map(Box::new);
            }
            if let Some(histogram) = &mut slot.latency {
                // It grows up to the hour that times are clamped to.
                let _ = histogram.record(micros);
            }
        }
    }

    /// Bytes of a body arrived.
    pub(super) fn received(&mut self, now: Instant, bytes: u64) {
        self.slot(now).bytes += bytes;
    }

    fn slot(&mut self, at: Instant) -> &mut Slot {
        let place = at.saturating_duration_since(self.begin).as_nanos() / self.length.as_nanos().max(1);
        let place = usize::try_from(place).unwrap_or(usize::MAX).min(BINS - 1);
        if self.bins.len() <= place {
            self.bins.resize_with(place + 1, Slot::default);
        }
        &mut self.bins[place]
    }

    /// Takes all of the other in, which has the same begin and length.
    pub(super) fn add(&mut self, other: &Self) {
        if self.bins.len() < other.bins.len() {
            self.bins.resize_with(other.bins.len(), Slot::default);
        }
        for (slot, more) in self.bins.iter_mut().zip(&other.bins) {
            for (count, more) in slot.pulls.iter_mut().zip(more.pulls) {
                *count += more;
            }
            slot.bytes += more.bytes;
            match (&mut slot.latency, &more.latency) {
                (Some(histogram), Some(more)) => {
                    // Grows as it needs to.
                    let _ = histogram.add(more.as_ref());
                }
                (none @ None, Some(more)) => *none = Some(more.clone()),
                (_, None) => {}
            }
        }
    }

    /// The bins, without gaps, over at least `duration`; their begins count from `start`.
    pub(super) fn bins(&self, start: Instant, duration: Duration) -> Vec<Bin> {
        let length = self.length.as_secs_f64();
        let offset = self.begin.saturating_duration_since(start).as_secs_f64();
        let least = (duration.as_secs_f64() / length).ceil() as usize;
        let empty = Slot::default();
        (0..self.bins.len().max(least.min(BINS)))
            .map(|place| {
                let slot = self.bins.get(place).unwrap_or(&empty);
                Bin {
                    at: offset + place as f64 * length,
                    length,
                    pulls: by_outcome(&slot.pulls),
                    bytes: slot.bytes,
                    latency: slot
                        .latency
                        .as_ref()
                        .map_or_else(Summary::default, |latency| summary(latency, 1e-6)),
                }
            })
            .collect()
    }
}

fn empty() -> Option<Histogram<u32>> {
    let mut histogram = Histogram::new_with_bounds(1, 1_000_000, 2).ok()?;
    histogram.auto(true);
    Some(histogram)
}

/// Counts under the names of their outcomes, those that were not seen left out.
pub(super) fn by_outcome(counts: &[u64; Outcome::ALL.len()]) -> ByOutcome {
    Outcome::ALL
        .iter()
        .zip(counts)
        .filter(|(_, count)| **count > 0)
        .map(|(outcome, count)| (outcome.as_str().to_owned(), *count))
        .collect()
}
