//! The seam to storage: what a fill needs of an origin, and nothing more.
//!
//! An origin answers ranged reads of named objects. One call is one request to storage: the size
//! and the version come with the answer, so nothing is ever asked twice.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use futures_util::stream::BoxStream;

/// The name of an object inside an origin, `/`-separated; the origin alone gives it a meaning.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ObjectName(Arc<str>);

impl ObjectName {
    /// An object of this name.
    pub fn new(name: impl Into<Arc<str>>) -> Self {
        Self(name.into())
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for ObjectName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The version of an object, as the origin names it; compared for equality only.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct ETag(Arc<str>);

impl ETag {
    /// A version of this name.
    pub fn new(name: impl Into<Arc<str>>) -> Self {
        Self(name.into())
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for ETag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// An answer to one ranged read.
pub struct OriginRead {
    /// Size of the whole object in bytes.
    pub size: u64,
    /// Version of the object that the body comes from. Follow-up reads pin it.
    pub etag: ETag,
    /// The bytes that `body` delivers: what was asked for, cut at the object's end.
    pub range: Range<u64>,
    /// The bytes, in order. Ends after exactly `range`, or with an error. Dropping it stops the read.
    pub body: BoxStream<'static, Result<Bytes, OriginError>>,
    /// Whether another cache of the same storage gives the bytes, and not storage itself. Such reads are counted apart, and
    /// one that breaks is made again at once: storage has not failed.
    pub lent: bool,
}

impl fmt::Debug for OriginRead {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OriginRead")
            .field("size", &self.size)
            .field("etag", &self.etag)
            .field("range", &self.range)
            .finish_non_exhaustive()
    }
}

/// Where the objects lie: a storage account, as a fill reads it.
///
/// Every implementation passes the suite of the module `conformance` (feature `testing`). Dropping the future or the body stops the
/// request without harm.
pub trait Origin: fmt::Debug + Send + Sync + 'static {
    /// Reads `range` of `object`, in one request.
    ///
    /// A range that ends past the object is cut at its end. An empty object answers any range that
    /// starts at 0 with an empty body. With `pin`, the read succeeds only on that version.
    ///
    /// # Errors
    /// [`OriginError`]; see its kinds. A range that starts at or past the end of a non-empty object is
    /// [`OriginErrorKind::RangeInvalid`].
    fn get<'a>(
        &'a self,
        object: &'a ObjectName,
        range: Range<u64>,
        pin: Option<&'a ETag>,
    ) -> BoxFuture<'a, Result<OriginRead, OriginError>>;

    /// Whether a read that ended with this transient error may be tried again. Asked once before each further try, by
    /// whoever makes it, and meant to be followed by it: an origin that bounds retries in sum counts them here.
    fn retry(&self, error: &OriginError) -> Retry {
        let _ = error;
        Retry::Counted
    }

    /// Hears that the content of `object`, as it was read here, is not what its digest names. An origin that lends from
    /// other caches reads it from storage from then on.
    fn refuted(&self, object: &ObjectName) {
        let _ = object;
    }
}

/// What an origin says to one more try of a read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retry {
    /// It may be made, and is one of the few that whoever makes them allows themselves.
    Counted,
    /// It may be made. The origin is there and bounds such tries in sum, so that time alone bounds them for each read.
    Uncounted,
    /// Not now: others have had what the origin allows. It may be asked for again after a pause.
    Later,
}

/// What went wrong at an origin. Absence and outage never look alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum OriginErrorKind {
    /// The object is not there.
    NotFound,
    /// The origin refused us: credential, permission or firewall.
    Denied,
    /// The origin asks for less: back off, at least for the time given.
    Throttled(Option<Duration>),
    /// The origin or the way to it failed; trying again is safe.
    Unavailable,
    /// The origin did not answer in time; trying again is safe.
    Timeout,
    /// The object is no longer the pinned version.
    Changed,
    /// The range starts at or past the object's end; its size is given.
    RangeInvalid(u64),
    /// The answer was not what was asked for (wrong range, short body, not an object).
    Protocol,
}

impl OriginErrorKind {
    /// Whether the same read may succeed if tried again.
    pub fn is_transient(self) -> bool {
        matches!(self, Self::Throttled(_) | Self::Unavailable | Self::Timeout | Self::Protocol)
    }

    /// Whether the origin asks for less.
    pub fn is_throttled(self) -> bool {
        matches!(self, Self::Throttled(_))
    }

    /// A stable word for logs and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NotFound => "not_found",
            Self::Denied => "denied",
            Self::Throttled(_) => "throttled",
            Self::Unavailable => "unavailable",
            Self::Timeout => "timeout",
            Self::Changed => "changed",
            Self::RangeInvalid(_) => "range_invalid",
            Self::Protocol => "protocol",
        }
    }
}

/// A failed read, with what the origin said of it.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{}: {message}", kind.as_str())]
pub struct OriginError {
    /// What went wrong.
    pub kind: OriginErrorKind,
    /// The origin's own words, for logs. Never a secret.
    pub message: Arc<str>,
}

impl OriginError {
    /// An error of this kind with this explanation.
    pub fn new(kind: OriginErrorKind, message: impl Into<Arc<str>>) -> Self {
        Self { kind, message: message.into() }
    }
}

/// Where one blob's bytes can be had.
#[derive(Clone, Debug)]
pub struct Source {
    /// The storage to read from.
    pub origin: Arc<dyn Origin>,
    /// The object that holds the bytes.
    pub object: ObjectName,
}
