//! Why a read failed: what happened, whose fault, and whether trying again may help.

use std::sync::Arc;

use crate::origin::{OriginError, OriginErrorKind};
use crate::{ConfigError, Digest};

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
    /// The runtime ended meanwhile.
    #[error("opening the cache was interrupted: {0}")]
    Interrupted(String),
}

/// Two digests that should be one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mismatch {
    /// What it should be.
    pub expected: Digest,
    /// What it is.
    pub found: Digest,
}

/// A failed read.
#[derive(Clone, Debug, thiserror::Error)]
pub enum CacheError {
    /// The origin has no such object, or one of zero bytes where that cannot be the content.
    #[error("the storage account does not hold the blob")]
    NotFound,
    /// The wanted range starts past the blob's end.
    #[error("the range starts past the end of {size} bytes")]
    RangeNotSatisfiable {
        /// The blob's size in bytes.
        size: u64,
    },
    /// What the origin delivered does not hash to the digest. Nothing of it was kept.
    #[error("the storage account's content hashes to {}, not to {}", .0.found, .0.expected)]
    Mismatch(Box<Mismatch>),
    /// The object changed while it was read.
    #[error("the object changed while it was read")]
    Changed,
    /// The content is larger than the caller allows.
    #[error("the content has {size} bytes, more than the {limit} allowed")]
    TooLarge {
        /// Its size in bytes.
        size: u64,
        /// The limit in bytes.
        limit: u64,
    },
    /// The origin failed, after the retries that were due.
    #[error("the storage account failed: {0}")]
    Origin(OriginError),
    /// The fill ended without an answer (the process is shutting down).
    #[error("the fill was abandoned")]
    Abandoned,
    /// The cache's own bookkeeping failed.
    #[error("the cache failed: {0}")]
    Internal(Arc<str>),
}

impl CacheError {
    /// Whether the same read may succeed if tried again.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Origin(error) => error.kind.is_transient(),
            Self::Changed | Self::Abandoned => true,
            Self::NotFound
            | Self::RangeNotSatisfiable { .. }
            | Self::Mismatch(_)
            | Self::TooLarge { .. }
            | Self::Internal(_) => false,
        }
    }

    /// The stable word for logs and metrics.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::NotFound => "not_found",
            Self::RangeNotSatisfiable { .. } => "range_not_satisfiable",
            Self::Mismatch(_) => "mismatch",
            Self::Changed => "changed",
            Self::TooLarge { .. } => "too_large",
            Self::Origin(error) => error.kind.as_str(),
            Self::Abandoned => "abandoned",
            Self::Internal(_) => "internal",
        }
    }
}

impl From<OriginError> for CacheError {
    fn from(error: OriginError) -> Self {
        match error.kind {
            OriginErrorKind::NotFound => Self::NotFound,
            OriginErrorKind::Changed => Self::Changed,
            OriginErrorKind::RangeInvalid(size) => Self::RangeNotSatisfiable { size },
            _ => Self::Origin(error),
        }
    }
}
