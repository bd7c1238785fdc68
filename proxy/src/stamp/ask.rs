//! Asks another node of the stamp for a part of a blob.
//!
//! A node has `patience` to answer, and as long for each piece of the body; five times that for a whole read. Beyond that, and
//! wherever it breaks off, storage goes on at the exact byte.

use std::sync::Weak;
use std::time::Duration;

use bytes::Bytes;
use dataproxy_cache::{BlobKey, ETag, OriginError, OriginErrorKind, OriginRead};
use dataproxy_router_api::{Node, NodeName};
use futures_util::stream::{self, StreamExt};
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode, header};
use http_body::Body as _;
use http_body_util::{BodyDataStream, Empty};
use hyper::body::Incoming;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use tokio::time::{Instant, timeout};

use super::StampCache;
use super::lend::{PATH, PROOF, VERSION};
use super::owner::Stretch;
use super::proof::{Ends, Question, Terms, sign, verify_answer};
use crate::process::now_seconds;

/// A whole read may take so many times the patience.
const READ_MAX: u32 = 5;
/// How long an idle connection is kept: less than the other node keeps it.
const POOL_IDLE: Duration = Duration::from_secs(30);
/// Idle connections kept to one node.
const POOL_SIZE: usize = 64;
/// Largest piece read at once, in bytes.
const READ: usize = 1 << 20;

/// Why a node did not lend.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Failed {
    /// It took no connection.
    Gone,
    /// It broke the connection before the headers were complete.
    Broke,
    /// It said nothing in time.
    Silent,
    /// It is starting or draining.
    NotReady,
    /// It serves as many reads as it may.
    Busy,
    /// It does not accept this node's signature, or does not show that it has the key.
    Denied,
    /// It cannot read it either, or not in time.
    Without,
    /// It has another version.
    Changed,
}

impl Failed {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Gone => "gone",
            Self::Broke => "broke",
            Self::Silent => "silent",
            Self::NotReady => "not_ready",
            Self::Busy => "busy",
            Self::Denied => "denied",
            Self::Without => "without",
            Self::Changed => "changed",
        }
    }

    /// Whether other reads would fare alike.
    pub(super) fn is_of_node(self) -> bool {
        matches!(self, Self::Gone | Self::Broke | Self::Silent | Self::NotReady | Self::Denied)
    }

    /// Whether it was known at once, so that the next node can be asked.
    pub(super) fn is_at_once(self) -> bool {
        matches!(self, Self::Gone | Self::Broke | Self::NotReady | Self::Denied)
    }
}

/// The way to the other nodes: one pool of connections.
#[derive(Debug)]
pub(super) struct Asking {
    client: Client<HttpConnector, Empty<Bytes>>,
}

impl Asking {
    pub(super) fn new(patience: Duration) -> Self {
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        connector.set_connect_timeout(Some(patience));
        let client = Client::builder(TokioExecutor::new())
            .timer(TokioTimer::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(POOL_IDLE)
            .pool_max_idle_per_host(POOL_SIZE)
            .http1_max_buf_size(READ)
            .build(connector);
        Self { client }
    }
}

impl StampCache {
    /// The answer of a node, and the signature of what it was asked.
    async fn send(&self, node: &Node, question: &Question) -> Result<(Response<Incoming>, String), Failed> {
        let ends = Ends { stamp: &self.stamp, from: &self.node, to: &node.name };
        let signed = sign(&self.keys, ends, question, now_seconds() as u64);
        let (value, signature) = signed.ok_or(Failed::Denied)?;
        let path = match question {
            Question::Read { registry, digest, .. } => format!("{registry}/{digest}"),
            Question::Ready => "ready".to_owned(),
        };
        let mut request = Request::get(format!("http://{}{PATH}{path}", node.address))
            .body(Empty::new())
            .map_err(|_| Failed::Broke)?;
        request.headers_mut().insert(header::AUTHORIZATION, value);
        if let Question::Read { first, last, .. } = question
            && let Ok(range) = HeaderValue::try_from(format!("bytes={first}-{last}"))
        {
            request.headers_mut().insert(header::RANGE, range);
        }
        match timeout(self.patience, self.asking.client.request(request)).await {
            Ok(Ok(response)) => Ok((response, signature)),
            Ok(Err(error)) if error.is_connect() => Err(Failed::Gone),
            Ok(Err(_)) => Err(Failed::Broke),
            Err(_) => Err(Failed::Silent),
        }
    }

    /// Whether a node lends.
    pub(super) async fn is_ready(&self, node: &Node) -> bool {
        match self.send(node, &Question::Ready).await {
            Ok((response, signature)) => {
                let proof = text(response.headers(), &PROOF);
                response.status() == StatusCode::NO_CONTENT
                    && proof.is_some_and(|proof| verify_answer(&self.keys, &signature, None, proof))
            }
            Err(_) => false,
        }
    }

    /// Asks a node for a read.
    pub(super) async fn ask(
        &self,
        node: &Node,
        question: &Question,
        pin: Option<&ETag>,
        key: &BlobKey,
    ) -> Result<OriginRead, Failed> {
        let until = Instant::now() + self.patience * READ_MAX;
        let (response, signature) = self.send(node, question).await?;
        match response.status() {
            StatusCode::PARTIAL_CONTENT => {}
            StatusCode::FORBIDDEN => return Err(Failed::Denied),
            StatusCode::SERVICE_UNAVAILABLE => return Err(Failed::NotReady),
            StatusCode::TOO_MANY_REQUESTS => return Err(Failed::Busy),
            // A node that does not share answers as a registry that knows no such route.
            StatusCode::NOT_FOUND if text(response.headers(), &PROOF).is_none() => {
                return Err(Failed::Denied);
            }
            _ => return Err(Failed::Without),
        }
        let terms = terms(response.headers()).ok_or(Failed::Denied)?;
        let proof = text(response.headers(), &PROOF).ok_or(Failed::Denied)?;
        if !verify_answer(&self.keys, &signature, Some(&terms), proof) {
            return Err(Failed::Denied);
        }
        let etag = ETag::new(terms.version.as_str());
        if pin.is_some_and(|pin| *pin != etag) {
            return Err(Failed::Changed);
        }
        let Question::Read { first, last, .. } = *question else { return Err(Failed::Without) };
        let range = first..last.saturating_add(1).min(terms.size);
        if range.is_empty() || terms.range != (range.start, range.end - 1) {
            return Err(Failed::Without);
        }
        // More than was signed would be taken for storage's doing.
        if response.body().size_hint().exact() != Some(range.end - range.start) {
            return Err(Failed::Denied);
        }
        tracing::trace!(node = %node.name, key = %key, ?range, "lent");
        let body = Lent {
            data: BodyDataStream::new(response.into_body()),
            left: range.end - range.start,
            until,
            patience: self.patience,
            node: node.name.clone(),
            stretch: Stretch::at(key, first),
            stamp: self.me.clone(),
        };
        let body =
            stream::unfold(body, |mut body| async move { body.next().await.map(|piece| (piece, body)) });
        Ok(OriginRead { size: terms.size, etag, range, body: body.boxed(), lent: true })
    }

    /// A node that lent broke off. That may be the account's doing, or this blob's: it is read from storage for a while. A node
    /// that is gone or hangs is found by the next question.
    fn broke_off(&self, stretch: &Stretch, failed: Failed) {
        super::count(failed.as_str());
        self.stands_in.insert(stretch.clone(), ());
    }
}

fn text<'h>(headers: &'h HeaderMap, name: &header::HeaderName) -> Option<&'h str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

fn terms(headers: &HeaderMap) -> Option<Terms> {
    let range = text(headers, &header::CONTENT_RANGE)?.strip_prefix("bytes ")?;
    let (range, size) = range.split_once('/')?;
    let (first, last) = range.split_once('-')?;
    Some(Terms {
        size: size.parse().ok()?,
        range: (first.parse().ok()?, last.parse().ok()?),
        version: text(headers, &VERSION)?.to_owned(),
    })
}

/// A body that another node gives.
struct Lent {
    data: BodyDataStream<Incoming>,
    left: u64,
    until: Instant,
    patience: Duration,
    node: NodeName,
    stretch: Stretch,
    stamp: Weak<StampCache>,
}

impl Lent {
    async fn next(&mut self) -> Option<Result<Bytes, OriginError>> {
        let patience = self.patience.min(self.until.saturating_duration_since(Instant::now()));
        let (failed, kind) = match timeout(patience, self.data.next()).await {
            Ok(Some(Ok(bytes))) => {
                self.left = self.left.saturating_sub(bytes.len() as u64);
                return Some(Ok(bytes));
            }
            Ok(None) if self.left == 0 => {
                if let Some(stamp) = self.stamp.upgrade() {
                    stamp.away.lent(&self.node);
                }
                return None;
            }
            Ok(None | Some(Err(_))) => (Failed::Broke, OriginErrorKind::Unavailable),
            Err(_) => (Failed::Silent, OriginErrorKind::Timeout),
        };
        if let Some(stamp) = self.stamp.upgrade() {
            stamp.broke_off(&self.stretch, failed);
        }
        let message = format!("node {} of the stamp broke off: {}", self.node, failed.as_str());
        Some(Err(OriginError::new(kind, message)))
    }
}
