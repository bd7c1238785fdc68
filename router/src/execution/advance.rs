//! The next step of a plan that runs, from what is known of its moves and of what was measured.

use std::time::Duration;

use dataproxy_router_api::{Epoch, RegistryName, StampName};

use super::{Execution, ExecutionPhase, ExecutionState, Gate, PhaseState, PlannedMove, Verdict};
use crate::migration::{Migration, MigrationState, UnixMillis};

/// What the router knows beside the plan.
pub trait Sight {
    /// A migration.
    fn migration(&self, id: &str) -> Option<&Migration>;
    /// The last move of a registry, ended or not.
    fn last_move(&self, registry: &RegistryName) -> Option<&Migration>;
    /// Where a registry is bound, and its epoch.
    fn bound(&self, registry: &RegistryName) -> Option<(&StampName, Epoch)>;
    /// What a move has to wait for, in words: another of this registry, one that is between two stamps and touches one of
    /// these, a restart of one of them. One thing at a time is under way at a stamp.
    fn in_the_way(&self, planned: &PlannedMove) -> Option<String>;
    /// Why no move may begin now: a freeze, no window, no budget.
    fn held(&self) -> Option<String>;
    /// What was measured of a phase that is watched.
    fn gate(&self, execution: &Execution, phase: usize) -> Gate;
}

/// What to do with a plan now.
#[derive(Clone, Debug, PartialEq)]
pub enum Advance {
    /// Nothing yet; these are the words for what is awaited.
    Waits(String),
    /// Begin the move of this registry.
    Begin(RegistryName),
    /// All registries of the phase are with their new stamps: watch it.
    Observe,
    /// The phase has passed.
    Pass(Gate),
    /// Go no further until somebody decides.
    Pause(String),
    /// Take the phase back, then pause.
    TakePhaseBack(Gate),
    /// Take this registry back.
    TakeBack(RegistryName),
    /// All that was to be taken back is.
    IsBack,
    /// Nobody applied it in time.
    Expire,
}

/// The next step.
pub fn advance(execution: &Execution, sight: &dyn Sight, now: UnixMillis) -> Advance {
    match execution.state {
        ExecutionState::Proposed | ExecutionState::Approved if now >= execution.expires => Advance::Expire,
        ExecutionState::Proposed => Advance::Waits(missing(execution)),
        ExecutionState::Approved => Advance::Waits("it is approved and waits to be applied".into()),
        ExecutionState::Running => run(execution, sight, now),
        ExecutionState::RollingBack => back(execution, sight),
        ExecutionState::Paused => Advance::Waits(format!(
            "paused: {}",
            execution.paused.as_deref().unwrap_or("no reason was given")
        )),
        ended => Advance::Waits(format!("nothing: it is {}", ended.as_str())),
    }
}

fn missing(execution: &Execution) -> String {
    let agreed = execution.approvals.iter().filter(|approval| approval.hash == execution.hash).count();
    format!("{agreed} of {} approvals", execution.approvals_needed)
}

fn run(execution: &Execution, sight: &dyn Sight, now: UnixMillis) -> Advance {
    let Some((at, phase)) = execution.current().and_then(|at| Some((at, execution.phases.get(at)?))) else {
        return Advance::Waits("nothing: every phase has passed".into());
    };
    match phase.state {
        PhaseState::Observing => observed(execution, at, phase, sight, now),
        _ if execution.until_phase.is_some_and(|until| at >= until) => {
            Advance::Pause(format!("phase {at} has passed, and it was asked to go no further"))
        }
        _ => moved(phase, sight),
    }
}

/// The next move of a phase.
fn moved(phase: &ExecutionPhase, sight: &dyn Sight) -> Advance {
    for planned in &phase.moves {
        let registry = &planned.registry;
        let Some(migration) = planned.migration.as_deref() else { return begun(planned, sight) };
        let Some(migration) = sight.migration(migration) else {
            return Advance::Pause(format!("the move of {registry} ({migration}) is not known any more"));
        };
        match migration.state {
            MigrationState::Observing | MigrationState::Done => {}
            MigrationState::Preparing | MigrationState::Draining => {
                return Advance::Waits(format!("move {} is {}", migration.id, migration.state.as_str()));
            }
            MigrationState::Aborted | MigrationState::RolledBack => {
                let why = migration.story.last().map_or("", |entry| entry.what.as_str());
                let state = migration.state.as_str();
                return Advance::Pause(format!(
                    "move {} of registry {registry} is {state}: {why}",
                    migration.id
                ));
            }
        }
    }
    Advance::Observe
}

fn begun(planned: &PlannedMove, sight: &dyn Sight) -> Advance {
    let PlannedMove { registry, from, to, epoch, .. } = planned;
    match sight.bound(registry) {
        None => return Advance::Pause(format!("registry {registry} is no more; plan anew without it")),
        Some((home, is)) if home != from || is != *epoch => {
            return Advance::Pause(format!(
                "registry {registry} was to go from {from} at epoch {epoch} to {to}, and is with {home} at epoch {is}; plan anew"
            ));
        }
        Some(_) => {}
    }
    if let Some(why) = sight.held() {
        return Advance::Waits(why);
    }
    match sight.in_the_way(planned) {
        Some(other) => Advance::Waits(other),
        None => Advance::Begin(registry.clone()),
    }
}

fn observed(
    execution: &Execution,
    at: usize,
    phase: &ExecutionPhase,
    sight: &dyn Sight,
    now: UnixMillis,
) -> Advance {
    for planned in &phase.moves {
        let state = planned.migration.as_deref().and_then(|id| sight.migration(id)).map(|known| known.state);
        if state == Some(MigrationState::RolledBack) {
            return Advance::Pause(format!("registry {} was taken back by somebody", planned.registry));
        }
    }
    let gate = sight.gate(execution, at);
    if gate.verdict() == Verdict::Fail {
        return Advance::TakePhaseBack(gate);
    }
    let watched = now.since(phase.observed_since.unwrap_or(now));
    let left = Duration::from_secs(phase.observe_seconds).saturating_sub(watched);
    if !left.is_zero() {
        return Advance::Waits(format!("observing for another {} s", left.as_secs().max(1)));
    }
    // Watched since the middle of a peak window, the next whole one ends later: it is waited for, as long again at most.
    let over = watched >= Duration::from_secs(phase.observe_seconds.saturating_mul(2));
    match gate.verdict() {
        Verdict::Pass => Advance::Pass(gate),
        Verdict::Inconclusive if gate.is_early() && !over => {
            Advance::Waits(format!("observing: {}", gate.words(Verdict::Inconclusive)))
        }
        _ => Advance::Pause(format!("the guard cannot tell: {}", gate.words(Verdict::Inconclusive))),
    }
}

/// The next registry to be taken back, the last one that moved first. It goes by where registries are: somebody may
/// have moved them meanwhile.
fn back(execution: &Execution, sight: &dyn Sight) -> Advance {
    let before = execution.back_to.unwrap_or(1).saturating_sub(1);
    let begun = execution.phases.iter().skip(before).flat_map(|phase| &phase.moves);
    let begun = begun.filter(|planned| planned.migration.is_some());
    begun.rev().find_map(|planned| returned(planned, sight)).unwrap_or(Advance::IsBack)
}

/// What is to be done to have a registry back; nothing if it is, or is no more.
fn returned(planned: &PlannedMove, sight: &dyn Sight) -> Option<Advance> {
    let PlannedMove { registry, from, to, migration, .. } = planned;
    let (home, _) = sight.bound(registry)?;
    let last = sight.last_move(registry)?;
    let is_own = migration.as_deref() == Some(last.id.as_str());
    let by_hand = |why: String| Some(Advance::Pause(format!("{why}; move it by hand, then resume or abort")));
    match last.state {
        MigrationState::Preparing if is_own => Some(Advance::TakeBack(registry.clone())),
        MigrationState::Preparing if last.to == *from => {
            Some(Advance::Waits(format!("move {} is {}", last.id, last.state.as_str())))
        }
        _ if home == from => None,
        MigrationState::Preparing => {
            by_hand(format!("registry {registry} is moving to {} ({})", last.to, last.id))
        }
        _ if home != to => by_hand(format!("registry {registry} has gone on from {to} to {home}")),
        MigrationState::Draining | MigrationState::Observing if last.from != *from => {
            by_hand(format!("registry {registry} came to {to} from {} ({})", last.from, last.id))
        }
        MigrationState::Done | MigrationState::Aborted | MigrationState::RolledBack => {
            Some(match sight.in_the_way(planned) {
                Some(other) => Advance::Waits(other),
                None => Advance::TakeBack(registry.clone()),
            })
        }
        _ => Some(Advance::TakeBack(registry.clone())),
    }
}

#[cfg(test)]
mod tests;
