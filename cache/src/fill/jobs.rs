//! What a fill has done on the blocking pool: disk and hash work that must not hold up a thread that serves.

use std::sync::Arc;

use bytes::Bytes;

use crate::Bypass;
use crate::blob::Blob;
use crate::disk::{BlobFile, Disk, LoadError};
use crate::tiers::Tiers;
use crate::verify::Prefix;

/// A job that is done.
pub(super) enum Job {
    /// The blob's file is open, or cannot be.
    FileOpened(Option<Arc<BlobFile>>),
    /// The tiers have taken a block.
    Kept {
        block: u32,
        /// It is what a verified blob had there before.
        same: bool,
        /// Why it is not on disk, where it should be.
        refused: Option<Bypass>,
    },
    /// Blocks were hashed.
    Hashed {
        prefix: Prefix,
        /// The blocks that were lent for it.
        lent: Vec<u32>,
        /// The disk failed to give one.
        disk_failed: bool,
    },
    /// The meta file was written.
    Persisted,
}

/// Lists the blob, unless it was purged before it got here, and opens its file.
pub(super) fn open_file(disk: Arc<Disk>, blob: Arc<Blob>, detached: bool) -> impl FnOnce() -> Job + Send {
    move || {
        if !detached {
            disk.list(&blob);
        }
        Job::FileOpened(disk.file(&blob).ok())
    }
}

/// Sums a block and gives it to the tiers.
pub(super) fn keep(
    tiers: Arc<Tiers>,
    blob: Arc<Blob>,
    file: Option<Arc<BlobFile>>,
    block: u32,
    pieces: Vec<Bytes>,
    in_memory: bool,
) -> impl FnOnce() -> Job + Send {
    move || {
        let sum = pieces.iter().fold(0, |sum, piece| crc32c::crc32c_append(sum, piece));
        if !blob.note_sum(block, sum) {
            return Job::Kept { block, same: false, refused: None };
        }
        let refused = match (&tiers.disk, &file) {
            (Some(disk), Some(file)) => disk.store(&blob, file, block, &pieces).err(),
            _ => None,
        };
        if in_memory {
            // Copied, as pieces may be slices of larger buffers.
            tiers.memory.offer(&blob, block, pieces.concat().into());
        }
        Job::Kept { block, same: true, refused }
    }
}

/// Where a block comes from that is to be hashed.
pub(super) enum Part {
    /// Lent by the window, which wants it back.
    Lent(Vec<Bytes>),
    /// From the memory tier.
    Kept(Bytes),
    /// Still to be read.
    OnDisk,
}

/// Hashes a batch of blocks. Stops at one that cannot be read.
pub(super) fn hash(
    blob: Arc<Blob>,
    disk: Option<(Arc<Disk>, Arc<BlobFile>)>,
    mut prefix: Prefix,
    batch: Vec<Part>,
) -> impl FnOnce() -> Job + Send {
    move || {
        let start = prefix.next();
        let is_lent = |(block, part)| matches!(part, &Part::Lent(_)).then_some(block);
        let lent = (start..).zip(&batch).filter_map(is_lent).collect();
        let mut disk_failed = false;
        for (block, part) in (start..).zip(batch) {
            match (part, &disk) {
                (Part::Lent(pieces), _) => prefix.push(&pieces),
                (Part::Kept(bytes), _) => prefix.push(&[bytes]),
                (Part::OnDisk, Some((disk, file))) => match disk.load(&blob, file, block) {
                    Ok(bytes) => prefix.push(&[bytes]),
                    Err(error) => {
                        // A block that is absent or bad is off the books, and is fetched again.
                        disk_failed = matches!(error, LoadError::Io(_));
                        break;
                    }
                },
                (Part::OnDisk, None) => break,
            }
        }
        Job::Hashed { prefix, lent, disk_failed }
    }
}
