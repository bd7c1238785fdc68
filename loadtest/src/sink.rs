//! Where a pull tells what it saw. Owned by the puller; the tally implements it, and a list of events in tests.

use std::time::{Duration, Instant};

use crate::outcome::{Failure, Outcome};
use crate::phase::Phase;

/// Takes what one pull sees, while it sees it. Called on the thread of the pull; must not block.
pub trait Sink {
    /// A phase ended, `took` after it began.
    fn phase(&self, phase: Phase, outcome: Outcome, took: Duration);
    /// A request was sent.
    fn request(&self);
    /// A connection was opened.
    fn connection(&self);
    /// A connection could not be opened for want of something of this machine: a port, a file, memory.
    fn starved(&self) {}
    /// Bytes of a body arrived (blobs and manifests; not heads, not TLS framing).
    fn received(&self, bytes: u64);
    /// The pull ended.
    fn finished(&self, pull: &Finished);
}

/// One pull that has ended.
#[derive(Clone, Debug)]
pub struct Finished {
    /// Its place in the order of intended starts, from 0.
    pub number: u64,
    /// When it was meant to start.
    pub intended: Instant,
    /// When it really started: later, where this machine could not keep up.
    pub started: Instant,
    /// When it ended.
    pub ended: Instant,
    /// The worst of its requests.
    pub outcome: Outcome,
    /// What failed first, for an outcome that is not good.
    pub failure: Option<Failure>,
    /// Bytes of bodies that arrived.
    pub bytes: u64,
    /// How often a cut body was continued.
    pub resumes: u32,
}

impl Finished {
    /// From the intended start to the end: what a user would have waited.
    pub fn latency(&self) -> Duration {
        self.ended.saturating_duration_since(self.intended)
    }

    /// How late this machine was.
    pub fn lateness(&self) -> Duration {
        self.started.saturating_duration_since(self.intended)
    }
}
