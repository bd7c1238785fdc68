//! The conductor: a request becomes a decision, a commit, and a change that nodes are told of.
//!
//! Every router follows the store, so that what it shows and publishes is what was committed, by itself or by another.
//! A request is decided from what has been followed, and committed if what it rests on still holds; if not, it is
//! decided anew from what has come since.

use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};
use std::time::Duration;

use dataproxy_router_api::{RegionName, Revision};
use futures_util::StreamExt;
use tokio::sync::{Mutex, watch};
use tokio::time::{Instant, timeout};

use crate::audit::{self, Head};
use crate::command::{Command, Decision, Occasion, Refusal, decide};
use crate::metrics;
use crate::publish::Publisher;
use crate::record::{Record, Unreadable};
use crate::state::{State, Written};
use crate::store::{Changes, Commit, Compare, Key, KeyChange, Outcome, Store, StoreError, StoreErrorKind};

/// How often a request is decided anew before its caller is told that others are faster.
const ATTEMPTS: usize = 16;
/// How long a request waits for what was committed to be followed.
const FOLLOWED: Duration = Duration::from_secs(5);
/// How long a request that met a conflict waits for what has come between.
const NEWER: Duration = Duration::from_secs(2);
/// Pause before a store that has failed is asked again.
const STORE_PAUSE: Duration = Duration::from_millis(500);

/// A request that was carried out.
#[derive(Clone, Debug, PartialEq)]
pub struct Done {
    /// What it came to.
    pub decision: Decision,
    /// The revision at which it is so.
    pub revision: Revision,
}

/// A request that was not carried out.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    /// It is against a rule.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The store failed. Where its error says that a write may have happened, the request may have been carried out.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Others changed the same records again and again.
    #[error("others change the same records at the same time; try again")]
    Busy,
    /// The store does not tell what was committed.
    #[error(
        "the store does not tell of its changes; the request may have been carried out, so look before trying again"
    )]
    Behind,
    /// This router does not lead any more.
    #[error("this router does not lead any more; another one does")]
    NotLeading,
    /// A record cannot be written.
    #[error("a record cannot be written: {0}")]
    Record(#[from] serde_json::Error),
}

/// A store that cannot be begun with.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// It fails.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// It holds what this version cannot read.
    #[error(transparent)]
    Unreadable(#[from] Unreadable),
}

/// The state that was followed, and the way to change it.
#[derive(Debug)]
pub struct Control {
    store: Arc<dyn Store>,
    region: RegionName,
    followed: RwLock<Followed>,
    revision: watch::Sender<Revision>,
    publisher: Publisher,
    /// Requests of one router take turns: all of them write the end of the audit.
    turn: Mutex<()>,
    /// When what is due was last looked at, as the leader.
    passed: std::sync::Mutex<Option<Instant>>,
}

#[derive(Debug)]
struct Followed {
    state: State,
    /// Where the audit ends.
    audit: Head,
}

impl Control {
    /// Reads what the store holds. [`Control::follow`] keeps it up to date.
    ///
    /// # Errors
    /// [`OpenError`]
    pub async fn open(store: Arc<dyn Store>, region: RegionName) -> Result<Arc<Self>, OpenError> {
        let followed = read(store.as_ref(), &region).await?;
        let publisher = Publisher::new(followed.state.point());
        let revision = watch::Sender::new(followed.state.revision());
        Ok(Arc::new(Self {
            store,
            region,
            followed: RwLock::new(followed),
            revision,
            publisher,
            turn: Mutex::default(),
            passed: std::sync::Mutex::default(),
        }))
    }

    /// What has been followed so far. Not to be held over an `await`.
    pub fn state(&self) -> impl std::ops::Deref<Target = State> + '_ {
        StateGuard(self.read())
    }

    /// The store, for what is not in the state.
    pub fn store(&self) -> &Arc<dyn Store> {
        &self.store
    }

    /// What nodes are told.
    pub fn publisher(&self) -> &Publisher {
        &self.publisher
    }

    /// Changes with every revision that was followed.
    pub fn revisions(&self) -> watch::Receiver<Revision> {
        self.revision.subscribe()
    }

    /// When what is due was last looked at by this router, as the leader.
    pub fn passed(&self) -> Option<Instant> {
        *self.passed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn pass(&self, at: Instant) {
        *self.passed.lock().unwrap_or_else(PoisonError::into_inner) = Some(at);
    }

    fn read(&self) -> RwLockReadGuard<'_, Followed> {
        self.followed.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Follows the store for as long as it is polled. A store that fails is asked again; what was followed stays.
    pub async fn follow(&self) {
        loop {
            let after = self.state().revision();
            let mut changes = self.store.watch("", after);
            while let Some(batch) = changes.next().await {
                match batch {
                    Ok(batch) => self.take(batch),
                    Err(error) => {
                        self.lost(&error).await;
                        break;
                    }
                }
            }
        }
    }

    /// The watch has ended: reads everything anew if changes are missed, and waits a moment in any case.
    async fn lost(&self, error: &StoreError) {
        if error.kind != StoreErrorKind::Compacted {
            tracing::warn!(%error, "the store does not tell of its changes");
            tokio::time::sleep(STORE_PAUSE).await;
            return;
        }
        match read(self.store.as_ref(), &self.region).await {
            Ok(followed) => {
                tracing::warn!(revision = %followed.state.revision(), "changes were missed; everything is read anew");
                let point = followed.state.point();
                let revision = point.revision;
                *self.followed.write().unwrap_or_else(PoisonError::into_inner) = followed;
                self.publisher.start_over(point);
                self.revision.send_replace(revision);
            }
            Err(error) => {
                tracing::warn!(%error, "the store cannot be read");
                tokio::time::sleep(STORE_PAUSE).await;
            }
        }
    }

    fn take(&self, batch: Changes) {
        let mut followed = self.followed.write().unwrap_or_else(PoisonError::into_inner);
        if batch.revision <= followed.state.revision() {
            return;
        }
        let mut writes = Vec::new();
        for change in batch.changes {
            if let KeyChange::Put(entry) = &change
                && entry.key.as_str() == audit::HEAD
            {
                followed.audit = Head::read(&entry.value, entry.version);
                continue;
            }
            writes.extend(written(change));
        }
        let history = followed.state.history();
        let change = followed.state.apply(batch.revision, writes);
        if followed.state.history() == history {
            self.publisher.tell(&change);
        } else {
            // A change leads from one revision to another of the same history.
            self.publisher.start_over(followed.state.point());
        }
        drop(followed);
        self.revision.send_replace(batch.revision);
    }

    /// Carries out a request, if `also` holds too. Tried again it does no harm, whatever the error was.
    ///
    /// # Errors
    /// [`ControlError`]
    pub async fn execute(
        &self,
        command: &Command,
        occasion: &Occasion,
        also: Option<&Compare>,
    ) -> Result<Done, ControlError> {
        let done = self.carry_out(command, occasion, also).await;
        metrics::changed(match &done {
            Ok(done) if done.decision.is_nothing() => "nothing",
            Ok(_) => "done",
            Err(ControlError::Refused(_)) => "refused",
            Err(_) => "failed",
        });
        done
    }

    async fn carry_out(
        &self,
        command: &Command,
        occasion: &Occasion,
        also: Option<&Compare>,
    ) -> Result<Done, ControlError> {
        let _turn = self.turn.lock().await;
        for _ in 0..ATTEMPTS {
            let (decision, commit, seen) = {
                let followed = self.read();
                let decision = decide(&followed.state, command, occasion)?;
                if decision.is_nothing() {
                    return Ok(Done { decision, revision: followed.state.revision() });
                }
                let commit = commit(&followed, &decision, occasion, also)?;
                (decision, commit, followed.state.revision())
            };
            match self.store.commit(&commit).await {
                Ok(Outcome::Committed { revision }) => {
                    self.followed(revision).await?;
                    return Ok(Done { decision, revision });
                }
                // The revision may be of something else in the same store, which is never told of.
                Ok(Outcome::Conflict { revision }) if revision > seen && self.newer(seen).await => {}
                // Nothing has come that we had not seen: it is the one compare that is not of our state.
                Ok(Outcome::Conflict { .. }) if also.is_some() => return Err(ControlError::NotLeading),
                Ok(Outcome::Conflict { .. }) => return Err(ControlError::Busy),
                Err(error) => return Err(error.into()),
            }
        }
        Err(ControlError::Busy)
    }

    /// Waits a moment until something newer than `seen` has been followed; whether there was any.
    async fn newer(&self, seen: Revision) -> bool {
        let mut revisions = self.revisions();
        let newer = revisions.wait_for(|reached| *reached > seen);
        matches!(timeout(NEWER, newer).await, Ok(Ok(_)))
    }

    /// Waits until a revision has been followed.
    async fn followed(&self, revision: Revision) -> Result<(), ControlError> {
        let mut revisions = self.revisions();
        let reached = revisions.wait_for(|reached| *reached >= revision);
        match timeout(FOLLOWED, reached).await {
            Ok(Ok(_)) => Ok(()),
            _ => Err(ControlError::Behind),
        }
    }

    /// Waits until `done` holds, at most until `deadline`; says whether it does.
    pub async fn wait_for(&self, deadline: Instant, mut done: impl FnMut(&State) -> bool) -> bool {
        let mut revisions = self.revisions();
        loop {
            revisions.borrow_and_update();
            if done(&self.state()) {
                return true;
            }
            if tokio::time::timeout_at(deadline, revisions.changed()).await.is_err() {
                return done(&self.state());
            }
        }
    }
}

struct StateGuard<'c>(RwLockReadGuard<'c, Followed>);

impl std::ops::Deref for StateGuard<'_> {
    type Target = State;

    fn deref(&self) -> &State {
        &self.0.state
    }
}

/// Everything that the store holds.
async fn read(store: &dyn Store, region: &RegionName) -> Result<Followed, OpenError> {
    let mut state = State::new(region.clone());
    let mut audit = Head::default();
    let listing = store.list("").await?;
    for entry in &listing.entries {
        if entry.key.as_str() == audit::HEAD {
            audit = Head::read(&entry.value, entry.version);
        }
        if let Some(record) = Record::read(entry.key.as_str(), &entry.value)? {
            state.load(record, entry.version);
        }
    }
    state.apply(listing.revision, Vec::new());
    Ok(Followed { state, audit })
}

/// What a change means for the state. A record that cannot be read leaves the one before in force.
fn written(change: KeyChange) -> Option<Written> {
    match change {
        KeyChange::Deleted(key) => Some(Written::Gone(key.as_str().to_owned())),
        KeyChange::Put(entry) => match Record::read(entry.key.as_str(), &entry.value) {
            Ok(record) => record.map(|record| Written::Put(Box::new(record))),
            Err(error) => {
                tracing::error!(%error, "a record is left as it was");
                None
            }
        },
    }
}

/// The commit of a decision, with its line of the audit.
fn commit(
    followed: &Followed,
    decision: &Decision,
    occasion: &Occasion,
    also: Option<&Compare>,
) -> Result<Commit, ControlError> {
    let mut commit = Commit::new();
    commit.compares.extend(also.cloned());
    let written = decision.puts.iter().map(Record::key).chain(decision.deletes.iter().cloned());
    let mut keys: Vec<String> = written.chain(decision.rests_on.iter().cloned()).collect();
    keys.sort();
    keys.dedup();
    for key in keys {
        commit = match followed.state.version(&key) {
            Some(version) => commit.if_version(Key::new(key), version),
            None => commit.if_absent(Key::new(key)),
        };
    }
    for record in &decision.puts {
        commit = commit.put(Key::new(record.key()), record.text()?);
    }
    for key in &decision.deletes {
        commit = commit.delete(Key::new(key.as_str()));
    }
    audit::add(commit, &followed.audit, decision, occasion)
}

#[cfg(test)]
mod tests;
