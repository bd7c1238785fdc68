//! A stamp's nodes as one cache: what a node lacks it asks of the node that owns it, before it asks storage.
//!
//! ```text
//! fill ─► Through ─► owner of the stretch ─► its own cache ─► its own fill ─► Through (it owns it) ─► storage
//!            └──────── no owner before me, or it does not lend ──────────────────────────────────────► storage
//! ```
//!
//! The owner keeps what it has read for others, and the node that asked keeps it too, as if it came from storage: a blob that is
//! asked for at every node is served by every node from its own disk, and only its first bytes cost the owner anything. What does
//! not come from the owner, in time and of the same version, comes from storage: nothing here ever fails a read.
//!
//! `owner.rs` says who owns what, `ask.rs` asks, `lend.rs` answers, `proof.rs` is what the two show each other, `away.rs` who is
//! not asked for now.

use std::collections::HashMap;
use std::fmt;
use std::ops::{Range, RangeInclusive};
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use dataproxy_cache::{
    BlobKey, Cache, ETag, ObjectName, Origin, OriginError, OriginErrorKind, OriginRead, Retry, Source,
};
use dataproxy_router_api::{Node, NodeName, RegistryName, StampName};
use futures_util::future::BoxFuture;
use metrics::{Counter, counter};
use tokio::sync::{Notify, Semaphore};

use crate::bindings::Bindings;
use crate::content::OwnedBlob;
use crate::lifecycle::Lifecycle;
use crate::redirect::Keys;
use crate::resolve::{ResolvedStamp, Stores};

mod ask;
mod away;
mod lend;
mod owner;
mod proof;

use ask::Asking;
use away::Away;
pub use lend::PATH;
use owner::{STRETCH, Stretch};
use proof::Question;
pub(crate) use proof::Vouched;

/// Nodes asked for one read, where the first ones are not even there.
const NODES_MAX: usize = 3;
/// How long content that was refuted here is read from storage alone.
const REFUTED: Duration = Duration::from_secs(600);
/// How long a node that was asked for a stretch reads it from storage, though another one owns it.
const STANDS_IN: Duration = Duration::from_secs(30);

/// What a [`StampCache`] is made of.
#[derive(Debug)]
pub struct StampParts {
    /// This node's stamp.
    pub stamp: StampName,
    /// This node.
    pub node: NodeName,
    /// The stamp's other nodes are in them.
    pub bindings: Arc<Bindings>,
    /// The accounts that this node can read.
    pub stores: Stores,
    /// What this node lends from.
    pub cache: Cache,
    /// What nodes show each other that they know.
    pub keys: Arc<Keys>,
    /// How long another node may be silent before storage is asked.
    pub patience: Duration,
    /// Reads that this node serves to others at once.
    pub max_reads: usize,
    /// A node that drains lends nothing any more.
    pub life: Lifecycle,
}

/// The cache that the nodes of a stamp are together, as one of them sees it.
pub struct StampCache {
    stamp: StampName,
    node: NodeName,
    bindings: Arc<Bindings>,
    stores: Stores,
    cache: Cache,
    keys: Arc<Keys>,
    patience: Duration,
    life: Lifecycle,
    asking: Asking,
    away: Away,
    places: Arc<Semaphore>,
    /// Blobs of which wrong content came.
    refuted: moka::sync::Cache<BlobKey, ()>,
    /// Stretches that others count on this node for, though it does not come first.
    stands_in: moka::sync::Cache<Stretch, ()>,
    openings: Openings,
    /// The second in which a question was last said to be refused.
    denied_told: AtomicU64,
    sent_bytes: Counter,
    me: Weak<Self>,
}

impl fmt::Debug for StampCache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StampCache")
            .field("stamp", &self.stamp)
            .field("node", &self.node)
            .finish_non_exhaustive()
    }
}

impl StampCache {
    /// A cache of these parts. Asks nothing of anybody yet.
    pub fn new(parts: StampParts) -> Arc<Self> {
        let StampParts { stamp, node, bindings, stores, cache, keys, patience, max_reads, life } = parts;
        let kept = |seconds| moka::sync::Cache::builder().max_capacity(4096).time_to_live(seconds);
        Arc::new_cyclic(|me| Self {
            stamp,
            node,
            bindings,
            stores,
            cache,
            keys,
            patience,
            life,
            asking: Asking::new(patience),
            away: Away::default(),
            places: Arc::new(Semaphore::new(max_reads)),
            refuted: kept(REFUTED).build(),
            stands_in: moka::sync::Cache::builder().max_capacity(4096).time_to_live(STANDS_IN).build(),
            openings: Openings::default(),
            denied_told: AtomicU64::new(0),
            sent_bytes: counter!("dataproxy_stamp_sent_bytes_total"),
            me: me.clone(),
        })
    }

    /// The same blob, to be filled from the stamp. Content of an upstream registry is left as it is: what one node may read
    /// there, and where it is led to, says nothing of another node.
    pub(crate) fn over(self: &Arc<Self>, at: &ResolvedStamp<'_>, owned: OwnedBlob) -> OwnedBlob {
        if at.holdings().store().is_none() {
            return owned;
        }
        let registry = at.binding().registry.clone();
        owned.through(|key, behind| self.source(registry, key.clone(), behind))
    }

    fn source(self: &Arc<Self>, registry: RegistryName, key: BlobKey, behind: Source) -> Source {
        let object = behind.object.clone();
        let lent = Mutex::default();
        let origin = Arc::new(Through { stamp: Arc::clone(self), registry, key, behind, lent });
        Source { origin, object }
    }

    /// The read as another node of the stamp gives it; `None` if storage is to be asked.
    async fn lent(&self, through: &Through, range: &Range<u64>, pin: Option<&ETag>) -> Option<OriginRead> {
        let Through { registry, key, .. } = through;
        if self.refuted.contains_key(key) {
            count("refuted");
            return None;
        }
        let last = range.end.checked_sub(1).filter(|last| *last >= range.start)?;
        for _ in 0..NODES_MAX {
            let table = self.bindings.current();
            let Some(node) = self.owner_of_all(&table, key, range.start..=last) else { break };
            let question = Question::Read {
                registry: registry.clone(),
                digest: key.digest.clone(),
                first: range.start,
                last,
            };
            let failed = match self.ask(node, &question, pin, key).await {
                Ok(read) => {
                    count("lent");
                    return Some(read);
                }
                Err(failed) => failed,
            };
            count(failed.as_str());
            tracing::debug!(node = %node.name, key = %key, why = failed.as_str(), "a node of the stamp did not lend");
            if failed.is_of_node() {
                self.leave(node, failed.as_str());
            }
            if !failed.is_at_once() {
                return None;
            }
        }
        count("own");
        None
    }

    /// The node to ask for a read, if it is one for all of it. Of two owners each would have to wait for the other, should both
    /// read across the border at the same moment.
    fn owner_of_all<'t>(
        &self,
        table: &'t crate::bindings::Table,
        key: &BlobKey,
        read: RangeInclusive<u64>,
    ) -> Option<&'t Node> {
        let (first, last) = (read.start() / STRETCH, read.end() / STRETCH);
        let owner = |number: u64| self.owner(table, &Stretch::at(key, number.saturating_mul(STRETCH)));
        let node = owner(first)?;
        (first + 1..=last)
            .all(|number| owner(number).is_some_and(|other| other.name == node.name))
            .then_some(node)
    }

    fn owner<'t>(&self, table: &'t crate::bindings::Table, stretch: &Stretch) -> Option<&'t Node> {
        if self.stands_in.contains_key(stretch) {
            return None;
        }
        let nodes = &table.stamp(&self.stamp)?.nodes;
        stretch.owner(nodes, &self.node, |node| node.in_rotation() && !self.away.is_away(&node.name))
    }

    /// Asks nothing of a node until a look at it finds that it lends.
    fn leave(&self, node: &Node, why: &'static str) {
        let Some(pause) = self.away.failed(&node.name) else { return };
        tracing::warn!(node = %node.name, why, "a node of the stamp does not lend; storage is asked in its place");
        tokio::spawn(look(self.me.clone(), node.name.clone(), pause));
    }

    fn refute(&self, key: &BlobKey) {
        self.refuted.insert(key.clone(), ());
    }
}

fn count(outcome: &'static str) {
    counter!("dataproxy_stamp_reads_total", "outcome" => outcome).increment(1);
}

/// Looks at a node that is away until it lends, or is of the stamp no more. Ends with the cache.
async fn look(stamp: Weak<StampCache>, name: NodeName, mut pause: Duration) {
    loop {
        tokio::time::sleep(pause).await;
        let Some(stamp) = stamp.upgrade() else { return };
        let table = stamp.bindings.current();
        let nodes = table.stamp(&stamp.stamp).map(|stamp| &stamp.nodes);
        // One that is out of rotation is asked nothing; should it come back, it is asked as one of which nothing is known.
        let find = |node: &&Node| node.name == name && node.in_rotation();
        let Some(node) = nodes.into_iter().flatten().find(find) else { return stamp.away.forget(&name) };
        if stamp.is_ready(node).await {
            tracing::info!(node = %name, "the node of the stamp lends again");
            return stamp.away.back(&name);
        }
        pause = stamp.away.still(&name);
    }
}

/// A blob in storage, with the stamp before it.
#[derive(Debug)]
struct Through {
    stamp: Arc<StampCache>,
    registry: RegistryName,
    key: BlobKey,
    behind: Source,
    /// The version that another node gave.
    lent: Mutex<Option<ETag>>,
}

impl Through {
    fn lent(&self) -> MutexGuard<'_, Option<ETag>> {
        self.lent.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The read as storage gives it. Another node may have the content from where it lay before, and so under a version that
    /// storage no longer knows: content has one digest wherever it lies, so the read goes on under the version that it began
    /// with. A version that is storage's own, and that storage has no more, is another matter: it has changed.
    async fn stored(
        &self,
        object: &ObjectName,
        range: Range<u64>,
        pin: Option<&ETag>,
    ) -> Result<OriginRead, OriginError> {
        match (self.behind.origin.get(object, range.clone(), pin).await, pin) {
            (Err(error), Some(pin))
                if error.kind == OriginErrorKind::Changed && self.lent().as_ref() == Some(pin) =>
            {
                tracing::info!(key = %self.key, "another node has another version; the rest is read from storage");
                self.stamp.refute(&self.key);
                let read = self.behind.origin.get(object, range, None).await?;
                Ok(OriginRead { etag: pin.clone(), ..read })
            }
            (read, _) => read,
        }
    }
}

impl Origin for Through {
    fn get<'a>(
        &'a self,
        object: &'a ObjectName,
        range: Range<u64>,
        pin: Option<&'a ETag>,
    ) -> BoxFuture<'a, Result<OriginRead, OriginError>> {
        Box::pin(async move {
            let lent = self.stamp.lent(self, &range, pin);
            let lent = match pin {
                Some(_) => lent.await,
                // Nobody can be served here until the size is known. Should another node wait for that, storage is asked: it
                // may be the one that is waited for.
                None => {
                    let opening = self.stamp.openings.begin(&self.key);
                    tokio::select! {
                        lent = lent => lent,
                        () = opening.wanted() => None,
                    }
                }
            };
            match lent {
                Some(read) => {
                    *self.lent() = Some(read.etag.clone());
                    Ok(read)
                }
                None => self.stored(object, range, pin).await,
            }
        })
    }

    fn retry(&self, error: &OriginError) -> Retry {
        self.behind.origin.retry(error)
    }

    fn refuted(&self, object: &ObjectName) {
        self.stamp.refute(&self.key);
        self.behind.origin.refuted(object);
    }
}

/// Blobs whose size this node asks others for now.
#[derive(Debug, Default)]
struct Openings(Arc<Mutex<HashMap<BlobKey, Weak<Notify>>>>);

/// One of them.
struct Opening {
    key: BlobKey,
    wish: Arc<Notify>,
    all: Arc<Mutex<HashMap<BlobKey, Weak<Notify>>>>,
}

impl Openings {
    fn begin(&self, key: &BlobKey) -> Opening {
        let wish = Arc::new(Notify::new());
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.insert(key.clone(), Arc::downgrade(&wish));
        Opening { key: key.clone(), wish, all: Arc::clone(&self.0) }
    }

    /// Says that somebody else waits for this blob to open.
    fn want(&self, key: &BlobKey) {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(wish) = all.get(key).and_then(Weak::upgrade) {
            wish.notify_one();
        }
    }
}

impl Opening {
    async fn wanted(&self) {
        self.wish.notified().await;
    }
}

impl Drop for Opening {
    fn drop(&mut self) {
        let mut all = self.all.lock().unwrap_or_else(PoisonError::into_inner);
        if all.get(&self.key).is_some_and(|wish| wish.as_ptr() == Arc::as_ptr(&self.wish)) {
            all.remove(&self.key);
        }
    }
}

#[cfg(test)]
mod tests;
