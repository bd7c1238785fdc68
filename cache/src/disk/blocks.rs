//! Blocks of blobs on disk: read and checked, written, lost, and room made for them.

use std::io;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;

use super::health::{Call, Refusal};
use super::usage::{Charge, room};
use super::{BlobFile, Disk, LoadError};
use crate::Bypass;
use crate::blob::{Blob, Standing};
use crate::sync::lock;

/// How many blobs leave when the file system itself is full: it may have filled for another reason than us, and
/// evicting without end would not help.
const FULL_BATCH: usize = 16;

/// Blocks that are checked after a bad one.
const NEIGHBOURS: usize = 32;

impl Disk {
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
                    _ => {
                        call.failed();
                    }
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
    /// [`LoadError`]. After [`LoadError::Bad`] the block is no longer listed; so it is where the system fails to read it,
    /// unless other reads failed too. A disk that is in trouble is not asked: [`LoadError::Off`].
    pub(crate) fn load(&self, blob: &Arc<Blob>, file: &BlobFile, block: u32) -> Result<Bytes, LoadError> {
        let sum = {
            let known = blob.sum(block);
            if !blob.has(block) {
                return Err(LoadError::Absent);
            }
            known
        };
        self.ask(blob, file, block, || file.read(blob.blocks.span(block), block, sum, &self.buffers))
    }

    /// Reads bytes of a block that was checked since its file was opened.
    ///
    /// # Errors
    /// As [`Disk::load`].
    pub(crate) fn load_part(
        &self,
        blob: &Arc<Blob>,
        file: &BlobFile,
        block: u32,
        bytes: Range<u64>,
    ) -> Result<Bytes, LoadError> {
        if !blob.has(block) {
            return Err(LoadError::Absent);
        }
        self.ask(blob, file, block, || file.read_part(bytes))
    }

    /// Has the disk read something of a block, and judges both by how that went.
    fn ask(
        &self,
        blob: &Arc<Blob>,
        file: &BlobFile,
        block: u32,
        read: impl FnOnce() -> Result<Bytes, LoadError>,
    ) -> Result<Bytes, LoadError> {
        let call = self.reads.begin().map_err(|_| LoadError::Off)?;
        #[cfg(any(test, feature = "testing"))]
        let read = || self.fault.on_read(block).map_err(LoadError::of).and_then(|()| read());
        match read() {
            Err(LoadError::Bad) => {
                if file.is_checked(block) {
                    // Somebody has cut it short since: what was checked before that says nothing any more.
                    file.forget_checks();
                }
                self.lose(blob, file, block);
                self.lose_neighbours(blob, file, block);
                self.is_well(call);
                Err(LoadError::Bad)
            }
            Err(LoadError::Io(error)) => {
                file.forget_check(block);
                // Whoever comes next opens it anew.
                blob.holdings().kept = None;
                if call.failed() {
                    self.suspects.acquit();
                    return Err(self.failed(error));
                }
                self.counters.disk_errors.add(1);
                tracing::warn!(blob = %blob.key, block, %error, "a cached block cannot be read");
                self.suspects.suspect(blob, block);
                Err(LoadError::Bad)
            }
            other => {
                self.is_well(call);
                other
            }
        }
    }

    fn is_well(&self, call: Call) {
        call.well();
        self.suspects.convict();
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
    pub(super) fn lose(&self, blob: &Blob, file: &BlobFile, block: u32) {
        self.counters.bad_blocks.add(1);
        tracing::warn!(blob = %blob.key, block, "a cached block does not match its checksum");
        let lost = {
            let mut holdings = blob.holdings();
            // It is to be written to.
            holdings.kept = None;
            holdings.on_disk.clear(block)
        };
        if lost {
            file.charge().give_back(room(blob.blocks.len(block)));
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
        let length = room(blob.blocks.len(block));
        let call = self.begin_write()?;
        if !self.reserve(file.charge(), length) {
            return Err(Bypass::DiskFull);
        }
        let offset = blob.blocks.span(block).start;
        let write = || {
            #[cfg(any(test, feature = "testing"))]
            self.fault.on_write()?;
            file.write(offset, pieces)?;
            #[cfg(any(test, feature = "testing"))]
            self.fault.note_mended(block);
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

    pub(super) fn begin_write(&self) -> Result<Call, Refusal> {
        // Where reads hang, writes will.
        self.reads.refusal().map_or_else(|| self.writes.begin(), Err)
    }

    fn reserve(&self, charge: &Charge, length: u64) -> bool {
        if charge.take(length) {
            return true;
        }
        // Of several who want room at once, each would evict before the others' room is seen.
        let _one_at_a_time = lock(&self.making_room);
        while !charge.take(length) {
            if !self.recovery.is_over() || !self.evict_one() {
                return false;
            }
        }
        true
    }

    /// Evicts a batch, as the file system is full whatever our own account says.
    pub(super) fn relieve(&self) {
        for _ in 0..FULL_BATCH {
            if !self.evict_one() {
                break;
            }
        }
    }

    pub(super) fn evict_one(&self) -> bool {
        let Some((blob, charge)) = self.queues.evict() else { return false };
        self.index.remove(&blob);
        self.unlink(&blob);
        drop(charge);
        self.counters.evictions.add(1);
        tracing::debug!(blob = %blob.key, "evicted");
        true
    }
}

pub(super) fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}
