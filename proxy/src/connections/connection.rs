//! One connection: what runs on it, and how much of that its socket has taken.
//!
//! hyper is done with a response when it has taken the body's last piece, and the client may be a mebibyte behind. So a
//! response runs until its connection was flushed, which hyper does when it has written all that it had.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use tokio::time::Instant;

use super::{Exchange, Running, lock};

/// What a record of TLS 1.3 with AES-GCM or ChaCha20 carries at most, and adds to it (RFC 8446, 5.2).
const RECORD: u64 = 16 << 10;
const RECORD_EXTRA: u64 = 22;

/// One connection. It is in the table for as long as its [`Entry`](super::Entry) lives.
#[derive(Debug)]
pub(crate) struct Connection {
    peer: SocketAddr,
    state: Mutex<Work>,
    /// Bytes that the socket took so far, of every response.
    written: AtomicU64,
    /// Whether those are TLS records.
    sealed: AtomicBool,
    /// Whether responses share it, as in HTTP/2: which of them was flushed is not known.
    shared: AtomicBool,
    /// Whether the head of a response is to be written next.
    awaits_head: AtomicBool,
    /// The length of the head of the response that runs, once it is written.
    head_bytes: AtomicU64,
    /// Whether a response was handed over that may not be flushed.
    unflushed: AtomicBool,
    over: AtomicBool,
}

/// The requests of one connection: HTTP/1.1 has one at a time.
#[derive(Debug)]
struct Work {
    exchanges: Vec<Arc<Exchange>>,
    /// When the last one ended, or the connection began.
    idle_since: Instant,
    /// What was written before the one that runs began.
    written_before: u64,
}

impl Connection {
    pub(super) fn new(peer: SocketAddr) -> Self {
        let work = Work { exchanges: Vec::new(), idle_since: Instant::now(), written_before: 0 };
        Self {
            peer,
            state: Mutex::new(work),
            written: AtomicU64::new(0),
            sealed: AtomicBool::new(false),
            shared: AtomicBool::new(false),
            awaits_head: AtomicBool::new(false),
            head_bytes: AtomicU64::new(0),
            unflushed: AtomicBool::new(false),
            over: AtomicBool::new(false),
        }
    }

    /// What is written to it are TLS records.
    pub(crate) fn is_sealed(&self) {
        self.sealed.store(true, Ordering::Relaxed);
    }

    /// Responses share it. Each counts as taken when it was handed over.
    pub(crate) fn is_shared(&self) {
        self.shared.store(true, Ordering::Relaxed);
    }

    /// A request begins on it.
    pub(crate) fn begin(self: &Arc<Self>) -> Running {
        let exchange = Arc::new(Exchange::new());
        let mut running = self.work();
        // A client that sends the next request before it has the response is none that pulls.
        if running.exchanges.is_empty() {
            running.written_before = self.written.load(Ordering::Relaxed);
            self.head_bytes.store(0, Ordering::Relaxed);
            self.awaits_head.store(!self.shared.load(Ordering::Relaxed), Ordering::Relaxed);
        }
        running.exchanges.push(Arc::clone(&exchange));
        drop(running);
        Running { connection: Arc::clone(self), exchange }
    }

    /// The next bytes that hyper writes, before they are written: a response begins with its head.
    pub(crate) fn writes(&self, first: &[u8]) {
        if self.awaits_head.load(Ordering::Relaxed) && !first.is_empty() {
            self.awaits_head.store(false, Ordering::Relaxed);
            let end = first.windows(4).position(|bytes| bytes == b"\r\n\r\n");
            self.head_bytes.store(end.map_or(0, |end| end as u64 + 4), Ordering::Relaxed);
        }
    }

    /// The socket took so many bytes more.
    pub(crate) fn wrote(&self, bytes: usize) {
        self.written.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// All that hyper has written was taken by the socket.
    pub(crate) fn flushed(&self) {
        if !self.unflushed.load(Ordering::Relaxed) {
            return;
        }
        self.unflushed.store(false, Ordering::Relaxed);
        let mut work = self.work();
        let over: Vec<_> = work.exchanges.extract_if(.., |exchange| exchange.is_over()).collect();
        work.idle_since = Instant::now();
        drop(work);
        over.iter().for_each(|exchange| exchange.settle(None));
    }

    /// All of a response was handed over, or nothing more of it will be.
    pub(super) fn handed_over(&self, exchange: &Arc<Exchange>) {
        if !self.shared.load(Ordering::Relaxed) && !self.has_ended() {
            return self.unflushed.store(true, Ordering::Relaxed);
        }
        let mut work = self.work();
        work.exchanges.retain(|running| !Arc::ptr_eq(running, exchange));
        work.idle_since = Instant::now();
        drop(work);
        exchange.settle(None);
    }

    /// Whether a request runs on it, or a response that was not flushed.
    pub(crate) fn is_busy(&self) -> bool {
        !self.work().exchanges.is_empty()
    }

    /// Since when none does.
    pub(crate) fn idle_since(&self) -> Option<Instant> {
        let running = self.work();
        running.exchanges.is_empty().then_some(running.idle_since)
    }

    /// Bytes written since the last request began, headers included.
    pub(crate) fn written_since_request(&self) -> u64 {
        self.written.load(Ordering::Relaxed).saturating_sub(self.work().written_before)
    }

    /// Tells what runs on it that it is cut; how many that are.
    pub(crate) fn cut(&self) -> u64 {
        let work = self.work();
        work.exchanges.iter().for_each(|exchange| exchange.cut());
        work.exchanges.len() as u64
    }

    /// Nothing more will be handed to it.
    pub(crate) fn is_over(&self) {
        self.over.store(true, Ordering::Relaxed);
    }

    /// Nothing more will be written to it: what is left was not taken.
    pub(crate) fn settle(&self) {
        let mut work = self.work();
        let left: Vec<_> = work.exchanges.drain(..).collect();
        let written_before = work.written_before;
        drop(work);
        let mut taken = self.body_taken(written_before);
        for exchange in left {
            exchange.settle(Some(taken.min(exchange.handed())));
            taken = 0;
        }
    }

    pub(super) fn has_ended(&self) -> bool {
        self.over.load(Ordering::Relaxed)
    }

    pub(super) fn peer(&self) -> SocketAddr {
        self.peer
    }

    /// Shows what runs, each with the bytes of its body that the socket took.
    pub(super) fn each(&self, mut see: impl FnMut(&Exchange, u64)) {
        let work = self.work();
        let alone = work.exchanges.len() == 1 && !self.shared.load(Ordering::Relaxed);
        let most = if alone { self.body_taken(work.written_before) } else { u64::MAX };
        work.exchanges.iter().for_each(|exchange| see(exchange, most.min(exchange.handed())));
    }

    /// Bytes of bodies in what was written beyond so many bytes. Of TLS records it is what full ones carry: a little too much
    /// where they are not full.
    fn body_taken(&self, written_before: u64) -> u64 {
        let written = self.written.load(Ordering::Relaxed).saturating_sub(written_before);
        let sealed = self.sealed.load(Ordering::Relaxed);
        let extra = if sealed { written.div_ceil(RECORD + RECORD_EXTRA) * RECORD_EXTRA } else { 0 };
        written.saturating_sub(extra).saturating_sub(self.head_bytes.load(Ordering::Relaxed))
    }

    fn work(&self) -> MutexGuard<'_, Work> {
        lock(&self.state)
    }
}
