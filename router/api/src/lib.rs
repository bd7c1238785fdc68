//! What the router and the proxies exchange: stamps, nodes, bindings, snapshots, changes, reports.
//!
//! Data only: no I/O and no runtime. Every name is validated as it is parsed, so a value of one of
//! these types can be used in a path, a label or a log line as it is.
//!
//! A field that is not known is ignored and one that is new has a default, so that routers and nodes of neighbouring
//! versions understand each other.

mod binding;
mod change;
mod host;
mod minute;
mod name;
mod node;
mod placement;
mod purge;
mod report;
mod serving;
mod snapshot;
mod stamp;

pub use binding::{Binding, Delivery, Epoch, Phase, PullPolicy};
pub use change::{Change, OtherBase};
pub use host::{HostError, RegistryHost};
pub use minute::{NodeBin, RegistryBin, Used};
pub use name::{AccountName, NameError, NodeName, RegionName, RegistryName, StampName};
pub use node::{Incarnation, Intent, Node, NodeState, Role};
pub use placement::{Location, Placement, Prefix, PrefixError};
pub use purge::Purge;
pub use report::{NodeReport, Reach, RegistryReport, ReportAnswer};
pub use serving::ServingState;
pub use snapshot::{History, Point, Revision, Snapshot, SnapshotError};
pub use stamp::{Stamp, StampState};
