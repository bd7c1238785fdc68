//! What every part of a read shares: the settings, both tiers, the running fills and the counts.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use dataproxy_cpu::carried_work;
use tokio::runtime::Handle;
use tokio::sync::{Semaphore, watch};

use crate::blob::{Blob, Standing};
use crate::block::Blocks;
use crate::disk::Disk;
use crate::fill::Fills;
use crate::memory::Memory;
use crate::stats::Counters;
use crate::{
    BlobKey, Bypass, CacheConfig, Digest, ETag, OpenError, OriginError, OriginErrorKind, Scope, Stats,
};

/// With no disk, a blob of more than one part in so many of the memory tier is not counted on to stay there.
const MEMORY_SHARE: u64 = 4;

/// How many reads may have a folder of the disk read at a time, while it is not known what is there.
const RECOVERING_MAX: usize = 32;

/// The shared parts of one cache.
#[derive(Debug)]
pub(crate) struct Tiers {
    pub(crate) config: CacheConfig,
    pub(crate) memory: Memory,
    pub(crate) disk: Option<Arc<Disk>>,
    pub(crate) fills: Fills,
    pub(crate) counters: Arc<Counters>,
    /// Where fills run, and the pool for what blocks.
    pub(crate) runtime: Handle,
    closing: watch::Sender<bool>,
    running: watch::Sender<usize>,
    next_id: AtomicU64,
    /// Those who have a folder of the disk read, each on a thread of the pool that others need too.
    recovering: Arc<Semaphore>,
}

impl Tiers {
    /// Opens the tiers. Blocks.
    ///
    /// # Errors
    /// [`OpenError::Dir`]
    pub(crate) fn open(config: CacheConfig, runtime: Handle) -> Result<Self, OpenError> {
        let counters = Arc::<Counters>::default();
        let disk = match &config.disk {
            Some(disk) => Some(Disk::open(disk, &config, Arc::clone(&counters))?),
            None => None,
        };
        Ok(Self {
            memory: Memory::new(config.memory_bytes),
            disk,
            fills: Fills::default(),
            counters,
            runtime,
            closing: watch::Sender::new(false),
            running: watch::Sender::new(0),
            next_id: AtomicU64::new(1),
            recovering: Arc::new(Semaphore::new(RECOVERING_MAX)),
            config,
        })
    }

    /// The blob of this key, if a tier knows it.
    pub(crate) fn find(&self, key: &BlobKey) -> Option<Arc<Blob>> {
        let listed = self.disk.as_ref().and_then(|disk| disk.find(key));
        listed.or_else(|| self.memory.find(key)).filter(|blob| blob.condemned().is_none())
    }

    /// Waits until what a former process left of this blob is known, or the disk takes too long.
    pub(crate) async fn recover(&self, key: &BlobKey) {
        let Some(disk) = self.disk.as_ref().filter(|disk| disk.is_readable() && !disk.has_recovered(key))
        else {
            return;
        };
        let place = Arc::clone(&self.recovering).acquire_owned();
        let Ok(Ok(place)) = tokio::time::timeout(disk.patience(), place).await else { return };
        let (disk, key) = (Arc::clone(disk), key.clone());
        self.on_disk(move || {
            // Kept as long as the disk takes, though nobody may wait any more.
            let _place = place;
            disk.recover_first(&key);
        })
        .await;
    }

    /// Has work done that asks the disk. `None` if that takes too long, as the disk hangs, or if the process ends; the
    /// work may still be done later. With no disk, it is waited for.
    pub(crate) async fn on_disk<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Option<T> {
        let work = self.runtime.spawn_blocking(carried_work(work));
        let done = match &self.disk {
            Some(disk) => match tokio::time::timeout(disk.patience(), work).await {
                Ok(done) => done,
                Err(_) => {
                    self.counters.disk_stalls.add(1);
                    return None;
                }
            },
            None => work.await,
        };
        match done {
            Ok(done) => Some(done),
            Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
            Err(_) => None,
        }
    }

    /// Whether blocks on disk can be had now.
    pub(crate) fn can_load(&self) -> bool {
        self.disk.as_ref().is_some_and(|disk| disk.is_readable())
    }

    fn next_id(&self) -> u64 {
        match &self.disk {
            Some(disk) => disk.next_id(),
            None => self.next_id.fetch_add(1, Relaxed),
        }
    }

    /// A blob that the origin has just told of, not yet listed anywhere.
    ///
    /// # Errors
    /// Its size is beyond anything.
    pub(crate) fn new_blob(&self, key: &BlobKey, size: u64, etag: ETag) -> Result<Arc<Blob>, OriginError> {
        let blocks = Blocks::new(size, self.config.block_bytes).ok_or_else(|| {
            OriginError::new(OriginErrorKind::Protocol, format!("an object of {size} bytes"))
        })?;
        Ok(Arc::new(Blob::new(self.next_id(), key.clone(), etag, blocks)))
    }

    /// The instance that a new fill of this blob works on, and why nothing is kept of it, if so.
    pub(crate) fn fillable(&self, blob: &Arc<Blob>) -> (Arc<Blob>, Option<Bypass>) {
        let gone = blob.holdings().standing == Standing::Gone;
        let blob = if gone { Arc::new(blob.successor(self.next_id())) } else { Arc::clone(blob) };
        let bypass = self.bypass(&blob);
        (blob, bypass)
    }

    /// The same version of a blob, for a fill of one reader's own that touches no disk.
    pub(crate) fn aside(&self, blob: &Blob) -> Arc<Blob> {
        Arc::new(blob.successor(self.next_id()))
    }

    /// Why a blob cannot be kept, if so.
    pub(crate) fn bypass(&self, blob: &Blob) -> Option<Bypass> {
        match &self.disk {
            None if blob.size() <= self.config.memory_bytes / MEMORY_SHARE => None,
            None => Some(Bypass::NoDisk),
            Some(disk) if !disk.fits(blob) => Some(Bypass::TooLarge),
            Some(disk) => disk.bypass(),
        }
    }

    /// Whether a blob is kept whole in memory, disk or no disk.
    pub(crate) fn is_small(&self, blob: &Blob) -> bool {
        blob.size() <= self.config.small_blob_bytes
    }

    /// Drops a blob from both tiers. May unlink files: for the blocking pool.
    pub(crate) fn remove(&self, blob: &Blob) {
        self.memory.forget(blob);
        if let Some(disk) = &self.disk {
            disk.remove(blob);
        }
    }

    /// Drops what both tiers have of a scope, or of one digest in it; how many blobs that is as far as they are known. Asks
    /// nothing of the disk: [`Disk::unlink_delisted`] is left to be done. For the blocking pool, as there may be many.
    pub(crate) fn delist(&self, scope: &Scope, digest: Option<&Digest>) -> usize {
        let fills =
            self.fills.detach(|key| key.scope == *scope && digest.is_none_or(|digest| key.digest == *digest));
        let filling = fills.iter().filter_map(|fill| fill.blob());
        let on_disk = self.disk.iter().flat_map(|disk| disk.purgeable(scope, digest));
        let in_memory = self.memory.matching(scope, digest);
        let mut ids = std::collections::HashSet::new();
        for blob in filling.chain(on_disk).chain(in_memory) {
            self.memory.forget(&blob);
            if let Some(disk) = &self.disk {
                disk.delist(&blob);
            }
            ids.insert(blob.id);
        }
        ids.len()
    }

    pub(crate) fn is_closing(&self) -> bool {
        *self.closing.borrow()
    }

    /// Tells when the cache closes.
    pub(crate) fn closing(&self) -> watch::Receiver<bool> {
        self.closing.subscribe()
    }

    /// Counts a fill's task in; out when the guard drops.
    pub(crate) fn count_fill(self: &Arc<Self>) -> Running {
        self.running.send_modify(|count| *count += 1);
        self.counters.fills_running.add(1);
        self.counters.fills_started.add(1);
        Running(Arc::clone(self))
    }

    /// Ends every fill, keeping what came, and lets go of the folder.
    pub(crate) async fn close(&self) {
        self.closing.send_replace(true);
        let mut changes = self.running.subscribe();
        // The sender is ours, so this ends only by the count.
        let _all_ended = changes.wait_for(|count| *count == 0).await;
        if let Some(disk) = self.disk.clone() {
            self.on_disk(move || disk.unlock()).await;
        }
    }

    pub(crate) fn stats(&self) -> Stats {
        let mut stats = self.counters.read();
        (stats.memory_bytes, stats.memory_blocks) = self.memory.held();
        if let Some(disk) = &self.disk {
            disk.count(&mut stats);
        }
        stats
    }
}

/// A fill's task that runs.
#[derive(Debug)]
pub(crate) struct Running(Arc<Tiers>);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.counters.fills_running.sub(1);
        self.0.running.send_modify(|count| *count -= 1);
    }
}
