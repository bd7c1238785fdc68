//! The seam to where the router's state lies: keys and values under one revision that only grows.
//!
//! A store is small on purpose: read, commit if what was read still holds, follow, lease. What the keys mean
//! is for the layer above. Three makers pass one suite (`conformance`, feature `testing`): `memory` for
//! tests, [`embedded`] for a router that is alone, and [`etcd`] where several routers share one state.

mod commit;
#[cfg(any(test, feature = "testing"))]
pub mod conformance;
pub mod embedded;
mod error;
pub mod etcd;
mod follow;
pub mod measured;
#[cfg(any(test, feature = "testing"))]
pub mod memory;
mod state;

use std::fmt;
use std::time::Duration;

use bytes::Bytes;
pub use dataproxy_router_api::Revision;
use futures_util::future::BoxFuture;
use futures_util::stream::BoxStream;

pub use commit::{Commit, Compare, Key, MAX_COMMIT_BYTES, MAX_KEY_BYTES, MAX_OPERATIONS, Write};
pub use error::{StoreError, StoreErrorKind};

/// A key with its value, as one commit left it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The key.
    pub key: Key,
    /// The value.
    pub value: Bytes,
    /// The revision of the commit that wrote it last. It is never used again, not even after a delete.
    pub version: Revision,
    /// The lease that it ends with, if any.
    pub lease: Option<LeaseId>,
}

/// All entries below a prefix at one revision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listing {
    /// The revision: a watch after it tells everything that came later.
    pub revision: Revision,
    /// The entries in the byte order of their keys.
    pub entries: Vec<Entry>,
}

/// What became of a commit that the store has judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Every write is in the store.
    Committed {
        /// The revision of its writes; of the store, if the commit changed nothing.
        revision: Revision,
    },
    /// A compare did not hold. Nothing was written.
    Conflict {
        /// The store's revision when it was judged.
        revision: Revision,
    },
}

/// What one commit changed below a watched prefix.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Changes {
    /// The revision of the commit.
    pub revision: Revision,
    /// Each changed key once. If empty, nothing below the prefix has changed up to the revision: progress
    /// alone.
    pub changes: Vec<KeyChange>,
}

/// What became of one key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeyChange {
    /// It has this value now.
    Put(Entry),
    /// It is no longer there.
    Deleted(Key),
}

impl KeyChange {
    /// The key.
    pub fn key(&self) -> &Key {
        match self {
            Self::Put(entry) => &entry.key,
            Self::Deleted(key) => key,
        }
    }
}

/// Names a lease in its store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LeaseId(pub u64);

impl fmt::Display for LeaseId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:x}", self.0)
    }
}

/// A promise to come back: keys bound to it are deleted when nobody has kept it alive for `ttl`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lease {
    /// Its name.
    pub id: LeaseId,
    /// How long it lives after each [`Store::keep_alive`]. A store may give more than was asked for, never
    /// less.
    pub ttl: Duration,
}

/// Batches of a watch, in the order of their revisions. An error is the last item.
pub type Watch = BoxStream<'static, Result<Changes, StoreError>>;

/// Where the router's state lies.
///
/// Every implementation passes the suite of the module `conformance` (feature `testing`). Reads are
/// linearizable: they see every commit that was acknowledged, to anybody, before the call. Every call has a
/// time limit of the store's own. Dropping a future leaves undecided whether a commit, a grant or a revoke
/// happened; it harms nothing else.
pub trait Store: fmt::Debug + Send + Sync + 'static {
    /// The entry of `key`, or `None` if it is not there.
    ///
    /// # Errors
    /// [`StoreError`]. An outage is never `None`.
    fn get<'a>(&'a self, key: &'a Key) -> BoxFuture<'a, Result<Option<Entry>, StoreError>>;

    /// Every entry whose key begins with `prefix`, byte for byte, all at one revision. The empty prefix is
    /// everything.
    ///
    /// # Errors
    /// [`StoreError`]
    fn list<'a>(&'a self, prefix: &'a str) -> BoxFuture<'a, Result<Listing, StoreError>>;

    /// Makes every write if every compare holds, else none. All writes of one commit have one revision.
    ///
    /// An acknowledged commit outlives the process, and the machine as far as its disk keeps what it said was
    /// synced.
    ///
    /// # Errors
    /// [`StoreError`]; [`StoreErrorKind::Unknown`] says that the commit may have happened: read before trying
    /// again. After any other error it has not happened and will not.
    fn commit<'a>(&'a self, commit: &'a Commit) -> BoxFuture<'a, Result<Outcome, StoreError>>;

    /// Follows every key below `prefix` from the revision after `after`, usually that of a [`Listing`].
    ///
    /// One batch for each commit that touched the prefix, whole, in order, without gap or repeat. The watch
    /// survives whatever the store's connections suffer, without a word. It asks nothing of the store before
    /// it is polled, and a reader that is slow costs the store no memory. Dropping it ends it.
    ///
    /// # Errors
    /// The last item: [`StoreErrorKind::Compacted`] if the changes after `after` are no longer known (list
    /// again), or what keeps the store from ever going on.
    fn watch(&self, prefix: &str, after: Revision) -> Watch;

    /// A new lease that lives for `ttl`, at least.
    ///
    /// # Errors
    /// [`StoreError`]
    fn grant(&self, ttl: Duration) -> BoxFuture<'_, Result<Lease, StoreError>>;

    /// Lets a lease live for its whole time again, counted from when the store hears of it.
    ///
    /// # Errors
    /// [`StoreErrorKind::LeaseGone`] if it has ended: what was bound to it is deleted, and it will not come
    /// back.
    fn keep_alive(&self, lease: LeaseId) -> BoxFuture<'_, Result<(), StoreError>>;

    /// Ends a lease now, and deletes what is bound to it. One that has ended already is no error.
    ///
    /// # Errors
    /// [`StoreError`]
    fn revoke(&self, lease: LeaseId) -> BoxFuture<'_, Result<(), StoreError>>;
}
