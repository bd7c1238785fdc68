//! The only entrance: memory, then disk, then a fill.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures_util::TryStreamExt;

use crate::blob::Blob;
use crate::fill::{self, Joined, Reach};
use crate::tiers::Tiers;
use crate::{BlobKey, BlobReader, CacheConfig, CacheError, Digest, OpenError, Outcome, Scope, Source, Stats};

/// Times that a read starts over before it has delivered anything.
const MAX_STARTS: u32 = 3;

/// How long a purge waits for files to be removed: those of a few blobs are gone when it says that they are.
const UNLINKING: Duration = Duration::from_millis(100);

/// Which bytes of a blob a reader wants. Resolved against the size once that is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// All of them; the last block is held back until the digest agrees.
    Whole,
    /// From this offset to the end.
    From(u64),
    /// From this offset to the end, for somebody who has the bytes before it from another node and passes all of
    /// them on as a whole. The last block is held back until the digest agrees, as if all were delivered here.
    RestOfWhole(u64),
    /// From the first to the last offset, both included; cut at the blob's end.
    Closed {
        /// First offset.
        first: u64,
        /// Last offset, not before the first.
        last: u64,
    },
    /// The same, for another cache of the same storage that counts on this one to read them. Reads of its own are kept for
    /// it, so that two caches whose reads wait for each other both go on.
    Owed {
        /// First offset.
        first: u64,
        /// Last offset, not before the first.
        last: u64,
    },
    /// The last bytes, this many; all of them if the blob is shorter.
    Suffix(u64),
}

impl Wanted {
    pub(crate) fn reach(self) -> Reach {
        match self {
            Self::Whole => Reach::Whole,
            Self::From(_) | Self::RestOfWhole(_) => Reach::Open,
            Self::Closed { .. } | Self::Owed { .. } | Self::Suffix(_) => Reach::Bounded,
        }
    }

    /// The bytes meant, in a blob of `size` bytes (RFC 9110, 14.1.2).
    ///
    /// # Errors
    /// [`CacheError::RangeNotSatisfiable`] if none of them exist.
    pub fn resolve(self, size: u64) -> Result<Range<u64>, CacheError> {
        let range = match self {
            Self::Whole => return Ok(0..size),
            Self::From(first) | Self::RestOfWhole(first) => first..size,
            Self::Closed { first, last } | Self::Owed { first, last } => {
                first..last.saturating_add(1).min(size)
            }
            Self::Suffix(length) => size.saturating_sub(length)..size,
        };
        if range.start < range.end { Ok(range) } else { Err(CacheError::RangeNotSatisfiable { size }) }
    }
}

/// The tiers and the fills of one node. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Cache {
    tiers: Arc<Tiers>,
}

impl Cache {
    /// Opens the tiers; what a former process left complete on disk is found again. Fills run on the runtime that
    /// this is called in.
    ///
    /// # Errors
    /// [`OpenError`]
    pub async fn open(config: CacheConfig) -> Result<Self, OpenError> {
        config.validate()?;
        let runtime = tokio::runtime::Handle::current();
        let handle = runtime.clone();
        let opened = runtime.spawn_blocking(move || Tiers::open(config, handle)).await;
        let tiers = opened.map_err(|error| OpenError::Interrupted(error.to_string()))??;
        Ok(Self { tiers: Arc::new(tiers) })
    }

    /// Starts reading `wanted` of a blob. Returns once its size is known and, on a miss, the origin has begun
    /// to answer; never waits for the blob. Dropping the future is harmless.
    ///
    /// # Errors
    /// [`CacheError`]
    pub async fn read(
        &self,
        key: &BlobKey,
        source: &Source,
        wanted: Wanted,
    ) -> Result<BlobReader, CacheError> {
        let mut starts = 1;
        loop {
            match self.begin(key, source, wanted).await {
                // What we knew is an older version, or the fill was just about to end: nothing is delivered yet.
                Err(CacheError::Changed | CacheError::Abandoned)
                    if starts < MAX_STARTS && !self.tiers.is_closing() =>
                {
                    starts += 1;
                }
                begun => return begun,
            }
        }
    }

    pub(crate) fn tiers(&self) -> &Arc<Tiers> {
        &self.tiers
    }

    pub(crate) async fn find(&self, key: &BlobKey) -> Option<Arc<Blob>> {
        let found = self.tiers.find(key);
        if found.is_some() {
            return found;
        }
        self.tiers.recover(key).await;
        self.tiers.find(key)
    }

    async fn begin(&self, key: &BlobKey, source: &Source, wanted: Wanted) -> Result<BlobReader, CacheError> {
        if let Some(blob) = self.find(key).await {
            blob.touch();
            let range = wanted.resolve(blob.size())?;
            let mut reader = BlobReader::new(&self.tiers, source, blob, range, wanted);
            reader.settle().await?;
            return Ok(reader);
        }
        if self.tiers.is_closing() {
            return Err(CacheError::Abandoned);
        }
        let opener = match self.tiers.fills.enter(key, wanted) {
            Joined::New(fill, opener) => {
                fill::start(&self.tiers, fill, source);
                opener
            }
            Joined::Running(opener) => opener,
        };
        let blob = opener.opened().await?;
        let range = wanted.resolve(blob.size())?;
        let mut reader = BlobReader::new(&self.tiers, source, blob, range, wanted);
        reader.attach(opener);
        Ok(reader)
    }

    /// The size of a blob, from the tiers or from one request for its first byte. Starts no fill.
    ///
    /// # Errors
    /// [`CacheError`]
    pub async fn size(&self, key: &BlobKey, source: &Source) -> Result<u64, CacheError> {
        if let Some(blob) = self.find(key).await {
            return Ok(blob.size());
        }
        let size = crate::fetch::size(source, &self.tiers.config, &self.tiers.counters).await?;
        if size == 0 && Digest::of(key.digest.algorithm(), b"") != key.digest {
            return Err(CacheError::NotFound);
        }
        Ok(size)
    }

    /// Reads a whole small blob, verified: a manifest, say.
    ///
    /// # Errors
    /// [`CacheError::TooLarge`] above `limit_bytes`, else as [`Cache::read`].
    pub async fn read_all(
        &self,
        key: &BlobKey,
        source: &Source,
        limit_bytes: u64,
    ) -> Result<(Bytes, Outcome), CacheError> {
        let mut reader = self.read(key, source, Wanted::Whole).await?;
        let size = reader.size();
        if size > limit_bytes {
            return Err(CacheError::TooLarge { size, limit: limit_bytes });
        }
        let Some(first) = reader.try_next().await? else { return Ok((Bytes::new(), reader.outcome())) };
        let mut content = BytesMut::new();
        while let Some(piece) = reader.try_next().await? {
            if content.is_empty() {
                content.reserve(size as usize);
                content.extend_from_slice(&first);
            }
            content.extend_from_slice(&piece);
        }
        let content = if content.is_empty() { first } else { content.freeze() };
        Ok((content, reader.outcome()))
    }

    /// Drops everything kept of a scope, or one digest in it; how many blobs, those left out that a former process left
    /// and that are not found yet, which go when they are. Reads that run may end on what they have; every read that
    /// starts later asks the origin again. That holds at once; files may take longer to be removed, of many blobs or
    /// where the disk hangs, and are found again if the process is killed before that.
    ///
    /// # Errors
    /// [`CacheError::Internal`] if the process ends meanwhile.
    pub async fn purge(&self, scope: &Scope, digest: Option<&Digest>) -> Result<usize, CacheError> {
        let (tiers, scope, digest) = (Arc::clone(&self.tiers), scope.clone(), digest.cloned());
        let delisted = self.tiers.runtime.spawn_blocking(move || tiers.delist(&scope, digest.as_ref())).await;
        let purged = delisted.map_err(|error| CacheError::Internal(error.to_string().into()))?;
        if let Some(disk) = self.tiers.disk.clone() {
            let unlinking = self.tiers.runtime.spawn_blocking(move || disk.unlink_delisted());
            // It goes on if it takes longer.
            let _in_time = tokio::time::timeout(UNLINKING, unlinking).await;
        }
        Ok(purged)
    }

    /// What the cache has counted, and what it holds. Walks the index: for a scrape, not for a request.
    pub fn stats(&self) -> Stats {
        self.tiers.stats()
    }

    /// Ends every fill, writes down what came of it, and lets another process use the folder. Reads that still run
    /// end with [`CacheError::Abandoned`] unless all they want is kept; later ones too.
    pub async fn close(&self) {
        self.tiers.close().await;
    }

    /// Begins a journal of what the disk tier changes.
    #[cfg(any(test, feature = "testing"))]
    pub fn record_disk(&self) {
        if let Some(disk) = &self.tiers.disk {
            disk.fault.record();
        }
    }

    /// What the disk tier has changed since the journal was begun.
    #[cfg(any(test, feature = "testing"))]
    pub fn recorded_disk(&self) -> Vec<crate::fault::DiskChange> {
        self.tiers.disk.as_ref().map(|disk| disk.fault.recorded()).unwrap_or_default()
    }

    /// Makes every call of the disk tier hang, or lets those that hang go on.
    #[cfg(any(test, feature = "testing"))]
    pub fn hang_disk(&self, hangs: bool) {
        if let Some(disk) = &self.tiers.disk {
            disk.fault.hang(hangs);
        }
    }

    /// Makes this block of every blob on disk unreadable until it is written again.
    #[cfg(any(test, feature = "testing"))]
    pub fn spoil_disk(&self, block: u32) {
        if let Some(disk) = &self.tiers.disk {
            disk.fault.spoil(block);
        }
    }

    /// Makes the disk tier meet an error in every call of a kind, or no more.
    #[cfg(any(test, feature = "testing"))]
    pub fn fail_disk(&self, call: crate::fault::DiskCall, error: Option<std::io::ErrorKind>) {
        if let Some(disk) = &self.tiers.disk {
            disk.fault.set(call, error);
        }
    }
}
