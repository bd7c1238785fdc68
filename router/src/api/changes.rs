//! What is asked for.

use axum::Json;
use axum::extract::State;
use dataproxy_router_api::{AccountName, Epoch, NodeName, RegistryName, StampName, StampState};
use serde::Deserialize;

use super::Context;
use super::answer::{Body, Changed, Failed, Named, Query};
use super::auth::{Access, Role};
use crate::command::{Command, Occasion, RegistrySpec, RestartVerb, Verb, Wish, decide};
use crate::control::ControlError;
use crate::migration::Terms;
use crate::restart::RestartTerms;
use crate::view;

/// What every change takes.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Manner {
    /// Why, for the audit.
    #[serde(default)]
    reason: String,
    /// Only say what would be done.
    #[serde(default)]
    dry_run: bool,
    /// The epoch that the caller has seen; any if absent.
    if_epoch: Option<Epoch>,
}

pub(super) async fn change(
    context: &Context,
    access: &Access,
    needed: Role,
    manner: Manner,
    command: Command,
) -> Result<Json<Changed>, Failed> {
    access.needs(needed)?;
    let reason: String = manner.reason.chars().take(500).collect();
    let occasion = Occasion { actor: access.actor.clone(), reason, now: (context.clock)() };
    if manner.dry_run {
        let state = context.control.state();
        let decision = decide(&state, &command, &occasion).map_err(ControlError::from)?;
        let steps = match &command {
            Command::Move { registry, to, .. } => view::steps(&state, registry, to),
            Command::Restart { stamp, terms } if !decision.is_nothing() => {
                view::restart_steps(&state, stamp, terms)
            }
            _ => Vec::new(),
        };
        return Ok(Json(Changed {
            changed: !decision.is_nothing(),
            done: decision.done,
            revision: state.revision(),
            migration: decision.migration,
            steps,
        }));
    }
    let done = context.control.execute(&command, &occasion, None).await?;
    Ok(Json(Changed {
        changed: !done.decision.is_nothing(),
        done: done.decision.done,
        revision: done.revision,
        migration: done.decision.migration,
        steps: Vec::new(),
    }))
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct StampBody {
    /// Its storage accounts; those that it has, if absent.
    accounts: Option<Vec<AccountName>>,
    /// What it takes on; what it does, if absent.
    state: Option<StampState>,
}

pub(super) async fn put_stamp(
    State(context): State<Context>,
    access: Access,
    Named(name): Named<StampName>,
    Query(manner): Query<Manner>,
    Body(StampBody { accounts, state }): Body<StampBody>,
) -> Result<Json<Changed>, Failed> {
    change(&context, &access, Role::Admin, manner, Command::PutStamp { name, accounts, state }).await
}

/// How a stamp is to be restarted; what is absent is as usual.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RestartBody {
    max_unavailable: Option<u32>,
    deadline_seconds: Option<u32>,
    back_seconds: Option<u32>,
    settle_seconds: Option<u32>,
}

pub(super) async fn restart_stamp(
    State(context): State<Context>,
    access: Access,
    Named(stamp): Named<StampName>,
    Query(manner): Query<Manner>,
    Body(body): Body<RestartBody>,
) -> Result<Json<Changed>, Failed> {
    let usual = RestartTerms::default();
    let terms = RestartTerms {
        max_unavailable: body.max_unavailable.unwrap_or(usual.max_unavailable),
        deadline_seconds: body.deadline_seconds.unwrap_or(usual.deadline_seconds),
        back_seconds: body.back_seconds.unwrap_or(usual.back_seconds),
        settle_seconds: body.settle_seconds.unwrap_or(usual.settle_seconds),
    };
    change(&context, &access, Role::Operator, manner, Command::Restart { stamp, terms }).await
}

/// What can be asked of a restart.
pub(super) const RESTART_VERBS: [&str; 3] = ["pause", "resume", "abort"];

pub(super) async fn steer_restart(
    State(context): State<Context>,
    access: Access,
    Named((stamp, verb)): Named<(StampName, String)>,
    Query(manner): Query<Manner>,
) -> Result<Json<Changed>, Failed> {
    let verb = match verb.as_str() {
        "pause" => RestartVerb::Pause,
        "resume" => RestartVerb::Resume,
        "abort" => RestartVerb::Abort,
        other => {
            let verbs = RESTART_VERBS.join(", ");
            return Err(Failed::not_found(
                "verb",
                format!("{other:?} is nothing that a restart does; {verbs} are"),
            ));
        }
    };
    change(&context, &access, Role::Operator, manner, Command::SteerRestart { stamp, verb }).await
}

pub(super) async fn put_registry(
    State(context): State<Context>,
    access: Access,
    Named(registry): Named<RegistryName>,
    Query(manner): Query<Manner>,
    Body(spec): Body<RegistrySpec>,
) -> Result<Json<Changed>, Failed> {
    let if_epoch = manner.if_epoch;
    change(&context, &access, Role::Admin, manner, Command::PutRegistry { registry, spec, if_epoch }).await
}

pub(super) async fn remove_registry(
    State(context): State<Context>,
    access: Access,
    Named(registry): Named<RegistryName>,
    Query(manner): Query<Manner>,
) -> Result<Json<Changed>, Failed> {
    let if_epoch = manner.if_epoch;
    change(&context, &access, Role::Admin, manner, Command::RemoveRegistry { registry, if_epoch }).await
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct MoveBody {
    /// Where to.
    to: StampName,
    /// Its times.
    #[serde(default)]
    terms: TermsBody,
}

/// The times of a move as they are asked for: one that is not known is refused. What is kept may have more, of a later
/// version.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct TermsBody {
    prepare_seconds: Option<u64>,
    quiet_seconds: Option<u64>,
    drain_seconds: Option<u64>,
    observe_seconds: Option<u64>,
}

impl From<TermsBody> for Terms {
    fn from(body: TermsBody) -> Self {
        let usual = Self::default();
        Self {
            prepare_seconds: body.prepare_seconds.unwrap_or(usual.prepare_seconds),
            quiet_seconds: body.quiet_seconds.unwrap_or(usual.quiet_seconds),
            drain_seconds: body.drain_seconds.unwrap_or(usual.drain_seconds),
            observe_seconds: body.observe_seconds.unwrap_or(usual.observe_seconds),
        }
    }
}

pub(super) async fn move_registry(
    State(context): State<Context>,
    access: Access,
    Named(registry): Named<RegistryName>,
    Query(manner): Query<Manner>,
    Body(MoveBody { to, terms }): Body<MoveBody>,
) -> Result<Json<Changed>, Failed> {
    let (if_epoch, terms) = (manner.if_epoch, terms.into());
    change(&context, &access, Role::Operator, manner, Command::Move { registry, to, if_epoch, terms }).await
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct PurgeBody {
    /// The repository, if not all.
    repository: Option<String>,
    /// The digest, if not all.
    digest: Option<String>,
}

pub(super) async fn purge(
    State(context): State<Context>,
    access: Access,
    Named(registry): Named<RegistryName>,
    Query(manner): Query<Manner>,
    Body(PurgeBody { repository, digest }): Body<PurgeBody>,
) -> Result<Json<Changed>, Failed> {
    let command = Command::Purge { registry, repository, digest };
    change(&context, &access, Role::Operator, manner, command).await
}

/// What can be asked of a move.
pub(super) const VERBS: [&str; 5] = ["pause", "resume", "abort", "rollback", "finish"];

pub(super) async fn steer(
    State(context): State<Context>,
    access: Access,
    Named((id, verb)): Named<(String, String)>,
    Query(manner): Query<Manner>,
) -> Result<Json<Changed>, Failed> {
    let verb = match verb.as_str() {
        "pause" => Verb::Pause,
        "resume" => Verb::Resume,
        "abort" => Verb::Abort,
        "rollback" => Verb::Rollback,
        "finish" => Verb::Finish,
        other => {
            return Err(Failed::not_found(
                "verb",
                format!("{other:?} is nothing that a migration does; {} are", VERBS.join(", ")),
            ));
        }
    };
    change(&context, &access, Role::Operator, manner, Command::Steer { id, verb }).await
}

pub(super) async fn node_intent(
    State(context): State<Context>,
    access: Access,
    Named(name): Named<NodeName>,
    Query(manner): Query<Manner>,
    Body(wish): Body<Wish>,
) -> Result<Json<Changed>, Failed> {
    change(&context, &access, Role::Operator, manner, Command::Node { name, wish }).await
}

pub(super) async fn forget_node(
    State(context): State<Context>,
    access: Access,
    Named(name): Named<NodeName>,
    Query(manner): Query<Manner>,
) -> Result<Json<Changed>, Failed> {
    let answer =
        change(&context, &access, Role::Admin, manner, Command::ForgetNode { name: name.clone() }).await?;
    if context.control.state().node(&name).is_none() {
        context.fleet.forget(&name);
    }
    Ok(answer)
}
