//! A region as the model knows it: stamps, pools, registries, and how much each is used.
//!
//! Nothing here is drawn: who makes a region says it all, and [`Region::run`](crate::truth) draws flows from it.

use dataproxy_planner::{LastMove, StampKind};
use dataproxy_router_api::{RegistryName, Role, StampName, StampState};

use crate::rhythm::Rhythm;

/// Bins of a peak window of twelve hours.
pub const BINS: usize = 720;
/// Bins of a day.
pub const BINS_OF_A_DAY: usize = 1440;

/// Everything there is.
#[derive(Clone, Debug)]
pub struct Region {
    /// In any order; others name them by their place in it.
    pub stamps: Vec<Stamp>,
    /// In any order; others name them by their place in it.
    pub registries: Vec<Registry>,
    /// Scripted events, beside the flows that are drawn.
    pub storms: Vec<Storm>,
    /// How well nodes measure.
    pub measuring: Measuring,
    /// One-minute bins of a window.
    pub bins: usize,
}

/// A stamp.
#[derive(Clone, Debug)]
pub struct Stamp {
    /// Its name.
    pub name: StampName,
    /// What it takes on.
    pub state: StampState,
    /// Whom it is for.
    pub kind: StampKind,
    /// Its pools, at most one of a role.
    pub pools: Vec<Pool>,
    /// Why nothing may be moved to or from it.
    pub held: Option<String>,
}

/// Nodes of one role.
#[derive(Clone, Debug)]
pub struct Pool {
    /// Their role.
    pub role: Role,
    /// How many.
    pub nodes: usize,
    /// Cores of each.
    pub cores: f64,
    /// How busy each is without any flow, 0 to 1.
    pub idle: f64,
    /// By node, how many flows it gets beside the others; all alike if empty. What a balancer that does not balance does.
    pub lean: Vec<f64>,
}

/// A registry and how it is used.
#[derive(Clone, Debug)]
pub struct Registry {
    /// Its name.
    pub name: RegistryName,
    /// Whose it is.
    pub tenant: u32,
    /// Its home, as a place in [`Region::stamps`].
    pub home: usize,
    /// What it asks of pools, by role.
    pub uses: Vec<Use>,
    /// When it asks more and when less.
    pub rhythm: Rhythm,
    /// Bytes that a new home has to read once.
    pub hot_set_bytes: f64,
    /// Why it may not be moved.
    pub pinned: Option<String>,
    /// Places in [`Region::registries`] of those that may not share a stamp with it.
    pub keep_apart: Vec<usize>,
    /// When it last moved.
    pub last_move: Option<LastMove>,
}

/// What a registry asks of the pool with one role.
#[derive(Clone, Copy, Debug)]
pub struct Use {
    /// The role.
    pub role: Role,
    /// Flows at a time, on average over days.
    pub flows: f64,
    /// Cores that a flow of weight 1 keeps busy.
    pub cores_per_flow: f64,
    /// Bytes a second of a flow of weight 1.
    pub bytes_per_flow: f64,
    /// Sigma of the log-normal weights of flows, whose mean is 1: elephants among mice.
    pub weight_sigma: f64,
    /// Part of a minute's flows that are still there in the next, on the same node: connections that are kept.
    pub stay: f64,
}

/// One node in one bin does what is scripted, whatever was drawn for it.
#[derive(Clone, Debug)]
pub struct Storm {
    /// Place in [`Region::stamps`].
    pub stamp: usize,
    /// The pool's role.
    pub role: Role,
    /// The node's number.
    pub node: usize,
    /// The bin's number in the window; every window has it.
    pub bin: usize,
    /// Places in [`Region::registries`] and the part of the node that each keeps busy. It goes with the registry when
    /// that moves.
    pub causes: Vec<(usize, f64)>,
}

/// How well nodes measure.
#[derive(Clone, Debug)]
pub struct Measuring {
    /// Samples of thread CPU a second of one busy core: fewer are noisier shares.
    pub samples_per_core_second: f64,
    /// Sigma of a registry's own log-normal error of attribution, the same in every bin.
    pub bias_sigma: f64,
    /// Sigma of a node-minute's log-normal error.
    pub noise_sigma: f64,
    /// Part of node-minutes that never arrive.
    pub lost: f64,
    /// Stretches in which nodes report nothing.
    pub silences: Vec<Silence>,
}

/// A node that reports nothing for a while.
#[derive(Clone, Copy, Debug)]
pub struct Silence {
    /// Place in [`Region::stamps`].
    pub stamp: usize,
    /// The pool's role.
    pub role: Role,
    /// Whose reports are missing.
    pub who: Silent,
    /// First bin.
    pub from: usize,
    /// Bin after the last.
    pub to: usize,
}

/// Which node is silent.
#[derive(Clone, Copy, Debug)]
pub enum Silent {
    /// The one with this number.
    Node(usize),
    /// The hottest of each bin: overloaded nodes are those that stop reporting.
    Hottest,
}

impl Default for Measuring {
    fn default() -> Self {
        Self {
            // One poll of about 200 µs in 64 is timed.
            samples_per_core_second: 78.0,
            bias_sigma: 0.03,
            noise_sigma: 0.005,
            lost: 0.0005,
            silences: Vec::new(),
        }
    }
}

impl Stamp {
    /// An active one, for whoever is bound to it.
    pub fn shared(name: StampName, pools: Vec<Pool>) -> Self {
        Self { name, state: StampState::Active, kind: StampKind::Shared, pools, held: None }
    }

    /// Its pool with a role.
    pub fn pool(&self, role: Role) -> Option<&Pool> {
        self.pools.iter().find(|pool| pool.role == role)
    }
}

impl Pool {
    /// Nodes of 16 cores, 4 % busy with nothing to do, behind a balancer that balances.
    pub fn new(role: Role, nodes: usize) -> Self {
        Self { role, nodes, cores: 16.0, idle: 0.04, lean: Vec::new() }
    }
}

impl Registry {
    /// What it asks of a role's pool.
    pub fn of_role(&self, role: Role) -> Option<&Use> {
        self.uses.iter().find(|used| used.role == role)
    }
}

/// A registry, and where it goes.
pub type Move = (usize, usize);

impl Region {
    /// The region after some moves: nothing but homes differs.
    pub fn moved(&self, moves: &[Move]) -> Self {
        let mut region = self.clone();
        for &(registry, stamp) in moves {
            if let Some(registry) = region.registries.get_mut(registry) {
                registry.home = stamp;
            }
        }
        region
    }

    /// A registry's place, by name.
    pub fn registry(&self, name: &RegistryName) -> Option<usize> {
        self.registries.iter().position(|registry| registry.name == *name)
    }

    /// A stamp's place, by name.
    pub fn stamp(&self, name: &StampName) -> Option<usize> {
        self.stamps.iter().position(|stamp| stamp.name == *name)
    }
}
