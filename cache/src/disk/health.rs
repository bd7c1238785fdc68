//! Whether the disk is worth asking, judged for reads and for writes apart.
//!
//! A disk that hangs is left alone while any call hangs: the calls that hang tell when it is back. A disk that fails is
//! left alone after some errors in a row, for a pause; then one call is let through, and its end decides. So trouble
//! costs a bounded wait and a few errors, and nobody has to probe.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crate::Bypass;
use crate::sync::lock;

/// Errors in a row after which a disk is left alone. Fewer may be one bad spot.
const MAX_ERRORS: u32 = 5;

/// The first pause; each next one is twice as long, up to the last.
const FIRST_PAUSE: Duration = Duration::from_millis(250);
const LAST_PAUSE: Duration = Duration::from_secs(2);

/// With so many calls out, a disk from which none has come back for a tenth of the time is said to hang: each holds a
/// thread. One that is only busy gives some back.
const MANY_CALLS: usize = 128;

/// Why a call is not made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// The file system is full.
    Full,
    /// Calls hang or fail.
    Trouble,
}

impl From<Refusal> for Bypass {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Full => Self::DiskFull,
            Refusal::Trouble => Self::DiskError,
        }
    }
}

/// How calls of one kind go.
#[derive(Debug)]
pub(super) struct Health {
    /// How long a call may take before the disk is said to hang.
    patience: Duration,
    /// No call is out and there is no pause: what hits in memory asks no more than this.
    calm: AtomicBool,
    calls: Mutex<Calls>,
}

#[derive(Debug)]
struct Calls {
    /// When each call that is not back was made. Ids grow, so the first is the oldest.
    out: BTreeMap<u64, Instant>,
    next: u64,
    /// When the last one came back.
    back: Option<Instant>,
    errors: u32,
    pause: Duration,
    /// The disk is left alone until then, and why.
    paused: Option<(Instant, Refusal)>,
}

/// A call that is under way. Dropped without a word, it says nothing of the disk but that it does not hang.
#[derive(Debug)]
pub(super) struct Call {
    health: Arc<Health>,
    id: u64,
}

impl Health {
    pub(super) fn new(patience: Duration) -> Arc<Self> {
        let calls =
            Calls { out: BTreeMap::new(), next: 0, back: None, errors: 0, pause: FIRST_PAUSE, paused: None };
        Arc::new(Self { patience, calm: AtomicBool::new(true), calls: Mutex::new(calls) })
    }

    /// Why a call would be refused now, if so.
    pub(super) fn refusal(&self) -> Option<Refusal> {
        if self.calm.load(Relaxed) {
            return None;
        }
        self.judge(&lock(&self.calls), Instant::now())
    }

    fn note(&self, calls: &Calls) {
        self.calm.store(calls.out.is_empty() && calls.paused.is_none(), Relaxed);
    }

    fn judge(&self, calls: &Calls, now: Instant) -> Option<Refusal> {
        if let Some((_, oldest)) = calls.out.first_key_value() {
            let still = calls.back.map_or(*oldest, |back| back.max(*oldest));
            let many = calls.out.len() >= MANY_CALLS;
            let waited = now.saturating_duration_since(*oldest);
            if waited >= self.patience || (many && now.saturating_duration_since(still) >= self.patience / 10)
            {
                return Some(Refusal::Trouble);
            }
        }
        calls.paused.filter(|(until, _)| now < *until).map(|(_, why)| why)
    }

    /// Begins a call.
    ///
    /// # Errors
    /// Why it is not to be made.
    pub(super) fn begin(self: &Arc<Self>) -> Result<Call, Refusal> {
        let call = self.begin_first()?;
        // If a pause is just over, this one call is let through, and the others wait for how it ends.
        let mut calls = lock(&self.calls);
        let next = Instant::now() + calls.pause;
        if let Some((until, _)) = &mut calls.paused {
            *until = next;
        }
        drop(calls);
        Ok(call)
    }

    /// Begins a call that another one follows, which is the one that tells: opening a file.
    ///
    /// # Errors
    /// Why it is not to be made.
    pub(super) fn begin_first(self: &Arc<Self>) -> Result<Call, Refusal> {
        let now = Instant::now();
        let mut calls = lock(&self.calls);
        if let Some(refusal) = self.judge(&calls, now) {
            return Err(refusal);
        }
        let id = calls.next;
        calls.next += 1;
        calls.out.insert(id, now);
        self.note(&calls);
        Ok(Call { health: Arc::clone(self), id })
    }
}

impl Call {
    /// The disk did what it was asked.
    pub(super) fn well(self) {
        let mut calls = lock(&self.health.calls);
        calls.errors = 0;
        calls.pause = FIRST_PAUSE;
        calls.paused = None;
    }

    /// It did not; whether that was one time of many.
    pub(super) fn failed(self) -> bool {
        let mut calls = lock(&self.health.calls);
        calls.errors = calls.errors.saturating_add(1);
        let many = calls.errors >= MAX_ERRORS;
        if many {
            calls.pause(Refusal::Trouble);
        }
        many
    }

    /// There was no room, though room was made.
    pub(super) fn full(self) {
        lock(&self.health.calls).pause(Refusal::Full);
    }
}

impl Calls {
    fn pause(&mut self, why: Refusal) {
        self.paused = Some((Instant::now() + self.pause, why));
        self.pause = (self.pause * 2).min(LAST_PAUSE);
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        let mut calls = lock(&self.health.calls);
        calls.out.remove(&self.id);
        calls.back = Some(Instant::now());
        self.health.note(&calls);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Duration = Duration::from_secs(3600);

    /// Sets the time of everything noted so far back.
    fn pass(health: &Health, time: Duration) {
        let mut calls = lock(&health.calls);
        for since in calls.out.values_mut() {
            *since -= time;
        }
        if let Some((until, _)) = &mut calls.paused {
            *until -= time;
        }
        if let Some(back) = &mut calls.back {
            *back -= time;
        }
    }

    #[test]
    fn a_call_that_hangs_keeps_others_away_until_it_is_back() {
        let health = Health::new(PATIENCE);
        let (hangs, returns) = (health.begin().expect("well"), health.begin().expect("well"));
        returns.well();
        assert_eq!(health.refusal(), None);
        pass(&health, PATIENCE);
        assert_eq!(health.begin().expect_err("hangs"), Refusal::Trouble);
        drop(hangs);
        assert_eq!(health.refusal(), None);
        health.begin().expect("well again").well();
    }

    #[test]
    fn many_calls_that_hang_are_noticed_sooner() {
        let health = Health::new(PATIENCE);
        let mut out: Vec<_> = (1..MANY_CALLS).map(|_| health.begin().expect("well")).collect();
        pass(&health, PATIENCE / 10);
        out.push(health.begin().expect("not yet"));
        assert_eq!(health.refusal(), Some(Refusal::Trouble));
        out.pop();
        assert_eq!(health.refusal(), None);
    }

    #[test]
    fn a_disk_that_is_busy_and_gives_calls_back_does_not_hang() {
        let health = Health::new(PATIENCE);
        let mut out: Vec<_> = (0..2 * MANY_CALLS).map(|_| health.begin().expect("well")).collect();
        for _ in 0..4 {
            pass(&health, PATIENCE / 11);
            out.pop();
            assert_eq!(health.refusal(), None);
        }
        pass(&health, PATIENCE);
        assert_eq!(health.refusal(), Some(Refusal::Trouble), "the oldest is not back for all its patience");
    }

    #[test]
    fn five_errors_in_a_row_bring_a_pause_after_which_one_call_decides() {
        let health = Health::new(PATIENCE);
        for _ in 0..3 {
            assert!((0..MAX_ERRORS - 1).all(|_| !health.begin().expect("well enough").failed()));
            health.begin().expect("well enough").well();
        }
        let many = (0..MAX_ERRORS).map(|_| health.begin().expect("well enough").failed());
        assert!(many.eq([false, false, false, false, true]));
        let mut pauses = Vec::new();
        for _ in 0..6 {
            assert_eq!(health.begin().expect_err("paused"), Refusal::Trouble);
            let before = lock(&health.calls).paused.map(|(until, _)| until - Instant::now());
            pauses.push(before.expect("paused").as_secs_f64().mul_add(4.0, 0.5) as u32);
            pass(&health, LAST_PAUSE);
            drop(health.begin_first().expect("a file is opened first"));
            let trial = health.begin().expect("the pause is over");
            assert_eq!(health.begin().expect_err("one at a time"), Refusal::Trouble);
            trial.failed();
        }
        assert_eq!(pauses, [1, 2, 4, 8, 8, 8], "quarters of a second");
        pass(&health, LAST_PAUSE);
        health.begin().expect("the pause is over").well();
        health.begin().expect("well again").failed();
        assert_eq!(health.refusal(), None);
    }

    #[test]
    fn a_full_disk_is_left_alone_at_once_and_said_to_be_full() {
        let health = Health::new(PATIENCE);
        health.begin().expect("well").full();
        assert_eq!(health.refusal(), Some(Refusal::Full));
        pass(&health, FIRST_PAUSE);
        assert_eq!(health.refusal(), None);
    }
}
