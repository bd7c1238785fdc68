//! Signals: hot-node P95 and who causes it.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use dataproxy_router_api::{RegistryName, Role as Duty, StampName};
use serde::Deserialize;

use super::Context;
use super::answer::{Failed, Named, Query};
use super::auth::{Access, Role};
use crate::minutes::FileError;
use crate::signals::{Attribution, PoolSeries, PoolSignal, Signals};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Of {
    /// Only pools of this role.
    pool: Option<Duty>,
}

pub(super) async fn signals(
    State(context): State<Context>,
    access: Access,
    Query(of): Query<Of>,
) -> Result<Json<Vec<PoolSignal>>, Failed> {
    access.needs(Role::Viewer)?;
    let pools = context.signals.gather(&context.control.state(), (context.clock)());
    let mut found = on_disk(context.signals, move |signals| signals.all(&pools)).await?;
    found.retain(|signal| of.pool.is_none_or(|pool| signal.pool == pool));
    Ok(Json(found))
}

pub(super) async fn signal(
    State(context): State<Context>,
    access: Access,
    Named((stamp, pool)): Named<(StampName, Duty)>,
) -> Result<Json<PoolSeries>, Failed> {
    access.needs(Role::Viewer)?;
    let pools = context.signals.gather(&context.control.state(), (context.clock)());
    let of = stamp.clone();
    let found = on_disk(context.signals, move |signals| signals.one(&pools, &of, pool)).await?;
    let absent =
        || Failed::not_found("pool", format!("no node of that pool of stamp {stamp} has told what it used"));
    found.map(Json).ok_or_else(absent)
}

pub(super) async fn attribution(
    State(context): State<Context>,
    access: Access,
    Named(name): Named<RegistryName>,
) -> Result<Json<Attribution>, Failed> {
    access.needs(Role::Viewer)?;
    let pools = {
        let state = context.control.state();
        if state.binding(&name).is_none() {
            return Err(Failed::not_found("registry", format!("there is no registry {name}")));
        }
        context.signals.gather(&state, (context.clock)())
    };
    Ok(Json(on_disk(context.signals, move |signals| signals.attribution(&pools, &name)).await?))
}

/// What is read from the file is read where it holds up nobody.
pub(super) async fn on_disk<T: Send + 'static>(
    signals: Signals,
    work: impl FnOnce(&Signals) -> Result<T, FileError> + Send + 'static,
) -> Result<T, Failed> {
    let failed = |why: String| Failed::new(StatusCode::INTERNAL_SERVER_ERROR, "minutes", why);
    let done = tokio::task::spawn_blocking(move || work(&signals)).await;
    done.map_err(|error| failed(error.to_string()))?.map_err(|error| failed(error.to_string()))
}
