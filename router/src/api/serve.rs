//! The listener of the API: HTTP/1.1 and HTTP/2, plain or over TLS, bounded, and ended without breaking what runs.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_rustls::TlsAcceptor;
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

/// First byte of a TLS connection: a record of the handshake (RFC 8446, 5.1).
const HANDSHAKE: u8 = 22;
/// What who speaks plain HTTP to a listener of TLS is told.
const NOT_PLAIN: &str = "HTTP/1.1 400 Bad Request\r\nContent-Type: application/json\r\nContent-Length: 72\r\nConnection: close\r\n\r\n{\"error\": \"this API is served over TLS; ask by https://\", \"rule\": \"tls\"}";

/// An address that cannot be listened on.
#[derive(Debug, thiserror::Error)]
#[error("{address}: the API cannot listen there: {error}; `api.listen` moves it")]
pub struct ServeError {
    /// The address.
    pub address: SocketAddr,
    /// Why.
    pub error: std::io::Error,
}

/// Serves until `end`, then lets requests that run come to their end for a moment. Over TLS alone, if `tls` is there.
pub async fn serve(
    listener: TcpListener,
    tls: Option<TlsAcceptor>,
    router: axum::Router,
    end: CancellationToken,
) {
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
        let tls = tls.clone();
        tokio::spawn(async move {
            // What a client does wrong is its own to see.
            let connection = async {
                // Until the first byte says which HTTP it is, no timer of the server's runs.
                tokio::time::timeout(HEADERS, begun(stream, tls)).await.ok()?
            };
            let begun = tokio::select! {
                begun = connection => begun,
                () = end.cancelled() => return,
            };
            let _ = match begun {
                Some(Begun::Plain(stream)) => {
                    watcher.watch(builder.serve_connection(TokioIo::new(stream), service).into_owned()).await
                }
                Some(Begun::Tls(stream)) => {
                    watcher.watch(builder.serve_connection(TokioIo::new(stream), service).into_owned()).await
                }
                None => Ok(()),
            };
            drop(slot);
        });
    }
    drop(listener);
    let _ = tokio::time::timeout(END, graceful.shutdown()).await;
}

/// A connection that requests can be read from.
enum Begun {
    Plain(TcpStream),
    Tls(Box<tokio_rustls::server::TlsStream<TcpStream>>),
}

/// Waits for the first byte, and for the handshake if there is to be one.
async fn begun(mut stream: TcpStream, tls: Option<TlsAcceptor>) -> Option<Begun> {
    let mut byte = [0];
    if !matches!(stream.peek(&mut byte).await, Ok(1)) {
        return None;
    }
    let Some(tls) = tls else { return Some(Begun::Plain(stream)) };
    if byte[0] != HANDSHAKE {
        let _ = stream.write_all(NOT_PLAIN.as_bytes()).await;
        let _ = stream.shutdown().await;
        return None;
    }
    tls.accept(stream).await.ok().map(|stream| Begun::Tls(Box::new(stream)))
}

#[cfg(test)]
mod tests;
