//! Memory and disk tiers, single-flight fills and verification of content-addressed blobs.
//!
//! The cache knows digests, bytes and an [`Origin`] to read from. It knows nothing of HTTP, of any
//! storage product or of stamps. Its only entrance is [`Cache`].
//!
//! # The life of a blob
//!
//! A read looks in both tiers ([`Cache::read`]). What is missing is brought by a *fill*: one task a blob, whoever
//! reads it, that fetches what its readers need in blocks, in order of need. A block goes to readers while it arrives,
//! then to disk (or, with no disk, to memory), and into a running hash. Once every block is there and the digest
//! agrees the blob is *complete*. Until then it is *partial*: ranges of it are served under one version of the object,
//! and a reader of all of it gets the last block only when the digest agrees. On a mismatch nothing is kept and every
//! reader gets an error before its end.
//!
//! Sizes are bytes. Everything on disk is a copy: a block that does not match its checksum is a miss, and the layout's
//! version decides alone whether what a former process left is used.

mod ahead;
mod blob;
mod block;
mod buffers;
mod config;
#[cfg(any(test, feature = "testing"))]
pub mod conformance;
mod digest;
mod disk;
mod error;
#[cfg(any(test, feature = "testing"))]
pub mod fakes;
#[cfg(any(test, feature = "testing"))]
pub mod fault;
mod fetch;
mod fill;
mod key;
mod lookup;
mod memory;
mod origin;
mod outcome;
mod piece;
mod reader;
mod stats;
mod sync;
mod tiers;
mod verify;

pub use ahead::{Ahead, FetchAhead};
pub use buffers::{Buffer, Buffers};
pub use config::{CacheConfig, ConfigError, DiskConfig};
pub use digest::{Algorithm, Digest, DigestError, Hasher};
pub use error::{CacheError, Mismatch, OpenError};
pub use key::{BlobKey, Scope};
pub use lookup::{Cache, Wanted};
pub use origin::{ETag, ObjectName, Origin, OriginError, OriginErrorKind, OriginRead, Retry, Source};
pub use outcome::{Bypass, Outcome};
pub use piece::{FilePiece, Piece};
pub use reader::BlobReader;
pub use stats::Stats;
