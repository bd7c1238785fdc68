//! Plans and what they have to keep to: handed in, reviewed, applied, steered; pins, the freeze, the policy.

use axum::Json;
use axum::extract::State;
use dataproxy_planner::{Plan, Policy};
use dataproxy_router_api::RegistryName;
use serde::Deserialize;
use tokio::time::Instant;

use super::Context;
use super::answer::{Body, Changed, Failed, Named, Query};
use super::auth::{Access, Role};
use super::changes::{Manner, change};
use crate::command::{Command, PlanVerb, Proposal};
use crate::control::ControlError;
use crate::migration::UnixMillis;
use crate::reconcile::PlanSight;
use crate::record::{FreezeRecord, PinRecord, PolicyRecord};
use crate::view::{self, PlanView};

fn shown(context: &Context, id: Option<&str>, whole: bool) -> Vec<PlanView> {
    let state = context.control.state();
    let (now, wall) = (Instant::now(), (context.clock)());
    let sight = PlanSight { state: &state, fleet: &context.fleet, guard: context.guard.as_ref(), now, wall };
    let asked = state.executions().map(|execution| &execution.value);
    let asked = asked.filter(|execution| id.is_none_or(|id| execution.id == id));
    let mut shown: Vec<PlanView> = asked.map(|execution| view::plan(&sight, execution, whole)).collect();
    shown.sort_by_key(|shown| std::cmp::Reverse(shown.execution.proposed));
    shown
}

pub(super) async fn plans(
    State(context): State<Context>,
    access: Access,
) -> Result<Json<Vec<PlanView>>, Failed> {
    access.needs(Role::Viewer)?;
    Ok(Json(shown(&context, None, false)))
}

pub(super) async fn plan(
    State(context): State<Context>,
    access: Access,
    Named(id): Named<String>,
) -> Result<Json<PlanView>, Failed> {
    access.needs(Role::Viewer)?;
    let found = shown(&context, Some(&id), true).pop();
    found.map(Json).ok_or_else(|| Failed::not_found("plan", format!("there is no plan {id}")))
}

/// A plan that was made before, as it was made: one that was edited is refused.
pub(super) async fn hand_in(
    State(context): State<Context>,
    access: Access,
    Query(manner): Query<Manner>,
    Body(plan): Body<Plan>,
) -> Result<Json<Changed>, Failed> {
    access.needs(Role::Operator)?;
    let proposal = Proposal::of(&plan).map_err(ControlError::from)?;
    change(&context, &access, Role::Operator, manner, Command::Propose(Box::new(proposal))).await
}

/// What some of the verbs take.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct SteerBody {
    /// The hash that the caller has seen.
    hash: Option<String>,
    /// The last phase to be carried out before a pause, counted from 1.
    until_phase: Option<usize>,
    /// The first phase to be taken back, counted from 1.
    from_phase: Option<usize>,
    /// How much longer a phase is watched.
    seconds: Option<u64>,
}

/// What a plan can be told.
pub(super) const VERBS: [&str; 9] =
    ["approve", "reject", "apply", "pause", "resume", "promote", "extend", "abort", "rollback"];

pub(super) async fn steer(
    State(context): State<Context>,
    access: Access,
    Named((id, verb)): Named<(String, String)>,
    Query(manner): Query<Manner>,
    Body(body): Body<SteerBody>,
) -> Result<Json<Changed>, Failed> {
    let SteerBody { hash, until_phase, from_phase, seconds } = body;
    let missing = |what: &str| {
        Failed::new(axum::http::StatusCode::BAD_REQUEST, "body", format!("{verb} needs {what} in its body"))
    };
    let verb = match verb.as_str() {
        "approve" => PlanVerb::Approve { hash: hash.ok_or_else(|| missing("the plan's hash"))? },
        "apply" => PlanVerb::Apply { hash: hash.ok_or_else(|| missing("the plan's hash"))?, until_phase },
        "reject" => PlanVerb::Reject,
        "pause" => PlanVerb::Pause,
        "resume" => PlanVerb::Resume { until_phase },
        "promote" => PlanVerb::Promote,
        "extend" => PlanVerb::Extend { seconds: seconds.ok_or_else(|| missing("seconds"))? },
        "abort" => PlanVerb::Abort,
        "rollback" => PlanVerb::Rollback { from_phase },
        other => {
            return Err(Failed::not_found(
                "verb",
                format!("{other:?} is nothing that a plan does; {} are", VERBS.join(", ")),
            ));
        }
    };
    change(&context, &access, Role::Operator, manner, Command::Plan { id, verb }).await
}

pub(super) async fn pins(
    State(context): State<Context>,
    access: Access,
) -> Result<Json<Vec<PinRecord>>, Failed> {
    access.needs(Role::Viewer)?;
    Ok(Json(context.control.state().pins().cloned().collect()))
}

pub(super) async fn pin(
    State(context): State<Context>,
    access: Access,
    Named(registry): Named<RegistryName>,
    Query(manner): Query<Manner>,
) -> Result<Json<Changed>, Failed> {
    change(&context, &access, Role::Operator, manner, Command::Pin { registry, stays: true }).await
}

pub(super) async fn unpin(
    State(context): State<Context>,
    access: Access,
    Named(registry): Named<RegistryName>,
    Query(manner): Query<Manner>,
) -> Result<Json<Changed>, Failed> {
    change(&context, &access, Role::Operator, manner, Command::Pin { registry, stays: false }).await
}

pub(super) async fn freeze(
    State(context): State<Context>,
    access: Access,
) -> Result<Json<Option<FreezeRecord>>, Failed> {
    access.needs(Role::Viewer)?;
    Ok(Json(context.control.state().freeze((context.clock)()).cloned()))
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct FreezeBody {
    /// Until when; until it is lifted, if absent.
    until: Option<UnixMillis>,
}

pub(super) async fn begin_freeze(
    State(context): State<Context>,
    access: Access,
    Query(manner): Query<Manner>,
    Body(FreezeBody { until }): Body<FreezeBody>,
) -> Result<Json<Changed>, Failed> {
    change(&context, &access, Role::Operator, manner, Command::Freeze { holds: true, until }).await
}

pub(super) async fn lift_freeze(
    State(context): State<Context>,
    access: Access,
    Query(manner): Query<Manner>,
) -> Result<Json<Changed>, Failed> {
    change(&context, &access, Role::Operator, manner, Command::Freeze { holds: false, until: None }).await
}

pub(super) async fn policy(
    State(context): State<Context>,
    access: Access,
) -> Result<Json<PolicyRecord>, Failed> {
    access.needs(Role::Viewer)?;
    Ok(Json(view::policy(&context.control.state())))
}

pub(super) async fn put_policy(
    State(context): State<Context>,
    access: Access,
    Query(manner): Query<Manner>,
    Body(policy): Body<PolicyRecord>,
) -> Result<Json<Changed>, Failed> {
    let bad = |why: String| Failed::new(axum::http::StatusCode::BAD_REQUEST, "policy", why);
    let planning: Policy = serde_json::from_value(policy.planning.clone().into())
        .map_err(|error| bad(format!("planning: {error}")))?;
    planning.validate().map_err(|error| bad(format!("planning: {error}")))?;
    change(&context, &access, Role::Admin, manner, Command::PutPolicy(Box::new(policy))).await
}
