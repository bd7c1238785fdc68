//! What a node tells the routers of itself. It goes to every router that the node knows, and replaces what it said before.

use serde::{Deserialize, Serialize};

use crate::{
    Epoch, History, Incarnation, Node, NodeBin, NodeName, NodeState, Point, RegionName, RegistryName,
    Revision, ServingState, StampName,
};

/// One report. A field that is not known is ignored, so that nodes and routers of neighbouring versions understand
/// each other.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NodeReport {
    /// The region that it belongs to.
    pub region: RegionName,
    /// The stamp that it belongs to.
    pub stamp: StampName,
    /// Its name, addresses, role and state. Its intent is the router's to say and is ignored here.
    pub node: Node,
    /// Its process.
    pub incarnation: Incarnation,
    /// Its version.
    pub version: String,
    /// Counts the reports of this process: an older one that arrives later is ignored.
    pub sequence: u64,
    /// The history that the revision is of. To routers of another, it acknowledges nothing.
    #[serde(default, skip_serializing_if = "History::is_first")]
    pub history: History,
    /// The snapshot that it works from: it acknowledges this revision and all before.
    pub revision: Revision,
    /// Requests that run.
    #[serde(default)]
    pub in_flight: u64,
    /// Registries that it has work or news of; one that is at rest in its home need not be named.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub registries: Vec<RegistryReport>,
    /// The node's clock as it made the report, in milliseconds since 1970 UTC.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time_ms: Option<u64>,
    /// What it used, in bins that have ended: those that follow the last one which the router has acknowledged, oldest
    /// first, some at a time. None before the router's first answer, which may be of a version that takes none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub bins: Vec<NodeBin>,
}

/// What a node does for one registry.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RegistryReport {
    /// The registry.
    pub registry: RegistryName,
    /// The epoch that it serves.
    pub epoch: Epoch,
    /// What it does for it.
    pub serving: ServingState,
    /// Requests that run.
    #[serde(default)]
    pub in_flight: u64,
    /// Age of the oldest of them, in seconds.
    #[serde(default)]
    pub oldest_seconds: u64,
    /// Requests that have begun since the epoch came, in sum.
    #[serde(default)]
    pub begun: u64,
    /// Time since the last of them began, in milliseconds; none since the epoch came if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quiet_ms: Option<u64>,
    /// Whether it can read the placement, where it has tried: the reason if it cannot.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reach: Option<Reach>,
}

/// Whether a node can read a placement.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "is")]
pub enum Reach {
    /// It can.
    Readable,
    /// It cannot.
    Unreadable {
        /// Why, in words.
        why: String,
    },
}

/// What a router answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReportAnswer {
    /// The history that the revision is of.
    #[serde(default, skip_serializing_if = "History::is_first")]
    pub history: History,
    /// The newest revision that it has.
    pub revision: Revision,
    /// How soon it wants to hear again, in milliseconds; a node that is silent for five times as long is gone.
    pub again_ms: u64,
    /// The last bin of this process that it has, by its sequence; 0 if it has none. Absent from a router that takes none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bins: Option<u64>,
}

impl ReportAnswer {
    /// The newest that the router has.
    pub fn point(&self) -> Point {
        Point { history: self.history, revision: self.revision }
    }
}

impl NodeReport {
    /// The node's name.
    pub fn name(&self) -> &NodeName {
        &self.node.name
    }

    /// Where it is in its life.
    pub fn state(&self) -> NodeState {
        self.node.state
    }
}
