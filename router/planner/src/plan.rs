//! A plan: what would be moved, in which phases, with what effect, and why everything else would not.
//!
//! A plan is immutable. Its hash is over all that it says, so an approval can name it and an edit shows; it names the
//! revision and the digest of what it was made from, so that a stale one can be refused.

mod diff;
mod hash;
mod words;

pub use diff::{MoveChange, PlanDiff, PredictionChange, diff};
pub use hash::digest;

use dataproxy_router_api::{RegistryName, Revision, Role, StampName};
use serde::{Deserialize, Serialize};

use crate::signal::Signal;

/// What is asked of the planner.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "want")]
pub enum Goal {
    /// Relief for the hottest stamp that has been hot for long enough, if there is one.
    Balance,
    /// Relief for a stamp, whether it has been hot for long or not.
    Relieve {
        /// The stamp.
        stamp: StampName,
        /// Where its registries may go; anywhere if empty.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        to: Vec<StampName>,
        /// The P95 to reach; the policy's if absent.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        p95: Option<f64>,
    },
    /// A tenant's registries away from the stamps that they share with others.
    Isolate {
        /// The tenant.
        tenant: String,
        /// From these stamps; from all but `to` if empty.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        from: Vec<StampName>,
        /// The stamp for them.
        to: StampName,
    },
    /// These registries to that stamp, as an operator says.
    Move {
        /// The registries.
        registries: Vec<RegistryName>,
        /// Their new home.
        to: StampName,
    },
}

/// The answer. Figures of CPU are parts of a node's cores, 0 to 1; of shares, parts of a pool's CPU.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    /// `p-` and the first twelve characters of the hash.
    pub id: String,
    /// SHA-256 in hex over the canonical JSON of all the rest.
    pub hash: String,
    /// The revision of the store that it was made from.
    pub base_revision: Revision,
    /// SHA-256 in hex over fleet, policy and goal.
    pub inputs_digest: String,
    /// The time of the fleet, in seconds since 1970 UTC.
    pub taken: u64,
    /// It may not be approved or begun after this, in seconds since 1970 UTC.
    pub expires: u64,
    /// What chance was drawn from.
    pub seed: u64,
    /// What was asked.
    pub goal: Goal,
    /// Every pool as it was measured.
    pub before: Vec<Before>,
    /// What moves, in the order of the phases.
    pub moves: Vec<Move>,
    /// In this order.
    pub phases: Vec<Phase>,
    /// The end, for each pool of each stamp that something moves from or to.
    pub predictions: Vec<Prediction>,
    /// What does not move, and why: every registry of the stamps in question, for every destination.
    pub rejected: Vec<Rejected>,
    /// What else should be done, or instead.
    pub recommendations: Vec<Recommendation>,
    /// Rules that forbade what was asked. Nothing moves if there is any.
    pub refusals: Vec<Refusal>,
    /// What whoever approves has to know.
    pub notes: Vec<String>,
}

/// A pool as it was measured.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Before {
    /// The stamp.
    pub stamp: StampName,
    /// The pool's role.
    pub role: Role,
    /// Nodes of it.
    pub nodes: u32,
    /// What they measured; absent if it was no measurement, which a refusal or a rejection then says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signal: Option<Signal>,
}

/// One registry's move.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Move {
    /// The registry.
    pub registry: RegistryName,
    /// Its home now.
    pub from: StampName,
    /// Its home then.
    pub to: StampName,
    /// What it is moved for.
    pub why: Why,
    /// Its part of the CPU of the source's pool, where that is largest.
    pub share: f64,
    /// Bytes a second that it is served in its busiest bin.
    pub peak_bytes_per_second: f64,
    /// Bytes that the destination has to read once.
    pub hot_set_bytes: u64,
    /// How long the destination takes to have read them, in seconds.
    pub cold_seconds: u64,
    /// Bytes a second that are read from its storage accounts meanwhile, beside what was read before.
    pub cold_read_bytes_per_second: f64,
}

/// What a registry is moved for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Why {
    /// It makes its stamp cooler.
    Relief,
    /// Its tenant gets a stamp of its own.
    Isolation,
    /// An operator said so.
    Asked,
}

/// Registries that are switched together and then watched.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Phase {
    /// From 1.
    pub index: u32,
    /// What kind of registries.
    pub kind: PhaseKind,
    /// Which, the smallest first.
    pub registries: Vec<RegistryName>,
    /// Their part of the CPU of all that moves.
    pub share: f64,
    /// How long it is watched before the next phase, in seconds.
    pub observe_seconds: u64,
    /// The pools after this phase.
    pub predictions: Vec<Prediction>,
    /// What is unusual about it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
}

/// What kind of registries a phase has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PhaseKind {
    /// Hardly used: they show that the way to the destination works.
    Idle,
    /// Some at a time.
    Medium,
    /// Alone.
    Large,
}

/// What is expected of a figure: in nine windows of ten it is between `lo` and `hi`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Interval {
    /// Half of the draws are below.
    pub median: f64,
    /// One in twenty is below.
    pub lo: f64,
    /// One in twenty is above.
    pub hi: f64,
}

/// What is expected of a pool.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Prediction {
    /// The stamp.
    pub stamp: StampName,
    /// The pool's role.
    pub role: Role,
    /// P95 as measured before.
    pub before: f64,
    /// P95 in a peak window afterwards.
    pub after: Interval,
    /// Maximum as measured before.
    pub max_before: f64,
    /// Maximum of the same window without and with what moves. Not promised: a maximum is one bin.
    pub max_after: f64,
    /// Average as measured before.
    pub avg_before: f64,
    /// Average afterwards.
    pub avg_after: f64,
    /// P95 with one node fewer.
    pub node_lost: f64,
    /// P95 if all that came were still cold: an upper bound for the first hours. That of `after` at a source.
    pub cold: f64,
    /// Bins with a node so busy that more was asked for than was measured; the interval is wider for them.
    pub censored_bins: u32,
}

/// Registries that do not move, and why not.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Rejected {
    /// Which.
    pub registries: Vec<RegistryName>,
    /// Where to; anywhere if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<StampName>,
    /// The rule.
    pub code: Code,
    /// The same with figures.
    pub words: String,
}

/// Why something is not done. The words are stable.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Code {
    /// An operator pinned the registry.
    Pinned,
    /// A registry that it has to be kept apart from is there.
    KeepApart,
    /// It moved not long ago.
    Cooldown,
    /// Something moved between these two stamps not long ago.
    PairCooldown,
    /// It came from there not long ago.
    MoveBack,
    /// Its stamp is held.
    SourceHeld,
    /// That stamp is held.
    DestinationHeld,
    /// That stamp takes no registries.
    NotActive,
    /// That stamp is for a few.
    IsolationOnly,
    /// The goal does not allow it.
    NotAsked,
    /// It is its home already.
    AtHome,
    /// That stamp lacks a pool that its home has.
    PoolsDiffer,
    /// The signal is missing, not whole, or no measurement.
    NoSignal,
    /// That stamp would be too hot.
    TooHot,
    /// That stamp would not be cooler than its home was.
    NotCooler,
    /// That stamp could not lose a node.
    NodeLost,
    /// That stamp would be too busy while its cache is cold.
    Cold,
    /// A storage account would be read too much while the cache is cold.
    StorageEgress,
    /// Moving it would hardly help.
    TooSmall,
    /// Moving it would move the problem.
    Transfer,
    /// It was not measured, so nobody knows what moving it does.
    Unmeasured,
    /// The goal is reached without it.
    NotNeeded,
    /// There is nothing of this name.
    Unknown,
}

/// What should be done beside or instead of moves. A proposal, always.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "do")]
pub enum Recommendation {
    /// A stamp for these registries: on a shared one they would be the same problem again.
    Isolate {
        /// Their home now.
        from: StampName,
        /// Which.
        registries: Vec<RegistryName>,
        /// The smallest pools that carry them, one node lost.
        pools: Vec<PoolSize>,
        /// The reason with figures.
        why: String,
    },
    /// Another way of spreading connections over the nodes: one node gets more than its part, and no move cures that.
    SpreadConnections {
        /// The stamp.
        stamp: StampName,
        /// The pool's role.
        role: Role,
        /// P95 if no node got more than others for long.
        p95: f64,
        /// The reason with figures.
        why: String,
    },
    /// More nodes or stamps: there is nowhere to move to.
    AddCapacity {
        /// Stamps that are too hot.
        stamps: Vec<StampName>,
        /// Nodes that would do, by stamp and pool.
        pools: Vec<StampPoolSize>,
        /// The reason with figures.
        why: String,
    },
    /// Fewer nodes, afterwards.
    RightSize {
        /// What and how far.
        pool: StampPoolSize,
        /// The minimum now.
        min_nodes_now: u32,
        /// The reason with figures, and what has to be over before.
        why: String,
    },
    /// Nothing.
    DoNothing {
        /// The reason with figures.
        why: String,
    },
}

/// A size for a pool of a stamp that is yet to be.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PoolSize {
    /// The pool's role.
    pub role: Role,
    /// Nodes, as large as those of the registries' home.
    pub nodes: u32,
    /// P95 of that many with one lost.
    pub node_lost: f64,
}

/// A size for a stamp's pool.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StampPoolSize {
    /// The stamp.
    pub stamp: StampName,
    /// The pool's role.
    pub role: Role,
    /// Nodes.
    pub nodes: u32,
    /// P95 of that many with one lost, growth included.
    pub node_lost: f64,
}

/// A rule that forbade what was asked.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Refusal {
    /// The rule.
    pub code: Code,
    /// What it is about: a stamp or a registry.
    pub subject: String,
    /// The rule with figures.
    pub words: String,
    /// What would satisfy it.
    pub remedy: String,
}

impl Code {
    /// The stable word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pinned => "pinned",
            Self::KeepApart => "keep_apart",
            Self::Cooldown => "cooldown",
            Self::PairCooldown => "pair_cooldown",
            Self::MoveBack => "move_back",
            Self::SourceHeld => "source_held",
            Self::DestinationHeld => "destination_held",
            Self::NotActive => "not_active",
            Self::IsolationOnly => "isolation_only",
            Self::NotAsked => "not_asked",
            Self::AtHome => "at_home",
            Self::PoolsDiffer => "pools_differ",
            Self::NoSignal => "no_signal",
            Self::TooHot => "too_hot",
            Self::NotCooler => "not_cooler",
            Self::NodeLost => "node_lost",
            Self::Cold => "cold",
            Self::StorageEgress => "storage_egress",
            Self::TooSmall => "too_small",
            Self::Transfer => "transfer",
            Self::Unmeasured => "unmeasured",
            Self::NotNeeded => "not_needed",
            Self::Unknown => "unknown",
        }
    }
}

impl Plan {
    /// The prediction for a pool, if anything moves from or to its stamp.
    pub fn prediction(&self, stamp: &StampName, role: Role) -> Option<&Prediction> {
        self.predictions.iter().find(|prediction| prediction.stamp == *stamp && prediction.role == role)
    }
}
