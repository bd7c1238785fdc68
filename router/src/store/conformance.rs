//! What every [`Store`] promises, as tests that any of them can be put through.
//!
//! Each promise works below a prefix of its own, so that a real store need not be emptied between them.
#![allow(clippy::expect_used, reason = "a test fails by a panic")]

mod commits;
mod leases;
mod reads;
mod watches;

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::time::timeout;

use super::{Commit, Entry, Key, Listing, Outcome, Revision, Store, StoreErrorKind};

/// The longest that a promise may take to show.
const LIMIT: Duration = Duration::from_secs(30);

/// Puts `store` through the whole contract; `compact` makes it forget the changes up to now.
///
/// # Panics
/// On the first promise that is not kept.
pub async fn store<S: Store>(store: Arc<S>, compact: impl AsyncFn()) {
    let store = store as Arc<dyn Store>;
    reads::all(&*store).await;
    commits::all(&store).await;
    watches::all(&store).await;
    leases::all(&*store).await;
    within("compaction", watches::what_is_forgotten_is_told(&*store, compact)).await;
}

async fn within<T>(promise: &str, shown: impl Future<Output = T>) -> T {
    match timeout(LIMIT, shown).await {
        Ok(shown) => shown,
        Err(_) => panic!("{promise}: not within {LIMIT:?}"),
    }
}

fn key(text: &str) -> Key {
    Key::new(text)
}

async fn get(store: &dyn Store, name: &str) -> Option<Entry> {
    match store.get(&key(name)).await {
        Ok(entry) => entry,
        Err(error) => panic!("get {name}: {error}"),
    }
}

async fn value(store: &dyn Store, name: &str) -> Option<Bytes> {
    get(store, name).await.map(|entry| entry.value)
}

async fn list(store: &dyn Store, prefix: &str) -> Listing {
    match store.list(prefix).await {
        Ok(listing) => listing,
        Err(error) => panic!("list {prefix}: {error}"),
    }
}

/// The revision of a commit that is to be made.
async fn make(store: &dyn Store, commit: Commit) -> Revision {
    match store.commit(&commit).await {
        Ok(Outcome::Committed { revision }) => revision,
        other => panic!("{commit:?}: {other:?}"),
    }
}

async fn put(store: &dyn Store, name: &str, value: &str) -> Revision {
    make(store, Commit::new().put(key(name), value.to_owned())).await
}

/// The store's revision at a commit that is not to be made.
async fn conflict(store: &dyn Store, commit: Commit) -> Revision {
    match store.commit(&commit).await {
        Ok(Outcome::Conflict { revision }) => revision,
        other => panic!("{commit:?}: {other:?}"),
    }
}

async fn refused(store: &dyn Store, commit: Commit, kind: StoreErrorKind) {
    match store.commit(&commit).await {
        Err(error) if error.kind == kind => {}
        other => panic!("{other:?} instead of {kind:?}"),
    }
}
