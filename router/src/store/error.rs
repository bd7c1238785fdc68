//! Why a store did not do what was asked, and whether it may have done it all the same.

use std::sync::Arc;

/// What went wrong at a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum StoreErrorKind {
    /// The store or the way to it failed before anything was changed; trying again is safe.
    Unavailable,
    /// The answer to a write was lost: it may have happened. Read before trying again.
    Unknown,
    /// The store refused us: credential, certificate or permission.
    Denied,
    /// The lease has ended, and what was bound to it is gone.
    LeaseGone,
    /// The changes that a watch is to begin with are no longer known. List again.
    Compacted,
    /// The store cannot take a commit: a key, a value or the whole is too large, or a key is written twice.
    Invalid,
    /// The store has no room for more. Nothing was changed.
    Full,
    /// What the store holds or answered cannot be read. A person has to look.
    Corrupt,
}

impl StoreErrorKind {
    /// Whether the same call may succeed if tried again, as it is.
    pub fn is_transient(self) -> bool {
        matches!(self, Self::Unavailable)
    }

    /// Whether the write may have happened.
    pub fn may_have_happened(self) -> bool {
        matches!(self, Self::Unknown)
    }

    /// A stable word for logs and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unavailable => "unavailable",
            Self::Unknown => "unknown",
            Self::Denied => "denied",
            Self::LeaseGone => "lease_gone",
            Self::Compacted => "compacted",
            Self::Invalid => "invalid",
            Self::Full => "full",
            Self::Corrupt => "corrupt",
        }
    }
}

/// A call that a store did not answer as asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the store is {}: {message}", kind.as_words())]
pub struct StoreError {
    /// What went wrong.
    pub kind: StoreErrorKind,
    /// The store's own words, for logs. Never a secret.
    pub message: Arc<str>,
}

impl StoreErrorKind {
    fn as_words(self) -> &'static str {
        match self {
            Self::Unavailable => "unavailable",
            Self::Unknown => "silent, and a write may have happened",
            Self::Denied => "closed to this router",
            Self::LeaseGone => "without the lease",
            Self::Compacted => "without such old changes",
            Self::Invalid => "not able to take the commit",
            Self::Full => "full",
            Self::Corrupt => "not readable",
        }
    }
}

impl StoreError {
    /// An error of this kind with this explanation.
    pub fn new(kind: StoreErrorKind, message: impl Into<Arc<str>>) -> Self {
        Self { kind, message: message.into() }
    }
}
