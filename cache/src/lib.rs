//! Memory and disk tiers, single-flight fills and verification of content-addressed blobs.
//!
//! The cache knows digests, bytes and an [`Origin`] to read from. It knows nothing of HTTP, of any
//! storage product or of stamps. Its only entrance is [`Cache`].

mod config;
mod digest;
mod error;
mod key;
mod lookup;
mod origin;
mod outcome;

pub use config::{CacheConfig, ConfigError, DiskConfig};
pub use digest::{Algorithm, Digest, DigestError, Hasher};
pub use error::CacheError;
pub use key::{BlobKey, Scope};
pub use lookup::{BlobReader, Cache, OpenError, Wanted};
pub use origin::{ETag, ObjectName, Origin, OriginError, OriginErrorKind, OriginRead, Source};
pub use outcome::{Bypass, Outcome};
