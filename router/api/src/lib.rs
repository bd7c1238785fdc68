//! What the router and the proxies exchange: stamps, nodes, bindings, snapshots.
//!
//! Data only: no I/O and no runtime. Every name is validated as it is parsed, so a value of one of
//! these types can be used in a path, a label or a log line as it is.

mod binding;
mod host;
mod name;
mod placement;
mod snapshot;
mod stamp;

pub use binding::{Binding, Delivery, Epoch, Phase, PullPolicy};
pub use host::{HostError, RegistryHost};
pub use name::{AccountName, NameError, NodeName, RegionName, RegistryName, StampName};
pub use placement::{Location, Placement, Prefix, PrefixError};
pub use snapshot::{Revision, Snapshot, SnapshotError};
pub use stamp::{Node, Role, Stamp};
