//! One connection: HTTP over it, and an end that a client can resume from.
//!
//! A response that is cut ends with FIN, short of its `Content-Length`; containerd resumes after that and
//! fails after an RST. `close.rs` sees to it, `orders.rs` says when.

use std::any::Any;
use std::convert::Infallible;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use http::{Request, Response, StatusCode, header};
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use metrics::counter;
use tokio::io::{AsyncRead, AsyncWrite};

use crate::body::Body;
use crate::connections::{Entry, Running, Tracked};
use crate::idle::IdleTimer;
use crate::lifecycle::Lifecycle;
use crate::pace::Pace;
use crate::peer::Peer;
use crate::stand_in::StandIns;

mod close;
mod delivered;
mod orders;
mod streams;

pub(crate) use close::{End, close};
use orders::{Goodbye, Order, Orders};
use streams::Streams;

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

/// What a connection is.
pub(crate) struct Manner {
    pub(crate) protocol: Protocol,
    pub(crate) peer: Peer,
    /// How fast its client takes what it is sent.
    pub(crate) pace: Arc<Pace>,
    /// What stands in for bytes of files, where those can be sent from there.
    pub(crate) stand_ins: Option<StandIns>,
}

/// How long a connection may be without a request while responses are cut: who was cut comes back at once.
pub(crate) const FIRST_REQUEST: Duration = Duration::from_millis(500);

/// Serves requests until the client or the node is done. Dropping it resets the connection.
pub(crate) async fn serve<I, H, F>(
    mut io: I,
    manner: Manner,
    handler: &H,
    bounds: &Bounds,
    life: &Lifecycle,
    entry: &Entry,
) where
    I: AsyncRead + AsyncWrite + Unpin,
    H: Fn(Request<Incoming>) -> F,
    F: Future<Output = Response<Body>> + Send + 'static,
{
    let Manner { protocol, peer, pace, stand_ins } = manner;
    let connection = &entry.connection;
    if protocol == Protocol::Http2 {
        connection.is_shared();
    }
    let mut orders = Orders::new(protocol, life, entry);
    let goodbye = orders.goodbye();
    let service = service_fn(|mut request: Request<Incoming>| {
        let running = connection.begin();
        request.extensions_mut().insert(peer);
        request.extensions_mut().insert(Arc::clone(running.exchange()));
        request.extensions_mut().insert(Arc::clone(&pace));
        if let Some(stand_ins) = &stand_ins {
            request.extensions_mut().insert(stand_ins.clone());
        }
        answer(handler(request), protocol, life.clone(), goodbye, running)
    });
    // A macro, since the two connection types share their methods but no trait.
    macro_rules! run {
        ($http:expr) => {{
            let mut http = std::pin::pin!($http);
            loop {
                let order = tokio::select! {
                    biased;
                    ended = http.as_mut() => {
                        if let Err(error) = ended {
                            tracing::debug!(peer = %peer.addr, %error, "connection ended");
                        }
                        break End::Whole;
                    }
                    order = orders.next() => order,
                };
                match order {
                    Order::Finish => http.as_mut().graceful_shutdown(),
                    // Here, before the response is dropped.
                    Order::Cut | Order::Stop => break orders.cut(order),
                }
            }
        }};
    }
    let run = async {
        match protocol {
            Protocol::Http1 => run!(
                http1::Builder::new()
                    .timer(IdleTimer::of(Arc::clone(connection), bounds.idle_timeout))
                    .header_read_timeout(bounds.idle_timeout)
                    .max_headers(bounds.header_count)
                    // The whole head has to fit this buffer. It bounds what waits to be written, too: a piece larger than
                    // it goes out by itself, which costs nothing at the sizes that content comes in.
                    .max_buf_size(bounds.header_bytes)
                    .serve_connection(TokioIo::new(&mut io), service)
            ),
            Protocol::Http2 => run!(
                http2::Builder::new(Streams)
                    .timer(TokioTimer::new())
                    .max_header_list_size(u32::try_from(bounds.header_bytes).unwrap_or(u32::MAX))
                    .keep_alive_interval(bounds.idle_timeout)
                    .serve_connection(TokioIo::new(&mut io), service)
            ),
        }
    };
    // A handler's panic is answered; one of a body ends here, and the connection like any other that is over.
    let end = AssertUnwindSafe(run).catch_unwind().await.unwrap_or_else(|panic| {
        report(panic.as_ref());
        End::Whole
    });
    connection.is_over();
    close(io, peer.addr, life, end, Some(connection)).await;
}

/// Keeps a panic inside its own request, and says that the connection ends where it is time to.
async fn answer(
    response: impl Future<Output = Response<Body>>,
    protocol: Protocol,
    life: Lifecycle,
    goodbye: Goodbye,
    running: Running,
) -> Result<Response<Tracked>, Infallible> {
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
    if protocol == Protocol::Http1 && goodbye.is_due(&life) {
        counter!("dataproxy_close_sent_total").increment(1);
        response.headers_mut().insert(header::CONNECTION, header::HeaderValue::from_static("close"));
    }
    let announced = response.headers().get(header::CONTENT_LENGTH);
    let announced = announced.and_then(|length| length.to_str().ok()?.parse().ok());
    Ok(response.map(|body| Tracked::new(body, announced, running)))
}

fn report(panic: &(dyn Any + Send)) {
    counter!("dataproxy_request_panics_total").increment(1);
    tracing::error!(panic = words(panic), "a request panicked");
}

fn words(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("no words")
}
