//! Plans and what they have to keep to: handed in, reviewed, applied, steered; pins, the freeze, the policy.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use dataproxy_planner::{Fleet, Goal, Plan, Policy, explain_registry, explain_stamp};
use dataproxy_router_api::{RegistryName, StampName};
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use super::Context;
use super::answer::{Body, Changed, Failed, Named, Query};
use super::auth::{Access, Role};
use super::changes::{Manner, change};
use crate::command::{Command, PlanVerb, Proposal};
use crate::control::ControlError;
use crate::execution::Ledger;
use crate::migration::UnixMillis;
use crate::planning::{self, Made, PlanError};
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

/// A plan that is asked for.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct MakeBody {
    /// What it is to reach.
    goal: Goal,
    /// What chance is drawn from; the same input and seed give the same plan.
    #[serde(default)]
    seed: u64,
}

/// Makes a plan and keeps nothing.
pub(super) async fn make(
    State(context): State<Context>,
    access: Access,
    Body(MakeBody { goal, seed }): Body<MakeBody>,
) -> Result<Json<Made>, Failed> {
    access.needs(Role::Viewer)?;
    planned(context, move |fleet, policy| planning::make(fleet, policy, &goal, seed)).await.map(Json)
}

/// What is to be explained.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Subject {
    /// A stamp …
    stamp: Option<StampName>,
    /// … or a registry.
    registry: Option<RegistryName>,
}

/// An explanation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Explained {
    /// For people.
    text: String,
}

/// Why a stamp is hot, or why a registry would not be moved.
pub(super) async fn explain(
    State(context): State<Context>,
    access: Access,
    Query(subject): Query<Subject>,
) -> Result<Json<Explained>, Failed> {
    access.needs(Role::Viewer)?;
    let absent = |what: &str, name: &str| Failed::not_found(what, format!("there is no {what} {name}"));
    let text = match subject {
        Subject { stamp: Some(stamp), registry: None } => {
            let of = stamp.clone();
            let text = planned(context, move |fleet, policy| Ok(explain_stamp(fleet, policy, &of))).await?;
            text.ok_or_else(|| absent("stamp", stamp.as_str()))?
        }
        Subject { stamp: None, registry: Some(registry) } => {
            let of = registry.clone();
            let explain = move |fleet: &Fleet, policy: &Policy| {
                let home = fleet
                    .registries
                    .iter()
                    .find(|known| known.name == of)
                    .map(|known| known.home_stamp.clone());
                let Some(stamp) = home else { return Ok(None) };
                let made =
                    planning::make(fleet, policy, &Goal::Relieve { stamp, to: Vec::new(), p95: None }, 0)?;
                Ok(explain_registry(fleet, policy, &made.plan, &of))
            };
            planned(context, explain).await?.ok_or_else(|| absent("registry", registry.as_str()))?
        }
        _ => {
            let why = "name one of the two: ?stamp=NAME or ?registry=NAME";
            return Err(Failed::new(StatusCode::BAD_REQUEST, "query", why));
        }
    };
    Ok(Json(Explained { text }))
}

/// Computes where it holds up nobody, on the region as it is now.
async fn planned<T: Send + 'static>(
    context: Context,
    work: impl FnOnce(&Fleet, &Policy) -> Result<T, PlanError> + Send + 'static,
) -> Result<T, Failed> {
    let failed = |status, rule: &str, why: String| Failed::new(status, rule, why);
    let compute = move || {
        // A copy: what is read from the file meanwhile is not to keep the router from following its store.
        let state = context.control.state().clone();
        let fleet = planning::fleet(&context.signals, &state, (context.clock)())?;
        let policy = planning::rules(&state)?;
        work(&fleet, &policy)
    };
    match tokio::task::spawn_blocking(compute).await {
        Ok(Ok(done)) => Ok(done),
        Ok(Err(error @ PlanError::Input(_))) => {
            Err(failed(StatusCode::CONFLICT, "plan-input", error.to_string()))
        }
        Ok(Err(error)) => Err(failed(StatusCode::INTERNAL_SERVER_ERROR, "plan", error.to_string())),
        Err(error) => Err(failed(StatusCode::INTERNAL_SERVER_ERROR, "plan", error.to_string())),
    }
}

/// What plans predicted, and what came of it.
pub(super) async fn ledger(State(context): State<Context>, access: Access) -> Result<Json<Ledger>, Failed> {
    access.needs(Role::Viewer)?;
    let state = context.control.state();
    Ok(Json(Ledger::of(state.executions().map(|execution| &execution.value))))
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
    let missing =
        |what: &str| Failed::new(StatusCode::BAD_REQUEST, "body", format!("{verb} needs {what} in its body"));
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
    let bad = |why: String| Failed::new(StatusCode::BAD_REQUEST, "policy", why);
    let planning: Policy = serde_json::from_value(policy.planning.clone().into())
        .map_err(|error| bad(format!("planning: {error}")))?;
    planning.validate().map_err(|error| bad(format!("planning: {error}")))?;
    change(&context, &access, Role::Admin, manner, Command::PutPolicy(Box::new(policy))).await
}
