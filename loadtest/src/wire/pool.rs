//! Connections that are kept for a next request.

use std::cell::RefCell;
use std::collections::HashMap;
use std::time::{Duration, Instant};

use super::Connection;
use crate::subject::Endpoint;

/// Idle connections by where they lead; the one used last is taken first, as Go does.
pub(crate) struct Pool {
    idle: RefCell<HashMap<Endpoint, Vec<Idle>>>,
    each: usize,
    idle_for: Duration,
}

struct Idle {
    connection: Connection,
    since: Instant,
}

impl Pool {
    /// Keeps at most `each` connections to one endpoint, each for `idle_for`. None at all with 0.
    pub(crate) fn new(each: usize, idle_for: Duration) -> Self {
        Self { idle: RefCell::new(HashMap::new()), each, idle_for }
    }

    /// A connection that was kept; the peer may have closed it meanwhile.
    pub(crate) fn take(&self, endpoint: &Endpoint) -> Option<Connection> {
        let mut idle = self.idle.borrow_mut();
        let kept = idle.get_mut(endpoint)?;
        let last = kept.pop()?;
        if last.since.elapsed() < self.idle_for {
            return Some(last.connection);
        }
        // The rest is older.
        kept.clear();
        None
    }

    /// Keeps a connection, where there is room.
    pub(crate) fn put(&self, endpoint: &Endpoint, connection: Connection) {
        let mut idle = self.idle.borrow_mut();
        if !idle.contains_key(endpoint) && self.each > 0 {
            idle.insert(endpoint.clone(), Vec::new());
        }
        if let Some(kept) = idle.get_mut(endpoint)
            && kept.len() < self.each
        {
            kept.push(Idle { connection, since: Instant::now() });
        }
    }

    /// Closes what is idle.
    pub(crate) fn clear(&self) {
        self.idle.borrow_mut().clear();
    }

    /// Whether it keeps any.
    pub(crate) fn keeps(&self) -> bool {
        self.each > 0
    }
}
