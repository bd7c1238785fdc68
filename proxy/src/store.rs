//! The seam to a storage account: ranged reads, as a fill needs them, and listings, as tags need them.

#[cfg(any(test, feature = "testing"))]
pub mod conformance;
pub mod copies;
pub mod guard;
pub mod local;
#[cfg(any(test, feature = "testing"))]
pub mod memory;

use std::fmt;
use std::time::Duration;

use dataproxy_cache::{ObjectName, Origin, OriginError};
use dataproxy_router_api::Prefix;
use futures_util::future::BoxFuture;

/// One page of the folders that lie directly below a prefix.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Listing {
    /// Names of the folders, without the prefix and without slashes, in byte order.
    pub folders: Vec<String>,
    /// Whether more follow after the last one.
    pub more: bool,
}

/// A URL that lets whoever has it read one object for a while. It is a secret for as long as it is valid.
#[derive(Clone, PartialEq, Eq)]
pub struct SignedUrl(String);

impl SignedUrl {
    /// A signed URL, absolute, as it goes into a `Location` header.
    pub fn new(url: String) -> Self {
        Self(url)
    }

    /// The whole of it, secret included: for the client alone, never for a log.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for SignedUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (open, _) = self.0.split_once('?').unwrap_or((&self.0, ""));
        write!(f, "{open}?…")
    }
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

    /// A URL by which a client can read `object` from storage itself for `valid`, or `None` if this store hands none
    /// out. The object is not looked at: it may be absent.
    ///
    /// # Errors
    /// [`OriginError`], where signing needs storage's help and that fails.
    fn sign<'a>(
        &'a self,
        object: &'a ObjectName,
        valid: Duration,
    ) -> BoxFuture<'a, Result<Option<SignedUrl>, OriginError>> {
        let _ = (object, valid);
        Box::pin(std::future::ready(Ok(None)))
    }

    /// Why no object of this store can have a name with `prefix` in it, if so. A placement with such a prefix is
    /// refused before a name is made of it: its objects would all look absent.
    fn refuses(&self, prefix: &Prefix) -> Option<&'static str> {
        let _ = prefix;
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signed_url_is_not_shown_by_debug() {
        let url = SignedUrl::new("https://a.example/c/b?sp=r&sig=c2VjcmV0".to_owned());
        assert_eq!(format!("{url:?}"), "https://a.example/c/b?…");
        assert_eq!(url.expose(), "https://a.example/c/b?sp=r&sig=c2VjcmV0");
    }
}
