//! The disk tier: one sparse file a blob, a checksum a block, a byte budget.
//!
//! Every call here blocks; callers are on the blocking pool. Nothing is synced: a block that did not reach the
//! disk does not match its checksum and is a miss (design: durability).

mod blocks;
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
mod suspects;
mod usage;

use std::collections::VecDeque;
use std::fs::{File, TryLockError};
use std::io;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

pub(crate) use file::{BlobFile, LoadError};
pub(crate) use usage::Charge;

use crate::blob::{Blob, Standing};
use crate::stats::Counters;
use crate::sync::lock;
use crate::{Buffers, Bypass, CacheConfig, Digest, DiskConfig, OpenError, Scope, Stats};
use evict::Queues;
use health::Health;
use index::Index;
use layout::Layout;
use open::OpenFiles;
use persist::Unsaved;
use recovery::Recovery;
use scrub::Scrub;
use suspects::Suspects;
use usage::{Usage, room, room_beside};

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
    suspects: Suspects,
    unsaved: Unsaved,
    /// Held by who evicts for room.
    making_room: Mutex<()>,
    /// Off the books, with files that are yet to be removed.
    delisted: Mutex<VecDeque<(Arc<Blob>, Arc<Charge>)>>,
    block_bytes: u64,
    next_id: AtomicU64,
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
                suspects: Suspects::default(),
                unsaved: Unsaved::default(),
                making_room: Mutex::default(),
                delisted: Mutex::default(),
                block_bytes: config.block_bytes,
                next_id: AtomicU64::new(first_id()),
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
        self.reads.refusal().or_else(|| self.writes.refusal()).map(Bypass::from)
    }

    /// Whether the blob could be held if nothing else was.
    pub(crate) fn fits(&self, blob: &Blob) -> bool {
        room(blob.size()).saturating_add(room_beside(blob)) <= self.usage.capacity()
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
            holdings.charge = Some(Charge::new(&self.usage, room_beside(blob)));
        }
        self.recovery.note_new(blob.id);
        if let Some(older) = self.index.insert(blob) {
            self.remove(&older);
        }
        self.queues.add(blob);
    }

    /// Drops a blob. Whoever has its file open may read on.
    pub(crate) fn remove(&self, blob: &Blob) {
        let charge = self.take_off(blob);
        if charge.is_some() {
            self.unlink(blob);
        }
    }

    /// Drops a blob, but for its files, which [`Disk::unlink_delisted`] removes. Asks nothing of the disk.
    pub(crate) fn delist(&self, blob: &Arc<Blob>) {
        if let Some(charge) = self.take_off(blob) {
            lock(&self.delisted).push_back((Arc::clone(blob), charge));
        }
    }

    /// Removes the files of what was delisted. Blocks.
    pub(crate) fn unlink_delisted(&self) {
        loop {
            let next = lock(&self.delisted).pop_front();
            let Some((blob, charge)) = next else { return };
            self.unlink(&blob);
            drop(charge);
        }
    }

    /// Takes a blob off the books; its charge, if it was on them.
    fn take_off(&self, blob: &Blob) -> Option<Arc<Charge>> {
        self.index.remove(blob);
        let mut holdings = blob.holdings();
        let listed = holdings.standing == Standing::Listed;
        holdings.standing = Standing::Gone;
        if !holdings.is_in_use() {
            holdings.on_disk = crate::block::Bitmap::empty(blob.blocks.count());
        }
        holdings.kept = None;
        holdings.charge.take().filter(|_| listed)
    }

    /// The blobs that are to be purged of this scope, or the one of this digest. Those that are yet to be found of a former
    /// process are dropped when they are.
    pub(crate) fn purgeable(&self, scope: &Scope, digest: Option<&Digest>) -> Vec<Arc<Blob>> {
        self.recovery.note_purged(scope, digest);
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
        self.unlink_delisted();
        self.persist_unsaved();
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
