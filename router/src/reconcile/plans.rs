//! Plans as the leader sees them: what is kept, what nodes report, what was measured.

use dataproxy_router_api::{Epoch, RegistryName, StampName};
use tokio::time::Instant;

use crate::command::{Command, PlanVerb};
use crate::execution::{Advance, Execution, Gate, PlannedMove, Reading, Sight, Verdict, advance};
use crate::fleet::Fleet;
use crate::migration::{Migration, MigrationState, UnixMillis};
use crate::state::State;

const HOUR_MS: u64 = 3_600_000;

/// Measures what a phase has come to. Each of them is asked, and what none of them knows is not known.
pub trait Guard: Send + Sync + std::fmt::Debug {
    /// What it says of a phase that is watched.
    fn readings(&self, state: &State, execution: &Execution, phase: usize) -> Vec<Reading>;
}

/// What a plan can be led on by.
#[derive(Clone, Copy, Debug)]
pub struct PlanSight<'s> {
    /// What is kept.
    pub state: &'s State,
    /// What nodes report.
    pub fleet: &'s Fleet,
    /// What is measured.
    pub guard: &'s dyn Guard,
    /// The time by which nodes are live.
    pub now: Instant,
    /// The time of day.
    pub wall: UnixMillis,
}

impl Sight for PlanSight<'_> {
    fn migration(&self, id: &str) -> Option<&Migration> {
        self.state.migration(id).map(|migration| &migration.value)
    }

    fn last_move(&self, registry: &RegistryName) -> Option<&Migration> {
        self.state.last_move_of(registry).map(|migration| &migration.value)
    }

    fn bound(&self, registry: &RegistryName) -> Option<(&StampName, Epoch)> {
        self.state.binding(registry).map(|binding| (&binding.value.home_stamp, binding.value.epoch))
    }

    fn in_the_way(&self, planned: &PlannedMove) -> Option<String> {
        let PlannedMove { from, to, .. } = planned;
        let between = |migration: &&Migration| {
            let switching = matches!(migration.state, MigrationState::Preparing | MigrationState::Draining);
            let ends = [&migration.from, &migration.to];
            migration.registry == planned.registry
                || (switching && (ends.contains(&from) || ends.contains(&to)))
        };
        let mut moving = self.state.moving().map(|migration| &migration.value);
        if let Some(other) = moving.find(between) {
            return Some(format!("move {} is under way at {from} or {to}", other.id));
        }
        let mut restarts = self.state.restarts().map(|restart| &restart.value);
        let restarted =
            restarts.find(|restart| restart.ended.is_none() && [from, to].contains(&&restart.stamp));
        restarted.map(|restart| format!("stamp {} is being restarted", restart.stamp))
    }

    fn held(&self) -> Option<String> {
        if let Some(freeze) = self.state.freeze(self.wall) {
            return Some(format!("frozen by {}: {}", freeze.by, freeze.reason));
        }
        let began = |within: u64| {
            let since = UnixMillis(self.wall.0.saturating_sub(within));
            self.state.migrations().filter(|migration| migration.value.began > since).count()
        };
        let policy = self.state.policy().map(|policy| policy.execution.clone()).unwrap_or_default();
        policy.holds(self.wall, began(HOUR_MS), began(24 * HOUR_MS))
    }

    fn gate(&self, execution: &Execution, phase: usize) -> Gate {
        let mut readings = self.guard.readings(self.state, execution, phase);
        readings.extend(self.destinations(execution, phase));
        Gate { readings }
    }
}

impl PlanSight<'_> {
    /// Whether the stamps that a phase moves to have nodes that serve.
    fn destinations(&self, execution: &Execution, phase: usize) -> Vec<Reading> {
        let moves = execution.phases.get(phase).map(|phase| phase.moves.as_slice()).unwrap_or_default();
        let mut stamps: Vec<&StampName> = moves.iter().map(|planned| &planned.to).collect();
        stamps.sort();
        stamps.dedup();
        let read = |stamp: &StampName| {
            let nodes = self.state.nodes_of(stamp).map(|record| &record.value.node);
            let serving: Vec<_> = nodes.filter(|node| node.in_rotation()).collect();
            let live = serving.iter().filter(|node| self.fleet.is_live(&node.name, self.now)).count();
            let serving = serving.len();
            let verdict = match (serving, live) {
                (0, _) => Verdict::Fail,
                (serving, live) if live < serving => Verdict::Inconclusive,
                _ => Verdict::Pass,
            };
            let seen = format!("stamp {stamp}: {live} of {serving} nodes in rotation report");
            Reading { check: "destination-nodes".into(), verdict, seen, is_early: false, figures: None }
        };
        stamps.into_iter().map(read).collect()
    }

    /// The next step of every plan that can take one.
    pub fn steps(&self) -> Vec<Command> {
        let open = self.state.executions().map(|execution| &execution.value);
        let step = |execution: &Execution| match advance(execution, self, self.wall) {
            Advance::Waits(_) => None,
            step => Some(Command::Plan { id: execution.id.clone(), verb: PlanVerb::Step(step) }),
        };
        open.filter(|execution| !execution.state.has_ended()).filter_map(step).collect()
    }
}

/// What a refused step of a plan comes to: it pauses, and says why.
pub(super) fn refused(command: &Command, why: &str) -> Option<Command> {
    let Command::Plan { id, verb: PlanVerb::Step(step) } = command else { return None };
    match step {
        Advance::Begin(_) | Advance::TakeBack(_) => {
            let verb = PlanVerb::Step(Advance::Pause(why.to_owned()));
            Some(Command::Plan { id: id.clone(), verb })
        }
        _ => None,
    }
}

/// Measures nothing.
#[derive(Clone, Copy, Debug)]
pub struct Unmeasured;

impl Guard for Unmeasured {
    fn readings(&self, _: &State, _: &Execution, _: usize) -> Vec<Reading> {
        Vec::new()
    }
}
