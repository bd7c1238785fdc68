//! The whole of a store as one text, and back: for a backup, and for going from one kind of store to another.

use std::collections::BTreeMap;

use dataproxy_router_api::{History, Revision};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::migration::UnixMillis;
use crate::record::{HISTORY, HistoryRecord, Record, Unreadable};
use crate::store::{Commit, Key, MAX_OPERATIONS, Outcome, Store, StoreError};

/// The form of a backup.
const FORM: u32 = 1;

/// Every record of a store.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Backup {
    /// Its form.
    pub form: u32,
    /// The revision that it was made at.
    pub revision: Revision,
    /// Records by key.
    pub records: BTreeMap<String, Value>,
}

/// A backup that cannot be restored.
#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    /// The store fails.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// It has a form that this version does not know.
    #[error("the backup has form {0}; this version reads form {FORM}")]
    Form(u32),
    /// A record in it is not one.
    #[error(transparent)]
    Unreadable(#[from] Unreadable),
    /// A key in it is of no record.
    #[error("the backup has a record {0}, and there are no such records")]
    Key(String),
    /// The store is not empty.
    #[error(
        "the store holds {0} records already; a backup is restored into an empty store, so that nothing is lost"
    )]
    NotEmpty(usize),
    /// A record has no text, which none of these types lacks.
    #[error("a record cannot be written: {0}")]
    Record(#[from] serde_json::Error),
    /// Somebody else wrote to the store meanwhile.
    #[error(
        "somebody writes to the store at the same time; stop the routers that use it, empty it, and restore again"
    )]
    Raced,
}

/// Reads everything but leases and the audit, which is exported by its lines.
///
/// # Errors
/// [`StoreError`]
pub async fn export(store: &dyn Store) -> Result<Backup, StoreError> {
    let listing = store.list("").await?;
    let records = listing.entries.iter().filter(|entry| is_record(entry.key.as_str())).filter_map(|entry| {
        let value = serde_json::from_slice(&entry.value).ok()?;
        Some((entry.key.to_string(), value))
    });
    Ok(Backup { form: FORM, revision: listing.revision, records: records.collect() })
}

fn is_record(key: &str) -> bool {
    use crate::record::{EPOCHS, MIGRATIONS, NODES, PURGES, REGISTRIES, RESTARTS, SENT, STAMPS};
    key == HISTORY
        || [EPOCHS, MIGRATIONS, NODES, PURGES, REGISTRIES, RESTARTS, SENT, STAMPS]
            .iter()
            .any(|folder| key.starts_with(folder))
}

/// Writes a backup into an empty store. Epochs stay; revisions are the store's own, and of a history that is later than
/// the backup's: by the clock, so that of two restores of one backup the second is later too.
///
/// # Errors
/// [`RestoreError`]. What was written up to then stays: empty the store before trying again.
pub async fn restore(store: &dyn Store, backup: &Backup, now: UnixMillis) -> Result<usize, RestoreError> {
    if backup.form != FORM {
        return Err(RestoreError::Form(backup.form));
    }
    let mut texts = Vec::with_capacity(backup.records.len());
    let mut history = History::default();
    for (key, value) in &backup.records {
        let text = value.to_string();
        match Record::read(key, text.as_bytes())? {
            None => return Err(RestoreError::Key(key.clone())),
            Some(Record::History(record)) => history = record.history,
            Some(_) => texts.push((Key::new(key.as_str()), text)),
        }
    }
    let records = texts.len();
    // Last: until all is there, nodes take none of it.
    let next = HistoryRecord { history: History((history.0 + 1).max(now.0)) };
    texts.push((Key::new(HISTORY), serde_json::to_string(&next)?));
    let held = store.list("").await?.entries.iter().filter(|entry| is_record(entry.key.as_str())).count();
    if held > 0 {
        return Err(RestoreError::NotEmpty(held));
    }
    for some in texts.chunks(MAX_OPERATIONS / 2) {
        let commit = some.iter().fold(Commit::new(), |commit, (key, text)| {
            commit.if_absent(key.clone()).put(key.clone(), text.clone())
        });
        match store.commit(&commit).await? {
            Outcome::Committed { .. } => {}
            Outcome::Conflict { .. } => return Err(RestoreError::Raced),
        }
    }
    Ok(records)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit;
    use crate::store::memory::MemoryStore;

    fn backup(records: &[(&str, Value)]) -> Backup {
        let records = records.iter().map(|(key, value)| ((*key).to_owned(), value.clone())).collect();
        Backup { form: FORM, revision: Revision(7), records }
    }

    fn stamp(name: &str) -> Value {
        serde_json::json!({"name": name, "accounts": [], "state": "active"})
    }

    #[tokio::test]
    async fn what_was_exported_is_restored_as_it_was_without_leases_and_audit() {
        let from = MemoryStore::new();
        let mut commit = Commit::new().put(Key::new(audit::HEAD), "{}").put(Key::new("leader"), "me");
        for number in 0..100 {
            commit =
                commit.put(Key::new(format!("stamps/s{number}")), stamp(&format!("s{number}")).to_string());
        }
        from.commit(&commit).await.unwrap();
        let exported = export(from.as_ref()).await.unwrap();
        assert_eq!(exported.records.len(), 100);
        let text = serde_json::to_string(&exported).unwrap();
        let to = MemoryStore::new();
        let restored =
            restore(to.as_ref(), &serde_json::from_str(&text).unwrap(), UnixMillis(7)).await.unwrap();
        assert_eq!(restored, 100);
        let mut again = export(to.as_ref()).await.unwrap();
        assert_eq!(again.records.remove(HISTORY), Some(serde_json::json!({"history": 7})));
        assert_eq!(again.records, exported.records);
        let again = restore(to.as_ref(), &exported, UnixMillis(8)).await.unwrap_err();
        assert!(again.to_string().contains("holds 101 records already"), "{again}");
    }

    #[tokio::test]
    async fn a_backup_with_anything_wrong_in_it_changes_nothing() {
        let good = ("stamps/a", stamp("a"));
        for (bad, reason) in [
            (Backup { form: 2, ..backup(&[]) }, "has form 2"),
            (backup(&[good.clone(), ("stamps/b", stamp("c"))]), "its text is that of stamps/c"),
            (backup(&[good.clone(), ("audit/1", stamp("a"))]), "no such records"),
            (backup(&[good, ("registries/x", serde_json::json!({}))]), "registries/x cannot be read"),
        ] {
            let store = MemoryStore::new();
            let error = restore(store.as_ref(), &bad, UnixMillis(7)).await.unwrap_err();
            assert!(error.to_string().contains(reason), "{error}");
            assert_eq!(store.list("").await.unwrap().entries, []);
        }
    }

    #[tokio::test]
    async fn every_restore_begins_a_later_history_whatever_the_clock_says() {
        let mut before = backup(&[("stamps/a", stamp("a"))]);
        for (now, is) in [(1_000, 1_000), (500, 1_001), (2_000, 2_000)] {
            let to = MemoryStore::new();
            restore(to.as_ref(), &before, UnixMillis(now)).await.unwrap();
            before = export(to.as_ref()).await.unwrap();
            assert_eq!(before.records[HISTORY], serde_json::json!({"history": is}));
            let control = crate::control::Control::open(to, "local".parse().unwrap()).await.unwrap();
            assert_eq!(control.state().snapshot().history, History(is));
        }
    }
}
