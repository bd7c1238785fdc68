//! The connections that are open, and what runs on each: what a drain has to wait for, told to whoever wants to know.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use bytes::Bytes;
use dataproxy_router_api::RegistryName;
use tokio::time::Instant;

use crate::name::Repository;

mod tracked;

pub(crate) use tracked::Tracked;

/// Parts of the table, each under a lock of its own. A connection takes one when it begins and ends, a request none.
const SHARDS: usize = 16;

type Shard = Mutex<HashMap<u64, Arc<Connection>>>;

/// All connections that are open.
#[derive(Debug, Default)]
pub struct Connections {
    shards: [Shard; SHARDS],
    next: AtomicU64,
}

/// One connection. It is in the table for as long as its [`Entry`] lives.
#[derive(Debug)]
pub(crate) struct Connection {
    peer: SocketAddr,
    state: Mutex<Work>,
    /// Bytes written to it so far, by every response.
    written: AtomicU64,
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

/// A request and its response.
#[derive(Debug)]
pub(crate) struct Exchange {
    began: Instant,
    about: OnceLock<Subject>,
    length: AtomicU64,
    sent: AtomicU64,
    cut: AtomicBool,
}

/// What a request is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subject {
    /// The registry.
    pub registry: RegistryName,
    /// The repository.
    pub repository: Option<Repository>,
    /// The tag or digest.
    pub reference: Option<String>,
}

/// How many connections there are, by what they do.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Counts {
    /// Those with a request.
    pub busy: usize,
    /// Those without one.
    pub idle: usize,
    /// Those that are over: all is written, and the client has not closed yet.
    pub ending: usize,
    /// Responses under way.
    pub responses: usize,
    /// Body bytes that are left to send.
    pub bytes_left: u64,
    /// Seconds since the oldest request under way began.
    pub oldest_seconds: f64,
}

/// A response under way.
#[derive(Clone, Debug)]
pub struct Remaining {
    /// What it is about, where that is known yet.
    pub about: Option<Subject>,
    /// The client's end of the connection.
    pub peer: SocketAddr,
    /// Body bytes handed to the connection.
    pub sent: u64,
    /// Body bytes in all; 0 until they are known.
    pub length: u64,
    /// Seconds since the request.
    pub age_seconds: f64,
}

impl Remaining {
    /// Seconds until its end at the rate that it had so far, if it had any.
    pub fn eta_seconds(&self) -> Option<f64> {
        let left = self.length.saturating_sub(self.sent);
        (self.sent > 0 && self.length > 0).then(|| self.age_seconds * left as f64 / self.sent as f64)
    }
}

/// A connection's place in the table.
#[derive(Debug)]
pub(crate) struct Entry {
    table: Arc<Connections>,
    id: u64,
    pub(crate) connection: Arc<Connection>,
}

impl Connections {
    /// Enters a connection.
    pub(crate) fn enter(self: &Arc<Self>, peer: SocketAddr) -> Entry {
        let work = Work { exchanges: Vec::new(), idle_since: Instant::now(), written_before: 0 };
        let connection = Arc::new(Connection {
            peer,
            state: Mutex::new(work),
            written: AtomicU64::new(0),
            over: AtomicBool::new(false),
        });
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        self.shard(id).insert(id, Arc::clone(&connection));
        Entry { table: Arc::clone(self), id, connection }
    }

    /// How many there are.
    pub fn count(&self) -> Counts {
        let mut counts = Counts::default();
        let now = Instant::now();
        self.each(|connection| {
            if connection.over.load(Ordering::Relaxed) {
                counts.ending += 1;
                return;
            }
            let running = connection.work();
            if running.exchanges.is_empty() {
                counts.idle += 1;
            } else {
                counts.busy += 1;
            }
            for exchange in &running.exchanges {
                counts.responses += 1;
                counts.bytes_left += exchange.left();
                counts.oldest_seconds = counts.oldest_seconds.max((now - exchange.began).as_secs_f64());
            }
        });
        counts
    }

    /// The oldest responses under way, `most` of them.
    pub fn remaining(&self, most: usize) -> Vec<Remaining> {
        let now = Instant::now();
        let mut all = Vec::new();
        self.each(|connection| {
            if connection.over.load(Ordering::Relaxed) {
                return;
            }
            all.extend(connection.work().exchanges.iter().map(|exchange| Remaining {
                about: exchange.about.get().cloned(),
                peer: connection.peer,
                sent: exchange.sent.load(Ordering::Relaxed),
                length: exchange.length.load(Ordering::Relaxed),
                age_seconds: (now - exchange.began).as_secs_f64(),
            }));
        });
        all.sort_by(|one, two| two.age_seconds.total_cmp(&one.age_seconds));
        all.truncate(most);
        all
    }

    fn each(&self, mut see: impl FnMut(&Connection)) {
        for shard in &self.shards {
            // Not under the lock: a connection's own lock is taken by `see`.
            let some: Vec<_> = lock(shard).values().cloned().collect();
            some.iter().for_each(|connection| see(connection));
        }
    }

    fn shard(&self, id: u64) -> MutexGuard<'_, HashMap<u64, Arc<Connection>>> {
        let [first, ..] = &self.shards;
        lock(self.shards.get(id as usize % SHARDS).unwrap_or(first))
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        self.table.shard(self.id).remove(&self.id);
    }
}

impl Entry {
    /// The table.
    pub(crate) fn table(&self) -> &Connections {
        &self.table
    }
}

impl Connection {
    /// A request begins on it.
    pub(crate) fn begin(self: &Arc<Self>) -> Running {
        let exchange = Arc::new(Exchange {
            began: Instant::now(),
            about: OnceLock::new(),
            length: AtomicU64::new(0),
            sent: AtomicU64::new(0),
            cut: AtomicBool::new(false),
        });
        let mut running = self.work();
        running.written_before = self.written.load(Ordering::Relaxed);
        running.exchanges.push(Arc::clone(&exchange));
        drop(running);
        Running { connection: Arc::clone(self), exchange }
    }

    /// So many bytes more were written to it.
    pub(crate) fn wrote(&self, bytes: usize) {
        self.written.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// Whether a request runs on it.
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
        self.written.load(Ordering::Relaxed) - self.work().written_before
    }

    /// Tells what runs on it that it is cut; how many that are.
    pub(crate) fn cut(&self) -> u64 {
        let work = self.work();
        work.exchanges.iter().for_each(|exchange| exchange.cut.store(true, Ordering::Relaxed));
        work.exchanges.len() as u64
    }

    /// All is written that will be.
    pub(crate) fn is_over(&self) {
        self.over.store(true, Ordering::Relaxed);
    }

    fn work(&self) -> MutexGuard<'_, Work> {
        lock(&self.state)
    }
}

impl Exchange {
    /// What it is about.
    pub(crate) fn is_about(&self, subject: Subject) {
        let _ = self.about.set(subject);
    }

    /// Whether the node cut it.
    pub(crate) fn was_cut(&self) -> bool {
        self.cut.load(Ordering::Relaxed)
    }

    fn left(&self) -> u64 {
        self.length.load(Ordering::Relaxed).saturating_sub(self.sent.load(Ordering::Relaxed))
    }

    fn announces(&self, length: u64) {
        self.length.store(length, Ordering::Relaxed);
    }

    fn sends(&self, bytes: &Bytes) {
        self.sent.fetch_add(bytes.len() as u64, Ordering::Relaxed);
    }
}

/// A request that runs on a connection, for as long as this lives.
#[derive(Debug)]
pub(crate) struct Running {
    connection: Arc<Connection>,
    exchange: Arc<Exchange>,
}

impl Running {
    /// What runs.
    pub(crate) fn exchange(&self) -> &Arc<Exchange> {
        &self.exchange
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let mut running = self.connection.work();
        running.exchanges.retain(|exchange| !Arc::ptr_eq(exchange, &self.exchange));
        running.idle_since = Instant::now();
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
