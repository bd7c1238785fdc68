//! Names of registries to addresses of nodes: an authoritative server for the region's zone.
//!
//! | name | answered with the nodes of the home stamp that |
//! |---|---|
//! | `<registry>.<zone>`, `<registry>.<region>.geo.<zone>` | have role `registry` or `all` |
//! | `<registry>.<region>.data.<zone>` | have role `dataproxy` or `all` |
//!
//! Of those, the nodes in rotation. With none in rotation, the ones that serve what still comes; with none of
//! those either, all that are known: a router that hears from no node must not make a registry vanish. So the
//! answer is empty only where the stamp has no such node at all, and `NXDOMAIN` only where no registry has
//! the name.
//!
//! A [`View`] is made whole from a snapshot and swapped whole, so a move changes every name of a registry at
//! once. Messages are read and written by `hickory-proto`; the sockets are ours, to bound connections
//! (`docs/adr/0016-dns.md`).

mod answer;
mod endpoints;
mod pool;
mod record_sets;
mod server;
mod view;
mod zone;

pub use endpoints::{Changes, DnsEndpoint, DnsEndpointSpec, Endpoint, by_registry};
pub use record_sets::{RecordSet, RecordSets, RecordSetsError};
pub use server::{Bounds, DnsServer};
pub use view::View;
pub use zone::{NameServer, Zone, ZoneError, ZoneSettings};
