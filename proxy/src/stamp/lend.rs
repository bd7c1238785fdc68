//! Lends to the other nodes of the stamp: bytes of a blob, from this node's own cache, to whoever shows that it has the key.
//!
//! The node that asks has passed permit and ownership for its caller; its signature says so. Here the bytes are looked up by the
//! registry's binding as for any pull. What another node has asked for is read from storage and never asked of a third.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use dataproxy_cache::{BlobReader, CacheError, Wanted};
use dataproxy_cpu::carried;
use futures_util::Stream;
use http::{HeaderName, HeaderValue, Method, Request, Response, StatusCode, header};
use http_body::{Frame, SizeHint};
use metrics::counter;
use tokio::sync::OwnedSemaphorePermit;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::StampCache;
use super::owner::{STRETCH, Stretch};
use super::proof::{Question, Terms, Vouched, sign_answer, verify};
use crate::body::{Body, BodyError};
use crate::content::OwnedBlob;
use crate::lifecycle::State;
use crate::process::now_seconds;
use crate::resolve;

/// What the paths of the nodes' own questions begin with.
pub const PATH: &str = "/stamp/v1/";
/// The proof that an answer is of a node with the key.
pub(super) const PROOF: HeaderName = HeaderName::from_static("dataproxy-stamp-proof");
/// The version of the object in storage.
pub(super) const VERSION: HeaderName = HeaderName::from_static("dataproxy-stamp-version");
/// How long the blob may take to open before this node stops waiting for others itself.
const OPENING_MAX: Duration = Duration::from_millis(500);

/// Why nothing is lent.
enum Refused {
    NotReady,
    Busy,
    Denied(&'static str),
    /// This node cannot read it: of an unknown registry, or storage does not give it in time.
    Without(Vouched, &'static str),
}

impl Refused {
    fn as_str(&self) -> &'static str {
        match self {
            Self::NotReady => "not_ready",
            Self::Busy => "busy",
            Self::Denied(_) => "denied",
            Self::Without(..) => "without",
        }
    }
}

/// What one request asks for.
fn question<B>(request: &Request<B>) -> Option<Question> {
    let path = request.uri().path().strip_prefix(PATH)?;
    if path == "ready" {
        return Some(Question::Ready);
    }
    let (registry, digest) = path.split_once('/')?;
    let range = request.headers().get(header::RANGE)?.to_str().ok()?.strip_prefix("bytes=")?;
    let (first, last) = range.split_once('-')?;
    let (first, last) = (first.parse().ok()?, last.parse().ok()?);
    if first > last {
        return None;
    }
    Some(Question::Read { registry: registry.parse().ok()?, digest: digest.parse().ok()?, first, last })
}

impl StampCache {
    /// Answers another node. Dropping the body stops what is read for it alone.
    pub async fn serve<B>(self: Arc<Self>, request: Request<B>) -> Response<Body> {
        let answer = match question(&request).filter(|_| request.method() == Method::GET) {
            Some(question) => self.answer(&request, question).await,
            None => Err(Refused::Denied("it is no question of a node")),
        };
        match answer {
            Ok(response) => {
                counter!("dataproxy_stamp_served_total", "outcome" => "lent").increment(1);
                response
            }
            Err(refused) => {
                counter!("dataproxy_stamp_served_total", "outcome" => refused.as_str()).increment(1);
                self.refusal(&refused)
            }
        }
    }

    fn refusal(&self, refused: &Refused) -> Response<Body> {
        let mut response = Response::new(Body::Empty);
        *response.status_mut() = match refused {
            Refused::NotReady => StatusCode::SERVICE_UNAVAILABLE,
            Refused::Busy => StatusCode::TOO_MANY_REQUESTS,
            Refused::Denied(why) => {
                // Anybody can ask: one line a second is enough to see it by.
                let now = now_seconds() as u64;
                if self.denied_told.swap(now, Ordering::Relaxed) == now {
                    tracing::debug!(why, "a question as of another node of the stamp is refused");
                } else {
                    tracing::warn!(why, "a question as of another node of the stamp is refused");
                }
                StatusCode::FORBIDDEN
            }
            Refused::Without(vouched, why) => {
                tracing::debug!(why, "nothing to lend");
                insert(&mut response, PROOF, &sign_answer(&self.keys, vouched, None));
                StatusCode::NOT_FOUND
            }
        };
        response
    }

    async fn answer<B>(
        self: &Arc<Self>,
        request: &Request<B>,
        question: Question,
    ) -> Result<Response<Body>, Refused> {
        let now = now_seconds() as u64;
        let vouched = verify(&self.keys, &self.stamp, &self.node, &question, request.headers(), now);
        let vouched = vouched.map_err(Refused::Denied)?;
        if self.life.state() != State::Ready {
            return Err(Refused::NotReady);
        }
        let Question::Read { registry, digest, first, last } = question else {
            let mut response = Response::new(Body::Empty);
            *response.status_mut() = StatusCode::NO_CONTENT;
            insert(&mut response, PROOF, &sign_answer(&self.keys, &vouched, None));
            return Ok(response);
        };
        let place = Arc::clone(&self.places).try_acquire_owned().map_err(|_| Refused::Busy)?;
        let table = self.bindings.current();
        let Some(binding) = table.binding(&registry) else {
            return Err(Refused::Without(vouched, "the registry is not bound"));
        };
        if let Some(standing) = table.standing(&registry) {
            dataproxy_cpu::bill(standing.purse());
        }
        let Ok(holdings) = resolve::holdings(&binding.placement, &self.stores) else {
            return Err(Refused::Without(vouched, "its account cannot be read here"));
        };
        let Some(owned) = OwnedBlob::vouched(&vouched, binding, &*holdings, &digest) else {
            return Err(Refused::Without(vouched, "its account is another registry"));
        };
        let owned = owned.through(|key, behind| self.source(registry, key.clone(), behind));
        for offset in [first, last.min(first.saturating_add(STRETCH))] {
            let stretch = Stretch::at(owned.key(), offset);
            if self.owner(&table, &stretch).is_some() {
                self.stands_in.insert(stretch, ());
            }
        }
        match self.open(&owned, Wanted::Owed { first, last }, place).await {
            Ok((reader, place)) => Ok(self.lending(&vouched, reader, place)),
            Err(why) => Err(Refused::Without(vouched, why)),
        }
    }

    /// Opens a blob, within less than the patience of the one who asks. Whoever leaves stops what is read for them; but what is
    /// given up here as slow goes on in its place until storage has answered. Stopped, it would look like an account that says
    /// nothing.
    async fn open(
        &self,
        owned: &OwnedBlob,
        wanted: Wanted,
        place: OwnedSemaphorePermit,
    ) -> Result<(BlobReader, OwnedSemaphorePermit), &'static str> {
        let until = Instant::now() + self.patience * 3 / 4;
        let (cache, key, source) = (self.cache.clone(), owned.key().clone(), owned.source().clone());
        let reading = tokio::spawn(carried(async move {
            cache.read(&key, &source, wanted).await.map(|reader| (reader, place))
        }));
        let mut reading = Reading { task: reading, is_stopped: true };
        loop {
            tokio::select! {
                opened = &mut reading.task => {
                    let opened = opened.map_err(|error| error.to_string());
                    return opened.and_then(|opened| opened.map_err(|error| error.to_string())).map_err(|error| {
                        tracing::debug!(key = %owned.key(), error, "cannot be lent");
                        "it cannot be read"
                    });
                }
                () = tokio::time::sleep(OPENING_MAX.min(self.patience / 4)) => {
                    if Instant::now() >= until {
                        reading.is_stopped = false;
                        return Err("storage is slow");
                    }
                    self.openings.want(owned.key());
                }
            }
        }
    }

    fn lending(&self, vouched: &Vouched, reader: BlobReader, place: OwnedSemaphorePermit) -> Response<Body> {
        let range = reader.range();
        let left = range.end - range.start;
        let terms = Terms {
            size: reader.size(),
            range: (range.start, range.end.saturating_sub(1)),
            version: reader.etag().as_str().to_owned(),
        };
        let sent_bytes = self.sent_bytes.clone();
        let mut response = Response::new(Body::stream(Lending { reader, left, sent_bytes, _place: place }));
        *response.status_mut() = StatusCode::PARTIAL_CONTENT;
        let content_range = format!("bytes {}-{}/{}", terms.range.0, terms.range.1, terms.size);
        insert(&mut response, header::CONTENT_RANGE, &content_range);
        insert(&mut response, VERSION, &terms.version);
        insert(&mut response, PROOF, &sign_answer(&self.keys, vouched, Some(&terms)));
        response
    }
}

/// A read that opens in a task of its own, and is stopped with whoever waits for it unless they say otherwise.
struct Reading<T> {
    task: JoinHandle<T>,
    is_stopped: bool,
}

impl<T> Drop for Reading<T> {
    fn drop(&mut self) {
        if self.is_stopped {
            self.task.abort();
        }
    }
}

/// A version that is no header's value is left out, and the answer is then of no use to the one who asked.
fn insert(response: &mut Response<Body>, name: HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        response.headers_mut().insert(name, value);
    }
}

/// The bytes on their way to another node.
struct Lending {
    reader: BlobReader,
    left: u64,
    sent_bytes: metrics::Counter,
    _place: OwnedSemaphorePermit,
}

impl http_body::Body for Lending {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        if self.left == 0 {
            return Poll::Ready(None);
        }
        let piece = std::task::ready!(Pin::new(&mut self.reader).poll_next(cx));
        let piece = piece.unwrap_or_else(|| Err(CacheError::Internal("the content ended early".into())));
        Poll::Ready(Some(piece.map_err(Into::into).map(|bytes| {
            let length = bytes.len() as u64;
            self.left = self.left.saturating_sub(length);
            self.sent_bytes.increment(length);
            Frame::data(bytes)
        })))
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}
