//! A plan as it is handed in, and what has changed since it was made.

use dataproxy_planner::Plan;
use dataproxy_router_api::{RegistryName, StampName, StampState};
use serde_json::Value;

use super::{tell, wrong_state};
use crate::command::{Decision, Occasion, Refusal, registries};
use crate::execution::{Execution, ExecutionPhase, ExecutionState, Gate, PhaseState, PlannedMove};
use crate::migration::UnixMillis;
use crate::record::{PlanRecord, Record};
use crate::state::State;

/// Most moves of one phase: all are made final in one commit.
pub const MOVES_OF_A_PHASE: usize = 40;

/// A plan as it is handed in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proposal {
    /// Its id.
    pub id: String,
    /// Its hash.
    pub hash: String,
    /// The plan, as the planner wrote it.
    pub plan: Value,
    /// Its phases.
    pub phases: Vec<ProposedPhase>,
    /// Until when it may be approved and applied; the policy may say earlier.
    pub expires: UnixMillis,
}

impl Proposal {
    /// A plan as the planner made it.
    ///
    /// # Errors
    /// A [`Refusal`] of one that was edited since, that rules forbid, or that moves nothing.
    pub fn of(plan: &Plan) -> Result<Self, Refusal> {
        let Plan { id, hash, .. } = plan;
        if plan.expected_hash() != *hash || *id != format!("p-{}", &hash[..12.min(hash.len())]) {
            return Err(Refusal::invalid(
                "plan-edited",
                format!("plan {id} says something else than its hash stands for: it was edited; plan anew"),
            ));
        }
        if let Some(refusal) = plan.refusals.first() {
            let why = format!(
                "plan {id} is against {}: {}; {}",
                refusal.code.as_str(),
                refusal.words,
                refusal.remedy
            );
            return Err(Refusal::conflict("plan-refused", why));
        }
        let ends = |registry: &RegistryName| {
            let planned = plan.moves.iter().find(|planned| planned.registry == *registry);
            planned.map(|planned| (registry.clone(), planned.from.clone(), planned.to.clone()))
        };
        let phase = |phase: &dataproxy_planner::Phase| ProposedPhase {
            name: format!("{:?}", phase.kind).to_lowercase(),
            moves: phase.registries.iter().filter_map(ends).collect(),
            observe_seconds: phase.observe_seconds,
        };
        let plan_text = serde_json::to_value(plan)
            .map_err(|error| Refusal::invalid("plan", format!("plan {id} cannot be written: {error}")))?;
        Ok(Self {
            id: id.clone(),
            hash: hash.clone(),
            phases: plan.phases.iter().map(phase).collect(),
            plan: plan_text,
            expires: UnixMillis(plan.expires.saturating_mul(1000)),
        })
    }
}

/// A phase as it is handed in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProposedPhase {
    /// What it is.
    pub name: String,
    /// Registry, the home that the plan found, where it goes.
    pub moves: Vec<(RegistryName, StampName, StampName)>,
    /// How long it is watched.
    pub observe_seconds: u64,
}

pub(in crate::command) fn propose(
    state: &State,
    proposal: &Proposal,
    occasion: &Occasion,
) -> Result<Decision, Refusal> {
    let Proposal { id, hash, plan, phases, expires } = proposal;
    if let Some(known) = state.execution(id).map(|known| &known.value) {
        if known.state.has_ended() {
            return Err(wrong_state(known, "handed in", "once; plan anew"));
        }
        return Ok(Decision::nothing(format!("plan {id} is handed in already")).about(id));
    }
    if phases.iter().all(|phase| phase.moves.is_empty()) {
        return Err(Refusal::invalid(
            "plan-empty",
            "the plan moves nothing; there is nothing to approve".into(),
        ));
    }
    let policy = state.policy().map(|policy| policy.execution.clone()).unwrap_or_default();
    let expires = (*expires).min(UnixMillis(occasion.now.0 + policy.plan_lives_seconds * 1000));
    if occasion.now >= expires {
        return Err(Refusal::conflict(
            "expired",
            format!("plan {id} has expired; plan anew, for what it predicts is old"),
        ));
    }
    let phases = phases.iter().map(|phase| proposed(state, phase)).collect::<Result<Vec<_>, _>>()?;
    let mut execution = Execution {
        id: id.clone(),
        hash: hash.clone(),
        state: ExecutionState::Proposed,
        proposed_by: occasion.actor.clone(),
        proposed: occasion.now,
        expires,
        approvals_needed: policy.approvals,
        approvals: Vec::new(),
        phases,
        until_phase: None,
        paused: None,
        back_to: None,
        story: Vec::new(),
    };
    tell(&mut execution, occasion, "proposes");
    let moves: usize = execution.phases.iter().map(|phase| phase.moves.len()).sum();
    let done = format!("proposed plan {id}: {moves} moves in {} phases, hash {hash}", execution.phases.len());
    let plan = PlanRecord { id: id.clone(), hash: hash.clone(), plan: plan.clone() };
    let mut decision = Decision::put(Record::Plan(plan), done).about(id);
    decision.puts.push(Record::Execution(execution));
    Ok(decision)
}

fn proposed(state: &State, phase: &ProposedPhase) -> Result<ExecutionPhase, Refusal> {
    if phase.moves.len() > MOVES_OF_A_PHASE {
        return Err(Refusal::invalid(
            "phase-size",
            format!(
                "phase {:?} has {} moves; {MOVES_OF_A_PHASE} are allowed, so part it",
                phase.name,
                phase.moves.len()
            ),
        ));
    }
    let planned = |(registry, from, to): &(RegistryName, StampName, StampName)| {
        let binding = &registries::known(state, registry)?.value;
        if binding.home_stamp != *from {
            let home = &binding.home_stamp;
            return Err(stale(&[format!("registry {registry} is with {home} and not with {from}")]));
        }
        if state.stamp_record(to).is_none() {
            return Err(Refusal::not_found("stamp", format!("there is no stamp {to}")));
        }
        let (registry, from, to) = (registry.clone(), from.clone(), to.clone());
        Ok(PlannedMove { registry, from, to, epoch: binding.epoch, migration: None, taken_back_by: None })
    };
    Ok(ExecutionPhase {
        name: phase.name.clone(),
        moves: phase.moves.iter().map(planned).collect::<Result<_, _>>()?,
        observe_seconds: phase.observe_seconds,
        state: PhaseState::Waiting,
        observed_since: None,
        gate: Gate::default(),
    })
}

/// What has changed since a plan was made, in words: nothing if it can be carried out as it is.
pub fn changes_since(state: &State, execution: &Execution) -> Vec<String> {
    let planned = execution.phases.iter().flat_map(|phase| &phase.moves);
    let open = planned.filter(|planned| planned.migration.is_none());
    open.filter_map(|planned| {
        let PlannedMove { registry, from, to, epoch, .. } = planned;
        let Some(binding) = state.binding(registry).map(|binding| &binding.value) else {
            return Some(format!("registry {registry} is no more"));
        };
        if binding.home_stamp != *from || binding.epoch != *epoch {
            let (home, is) = (&binding.home_stamp, binding.epoch);
            return Some(format!("registry {registry}: {from} at epoch {epoch} → {home} at epoch {is}"));
        }
        if let Some(pin) = state.pin(registry) {
            return Some(format!("registry {registry} was pinned by {}: {}", pin.by, pin.reason));
        }
        let takes = state.stamp_record(to).map(|stamp| stamp.value.state).unwrap_or_default();
        (takes != StampState::Active)
            .then(|| format!("stamp {to} is {} and gets no registry", takes.as_str()))
    })
    .collect()
}

pub(super) fn stale(changes: &[String]) -> Refusal {
    Refusal::conflict("stale", format!("the plan is stale; plan anew: {}", changes.join("; ")))
}
