//! Counts what the pulls of one flow on one thread saw.
//!
//! Each pulling thread has a tally for each flow, so that its lock is never waited for but when a snapshot is taken, four
//! times a second. A pull counts, with all that it sees, if it was *meant* to start after the warm-up; the others are
//! counted apart.
//!
//! The time of a whole pull is taken from [`Finished`], from its intended start; [`Phase::Pull`] from elsewhere is passed
//! over.

mod count;
mod distribution;
mod merge;
mod series;
mod waiting;

use std::cell::Cell;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::outcome::Outcome;
use crate::phase::Phase;
use crate::sink::{Finished, Sink};
use crate::subject::Subject;
pub(crate) use count::Counts;
pub(crate) use distribution::{Distribution, TallyError};
pub(crate) use merge::{flow_report, merged};
use waiting::WAITS;
pub(crate) use waiting::Waiting;

/// The times that a run's counting hangs on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Frame {
    /// The start of the run.
    pub(crate) start: Instant,
    /// How long pulls do not count, after it.
    pub(crate) warm_up: Duration,
    /// How long pulls are started that count, after the warm-up.
    pub(crate) duration: Duration,
    /// The length of a bin of the time series.
    pub(crate) bin: Duration,
}

/// What one flow saw on one thread.
#[derive(Debug)]
pub(crate) struct Tally {
    frame: Frame,
    state: Mutex<State>,
}

/// All of a tally, as it is under its lock.
#[derive(Clone, Debug)]
pub(crate) struct State {
    /// Of pulls that count.
    pub(crate) counted: Counts,
    /// Of pulls of the warm-up.
    pub(crate) warm_up: Counts,
    /// What pulls under way wait for, by [`Waiting`].
    pub(crate) waiting: [u64; WAITS],
    /// Grows when something comes or ends. Starts, connections and requests are this side's own doing, which a server that
    /// answers nothing lets go on.
    pub(crate) progress: u64,
}

/// Where one pull tells what it sees.
#[derive(Debug)]
pub(crate) struct PullSink<'a> {
    tally: &'a Tally,
    subject: Arc<Subject>,
    counts: bool,
    waiting: Cell<Waiting>,
}

impl Frame {
    /// The times of a run that starts at `start`. A bin is as many whole seconds as keep the time series, up to the time
    /// limit of the last pull, at 600 bins.
    pub(crate) fn new(start: Instant, warm_up: Duration, duration: Duration, longest_pull: Duration) -> Self {
        let seconds = (duration + longest_pull).as_secs_f64() / series::BINS as f64;
        Self { start, warm_up, duration, bin: Duration::from_secs(seconds.ceil().max(1.0) as u64) }
    }

    /// When pulls begin to count.
    pub(crate) fn counts_from(&self) -> Instant {
        self.start + self.warm_up
    }

    /// When the last pull is started.
    pub(crate) fn end(&self) -> Instant {
        self.counts_from() + self.duration
    }
}

impl Tally {
    /// An empty tally.
    ///
    /// # Errors
    ///
    /// If the bounds of its histograms are refused.
    pub(crate) fn new(frame: Frame) -> Result<Self, TallyError> {
        let counts = || Counts::new(frame.counts_from(), frame.bin);
        let state = State { counted: counts()?, warm_up: counts()?, waiting: [0; WAITS], progress: 0 };
        Ok(Self { frame, state: Mutex::new(state) })
    }

    /// The sink of one pull that was meant to start at `intended`. The pull counts as under way until it is dropped.
    pub(crate) fn begin(&self, intended: Instant, subject: Arc<Subject>) -> PullSink<'_> {
        let counts = intended >= self.frame.counts_from();
        let waiting = Waiting::Connection;
        let mut state = self.lock();
        state.counts(counts).started += 1;
        state.waiting[waiting as usize] += 1;
        PullSink { tally: self, subject, counts, waiting: Cell::new(waiting) }
    }

    /// One pull that was due and was never started, since the run was stopped.
    pub(crate) fn never_started(&self, intended: Instant) {
        let counts = intended >= self.frame.counts_from();
        self.lock().counts(counts).started += 1;
    }

    /// The times that it counts by.
    #[cfg(test)]
    pub(crate) fn frame(&self) -> &Frame {
        &self.frame
    }

    /// Looks at what was counted; the pulls of the flow's thread wait meanwhile.
    pub(crate) fn read<T>(&self, look: impl FnOnce(&State) -> T) -> T {
        look(&self.lock())
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // A count that was broken off by a panic is still the best there is.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn counts(&mut self, counts: bool) -> &mut Counts {
        if counts { &mut self.counted } else { &mut self.warm_up }
    }
}

impl PullSink<'_> {
    fn saw(&self, progress: bool, next: Option<Waiting>, count: impl FnOnce(&mut Counts)) {
        let mut state = self.tally.lock();
        state.progress += u64::from(progress);
        if let Some(next) = next.filter(|next| *next != self.waiting.get()) {
            let before = self.waiting.replace(next);
            state.waiting[before as usize] -= 1;
            state.waiting[next as usize] += 1;
        }
        count(state.counts(self.counts));
    }
}

impl Sink for PullSink<'_> {
    fn phase(&self, phase: Phase, outcome: Outcome, took: Duration) {
        let next = match phase {
            Phase::Resolve => Waiting::Connection,
            Phase::Connect | Phase::Tls | Phase::Token | Phase::Manifest | Phase::Blob => Waiting::NextStep,
            Phase::FirstByte => Waiting::Body,
            Phase::Pull => return,
        };
        let came = !matches!(phase, Phase::Resolve | Phase::Connect);
        self.saw(came, Some(next), |counts| counts.phase(phase, outcome, took));
    }

    fn request(&self) {
        self.saw(false, Some(Waiting::Answer), |counts| counts.requests += 1);
    }

    fn connection(&self) {
        self.saw(false, Some(Waiting::NextStep), |counts| counts.connections += 1);
    }

    fn starved(&self) {
        self.saw(false, None, |counts| counts.starved += 1);
    }

    fn received(&self, bytes: u64) {
        let now = Instant::now();
        self.saw(true, Some(Waiting::Body), |counts| counts.received(now, bytes));
    }

    fn finished(&self, pull: &Finished) {
        let at = pull.intended.saturating_duration_since(self.tally.frame.start);
        self.saw(true, None, |counts| counts.finished(pull, at, &self.subject));
    }
}

impl Drop for PullSink<'_> {
    fn drop(&mut self) {
        let mut state = self.tally.lock();
        state.waiting[self.waiting.get() as usize] -= 1;
    }
}

#[cfg(test)]
mod tests;
