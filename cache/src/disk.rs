//! The disk tier: one sparse file a blob, a checksum a block, a byte budget.
//!
//! Every call here blocks; callers are on the blocking pool. Nothing is synced: a block that did not reach the
//! disk does not match its checksum and is a miss (design: durability).

mod evict;
mod file;
mod index;
mod layout;
mod recover;

use std::fs::{File, TryLockError};
use std::io;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex};

use bytes::Bytes;

pub(crate) use evict::Charge;
pub(crate) use file::{BlobFile, LoadError};

use crate::blob::{Blob, Standing};
use crate::stats::Counters;
use crate::sync::lock;
use crate::{Buffers, Bypass, CacheConfig, Digest, DiskConfig, OpenError, Scope, Stats};
use evict::{Clock, Usage};
use index::Index;
use layout::{Layout, Meta};

/// How many blobs leave when the file system itself is full: it may have filled for another reason than us, and
/// evicting without end would not help.
const FULL_BATCH: usize = 16;

/// The disk tier.
#[derive(Debug)]
pub(crate) struct Disk {
    layout: Layout,
    index: Index,
    clock: Clock,
    usage: Arc<Usage>,
    next_id: AtomicU64,
    counters: Arc<Counters>,
    buffers: Arc<Buffers>,
    lock: Mutex<Option<File>>,
    #[cfg(any(test, feature = "testing"))]
    pub(crate) fault: crate::fault::DiskFaults,
}

impl Disk {
    /// Opens the folder, takes its lock and reads what is there.
    ///
    /// # Errors
    /// [`OpenError::Dir`]: the folder cannot be made, read or written, or another process uses it.
    pub(crate) fn open(
        disk: &DiskConfig,
        config: &CacheConfig,
        counters: Arc<Counters>,
    ) -> Result<Self, OpenError> {
        let layout = Layout::new(&disk.dir);
        let open = || -> io::Result<_> {
            std::fs::create_dir_all(&disk.dir)?;
            let lock = take_lock(&layout)?;
            Ok((lock, recover::recover(&layout, config.block_bytes)?))
        };
        let (lock, found) =
            open().map_err(|error| OpenError::Dir { dir: disk.dir.display().to_string(), error })?;
        let this = Self {
            layout,
            index: Index::new(),
            clock: Clock::default(),
            usage: Usage::new(disk.capacity_bytes),
            next_id: AtomicU64::new(1 + found.iter().map(|found| found.meta.id).max().unwrap_or(0)),
            counters,
            buffers: Buffers::new(config.block_bytes as usize),
            lock: Mutex::new(Some(lock)),
            #[cfg(any(test, feature = "testing"))]
            fault: crate::fault::DiskFaults::default(),
        };
        for blob in found {
            this.relist(blob.meta);
        }
        while this.usage.bytes() > this.usage.capacity() && this.evict_one() {}
        Ok(this)
    }

    fn relist(&self, meta: Meta) {
        let blob = Blob::new(meta.id, meta.key, meta.etag, meta.blocks);
        {
            let mut holdings = blob.holdings();
            let summed: Vec<u32> = if meta.verified {
                (0..meta.blocks.count()).collect()
            } else {
                meta.on_disk.iter().collect()
            };
            for (block, sum) in summed.into_iter().zip(meta.sums) {
                holdings.note_sum(block, sum, false);
            }
            holdings.on_disk = meta.on_disk;
        }
        if meta.verified {
            blob.set_verified();
        }
        let held = blob.size() - blob.missing_bytes();
        let blob = Arc::new(blob);
        {
            let mut holdings = blob.holdings();
            holdings.standing = Standing::Listed;
            holdings.charge = Some(Charge::found(&self.usage, held));
        }
        self.index.insert(&blob);
        self.clock.add(&blob);
    }

    /// An id that no instance on this disk ever had.
    pub(crate) fn next_id(&self) -> u64 {
        self.next_id.fetch_add(1, Relaxed)
    }

    /// The largest blob that could ever be held.
    pub(crate) fn capacity(&self) -> u64 {
        self.usage.capacity()
    }

    /// The blob of this key, if it is listed.
    pub(crate) fn find(&self, key: &crate::BlobKey) -> Option<Arc<Blob>> {
        self.index.find(key)
    }

    /// Lists a new blob, in place of an older instance.
    pub(crate) fn list(&self, blob: &Arc<Blob>) {
        {
            let mut holdings = blob.holdings();
            if holdings.standing != Standing::Unlisted {
                return;
            }
            holdings.standing = Standing::Listed;
            holdings.charge = Some(Charge::new(&self.usage));
        }
        if let Some(older) = self.index.insert(blob) {
            self.remove(&older);
        }
        self.clock.add(blob);
    }

    /// Opens the blob's file, or shares the handle of whoever has it open. While it is held, the blob stays.
    ///
    /// # Errors
    /// [`LoadError::Absent`] if the blob is not on this disk any more, [`LoadError::Io`] if the system refuses.
    pub(crate) fn file(&self, blob: &Blob) -> Result<Arc<BlobFile>, LoadError> {
        // Opening may take long on a bad disk; the holdings stay free for those who only ask.
        let _one_at_a_time = lock(&blob.files);
        let charge = {
            let holdings = blob.holdings();
            if let Some(file) = holdings.file.upgrade() {
                return Ok(file);
            }
            match &holdings.charge {
                Some(charge) if holdings.standing == Standing::Listed => Arc::clone(charge),
                _ => return Err(LoadError::Absent),
            }
        };
        #[cfg(any(test, feature = "testing"))]
        self.fault.on_open().map_err(|error| self.failed(error))?;
        let path = self.layout.data(&blob.key, blob.id);
        let file = BlobFile::open(&path, blob.blocks.count(), charge).map_err(|error| self.failed(error))?;
        let mut holdings = blob.holdings();
        if holdings.standing == Standing::Listed {
            holdings.file = Arc::downgrade(&file);
            return Ok(file);
        }
        // It was evicted meanwhile: what was opened is a new, empty file.
        drop(holdings);
        self.unlink(blob);
        Err(LoadError::Absent)
    }

    fn failed(&self, error: io::Error) -> LoadError {
        self.counters.disk_errors.add(1);
        LoadError::Io(error)
    }

    /// Reads a block. Checked against its checksum once for as long as the file is open.
    ///
    /// # Errors
    /// [`LoadError`]. After [`LoadError::Bad`] the block is no longer listed.
    pub(crate) fn load(&self, blob: &Blob, file: &BlobFile, block: u32) -> Result<Bytes, LoadError> {
        let sum = {
            let known = blob.sum(block);
            if !blob.has(block) {
                return Err(LoadError::Absent);
            }
            known
        };
        #[cfg(any(test, feature = "testing"))]
        self.fault.on_read().map_err(|error| self.failed(error))?;
        match file.read(blob.blocks.span(block), block, sum, &self.buffers) {
            Err(LoadError::Bad) => {
                self.counters.bad_blocks.add(1);
                tracing::warn!(blob = %blob.key, block, "a cached block does not match its checksum");
                self.lose(blob, file, block);
                Err(LoadError::Bad)
            }
            Err(LoadError::Io(error)) => Err(self.failed(error)),
            other => other,
        }
    }

    /// Takes a block off the books, so that it is fetched again.
    fn lose(&self, blob: &Blob, file: &BlobFile, block: u32) {
        if blob.holdings().on_disk.clear(block) {
            file.charge().give_back(blob.blocks.len(block));
        }
    }

    /// Writes a block and lists it.
    ///
    /// # Errors
    /// Why the block was not kept. A full disk is relieved and tried once more first.
    pub(crate) fn store(
        &self,
        blob: &Blob,
        file: &BlobFile,
        block: u32,
        pieces: &[Bytes],
    ) -> Result<(), Bypass> {
        let length = blob.blocks.len(block);
        if !self.reserve(file.charge(), length) {
            return Err(Bypass::DiskFull);
        }
        let offset = blob.blocks.span(block).start;
        let write = || {
            #[cfg(any(test, feature = "testing"))]
            self.fault.on_write()?;
            file.write(offset, pieces)
        };
        let written = write().or_else(|error| {
            if !is_full(&error) {
                return Err(error);
            }
            self.counters.disk_errors.add(1);
            self.relieve();
            write()
        });
        if let Err(error) = written {
            self.counters.disk_errors.add(1);
            tracing::warn!(blob = %blob.key, %error, "cannot write to the cache folder");
            file.charge().give_back(length);
            return Err(if is_full(&error) { Bypass::DiskFull } else { Bypass::DiskError });
        }
        if !blob.holdings().on_disk.set(block) {
            file.charge().give_back(length);
        }
        Ok(())
    }

    fn reserve(&self, charge: &Charge, length: u64) -> bool {
        while !charge.take(length) {
            if !self.evict_one() {
                return false;
            }
        }
        true
    }

    /// Evicts a batch, as the file system is full whatever our own account says.
    fn relieve(&self) {
        for _ in 0..FULL_BATCH {
            if !self.evict_one() {
                break;
            }
        }
    }

    fn evict_one(&self) -> bool {
        let Some((blob, charge)) = self.clock.evict() else { return false };
        self.index.remove(&blob);
        self.unlink(&blob);
        drop(charge);
        self.counters.evictions.add(1);
        tracing::debug!(blob = %blob.key, "evicted");
        true
    }

    /// Drops a blob. Whoever has its file open may read on.
    pub(crate) fn remove(&self, blob: &Blob) {
        self.index.remove(blob);
        let charge = {
            let mut holdings = blob.holdings();
            let listed = holdings.standing == Standing::Listed;
            holdings.standing = Standing::Gone;
            if holdings.file.strong_count() == 0 {
                holdings.on_disk = crate::block::Bitmap::empty(blob.blocks.count());
            }
            holdings.charge.take().filter(|_| listed)
        };
        if charge.is_some() {
            self.unlink(blob);
        }
    }

    fn unlink(&self, blob: &Blob) {
        // Meta first: a crash between the two leaves data that nothing speaks of.
        for path in [self.layout.meta(&blob.key, blob.id), self.layout.data(&blob.key, blob.id)] {
            match std::fs::remove_file(&path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    self.counters.disk_errors.add(1);
                    tracing::warn!(file = %path.display(), %error, "cannot remove a cache file");
                }
                _ => {}
            }
        }
    }

    /// Writes the blob's meta file, so that another process finds what is on disk. Failure costs only that.
    pub(crate) fn persist(&self, blob: &Blob) {
        let _one_at_a_time = lock(&blob.files);
        let meta = {
            let holdings = blob.holdings();
            if holdings.standing != Standing::Listed || holdings.on_disk.count() == 0 {
                return;
            }
            let verified = blob.verified();
            let sums = if verified {
                holdings.sums(0..blob.blocks.count())
            } else {
                holdings.sums(holdings.on_disk.iter())
            };
            Meta {
                key: blob.key.clone(),
                id: blob.id,
                etag: blob.etag.clone(),
                blocks: blob.blocks,
                verified,
                on_disk: holdings.on_disk.clone(),
                sums,
            }
        };
        let written = self.write_meta(&meta).or_else(|error| {
            if !is_full(&error) {
                return Err(error);
            }
            self.relieve();
            self.write_meta(&meta)
        });
        if let Err(error) = written {
            self.counters.disk_errors.add(1);
            tracing::warn!(blob = %blob.key, %error, "cannot write to the cache folder");
        }
        if blob.holdings().standing != Standing::Listed {
            self.unlink(blob);
        }
    }

    fn write_meta(&self, meta: &Meta) -> io::Result<()> {
        #[cfg(any(test, feature = "testing"))]
        self.fault.on_write()?;
        let temp = self.layout.temp(&meta.key, meta.id);
        let written = std::fs::write(&temp, meta.encode()?)
            .and_then(|()| std::fs::rename(&temp, self.layout.meta(&meta.key, meta.id)));
        if written.is_err() {
            // Recovery removes what is left, should this fail too.
            let _left = std::fs::remove_file(&temp);
        }
        written
    }

    /// The blobs of this scope, or the one of this digest.
    pub(crate) fn matching(&self, scope: &Scope, digest: Option<&Digest>) -> Vec<Arc<Blob>> {
        self.index.matching(scope, digest)
    }

    /// Fills in what this tier holds.
    pub(crate) fn count(&self, stats: &mut Stats) {
        stats.disk_bytes = self.usage.bytes();
        self.index.each(|blob| {
            let counted = if blob.is_complete() { &mut stats.disk_complete } else { &mut stats.disk_partial };
            *counted += 1;
        });
    }

    /// Lets another process use the folder.
    pub(crate) fn unlock(&self) {
        lock(&self.lock).take();
    }
}

fn take_lock(layout: &Layout) -> io::Result<File> {
    let file = File::options().create(true).truncate(false).write(true).open(layout.lock())?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(io::Error::new(
            io::ErrorKind::ResourceBusy,
            "another process uses it; give each process a folder of its own",
        )),
        Err(TryLockError::Error(error)) => Err(error),
    }
}

fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}
