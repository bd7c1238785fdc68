//! A storage account of Azure Blob, as an [`Origin`](dataproxy_cache::Origin) of blobs.
//!
//! Built on the official SDK with a transport of our own, so that all accounts share one connection pool, one TLS
//! stack and one set of timeouts. What the SDK does not promise is held by small policies in its pipeline:
//!
//! | file | what it does |
//! |---|---|
//! | `endpoint.rs` | where an account is: sovereign clouds, private endpoints, the Azurite emulator |
//! | `place.rs` | an object's name → container and blob |
//! | `transport.rs`, `trust.rs` | hyper under the SDK; whom it trusts |
//! | `credential.rs`, `credential/` | SAS, shared key, managed and workload identity; secrets that cannot be printed |
//! | `renewed.rs` | a token or key, fetched ahead of its expiry, once for all who wait |
//! | `answer.rs` | an answer that is not what was asked for is refused before the SDK acts on it |
//! | `failure.rs` | storage's words → [`OriginErrorKind`](dataproxy_cache::OriginErrorKind): absence and outage never look alike |
//! | `account.rs` | the account: ranged reads |
//! | `list.rs` | folders below a prefix |
//! | `sign.rs` | URLs that let a client read one blob for a while |
//! | `upload.rs` | puts content there, for seeding and tests |

mod account;
mod answer;
pub mod credential;
mod endpoint;
mod failure;
mod list;
mod place;
mod renewed;
mod sign;
mod transport;
mod trust;
mod upload;

pub use azure_core::credentials::Secret;
pub use azure_core::http::Url;

pub use account::{Account, OpenError, Settings};
pub use credential::{Credential, SecretSource};
pub use endpoint::{Endpoint, EndpointError, PUBLIC_SUFFIX};
pub use list::Folders;
pub use transport::Transports;
pub use trust::TrustError;
