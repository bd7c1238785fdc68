//! The listener of the API: HTTP/1.1 and HTTP/2, bounded, and ended without breaking what runs.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

/// Connections at a time: every node holds one to follow, and has one more to report.
const CONNECTIONS: usize = 4096;
/// Time to a request's headers.
const HEADERS: Duration = Duration::from_secs(10);
/// Headers of a request.
const HEADER_COUNT: usize = 64;
/// Size of a request's line and headers, in bytes.
const HEADER_BYTES: usize = 16 << 10;
/// Wait after an accept that failed: out of descriptors, trying at once only spins.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// How long requests that run may take once the router ends. Streams of events end with it.
const END: Duration = Duration::from_secs(1);

/// An address that cannot be listened on.
#[derive(Debug, thiserror::Error)]
#[error("{address}: the API cannot listen there: {error}; `api.listen` moves it")]
pub struct ServeError {
    /// The address.
    pub address: SocketAddr,
    /// Why.
    pub error: std::io::Error,
}

/// Serves until `end`, then lets requests that run come to their end for a moment.
pub async fn serve(listener: TcpListener, router: axum::Router, end: CancellationToken) {
    let slots = Arc::new(Semaphore::new(CONNECTIONS));
    let graceful = GracefulShutdown::new();
    let mut builder = Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADERS)
        .max_headers(HEADER_COUNT)
        .max_buf_size(HEADER_BYTES);
    builder.http2().timer(TokioTimer::new()).keep_alive_interval(Some(HEADERS));
    loop {
        let slot = tokio::select! {
            slot = Arc::clone(&slots).acquire_owned() => slot,
            () = end.cancelled() => break,
        };
        let Ok(slot) = slot else { return };
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = end.cancelled() => break,
        };
        let stream = match accepted {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::warn!(%error, "the API cannot accept");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        // A change is small and is to arrive now.
        let _ = stream.set_nodelay(true);
        let service = TowerToHyperService::new(router.clone());
        let (builder, watcher, end) = (builder.clone(), graceful.watcher(), end.clone());
        tokio::spawn(async move {
            // Until the first byte says which HTTP it is, no timer of the server's runs.
            let mut byte = [0];
            let first = tokio::select! {
                first = tokio::time::timeout(HEADERS, stream.peek(&mut byte)) => first,
                () = end.cancelled() => return,
            };
            if matches!(first, Ok(Ok(1))) {
                let connection = builder.serve_connection(TokioIo::new(stream), service).into_owned();
                // What a client does wrong is its own to see.
                let _ = watcher.watch(connection).await;
            }
            drop(slot);
        });
    }
    drop(listener);
    let _ = tokio::time::timeout(END, graceful.shutdown()).await;
}
