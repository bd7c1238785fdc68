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
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use serde_json::json;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::bindings::file::BindingsFile;
use crate::lifecycle::{Lifecycle, State};
use crate::metrics::Registry;
use crate::tls::Certificate;

/// Time between two moves of histograms' samples into their buckets.
const UPKEEP: Duration = Duration::from_secs(5);

/// Connections served at a time.
const CONNECTIONS: usize = 64;
/// Time to a request's headers, from the connection's start or the response before; and for a reader that stalls.
const HEADERS: Duration = Duration::from_secs(10);
/// Size of a request's line and headers, in bytes.
const HEADER_BYTES: usize = 16 << 10;
/// Headers of a request.
const HEADER_COUNT: usize = 64;
/// Wait after an accept that failed: out of descriptors, trying at once only spins.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// What the listener's clients may take of the node.
#[derive(Clone, Copy, Debug)]
struct Bounds {
    connections: usize,
    headers: Duration,
}

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
    pub bindings: Arc<BindingsFile>,
    /// Its certificate, where it speaks TLS.
    pub certificate: Option<Arc<Certificate>>,
    /// Its metrics.
    pub metrics: Registry,
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
    /// Serves on a bound listener from a thread of its own.
    ///
    /// # Errors
    /// The system gives no thread or runtime.
    pub fn start(listener: TcpListener, view: View) -> std::io::Result<Self> {
        Self::bounded(listener, view, Bounds { connections: CONNECTIONS, headers: HEADERS })
    }

    fn bounded(listener: TcpListener, view: View, bounds: Bounds) -> std::io::Result<Self> {
        listener.set_nonblocking(true)?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let end = CancellationToken::new();
        let ended = end.clone();
        let thread = std::thread::Builder::new().name("admin".to_owned()).spawn(move || {
            runtime.block_on(async {
                tokio::select! {
                    served = serve(listener, view, bounds) => if let Err(error) = served {
                        tracing::error!(%error, "the admin listener ended");
                    },
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

async fn serve(listener: TcpListener, view: View, bounds: Bounds) -> std::io::Result<()> {
    let listener = tokio::net::TcpListener::from_std(listener)?;
    let metrics = view.metrics.clone();
    let upkeep = async move {
        loop {
            tokio::time::sleep(UPKEEP).await;
            metrics.upkeep();
        }
    };
    tokio::select! {
        () = accept(listener, router(view), bounds) => Ok(()),
        () = upkeep => Ok(()),
    }
}

/// Serves as many connections as `bounds` lets, until it is dropped; the next ones wait in the kernel's queue.
async fn accept(listener: tokio::net::TcpListener, router: Router, bounds: Bounds) {
    let slots = Arc::new(Semaphore::new(bounds.connections));
    let mut connections = JoinSet::new();
    loop {
        let Ok(slot) = Arc::clone(&slots).acquire_owned().await else { return };
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::debug!(%error, "the admin listener cannot accept; trying again");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        while connections.try_join_next().is_some() {}
        // A reader that stalls inside a response ends with its connection.
        let stall = u32::try_from(bounds.headers.as_millis()).unwrap_or(u32::MAX);
        let _ = rustix::net::sockopt::set_tcp_user_timeout(&stream, stall);
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(bounds.headers)
            .max_headers(HEADER_COUNT)
            .max_buf_size(HEADER_BYTES)
            .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router.clone()));
        connections.spawn(async move {
            // What a client does wrong is its own to see.
            let _ = connection.await;
            drop(slot);
        });
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

fn error(status: StatusCode, message: &str) -> Response {
    (status, Json(json!({"error": message}))).into_response()
}

/// 200 while the node wants traffic, else 503; the body says why either way.
async fn readyz(Shared(view): Shared<View>) -> Response {
    let state = view.life.state();
    let status = if state == State::Ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let revision = view.bindings.bindings().current().snapshot().revision;
    let name = &view.identity.name;
    (status, Json(json!({"state": state.as_str(), "node": name, "bindings_revision": revision})))
        .into_response()
}

async fn metrics(Shared(view): Shared<View>) -> Response {
    (view.refresh)();
    crate::metrics::show_state(view.life.state());
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], view.metrics.render())
        .into_response()
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
        "bindings": {
            "revision": view.bindings.bindings().current().snapshot().revision,
            "error": view.bindings.error().as_deref(),
        },
        "certificate_error": view.certificate.as_ref().and_then(|certificate| certificate.error()).as_deref(),
    }))
    .into_response()
}

#[cfg(test)]
mod tests;
