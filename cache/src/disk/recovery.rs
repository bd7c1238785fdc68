//! The return of a former process's blobs, while reads are served already.
//!
//! Walkers go through the folders in the background. A read of a blob whose folder no walker has come to has that
//! folder read first. So a node is ready at once, however much is on its disk, and hits from its first request on.
//! Until all is found the account of bytes is not known: little is written, and nothing is evicted.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering::Acquire, Ordering::Release};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use super::layout::Meta;
use super::{Charge, Disk, recover};
use crate::blob::{Blob, Standing};
use crate::sync::lock;
use crate::{BlobKey, Digest, Scope};

/// Beyond this the disk is the limit.
const MAX_WALKERS: usize = 8;

/// How long the opening of a tier waits for the walkers: a small one is known when it opens.
const OPENING: Duration = Duration::from_millis(200);

/// How far the recovery has come.
#[derive(Debug, Default)]
pub(super) struct Recovery {
    over: AtomicBool,
    stopped: AtomicBool,
    books: Mutex<Books>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Books {
    /// Folders that no walker has taken yet.
    left: Vec<PathBuf>,
    folders: HashMap<PathBuf, Folder>,
    found: Vec<(SystemTime, Arc<Blob>)>,
    /// Blobs that came since the start: their files are not left from before.
    ours: HashSet<u64>,
    /// Walkers that run, and those of them that may still find a folder to read.
    walkers: usize,
    seeking: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Folder {
    BeingRead,
    Read,
}

impl Recovery {
    /// Whether everything that was on disk is known.
    pub(super) fn is_over(&self) -> bool {
        self.over.load(Acquire)
    }

    /// Notes a blob that came since the start, before it has files.
    pub(super) fn note_new(&self, id: u64) {
        if !self.is_over() {
            lock(&self.books).ours.insert(id);
        }
    }

    fn wait<'a>(&self, books: MutexGuard<'a, Books>) -> MutexGuard<'a, Books> {
        self.changed.wait(books).unwrap_or_else(PoisonError::into_inner)
    }
}

impl Disk {
    /// Begins to look for what a former process left, and waits a moment, which may be enough. Blocks.
    ///
    /// # Errors
    /// No thread can be started for it.
    pub(super) fn start_recovery(self: &Arc<Self>) -> std::io::Result<()> {
        let recovery = &self.recovery;
        self.count_walker();
        let this = Arc::clone(self);
        std::thread::Builder::new().name("recovery".into()).spawn(move || this.recover_all())?;
        let books = lock(&recovery.books);
        let waited = recovery.changed.wait_timeout_while(books, OPENING, |books| books.walkers > 0);
        drop(waited);
        Ok(())
    }

    fn count_walker(&self) {
        let mut books = lock(&self.recovery.books);
        books.walkers += 1;
        books.seeking += 1;
    }

    fn recover_all(self: &Arc<Self>) {
        let begun = Instant::now();
        if let Err(error) = recover::remove_other_versions(&self.layout) {
            tracing::warn!(%error, "cannot remove the cache of another layout version");
        }
        let folders = recover::folders(&self.layout);
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let walkers = cores.min(MAX_WALKERS).min(folders.len());
        lock(&self.recovery.books).left = folders;
        for _ in 1..walkers {
            let this = Arc::clone(self);
            self.count_walker();
            let spawned = std::thread::Builder::new().name("recovery".into()).spawn(move || this.walk(begun));
            if spawned.is_err() {
                // Those that run do the work.
                let mut books = lock(&self.recovery.books);
                books.walkers -= 1;
                books.seeking -= 1;
                break;
            }
        }
        self.walk(begun);
    }

    fn walk(&self, begun: Instant) {
        while !self.recovery.stopped.load(Acquire) {
            let Some(folder) = lock(&self.recovery.books).left.pop() else { break };
            self.recover_folder(&folder);
        }
        let last = {
            let mut books = lock(&self.recovery.books);
            books.seeking -= 1;
            books.seeking == 0
        };
        if last && !self.recovery.stopped.load(Acquire) {
            self.end_recovery(begun);
        }
        lock(&self.recovery.books).walkers -= 1;
        self.recovery.changed.notify_all();
    }

    /// Every folder is read: sets up the order of eviction, and keeps to the budget from now on.
    fn end_recovery(&self, begun: Instant) {
        let mut found = std::mem::take(&mut lock(&self.recovery.books).found);
        found.sort_by_key(|(written, _)| *written);
        found.iter().for_each(|(_, blob)| self.queues.add_found(blob));
        while self.usage.bytes() > self.usage.capacity() && self.evict_one() {}
        if !found.is_empty() {
            let seconds = begun.elapsed().as_secs_f64();
            tracing::info!(
                blobs = found.len(),
                bytes = self.usage.bytes(),
                seconds,
                "the disk tier is known"
            );
        }
        let mut books = lock(&self.recovery.books);
        *books = Books { walkers: books.walkers, ..Books::default() };
        self.usage.end_lending();
        self.recovery.over.store(true, Release);
    }

    /// Reads a folder, unless that was done; if somebody else is about it, waits for them. Blocks.
    fn recover_folder(&self, folder: &Path) {
        let recovery = &self.recovery;
        let mut books = lock(&recovery.books);
        loop {
            // Asked under the lock: what was read before is not read twice.
            // After the end the folder may be another process's.
            if recovery.is_over() || recovery.stopped.load(Acquire) {
                return;
            }
            match books.folders.get(folder) {
                Some(Folder::Read) => return,
                Some(Folder::BeingRead) => books = recovery.wait(books),
                None => break,
            }
        }
        books.folders.insert(folder.to_owned(), Folder::BeingRead);
        drop(books);
        let is_ours = |id| lock(&recovery.books).ours.contains(&id);
        let found = recover::read_folder(&self.layout, folder, self.block_bytes, is_ours);
        let found: Vec<_> =
            found.into_iter().filter_map(|found| Some((found.written, self.relist(found.meta)?))).collect();
        let mut books = lock(&recovery.books);
        books.found.extend(found);
        books.folders.insert(folder.to_owned(), Folder::Read);
        recovery.changed.notify_all();
    }

    /// Lists a blob that was found, unless a newer instance is.
    fn relist(&self, meta: Meta) -> Option<Arc<Blob>> {
        let blob = Arc::new(Blob::new(meta.id, meta.key.clone(), meta.etag.clone(), meta.blocks));
        {
            let mut holdings = blob.holdings();
            let summed: Vec<u32> = if meta.verified {
                (0..meta.blocks.count()).collect()
            } else {
                meta.on_disk.iter().collect()
            };
            for (block, sum) in summed.into_iter().zip(&meta.sums) {
                holdings.note_sum(block, *sum, false);
            }
            holdings.on_disk = meta.on_disk.clone();
        }
        if meta.verified {
            blob.set_verified();
        }
        let held = blob.size() - blob.missing_bytes();
        {
            let mut holdings = blob.holdings();
            holdings.standing = Standing::Listed;
            holdings.charge = Some(Charge::found(&self.usage, held));
        }
        if self.index.insert_if_absent(&blob) {
            return Some(blob);
        }
        blob.holdings().standing = Standing::Gone;
        recover::discard(&self.layout, &meta);
        None
    }

    /// Whether what was on disk of this blob is known.
    pub(crate) fn has_recovered(&self, key: &BlobKey) -> bool {
        self.recovery.is_over()
            || lock(&self.recovery.books).folders.get(&self.layout.folder(key)) == Some(&Folder::Read)
    }

    /// Finds what was on disk of this blob. Blocks.
    pub(crate) fn recover_first(&self, key: &BlobKey) {
        self.recover_folder(&self.layout.folder(key));
    }

    /// Finds what was on disk of this scope, or of one digest in it. Blocks.
    pub(super) fn recover_matching(&self, scope: &Scope, digest: Option<&Digest>) {
        if self.recovery.is_over() {
            return;
        }
        if let Some(digest) = digest {
            return self.recover_first(&BlobKey { scope: scope.clone(), digest: digest.clone() });
        }
        for algorithm in recover::children(&self.layout.scope(scope)) {
            recover::children(&algorithm).iter().for_each(|folder| self.recover_folder(folder));
        }
    }

    /// Waits until everything that was on disk is known, or nobody looks any more. Blocks.
    pub(super) fn wait_recovered(&self) {
        let mut books = lock(&self.recovery.books);
        while books.walkers > 0 {
            books = self.recovery.wait(books);
        }
    }

    /// Stops looking, and waits until no walker is at it any more. Blocks.
    pub(super) fn stop_recovery(&self) {
        self.recovery.stopped.store(true, Release);
        self.wait_recovered();
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use bytes::Bytes;
    use tempfile::TempDir;

    use super::*;
    use crate::block::Blocks;
    use crate::disk::LoadError;
    use crate::disk::layout::Layout;
    use crate::stats::Counters;
    use crate::{Algorithm, CacheConfig, DiskConfig, ETag};

    const BLOCK: u64 = 4096;
    const CAPACITY: u64 = 1024 * BLOCK;

    /// A tier whose walkers have yet to start.
    fn tier(dir: &Path, capacity: u64) -> Arc<Disk> {
        let config = CacheConfig { block_bytes: BLOCK, ..CacheConfig::default() };
        let disk = DiskConfig { capacity_bytes: capacity, ..DiskConfig::in_dir(dir) };
        Disk::still(&disk, &config, Arc::<Counters>::default()).expect("opens")
    }

    fn over(disk: &Arc<Disk>) {
        disk.start_recovery().expect("starts");
        let mut books = lock(&disk.recovery.books);
        while !disk.recovery.is_over() {
            books = disk.recovery.wait(books);
        }
    }

    fn key(number: u64) -> BlobKey {
        BlobKey {
            scope: Scope::new(&format!("registry-{}", number % 3)),
            digest: Digest::of(Algorithm::Sha256, &number.to_le_bytes()),
        }
    }

    fn content(number: u64) -> Bytes {
        vec![number as u8; BLOCK as usize].into()
    }

    /// Brings a blob of two blocks, its second on disk; whether it was taken.
    fn bring(disk: &Disk, number: u64) -> bool {
        let blocks = Blocks::new(2 * BLOCK, BLOCK).expect("few");
        let blob = Arc::new(Blob::new(disk.next_id(), key(number), ETag::new("v"), blocks));
        disk.list(&blob);
        let file = disk.file(&blob).expect("opens");
        blob.note_sum(1, crc32c::crc32c(&content(number)));
        let stored = disk.store(&blob, &file, 1, &[content(number)]).is_ok();
        disk.persist(&blob);
        stored
    }

    fn load(disk: &Disk, number: u64) -> Result<Bytes, LoadError> {
        let blob = disk.find(&key(number)).ok_or(LoadError::Absent)?;
        disk.load(&blob, &*disk.file(&blob)?, 1)
    }

    fn filled(blobs: u64) -> TempDir {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let disk = tier(dir.path(), CAPACITY);
        over(&disk);
        assert!((0..blobs).all(|number| bring(&disk, number)));
        disk.unlock();
        dir
    }

    #[test]
    fn a_blob_is_hit_before_its_folder_has_been_come_to() {
        let dir = filled(300);
        let disk = tier(dir.path(), CAPACITY);
        for number in [7, 250, 8] {
            assert!(!disk.has_recovered(&key(number)));
            disk.recover_first(&key(number));
            assert!(disk.has_recovered(&key(number)));
            assert_eq!(load(&disk, number).expect("found"), content(number));
        }
        assert!(!disk.recovery.is_over());
        over(&disk);
        assert_eq!(disk.usage.bytes(), 300 * BLOCK, "nothing is counted twice");
        assert!((0..300).all(|number| load(&disk, number).is_ok_and(|found| found == content(number))));
    }

    #[test]
    fn what_comes_before_all_is_found_is_kept_and_goes_before_what_is_found() {
        let dir = filled(100);
        let disk = tier(dir.path(), CAPACITY);
        // As by a read that did not wait for a disk that hangs.
        assert!(bring(&disk, 5));
        let id = disk.find(&key(5)).expect("listed").id;
        over(&disk);
        assert_eq!(disk.find(&key(5)).expect("listed").id, id);
        assert_eq!(load(&disk, 5).expect("kept"), content(5));
        assert_eq!(disk.usage.bytes(), 100 * BLOCK);
        disk.unlock();
        let disk = tier(dir.path(), CAPACITY);
        over(&disk);
        assert_eq!(disk.find(&key(5)).expect("listed").id, id, "the older instance is off the disk");
    }

    #[test]
    fn what_the_system_does_not_let_us_read_is_left_alone_and_what_is_damaged_goes() {
        let dir = filled(3);
        let layout = Layout::new(dir.path());
        let files = |number: u64| {
            let folder = layout.folder(&key(number));
            let of = |kind: &str| -> Vec<_> {
                let all = recover::children(&folder).into_iter();
                all.filter(|path| path.extension().is_some_and(|found| found == kind)).collect()
            };
            (of("meta"), of("data"))
        };
        let (unreadable, data) = files(0);
        std::fs::rename(&unreadable[0], dir.path().join("aside")).expect("renamed");
        // To read a folder is an error that says nothing of the blob.
        std::fs::create_dir(&unreadable[0]).expect("made");
        std::fs::write(&files(1).0[0], b"damaged").expect("written");
        let disk = tier(dir.path(), CAPACITY);
        over(&disk);
        assert!(load(&disk, 0).is_err() && load(&disk, 1).is_err() && load(&disk, 2).is_ok());
        disk.unlock();
        assert!(data[0].exists(), "a sound blob was removed");
        assert_eq!(files(1), (Vec::new(), Vec::new()));
        std::fs::remove_dir(&unreadable[0]).expect("removed");
        std::fs::rename(dir.path().join("aside"), &unreadable[0]).expect("renamed");
        let disk = tier(dir.path(), CAPACITY);
        over(&disk);
        assert_eq!(load(&disk, 0).expect("found at the next start"), content(0));
    }

    #[test]
    fn the_budget_is_kept_while_it_is_not_known_what_is_there() {
        let dir = filled(640);
        let disk = tier(dir.path(), 640 * BLOCK);
        let taken = (1000..1100).filter(|number| bring(&disk, *number)).count();
        assert_eq!(taken, 20, "a part of 32");
        over(&disk);
        assert!(disk.usage.bytes() <= 640 * BLOCK);
        assert!(bring(&disk, 2000), "room is made again");
    }

    #[test]
    fn a_smaller_budget_holds_as_soon_as_all_is_found() {
        let dir = filled(100);
        let disk = tier(dir.path(), 50 * BLOCK);
        over(&disk);
        assert_eq!(disk.usage.bytes(), 50 * BLOCK);
    }

    #[test]
    fn a_purge_finds_what_no_walker_has_come_to() {
        let dir = filled(99);
        let disk = tier(dir.path(), CAPACITY);
        let matching = disk.matching(&Scope::new("registry-1"), None);
        assert_eq!(matching.len(), 33);
        matching.iter().for_each(|blob| disk.remove(blob));
        assert_eq!(disk.matching(&Scope::new("registry-2"), Some(&key(2).digest)).len(), 1);
        over(&disk);
        assert_eq!(disk.usage.bytes(), 66 * BLOCK);
    }

    #[test]
    fn closing_does_not_wait_for_all_to_be_found() {
        let dir = filled(10);
        let disk = tier(dir.path(), CAPACITY);
        disk.recovery.stopped.store(true, Release);
        disk.start_recovery().expect("starts");
        disk.unlock();
        assert!(!disk.recovery.is_over());
        over(&tier(dir.path(), CAPACITY));
    }
}
