//! What the cache knows a blob by, and what it knows of it.

use std::fmt;
use std::sync::Arc;

use crate::Digest;

/// Who a cached blob belongs to: opaque to the cache, a registry's name to the proxy.
///
/// Bytes are never shared between scopes, so a hit can only answer for the scope that filled it.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Scope(Arc<str>);

impl Scope {
    /// A scope under this name. The name is never used as a path.
    pub fn new(name: &str) -> Self {
        Self(Arc::from(name))
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The key of a cached blob: scope and digest, never where it is served or stored.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct BlobKey {
    /// Who it belongs to.
    pub scope: Scope,
    /// What it must hash to.
    pub digest: Digest,
}

impl fmt::Display for BlobKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.scope.as_str(), self.digest)
    }
}

impl fmt::Debug for BlobKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
