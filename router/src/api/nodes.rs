//! Reports of nodes.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use dataproxy_router_api::{NodeName, NodeReport, ReportAnswer};
use tokio::time::Instant;

use super::Context;
use super::answer::{Body, Failed, Named};
use super::auth::{Access, Role};
use super::signals::on_disk;
use crate::command::{Command, Occasion, decide};
use crate::control::ControlError;
use crate::fleet::REPORT_EVERY;
use crate::metrics;

/// Takes in what a node says of itself. What is new is written by the leader, a moment later.
pub(super) async fn report(
    State(context): State<Context>,
    access: Access,
    Named(name): Named<NodeName>,
    Body(report): Body<NodeReport>,
) -> Result<Json<ReportAnswer>, Failed> {
    access.needs(Role::Node)?;
    let taken = take(&context, &access, &name, report).await;
    metrics::reported(if taken.is_ok() { "taken" } else { "refused" });
    taken.map(Json)
}

async fn take(
    context: &Context,
    access: &Access,
    name: &NodeName,
    report: NodeReport,
) -> Result<ReportAnswer, Failed> {
    if report.node.name != *name {
        return Err(Failed::new(
            StatusCode::BAD_REQUEST,
            "name",
            format!("the report of node {} came under the name {name}", report.node.name),
        ));
    }
    let point = {
        let state = context.control.state();
        access.reports_for(&report, state.node(name).map(|record| &record.value.stamp))?;
        let occasion = Occasion { actor: String::new(), reason: String::new(), now: (context.clock)() };
        let command = Command::Reported(Box::new(report.clone()));
        decide(&state, &command, &occasion).map_err(|refusal| Failed::from(ControlError::from(refusal)))?;
        state.point()
    };
    let bins = take_bins(context, &report).await;
    context.fleet.hear(NodeReport { bins: Vec::new(), ..report }, Instant::now());
    let again_ms = u64::try_from(REPORT_EVERY.as_millis()).unwrap_or(u64::MAX);
    Ok(ReportAnswer { history: point.history, revision: point.revision, again_ms, bins })
}

/// Keeps what the node used; gives the last bin that is here. A file that fails costs nothing but that: the node tells it
/// again.
async fn take_bins(context: &Context, report: &NodeReport) -> Option<u64> {
    if report.bins.is_empty() {
        return Some(context.signals.minutes.told(report.name(), report.incarnation));
    }
    let (report, now) = (report.clone(), (context.clock)());
    let node = report.name().clone();
    let taken = on_disk(context.signals.clone(), move |signals| signals.minutes.take(&report, now)).await;
    match taken {
        Ok(taken) => {
            for (sequence, why) in &taken.refused {
                tracing::warn!(%node, sequence, why, "a bin of what a node used is refused");
            }
            Some(taken.sequence)
        }
        Err(error) => {
            tracing::error!(%node, ?error, "what a node used cannot be kept");
            None
        }
    }
}
