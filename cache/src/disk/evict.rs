//! Who leaves when room is needed.
//!
//! The order is S3-FIFO's (Yang, Zhang, Qiu, Yue, Vigfusson: "FIFO queues are all you need for cache eviction", SOSP
//! 2023), by bytes. Newcomers are on probation in a queue that keeps a tenth of the tier. Who was used twice there
//! settles in the main queue, a clock; the rest leaves, and is remembered for a while: who comes back soon settles at
//! once. So a sweep of blobs that are read once passes through the tenth and leaves the rest of the tier alone.

use std::collections::{HashSet, VecDeque};
use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, Mutex};

use super::usage::{Charge, Usage};
use crate::BlobKey;
use crate::blob::{Blob, Standing};
use crate::sync::lock;

/// One part in so many of the capacity is for probation.
const PROBATION_SHARE: u64 = 10;

/// Uses on probation that earn a place.
const EARNED: u8 = 2;

/// Blobs remembered at least; else as many as there are in the main queue.
const MIN_REMEMBERED: usize = 128;

/// The eviction order.
#[derive(Debug)]
pub(crate) struct Queues {
    usage: Arc<Usage>,
    hasher: RandomState,
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    probation: VecDeque<Arc<Blob>>,
    main: VecDeque<Arc<Blob>>,
    /// Hashes of keys that left from probation, oldest first, and those of them that still count.
    left: VecDeque<u64>,
    remembered: HashSet<u64>,
}

impl Queues {
    pub(crate) fn new(usage: &Arc<Usage>) -> Self {
        Self { usage: Arc::clone(usage), hasher: RandomState::new(), inner: Mutex::default() }
    }

    fn hash(&self, key: &BlobKey) -> u64 {
        self.hasher.hash_one(key)
    }

    /// Adds a newcomer, or who comes back.
    pub(crate) fn add(&self, blob: &Arc<Blob>) {
        let mut inner = lock(&self.inner);
        if inner.remembered.remove(&self.hash(&blob.key)) {
            settle(blob);
            inner.main.push_back(Arc::clone(blob));
        } else {
            inner.probation.push_back(Arc::clone(blob));
        }
    }

    /// Adds what a former process has left. It earned its place there.
    pub(crate) fn add_found(&self, blob: &Arc<Blob>) {
        lock(&self.inner).main.push_back(Arc::clone(blob));
    }

    /// Takes the next blob to leave off the books: it is marked gone and no longer charged. `None` if every blob
    /// is being read or filled. The caller unlinks its files, and drops the charge after that.
    pub(crate) fn evict(&self) -> Option<(Arc<Blob>, Arc<Charge>)> {
        let mut inner = lock(&self.inner);
        if self.usage.on_probation() >= self.usage.capacity() / PROBATION_SHARE {
            self.evict_from_probation(&mut inner).or_else(|| evict_from_main(&mut inner))
        } else {
            evict_from_main(&mut inner).or_else(|| self.evict_from_probation(&mut inner))
        }
    }

    fn evict_from_probation(&self, inner: &mut Inner) -> Option<(Arc<Blob>, Arc<Charge>)> {
        for _ in 0..inner.probation.len() {
            let blob = inner.probation.pop_front()?;
            if is_gone(&blob) {
                continue;
            }
            if blob.heat() >= EARNED {
                settle(&blob);
                inner.main.push_back(blob);
            } else if let Some(charge) = take_off(&blob) {
                self.remember(inner, self.hash(&blob.key));
                return Some((blob, charge));
            } else {
                inner.probation.push_back(blob);
            }
        }
        None
    }

    fn remember(&self, inner: &mut Inner, hash: u64) {
        if inner.remembered.insert(hash) {
            inner.left.push_back(hash);
        }
        while inner.left.len() > inner.main.len().max(MIN_REMEMBERED) {
            if let Some(oldest) = inner.left.pop_front() {
                inner.remembered.remove(&oldest);
            }
        }
    }
}

fn evict_from_main(inner: &mut Inner) -> Option<(Arc<Blob>, Arc<Charge>)> {
    // Each blob's heat is at most 3: four rounds find one, if there is one.
    for _ in 0..inner.main.len().saturating_mul(4) {
        let blob = inner.main.pop_front()?;
        if is_gone(&blob) {
            continue;
        }
        if !blob.cool()
            && let Some(charge) = take_off(&blob)
        {
            return Some((blob, charge));
        }
        inner.main.push_back(blob);
    }
    None
}

fn is_gone(blob: &Blob) -> bool {
    blob.holdings().standing == Standing::Gone
}

fn settle(blob: &Blob) {
    if let Some(charge) = &blob.holdings().charge {
        charge.settle();
    }
}

/// Marks a blob gone and closes its file, unless somebody reads or fills it.
fn take_off(blob: &Blob) -> Option<Arc<Charge>> {
    let mut holdings = blob.holdings();
    if holdings.is_in_use() {
        return None;
    }
    let charge = holdings.charge.take()?;
    holdings.kept = None;
    holdings.standing = Standing::Gone;
    holdings.on_disk = crate::block::Bitmap::empty(blob.blocks.count());
    Some(charge)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::block::Blocks;
    use crate::{Algorithm, Digest, ETag, Scope};

    struct Tier {
        usage: Arc<Usage>,
        queues: Queues,
    }

    impl Tier {
        fn new() -> Self {
            let usage = Usage::new(1000);
            Self { queues: Queues::new(&usage), usage }
        }

        /// Lists a blob of 10 bytes, making room for it first; gives who left.
        fn bring(&self, id: u64) -> (Arc<Blob>, Vec<u64>) {
            let key = BlobKey {
                scope: Scope::new("contoso"),
                digest: Digest::of(Algorithm::Sha256, &id.to_le_bytes()),
            };
            let blob = Arc::new(Blob::new(id, key, ETag::new("v"), Blocks::new(10, 4096).expect("few")));
            blob.set_verified();
            let charge = Charge::new(&self.usage, 0);
            {
                let mut holdings = blob.holdings();
                holdings.standing = Standing::Listed;
                holdings.charge = Some(Arc::clone(&charge));
            }
            self.queues.add(&blob);
            let mut left = Vec::new();
            while !charge.take(10) {
                let (victim, charge) = self.queues.evict().expect("one can leave");
                drop(charge);
                left.push(victim.id);
            }
            (blob, left)
        }
    }

    #[test]
    fn a_sweep_leaves_what_is_used_alone_though_nobody_asks_for_it_meanwhile() {
        let tier = Tier::new();
        let hot: Vec<_> = (0..80).map(|id| tier.bring(id).0).collect();
        hot.iter().for_each(|blob| (0..2).for_each(|_| blob.touch()));
        let mut left = Vec::new();
        for id in 1000..2000 {
            left.extend(tier.bring(id).1);
        }
        assert!(left.iter().all(|id| *id >= 1000), "a hot blob left: {left:?}");
        assert!(tier.usage.bytes() <= 1000);
    }

    #[test]
    fn who_comes_back_soon_settles_and_who_was_settled_and_is_not_used_leaves() {
        let tier = Tier::new();
        for id in 0..200 {
            tier.bring(id);
        }
        // Of what left, the last hundred are remembered.
        for id in 50..140 {
            let (_, left) = tier.bring(id);
            assert!(!left.contains(&id));
        }
        assert!(tier.usage.on_probation() <= 110, "{} on probation", tier.usage.on_probation());
        let mut left = HashSet::new();
        for id in 2000..2300 {
            let (blob, gone) = tier.bring(id);
            (0..2).for_each(|_| blob.touch());
            left.extend(gone);
        }
        assert!((50..140).all(|id| left.contains(&id)), "what is not used makes room for what is");
    }

    #[test]
    fn uses_while_a_blob_is_filled_are_one_use() {
        let key = BlobKey { scope: Scope::new("contoso"), digest: Digest::of(Algorithm::Sha256, b"x") };
        let filling = Blob::new(1, key, ETag::new("v"), Blocks::new(10, 4096).expect("few"));
        (0..10).for_each(|_| filling.touch());
        assert_eq!(filling.heat(), 1);
        filling.set_verified();
        filling.touch();
        assert_eq!(filling.heat(), 2);
    }

    #[test]
    fn a_tier_with_nothing_to_evict_says_so() {
        assert!(Tier::new().queues.evict().is_none());
    }
}
