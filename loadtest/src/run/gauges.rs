//! Looks at a run while it runs: makes the snapshots that the terminal shows.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::drive::{FlowWork, Running};
use crate::outcome::Outcome;
use crate::snapshot::{EventSnapshot, FlowSnapshot, Snapshot, Stage};
use crate::tally::{Counts, Distribution, Frame, TallyError};

/// What counts as recent.
const RECENT: Duration = Duration::from_secs(5);
/// Between two marks that later counts are compared with.
const MARK_EVERY: Duration = Duration::from_millis(900);

/// Remembers as much of the last seconds as a snapshot needs.
#[derive(Debug)]
pub(super) struct Gauges {
    title: String,
    frame: Frame,
    flows: Vec<Gauge>,
    empty: Distribution,
}

#[derive(Debug)]
struct Gauge {
    name: String,
    planned_warm_up: Option<u64>,
    planned_counted: Option<u64>,
    counts_begun: bool,
    marks: VecDeque<Mark>,
}

/// A flow's counts at some moment.
#[derive(Clone, Debug)]
struct Mark {
    at: Instant,
    started: u64,
    pulls: [u64; Outcome::ALL.len()],
    bytes: u64,
    latency: Distribution,
}

impl Gauges {
    pub(super) fn new(title: &str, frame: Frame, flows: &[FlowWork]) -> Result<Self, TallyError> {
        let total = frame.warm_up + frame.duration;
        let empty = Distribution::new()?;
        let flows = flows.iter().map(|flow| Gauge {
            name: flow.name.clone(),
            planned_warm_up: flow.timing.planned(Duration::ZERO, frame.warm_up),
            planned_counted: flow.timing.planned(frame.warm_up, total),
            counts_begun: false,
            marks: [Mark::none(frame.start, &empty)].into(),
        });
        Ok(Self { title: title.to_owned(), frame, flows: flows.collect(), empty })
    }

    /// The run as it is at `now`.
    pub(super) fn snapshot(
        &mut self,
        now: Instant,
        running: &Running,
        events: Vec<EventSnapshot>,
        notes: Vec<String>,
    ) -> Snapshot {
        let counts = now >= self.frame.counts_from();
        let stage = match counts {
            false => Stage::WarmUp,
            true if now < self.frame.end() => Stage::Measuring,
            true => Stage::Ending,
        };
        let flows = self.flows.iter_mut().zip(&running.tallies).map(|(gauge, tallies)| {
            let mut mark = Mark::none(now, &self.empty);
            let mut under_way = 0;
            for tally in tallies {
                tally.read(|state| {
                    mark.add(if counts { &state.counted } else { &state.warm_up });
                    under_way += state.waiting.iter().sum::<u64>();
                });
            }
            let begin = counts.then(|| self.frame.counts_from());
            gauge.snapshot(mark, under_way, begin, &self.empty)
        });
        Snapshot {
            title: self.title.clone(),
            stage,
            elapsed: now.saturating_duration_since(self.frame.start),
            warm_up: self.frame.warm_up,
            duration: self.frame.duration,
            flows: flows.collect(),
            events,
            notes,
        }
    }
}

impl Gauge {
    /// `counts_from`: when the counts begun that `now` is of, if not with the run.
    fn snapshot(
        &mut self,
        now: Mark,
        under_way: u64,
        counts_from: Option<Instant>,
        empty: &Distribution,
    ) -> FlowSnapshot {
        if let Some(begin) = counts_from.filter(|_| !self.counts_begun) {
            self.counts_begun = true;
            self.marks = [Mark::none(begin, empty)].into();
        }
        // The newest mark that is as old as what counts as recent, else the oldest there is.
        while self.marks.get(1).is_some_and(|mark| now.at.saturating_duration_since(mark.at) >= RECENT) {
            self.marks.pop_front();
        }
        let before = self.marks.front().cloned().unwrap_or_else(|| Mark::none(now.at, empty));
        let seconds = now.at.saturating_duration_since(before.at).as_secs_f64();
        let rate = |more: u64| if seconds > 0.0 { more as f64 / seconds } else { 0.0 };
        let snapshot = FlowSnapshot {
            name: self.name.clone(),
            planned: if self.counts_begun { self.planned_counted } else { self.planned_warm_up },
            started: now.started,
            under_way,
            finished: Outcome::ALL.into_iter().zip(now.pulls).filter(|(_, count)| *count > 0).collect(),
            pull_rate: rate(now.ended() - before.ended()),
            bytes: now.bytes,
            byte_rate: rate(now.bytes - before.bytes),
            latency: now.latency.summary(),
            recent_latency: now.latency.since(&before.latency).summary(),
        };
        let last = self.marks.back().map(|mark| now.at.saturating_duration_since(mark.at));
        if last.is_none_or(|ago| ago >= MARK_EVERY) {
            self.marks.push_back(now);
        }
        snapshot
    }
}

impl Mark {
    fn none(at: Instant, empty: &Distribution) -> Self {
        Self { at, started: 0, pulls: [0; Outcome::ALL.len()], bytes: 0, latency: empty.clone() }
    }

    fn add(&mut self, counts: &Counts) {
        self.started += counts.started;
        self.bytes += counts.bytes;
        for (sum, more) in self.pulls.iter_mut().zip(counts.pulls) {
            *sum += more;
        }
        counts.good_latencies().for_each(|latency| self.latency.add(latency));
    }

    fn ended(&self) -> u64 {
        self.pulls.iter().sum()
    }
}
