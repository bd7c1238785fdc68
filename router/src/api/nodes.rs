//! Reports of nodes.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use dataproxy_router_api::{NodeName, NodeReport, ReportAnswer};
use tokio::time::Instant;

use super::Context;
use super::answer::{Body, Failed, Named};
use super::auth::{Access, Role};
use crate::command::{Command, Occasion, decide};
use crate::control::ControlError;
use crate::fleet::REPORT_EVERY;

/// Takes in what a node says of itself. What is new is written by the leader, a moment later.
pub(super) async fn report(
    State(context): State<Context>,
    access: Access,
    Named(name): Named<NodeName>,
    Body(report): Body<NodeReport>,
) -> Result<Json<ReportAnswer>, Failed> {
    access.needs(Role::Node)?;
    if report.node.name != name {
        return Err(Failed::new(
            StatusCode::BAD_REQUEST,
            "name",
            format!("the report of node {} came under the name {name}", report.node.name),
        ));
    }
    let point = {
        let state = context.control.state();
        access.reports_for(&report, state.node(&name).map(|record| &record.value.stamp))?;
        let occasion = Occasion { actor: String::new(), reason: String::new(), now: (context.clock)() };
        let command = Command::Reported(Box::new(report.clone()));
        decide(&state, &command, &occasion).map_err(|refusal| Failed::from(ControlError::from(refusal)))?;
        state.point()
    };
    context.fleet.hear(report, Instant::now());
    let again_ms = u64::try_from(REPORT_EVERY.as_millis()).unwrap_or(u64::MAX);
    Ok(Json(ReportAnswer { history: point.history, revision: point.revision, again_ms, bins: None }))
}
