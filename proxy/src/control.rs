//! The control listener: what an operator on this machine asks of the node. Off unless configured, and never reachable from
//! another machine.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, State as Shared};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use serde_json::json;

use crate::admin::{Identity, error};
use crate::asked;
use crate::connections::{Connections, Remaining};
use crate::lifecycle::{Lifecycle, Report, Source, Wish};

mod address;

pub use address::{BindError, ControlAddress, bind};

/// Most of a request's body, in bytes.
const BODY_BYTES: usize = 16 << 10;
/// Responses under way that are told one by one, the oldest first.
const REMAINING: usize = 100;

/// What control works on.
#[derive(Clone, Debug)]
pub struct Controlled {
    /// Who the node is.
    pub identity: Identity,
    /// Its life.
    pub life: Lifecycle,
    /// What runs on it.
    pub connections: Arc<Connections>,
    /// The deadline of a drain that says none.
    pub deadline: Duration,
}

/// The verbs of the control listener.
pub fn router(controlled: Controlled) -> Router {
    Router::new()
        .route("/v1/node", get(show).put(ask).delete(take_back))
        .fallback(|| async { error(StatusCode::NOT_FOUND, "there is nothing here; /v1/node is") })
        .method_not_allowed_fallback(|| async {
            error(StatusCode::METHOD_NOT_ALLOWED, "GET, PUT and DELETE are allowed")
        })
        .layer(DefaultBodyLimit::max(BODY_BYTES))
        .with_state(controlled)
}

async fn show(Shared(controlled): Shared<Controlled>) -> Response {
    Json(described(&controlled)).into_response()
}

async fn ask(Shared(controlled): Shared<Controlled>, body: Bytes) -> Response {
    let wish = match asked::parse(&body, controlled.deadline) {
        Ok(wish) => wish,
        Err(bad) => return error(StatusCode::BAD_REQUEST, &bad.to_string()),
    };
    match controlled.life.ask(Source::Operator, wish) {
        Ok(()) => show(Shared(controlled)).await,
        Err(too_late) => error(StatusCode::CONFLICT, &too_late.to_string()),
    }
}

async fn take_back(Shared(controlled): Shared<Controlled>) -> Response {
    let life = &controlled.life;
    if let Err(too_late) = life.ask(Source::Operator, Wish::Serve) {
        return error(StatusCode::CONFLICT, &too_late.to_string());
    }
    match life.others_ask(Source::Operator) {
        None => show(Shared(controlled)).await,
        Some(other) => {
            let message = format!(
                "taken back, but the {} still asks for it: the node is {}",
                other.as_str(),
                life.state().as_str()
            );
            error(StatusCode::CONFLICT, &message)
        }
    }
}

fn described(controlled: &Controlled) -> serde_json::Value {
    let Identity { name, stamp, region, role } = &controlled.identity;
    let Report { state, age, wish, asked, deadline, hard_stop, soft_cuts } = controlled.life.report();
    let counts = controlled.connections.count();
    let remaining = controlled.connections.remaining(REMAINING);
    let asked = asked.map(|(source, ago)| {
        json!({"wish": wish.as_str(), "source": source.as_str(), "seconds_ago": tenths(ago.as_secs_f64())})
    });
    json!({
        "name": name,
        "stamp": stamp,
        "region": region,
        "role": role,
        "state": state.as_str(),
        "state_seconds": tenths(age.as_secs_f64()),
        "asked": asked,
        "deadline_seconds": deadline.map(|left| tenths(left.as_secs_f64())),
        "hard_stop_seconds": hard_stop.map(|left| tenths(left.as_secs_f64())),
        "connections": {"busy": counts.busy, "idle": counts.idle, "ending": counts.ending},
        "responses": counts.responses,
        "bytes_left": counts.bytes_left,
        "cut": soft_cuts,
        "remaining_left_out": counts.responses.saturating_sub(remaining.len()),
        "remaining": remaining.iter().map(response).collect::<Vec<_>>(),
    })
}

fn response(remaining: &Remaining) -> serde_json::Value {
    let Remaining { about, peer, sent, length, age_seconds } = remaining;
    json!({
        "registry": about.as_ref().map(|about| &about.registry),
        "repository": about.as_ref().and_then(|about| about.repository.as_ref()).map(|name| name.as_str()),
        "reference": about.as_ref().and_then(|about| about.reference.as_ref()),
        "peer": peer,
        "sent_bytes": sent,
        "total_bytes": length,
        "age_seconds": tenths(*age_seconds),
        "eta_seconds": remaining.eta_seconds().map(tenths),
    })
}

fn tenths(seconds: f64) -> f64 {
    (seconds * 10.0).round() / 10.0
}

#[cfg(test)]
mod tests;
