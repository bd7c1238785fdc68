//! What a plan is made from: one moment's view of a region, with what its nodes measured over a window.

use dataproxy_router_api::{AccountName, NodeName, RegistryName, Revision, Role, StampName, StampState};
use serde::{Deserialize, Serialize};

/// A region as the planner sees it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Fleet {
    /// The revision of the store that it was read at; a plan names it.
    pub revision: Revision,
    /// When it was read, in seconds since 1970 UTC.
    pub taken: u64,
    /// Stamps, in the order of their names.
    pub stamps: Vec<Stamp>,
    /// Registries, in the order of their names.
    pub registries: Vec<Registry>,
    /// Storage accounts of the region, in the order of their names.
    pub accounts: Vec<Account>,
}

/// Whole bins that follow one another, aligned to multiples of their length in UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Window {
    /// Number of the first bin: its start in seconds since 1970, divided by `bin_seconds`.
    pub first: u64,
    /// How many.
    pub bins: u32,
    /// Length of one. Anything but 60, or 720 of them, is labelled "scaled" (design §9.15).
    pub bin_seconds: u32,
}

/// A stamp.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Stamp {
    /// Its name.
    pub name: StampName,
    /// What it takes on.
    pub state: StampState,
    /// Whom it is for.
    pub kind: StampKind,
    /// Its pools: one of role `all`, or one of each other role.
    pub pools: Vec<Pool>,
    /// Why nothing may be moved to or from it now (a rollout, an incident), if so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub held: Option<String>,
}

/// Whom a stamp is for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StampKind {
    /// Whoever is bound to it.
    #[default]
    Shared,
    /// A few that would be too much for a shared one.
    Isolation,
}

/// The nodes of a stamp with one role, and what they measured.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Pool {
    /// Their role.
    pub role: Role,
    /// The bins that `nodes` and `shares` have. Frozen when a plan is made, and used for before and after.
    pub window: Window,
    /// Nodes that were in rotation in some of these bins, in the order of their names.
    pub nodes: Vec<Node>,
    /// Who caused the CPU, in the order of the registries' names; of a large pool its top few dozens. What no share
    /// explains is the node's own and that of all other registries.
    pub shares: Vec<Share>,
    /// The fewest nodes that a scaler keeps, if one scales it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min_nodes: Option<u32>,
    /// The version that its nodes run, or words for a mixture.
    #[serde(default)]
    pub build: String,
    /// Zones that its nodes lie in, if known: a pool is never made smaller than one node in each.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub zones: Option<u32>,
    /// P95 of the peak windows before `window`, oldest first, one a day; those that were valid.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub past_p95: Vec<f32>,
}

/// A node's measurements.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Node {
    /// Its name.
    pub name: NodeName,
    /// Cores that its limit allows; ratios are parts of these.
    pub cores: f32,
    /// One for each bin of the window: outside of rotation one with `in_rotation_seconds` 0; `None` where nothing was reported though it was in rotation, or where nobody
    /// knows whether it was.
    pub bins: Vec<Option<Bin>>,
}

/// What a node measured in one bin.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Bin {
    /// CPU-busy time as a part of `cores` × observed time: 0 to 1.
    pub busy: f32,
    /// Seconds of the bin that the counters cover.
    pub observed_seconds: f32,
    /// Seconds of the bin that it was in rotation.
    pub in_rotation_seconds: f32,
}

/// What one registry caused on each node of a pool.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Share {
    /// The registry.
    pub registry: RegistryName,
    /// By node in the pool's order, then by bin: the part of that node's cores. Over all registries it adds up to no
    /// more than the node's busy ratio.
    pub busy: Vec<Vec<f32>>,
}

/// What is known of a registry beside its CPU.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Registry {
    /// Its name.
    pub name: RegistryName,
    /// Its home.
    pub home_stamp: StampName,
    /// Whose it is, if known: a policy may isolate a tenant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenant: Option<String>,
    /// Registries that are expected to be alike: what is not measured of one is taken from its class. May be empty.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub class: String,
    /// Whether its figures and shares are those of the whole window. False for a new registry and for one whose
    /// reports are missing: it is then taken to be as large as the 90th percentile of its class, never as nothing.
    #[serde(default = "yes")]
    pub measured: bool,
    /// The storage accounts that hold its content.
    pub placement: Vec<AccountName>,
    /// Bytes a second that it was served in its busiest bin.
    pub peak_bytes_per_second: f64,
    /// Requests a second in its busiest bin.
    pub peak_requests_per_second: f64,
    /// Connections at a time, on average over the window; 0 if not known.
    pub mean_flows: f64,
    /// Part of its bytes that came from the cache, 0 to 1: what a cold destination has to read anew. 1 if not known.
    #[serde(default = "all")]
    pub hit_share: f64,
    /// Bytes of its blobs that are asked for again and again: what a new home has to read once.
    pub hot_set_bytes: u64,
    /// Set by an operator: it stays where it is, and why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pinned: Option<String>,
    /// Registries that may not share a stamp with it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub keep_apart: Vec<RegistryName>,
    /// When it last moved and where from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_move: Option<LastMove>,
}

fn yes() -> bool {
    true
}

fn all() -> f64 {
    1.0
}

/// A move that was made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LastMove {
    /// When it was switched, in seconds since 1970 UTC.
    pub at: u64,
    /// The home before.
    pub from: StampName,
}

/// A storage account.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Account {
    /// Its name.
    pub name: AccountName,
    /// The most that it gives, in bytes a second; unknown if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub egress_bytes_per_second: Option<f64>,
    /// What all nodes of the region read from it in its busiest bin, in bytes a second.
    pub peak_read_bytes_per_second: f64,
}
