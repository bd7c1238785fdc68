//! What one pull has seen so far, and the clocks of its phases.

use std::cell::{Cell, RefCell};
use std::time::Instant;

use crate::outcome::{Failure, Outcome};
use crate::phase::Phase;
use crate::sink::Sink;

/// Counts of one pull; tells its sink as it goes.
pub(crate) struct Seen<'a> {
    pub(crate) sink: &'a dyn Sink,
    bytes: Cell<u64>,
    resumes: Cell<u32>,
    timed_out: Cell<bool>,
    /// What was under way when the time was up, or what was waited after.
    last: RefCell<String>,
}

/// A phase that runs. Dropped before it is over, it counts as a timeout if that is why, else not at all.
pub(crate) struct Timed<'a> {
    seen: &'a Seen<'a>,
    phase: Phase,
    began: Instant,
    over: bool,
}

impl<'a> Seen<'a> {
    pub(crate) fn new(sink: &'a dyn Sink) -> Self {
        Self {
            sink,
            bytes: Cell::new(0),
            resumes: Cell::new(0),
            timed_out: Cell::new(false),
            last: RefCell::new(String::new()),
        }
    }

    /// Bytes of a blob or a manifest came.
    pub(crate) fn received(&self, count: u64) {
        self.bytes.set(self.bytes.get() + count);
        self.sink.received(count);
    }

    /// A cut body is continued.
    pub(crate) fn resumed(&self) {
        self.resumes.set(self.resumes.get() + 1);
    }

    /// Something failed and is tried again later.
    pub(crate) fn retried(&self, failure: &Failure) {
        self.last.replace(format!("the client was trying again after: {}", failure.detail));
    }

    /// The pull's time is up; what is dropped from now on counts as a timeout.
    pub(crate) fn time_out(&self) {
        self.timed_out.set(true);
    }

    pub(crate) fn has_timed_out(&self) -> bool {
        self.timed_out.get()
    }

    /// What was under way at a timeout.
    pub(crate) fn cut_off(&self, what: String) {
        self.last.replace(what);
    }

    pub(crate) fn last(&self) -> String {
        self.last.borrow().clone()
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.bytes.get()
    }

    pub(crate) fn resumes(&self) -> u32 {
        self.resumes.get()
    }

    /// Starts a clock.
    pub(crate) fn time(&'a self, phase: Phase) -> Timed<'a> {
        Timed { seen: self, phase, began: Instant::now(), over: false }
    }
}

impl Timed<'_> {
    /// Starts again from now: what came before was another part of the pull.
    pub(crate) fn restart(&mut self) {
        self.began = Instant::now();
    }

    /// The phase is over.
    pub(crate) fn end(&mut self, outcome: Outcome) {
        if !self.over {
            self.over = true;
            self.seen.sink.phase(self.phase, outcome, self.began.elapsed());
        }
    }

    /// The phase is over, with this result.
    pub(crate) fn end_with<T>(&mut self, result: &Result<T, Failure>) {
        self.end(result.as_ref().map_or_else(|failure| failure.outcome, |_| Outcome::Ok));
    }
}

impl Drop for Timed<'_> {
    fn drop(&mut self) {
        if self.seen.has_timed_out() {
            self.end(Outcome::Timeout);
        }
    }
}
