//! What a fill has done on the blocking pool: disk and hash work that must not hold up a thread that serves.

use std::sync::Arc;

use bytes::Bytes;
use dataproxy_cpu::{carried, carried_work};
use tokio::task::JoinSet;

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

/// Has work done that asks the disk. If the disk takes too long, the fill goes on with `instead`.
pub(super) fn on_disk(
    jobs: &mut JoinSet<Job>,
    tiers: &Arc<Tiers>,
    work: impl FnOnce() -> Job + Send + 'static,
    instead: Job,
) {
    let ours = Arc::clone(tiers);
    jobs.spawn_on(carried(async move { ours.on_disk(work).await.unwrap_or(instead) }), &tiers.runtime);
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

/// A block and who is to take it.
pub(super) struct Keep {
    pub(super) blob: Arc<Blob>,
    pub(super) block: u32,
    pub(super) pieces: Vec<Bytes>,
    /// Where it goes on disk, if it does.
    pub(super) file: Option<Arc<BlobFile>>,
    pub(super) in_memory: bool,
}

/// Sums a block and gives it to the tiers. A disk that hangs has refused it.
pub(super) async fn keep(tiers: Arc<Tiers>, work: Keep) -> Job {
    let block = work.block;
    let memory = Arc::clone(&tiers);
    let summed = tiers.runtime.spawn_blocking(carried_work(move || {
        let sum = work.pieces.iter().fold(0, |sum, piece| crc32c::crc32c_append(sum, piece));
        let same = work.blob.note_sum(block, sum);
        if same && work.in_memory {
            // Copied, as pieces may be slices of larger buffers.
            memory.memory.offer(&work.blob, block, work.pieces.concat().into());
        }
        same.then_some(work)
    }));
    let Keep { blob, pieces, file, .. } = match summed.await {
        Ok(Some(work)) => work,
        Ok(None) => return Job::Kept { block, same: false, refused: None },
        Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
        // The process ends.
        Err(_) => return Job::Kept { block, same: true, refused: Some(Bypass::DiskError) },
    };
    let refused = match (tiers.disk.clone(), file) {
        (Some(disk), Some(file)) => {
            let store = move || disk.store(&blob, &file, block, &pieces).err();
            tiers.on_disk(store).await.unwrap_or(Some(Bypass::DiskError))
        }
        _ => None,
    };
    Job::Kept { block, same: true, refused }
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

/// The blocks of a batch that the window wants back.
pub(super) fn lent(prefix: &Prefix, batch: &[Part]) -> Vec<u32> {
    let is_lent = |(block, part)| matches!(part, &Part::Lent(_)).then_some(block);
    (prefix.next()..).zip(batch).filter_map(is_lent).collect()
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
        let lent = lent(&prefix, &batch);
        let mut disk_failed = false;
        for (block, part) in (start..).zip(batch) {
            match (part, &disk) {
                (Part::Lent(pieces), _) => prefix.push(&pieces),
                (Part::Kept(bytes), _) => prefix.push(&[bytes]),
                (Part::OnDisk, Some((disk, file))) => match disk.load(&blob, file, block) {
                    Ok(bytes) => prefix.push(&[bytes]),
                    Err(error) => {
                        // A block that is absent or bad is off the books, and is fetched again.
                        disk_failed = matches!(error, LoadError::Io(_) | LoadError::Off);
                        break;
                    }
                },
                (Part::OnDisk, None) => break,
            }
        }
        Job::Hashed { prefix, lent, disk_failed }
    }
}
