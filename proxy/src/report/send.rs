//! Sends reports: to every router by itself, so that one that is away or slow keeps none of the others waiting.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use dataproxy_router_api::{NodeState, ReportAnswer};
use futures_util::future::join_all;
use http::Method;
use http_body_util::{BodyExt, Limited};
use metrics::counter;
use tokio::time::{sleep, timeout};

use super::Reporter;
use crate::routers::{RouterUrl, Routers};

/// Time between two reports, unless a router asks for another.
const EVERY: Duration = Duration::from_secs(1);
/// What a router may ask for.
const ASKED: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(10));
/// Least time between two reports, whatever happens.
const LEAST: Duration = Duration::from_millis(20);
/// Time for an answer to end.
const PATIENCE: Duration = Duration::from_secs(2);
/// Time between two looks at the node's own state.
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// Longest answer, in bytes.
const ANSWER_MAX: usize = 64 << 10;

/// Reports to every router for as long as it is polled: each second, and at once when something changes. Safe to drop
/// at any point.
pub async fn send(reporter: &Reporter, routers: &Arc<Routers>) {
    join_all(routers.urls().iter().map(|router| to(reporter, routers, router))).await;
}

async fn to(reporter: &Reporter, routers: &Routers, router: &RouterUrl) {
    let (mut revisions, mut found) = (reporter.bindings.changes(), reporter.moving.changes());
    let mut trouble: Option<String> = None;
    // A router says first which bins it has: one of the version before takes none.
    let mut acknowledged = None;
    loop {
        revisions.mark_unchanged();
        found.mark_unchanged();
        let state = reporter.state();
        let answer = timeout(PATIENCE, ask(reporter, routers, router, acknowledged)).await;
        let answer = answer.unwrap_or_else(|_| Err("it takes too long to answer".to_owned()));
        let (outcome, again) = match &answer {
            Ok(answer) => {
                let had = std::mem::replace(&mut acknowledged, answer.bins);
                // What waits after an outage goes at once, as far as the router takes it.
                let more = answer.bins > had && answer.bins.is_some_and(|has| reporter.minutes.ended() > has);
                let again = Duration::from_millis(answer.again_ms).clamp(ASKED.0, ASKED.1);
                ("taken", if more { LEAST } else { again })
            }
            Err(_) => ("failed", EVERY),
        };
        counter!("dataproxy_reports_total", "outcome" => outcome).increment(1);
        tell(router, &mut trouble, answer.err());
        sleep(LEAST).await;
        tokio::select! {
            () = sleep(again) => {}
            changed = revisions.changed() => if changed.is_err() { return },
            changed = found.changed() => if changed.is_err() { return },
            () = leaves(reporter, state) => {}
        }
    }
}

pub(super) async fn ask(
    reporter: &Reporter,
    routers: &Routers,
    router: &RouterUrl,
    acknowledged: Option<u64>,
) -> Result<ReportAnswer, String> {
    let report = reporter.report(acknowledged);
    let json = serde_json::to_vec(&report).map_err(|error| error.to_string())?;
    let path = format!("/v1/nodes/{}/report", report.name());
    let response = routers.ask(router, Method::POST, &path, Some(Bytes::from(json))).await;
    let response = response.map_err(|error| error.to_string())?;
    let body = Limited::new(response.into_body(), ANSWER_MAX).collect().await;
    let body = body.map_err(|error| format!("its answer broke: {error}"))?.to_bytes();
    let answer: ReportAnswer =
        serde_json::from_slice(&body).map_err(|error| format!("its answer cannot be read: {error}"))?;
    routers.heard(answer.point());
    Ok(answer)
}

/// Says what is new about a router, and nothing twice.
fn tell(router: &RouterUrl, before: &mut Option<String>, now: Option<String>) {
    match (&before, &now) {
        (_, Some(why)) if before.as_ref() != Some(why) => {
            tracing::warn!(%router, why, "a router does not take this node's reports");
        }
        (Some(_), None) => tracing::info!(%router, "the router takes this node's reports"),
        _ => {}
    }
    *before = now;
}

/// Resolves once the node's state is another one.
async fn leaves(reporter: &Reporter, state: NodeState) {
    while reporter.state() == state {
        sleep(LOOK_EVERY).await;
    }
}
