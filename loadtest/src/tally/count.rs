//! The counts of some pulls: those of the warm-up, or those that count.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::distribution::{Distribution, TallyError};
use super::series::Series;
use crate::outcome::Outcome;
use crate::phase::Phase;
use crate::report::Sample;
use crate::sink::Finished;
use crate::subject::Subject;

pub(super) const OUTCOMES: usize = Outcome::ALL.len();
pub(super) const PHASES: usize = Phase::ALL.len();

/// Failures kept of each outcome.
const SAMPLES: usize = 10;

/// What some pulls saw.
#[derive(Clone, Debug)]
pub(crate) struct Counts {
    /// Pulls started, whether or not they have ended.
    pub(crate) started: u64,
    /// Pulls that ended, by outcome.
    pub(crate) pulls: [u64; OUTCOMES],
    /// Bytes of pulls that ended, by outcome.
    pub(crate) pull_bytes: [u64; OUTCOMES],
    /// Bytes that arrived, also of pulls that have not ended.
    pub(crate) bytes: u64,
    pub(crate) requests: u64,
    pub(crate) connections: u64,
    /// Connections that this machine had nothing left for.
    pub(crate) starved: u64,
    pub(crate) resumes: u64,
    /// The end of the last pull that ended.
    pub(crate) last_end: Option<Instant>,
    /// How late pulls were started.
    pub(crate) lateness: Distribution,
    pub(super) phases: [[Option<Box<Distribution>>; OUTCOMES]; PHASES],
    pub(super) series: Series,
    pub(super) failures: Vec<Sample>,
    /// Copied for each phase and outcome that is seen.
    empty: Distribution,
}

impl Counts {
    pub(super) fn new(counts_from: Instant, bin: Duration) -> Result<Self, TallyError> {
        let empty = Distribution::new()?;
        Ok(Self {
            started: 0,
            pulls: [0; OUTCOMES],
            pull_bytes: [0; OUTCOMES],
            bytes: 0,
            requests: 0,
            connections: 0,
            starved: 0,
            resumes: 0,
            last_end: None,
            lateness: empty.clone(),
            phases: Default::default(),
            series: Series::new(counts_from, bin),
            failures: Vec::new(),
            empty,
        })
    }

    /// Pulls that ended.
    pub(crate) fn ended(&self) -> u64 {
        self.pulls.iter().sum()
    }

    /// Latency of good pulls, from their intended starts.
    pub(crate) fn good_latencies(&self) -> impl Iterator<Item = &Distribution> {
        let [.., pull] = &self.phases;
        Outcome::ALL
            .iter()
            .zip(pull)
            .filter(|(outcome, _)| outcome.is_good())
            .filter_map(|(_, distribution)| distribution.as_deref())
    }

    /// The same as one; `None` where no pull ended well.
    pub(crate) fn good_latency(&self) -> Option<Distribution> {
        let mut each = self.good_latencies();
        let mut whole = each.next()?.clone();
        each.for_each(|more| whole.add(more));
        Some(whole)
    }

    pub(super) fn phase(&mut self, phase: Phase, outcome: Outcome, took: Duration) {
        let slot = &mut self.phases[phase as usize][outcome as usize];
        slot.get_or_insert_with(|| Box::new(self.empty.clone())).record(took);
    }

    pub(super) fn received(&mut self, now: Instant, bytes: u64) {
        self.bytes += bytes;
        self.series.received(now, bytes);
    }

    /// `at`: the intended start, after the start of the run.
    pub(super) fn finished(&mut self, pull: &Finished, at: Duration, subject: &Arc<Subject>) {
        let outcome = pull.outcome;
        self.pulls[outcome as usize] += 1;
        self.pull_bytes[outcome as usize] += pull.bytes;
        self.resumes += u64::from(pull.resumes);
        self.last_end = self.last_end.max(Some(pull.ended));
        self.lateness.record(pull.lateness());
        self.phase(Phase::Pull, outcome, pull.latency());
        self.series.pull(pull.intended, outcome, pull.latency());
        if outcome.is_good() {
            return;
        }
        let alike = self.failures.iter().filter(|sample| sample.outcome == outcome).count();
        if alike < SAMPLES {
            let detail = match &pull.failure {
                Some(failure) => failure.detail.clone(),
                None => "the pull does not say why".to_owned(),
            };
            let at = at.as_secs_f64();
            self.failures.push(Sample { at, subject: subject.without_query(), outcome, detail });
        }
    }

    /// Takes all of the other in.
    pub(super) fn add(&mut self, other: &Self) {
        self.started += other.started;
        self.bytes += other.bytes;
        self.requests += other.requests;
        self.connections += other.connections;
        self.starved += other.starved;
        self.resumes += other.resumes;
        self.last_end = self.last_end.max(other.last_end);
        self.lateness.add(&other.lateness);
        self.series.add(&other.series);
        let counts = self.pulls.iter_mut().zip(other.pulls);
        let bytes = self.pull_bytes.iter_mut().zip(other.pull_bytes);
        for (count, more) in counts.chain(bytes) {
            *count += more;
        }
        let slots = self.phases.iter_mut().flatten().zip(other.phases.iter().flatten());
        for (slot, more) in slots {
            match (slot, more) {
                (Some(slot), Some(more)) => slot.add(more),
                (slot @ None, Some(more)) => *slot = Some(more.clone()),
                (_, None) => {}
            }
        }
        self.failures.extend(other.failures.iter().cloned());
        self.failures.sort_by(|a, b| a.outcome.cmp(&b.outcome).then(a.at.total_cmp(&b.at)));
        let mut kept = [0; OUTCOMES];
        self.failures.retain(|sample| {
            kept[sample.outcome as usize] += 1;
            kept[sample.outcome as usize] <= SAMPLES
        });
    }
}
