//! Stamps and their nodes.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use crate::{NodeName, StampName};

/// What a node does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Manifests, tags and blobs.
    #[default]
    All,
    /// Authorisation, manifests and tags.
    Registry,
    /// Blobs.
    Dataproxy,
}

/// One node of a stamp.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Node {
    /// Its name, unique in the region.
    pub name: NodeName,
    /// Where it serves pulls.
    pub address: SocketAddr,
    /// Where it answers `/readyz` and `/metrics`.
    pub admin: SocketAddr,
    /// What it does.
    #[serde(default)]
    pub role: Role,
}

/// One stamp of the region.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Stamp {
    /// Its name.
    pub name: StampName,
    /// Its nodes.
    pub nodes: Vec<Node>,
}
