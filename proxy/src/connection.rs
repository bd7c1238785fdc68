//! One connection: HTTP over it, and an end that a client can resume from.
//!
//! A response that is cut ends with FIN, short of its `Content-Length`; containerd resumes after that and
//! fails after an RST. Linux sends an RST when a socket is closed with unread bytes, so a connection is
//! closed for writing first, then read dry.

use std::any::Any;
use std::convert::Infallible;
use std::panic::AssertUnwindSafe;
use std::time::Duration;

use futures_util::FutureExt;
use http::{Request, Response, StatusCode, header};
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use metrics::counter;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::Notify;

use crate::body::Body;
use crate::idle::IdleTimer;
use crate::lifecycle::{Lifecycle, State};
use crate::peer::Peer;
use crate::stand_in::StandIns;

/// The bounds of a connection.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Size of a request's line and headers, in bytes.
    pub header_bytes: usize,
    /// Headers of a request.
    pub header_count: usize,
    /// What a connection may write before others have their turn, in bytes.
    pub write_quantum_bytes: usize,
    /// Whether a plain HTTP/1.1 connection sends cached files by `sendfile`.
    pub sendfile: bool,
    /// What a TLS connection encrypts before it writes, in bytes.
    pub tls_buffer_bytes: usize,
    /// Time to the first byte, and for the TLS handshake.
    pub first_byte_timeout: Duration,
    /// Time from one response's end to the end of the next request's headers.
    pub idle_timeout: Duration,
}

/// Which HTTP a connection speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Protocol {
    Http1,
    Http2,
}

/// How long a connection without a request is kept while the node drains.
pub(crate) const FIRST_REQUEST: Duration = Duration::from_millis(500);
/// How long a connection that is over is read, so that what the client still sends draws no RST.
const LINGER: Duration = Duration::from_secs(5);
/// The same while the node ends: nothing but the kernel is then left to do it.
const LINGER_DRAINING: Duration = Duration::from_millis(200);

/// Serves requests until the client or the node is done. Dropping it resets the connection.
pub(crate) async fn serve<I, H, F>(
    mut io: I,
    protocol: Protocol,
    peer: Peer,
    stand_ins: Option<StandIns>,
    handler: &H,
    bounds: &Bounds,
    life: &Lifecycle,
) where
    I: AsyncRead + AsyncWrite + Unpin,
    H: Fn(Request<Incoming>) -> F,
    F: Future<Output = Response<Body>> + Send + 'static,
{
    let begun = Notify::new();
    let service = service_fn(|mut request: Request<Incoming>| {
        begun.notify_one();
        request.extensions_mut().insert(peer);
        if let Some(stand_ins) = &stand_ins {
            request.extensions_mut().insert(stand_ins.clone());
        }
        answer(handler(request), protocol, life.clone())
    });
    // To drain a connection that has not sent its first request is to close it, and that request may be the rest
    // of a pull that was cut elsewhere: it gets a moment to arrive.
    let drained = async {
        let begun = begun.notified();
        life.draining().await;
        let _ = tokio::time::timeout(FIRST_REQUEST, begun).await;
    };
    // A macro, since the two connection types share their methods but no trait.
    macro_rules! run {
        ($connection:expr) => {{
            let mut connection = std::pin::pin!($connection);
            let ended = tokio::select! {
                ended = connection.as_mut() => Some(ended),
                () = drained => None,
            };
            match ended {
                Some(ended) => Some(ended),
                None => {
                    connection.as_mut().graceful_shutdown();
                    tokio::select! {
                        ended = connection.as_mut() => Some(ended),
                        () = life.cutting() => None,
                    }
                }
            }
        }};
    }
    let run = async {
        match protocol {
            Protocol::Http1 => run!(
                http1::Builder::new()
                    .timer(IdleTimer::default())
                    .header_read_timeout(bounds.idle_timeout)
                    .max_headers(bounds.header_count)
                    // The whole head has to fit this buffer. It bounds what waits to be written, too: a piece larger than
                    // it goes out by itself, which costs nothing at the sizes that content comes in.
                    .max_buf_size(bounds.header_bytes)
                    .serve_connection(TokioIo::new(&mut io), service)
            ),
            Protocol::Http2 => run!(
                http2::Builder::new(TokioExecutor::new())
                    .timer(TokioTimer::new())
                    .max_header_list_size(u32::try_from(bounds.header_bytes).unwrap_or(u32::MAX))
                    .keep_alive_interval(bounds.idle_timeout)
                    .serve_connection(TokioIo::new(&mut io), service)
            ),
        }
    };
    // A handler's panic is answered; one of a body ends here, and the connection like any other that is over.
    match AssertUnwindSafe(run).catch_unwind().await.unwrap_or_else(|panic| {
        report(panic.as_ref());
        Some(Ok(()))
    }) {
        Some(Ok(())) => {}
        Some(Err(error)) => tracing::debug!(peer = %peer.addr, %error, "connection ended"),
        None => {
            counter!("dataproxy_cuts_total").increment(1);
            tracing::info!(peer = %peer.addr, "connection cut at the drain deadline");
        }
    }
    close(io, life).await;
}

/// Closes for writing, then reads until the client closes too, for a bounded time.
pub(crate) async fn close<I: AsyncRead + AsyncWrite + Unpin>(mut io: I, life: &Lifecycle) {
    let linger = if life.state() < State::Draining { LINGER } else { LINGER_DRAINING };
    let dry = async {
        io.shutdown().await?;
        // On the heap, or every open connection would have room for it.
        let mut discard = vec![0; 4096];
        while io.read(&mut discard).await? > 0 {}
        Ok::<_, std::io::Error>(())
    };
    // Either way the socket is closed next, and nothing of ours is left on it to be lost.
    let _ = tokio::time::timeout(linger, dry).await;
}

/// Keeps a panic inside its own request, and says that the connection ends while the node drains.
async fn answer(
    response: impl Future<Output = Response<Body>>,
    protocol: Protocol,
    life: Lifecycle,
) -> Result<Response<Body>, Infallible> {
    let mut response = AssertUnwindSafe(response).catch_unwind().await.unwrap_or_else(|panic| {
        report(panic.as_ref());
        let mut response = Response::new(Body::full(
            r#"{"errors":[{"code":"UNKNOWN","message":"the request failed inside the proxy"}]}"#,
        ));
        *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
        let json = header::HeaderValue::from_static("application/json");
        response.headers_mut().insert(header::CONTENT_TYPE, json);
        response
    });
    if protocol == Protocol::Http1 && life.state() >= State::Draining {
        response.headers_mut().insert(header::CONNECTION, header::HeaderValue::from_static("close"));
    }
    Ok(response)
}

fn report(panic: &(dyn Any + Send)) {
    counter!("dataproxy_request_panics_total").increment(1);
    tracing::error!(panic = words(panic), "a request panicked");
}

fn words(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("no words")
}
