//! The only entrance: memory, then disk, then a fill.

use std::ops::Range;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures_util::stream::{BoxStream, Stream};
use futures_util::{StreamExt, TryStreamExt};

use crate::{BlobKey, CacheConfig, CacheError, ConfigError, Outcome, Source};

/// Which bytes of a blob a reader wants. Resolved against the size once that is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// All of them; the last block is held back until the digest agrees.
    Whole,
    /// From this offset to the end.
    From(u64),
    /// From the first to the last offset, both included; cut at the blob's end.
    Closed {
        /// First offset.
        first: u64,
        /// Last offset, not before the first.
        last: u64,
    },
    /// The last bytes, this many; all of them if the blob is shorter.
    Suffix(u64),
}

impl Wanted {
    /// The bytes meant, in a blob of `size` bytes (RFC 9110, 14.1.2).
    ///
    /// # Errors
    /// [`CacheError::RangeNotSatisfiable`] if none of them exist.
    pub fn resolve(self, size: u64) -> Result<Range<u64>, CacheError> {
        let range = match self {
            Self::Whole => return Ok(0..size),
            Self::From(first) => first..size,
            Self::Closed { first, last } => first..last.saturating_add(1).min(size),
            Self::Suffix(length) => size.saturating_sub(length)..size,
        };
        if range.start < range.end { Ok(range) } else { Err(CacheError::RangeNotSatisfiable { size }) }
    }
}

/// Why a cache could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// A setting cannot be.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The disk tier's folder cannot be used.
    #[error("the cache folder {dir} cannot be used: {error}")]
    Dir {
        /// The folder.
        dir: String,
        /// Why.
        error: std::io::Error,
    },
}

/// The tiers and the fills of one node. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Cache {
    config: Arc<CacheConfig>,
}

/// A blob's bytes, in order, as they become available.
///
/// Dropping it ends the read; a fill that nobody else wants then stops or finishes in the background.
pub struct BlobReader {
    size: u64,
    range: Range<u64>,
    body: BoxStream<'static, Result<Bytes, CacheError>>,
}

impl Cache {
    /// Opens the tiers; what a former process left complete on disk is found again.
    ///
    /// # Errors
    /// [`OpenError`]
    pub async fn open(config: CacheConfig) -> Result<Self, OpenError> {
        config.validate()?;
        Ok(Self { config: Arc::new(config) })
    }

    /// Starts reading `wanted` of a blob. Returns once its size is known and, on a miss, the origin has begun
    /// to answer; never waits for the blob.
    ///
    /// # Errors
    /// [`CacheError`]
    pub async fn read(
        &self,
        _key: &BlobKey,
        source: &Source,
        wanted: Wanted,
    ) -> Result<BlobReader, CacheError> {
        let size = self.size(_key, source).await?;
        let range = wanted.resolve(size)?;
        let read = source.origin.get(&source.object, range.clone(), None).await?;
        Ok(BlobReader { size, range, body: read.body.map_err(CacheError::from).boxed() })
    }

    /// The size of a blob, from the tiers or from one request for its first byte. Starts no fill.
    ///
    /// # Errors
    /// [`CacheError`]
    pub async fn size(&self, _key: &BlobKey, source: &Source) -> Result<u64, CacheError> {
        Ok(source.origin.get(&source.object, 0..1, None).await?.size)
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
        let reader = self.read(key, source, Wanted::Whole).await?;
        if reader.size() > limit_bytes {
            return Err(CacheError::TooLarge { size: reader.size(), limit: limit_bytes });
        }
        let parts: Vec<Bytes> = reader.try_collect().await?;
        Ok((parts.concat().into(), Outcome::Filled))
    }
}

impl BlobReader {
    /// The blob's size in bytes.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The bytes that this reader delivers.
    pub fn range(&self) -> Range<u64> {
        self.range.clone()
    }

    /// How they were served, as far as is known by now; final once the stream has ended.
    pub fn outcome(&self) -> Outcome {
        Outcome::Filled
    }
}

impl Stream for BlobReader {
    type Item = Result<Bytes, CacheError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.body.poll_next_unpin(cx)
    }
}
