//! The router's HTTP API: what there is, what is asked for, what nodes are told. Thin: every change is a
//! [`Command`](crate::command::Command), and every rule is there.
//!
//! Every change takes `?reason=` for the audit and `?dry_run=true`, which says what would be done and does nothing. A
//! change that is asked for twice is done once.

mod answer;
mod auth;
mod changes;
mod nodes;
mod openapi;
mod plans;
mod reads;
mod routes;
mod serve;
mod signals;
mod stream;
mod tls;

use std::sync::Arc;

use axum::Router;
use axum::extract::{MatchedPath, Request};
use axum::middleware::{self, Next};
use axum::response::Response;
use metrics_exporter_prometheus::PrometheusHandle;
use tokio::time::Instant;

use crate::control::Control;
use crate::dns::Zone;
use crate::fleet::Fleet;
use crate::metrics;
use crate::migration::UnixMillis;
use crate::reconcile::{Guard, Lead};
use crate::signals::Signals;

pub use answer::{Changed, ErrorBody};
pub use auth::{Only, Role, TokenError, Tokens};
pub use serve::{ServeError, serve};
pub use tls::{Certificate, TlsError};

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
    /// What is measured of plans.
    pub guard: Arc<dyn Guard>,
    /// The time.
    pub clock: fn() -> UnixMillis,
    /// What the store is, for people.
    pub store: Arc<str>,
    /// What the router counts.
    pub metrics: PrometheusHandle,
    /// The zone that names are of, if this router has one.
    pub zone: Option<Arc<Zone>>,
}

/// Every path, and who answers it.
pub fn router(context: Context) -> Router {
    let routed = routes::operations()
        .into_iter()
        .fold(Router::new(), |router, operation| router.route(operation.path, operation.handler));
    routed
        .fallback(answer::nothing_here)
        .method_not_allowed_fallback(answer::other_method)
        .layer(middleware::from_fn(measure))
        .with_state(context)
}

/// Counts a request under the path that the description has for it.
async fn measure(request: Request, next: Next) -> Response {
    let path = request.extensions().get::<MatchedPath>().map(|path| path.as_str().to_owned());
    let (route, method) = (path.unwrap_or_else(|| "none".to_owned()), request.method().clone());
    let began = Instant::now();
    let response = next.run(request).await;
    metrics::answered(route, method.as_str(), response.status().as_u16(), began.elapsed());
    response
}

#[cfg(test)]
mod tests;
