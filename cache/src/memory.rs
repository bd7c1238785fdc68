//! The memory tier: blocks as `Bytes` under a byte budget, and the blobs that only memory knows.
//!
//! Eviction and admission are moka's TinyLFU: a block that was asked for once does not push out one that
//! is asked for often, so a large fill or scan leaves the hot set alone.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use moka::sync::Cache;

use crate::blob::Blob;
use crate::{BlobKey, Digest, Scope};

/// What an entry costs beside its bytes, roughly: keys, hash table and eviction queues.
const ENTRY_BYTES: u32 = 128;

/// One part in so many of the budget is for knowing blobs, the rest for their blocks.
const BLOB_SHARE: u64 = 16;

/// The memory tier.
pub(crate) struct Memory {
    blobs: Cache<BlobKey, Arc<Blob>>,
    blocks: Cache<(u64, u32), Bytes>,
}

impl Memory {
    /// An empty tier of at most `budget_bytes`.
    pub(crate) fn new(budget_bytes: u64) -> Self {
        let for_blobs = budget_bytes / BLOB_SHARE;
        Self {
            blobs: Cache::builder()
                .max_capacity(for_blobs)
                .weigher(|key: &BlobKey, blob: &Arc<Blob>| {
                    let fixed = ENTRY_BYTES * 4 + key.scope.as_str().len() as u32;
                    fixed.saturating_add(blob.blocks.count().saturating_mul(5))
                })
                .build(),
            blocks: Cache::builder()
                .max_capacity(budget_bytes - for_blobs)
                .weigher(|_, bytes: &Bytes| ENTRY_BYTES.saturating_add(bytes.len() as u32))
                .build(),
        }
    }

    /// The blob of this key, if memory keeps it.
    pub(crate) fn find(&self, key: &BlobKey) -> Option<Arc<Blob>> {
        self.blobs.get(key)
    }

    /// Keeps a blob known, whatever the disk tier does.
    pub(crate) fn keep(&self, blob: &Arc<Blob>) {
        self.blobs.insert(blob.key.clone(), Arc::clone(blob));
    }

    /// The block, if it is here.
    pub(crate) fn get(&self, blob: &Blob, block: u32) -> Option<Bytes> {
        self.blocks.get(&(blob.serial, block))
    }

    /// Whether the block is here. Does not count as a use.
    pub(crate) fn has(&self, blob: &Blob, block: u32) -> bool {
        self.blocks.contains_key(&(blob.serial, block))
    }

    /// Offers a block. `bytes` must own its memory alone, else the budget is a lie.
    pub(crate) fn offer(&self, blob: &Blob, block: u32, bytes: Bytes) {
        self.blocks.insert((blob.serial, block), bytes);
        // Left to itself, moka evicts after every 64th write or 0.3 s: of blocks of 1 MiB that is 64 MiB too late.
        self.blocks.run_pending_tasks();
    }

    /// Drops a blob and its blocks.
    pub(crate) fn forget(&self, blob: &Blob) {
        if self.blobs.get(&blob.key).is_some_and(|kept| kept.serial == blob.serial) {
            self.blobs.invalidate(&blob.key);
        }
        for block in 0..blob.blocks.count() {
            self.blocks.invalidate(&(blob.serial, block));
        }
    }

    /// The blobs of this scope, or the one of this digest, that memory keeps.
    pub(crate) fn matching(&self, scope: &Scope, digest: Option<&Digest>) -> Vec<Arc<Blob>> {
        let wanted = |key: &BlobKey| key.scope == *scope && digest.is_none_or(|digest| key.digest == *digest);
        self.blobs.iter().filter(|(key, _)| wanted(key)).map(|(_, blob)| blob).collect()
    }

    /// Bytes and blocks held now.
    pub(crate) fn held(&self) -> (u64, u64) {
        self.blobs.run_pending_tasks();
        self.blocks.run_pending_tasks();
        (self.blobs.weighted_size() + self.blocks.weighted_size(), self.blocks.entry_count())
    }
}

impl fmt::Debug for Memory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Memory").field("blocks", &self.blocks.entry_count()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::block::Blocks;
    use crate::{Algorithm, ETag};

    const BLOCK: usize = 4096;

    fn blob(id: u64, blocks: u64) -> Arc<Blob> {
        let key = BlobKey {
            scope: Scope::new("contoso"),
            digest: Digest::of(Algorithm::Sha256, &id.to_le_bytes()),
        };
        let blocks = Blocks::new(blocks * BLOCK as u64, BLOCK as u64).expect("few");
        Arc::new(Blob::new(id, key, ETag::new("v"), blocks))
    }

    fn block() -> Bytes {
        vec![1; BLOCK].into()
    }

    #[test]
    fn blobs_whose_ids_have_met_share_no_block() {
        let memory = Memory::new(64 * 1024);
        let (one, other) = (blob(7, 1), blob(7, 1));
        memory.offer(&one, 0, block());
        assert!(memory.has(&one, 0) && !memory.has(&other, 0));
        memory.forget(&other);
        assert!(memory.get(&one, 0).is_some());
    }

    #[test]
    fn the_budget_holds_under_any_number_of_blocks() {
        let memory = Memory::new(64 * 1024);
        let large = blob(1, 1000);
        for at in 0..1000 {
            memory.offer(&large, at, block());
            let (held, _) = memory.held();
            assert!(held <= 64 * 1024, "{held} bytes after {at} blocks");
        }
    }

    #[test]
    fn a_scan_leaves_the_hot_set_alone() {
        let memory = Memory::new(1024 * 1024);
        let (hot, cold) = (blob(1, 100), blob(2, 5000));
        for at in 0..100 {
            memory.offer(&hot, at, block());
        }
        // The hot set is still asked for now and then while something twenty times the budget passes by.
        for at in 0..5000 {
            if memory.get(&cold, at).is_none() {
                memory.offer(&cold, at, block());
            }
            if at % 100 == 0 {
                (0..100).for_each(|at| drop(memory.get(&hot, at)));
            }
            memory.held();
        }
        let kept = (0..100).filter(|at| memory.has(&hot, *at)).count();
        assert!(kept >= 90, "only {kept} of 100 hot blocks outlived a scan of 20 times the budget");
    }

    #[test]
    fn a_forgotten_blob_leaves_nothing_and_spares_its_successor() {
        let memory = Memory::new(1024 * 1024);
        let old = blob(1, 3);
        let new = Arc::new(old.successor(2));
        memory.keep(&old);
        memory.offer(&old, 0, block());
        memory.keep(&new);
        memory.offer(&new, 0, block());
        memory.forget(&old);
        assert!(!memory.has(&old, 0) && memory.has(&new, 0));
        assert_eq!(memory.find(&new.key).map(|blob| blob.id), Some(2));
        assert_eq!(memory.matching(&Scope::new("contoso"), None).len(), 1);
        assert_eq!(memory.matching(&Scope::new("fabrikam"), None).len(), 0);
    }
}
