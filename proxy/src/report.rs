//! What this node tells every router of itself: who it is, what it has, what it does for each registry.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use dataproxy_cpu::Times;
use dataproxy_router_api::{
    Binding, Incarnation, Node, NodeReport, NodeState, Reach, RegionName, RegistryReport, ServingState,
    StampName,
};

use crate::bindings::{Bindings, Standing, Table};
use crate::lifecycle::{Lifecycle, State};
use crate::minutes::Minutes;
use crate::reach::moving::Moving;

mod send;

pub use send::send;

/// How long a late arrival is worth telling of.
const LATELY: Duration = Duration::from_secs(60);

/// Who the node is, for as long as its process lives.
#[derive(Clone, Debug)]
pub struct Identity {
    /// Its region.
    pub region: RegionName,
    /// Its stamp.
    pub stamp: StampName,
    /// Its name, addresses and role; its state and intent are not looked at.
    pub node: Node,
    /// Its process.
    pub incarnation: Incarnation,
}

/// A process that is no other: below 2^53, and not 0.
pub fn incarnation() -> Incarnation {
    Incarnation(rand::random_range(1..1 << 53))
}

/// Makes reports.
#[derive(Debug)]
pub struct Reporter {
    identity: Identity,
    bindings: Arc<Bindings>,
    moving: Arc<Moving>,
    life: Lifecycle,
    minutes: Arc<Minutes>,
    sequence: AtomicU64,
}

impl Reporter {
    /// A reporter of these parts.
    pub fn new(
        identity: Identity,
        bindings: Arc<Bindings>,
        moving: Arc<Moving>,
        life: Lifecycle,
        minutes: Arc<Minutes>,
    ) -> Self {
        Self { identity, bindings, moving, life, minutes, sequence: AtomicU64::new(0) }
    }

    /// The state of the node, as others have to know it.
    fn state(&self) -> NodeState {
        match self.life.state() {
            State::Starting => NodeState::Joining,
            State::Ready => NodeState::Ready,
            _ => NodeState::Draining,
        }
    }

    /// What is to be told now, to a router that has acknowledged the bin of this sequence, or that has not told of any. Each
    /// report is newer than all before, whichever router it is for.
    pub fn report(&self, acknowledged: Option<u64>) -> NodeReport {
        let Identity { region, stamp, node, incarnation } = &self.identity;
        let table = self.bindings.current();
        let in_flight = table.standings().map(|(_, standing)| standing.worked().in_flight).sum();
        NodeReport {
            region: region.clone(),
            stamp: stamp.clone(),
            node: Node { state: self.state(), ..node.clone() },
            incarnation: *incarnation,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            sequence: self.sequence.fetch_add(1, Ordering::Relaxed) + 1,
            history: table.snapshot().history,
            revision: table.snapshot().revision,
            in_flight,
            registries: registries(&table, stamp, |binding| self.moving.reach(binding)),
            time_ms: Some(u64::try_from(Times::now().wall.as_millis()).unwrap_or(u64::MAX)),
            bins: acknowledged.map(|sequence| self.minutes.after(sequence)).unwrap_or_default(),
        }
    }
}

/// What the nodes of `stamp` have to tell of registries: `reach` is what was found of each that moves.
fn registries(
    table: &Table,
    stamp: &StampName,
    reach: impl Fn(&Binding) -> Option<Reach>,
) -> Vec<RegistryReport> {
    table.standings().filter_map(|(binding, standing)| told(binding, standing, stamp, &reach)).collect()
}

fn told(
    binding: &Binding,
    standing: &Standing,
    stamp: &StampName,
    reach: impl Fn(&Binding) -> Option<Reach>,
) -> Option<RegistryReport> {
    let serving = ServingState::of(binding, stamp);
    let (worked, reach) = (standing.worked(), reach(binding));
    let has_news = match serving {
        ServingState::Bound => reach.is_some(),
        ServingState::Warming => true,
        // As long as it lasts: to be quiet for how long is the router's to say.
        ServingState::Draining => worked.begun > 0,
        ServingState::Absent | ServingState::Late | ServingState::Forwarding => {
            worked.quiet.is_some_and(|quiet| quiet < LATELY)
        }
    };
    (has_news || worked.in_flight > 0).then(|| RegistryReport {
        registry: binding.registry.clone(),
        epoch: binding.epoch,
        serving,
        in_flight: worked.in_flight,
        oldest_seconds: worked.oldest.as_secs(),
        begun: worked.begun,
        quiet_ms: worked.quiet.map(|quiet| u64::try_from(quiet.as_millis()).unwrap_or(u64::MAX)),
        reach,
    })
}

#[cfg(test)]
mod tests;
