//! The one table from what went wrong to status, OCI code and words.
//!
//! Codes are chosen by what clients do with them. docker judges the code and not the status: TOOMANYREQUESTS ends a
//! pull at once, UNAVAILABLE is tried again. containerd sends a 429 again within a millisecond, up to six times. So a
//! storage account that throttles is a 503 UNAVAILABLE here, never a 429. docker shows the words of a 4xx only, so
//! a manifest that can never be served is a 400 MANIFEST_INVALID although the account is to blame.

use std::time::Duration;

use dataproxy_cache::{CacheError, DigestError, OriginError, OriginErrorKind};
use http::StatusCode;

/// Why a request is not served.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The repository's name is not one.
    #[error("{0:?} is not a repository; {error}", error = crate::name::RepositoryError)]
    NameInvalid(String),
    /// The tag is not one. A 404, as registries answer: such a name can denote no manifest.
    #[error("{0:?} is not a tag; {error}", error = crate::name::TagError)]
    TagInvalid(String),
    /// The digest is not one.
    #[error("{found:?} is not a digest; {error}")]
    DigestInvalid {
        /// What was sent.
        found: String,
        /// What is wrong with it.
        error: DigestError,
    },
    /// The page size is not a number.
    #[error("n is {0:?}; the number of tags wanted is a whole number from 0")]
    PageSizeInvalid(String),
    /// The request does not say, or says twice, which host it is for.
    #[error("{0}; a request names one host, such as contoso.registry.test")]
    HostInvalid(&'static str),
    /// Two different `ns`.
    #[error("ns is given twice with different values; a request is for one registry")]
    NamespaceTwice,
    /// The address is longer than any that could be right.
    #[error("the address is longer than {0} characters")]
    AddressTooLong(usize),
    /// There is nothing at this address.
    #[error(
        "there is nothing here; manifests, blobs, tags/list and referrers of a repository are below /v2/<repository>/"
    )]
    RouteUnknown,
    /// Repositories are not listed.
    #[error("repositories are not listed here; ask the registry that people push to")]
    CatalogUnsupported,
    /// A push, or anything else that is not a pull.
    #[error("this endpoint only serves pulls (GET and HEAD); push to the registry that owns the storage")]
    MethodUnsupported,
    /// A pull that carries content.
    #[error("a pull carries no content; the connection is closed")]
    ContentUnsupported,
    /// No registry is named by host, `ns` or path.
    #[error(
        "the request names no registry; use <registry>.{zone} as the host, or ?ns=<registry>.{zone}{by_path}"
    )]
    RegistryUnnamed {
        /// The zone that registries' hosts lie in.
        zone: String,
        /// More ways, where there are any.
        by_path: &'static str,
    },
    /// The registry is not in the binding table.
    #[error("there is no registry {0:?} here")]
    RegistryUnknown(String),
    /// The repository is not there.
    #[error("there is no such repository in the registry")]
    RepositoryUnknown,
    /// The repository has no such manifest.
    #[error("the repository has no such manifest")]
    ManifestUnknown,
    /// The repository has no such blob.
    #[error("the repository has no such blob")]
    BlobUnknown,
    /// The stored manifest is not one.
    #[error("the stored manifest cannot be served: {0}; push the image again")]
    ManifestInvalid(&'static str),
    /// The stored manifest is too large.
    #[error("the stored manifest has {size} bytes, more than the {limit} that clients accept")]
    ManifestTooLarge {
        /// Its size in bytes.
        size: u64,
        /// The limit in bytes.
        limit: u64,
    },
    /// The caller may not pull here.
    #[error("the registry does not allow pulls without a token")]
    Denied,
    /// The request's URL was signed for something else, by somebody else, or has expired.
    #[error("the signed URL is refused: {0}; ask the registry for the blob again")]
    UrlRefused(&'static str),
    /// `If-Match` names another content.
    #[error("the content is not the one that If-Match asks for")]
    PreconditionFailed,
    /// No byte of the range exists.
    #[error("the range has no byte in common with the blob's {size} bytes")]
    RangeNotSatisfiable {
        /// The blob's size in bytes.
        size: u64,
    },
    /// This node cannot read the registry's storage account.
    #[error("this node is not set up to read the account that holds the registry's content")]
    AccountUnreachable,
    /// The registry's storage account cannot hold objects where the placement says.
    #[error("the registry's placement cannot be read: {0}")]
    PlacementUnusable(&'static str),
    /// The binding's placement and the account do not fit each other.
    #[error(
        "the registry's placement does not fit its account: a storage account needs a container, an upstream registry has none"
    )]
    PlacementUnfit,
    /// The storage account asks for less.
    #[error("the account that holds the registry's content is overloaded; try again")]
    StorageThrottled(Option<Duration>),
    /// The storage account does not answer.
    #[error("the account that holds the registry's content cannot be reached; try again")]
    StorageUnavailable,
    /// The storage account answers too late.
    #[error("the account that holds the registry's content did not answer in time; try again")]
    StorageTimeout,
    /// The storage account refuses this node.
    #[error("the account that holds the registry's content refuses this node")]
    StorageDenied,
    /// The upstream registry refuses this node. It says so of what does not exist as well; its caller is told, as 4xx
    /// is what docker shows.
    #[error(
        "the upstream registry denies the pull: there is no such repository, or it is not open to the username and password that this proxy has there"
    )]
    UpstreamDenied,
    /// The storage account answers nonsense, or the content does not match its digest.
    #[error("the account that holds the registry's content holds it damaged")]
    StorageDamaged,
    /// A front door found no node of the home stamp that answers.
    #[error("no node that serves the registry {0:?} is ready; try again")]
    NoNodeReady(String),
    /// A front door asked one node after the other, and none answered in time.
    #[error("no node that serves the registry {0:?} answered in time; try again")]
    NodeTimeout(String),
    /// A front door got what another one has forwarded already.
    #[error(
        "the request has been through a front door before; the bindings must list nodes, not front doors"
    )]
    ForwardedTwice,
    /// A node of another stamp has forwarded what this one cannot serve either.
    #[error(
        "the request has been forwarded between stamps before, and this node cannot read the account that holds the registry's content; try again"
    )]
    HopTwice,
    /// A request of this node's own has come back to it.
    #[error(
        "the request comes from this node itself: an upstream registry's url leads back here; name another registry"
    )]
    UpstreamIsSelf,
    /// This node failed.
    #[error("the node failed; try again")]
    Internal,
}

/// What a message repeats of a caller's text: enough to find it, never all of it.
pub(crate) fn excerpt(text: &str) -> String {
    text.chars().take(80).collect()
}

impl Refusal {
    /// The answer's status.
    pub fn status(&self) -> StatusCode {
        self.row().0
    }

    /// The OCI code, also the stable word for logs and metrics.
    pub fn code(&self) -> &'static str {
        self.row().1
    }

    /// How long a client should wait before it tries again, where that may help.
    pub fn retry_after(&self) -> Option<Duration> {
        const SOON: Duration = Duration::from_secs(1);
        match self {
            Self::StorageThrottled(wait) => Some(wait.unwrap_or(SOON).max(SOON)),
            Self::StorageUnavailable
            | Self::StorageTimeout
            | Self::AccountUnreachable
            | Self::NodeTimeout(_)
            | Self::NoNodeReady(_) => Some(SOON),
            _ => None,
        }
    }

    fn row(&self) -> (StatusCode, &'static str) {
        match self {
            Self::NameInvalid(_) | Self::HostInvalid(_) | Self::NamespaceTwice => {
                (StatusCode::BAD_REQUEST, "NAME_INVALID")
            }
            Self::AddressTooLong(_) => (StatusCode::URI_TOO_LONG, "NAME_INVALID"),
            Self::TagInvalid(_) => (StatusCode::NOT_FOUND, "TAG_INVALID"),
            Self::DigestInvalid { .. } => (StatusCode::BAD_REQUEST, "DIGEST_INVALID"),
            Self::PageSizeInvalid(_) => (StatusCode::BAD_REQUEST, "PAGINATION_NUMBER_INVALID"),
            Self::RouteUnknown | Self::CatalogUnsupported => (StatusCode::NOT_FOUND, "UNSUPPORTED"),
            Self::MethodUnsupported => (StatusCode::METHOD_NOT_ALLOWED, "UNSUPPORTED"),
            Self::ContentUnsupported => (StatusCode::PAYLOAD_TOO_LARGE, "UNSUPPORTED"),
            Self::RegistryUnnamed { .. } | Self::RegistryUnknown(_) | Self::RepositoryUnknown => {
                (StatusCode::NOT_FOUND, "NAME_UNKNOWN")
            }
            Self::ManifestUnknown => (StatusCode::NOT_FOUND, "MANIFEST_UNKNOWN"),
            Self::BlobUnknown => (StatusCode::NOT_FOUND, "BLOB_UNKNOWN"),
            Self::ManifestInvalid(_) | Self::ManifestTooLarge { .. } => {
                (StatusCode::BAD_REQUEST, "MANIFEST_INVALID")
            }
            Self::Denied | Self::UpstreamDenied | Self::UrlRefused(_) => (StatusCode::FORBIDDEN, "DENIED"),
            Self::PreconditionFailed => (StatusCode::PRECONDITION_FAILED, "PRECONDITION_FAILED"),
            Self::RangeNotSatisfiable { .. } => (StatusCode::RANGE_NOT_SATISFIABLE, "RANGE_INVALID"),
            Self::ForwardedTwice | Self::HopTwice | Self::UpstreamIsSelf => {
                (StatusCode::LOOP_DETECTED, "UNSUPPORTED")
            }
            Self::AccountUnreachable
            | Self::PlacementUnusable(_)
            | Self::PlacementUnfit
            | Self::StorageThrottled(_)
            | Self::StorageUnavailable
            | Self::NoNodeReady(_) => (StatusCode::SERVICE_UNAVAILABLE, "UNAVAILABLE"),
            Self::StorageTimeout | Self::NodeTimeout(_) => (StatusCode::GATEWAY_TIMEOUT, "UNAVAILABLE"),
            Self::StorageDenied | Self::StorageDamaged => (StatusCode::BAD_GATEWAY, "UNKNOWN"),
            Self::Internal => (StatusCode::INTERNAL_SERVER_ERROR, "UNKNOWN"),
        }
    }

    /// The refusal for a failed read of storage; `absent` is what it means that the object is not there.
    pub fn of_origin(error: &OriginError, absent: Refusal) -> Self {
        match error.kind {
            OriginErrorKind::NotFound => absent,
            OriginErrorKind::Denied => Self::StorageDenied,
            OriginErrorKind::Throttled(wait) => Self::StorageThrottled(wait),
            OriginErrorKind::Unavailable | OriginErrorKind::Changed => Self::StorageUnavailable,
            OriginErrorKind::Timeout => Self::StorageTimeout,
            OriginErrorKind::RangeInvalid(size) => Self::RangeNotSatisfiable { size },
            OriginErrorKind::Protocol => Self::StorageDamaged,
        }
    }

    /// The refusal for a failed read through the cache; `absent` is what it means that the blob is not there.
    pub fn of_cache(error: &CacheError, absent: Refusal) -> Self {
        match error {
            CacheError::NotFound => absent,
            CacheError::RangeNotSatisfiable { size } => Self::RangeNotSatisfiable { size: *size },
            CacheError::Mismatch(_) => Self::StorageDamaged,
            CacheError::Changed | CacheError::Abandoned => Self::StorageUnavailable,
            CacheError::TooLarge { size, limit } => Self::ManifestTooLarge { size: *size, limit: *limit },
            CacheError::Origin(error) => Self::of_origin(error, absent),
            CacheError::Internal(_) => Self::Internal,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_outage_never_looks_like_absence_and_throttling_never_like_a_429() {
        let of =
            |kind| Refusal::of_origin(&OriginError::new(kind, "x"), Refusal::BlobUnknown).status().as_u16();
        assert_eq!(of(OriginErrorKind::NotFound), 404);
        assert_eq!(of(OriginErrorKind::Unavailable), 503);
        assert_eq!(of(OriginErrorKind::Throttled(None)), 503);
        assert_eq!(of(OriginErrorKind::Timeout), 504);
        assert_eq!(of(OriginErrorKind::Denied), 502);
        assert_eq!(of(OriginErrorKind::Protocol), 502);
    }

    #[test]
    fn a_wait_of_storage_is_passed_on_and_never_zero() {
        let wait = |given| Refusal::StorageThrottled(given).retry_after().expect("a wait");
        assert_eq!(wait(None), Duration::from_secs(1));
        assert_eq!(wait(Some(Duration::from_millis(5))), Duration::from_secs(1));
        assert_eq!(wait(Some(Duration::from_secs(7))), Duration::from_secs(7));
    }
}
