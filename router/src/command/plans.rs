//! Plans: proposed, agreed to, applied, led on, stopped, taken back.

mod proposal;
mod steps;

use super::{Decision, Occasion, Refusal, moves};
use crate::execution::{Advance, Approval, Execution, ExecutionState, Gate, PhaseState, until_phase};
use crate::migration::{MigrationState, UnixMillis};
use crate::record::{EXECUTIONS, PLANS, Record, execution_key};
use crate::state::State;
use proposal::stale;

pub(super) use proposal::propose;
pub use proposal::{MOVES_OF_A_PHASE, Proposal, ProposedPhase, changes_since};

/// How much longer than its phase a move can be taken back by itself, in seconds: a plan that is paused for so long is
/// left, and its moves become final.
const AFTER_THE_PHASE: u64 = 14 * 24 * 3600;
/// Most words that are kept of a plan's story.
const STORY: usize = 400;

/// What can be done with a plan.
#[derive(Clone, Debug, PartialEq)]
pub enum PlanVerb {
    /// Agree to it as it is.
    Approve {
        /// The hash that the caller has seen.
        hash: String,
    },
    /// Be against it.
    Reject,
    /// Carry it out.
    Apply {
        /// The hash that the caller has seen.
        hash: String,
        /// The last phase that is to be carried out before it pauses, counted from 1; the policy's to say if absent.
        until_phase: Option<usize>,
    },
    /// Take no step until it is resumed.
    Pause,
    /// Go on.
    Resume {
        /// As in `Apply`.
        until_phase: Option<usize>,
    },
    /// End the observation of the phase now, as passed.
    Promote,
    /// Watch the phase for longer.
    Extend {
        /// By how much.
        seconds: u64,
    },
    /// Stop. What was switched stays.
    Abort,
    /// Take back what it moved.
    Rollback {
        /// The first phase to be taken back, counted from 1; all if absent.
        from_phase: Option<usize>,
    },
    /// Take the step that is due: the leader alone does.
    Step(Advance),
}

fn known<'s>(state: &'s State, id: &str) -> Result<&'s Execution, Refusal> {
    state.execution(id).map(|execution| &execution.value).ok_or_else(|| {
        Refusal::not_found("plan", format!("there is no plan {id}; stampctl plan ls shows those there are"))
    })
}

fn tell(execution: &mut Execution, occasion: &Occasion, what: &str) {
    let reason = if occasion.reason.is_empty() { String::new() } else { format!(": {}", occasion.reason) };
    note(execution, occasion.now, format!("{} {what}{reason}", occasion.actor));
}

fn note(execution: &mut Execution, now: UnixMillis, what: impl Into<String>) {
    if execution.story.len() < STORY {
        execution.tell(now, what);
    }
}

pub(super) fn steer(
    state: &State,
    id: &str,
    verb: &PlanVerb,
    occasion: &Occasion,
) -> Result<Decision, Refusal> {
    let execution = known(state, id)?;
    let decision = match verb {
        PlanVerb::Approve { hash } => approve(state, execution, hash, occasion),
        PlanVerb::Reject => reject(execution, occasion),
        PlanVerb::Apply { hash, until_phase } => apply(state, execution, hash, *until_phase, occasion),
        PlanVerb::Pause => pause(execution, occasion),
        PlanVerb::Resume { until_phase } => resume(state, execution, *until_phase, occasion),
        PlanVerb::Promote => promote(state, execution, occasion),
        PlanVerb::Extend { seconds } => extend(execution, *seconds, occasion),
        PlanVerb::Abort => abort(state, execution, occasion),
        PlanVerb::Rollback { from_phase } => rollback(execution, *from_phase, occasion),
        PlanVerb::Step(step) => steps::take(state, execution, step, occasion),
    };
    decision.map(|decision| decision.about(id))
}

fn wrong_state(execution: &Execution, verb: &str, when: &str) -> Refusal {
    let Execution { id, state, .. } = execution;
    Refusal::conflict("plan-state", format!("plan {id} is {}; it can be {verb} {when}", state.as_str()))
}

fn same_hash(execution: &Execution, hash: &str) -> Result<(), Refusal> {
    if execution.hash == hash {
        return Ok(());
    }
    let Execution { id, hash: is, .. } = execution;
    Err(Refusal::conflict(
        "plan-hash",
        format!(
            "plan {id} has the hash {is}, and what was asked is about {hash:?}; look again (stampctl plan show {id})"
        ),
    ))
}

fn put(execution: Execution, done: String) -> Decision {
    Decision::put(Record::Execution(execution), done)
}

fn approve(
    state: &State,
    execution: &Execution,
    hash: &str,
    occasion: &Occasion,
) -> Result<Decision, Refusal> {
    let id = &execution.id;
    same_hash(execution, hash)?;
    let has = execution.approvals.iter().any(|approval| approval.actor == occasion.actor);
    match execution.state {
        ExecutionState::Proposed | ExecutionState::Approved if has => {
            return Ok(Decision::nothing(format!("plan {id} has this approval already")));
        }
        ExecutionState::Proposed | ExecutionState::Approved => {}
        _ => return Err(wrong_state(execution, "approved", "before it is applied")),
    }
    not_expired(execution, occasion.now)?;
    let policy = state.policy().map(|policy| policy.execution.clone()).unwrap_or_default();
    if !policy.proposer_may_approve && execution.proposed_by == occasion.actor {
        return Err(Refusal::conflict(
            "own-plan",
            format!("{} proposed plan {id}; somebody else has to approve it (policy)", occasion.actor),
        ));
    }
    let changes = changes_since(state, execution);
    if !changes.is_empty() {
        return Err(stale(&changes));
    }
    let mut next = execution.clone();
    let (actor, at) = (occasion.actor.clone(), occasion.now);
    next.approvals.push(Approval { actor, at, hash: hash.into(), reason: occasion.reason.clone() });
    if next.is_approved() {
        next.state = ExecutionState::Approved;
    }
    tell(&mut next, occasion, "approves");
    let (has, needed) = (next.approvals.len(), next.approvals_needed);
    Ok(put(next, format!("approved plan {id}, {has} of {needed}")))
}

fn not_expired(execution: &Execution, now: UnixMillis) -> Result<(), Refusal> {
    if now < execution.expires {
        return Ok(());
    }
    let id = &execution.id;
    Err(Refusal::conflict(
        "expired",
        format!("plan {id} has expired; plan anew, for what it predicts is old"),
    ))
}

fn reject(execution: &Execution, occasion: &Occasion) -> Result<Decision, Refusal> {
    let id = &execution.id;
    match execution.state {
        ExecutionState::Rejected => return Ok(Decision::nothing(format!("plan {id} is rejected already"))),
        ExecutionState::Proposed | ExecutionState::Approved => {}
        _ => {
            return Err(wrong_state(
                execution,
                "rejected",
                "before it is applied; after that, abort or roll back",
            ));
        }
    }
    let mut next = execution.clone();
    next.state = ExecutionState::Rejected;
    tell(&mut next, occasion, "rejects");
    Ok(put(next, format!("rejected plan {id}")))
}

fn apply(
    state: &State,
    execution: &Execution,
    hash: &str,
    until_phase: Option<usize>,
    occasion: &Occasion,
) -> Result<Decision, Refusal> {
    let id = &execution.id;
    same_hash(execution, hash)?;
    match execution.state {
        ExecutionState::Running => return Ok(Decision::nothing(format!("plan {id} runs already"))),
        ExecutionState::Approved => {}
        ExecutionState::Proposed => {
            let (has, needed) = (execution.approvals.len(), execution.approvals_needed);
            return Err(Refusal::conflict(
                "approval",
                format!(
                    "plan {id} has {has} of {needed} approvals; give it one with: stampctl plan approve {id} --hash {hash}"
                ),
            ));
        }
        _ => return Err(wrong_state(execution, "applied", "once, after it was approved")),
    }
    not_expired(execution, occasion.now)?;
    has_phase(execution, until_phase)?;
    let changes = changes_since(state, execution);
    if !changes.is_empty() {
        return Err(stale(&changes));
    }
    let under_way = |other: &&Execution| other.state.is_under_way();
    if let Some(other) = state.executions().map(|other| &other.value).find(under_way) {
        return Err(Refusal::conflict(
            "one-plan",
            format!(
                "plan {} is {}; end that first, for its moves are not measured yet",
                other.id,
                other.state.as_str()
            ),
        ));
    }
    let mut next = execution.clone();
    next.state = ExecutionState::Running;
    next.until_phase = until_phase.or_else(|| usual_bound(state, execution));
    tell(&mut next, occasion, "applies");
    // Two plans that are applied at once: each rests on the other as it was.
    let others = state.executions().filter(|other| other.value.id != *id && !other.value.state.has_ended());
    let decision = put(next, format!("applied plan {id}"));
    Ok(others.take(32).fold(decision, |decision, other| decision.resting_on(execution_key(&other.value.id))))
}

/// How far a plan goes where nobody says: in review, to the end of the phase at hand.
fn usual_bound(state: &State, execution: &Execution) -> Option<usize> {
    let level = state.policy().map(|policy| policy.execution.autonomy).unwrap_or_default();
    until_phase(level, execution)
}

fn has_phase(execution: &Execution, phase: Option<usize>) -> Result<(), Refusal> {
    match phase.filter(|phase| !(1..=execution.phases.len()).contains(phase)) {
        None => Ok(()),
        Some(phase) => Err(Refusal::invalid(
            "phase",
            format!("plan {} has phases 1 to {}, and no {phase}", execution.id, execution.phases.len()),
        )),
    }
}

fn pause(execution: &Execution, occasion: &Occasion) -> Result<Decision, Refusal> {
    let id = &execution.id;
    match execution.state {
        ExecutionState::Paused => return Ok(Decision::nothing(format!("plan {id} is paused already"))),
        ExecutionState::Running | ExecutionState::RollingBack => {}
        _ => return Err(wrong_state(execution, "paused", "while it runs")),
    }
    let mut next = execution.clone();
    (next.state, next.paused) = (ExecutionState::Paused, Some(occasion.reason.clone()));
    tell(&mut next, occasion, "pauses");
    Ok(put(next, format!("paused plan {id}")))
}

fn resume(
    state: &State,
    execution: &Execution,
    until_phase: Option<usize>,
    occasion: &Occasion,
) -> Result<Decision, Refusal> {
    let id = &execution.id;
    match execution.state {
        ExecutionState::Running | ExecutionState::RollingBack => {
            return Ok(Decision::nothing(format!("plan {id} is not paused")));
        }
        ExecutionState::Paused => {}
        _ => return Err(wrong_state(execution, "resumed", "while it is paused")),
    }
    has_phase(execution, until_phase)?;
    let mut next = execution.clone();
    // What was being taken back goes on being taken back.
    next.state = if next.back_to.is_some() { ExecutionState::RollingBack } else { ExecutionState::Running };
    (next.paused, next.until_phase) = (None, until_phase.or_else(|| usual_bound(state, execution)));
    tell(&mut next, occasion, "resumes");
    Ok(put(next, format!("resumed plan {id}")))
}

fn watched(execution: &Execution) -> Option<usize> {
    let at = execution.current()?;
    (execution.phases.get(at)?.state == PhaseState::Observing).then_some(at)
}

fn promote(state: &State, execution: &Execution, occasion: &Occasion) -> Result<Decision, Refusal> {
    let under_way = matches!(execution.state, ExecutionState::Running | ExecutionState::Paused);
    let Some(at) = watched(execution).filter(|_| under_way) else {
        return Err(wrong_state(execution, "promoted", "while a phase is watched"));
    };
    let mut next = execution.clone();
    (next.state, next.paused) = (ExecutionState::Running, None);
    tell(&mut next, occasion, &format!("lets phase {} pass without the rest of its observation", at + 1));
    steps::passed(state, next, at, Gate::default(), occasion.now)
}

fn extend(execution: &Execution, seconds: u64, occasion: &Occasion) -> Result<Decision, Refusal> {
    let Some(at) = watched(execution).filter(|_| execution.state.is_under_way()) else {
        return Err(wrong_state(execution, "extended", "while a phase is watched"));
    };
    let mut next = execution.clone();
    if let Some(phase) = next.phases.get_mut(at) {
        phase.observe_seconds = phase.observe_seconds.saturating_add(seconds);
    }
    tell(&mut next, occasion, &format!("watches phase {} for {seconds} s more", at + 1));
    Ok(put(next, format!("extended the observation of phase {} of plan {}", at + 1, execution.id)))
}

fn abort(state: &State, execution: &Execution, occasion: &Occasion) -> Result<Decision, Refusal> {
    let id = &execution.id;
    match execution.state {
        ExecutionState::Aborted => return Ok(Decision::nothing(format!("plan {id} is aborted already"))),
        at if at.is_under_way() => {}
        _ => return Err(wrong_state(execution, "aborted", "while it runs; before that, reject it")),
    }
    let mut next = execution.clone();
    (next.state, next.paused) = (ExecutionState::Aborted, None);
    tell(&mut next, occasion, "aborts");
    let mut decision = put(next, format!("aborted plan {id}"));
    // A move that has not switched is given up with it; there is one at most.
    let begun = execution
        .phases
        .iter()
        .flat_map(|phase| &phase.moves)
        .filter_map(|planned| planned.migration.as_deref());
    let preparing = |id: &&str| {
        state.migration(id).is_some_and(|migration| migration.value.state == MigrationState::Preparing)
    };
    if let Some(migration) = begun.into_iter().find(preparing) {
        steps::merge(&mut decision, moves::steer(state, migration, &super::Verb::Abort, occasion)?);
    }
    Ok(decision)
}

fn rollback(
    execution: &Execution,
    from_phase: Option<usize>,
    occasion: &Occasion,
) -> Result<Decision, Refusal> {
    let id = &execution.id;
    match execution.state {
        ExecutionState::RollingBack if execution.back_to == Some(from_phase.unwrap_or(1)) => {
            return Ok(Decision::nothing(format!("plan {id} is being taken back already")));
        }
        ExecutionState::RolledBack => {
            return Ok(Decision::nothing(format!("plan {id} is rolled back already")));
        }
        at if at.is_under_way() || matches!(at, ExecutionState::Done | ExecutionState::Aborted) => {}
        _ => return Err(wrong_state(execution, "rolled back", "once it was applied")),
    }
    has_phase(execution, from_phase)?;
    let mut next = execution.clone();
    (next.state, next.paused, next.back_to) =
        (ExecutionState::RollingBack, None, Some(from_phase.unwrap_or(1)));
    tell(&mut next, occasion, "takes it back");
    Ok(put(next, format!("takes plan {id} back, from phase {}", from_phase.unwrap_or(1))))
}

/// Plans that have ended long ago, and their records.
pub(super) fn old(state: &State, is_old: impl Fn(UnixMillis) -> bool) -> Vec<String> {
    let ended = state.executions().map(|known| &known.value).filter(|execution| {
        let last = execution.story.last().map_or(execution.proposed, |entry| entry.at);
        execution.state.has_ended() && is_old(last)
    });
    ended.flat_map(|known| [format!("{EXECUTIONS}{}", known.id), format!("{PLANS}{}", known.id)]).collect()
}

#[cfg(test)]
mod tests;
