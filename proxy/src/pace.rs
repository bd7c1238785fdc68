//! How well the client of a connection keeps up, and so how much is worth having ready for it.
//!
//! Large pieces cost less CPU a byte, and whoever takes them slowly holds their memory for as long: a block of 1 MiB for
//! each of 10,000 slow clients is all that a node has. So pieces begin small and grow with what the client has taken
//! since it last kept the connection waiting. What only went into the kernel's buffers counts as taken: hence a
//! mebibyte of it before there is no bound.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

/// What is ready for a client that has shown nothing: a TLS record.
const LEAST: u64 = 16 << 10;
/// What is ready of that which a client has taken: one part in so many.
const SHARE: u64 = 8;
/// A client that has taken so much keeps up.
const TRUSTED: u64 = 1 << 20;
/// A wait of this length is the client's; a shorter one may be the network's or ours.
const SLOW: Duration = Duration::from_millis(200);

/// The pace of one connection.
#[derive(Debug, Default)]
pub(crate) struct Pace {
    /// Bytes taken since the client last kept us waiting.
    taken: AtomicU64,
}

impl Pace {
    /// How many bytes are worth having ready; `None` where there is no reason for a bound.
    pub(crate) fn ready_bytes(&self) -> Option<u64> {
        let taken = self.taken.load(Relaxed);
        (taken < TRUSTED).then(|| (taken / SHARE).max(LEAST))
    }

    fn took(&self, bytes: usize) {
        // Only the connection's own task writes.
        self.taken.store(self.taken.load(Relaxed).saturating_add(bytes as u64), Relaxed);
    }

    fn kept_waiting(&self) {
        self.taken.store(0, Relaxed);
    }
}

/// Tells the pace of how writes go.
#[derive(Debug, Default)]
pub(crate) struct Watch {
    waiting: Option<Instant>,
}

impl Watch {
    /// The client takes no more for now.
    pub(crate) fn waits(&mut self) {
        self.waiting.get_or_insert_with(Instant::now);
    }

    /// So many bytes were taken.
    pub(crate) fn took(&mut self, pace: &Pace, bytes: usize) {
        self.has_all(pace);
        pace.took(bytes);
    }

    /// All that was written was taken: whatever time passes from now on is not the client's.
    pub(crate) fn has_all(&mut self, pace: &Pace) {
        if self.waiting.take().is_some_and(|since| since.elapsed() >= SLOW) {
            pace.kept_waiting();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn little_is_ready_until_much_was_taken_and_again_after_a_long_wait() {
        let (pace, mut watch) = (Pace::default(), Watch::default());
        assert_eq!(pace.ready_bytes(), Some(LEAST));
        let mut pieces = 0;
        while let Some(ready) = pace.ready_bytes() {
            watch.took(&pace, ready as usize);
            pieces += 1;
        }
        assert!(pieces < 40, "{pieces} pieces before a client is trusted");
        watch.waits();
        watch.took(&pace, 1);
        assert_eq!(pace.ready_bytes(), None, "a short wait says nothing");
        watch.waiting = Instant::now().checked_sub(SLOW);
        watch.waits();
        watch.took(&pace, 1);
        assert_eq!(pace.ready_bytes(), Some(LEAST));
    }

    #[test]
    fn a_client_that_has_all_and_asks_later_has_kept_nobody_waiting() {
        let (pace, mut watch) = (Pace::default(), Watch::default());
        watch.took(&pace, TRUSTED as usize);
        // A flush that had to wait, for a moment; then nothing until the next request.
        watch.waits();
        watch.has_all(&pace);
        assert!(watch.waiting.is_none(), "what follows is the time between two requests");
        watch.took(&pace, 1);
        assert_eq!(pace.ready_bytes(), None);
        watch.waiting = Instant::now().checked_sub(SLOW);
        watch.has_all(&pace);
        assert_eq!(pace.ready_bytes(), Some(LEAST), "the flush itself took long");
    }
}
