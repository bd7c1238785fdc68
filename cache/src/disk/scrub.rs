//! A slow look at every block on disk, for what rots where nobody reads.
//!
//! One thread reads blocks at a bounded rate, past the page cache, and takes those off the books that do not match
//! their checksums, so that they are fetched again before anybody is served them by a file that stays open.

use std::sync::{Arc, Condvar, Mutex, PoisonError, Weak};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::{BlobFile, Disk, LoadError};
use crate::blob::{Blob, Standing};
use crate::sync::lock;

/// Blocks for which a file is held open at a time: so long its blob cannot be evicted.
const BATCH: u32 = 16;

/// From the start of one pass to that of the next, at least; and how long a disk in trouble is left alone.
const PASS: Duration = Duration::from_secs(600);
const TROUBLE: Duration = Duration::from_secs(1);

/// The thread, and how it is told to end.
#[derive(Debug, Default)]
pub(super) struct Scrub {
    stop: Arc<Stop>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

#[derive(Debug, Default)]
struct Stop {
    told: Mutex<bool>,
    changed: Condvar,
}

impl Stop {
    /// Waits, and says whether to go on.
    fn wait(&self, time: Duration) -> bool {
        let told = lock(&self.told);
        let waited = self.changed.wait_timeout_while(told, time, |told| !*told);
        !*waited.unwrap_or_else(PoisonError::into_inner).0
    }
}

impl Scrub {
    /// Ends the thread, and waits for it.
    pub(super) fn stop(&self) {
        *lock(&self.stop.told) = true;
        self.stop.changed.notify_all();
        if let Some(thread) = lock(&self.thread).take() {
            // It has no panic to tell of.
            let _ended = thread.join();
        }
    }
}

impl Disk {
    /// Begins to look at all blocks, over and over, at so many bytes a second.
    ///
    /// # Errors
    /// No thread can be started for it.
    pub(super) fn start_scrub(self: &Arc<Self>, bytes_per_second: u64) -> std::io::Result<()> {
        if bytes_per_second == 0 {
            return Ok(());
        }
        // The thread keeps no cache alive that was let go of.
        let (disk, stop) = (Arc::downgrade(self), Arc::clone(&self.scrub.stop));
        let work = move || {
            let mut next = Instant::now();
            while stop.wait(next.saturating_duration_since(Instant::now())) {
                next = Instant::now() + PASS;
                let Some(blobs) = disk.upgrade().map(|disk| disk.blobs()) else { return };
                for blob in blobs {
                    if !scrub_blob(&disk, &blob, &stop, bytes_per_second) {
                        return;
                    }
                }
            }
        };
        let thread = std::thread::Builder::new().name("scrub".into()).spawn(work)?;
        *lock(&self.scrub.thread) = Some(thread);
        Ok(())
    }

    /// All blobs, not kept alive. None while it is not known what there is.
    fn blobs(&self) -> Vec<Weak<Blob>> {
        self.wait_recovered();
        self.persist_unsaved();
        let mut blobs = Vec::new();
        self.index.each(|blob| blobs.push(Arc::downgrade(blob)));
        blobs
    }

    /// Checks some blocks from this one on; gives the one after them, and how many bytes were read. A block that cannot be
    /// read is left to whoever wants it, and what it cost says nothing of the disk: one bad sector is no bad disk.
    fn scrub_batch(&self, blob: &Arc<Blob>, from: u32) -> Result<(u32, u64), LoadError> {
        let to = from.saturating_add(BATCH).min(blob.blocks.count());
        let mut file: Option<Arc<BlobFile>> = None;
        let (mut bytes, mut bad) = (0, false);
        for block in from..to {
            let Some(sum) = blob.sum(block).filter(|_| blob.has(block)) else { continue };
            let open = match file.take() {
                Some(open) => open,
                None => self.file(blob)?,
            };
            let open = file.insert(open);
            let call = self.reads.begin().map_err(|_| LoadError::Off)?;
            let span = blob.blocks.span(block);
            bytes += span.end - span.start;
            match open.check(span, block, sum, &self.buffers) {
                Ok(()) => call.well(),
                Err(LoadError::Bad) => {
                    call.well();
                    bad = true;
                    self.lose(blob, open, block);
                }
                Err(LoadError::Io(error)) => {
                    drop(call);
                    tracing::warn!(blob = %blob.key, block, %error, "a cached block cannot be read");
                    self.counters.disk_errors.add(1);
                }
                Err(error) => return Err(error),
            }
        }
        self.counters.scrubbed_bytes.add(bytes);
        if bad {
            self.persist(blob);
        }
        Ok((to, bytes))
    }
}

/// Checks a blob at this rate; whether to go on.
fn scrub_blob(disk: &Weak<Disk>, blob: &Weak<Blob>, stop: &Stop, rate: u64) -> bool {
    let mut block = 0;
    loop {
        let (Some(tier), Some(blob)) = (disk.upgrade(), blob.upgrade()) else {
            return disk.strong_count() > 0;
        };
        if block >= blob.blocks.count() || blob.holdings().standing != Standing::Listed {
            return true;
        }
        let done = tier.scrub_batch(&blob, block);
        drop((tier, blob));
        let pause = match done {
            Ok((next, bytes)) => {
                block = next;
                Duration::from_secs_f64(bytes as f64 / rate as f64)
            }
            Err(LoadError::Absent) => return true,
            Err(_) => TROUBLE,
        };
        if !stop.wait(pause) {
            return false;
        }
    }
}
