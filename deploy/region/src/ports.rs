//! Whether the addresses that a region needs are free, asked before anything is started.

use std::net::{SocketAddr, TcpListener};

use crate::azurite::Azurite;
use crate::error::RegionError;
use crate::topology::Topology;

/// Finds the first address that cannot be listened on. Another process may still take one afterwards; the node
/// then says so itself.
pub(crate) fn check(topology: &Topology, azurite: Option<&Azurite>) -> Result<(), RegionError> {
    let nodes = topology.members.iter().flat_map(|member| {
        [(member.pull, "pulls"), (member.admin, "readiness and metrics")]
            .map(|(address, purpose)| (address, purpose, format!("node {}", member.name)))
    });
    let azurite = azurite.map(|azurite| (azurite.address, "accounts", "azurite".to_owned()));
    let router = [(topology.control.api, "the API"), (topology.control.dns, "DNS")]
        .map(|(address, purpose)| (address, purpose, "router".to_owned()));
    for (address, purpose, process) in nodes.chain(azurite).chain(router) {
        free(address).map_err(|error| RegionError::Address { address, purpose, process, error })?;
    }
    Ok(())
}

fn free(address: SocketAddr) -> std::io::Result<()> {
    TcpListener::bind(address).map(drop)
}
