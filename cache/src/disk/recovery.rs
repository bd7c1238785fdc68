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

use super::recover::Found;

use super::{Charge, Disk, recover, usage};
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
    /// What was purged since the start, of which files may be found yet.
    purged: Vec<(Scope, Option<Digest>)>,
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

    /// Has what a former process left of this scope, or of one digest in it, dropped where it is found.
    pub(super) fn note_purged(&self, scope: &Scope, digest: Option<&Digest>) {
        if !self.is_over() {
            lock(&self.books).purged.push((scope.clone(), digest.cloned()));
        }
    }

    fn is_purged(&self, key: &BlobKey) -> bool {
        let of = |(scope, digest): &(Scope, Option<Digest>)| {
            *scope == key.scope && digest.as_ref().is_none_or(|digest| *digest == key.digest)
        };
        lock(&self.books).purged.iter().any(of)
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
        let read = recover::read_folder(&self.layout, folder, self.block_bytes, is_ours);
        let found = read.map(|found| {
            let relisted = |found: Found| Some((found.written, self.relist(found)?));
            found.into_iter().filter_map(relisted).collect::<Vec<_>>()
        });
        let mut books = lock(&recovery.books);
        match found {
            Ok(found) => {
                books.found.extend(found);
                books.folders.insert(folder.to_owned(), Folder::Read);
            }
            Err(error) => {
                recover::tell_unlisted(folder, &error);
                self.counters.disk_errors.add(1);
                // Whoever wants a blob of it has it tried again.
                books.folders.remove(folder);
            }
        }
        recovery.changed.notify_all();
    }

    /// Lists a blob that was found, unless a newer instance is.
    fn relist(&self, Found { meta, room, .. }: Found) -> Option<Arc<Blob>> {
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
        // What a fill wrote and did not come to note is there too. A file system that packs may unpack what is written anew.
        let held = usage::room(blob.size() - blob.missing_bytes()).max(room) + usage::room_beside(&blob);
        {
            let mut holdings = blob.holdings();
            holdings.standing = Standing::Listed;
            holdings.charge = Some(Charge::found(&self.usage, held));
        }
        if self.index.insert_if_absent(&blob) {
            // Asked once it is listed: a purge notes first what it purges, and then looks for what is listed.
            if self.recovery.is_purged(&blob.key) {
                self.remove(&blob);
                return None;
            }
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
mod tests;
