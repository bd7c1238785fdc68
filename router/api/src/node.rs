//! Nodes: what each does, what it says of itself, and what is asked of it.

use std::fmt;
use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use crate::NodeName;

/// What a node does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
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

impl Role {
    /// The stable word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::All => "all",
            Self::Registry => "registry",
            Self::Dataproxy => "dataproxy",
        }
    }
}

/// One life of a node's process: drawn anew at every start, so that what was asked of the process before is not
/// asked of the one after. Below 2^53, which is what JSON's readers keep exactly; 0 is no process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Incarnation(pub u64);

impl fmt::Display for Incarnation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// Where a node is in its life, as others have to know it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NodeState {
    /// Known, and not serving yet.
    Joining,
    /// Serves pulls.
    #[default]
    Ready,
    /// Serves what it has and what still comes, and is to get no more.
    Draining,
    /// Does not report, or has ended.
    Gone,
}

impl NodeState {
    /// The stable word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Joining => "joining",
            Self::Ready => "ready",
            Self::Draining => "draining",
            Self::Gone => "gone",
        }
    }

    fn is_ready(&self) -> bool {
        *self == Self::Ready
    }
}

/// What an operator asks of a node.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "do")]
pub enum Intent {
    /// To serve.
    #[default]
    Serve,
    /// To serve, without being sent anything: out of DNS and of every front door until it is uncordoned.
    Cordon,
    /// To end its pulls, then itself.
    Drain {
        /// The process that is meant; one that started later serves.
        incarnation: Incarnation,
        /// How long running pulls may take, in seconds, before they are cut.
        deadline_seconds: u32,
    },
}

impl Intent {
    fn is_serve(&self) -> bool {
        *self == Self::Serve
    }
}

/// One node of a stamp.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
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
    /// Where it is in its life.
    #[serde(default, skip_serializing_if = "NodeState::is_ready")]
    pub state: NodeState,
    /// What is asked of it.
    #[serde(default, skip_serializing_if = "Intent::is_serve")]
    pub intent: Intent,
}

impl Node {
    /// A node that serves, at these addresses.
    pub fn new(name: NodeName, address: SocketAddr, admin: SocketAddr, role: Role) -> Self {
        Self { name, address, admin, role, state: NodeState::Ready, intent: Intent::Serve }
    }

    /// Whether new traffic may be sent to it.
    pub fn in_rotation(&self) -> bool {
        self.state == NodeState::Ready && self.intent == Intent::Serve
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_ready_node_of_which_nothing_is_asked_is_in_rotation() {
        let address: SocketAddr = "127.0.1.1:5000".parse().unwrap();
        let node = Node::new("a1".parse().unwrap(), address, address, Role::All);
        assert!(node.in_rotation());
        let drain = Intent::Drain { incarnation: Incarnation(7), deadline_seconds: 60 };
        for intent in [Intent::Cordon, drain] {
            assert!(!Node { intent, ..node.clone() }.in_rotation(), "{intent:?}");
        }
        for state in [NodeState::Joining, NodeState::Draining, NodeState::Gone] {
            assert!(!Node { state, ..node.clone() }.in_rotation(), "{state:?}");
        }
    }

    #[test]
    fn a_node_that_serves_is_written_as_before_there_were_states() {
        let written = r#"{"name":"a1","address":"127.0.1.1:5000","admin":"127.0.1.1:9100","role":"all"}"#;
        let node: Node = serde_json::from_str(written).unwrap();
        assert!(node.in_rotation());
        assert_eq!(serde_json::to_string(&node).unwrap(), written);
        let drain = Intent::Drain { incarnation: Incarnation(7), deadline_seconds: 60 };
        let text = serde_json::to_string(&Node { intent: drain, ..node }).unwrap();
        assert!(
            text.ends_with(r#""intent":{"do":"drain","incarnation":7,"deadline_seconds":60}}"#),
            "{text}"
        );
    }
}
