//! What was used for one payer.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// Counts what is used for one payer. It only grows; whoever wants a minute of it takes the difference.
#[derive(Debug, Default)]
pub struct Purse {
    cpu_nanos: AtomicU64,
    requests: AtomicU64,
    hit_bytes: AtomicU64,
    miss_bytes: AtomicU64,
    full_handshakes: AtomicU64,
    resumed_handshakes: AtomicU64,
}

/// What a purse has paid by now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Spent {
    /// CPU time, as estimated from the polls that were measured.
    pub cpu: Duration,
    /// Requests that have ended.
    pub requests: u64,
    /// Body bytes that the cache had.
    pub hit_bytes: u64,
    /// Body bytes that it did not have.
    pub miss_bytes: u64,
    /// TLS handshakes with all that belongs to them.
    pub full_handshakes: u64,
    /// TLS handshakes that went on from an earlier session.
    pub resumed_handshakes: u64,
}

impl Purse {
    /// A request has ended, with these bytes sent.
    pub fn request(&self, is_hit: bool, bytes: u64) {
        self.requests.fetch_add(1, Relaxed);
        let counter = if is_hit { &self.hit_bytes } else { &self.miss_bytes };
        counter.fetch_add(bytes, Relaxed);
    }

    /// What it has paid.
    pub fn spent(&self) -> Spent {
        Spent {
            cpu: Duration::from_nanos(self.cpu_nanos.load(Relaxed)),
            requests: self.requests.load(Relaxed),
            hit_bytes: self.hit_bytes.load(Relaxed),
            miss_bytes: self.miss_bytes.load(Relaxed),
            full_handshakes: self.full_handshakes.load(Relaxed),
            resumed_handshakes: self.resumed_handshakes.load(Relaxed),
        }
    }

    pub(crate) fn pay(&self, nanos: u64) {
        self.cpu_nanos.fetch_add(nanos, Relaxed);
    }

    pub(crate) fn handshake(&self, resumed: bool) {
        let counter = if resumed { &self.resumed_handshakes } else { &self.full_handshakes };
        counter.fetch_add(1, Relaxed);
    }
}

impl Spent {
    /// What was spent since `before`.
    pub fn since(&self, before: &Self) -> Self {
        Self {
            cpu: self.cpu.saturating_sub(before.cpu),
            requests: self.requests.saturating_sub(before.requests),
            hit_bytes: self.hit_bytes.saturating_sub(before.hit_bytes),
            miss_bytes: self.miss_bytes.saturating_sub(before.miss_bytes),
            full_handshakes: self.full_handshakes.saturating_sub(before.full_handshakes),
            resumed_handshakes: self.resumed_handshakes.saturating_sub(before.resumed_handshakes),
        }
    }
}
