//! hyper under the SDK: one connection pool and one TLS stack for every account and identity endpoint.
//!
//! Nothing is followed, decoded, retried or copied here. An answer's body is a stream of what hyper reads; dropping
//! it ends the connection. A connection that an idle pool had and the far end closed is replaced by hyper before the
//! request is written, so a request reaches storage at most once.

use std::collections::HashMap;
use std::fmt;
use std::future::ready;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use async_trait::async_trait;
use azure_core::error::ErrorKind;
use azure_core::http::headers::Headers;
use azure_core::http::{AsyncRawResponse, Body, HttpClient, Request, StatusCode};
use bytes::Bytes;
use dataproxy_cache::{OriginError, OriginErrorKind};
use futures_util::future::BoxFuture;
use futures_util::stream::unfold;
use futures_util::{StreamExt, TryStreamExt};
use http::Uri;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, BodyStream, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder, MaybeHttpsStream};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tower::Service;

use crate::trust::{self, TrustError};

/// For a connection with its TLS handshake. Below the 4 s that a link has, so that a dead address leaves room for
/// another try.
const CONNECT_LIMIT: Duration = Duration::from_secs(2);
/// For the headers of an answer; callers on a pull's way give up long before.
const ANSWER_LIMIT: Duration = Duration::from_secs(60);
/// Idle connections are dropped before storage's front ends drop them.
const IDLE_LIMIT: Duration = Duration::from_secs(50);
/// Idle connections kept for each host.
const IDLE_PER_HOST: usize = 64;
/// What is read of the explanation that comes with an error.
const ERROR_BYTES: usize = 64 << 10;

type BoxError = Box<dyn std::error::Error + Send + Sync>;
type RequestBody = UnsyncBoxBody<Bytes, BoxError>;

/// The transports of a process: accounts that trust the same authorities share one.
#[derive(Debug, Default)]
pub struct Transports {
    made: HashMap<(bool, Option<PathBuf>), Arc<Transport>>,
}

impl Transports {
    /// The transport that trusts the system's authorities if `tls` is wanted, and those in `ca_file`.
    ///
    /// # Errors
    /// [`TrustError`]
    pub(crate) fn get(&mut self, tls: bool, ca_file: Option<&Path>) -> Result<Arc<Transport>, TrustError> {
        let key = (tls, ca_file.map(Path::to_owned));
        if let Some(transport) = self.made.get(&key) {
            return Ok(Arc::clone(transport));
        }
        let transport = Arc::new(Transport::new(trust::client_config(tls, ca_file)?));
        self.made.insert(key, Arc::clone(&transport));
        Ok(transport)
    }
}

/// HTTP/1.1 (storage speaks no other), plain or by TLS.
pub(crate) struct Transport {
    client: Client<Connector, RequestBody>,
}

impl Transport {
    fn new(tls: rustls::ClientConfig) -> Self {
        let mut http = HttpConnector::new();
        http.enforce_http(false);
        http.set_nodelay(true);
        http.set_keepalive(Some(Duration::from_secs(60)));
        let https = HttpsConnectorBuilder::new().with_tls_config(tls).https_or_http().enable_http1();
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE_LIMIT)
            .pool_max_idle_per_host(IDLE_PER_HOST)
            .build(Connector { https: https.wrap_connector(http) });
        Self { client }
    }
}

impl fmt::Debug for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Transport")
    }
}

#[async_trait]
impl HttpClient for Transport {
    async fn execute_request(&self, request: &Request) -> azure_core::Result<AsyncRawResponse> {
        let sent = self.client.request(to_hyper(request)?);
        let answer = timeout(ANSWER_LIMIT, sent).await.map_err(|_| {
            failed(OriginErrorKind::Timeout, format!("no answer within {} s", ANSWER_LIMIT.as_secs()))
        })?;
        let (head, body) = answer.map_err(|error| of_request(&error))?.into_parts();
        let mut headers = Headers::new();
        for (name, value) in &head.headers {
            // What is not text is no header of storage's.
            if let Ok(value) = value.to_str() {
                headers.insert(name.as_str().to_owned(), value.to_owned());
            }
        }
        let status = StatusCode::from(head.status.as_u16());
        let limit = if head.status.is_success() { usize::MAX } else { ERROR_BYTES };
        Ok(AsyncRawResponse::new(status, headers, Box::pin(pieces(body, limit))))
    }
}

/// A body's bytes as hyper reads them, at most `limit` of them.
fn pieces(
    body: Incoming,
    limit: usize,
) -> impl futures_util::Stream<Item = azure_core::Result<Bytes>> + Send + 'static {
    let frames = TryStreamExt::map_err(BodyStream::new(body), |error| of_body(&error));
    let data = frames.try_filter_map(|frame| ready(Ok(frame.into_data().ok())));
    unfold((Box::pin(data), limit), |(mut data, left)| async move {
        // Asked for only while some of it is wanted: it may never come.
        if left == 0 {
            return None;
        }
        let piece = data.next().await?.map(|mut piece| {
            piece.truncate(left);
            piece
        });
        let left = left - piece.as_ref().map_or(0, Bytes::len);
        Some((piece, (data, left)))
    })
}

fn to_hyper(request: &Request) -> azure_core::Result<http::Request<RequestBody>> {
    let (body, length) = match request.body() {
        Body::Bytes(bytes) => (Full::new(bytes.clone()).map_err(|never| match never {}).boxed_unsync(), None),
        Body::SeekableStream(stream) => {
            let frames = stream.clone().map_ok(Frame::data).map_err(BoxError::from);
            (StreamBody::new(frames).boxed_unsync(), stream.len())
        }
    };
    let mut built = http::Request::builder().method(request.method().as_str()).uri(request.url().as_str());
    for (name, value) in request.headers().iter() {
        let mut value = http::HeaderValue::try_from(value.as_str())
            .map_err(|_| failed(OriginErrorKind::Protocol, format!("{} cannot be sent", name.as_str())))?;
        value.set_sensitive(name.as_str() == http::header::AUTHORIZATION.as_str());
        built = built.header(name.as_str(), value);
    }
    if let Some(length) = length
        && request.headers().get_optional_str(&"content-length".into()).is_none()
    {
        built = built.header(http::header::CONTENT_LENGTH, length);
    }
    // The error names the part that is wrong and not what it holds, which may be a secret.
    built
        .body(body)
        .map_err(|error| failed(OriginErrorKind::Protocol, format!("no request can be made: {error}")))
}

/// An error that the pipeline carries up as it is.
pub(crate) fn failed(kind: OriginErrorKind, message: String) -> azure_core::Error {
    azure_core::Error::new(ErrorKind::Io, OriginError::new(kind, message))
}

fn of_request(error: &hyper_util::client::legacy::Error) -> azure_core::Error {
    let reason = innermost(error);
    if reason.downcast_ref::<ConnectLimitReached>().is_some() {
        return failed(OriginErrorKind::Timeout, reason.to_string());
    }
    let what = if error.is_connect() { "no connection" } else { "the connection failed" };
    failed(OriginErrorKind::Unavailable, format!("{what}: {reason}"))
}

fn of_body(error: &hyper::Error) -> azure_core::Error {
    failed(OriginErrorKind::Unavailable, format!("the body broke off: {}", innermost(error)))
}

fn innermost<'e>(error: &'e (dyn std::error::Error + 'static)) -> &'e (dyn std::error::Error + 'static) {
    let mut error = error;
    while let Some(source) = error.source() {
        error = source;
    }
    error
}

#[derive(Debug, thiserror::Error)]
#[error("no connection within {} s", CONNECT_LIMIT.as_secs())]
struct ConnectLimitReached;

/// Connects, TLS handshake included, within a limit.
#[derive(Clone)]
struct Connector {
    https: HttpsConnector<HttpConnector>,
}

impl Service<Uri> for Connector {
    type Response = MaybeHttpsStream<TokioIo<TcpStream>>;
    type Error = BoxError;
    type Future = BoxFuture<'static, Result<Self::Response, BoxError>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.https.poll_ready(context)
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let connecting = self.https.call(uri);
        Box::pin(async move { timeout(CONNECT_LIMIT, connecting).await.map_err(|_| ConnectLimitReached)? })
    }
}
