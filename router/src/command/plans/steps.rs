//! The steps that a plan takes by itself, each one commit with the moves that belong to it.

use dataproxy_router_api::RegistryName;

use super::{AFTER_THE_PHASE, note, put, watched, wrong_state};
use crate::command::{Decision, Occasion, Refusal, Verb, moves};
use crate::execution::{Advance, Execution, ExecutionState, Gate, PhaseState, Verdict};
use crate::migration::{MigrationState, Progress, Terms, UnixMillis};
use crate::record::{Record, registry_key};
use crate::state::State;

/// Adds what another decision writes, and what it rests on.
pub(super) fn merge(decision: &mut Decision, other: Decision) {
    decision.puts.extend(other.puts);
    decision.deletes.extend(other.deletes);
    decision.rests_on.extend(other.rests_on);
}

pub(super) fn take(
    state: &State,
    execution: &Execution,
    step: &Advance,
    occasion: &Occasion,
) -> Result<Decision, Refusal> {
    let (id, now) = (&execution.id, occasion.now);
    let needs = |wanted: &[ExecutionState]| {
        let is = wanted.contains(&execution.state);
        if is {
            Ok(())
        } else {
            Err(wrong_state(execution, "led on", "from the state that the step was made for"))
        }
    };
    let mut next = execution.clone();
    match step {
        Advance::Waits(_) => Ok(Decision::nothing(format!("plan {id} waits"))),
        Advance::Expire => {
            needs(&[ExecutionState::Proposed, ExecutionState::Approved])?;
            next.state = ExecutionState::Expired;
            note(&mut next, now, "expired");
            Ok(put(next, format!("plan {id} has expired")))
        }
        Advance::Begin(registry) => {
            needs(&[ExecutionState::Running])?;
            begin(state, next, registry, occasion)
        }
        Advance::Observe => {
            needs(&[ExecutionState::Running])?;
            let Some((at, phase)) = next.current().and_then(|at| Some((at, next.phases.get_mut(at)?))) else {
                return Ok(Decision::nothing(format!("plan {id} has no phase left")));
            };
            if phase.state == PhaseState::Observing {
                return Ok(Decision::nothing(format!("phase {} of plan {id} is watched already", at + 1)));
            }
            (phase.state, phase.observed_since) = (PhaseState::Observing, Some(now));
            let seconds = phase.observe_seconds;
            note(&mut next, now, format!("phase {} is moved, and watched for {seconds} s", at + 1));
            Ok(put(next, format!("watches phase {} of plan {id}", at + 1)))
        }
        Advance::Pass(gate) => {
            needs(&[ExecutionState::Running])?;
            let Some(at) = watched(execution) else {
                return Err(wrong_state(execution, "led on", "while a phase is watched"));
            };
            passed(state, next, at, gate.clone(), now)
        }
        Advance::Pause(why) => {
            needs(&[ExecutionState::Running, ExecutionState::RollingBack])?;
            (next.state, next.paused) = (ExecutionState::Paused, Some(why.clone()));
            note(&mut next, now, format!("pauses: {why}"));
            Ok(put(next, format!("plan {id} pauses: {why}")))
        }
        Advance::TakePhaseBack(gate) => {
            needs(&[ExecutionState::Running])?;
            let Some(at) = watched(execution) else {
                return Err(wrong_state(execution, "led on", "while a phase is watched"));
            };
            let why = gate.words(Verdict::Fail);
            if let Some(phase) = next.phases.get_mut(at) {
                phase.gate = gate.clone();
            }
            (next.state, next.back_to) = (ExecutionState::RollingBack, Some(at + 1));
            note(&mut next, now, format!("takes phase {} back: {why}", at + 1));
            Ok(put(next, format!("takes phase {} of plan {id} back: {why}", at + 1)))
        }
        Advance::TakeBack(registry) => {
            needs(&[ExecutionState::RollingBack])?;
            take_back(state, next, registry, occasion)
        }
        Advance::IsBack => {
            needs(&[ExecutionState::RollingBack])?;
            let from = next.back_to.take().unwrap_or(1);
            for phase in next.phases.iter_mut().skip(from - 1) {
                if phase.moves.iter().any(|planned| planned.migration.is_some()) {
                    phase.state = PhaseState::TakenBack;
                }
            }
            if from == 1 {
                next.state = ExecutionState::RolledBack;
                note(&mut next, now, "all is where it was");
                return Ok(put(next, format!("rolled back plan {id}")));
            }
            let why = format!(
                "phase {from} and what came after it is taken back; abort the plan, or roll all of it back"
            );
            (next.state, next.paused) = (ExecutionState::Paused, Some(why.clone()));
            note(&mut next, now, why);
            Ok(put(next, format!("took plan {id} back to phase {from}")))
        }
    }
}

fn begin(
    state: &State,
    mut next: Execution,
    registry: &RegistryName,
    occasion: &Occasion,
) -> Result<Decision, Refusal> {
    let id = next.id.clone();
    let Some(at) = next.current() else {
        return Ok(Decision::nothing(format!("plan {id} has no phase left")));
    };
    let seconds = next.phases.get(at).map_or(0, |phase| phase.observe_seconds);
    let Some(planned) = next.move_of(registry).filter(|planned| planned.migration.is_none()) else {
        return Ok(Decision::nothing(format!("plan {id} has begun the move of {registry} already")));
    };
    let observe_seconds = seconds.saturating_add(AFTER_THE_PHASE);
    let terms = Terms { observe_seconds, ..Terms::default() };
    let (to, epoch) = (planned.to.clone(), planned.epoch);
    let reason = format!("phase {} of plan {id}", at + 1);
    let of_plan = Occasion { reason: reason.clone(), ..occasion.clone() };
    let begun = moves::begin(state, registry, &to, Some(epoch), terms, &of_plan)?;
    let Some(migration) = begun.migration.clone().filter(|_| !begun.is_nothing()) else {
        return Err(Refusal::conflict(
            "stale",
            format!("registry {registry} is with {to}, or on its way there, already"),
        ));
    };
    planned.migration = Some(migration.clone());
    if let Some(phase) = next.phases.get_mut(at) {
        phase.state = PhaseState::Moving;
    }
    note(&mut next, occasion.now, format!("begins {migration}: {registry} to {to}"));
    let mut decision = put(next, format!("{}, {reason}", begun.done));
    merge(&mut decision, begun);
    Ok(decision)
}

pub(super) fn passed(
    state: &State,
    mut next: Execution,
    at: usize,
    gate: Gate,
    now: UnixMillis,
) -> Result<Decision, Refusal> {
    let id = next.id.clone();
    let Some(phase) = next.phases.get_mut(at) else {
        return Ok(Decision::nothing(format!("plan {id} has no phase {}", at + 1)));
    };
    (phase.state, phase.gate) = (PhaseState::Passed, gate);
    let migrations: Vec<String> =
        phase.moves.iter().filter_map(|planned| planned.migration.clone()).collect();
    note(&mut next, now, format!("phase {} has passed", at + 1));
    if next.current().is_none() {
        next.state = ExecutionState::Done;
        note(&mut next, now, "done");
    }
    let mut decision = put(next, format!("phase {} of plan {id} has passed", at + 1));
    for migration in &migrations {
        let observing =
            state.migration(migration).filter(|known| known.value.state == MigrationState::Observing);
        if observing.is_some() {
            let step = Verb::Step(Progress::Finish);
            let occasion = Occasion { actor: "router".into(), reason: format!("plan {id}"), now };
            merge(&mut decision, moves::steer(state, migration, &step, &occasion)?);
        }
    }
    Ok(decision)
}

fn take_back(
    state: &State,
    mut next: Execution,
    registry: &RegistryName,
    occasion: &Occasion,
) -> Result<Decision, Refusal> {
    let id = next.id.clone();
    let Some(planned) = next.move_of(registry) else {
        return Err(Refusal::not_found("registry", format!("plan {id} does not move {registry}")));
    };
    let Some(last) = state.last_move_of(registry).map(|last| &last.value) else {
        return Ok(Decision::nothing(format!("plan {id} has not moved {registry}")));
    };
    let of_plan = Occasion { reason: format!("plan {id} is taken back"), ..occasion.clone() };
    let back = if last.state.has_ended() {
        moves::begin(state, registry, &planned.from, None, Terms::default(), &of_plan)?
    } else {
        moves::steer(state, &last.id, &Verb::Rollback, &of_plan)?
    };
    // None if it had not been switched: then it never left.
    planned.taken_back_by = back.puts.iter().find_map(|record| match record {
        Record::Migration(other) if other.id != last.id => Some(other.id.clone()),
        _ => None,
    });
    note(&mut next, occasion.now, format!("takes {registry} back"));
    let mut decision = put(next, format!("{} (plan {id})", back.done));
    merge(&mut decision, back);
    Ok(decision.resting_on(registry_key(registry)))
}
