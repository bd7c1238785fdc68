//! A request and its response, from the request to the last byte that the socket takes.

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock};

use bytes::Bytes;
use tokio::time::Instant;

use super::{Connection, Subject, lock};

/// Who is told what became of a response, once that is known.
pub(crate) trait Settle: Send {
    /// It has ended so.
    fn settle(self: Box<Self>, fate: Fate);
}

/// What became of a response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Fate {
    /// Body bytes that the socket took, if not all that there were. What it took went to the kernel, which has yet to
    /// send the last of it.
    pub(crate) taken: Option<u64>,
    /// Whether the node cut it.
    pub(crate) cut: bool,
}

/// A request and its response.
pub(crate) struct Exchange {
    pub(super) began: Instant,
    about: OnceLock<Subject>,
    length: AtomicU64,
    handed: AtomicU64,
    cut: AtomicBool,
    /// Whether all that there will be was handed to the connection.
    over: AtomicBool,
    ledger: Mutex<Ledger>,
}

/// Who waits to be told of an exchange.
enum Ledger {
    Open(Option<Box<dyn Settle>>),
    Closed,
}

impl fmt::Debug for Exchange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Exchange").field("about", &self.about.get()).finish_non_exhaustive()
    }
}

impl Exchange {
    pub(super) fn new() -> Self {
        Self {
            began: Instant::now(),
            about: OnceLock::new(),
            length: AtomicU64::new(0),
            handed: AtomicU64::new(0),
            cut: AtomicBool::new(false),
            over: AtomicBool::new(false),
            ledger: Mutex::new(Ledger::Open(None)),
        }
    }

    /// What it is about.
    pub(crate) fn is_about(&self, subject: Subject) {
        let _ = self.about.set(subject);
    }

    /// Has this told what became of the response, when its last byte has gone to the socket or none will any more. Given
    /// back where that is past.
    pub(crate) fn owe(&self, account: Box<dyn Settle>) -> Option<Box<dyn Settle>> {
        match &mut *lock(&self.ledger) {
            Ledger::Open(open) => {
                *open = Some(account);
                None
            }
            Ledger::Closed => Some(account),
        }
    }

    pub(super) fn about(&self) -> Option<Subject> {
        self.about.get().cloned()
    }

    pub(super) fn length(&self) -> u64 {
        self.length.load(Ordering::Relaxed)
    }

    pub(super) fn handed(&self) -> u64 {
        self.handed.load(Ordering::Relaxed)
    }

    pub(super) fn is_over(&self) -> bool {
        self.over.load(Ordering::Relaxed)
    }

    pub(super) fn announces(&self, length: u64) {
        self.length.store(length, Ordering::Relaxed);
    }

    pub(super) fn hands(&self, bytes: &Bytes) {
        self.handed.fetch_add(bytes.len() as u64, Ordering::Relaxed);
    }

    /// The node cuts it.
    pub(super) fn cut(&self) {
        self.cut.store(true, Ordering::Relaxed);
    }

    /// Tells who waits for it. `taken` as in [`Fate`].
    pub(super) fn settle(&self, taken: Option<u64>) {
        let ledger = std::mem::replace(&mut *lock(&self.ledger), Ledger::Closed);
        if let Ledger::Open(Some(account)) = ledger {
            account.settle(Fate { taken, cut: self.cut.load(Ordering::Relaxed) });
        }
    }
}

/// A request whose response is being made and handed to its connection, for as long as this lives.
#[derive(Debug)]
pub(crate) struct Running {
    pub(super) connection: Arc<Connection>,
    pub(super) exchange: Arc<Exchange>,
}

impl Running {
    /// What runs.
    pub(crate) fn exchange(&self) -> &Arc<Exchange> {
        &self.exchange
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.exchange.over.store(true, Ordering::Relaxed);
        self.connection.handed_over(&self.exchange);
    }
}
