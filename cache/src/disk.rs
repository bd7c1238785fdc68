//! The disk tier: one sparse file a blob, a checksum a block, a byte budget.
//!
//! Every call here blocks; callers are on the blocking pool. Nothing is synced: a block that did not reach the
//! disk does not match its checksum and is a miss (design: durability).

mod evict;
mod file;
mod health;
mod index;
mod layout;
mod open;
mod persist;
mod recover;
mod recovery;
mod scrub;
mod usage;

use std::fs::{File, TryLockError};
use std::io;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use bytes::Bytes;

pub(crate) use file::{BlobFile, LoadError};
pub(crate) use usage::Charge;

use crate::blob::{Blob, Standing};
use crate::stats::Counters;
use crate::sync::lock;
use crate::{Buffers, Bypass, CacheConfig, Digest, DiskConfig, OpenError, Scope, Stats};
use evict::Queues;
use health::{Call, Health, Refusal};
use index::Index;
use layout::Layout;
use open::OpenFiles;
use recovery::Recovery;
use scrub::Scrub;
use usage::Usage;

/// How many blobs leave when the file system itself is full: it may have filled for another reason than us, and
/// evicting without end would not help.
const FULL_BATCH: usize = 16;

/// Blocks that are checked after a bad one.
const NEIGHBOURS: usize = 32;

/// The disk tier.
#[derive(Debug)]
pub(crate) struct Disk {
    layout: Layout,
    index: Index,
    queues: Queues,
    usage: Arc<Usage>,
    open: OpenFiles,
    recovery: Recovery,
    scrub: Scrub,
    block_bytes: u64,
    next_id: AtomicU64,
    /// Held while room is made.
    making_room: Mutex<()>,
    patience: Duration,
    reads: Arc<Health>,
    writes: Arc<Health>,
    counters: Arc<Counters>,
    buffers: Arc<Buffers>,
    lock: Mutex<Option<File>>,
    #[cfg(any(test, feature = "testing"))]
    pub(crate) fault: crate::fault::DiskFaults,
}

impl Disk {
    /// Opens the folder and takes its lock. What is there is found in the background; until then little is written.
    ///
    /// # Errors
    /// [`OpenError::Dir`]: the folder cannot be made, read or written, or another process uses it.
    pub(crate) fn open(
        disk: &DiskConfig,
        config: &CacheConfig,
        counters: Arc<Counters>,
    ) -> Result<Arc<Self>, OpenError> {
        let this = Self::still(disk, config, counters)?;
        let error = |error| OpenError::Dir { dir: disk.dir.display().to_string(), error };
        this.start_recovery().map_err(error)?;
        this.start_scrub(disk.scrub_bytes_per_second).map_err(error)?;
        Ok(this)
    }

    /// Opens the folder and takes its lock, and begins nothing.
    fn still(
        disk: &DiskConfig,
        config: &CacheConfig,
        counters: Arc<Counters>,
    ) -> Result<Arc<Self>, OpenError> {
        let layout = Layout::new(&disk.dir);
        let usage = Usage::new(disk.capacity_bytes);
        usage.begin_lending();
        let open = || -> io::Result<_> {
            std::fs::create_dir_all(&disk.dir)?;
            let lock = take_lock(&layout)?;
            std::fs::create_dir_all(layout.tree())?;
            Ok(Arc::new(Self {
                layout,
                index: Index::new(),
                queues: Queues::new(&usage),
                usage,
                open: OpenFiles::new(disk.open_files),
                recovery: Recovery::default(),
                scrub: Scrub::default(),
                block_bytes: config.block_bytes,
                next_id: AtomicU64::new(first_id()),
                making_room: Mutex::default(),
                patience: disk.patience,
                reads: Health::new(disk.patience),
                writes: Health::new(disk.patience),
                counters,
                buffers: Buffers::new(config.block_bytes as usize),
                lock: Mutex::new(Some(lock)),
                #[cfg(any(test, feature = "testing"))]
                fault: crate::fault::DiskFaults::default(),
            }))
        };
        open().map_err(|error| OpenError::Dir { dir: disk.dir.display().to_string(), error })
    }

    /// An id that no instance on this disk ever had.
    pub(crate) fn next_id(&self) -> u64 {
        self.next_id.fetch_add(1, Relaxed)
    }

    /// How long whoever asked the disk waits for it.
    pub(crate) fn patience(&self) -> Duration {
        self.patience
    }

    /// Whether what is on disk can be had now.
    pub(crate) fn is_readable(&self) -> bool {
        self.reads.refusal().is_none()
    }

    /// Why nothing would be kept now, if so.
    pub(crate) fn bypass(&self) -> Option<Bypass> {
        self.reads.refusal().or_else(|| self.writes.refusal()).map(bypass)
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
        self.recovery.note_new(blob.id);
        if let Some(older) = self.index.insert(blob) {
            self.remove(&older);
        }
        self.queues.add(blob);
    }

    /// Opens the blob's file, or shares the handle of whoever has it open. While it is held, the blob stays.
    ///
    /// # Errors
    /// [`LoadError::Absent`] if the blob is not on this disk any more, [`LoadError::Io`] if the system refuses,
    /// [`LoadError::Off`] if the disk is left alone.
    pub(crate) fn file(&self, blob: &Blob) -> Result<Arc<BlobFile>, LoadError> {
        if let Some(file) = blob.holdings().file.upgrade() {
            return Ok(file);
        }
        let call = self.reads.begin_first().map_err(|_| LoadError::Off)?;
        // Opening may take long on a bad disk; the holdings stay free for those who only ask.
        let _one_at_a_time = lock(&blob.opening);
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
        let open = || {
            #[cfg(any(test, feature = "testing"))]
            self.fault.on_open()?;
            let path = self.layout.data(&blob.key, blob.id);
            let open = if blob.is_complete() { BlobFile::open_complete } else { BlobFile::open };
            let file = open(&path, blob.blocks.count(), charge)?;
            #[cfg(any(test, feature = "testing"))]
            self.fault.note_opened(&path);
            Ok::<_, io::Error>(file)
        };
        let file = match open() {
            Ok(file) => file,
            Err(error) => {
                // That no new file can be made says nothing of reads.
                match error.kind() {
                    io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {}
                    io::ErrorKind::ReadOnlyFilesystem => {
                        if let Ok(call) = self.writes.begin() {
                            call.failed();
                        }
                    }
                    _ => call.failed(),
                }
                return Err(self.failed(error));
            }
        };
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
    /// A disk that is in trouble is not asked: [`LoadError::Off`].
    pub(crate) fn load(&self, blob: &Blob, file: &BlobFile, block: u32) -> Result<Bytes, LoadError> {
        let sum = {
            let known = blob.sum(block);
            if !blob.has(block) {
                return Err(LoadError::Absent);
            }
            known
        };
        let call = self.reads.begin().map_err(|_| LoadError::Off)?;
        let read = || -> Result<Bytes, LoadError> {
            #[cfg(any(test, feature = "testing"))]
            self.fault.on_read().map_err(LoadError::of)?;
            file.read(blob.blocks.span(block), block, sum, &self.buffers)
        };
        match read() {
            Err(LoadError::Bad) => {
                if file.is_checked(block) {
                    // Somebody has cut it short since: what was checked before that says nothing any more.
                    file.forget_checks();
                }
                self.lose(blob, file, block);
                self.lose_neighbours(blob, file, block);
                call.well();
                Err(LoadError::Bad)
            }
            Err(LoadError::Io(error)) => {
                // Whoever comes next opens it anew.
                blob.holdings().kept = None;
                call.failed();
                Err(self.failed(error))
            }
            other => {
                call.well();
                other
            }
        }
    }

    /// Damage seldom comes alone: what follows a bad block is checked at once, so that it is fetched in one go.
    fn lose_neighbours(&self, blob: &Blob, file: &BlobFile, bad: u32) {
        for block in (bad + 1..blob.blocks.count()).take(NEIGHBOURS) {
            if blob.has(block) && !file.is_checked(block) {
                match file.read(blob.blocks.span(block), block, blob.sum(block), &self.buffers) {
                    Err(LoadError::Bad) => self.lose(blob, file, block),
                    Err(_) => return,
                    Ok(_) => {}
                }
            }
        }
    }

    /// Takes a bad block off the books, so that it is fetched again.
    fn lose(&self, blob: &Blob, file: &BlobFile, block: u32) {
        self.counters.bad_blocks.add(1);
        tracing::warn!(blob = %blob.key, block, "a cached block does not match its checksum");
        let lost = {
            let mut holdings = blob.holdings();
            // It is to be written to.
            holdings.kept = None;
            holdings.on_disk.clear(block)
        };
        if lost {
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
        let call = self.begin_write().map_err(bypass)?;
        if !self.reserve(file.charge(), length) {
            return Err(Bypass::DiskFull);
        }
        let offset = blob.blocks.span(block).start;
        let write = || {
            #[cfg(any(test, feature = "testing"))]
            self.fault.on_write()?;
            file.write(offset, pieces)?;
            #[cfg(any(test, feature = "testing"))]
            self.fault.note_written(&self.layout.data(&blob.key, blob.id), offset, pieces);
            Ok(())
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
            if is_full(&error) {
                call.full();
                return Err(Bypass::DiskFull);
            }
            call.failed();
            return Err(Bypass::DiskError);
        }
        call.well();
        if !blob.holdings().on_disk.set(block) {
            file.charge().give_back(length);
        }
        Ok(())
    }

    fn begin_write(&self) -> Result<Call, Refusal> {
        // Where reads hang, writes will.
        self.reads.refusal().map_or_else(|| self.writes.begin(), Err)
    }

    fn reserve(&self, charge: &Charge, length: u64) -> bool {
        while !charge.take(length) {
            // Or each of several writers would evict a blob where one is enough, and the last find none left.
            let _one_at_a_time = lock(&self.making_room);
            if charge.take(length) {
                break;
            }
            if !self.recovery.is_over() || !self.evict_one() {
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
        let Some((blob, charge)) = self.queues.evict() else { return false };
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
            if !holdings.is_in_use() {
                holdings.on_disk = crate::block::Bitmap::empty(blob.blocks.count());
            }
            holdings.kept = None;
            holdings.charge.take().filter(|_| listed)
        };
        if charge.is_some() {
            self.unlink(blob);
        }
    }

    /// The blobs of this scope, or the one of this digest. Blocks.
    pub(crate) fn matching(&self, scope: &Scope, digest: Option<&Digest>) -> Vec<Arc<Blob>> {
        self.recover_matching(scope, digest);
        self.index.matching(scope, digest)
    }

    /// Fills in what this tier holds.
    pub(crate) fn count(&self, stats: &mut Stats) {
        stats.disk_bytes = self.usage.bytes();
        stats.disk_reads_off = u64::from(self.reads.refusal().is_some());
        stats.disk_writes_off = u64::from(self.writes.refusal().is_some());
        stats.disk_recovering = u64::from(!self.recovery.is_over());
        self.index.each(|blob| {
            let counted = if blob.is_complete() { &mut stats.disk_complete } else { &mut stats.disk_partial };
            *counted += 1;
            stats.disk_open_files += u64::from(blob.holdings().file.strong_count() > 0);
        });
    }

    /// Lets another process use the folder. Blocks.
    pub(crate) fn unlock(&self) {
        self.stop_recovery();
        self.scrub.stop();
        lock(&self.lock).take();
    }
}

/// The first id of this process: the time, so that ids are above those that former ones gave. If the clock was set back
/// they may meet, which harms nothing: names hold the digest too, every block on disk its checksum, and memory goes by
/// another number.
fn first_id() -> u64 {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    (now.as_millis() as u64) << 20
}

fn take_lock(layout: &Layout) -> io::Result<File> {
    drop(File::options().create(true).truncate(false).write(true).open(layout.lock())?);
    // Held for reading, so that an operator may make the file system read-only while the node runs.
    let file = File::open(layout.lock())?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(io::Error::new(
            io::ErrorKind::ResourceBusy,
            "another process uses it; give each process a folder of its own",
        )),
        Err(TryLockError::Error(error)) => Err(error),
    }
}

fn bypass(refusal: Refusal) -> Bypass {
    match refusal {
        Refusal::Full => Bypass::DiskFull,
        Refusal::Trouble => Bypass::DiskError,
    }
}

fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}
