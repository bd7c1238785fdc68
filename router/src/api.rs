//! The router's HTTP API: what there is, what is asked for, what nodes are told. Thin: every change is a
//! [`Command`](crate::command::Command), and every rule is there.
//!
//! Every change takes `?reason=` for the audit and `?dry_run=true`, which says what would be done and does nothing. A
//! change that is asked for twice is done once.

mod answer;
mod auth;
mod changes;
mod nodes;
mod reads;
mod serve;
mod signals;
mod stream;

use std::sync::Arc;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::routing::{delete, get, post, put};

use crate::control::Control;
use crate::fleet::Fleet;
use crate::migration::UnixMillis;
use crate::reconcile::Lead;
use crate::signals::Signals;

pub use answer::{Changed, ErrorBody};
pub use auth::{Role, TokenError, Tokens};
pub use serve::{ServeError, serve};

/// Largest report of a node, in bytes: it names every registry that moves, about 150 bytes each, and up to 60 bins.
const REPORT_BYTES: usize = 32 << 20;

/// What handlers work with.
#[derive(Clone, Debug)]
pub struct Context {
    /// The state and the way to change it.
    pub control: Arc<Control>,
    /// What nodes report.
    pub fleet: Arc<Fleet>,
    /// What nodes used.
    pub signals: Signals,
    /// Who may do what.
    pub tokens: Arc<Tokens>,
    /// Whether this router leads.
    pub lead: Lead,
    /// The time.
    pub clock: fn() -> UnixMillis,
    /// What the store is, for people.
    pub store: Arc<str>,
}

/// Every path, and who answers it.
pub fn router(context: Context) -> Router {
    Router::new()
        .route("/livez", get(reads::livez))
        .route("/readyz", get(reads::readyz))
        .route("/v1/status", get(reads::status))
        .route("/v1/snapshot", get(reads::snapshot))
        .route("/v1/export", get(reads::export))
        .route("/v1/audit", get(reads::audit))
        .route("/v1/watch", get(stream::watch))
        .route("/v1/stamps", get(reads::stamps))
        .route("/v1/stamps/{name}", get(reads::stamp).put(changes::put_stamp))
        .route("/v1/registries", get(reads::registries))
        .route(
            "/v1/registries/{name}",
            get(reads::registry).put(changes::put_registry).delete(changes::remove_registry),
        )
        .route("/v1/registries/{name}/move", post(changes::move_registry))
        .route("/v1/registries/{name}/purge", post(changes::purge))
        .route("/v1/registries/{name}/attribution", get(signals::attribution))
        .route("/v1/signals", get(signals::signals))
        .route("/v1/signals/{stamp}/{pool}", get(signals::signal))
        .route("/v1/migrations", get(reads::migrations))
        .route("/v1/migrations/{id}", get(reads::migration))
        .route("/v1/migrations/{id}/{verb}", post(changes::steer))
        .route("/v1/nodes", get(reads::nodes))
        .route("/v1/nodes/{name}", delete(changes::forget_node).get(reads::node))
        .route("/v1/nodes/{name}/intent", put(changes::node_intent))
        .route("/v1/nodes/{name}/report", post(nodes::report).layer(DefaultBodyLimit::max(REPORT_BYTES)))
        .fallback(answer::nothing_here)
        .method_not_allowed_fallback(answer::other_method)
        .with_state(context)
}

#[cfg(test)]
mod tests;
