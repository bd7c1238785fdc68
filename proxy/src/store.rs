//! The seam to a storage account: ranged reads, as a fill needs them, and listings, as tags need them.

#[cfg(any(test, feature = "testing"))]
pub mod conformance;
pub mod local;
#[cfg(any(test, feature = "testing"))]
pub mod memory;

use dataproxy_cache::{ObjectName, Origin, OriginError};
use futures_util::future::BoxFuture;

/// One page of the folders that lie directly below a prefix.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Listing {
    /// Names of the folders, without the prefix and without slashes, in byte order.
    pub folders: Vec<String>,
    /// Whether more follow after the last one.
    pub more: bool,
}

/// A storage account. Object names begin with the container.
pub trait Store: Origin {
    /// Lists the folders directly below `prefix` that come after `after` in byte order, at most `limit`.
    ///
    /// A prefix under which nothing lies gives an empty listing.
    ///
    /// # Errors
    /// [`OriginError`]
    fn list<'a>(
        &'a self,
        prefix: &'a ObjectName,
        after: Option<&'a str>,
        limit: usize,
    ) -> BoxFuture<'a, Result<Listing, OriginError>>;
}
