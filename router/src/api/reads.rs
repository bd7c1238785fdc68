//! What there is.

use axum::Json;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use dataproxy_router_api::{NodeName, RegistryName, Snapshot, StampName};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::Context;
use super::answer::{Failed, Named, Query};
use super::auth::{Access, Role};
use crate::audit::{Excerpt, Verdict, of_day, verify};
use crate::dns::{DnsEndpoint, RecordSets};
use crate::leader::Standing;
use crate::metrics;
use crate::migration::UnixMillis;
use crate::view::{self, MigrationView, NodeView, RegistryView, RestartView, StampView};

pub(super) async fn livez() -> Json<Value> {
    Json(json!({"live": true}))
}

/// 200 once the store has been read: what is known is told whatever becomes of the store.
pub(super) async fn readyz(State(context): State<Context>) -> Json<Value> {
    Json(json!({"state": "ready", "revision": context.control.state().revision()}))
}

/// What the router counts. Names of registries and nodes are not among it, so nobody is asked who they are.
pub(super) async fn metrics(State(context): State<Context>) -> impl IntoResponse {
    let standing = context.lead.borrow().clone();
    let passed = context.control.passed();
    metrics::show(&context.control.state(), &context.fleet, &standing, passed);
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], context.metrics.render())
}

pub(super) async fn status(State(context): State<Context>, access: Access) -> Result<Json<Value>, Failed> {
    access.needs(Role::Viewer)?;
    let state = context.control.state();
    let (leads, leader) = match &*context.lead.borrow() {
        Standing::Leading(_) => (true, None),
        Standing::Following { leader } => (false, leader.clone()),
    };
    Ok(Json(json!({
        "region": state.region(),
        "version": env!("CARGO_PKG_VERSION"),
        "history": state.history(),
        "revision": state.revision(),
        "leads": leads,
        "leader": leader,
        "store": &*context.store,
        "stamps": state.stamps().count(),
        "nodes": state.nodes().count(),
        "registries": state.bindings().count(),
        "moving": state.moving().count(),
    })))
}

pub(super) async fn snapshot(
    State(context): State<Context>,
    access: Access,
) -> Result<Json<Snapshot>, Failed> {
    if access.needs(Role::Node).is_err() {
        access.needs(Role::Viewer)?;
    }
    Ok(Json(context.control.state().snapshot()))
}

/// Everything that the store holds but leases and the audit, for a backup that `router restore` reads.
pub(super) async fn export(State(context): State<Context>, access: Access) -> Result<Json<Value>, Failed> {
    access.needs(Role::Admin)?;
    let export = crate::backup::export(context.control.store().as_ref()).await?;
    Ok(Json(
        serde_json::to_value(export)
            .map_err(|error| Failed::new(StatusCode::INTERNAL_SERVER_ERROR, "record", error.to_string()))?,
    ))
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Day {
    /// Any time of the day, in milliseconds since 1970 (UTC); today if absent.
    at: Option<UnixMillis>,
}

pub(super) async fn audit(
    State(context): State<Context>,
    access: Access,
    Query(Day { at }): Query<Day>,
) -> Result<Json<Excerpt>, Failed> {
    access.needs(Role::Admin)?;
    let at = at.unwrap_or_else(context.clock);
    Ok(Json(of_day(context.control.store().as_ref(), at).await?))
}

pub(super) async fn audit_verdict(
    State(context): State<Context>,
    access: Access,
) -> Result<Json<Verdict>, Failed> {
    access.needs(Role::Admin)?;
    Ok(Json(verify(context.control.store().as_ref()).await?))
}

pub(super) async fn stamps(
    State(context): State<Context>,
    access: Access,
) -> Result<Json<Vec<StampView>>, Failed> {
    access.needs(Role::Viewer)?;
    Ok(Json(view::stamps(&context.control.state())))
}

pub(super) async fn stamp(
    State(context): State<Context>,
    access: Access,
    Named(name): Named<StampName>,
) -> Result<Json<StampView>, Failed> {
    access.needs(Role::Viewer)?;
    let found = view::stamps(&context.control.state()).into_iter().find(|stamp| stamp.name == name);
    found.map(Json).ok_or_else(|| Failed::not_found("stamp", format!("there is no stamp {name}")))
}

pub(super) async fn restart(
    State(context): State<Context>,
    access: Access,
    Named(name): Named<StampName>,
) -> Result<Json<RestartView>, Failed> {
    access.needs(Role::Viewer)?;
    let state = context.control.state();
    let of = state.restart(&name);
    let of = of.ok_or_else(|| Failed::not_found("restart", format!("stamp {name} was not restarted")))?;
    let (now, wall) = (Instant::now(), (context.clock)());
    Ok(Json(view::restart(&state, &context.fleet, &of.value, now, wall)))
}

/// The names of the zone as a resource of ExternalDNS.
pub(super) async fn endpoints(
    State(context): State<Context>,
    access: Access,
) -> Result<Json<DnsEndpoint>, Failed> {
    access.needs(Role::Viewer)?;
    let zone = context.zone.as_ref().ok_or_else(|| {
        Failed::not_found("dns", "this router has no zone; `dns.zone` in its settings names one")
    })?;
    Ok(Json(DnsEndpoint::new(&RecordSets::new(zone, &context.control.state().snapshot()))))
}

pub(super) async fn registries(
    State(context): State<Context>,
    access: Access,
) -> Result<Json<Vec<RegistryView>>, Failed> {
    access.needs(Role::Viewer)?;
    let state = context.control.state();
    Ok(Json(state.bindings().map(|binding| view::registry(&state, binding)).collect()))
}

pub(super) async fn registry(
    State(context): State<Context>,
    access: Access,
    Named(name): Named<RegistryName>,
) -> Result<Json<RegistryView>, Failed> {
    access.needs(Role::Viewer)?;
    let state = context.control.state();
    let binding = state.binding(&name);
    let binding =
        binding.ok_or_else(|| Failed::not_found("registry", format!("there is no registry {name}")))?;
    Ok(Json(view::registry(&state, binding)))
}

pub(super) async fn migrations(
    State(context): State<Context>,
    access: Access,
) -> Result<Json<Vec<MigrationView>>, Failed> {
    access.needs(Role::Viewer)?;
    let (now, wall) = (Instant::now(), (context.clock)());
    let state = context.control.state();
    let shown = state.migrations().map(|of| view::migration(&state, &context.fleet, &of.value, now, wall));
    let mut shown: Vec<MigrationView> = shown.collect();
    shown.sort_by_key(|shown| std::cmp::Reverse(shown.migration.began));
    Ok(Json(shown))
}

pub(super) async fn migration(
    State(context): State<Context>,
    access: Access,
    Named(id): Named<String>,
) -> Result<Json<MigrationView>, Failed> {
    access.needs(Role::Viewer)?;
    let state = context.control.state();
    let of = state.migration(&id);
    let of = of.ok_or_else(|| Failed::not_found("migration", format!("there is no migration {id}")))?;
    let (now, wall) = (Instant::now(), (context.clock)());
    Ok(Json(view::migration(&state, &context.fleet, &of.value, now, wall)))
}

pub(super) async fn nodes(
    State(context): State<Context>,
    access: Access,
) -> Result<Json<Vec<NodeView>>, Failed> {
    access.needs(Role::Viewer)?;
    let now = Instant::now();
    let state = context.control.state();
    Ok(Json(state.nodes().map(|record| view::node(&state, &record.value, &context.fleet, now)).collect()))
}

pub(super) async fn node(
    State(context): State<Context>,
    access: Access,
    Named(name): Named<NodeName>,
) -> Result<Json<NodeView>, Failed> {
    access.needs(Role::Viewer)?;
    let state = context.control.state();
    let record = state.node(&name);
    let record = record.ok_or_else(|| Failed::not_found("node", format!("there is no node {name}")))?;
    Ok(Json(view::node(&state, &record.value, &context.fleet, Instant::now())))
}
