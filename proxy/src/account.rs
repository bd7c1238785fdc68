//! One record for each request, made on drop: a client that goes away, in whatever stage, is accounted like any other.
//!
//! Nothing here can fail a request, and nothing secret is kept: of the address only what was parsed, of the headers
//! only those named below.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use dataproxy_cache::Outcome;
use dataproxy_router_api::{Binding, Epoch, NodeName, RegistryName, StampName};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header, request};
use tokio::time::Instant;

use crate::bindings::Flight;
use crate::connections::{Exchange, Fate, Settle, Subject};
use crate::identify::{Identified, NamedBy};
use crate::name::Repository;
use crate::peer::Peer;
use crate::prefetch::Pulling;
use crate::redirect::Destination;
use crate::refusal::Refusal;
use crate::request::{Request, Target};
use crate::resolve::ResolvedStamp;
use crate::respond::REQUEST_ID;

mod tell;

/// Where a front door tells the node its client's address.
pub const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
/// Most of it that is kept, in bytes.
const FORWARDED_FOR_MAX: usize = 200;

/// How an answer ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// All of it was taken by the client's socket.
    Complete,
    /// The client went away before.
    Aborted,
    /// The node cut it as it ended itself; the client goes on elsewhere.
    Cut,
    /// The content failed in the middle; the connection ended short of the announced length.
    Failed,
}

impl End {
    /// The stable word for logs and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Complete => "complete",
            Self::Aborted => "aborted",
            Self::Cut => "cut",
            Self::Failed => "failed",
        }
    }
}

/// What became of one request.
#[derive(Clone, Debug)]
pub struct Record {
    /// The node that served it.
    pub node: NodeName,
    /// What the user can quote: the caller's `X-Request-Id`, or one made here.
    pub request_id: String,
    /// The method.
    pub method: http::Method,
    /// `manifest`, `blob`, `tags`, `referrers`, `ping`, or `invalid` if it was none of them.
    pub kind: &'static str,
    /// The registry, once it is found in the binding table.
    pub registry: Option<RegistryName>,
    /// The repository.
    pub repository: Option<Repository>,
    /// The tag or digest that was asked for.
    pub reference: Option<String>,
    /// What named the registry.
    pub named_by: Option<NamedBy>,
    /// `?ns=`, where that named the registry.
    pub namespace: Option<String>,
    /// The registry's home stamp.
    pub home_stamp: Option<StampName>,
    /// The epoch of the binding that was worked from.
    pub epoch: Option<Epoch>,
    /// Whether this node's stamp is not the home any more.
    pub late: bool,
    /// Whether it was forwarded to the home stamp.
    pub forwarded: bool,
    /// Whether a tag was answered from memory because storage did not answer.
    pub stale: bool,
    /// The answer's status; `None` if the client went away before there was one.
    pub status: Option<StatusCode>,
    /// The OCI code of a refusal.
    pub code: Option<&'static str>,
    /// How the content was served.
    pub outcome: Option<Outcome>,
    /// Where the client was sent instead of being served.
    pub redirected: Option<Destination>,
    /// The `Range` that applied.
    pub range: Option<String>,
    /// Body bytes announced.
    pub length: u64,
    /// Body bytes that the client's socket took; over HTTP/2, those handed to the connection.
    pub sent: u64,
    /// How it ended.
    pub end: End,
    /// What failed in the middle of the body.
    pub error: Option<String>,
    /// From the request to the first byte of the body, or to the headers if there is no body.
    pub first_byte: Option<Duration>,
    /// From the request to the end.
    pub total: Duration,
    /// The address at the other end of the connection: the client's, or a front door's.
    pub peer: Option<SocketAddr>,
    /// What `X-Forwarded-For` claims, its last 200 characters. Anybody can send it: it is worth what `peer` is.
    pub forwarded_for: Option<String>,
    /// Whether the connection was TLS.
    pub tls: bool,
    /// Whether its TLS session was resumed from an earlier one.
    pub tls_resumed: bool,
    /// The version of HTTP that the client spoke.
    pub version: http::Version,
    /// The client's `User-Agent`, cut to 256 characters.
    pub user_agent: Option<String>,
}

impl Record {
    /// Whether the cache had the content, or needed none.
    fn is_hit(&self) -> bool {
        self.outcome.is_none_or(|outcome| matches!(outcome, Outcome::MemoryHit | Outcome::DiskHit))
    }
}

/// Who wants to see every record, besides the log and the metrics. Called on drop: it must be quick.
pub type Observer = Arc<dyn Fn(&Record) + Send + Sync>;

/// The record in the making. Dropping it makes it final, but for what of it the socket has yet to take.
pub struct Account {
    /// Boxed: the account goes through many hands, and the record is large. There until it is dropped.
    kept: Option<Box<Kept>>,
    /// The connection's own view of the request, where it came on one.
    exchange: Option<Arc<Exchange>>,
}

/// What an account keeps to its end.
struct Kept {
    started: Instant,
    record: Record,
    observer: Option<Observer>,
    /// Counts the request among its registry's running ones until it is dropped.
    flight: Option<Flight>,
    /// That a blob of an image is being pulled, for as long as it is.
    pulling: Option<Pulling>,
}

impl Account {
    /// Opens the account of a request.
    pub fn open(parts: &request::Parts, node: NodeName, observer: Option<Observer>) -> Self {
        let peer = parts.extensions.get::<Peer>();
        let record = Record {
            node,
            request_id: request_id(&parts.headers),
            method: parts.method.clone(),
            kind: "invalid",
            registry: None,
            repository: None,
            reference: None,
            named_by: None,
            namespace: None,
            home_stamp: None,
            epoch: None,
            late: false,
            forwarded: false,
            stale: false,
            status: None,
            code: None,
            outcome: None,
            redirected: None,
            range: None,
            length: 0,
            sent: 0,
            end: End::Aborted,
            error: None,
            first_byte: None,
            total: Duration::ZERO,
            peer: peer.map(|peer| peer.addr),
            forwarded_for: forwarded_for(&parts.headers),
            tls: peer.is_some_and(|peer| peer.tls),
            tls_resumed: peer.is_some_and(|peer| peer.resumed),
            version: parts.version,
            user_agent: text(&parts.headers, header::USER_AGENT, 256),
        };
        let kept = Kept { started: Instant::now(), record, observer, flight: None, pulling: None };
        let exchange = parts.extensions.get::<Arc<Exchange>>().cloned();
        Self { kept: Some(Box::new(kept)), exchange }
    }

    /// The id of the request.
    pub fn request_id(&self) -> &str {
        self.kept.as_ref().map_or("", |kept| &kept.record.request_id)
    }

    /// The `ns` to echo.
    pub fn namespace(&self) -> Option<&str> {
        self.kept.as_ref()?.record.namespace.as_deref()
    }

    /// The request was read.
    pub fn asked(&mut self, request: &Request) {
        let Some(kept) = &mut self.kept else { return };
        kept.record.kind = request.target.kind();
        kept.record.reference = match &request.target {
            Target::Manifest { reference, .. } => Some(reference.to_string()),
            Target::Blob { digest, .. } | Target::Referrers { digest, .. } => Some(digest.text()),
            Target::Ping | Target::Tags { .. } => None,
        };
    }

    /// The registry was found.
    pub fn identified(&mut self, request: &Request, identified: &Identified<'_>) {
        let Some(kept) = &mut self.kept else { return };
        kept.record.registry = Some(identified.binding.registry.clone());
        kept.record.repository.clone_from(&identified.repository);
        kept.record.named_by = Some(identified.named_by);
        if identified.named_by == NamedBy::Namespace {
            kept.record.namespace.clone_from(&request.namespace);
        }
        if let Some(exchange) = &self.exchange {
            exchange.is_about(Subject {
                registry: identified.binding.registry.clone(),
                repository: identified.repository.clone(),
                reference: kept.record.reference.clone(),
            });
        }
    }

    /// It counts among the running pulls of its registry.
    pub fn flies(&mut self, flight: Flight) {
        let Some(kept) = &mut self.kept else { return };
        dataproxy_cpu::bill(flight.purse());
        kept.flight = Some(flight);
    }

    /// It is of a registry whose home is another stamp.
    pub fn late(&mut self, binding: &Binding) {
        let Some(kept) = &mut self.kept else { return };
        kept.record.home_stamp = Some(binding.home_stamp.clone());
        kept.record.epoch = Some(binding.epoch);
        kept.record.late = true;
    }

    /// It goes to the home stamp.
    pub fn forwarded(&mut self) {
        let Some(kept) = &mut self.kept else { return };
        kept.record.forwarded = true;
    }

    /// Stamp and storage were found.
    pub fn resolved(&mut self, at: &ResolvedStamp<'_>) {
        let Some(kept) = &mut self.kept else { return };
        kept.record.home_stamp = Some(at.binding().home_stamp.clone());
        kept.record.epoch = Some(at.epoch());
        kept.record.late = at.is_late();
    }

    /// The client is sent elsewhere.
    pub fn redirected(&mut self, to: Destination) {
        let Some(kept) = &mut self.kept else { return };
        kept.record.redirected = Some(to);
    }

    /// A range applied.
    pub fn ranged(&mut self, headers: &HeaderMap) {
        let Some(kept) = &mut self.kept else { return };
        kept.record.range = text(headers, header::RANGE, 80);
    }

    /// It is of a blob of an image that is being pulled.
    pub(crate) fn pulls(&mut self, pulling: Pulling) {
        let Some(kept) = &mut self.kept else { return };
        kept.pulling = Some(pulling);
    }

    /// An older tag was served.
    pub fn stale(&mut self) {
        let Some(kept) = &mut self.kept else { return };
        kept.record.stale = true;
    }

    /// The content is or was served so.
    pub fn served(&mut self, outcome: Outcome) {
        let Some(kept) = &mut self.kept else { return };
        kept.record.outcome = Some(outcome);
    }

    /// The request is refused.
    pub fn refused(&mut self, refusal: &Refusal) {
        let Some(kept) = &mut self.kept else { return };
        kept.record.code = Some(refusal.code());
    }

    /// Headers are on their way, and `length` bytes of body are to follow them.
    pub fn answered(&mut self, status: StatusCode, length: u64) {
        let Some(kept) = &mut self.kept else { return };
        kept.record.status = Some(status);
        kept.record.length = length;
        if length == 0 {
            kept.record.first_byte = Some(kept.started.elapsed());
            kept.record.end = End::Complete;
        }
    }

    /// So many bytes more were handed to the connection.
    pub fn sent(&mut self, bytes: u64) {
        let Some(kept) = &mut self.kept else { return };
        if kept.record.first_byte.is_none() {
            kept.record.first_byte = Some(kept.started.elapsed());
        }
        kept.record.sent = kept.record.sent.saturating_add(bytes);
        if kept.record.sent >= kept.record.length {
            kept.record.end = End::Complete;
        }
    }

    /// The content failed in the middle.
    pub fn failed(&mut self, error: &dyn fmt::Display) {
        let Some(kept) = &mut self.kept else { return };
        kept.record.end = End::Failed;
        kept.record.error = Some(error.to_string());
    }
}

impl Drop for Account {
    fn drop(&mut self) {
        let Some(kept) = self.kept.take() else { return };
        let settled = match &self.exchange {
            Some(exchange) => exchange.owe(kept),
            None => Some(kept as Box<dyn Settle>),
        };
        if let Some(kept) = settled {
            kept.settle(Fate { taken: None, cut: false });
        }
    }
}

impl Settle for Kept {
    fn settle(mut self: Box<Self>, fate: Fate) {
        let record = &mut self.record;
        record.total = self.started.elapsed();
        if let Some(taken) = fate.taken {
            record.sent = record.sent.min(taken);
            if record.end == End::Complete {
                record.end = End::Aborted;
            }
        }
        if fate.cut && record.end == End::Aborted {
            record.end = End::Cut;
        }
        tell::log(record);
        tell::count(record);
        if let Some(flight) = &self.flight {
            flight.purse().request(record.is_hit(), record.sent);
        }
        if let Some(observer) = &self.observer {
            observer(record);
        }
    }
}

/// A caller's id if it is one that is safe in a log, else one of our own.
fn request_id(headers: &HeaderMap) -> String {
    let sane = |id: &&str| {
        let allowed =
            |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.' | b':' | b'=' | b'/' | b'+');
        (1..=128).contains(&id.len()) && id.bytes().all(allowed)
    };
    match headers.get(REQUEST_ID).and_then(|id| id.to_str().ok()).filter(sane) {
        Some(id) => id.to_owned(),
        None => {
            const DIGITS: &[u8; 16] = b"0123456789abcdef";
            let digit = |nibble: u8| char::from(DIGITS[usize::from(nibble & 15)]);
            let mut id = String::with_capacity(32);
            for byte in rand::random::<[u8; 16]>() {
                id.extend([digit(byte >> 4), digit(byte)]);
            }
            id
        }
    }
}

/// All of a request's `X-Forwarded-For` in one, nearest hop last; what is in no address is shown as `?`.
fn forwarded_for(headers: &HeaderMap) -> Option<String> {
    let claims: Vec<_> = headers.get_all(FORWARDED_FOR).iter().map(HeaderValue::as_bytes).collect();
    if claims.is_empty() {
        return None;
    }
    let all = claims.join(&b", "[..]);
    let last = all.get(all.len().saturating_sub(FORWARDED_FOR_MAX)..).unwrap_or_default();
    let shown = |byte: &u8| match byte {
        b'.' | b':' | b',' | b'[' | b']' | b' ' | b'-' | b'_' => char::from(*byte),
        byte if byte.is_ascii_alphanumeric() => char::from(*byte),
        _ => '?',
    };
    Some(last.iter().map(shown).collect())
}

fn text(headers: &HeaderMap, name: header::HeaderName, limit: usize) -> Option<String> {
    // What is text to this library is one byte a character.
    let text = headers.get(name)?.to_str().ok()?;
    Some(text.get(..limit).unwrap_or(text).to_owned())
}
