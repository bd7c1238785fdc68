//! The in-memory twin: a store for tests, which can be as hostile as a real one.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tokio::time::{Instant, sleep_until};

use super::follow::Shared;
use super::state::{State, Verdict};
use super::{
    Commit, Entry, Key, Lease, LeaseId, Listing, Outcome, Revision, Store, StoreError, StoreErrorKind, Watch,
};

/// How the way to the store fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Every call fails and changes nothing.
    Unavailable,
    /// Calls that change something say [`StoreErrorKind::Unknown`] and have not happened. Reads fail.
    LostOnTheWay,
    /// Calls that change something say [`StoreErrorKind::Unknown`] and have happened. Reads fail.
    LostOnTheWayBack,
}

/// One router's way to a store in memory. Leases need tokio's clock, which a test may pause.
#[derive(Debug)]
pub struct MemoryStore {
    shared: Arc<Shared>,
    /// What happens to the next calls, and to how many.
    fault: Mutex<Option<(Fault, usize)>>,
}

impl MemoryStore {
    /// An empty store.
    pub fn new() -> Arc<Self> {
        Self::over(Shared::new(State::new(Revision(0), [])))
    }

    /// Another way to the same store, with faults of its own: the store as another router meets it.
    pub fn another(&self) -> Arc<Self> {
        Self::over(Arc::clone(&self.shared))
    }

    fn over(shared: Arc<Shared>) -> Arc<Self> {
        Arc::new(Self { shared, fault: Mutex::default() })
    }

    /// Lets the next `calls` meet a fault; `usize::MAX` is until [`MemoryStore::heal`].
    pub fn fail(&self, fault: Fault, calls: usize) {
        *self.fault.lock().unwrap_or_else(PoisonError::into_inner) = Some((fault, calls));
    }

    /// Ends the faults.
    pub fn heal(&self) {
        *self.fault.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// Forgets all changes up to now, as a compaction does.
    pub fn compact(&self) {
        self.shared.lock().forget(0);
    }

    fn fault(&self) -> Option<Fault> {
        let mut fault = self.fault.lock().unwrap_or_else(PoisonError::into_inner);
        let (met, left) = (*fault)?;
        *fault = (left > 1).then(|| (met, if left == usize::MAX { left } else { left - 1 }));
        Some(met)
    }

    fn read<T>(&self, read: impl FnOnce(&State) -> T) -> Result<T, StoreError> {
        match self.fault() {
            Some(_) => Err(StoreError::new(StoreErrorKind::Unavailable, "the test says so")),
            None => Ok(read(&self.shared.lock())),
        }
    }

    fn write<T>(&self, write: impl FnOnce(&mut State) -> Result<T, StoreError>) -> Result<T, StoreError> {
        let fault = self.fault();
        let unknown = || StoreError::new(StoreErrorKind::Unknown, "the test says so");
        match fault {
            Some(Fault::Unavailable) => {
                return Err(StoreError::new(StoreErrorKind::Unavailable, "the test says so"));
            }
            Some(Fault::LostOnTheWay) => return Err(unknown()),
            Some(Fault::LostOnTheWayBack) | None => {}
        }
        let done = write(&mut self.shared.lock());
        self.shared.ring();
        if fault.is_some() { Err(unknown()) } else { done }
    }
}

fn end(state: &mut State, lease: LeaseId) {
    if let Some(changes) = state.ending(lease) {
        state.apply(changes);
    }
    state.ended(lease);
}

/// Ends a lease that nobody keeps alive.
async fn expire(shared: Arc<Shared>, lease: LeaseId) {
    loop {
        let Some(ends) = shared.lock().ends(lease) else { return };
        sleep_until(ends).await;
        let mut state = shared.lock();
        if state.ends(lease).is_some_and(|ends| ends <= Instant::now()) {
            end(&mut state, lease);
            drop(state);
            shared.ring();
            return;
        }
    }
}

impl Store for MemoryStore {
    fn get<'a>(&'a self, key: &'a Key) -> BoxFuture<'a, Result<Option<Entry>, StoreError>> {
        async { self.read(|state| state.get(key)) }.boxed()
    }

    fn list<'a>(&'a self, prefix: &'a str) -> BoxFuture<'a, Result<Listing, StoreError>> {
        async { self.read(|state| state.list(prefix)) }.boxed()
    }

    fn commit<'a>(&'a self, commit: &'a Commit) -> BoxFuture<'a, Result<Outcome, StoreError>> {
        async {
            self.write(|state| {
                Ok(match state.judge(commit)? {
                    Verdict::Conflict => Outcome::Conflict { revision: state.revision() },
                    Verdict::Nothing => Outcome::Committed { revision: state.revision() },
                    Verdict::Change(changes) => {
                        let revision = changes.revision;
                        state.apply(changes);
                        Outcome::Committed { revision }
                    }
                })
            })
        }
        .boxed()
    }

    fn watch(&self, prefix: &str, after: Revision) -> Watch {
        self.shared.follow(prefix, after)
    }

    fn grant(&self, ttl: Duration) -> BoxFuture<'_, Result<Lease, StoreError>> {
        async move {
            self.write(|state| {
                let lease = state.grant(ttl, Instant::now());
                drop(tokio::spawn(expire(Arc::clone(&self.shared), lease.id)));
                Ok(lease)
            })
        }
        .boxed()
    }

    fn keep_alive(&self, lease: LeaseId) -> BoxFuture<'_, Result<(), StoreError>> {
        async move { self.write(|state| state.keep_alive(lease, Instant::now())) }.boxed()
    }

    fn revoke(&self, lease: LeaseId) -> BoxFuture<'_, Result<(), StoreError>> {
        async move {
            self.write(|state| {
                end(state, lease);
                Ok(())
            })
        }
        .boxed()
    }
}
