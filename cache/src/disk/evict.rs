//! Who leaves when room is needed, and the account of bytes on disk.
//!
//! The order is a clock with two bits of heat a blob: newcomers start cold, each use warms, the hand cools. A blob
//! that is used again outlives any number of blobs that are used once, so a scan does not flush the tier.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex};

use crate::blob::{Blob, Standing};
use crate::sync::lock;

/// Bytes on disk against the capacity.
#[derive(Debug)]
pub(crate) struct Usage {
    bytes: AtomicU64,
    capacity: u64,
}

impl Usage {
    pub(crate) fn new(capacity: u64) -> Arc<Self> {
        Arc::new(Self { bytes: AtomicU64::new(0), capacity })
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.bytes.load(Relaxed)
    }

    pub(crate) fn capacity(&self) -> u64 {
        self.capacity
    }

    /// Takes bytes of the capacity; whether they were there.
    fn take(&self, amount: u64) -> bool {
        let grown = |bytes: u64| bytes.checked_add(amount).filter(|sum| *sum <= self.capacity);
        self.bytes.fetch_update(Relaxed, Relaxed, grown).is_ok()
    }
}

/// The bytes of one data file. Held by its blob and by everybody who has the file open: an unlinked file takes
/// room until the last of them closes it, and so long it is counted.
#[derive(Debug)]
pub(crate) struct Charge {
    bytes: AtomicU64,
    usage: Arc<Usage>,
}

impl Charge {
    pub(crate) fn new(usage: &Arc<Usage>) -> Arc<Self> {
        Arc::new(Self { bytes: AtomicU64::new(0), usage: Arc::clone(usage) })
    }

    /// Charges bytes that are on disk already, over the capacity if need be.
    pub(crate) fn found(usage: &Arc<Usage>, amount: u64) -> Arc<Self> {
        usage.bytes.fetch_add(amount, Relaxed);
        Arc::new(Self { bytes: AtomicU64::new(amount), usage: Arc::clone(usage) })
    }

    /// Charges bytes to come; whether there is room.
    pub(crate) fn take(&self, amount: u64) -> bool {
        let taken = self.usage.take(amount);
        if taken {
            self.bytes.fetch_add(amount, Relaxed);
        }
        taken
    }

    /// Takes back bytes that did not come or are of no use.
    pub(crate) fn give_back(&self, amount: u64) {
        self.bytes.fetch_sub(amount, Relaxed);
        self.usage.bytes.fetch_sub(amount, Relaxed);
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        self.usage.bytes.fetch_sub(self.bytes.load(Relaxed), Relaxed);
    }
}

/// The eviction order.
#[derive(Debug, Default)]
pub(crate) struct Clock {
    ring: Mutex<VecDeque<Arc<Blob>>>,
}

impl Clock {
    /// Adds a newcomer.
    pub(crate) fn add(&self, blob: &Arc<Blob>) {
        lock(&self.ring).push_back(Arc::clone(blob));
    }

    /// Takes the next blob to leave off the books: it is marked gone and no longer charged. `None` if every blob
    /// is being read or filled. The caller unlinks its files, and drops the charge after that.
    pub(crate) fn evict(&self) -> Option<(Arc<Blob>, Arc<Charge>)> {
        let mut ring = lock(&self.ring);
        // Each blob's heat is at most 3: four rounds find one, if there is one.
        for _ in 0..ring.len().saturating_mul(4) {
            let blob = ring.pop_front()?;
            if blob.holdings().standing == Standing::Gone {
                continue;
            }
            if !blob.cool()
                && let Some(charge) = take_off(&blob)
            {
                return Some((blob, charge));
            }
            ring.push_back(blob);
        }
        None
    }
}

/// Marks a blob gone, unless somebody has its file open.
fn take_off(blob: &Blob) -> Option<Arc<Charge>> {
    let mut holdings = blob.holdings();
    if holdings.file.strong_count() > 0 {
        return None;
    }
    let charge = holdings.charge.take()?;
    holdings.standing = Standing::Gone;
    holdings.on_disk = crate::block::Bitmap::empty(blob.blocks.count());
    Some(charge)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::block::Blocks;
    use crate::{Algorithm, BlobKey, Digest, ETag, Scope};

    fn blob(id: u64, usage: &Arc<Usage>) -> Arc<Blob> {
        let key = BlobKey {
            scope: Scope::new("contoso"),
            digest: Digest::of(Algorithm::Sha256, &id.to_le_bytes()),
        };
        let blob = Blob::new(id, key, ETag::new("v"), Blocks::new(100, 4096).expect("few"));
        {
            let mut holdings = blob.holdings();
            holdings.standing = Standing::Listed;
            holdings.charge = Some(Charge::found(usage, 100));
        }
        Arc::new(blob)
    }

    #[test]
    fn what_is_used_again_outlives_a_scan() {
        let usage = Usage::new(1000);
        let clock = Clock::default();
        let hot = blob(0, &usage);
        clock.add(&hot);
        let mut evicted = Vec::new();
        for id in 1..100 {
            hot.touch();
            clock.add(&blob(id, &usage));
            if usage.bytes() > 1000 {
                let (victim, charge) = clock.evict().expect("one is cold");
                drop(charge);
                evicted.push(victim.id);
            }
        }
        assert_eq!(evicted, (1..=90).collect::<Vec<_>>(), "the cold ones leave in order of arrival");
        assert_eq!(usage.bytes(), 1000);
    }

    #[test]
    fn a_charge_counts_until_its_last_holder_is_gone() {
        let usage = Usage::new(1000);
        let charge = Charge::new(&usage);
        assert!(charge.take(600) && !charge.take(500));
        charge.give_back(100);
        assert_eq!(usage.bytes(), 500);
        let reader = Arc::clone(&charge);
        drop(charge);
        assert_eq!(usage.bytes(), 500);
        drop(reader);
        assert_eq!(usage.bytes(), 0);
    }

    #[test]
    fn a_tier_with_nothing_to_evict_says_so() {
        let clock = Clock::default();
        assert!(clock.evict().is_none());
    }
}
