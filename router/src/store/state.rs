//! The state of a store that has it all in its own memory: entries, history, leases. No clock, no I/O, no
//! locks.
//!
//! A commit is *judged*, which says what it would change, and what it changes is *applied*, so that it can be
//! written to disk between the two.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ops::Bound;
use std::time::Duration;

use tokio::time::Instant;

use super::{
    Changes, Commit, Compare, Entry, Key, KeyChange, Lease, LeaseId, Listing, Revision, StoreError,
    StoreErrorKind, Write,
};

/// How many changes a store remembers for watches that are behind.
pub(super) const HISTORY_CHANGES: usize = 10_000;

/// What a commit comes to.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// A compare does not hold.
    Conflict,
    /// Every compare holds, and there is nothing to change.
    Nothing,
    /// Every compare holds: this is to be applied.
    Change(Changes),
}

#[derive(Debug)]
struct Held {
    ttl: Duration,
    ends: Instant,
    keys: BTreeSet<Key>,
}

/// Entries, history and leases.
#[derive(Debug)]
pub(super) struct State {
    revision: Revision,
    entries: BTreeMap<Key, Entry>,
    history: VecDeque<Changes>,
    /// How many changes `history` has in sum.
    remembered: usize,
    /// Changes up to this revision are forgotten.
    compacted: Revision,
    leases: BTreeMap<LeaseId, Held>,
    last_lease: u64,
}

impl State {
    /// The state at `revision`, with no history and no leases.
    pub(super) fn new(revision: Revision, entries: impl IntoIterator<Item = Entry>) -> Self {
        Self {
            revision,
            entries: entries.into_iter().map(|entry| (entry.key.clone(), entry)).collect(),
            history: VecDeque::new(),
            remembered: 0,
            compacted: revision,
            leases: BTreeMap::new(),
            last_lease: 0,
        }
    }

    pub(super) fn revision(&self) -> Revision {
        self.revision
    }

    pub(super) fn get(&self, key: &Key) -> Option<Entry> {
        self.entries.get(key).cloned()
    }

    pub(super) fn list(&self, prefix: &str) -> Listing {
        let from = (Bound::Included(prefix), Bound::Unbounded);
        let entries = self.entries.range::<str, _>(from).map(|(_, entry)| entry);
        let entries = entries.take_while(|entry| entry.key.as_str().starts_with(prefix)).cloned().collect();
        Listing { revision: self.revision, entries }
    }

    /// What `commit` would change.
    pub(super) fn judge(&self, commit: &Commit) -> Result<Verdict, StoreError> {
        commit.check()?;
        if !commit.compares.iter().all(|compare| self.holds(compare)) {
            return Ok(Verdict::Conflict);
        }
        let revision = Revision(self.revision.0 + 1);
        let mut changes = Vec::new();
        for write in &commit.writes {
            match write {
                Write::Put { key, value, lease } => {
                    if let Some(lease) = lease.filter(|lease| !self.leases.contains_key(lease)) {
                        return Err(lease_gone(lease));
                    }
                    let (key, value) = (key.clone(), value.clone());
                    changes.push(KeyChange::Put(Entry { key, value, version: revision, lease: *lease }));
                }
                Write::Delete { key } if self.entries.contains_key(key) => {
                    changes.push(KeyChange::Deleted(key.clone()));
                }
                Write::Delete { .. } => {}
            }
        }
        Ok(if changes.is_empty() { Verdict::Nothing } else { Verdict::Change(Changes { revision, changes }) })
    }

    fn holds(&self, compare: &Compare) -> bool {
        let entry = self.entries.get(compare.key());
        match compare {
            Compare::Version { is, .. } => entry.is_some_and(|entry| entry.version == *is),
            Compare::Absent { .. } => entry.is_none(),
            Compare::Present { .. } => entry.is_some(),
        }
    }

    /// Takes over what [`State::judge`] or [`State::ending`] said, with nothing in between.
    pub(super) fn apply(&mut self, batch: Changes) {
        self.revision = batch.revision;
        for change in &batch.changes {
            let before = match change {
                KeyChange::Put(entry) => {
                    if let Some(held) = entry.lease.and_then(|lease| self.leases.get_mut(&lease)) {
                        held.keys.insert(entry.key.clone());
                    }
                    self.entries.insert(entry.key.clone(), entry.clone())
                }
                KeyChange::Deleted(key) => self.entries.remove(key),
            };
            let Some(before) = before else { continue };
            let stays = matches!(change, KeyChange::Put(entry) if entry.lease == before.lease);
            if let Some(held) = before.lease.filter(|_| !stays).and_then(|lease| self.leases.get_mut(&lease))
            {
                held.keys.remove(&before.key);
            }
        }
        self.remembered += batch.changes.len();
        self.history.push_back(batch);
        self.forget(HISTORY_CHANGES);
    }

    /// Forgets the oldest changes until at most `keep` are left.
    pub(super) fn forget(&mut self, keep: usize) {
        while self.remembered > keep
            && let Some(oldest) = self.history.pop_front()
        {
            self.remembered -= oldest.changes.len();
            self.compacted = oldest.revision;
        }
    }

    /// The first batch below `prefix` after `after`, if one has come.
    pub(super) fn after(&self, prefix: &str, after: Revision) -> Result<Option<Changes>, StoreError> {
        if after < self.compacted {
            let why =
                format!("changes up to revision {} are forgotten; {after} was asked for", self.compacted);
            return Err(StoreError::new(StoreErrorKind::Compacted, why));
        }
        let from = self.history.partition_point(|batch| batch.revision <= after);
        Ok(self.history.range(from..).find_map(|batch| {
            let below = |change: &&KeyChange| change.key().as_str().starts_with(prefix);
            let changes: Vec<_> = batch.changes.iter().filter(below).cloned().collect();
            (!changes.is_empty()).then_some(Changes { revision: batch.revision, changes })
        }))
    }

    pub(super) fn grant(&mut self, ttl: Duration, now: Instant) -> Lease {
        self.last_lease += 1;
        let id = LeaseId(self.last_lease);
        self.leases.insert(id, Held { ttl, ends: now + ttl, keys: BTreeSet::new() });
        Lease { id, ttl }
    }

    pub(super) fn keep_alive(&mut self, id: LeaseId, now: Instant) -> Result<(), StoreError> {
        let held = self.leases.get_mut(&id).filter(|held| held.ends > now).ok_or_else(|| lease_gone(id))?;
        held.ends = now + held.ttl;
        Ok(())
    }

    /// When a lease ends, if nobody keeps it alive; `None` if it has ended.
    #[cfg(any(test, feature = "testing"))]
    pub(super) fn ends(&self, id: LeaseId) -> Option<Instant> {
        self.leases.get(&id).map(|held| held.ends)
    }

    /// The lease that ends first, and when.
    pub(super) fn first_to_end(&self) -> Option<(LeaseId, Instant)> {
        self.leases.iter().map(|(id, held)| (*id, held.ends)).min_by_key(|(_, ends)| *ends)
    }

    /// What the end of a lease changes.
    pub(super) fn ending(&self, id: LeaseId) -> Option<Changes> {
        let keys = &self.leases.get(&id)?.keys;
        let changes: Vec<_> = keys.iter().cloned().map(KeyChange::Deleted).collect();
        (!changes.is_empty()).then_some(Changes { revision: Revision(self.revision.0 + 1), changes })
    }

    /// Forgets a lease whose [`State::ending`] is applied.
    pub(super) fn ended(&mut self, id: LeaseId) {
        self.leases.remove(&id);
    }
}

fn lease_gone(id: LeaseId) -> StoreError {
    StoreError::new(StoreErrorKind::LeaseGone, format!("lease {id} has ended; grant a new one"))
}
