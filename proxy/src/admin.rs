//! What an operator and a load balancer see of a node, on a listener, a thread and a runtime of its own: a node
//! that is busy with pulls still says that it lives.

use std::net::TcpListener;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use axum::extract::State as Shared;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use dataproxy_router_api::{NodeName, RegionName, Role, StampName};
use serde_json::json;
use tokio_util::sync::CancellationToken;

use crate::bindings::feed::Feed;
use crate::lifecycle::{Lifecycle, State};
use crate::metrics::Registry;
use crate::minutes::Minutes;
use crate::process::now_seconds;
use crate::tls::Certificate;

mod listener;

use listener::Bounds;
pub use listener::Listener;

/// Time between two moves of histograms' samples into their buckets.
const UPKEEP: Duration = Duration::from_secs(5);

/// Who the node is.
#[derive(Clone, Debug)]
pub struct Identity {
    /// Its name.
    pub name: NodeName,
    /// Its stamp; none for a front door.
    pub stamp: Option<StampName>,
    /// Its region.
    pub region: RegionName,
    /// What it serves.
    pub role: Role,
}

/// What the admin listener shows.
#[derive(Clone)]
pub struct View {
    /// Who the node is.
    pub identity: Identity,
    /// Where it is in its life.
    pub life: Lifecycle,
    /// Its bindings.
    pub bindings: Feed,
    /// Its certificate, where it speaks TLS.
    pub certificate: Option<Arc<Certificate>>,
    /// Its metrics.
    pub metrics: Registry,
    /// What the node used, minute by minute.
    pub minutes: Arc<Minutes>,
    /// Brings up to date what is only read off at a scrape.
    pub refresh: Arc<dyn Fn() + Send + Sync>,
}

/// The admin thread. Dropping it ends the listener and waits for the thread.
#[derive(Debug)]
pub struct Admin {
    end: CancellationToken,
    thread: Option<JoinHandle<()>>,
}

impl Admin {
    /// Serves on a bound listener, and control on its own where there is one, from a thread of its own.
    ///
    /// # Errors
    /// The system gives no thread or runtime.
    pub fn start(
        listener: TcpListener,
        view: View,
        control: Option<(Listener, Router)>,
    ) -> std::io::Result<Self> {
        Self::bounded(listener, view, control, Bounds::default())
    }

    fn bounded(
        listener: TcpListener,
        view: View,
        control: Option<(Listener, Router)>,
        bounds: Bounds,
    ) -> std::io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let end = CancellationToken::new();
        let ended = end.clone();
        let metrics = view.metrics.clone();
        let served: Vec<_> = [(Listener::Tcp(listener), router(view))].into_iter().chain(control).collect();
        let thread = std::thread::Builder::new().name("admin".to_owned()).spawn(move || {
            runtime.block_on(async {
                let upkeep = async {
                    loop {
                        tokio::time::sleep(UPKEEP).await;
                        metrics.upkeep();
                    }
                };
                let served = served.into_iter().map(|(listener, router)| async move {
                    match listener.open() {
                        Ok(open) => open.serve(router, bounds).await,
                        Err(error) => tracing::error!(%error, "the admin listener ended"),
                    }
                });
                tokio::select! {
                    _ = futures_util::future::join_all(served) => {}
                    () = upkeep => {}
                    () = ended.cancelled() => {}
                }
            });
        })?;
        Ok(Self { end, thread: Some(thread) })
    }
}

impl Drop for Admin {
    fn drop(&mut self) {
        self.end.cancel();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn router(view: View) -> Router {
    let started = Instant::now();
    Router::new()
        .route("/livez", get(|| async { Json(json!({"live": true})) }))
        .route("/readyz", get(readyz))
        .route("/metrics", get(metrics))
        .route("/v1/bindings", get(bindings))
        .route("/v1/node", get(move |view| node(view, started)))
        .fallback(|| async {
            error(
                StatusCode::NOT_FOUND,
                "there is nothing here; /livez, /readyz, /metrics, /v1/bindings and /v1/node are",
            )
        })
        .method_not_allowed_fallback(|| async {
            error(StatusCode::METHOD_NOT_ALLOWED, "this can only be read: GET and HEAD are allowed")
        })
        .with_state(view)
}

pub(crate) fn error(status: StatusCode, message: &str) -> Response {
    (status, Json(json!({"error": message}))).into_response()
}

/// 200 while the node wants traffic, else 503; the body says why either way.
async fn readyz(Shared(view): Shared<View>) -> Response {
    let state = view.life.state();
    let status = if state == State::Ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let bindings = view.bindings.shown();
    let name = &view.identity.name;
    let body = json!({
        "state": state.as_str(),
        "node": name,
        "bindings_revision": bindings.revision,
        "bindings_source": bindings.source,
    });
    (status, Json(body)).into_response()
}

async fn metrics(Shared(view): Shared<View>) -> Response {
    (view.refresh)();
    crate::metrics::show_state(view.life.state());
    let mut text = view.metrics.render();
    view.minutes.show(&view.identity, now_seconds() as u64, &mut text);
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], text).into_response()
}

async fn bindings(Shared(view): Shared<View>) -> Response {
    Json(view.bindings.bindings().current().snapshot()).into_response()
}

async fn node(Shared(view): Shared<View>, started: Instant) -> Response {
    let Identity { name, stamp, region, role } = &view.identity;
    Json(json!({
        "name": name,
        "stamp": stamp,
        "region": region,
        "role": role,
        "version": env!("CARGO_PKG_VERSION"),
        "state": view.life.state().as_str(),
        "uptime_seconds": started.elapsed().as_secs(),
        "bindings": view.bindings.shown(),
        "certificate_error": view.certificate.as_ref().and_then(|certificate| certificate.error()).as_deref(),
    }))
    .into_response()
}

#[cfg(test)]
mod tests;
