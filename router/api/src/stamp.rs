//! Stamps and their nodes.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use crate::{AccountName, NodeName, StampName};

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
    /// Its storage accounts: the stamp that has the capacity and gets the blame. Empty where that is not stated.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub accounts: Vec<AccountName>,
}
