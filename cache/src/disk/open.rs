//! Files that stay open when their last reader leaves, and what is read of them without asking the disk.
//!
//! A block is checked on its first read after its file was opened, so the next reader of a file that stays open is served
//! at once. How many stay is bounded; who was used longest ago is closed first.

use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, Weak};

use bytes::Bytes;

use super::{BlobFile, Disk};
use crate::blob::{Blob, Standing};
use crate::sync::lock;

/// The files that stay open.
#[derive(Debug)]
pub(super) struct OpenFiles {
    most: usize,
    /// Counts uses: a file's last one is its age.
    uses: AtomicU64,
    kept: Mutex<Vec<Weak<Blob>>>,
}

impl OpenFiles {
    pub(super) fn new(most: usize) -> Self {
        Self { most, uses: AtomicU64::new(0), kept: Mutex::default() }
    }

    /// Keeps a blob's file open, and closes another one if there are too many. One of which blocks were lost is closed after
    /// its last user, as others are.
    fn keep(&self, blob: &Arc<Blob>, file: &Arc<BlobFile>) {
        {
            let mut holdings = blob.holdings();
            if self.most == 0
                || file.is_written_again()
                || holdings.standing != Standing::Listed
                || holdings.kept.is_some()
            {
                return;
            }
            holdings.kept = Some(Arc::clone(file));
        }
        file.used_at(self.uses.fetch_add(1, Relaxed));
        let mut kept = lock(&self.kept);
        kept.push(Arc::downgrade(blob));
        if kept.len() <= self.most {
            return;
        }
        // A look at each, which costs less than the opening of one.
        let age = |blob: &Weak<Blob>| Some(blob.upgrade()?.holdings().kept.as_ref()?.last_used());
        kept.retain(|blob| age(blob).is_some());
        while kept.len() > self.most {
            let Some(oldest) = (0..kept.len()).min_by_key(|at| kept.get(*at).and_then(age)) else { return };
            if let Some(blob) = kept.swap_remove(oldest).upgrade() {
                blob.holdings().kept = None;
            }
        }
    }
}

impl Disk {
    /// Keeps a blob's file open for its next readers. Blocks.
    pub(crate) fn keep_open(&self, blob: &Arc<Blob>, file: &Arc<BlobFile>) {
        if blob.is_complete() {
            file.end_writing();
        }
        self.open.keep(blob, file);
    }

    /// Leaves no file of a complete blob open for writing: an operator may make the file system read-only. Blocks.
    pub(super) fn end_writing(&self, blob: &Blob) {
        let open = blob.holdings().file.upgrade();
        if let Some(file) = open.filter(|_| blob.is_complete()) {
            file.end_writing();
        }
    }

    /// Notes a use of a file, for the order in which files are closed.
    pub(crate) fn note_use(&self, file: &BlobFile) {
        file.used_at(self.open.uses.fetch_add(1, Relaxed));
    }

    /// The blob's file, if it is open.
    pub(crate) fn opened(&self, blob: &Blob) -> Option<Arc<BlobFile>> {
        blob.holdings().file.upgrade()
    }

    /// Whether a block, or these bytes of it, can be had without asking the disk for more than the page cache has:
    /// it is on disk, and checked since the file was opened.
    fn is_at_hand(&self, blob: &Blob, file: &BlobFile, block: u32) -> bool {
        #[cfg(any(test, feature = "testing"))]
        if self.fault.reads_fail() {
            return false;
        }
        blob.has(block) && file.is_checked(block)
    }

    /// How far the file can be sent from `bytes.start` on without waiting for the disk, up to `bytes.end`: to the end of a
    /// block, or of the bytes.
    pub(crate) fn resident_end(&self, blob: &Blob, file: &BlobFile, bytes: &Range<u64>) -> u64 {
        let mut end = bytes.start;
        for block in blob.blocks.touching(bytes) {
            let to = blob.blocks.span(block).end.min(bytes.end);
            if !self.is_at_hand(blob, file, block) || !file.is_resident(end..to) {
                break;
            }
            end = to;
        }
        end
    }

    /// Reads bytes of one block if the page cache has them and the block is checked. Blocks on no disk.
    pub(crate) fn load_resident(
        &self,
        blob: &Blob,
        file: &BlobFile,
        block: u32,
        bytes: Range<u64>,
    ) -> Option<Bytes> {
        if !self.is_at_hand(blob, file, block) {
            return None;
        }
        file.read_resident(bytes, &self.buffers)
    }
}
