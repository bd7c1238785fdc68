//! Whether the addresses that a region needs are free, asked before anything is started.

use std::net::{SocketAddr, TcpListener};

use crate::error::RegionError;
use crate::topology::Topology;

/// Finds the first address that cannot be listened on. Another process may still take one afterwards; the node
/// then says so itself.
pub(crate) fn check(topology: &Topology) -> Result<(), RegionError> {
    for member in &topology.members {
        for (address, purpose) in [(member.pull, "pulls"), (member.admin, "readiness and metrics")] {
            free(address).map_err(|error| RegionError::Address {
                address,
                purpose,
                node: member.name.to_string(),
                error,
            })?;
        }
    }
    Ok(())
}

fn free(address: SocketAddr) -> std::io::Result<()> {
    TcpListener::bind(address).map(drop)
}
