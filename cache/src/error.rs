//! Why a read failed: what happened, whose fault, and whether trying again may help.

use std::sync::Arc;

use crate::Digest;
use crate::origin::{OriginError, OriginErrorKind};

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
    #[error("the storage account's content hashes to {found}, not to {expected}")]
    Mismatch {
        /// What it should be.
        expected: Digest,
        /// What it is.
        found: Digest,
    },
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
            | Self::Mismatch { .. }
            | Self::TooLarge { .. }
            | Self::Internal(_) => false,
        }
    }

    /// The stable word for logs and metrics.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::NotFound => "not_found",
            Self::RangeNotSatisfiable { .. } => "range_not_satisfiable",
            Self::Mismatch { .. } => "mismatch",
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
