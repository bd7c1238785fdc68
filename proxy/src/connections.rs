//! The connections that are open, and what runs on each: what a drain has to wait for, told to whoever wants to know.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use dataproxy_router_api::RegistryName;
use tokio::time::Instant;

use crate::name::Repository;

mod connection;
mod exchange;
mod metered;
mod tracked;

pub(crate) use connection::Connection;
pub(crate) use exchange::{Exchange, Fate, Running, Settle};
pub(crate) use metered::Metered;
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
    /// Body bytes that the sockets have yet to take.
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
    /// Body bytes that the socket has taken.
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
        let connection = Arc::new(Connection::new(peer));
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        self.shard(id).insert(id, Arc::clone(&connection));
        Entry { table: Arc::clone(self), id, connection }
    }

    /// How many there are.
    pub fn count(&self) -> Counts {
        let mut counts = Counts::default();
        let now = Instant::now();
        self.each(|connection| {
            if connection.has_ended() {
                counts.ending += 1;
                return;
            }
            let mut responses = 0;
            connection.each(|exchange, taken| {
                responses += 1;
                counts.bytes_left += exchange.length().saturating_sub(taken);
                counts.oldest_seconds = counts.oldest_seconds.max((now - exchange.began).as_secs_f64());
            });
            counts.responses += responses;
            *(if responses == 0 { &mut counts.idle } else { &mut counts.busy }) += 1;
        });
        counts
    }

    /// The oldest responses under way, `most` of them.
    pub fn remaining(&self, most: usize) -> Vec<Remaining> {
        let now = Instant::now();
        let mut all = Vec::new();
        self.each(|connection| {
            if connection.has_ended() {
                return;
            }
            connection.each(|exchange, taken| {
                all.push(Remaining {
                    about: exchange.about(),
                    peer: connection.peer(),
                    sent: taken,
                    length: exchange.length(),
                    age_seconds: (now - exchange.began).as_secs_f64(),
                });
            });
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
        self.connection.is_over();
        self.connection.settle();
        self.table.shard(self.id).remove(&self.id);
    }
}

impl Entry {
    /// The table.
    pub(crate) fn table(&self) -> &Connections {
        &self.table
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
