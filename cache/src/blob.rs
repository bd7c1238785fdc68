//! One blob as the tiers know it: its size and version, which blocks are on disk, and whether its digest agreed.
//!
//! A `Blob` is one *instance*: another version of the object, or the same one fetched again after it was
//! dropped, is another instance with another id. So nothing that is kept under an id can ever be stale.

use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, OnceLock, Weak};

use crate::block::{Bitmap, Blocks};
use crate::disk::{BlobFile, Charge};
use crate::sync::lock;
use crate::verify::Prefix;
use crate::{BlobKey, CacheError, ETag};

/// Hits beyond this say no more about a blob's worth.
const MAX_HEAT: u8 = 3;

/// Hits while a blob is not whole are mostly one pull's, which may ask for its parts in many requests.
const MAX_HEAT_UNVERIFIED: u8 = 1;

/// A blob, complete or growing.
#[derive(Debug)]
pub(crate) struct Blob {
    /// Of its files' names.
    pub(crate) id: u64,
    /// Of this process alone, and of no other blob in it, whatever the clock made of the ids.
    pub(crate) serial: u64,
    pub(crate) key: BlobKey,
    pub(crate) etag: ETag,
    pub(crate) blocks: Blocks,
    verified: AtomicBool,
    condemned: OnceLock<CacheError>,
    heat: AtomicU8,
    holdings: Mutex<Holdings>,
    /// Held while its file is opened, by one at a time and never by a thread that serves.
    pub(crate) opening: Mutex<()>,
    /// The same while its meta file is written, which may take longer than reads may wait.
    pub(crate) persisting: Mutex<()>,
}

/// What is on disk of a blob.
#[derive(Debug)]
pub(crate) struct Holdings {
    pub(crate) standing: Standing,
    pub(crate) on_disk: Bitmap,
    /// CRC-32C by block; of use where `summed` says so.
    sums: Vec<u32>,
    summed: Bitmap,
    /// The bytes that this blob is charged with. Gone once the blob is off the disk.
    pub(crate) charge: Option<Arc<Charge>>,
    /// The open file, while anybody has it open.
    pub(crate) file: Weak<BlobFile>,
    /// The same, kept open for the next reader.
    pub(crate) kept: Option<Arc<BlobFile>>,
    prefix: Option<Prefix>,
}

/// How a blob stands with the disk tier.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    /// Not (yet) known to it.
    Unlisted,
    /// In its index.
    Listed,
    /// Evicted or removed. Its files are unlinked; whoever had them open may go on.
    Gone,
}

impl Blob {
    /// A blob of which nothing is on disk.
    pub(crate) fn new(id: u64, key: BlobKey, etag: ETag, blocks: Blocks) -> Self {
        let holdings = Holdings {
            standing: Standing::Unlisted,
            on_disk: Bitmap::empty(blocks.count()),
            sums: Vec::new(),
            summed: Bitmap::empty(blocks.count()),
            charge: None,
            file: Weak::new(),
            kept: None,
            prefix: None,
        };
        static SERIAL: AtomicU64 = AtomicU64::new(0);
        Self {
            id,
            serial: SERIAL.fetch_add(1, Relaxed),
            key,
            etag,
            blocks,
            verified: AtomicBool::new(false),
            condemned: OnceLock::new(),
            heat: AtomicU8::new(0),
            holdings: Mutex::new(holdings),
            opening: Mutex::new(()),
            persisting: Mutex::new(()),
        }
    }

    /// The same version of the same blob under a new id, with nothing on disk. What is known of its content
    /// stays known.
    pub(crate) fn successor(&self, id: u64) -> Self {
        let fresh = Self::new(id, self.key.clone(), self.etag.clone(), self.blocks);
        fresh.verified.store(self.verified(), Relaxed);
        if self.verified() {
            let (ours, mut theirs) = (self.holdings(), fresh.holdings());
            theirs.sums.clone_from(&ours.sums);
            theirs.summed = ours.summed.clone();
        }
        fresh
    }

    pub(crate) fn holdings(&self) -> std::sync::MutexGuard<'_, Holdings> {
        lock(&self.holdings)
    }

    pub(crate) fn size(&self) -> u64 {
        self.blocks.size()
    }

    /// Whether the whole content hashed to the digest.
    pub(crate) fn verified(&self) -> bool {
        self.verified.load(Relaxed)
    }

    pub(crate) fn set_verified(&self) {
        self.verified.store(true, Relaxed);
    }

    /// Marks the content as wrong; every reader that still asks gets this error.
    pub(crate) fn condemn(&self, error: CacheError) {
        // The first verdict stands.
        let _already = self.condemned.set(error);
    }

    /// Why nothing of this may be served any more, if so.
    pub(crate) fn condemned(&self) -> Option<&CacheError> {
        self.condemned.get()
    }

    /// Notes a use, for the eviction order.
    pub(crate) fn touch(&self) {
        let heat = self.heat.load(Relaxed);
        let most = if self.verified() { MAX_HEAT } else { MAX_HEAT_UNVERIFIED };
        if heat < most {
            self.heat.store(heat + 1, Relaxed);
        }
    }

    /// Uses noted and not taken back.
    pub(crate) fn heat(&self) -> u8 {
        self.heat.load(Relaxed)
    }

    /// Takes one use back; whether there was one.
    pub(crate) fn cool(&self) -> bool {
        self.heat.fetch_update(Relaxed, Relaxed, |heat| heat.checked_sub(1)).is_ok()
    }

    /// Whether the block is on disk.
    pub(crate) fn has(&self, block: u32) -> bool {
        self.holdings().on_disk.has(block)
    }

    /// Whether every block is on disk.
    pub(crate) fn is_full(&self) -> bool {
        self.holdings().on_disk.is_full()
    }

    /// Whether the disk alone can serve the blob, verified.
    pub(crate) fn is_complete(&self) -> bool {
        self.verified() && self.is_full()
    }

    /// Bytes that are not on disk.
    pub(crate) fn missing_bytes(&self) -> u64 {
        let holdings = self.holdings();
        let present = u64::from(holdings.on_disk.count()) * self.blocks.block_bytes();
        let tail = match self.blocks.last() {
            Some(last) if holdings.on_disk.has(last) => self.blocks.block_bytes() - self.blocks.len(last),
            _ => 0,
        };
        self.size() - present.saturating_sub(tail).min(self.size())
    }

    /// The block's checksum, if one is known.
    pub(crate) fn sum(&self, block: u32) -> Option<u32> {
        let holdings = self.holdings();
        if holdings.summed.has(block) { holdings.sums.get(block as usize).copied() } else { None }
    }

    /// Notes the checksum of a block that was just received. `false` if the blob is verified and this is not
    /// what the block was then.
    pub(crate) fn note_sum(&self, block: u32, sum: u32) -> bool {
        let verified = self.verified();
        self.holdings().note_sum(block, sum, verified)
    }

    /// The hash of the first blocks, as far as an earlier fill came.
    pub(crate) fn take_prefix(&self) -> Prefix {
        self.holdings().prefix.take().unwrap_or_else(|| Prefix::new(&self.key.digest))
    }

    /// Leaves the hash for a later fill.
    pub(crate) fn put_prefix(&self, prefix: Prefix) {
        self.holdings().prefix = Some(prefix);
    }
}

impl Holdings {
    /// Whether anybody has the file open to read or to fill.
    pub(crate) fn is_in_use(&self) -> bool {
        self.file.strong_count() > usize::from(self.kept.is_some())
    }

    /// Whether the checksum of every block is known.
    pub(crate) fn is_summed(&self) -> bool {
        self.summed.is_full()
    }

    /// The checksums of the given blocks; 0 where none is known.
    pub(crate) fn sums(&self, blocks: impl Iterator<Item = u32>) -> Vec<u32> {
        blocks.map(|block| self.sums.get(block as usize).copied().unwrap_or(0)).collect()
    }

    pub(crate) fn note_sum(&mut self, block: u32, sum: u32, verified: bool) -> bool {
        let known = self.summed.has(block);
        if verified && known && self.sums.get(block as usize).is_some_and(|known| *known != sum) {
            return false;
        }
        if self.sums.len() <= block as usize {
            self.sums.resize(block as usize + 1, 0);
        }
        if let Some(slot) = self.sums.get_mut(block as usize) {
            *slot = sum;
            self.summed.set(block);
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Algorithm, Digest, Scope};

    fn blob(size: u64) -> Blob {
        let key = BlobKey { scope: Scope::new("contoso"), digest: Digest::of(Algorithm::Sha256, b"x") };
        Blob::new(1, key, ETag::new("v1"), Blocks::new(size, 4096).expect("few"))
    }

    #[test]
    fn missing_bytes_count_a_short_last_block_right() {
        let blob = blob(10_000);
        assert_eq!(blob.missing_bytes(), 10_000);
        blob.holdings().on_disk.set(2);
        assert_eq!(blob.missing_bytes(), 8192);
        blob.holdings().on_disk.set(0);
        blob.holdings().on_disk.set(1);
        assert_eq!((blob.missing_bytes(), blob.is_full(), blob.is_complete()), (0, true, false));
    }

    #[test]
    fn a_block_fetched_again_for_a_verified_blob_must_be_what_it_was() {
        let blob = blob(10_000);
        assert!(blob.note_sum(1, 5) && blob.note_sum(1, 6), "unverified content may change");
        blob.set_verified();
        assert!(blob.note_sum(1, 6) && !blob.note_sum(1, 7));
        let next = blob.successor(2);
        assert!(next.verified() && !next.note_sum(1, 7) && next.sum(1) == Some(6) && next.sum(0).is_none());
    }
}
