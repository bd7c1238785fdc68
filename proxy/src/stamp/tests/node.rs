//! The nodes of the tests: each on a real socket with a cache of its own, over accounts in memory, and able to misbehave.

use std::sync::LazyLock;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use dataproxy_cache::conformance::pattern;
use dataproxy_cache::{Algorithm, CacheConfig, CacheError, Digest, Scope, Wanted};
use futures_util::{StreamExt, TryStreamExt};
use http::{Request, Response, header};
use http_body::Body as _;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use super::super::owner::STRETCH;
use super::super::*;
use crate::bindings::Table;
use crate::body::Body;
use crate::layout::{Laid, Layout};
use crate::lifecycle::State;
use crate::store::Store;
use crate::store::memory::MemoryStore;

pub(super) const MIB: u64 = 1 << 20;
pub(super) const SIZE: u64 = 9 * STRETCH + 12_345;
pub(super) const PATIENCE: Duration = Duration::from_secs(2);
pub(super) const LIMIT: Duration = Duration::from_secs(40);

/// What a node does with what it is asked.
#[derive(Clone, Debug)]
pub(super) enum Act {
    Serve,
    /// Says nothing at all.
    Mute,
    /// Answers, and says nothing more after this many bytes.
    StallAfter(u64),
    /// Answers, and breaks off after this many bytes.
    BreakAfter(u64),
    /// Answers as a node that has another key.
    Forge,
}

pub(super) struct Node {
    pub(super) store: Arc<MemoryStore>,
    pub(super) cache: Cache,
    pub(super) stamp: Arc<StampCache>,
    pub(super) life: Lifecycle,
    pub(super) act: Arc<Mutex<Act>>,
    pub(super) asked: Arc<AtomicUsize>,
    pub(super) server: JoinHandle<()>,
}

impl Drop for Node {
    fn drop(&mut self) {
        self.server.abort();
    }
}

/// How the nodes of a test are made.
pub(super) struct Options {
    pub(super) patience: Duration,
    pub(super) max_reads: usize,
    pub(super) fetch_parallel: usize,
    /// Whether all nodes read one account, or each its own.
    pub(super) shared: bool,
    /// Keys by node.
    pub(super) key: fn(usize) -> &'static str,
    /// Which nodes a node knows.
    pub(super) knows: fn(usize, usize) -> bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            patience: PATIENCE,
            max_reads: 64,
            fetch_parallel: 8,
            shared: true,
            key: |_| "k",
            knows: |_, _| true,
        }
    }
}

pub(super) fn keys(text: &str) -> Arc<Keys> {
    let dir = tempfile::tempdir().expect("a folder");
    let path = dir.path().join("key");
    std::fs::write(&path, text.repeat(32)).expect("written");
    Arc::new(Keys::open(path, None).expect("a key"))
}

/// The one blob, made once: a debug build takes its time.
static CONTENT: LazyLock<(Bytes, Digest)> = LazyLock::new(|| {
    let content = pattern(SIZE as usize);
    let digest = Digest::of(Algorithm::Sha256, &content);
    (content, digest)
});

pub(super) fn content() -> Bytes {
    CONTENT.0.clone()
}

pub(super) fn digest() -> Digest {
    CONTENT.1.clone()
}

pub(super) fn key() -> BlobKey {
    BlobKey { scope: Scope::new("contoso"), digest: digest() }
}

/// Nodes `n0`, `n1` and so on, that listen at the addresses which their tables name.
pub(super) async fn nodes(count: usize, options: Options) -> Vec<Node> {
    let mut listeners = Vec::new();
    for _ in 0..count {
        listeners.push(TcpListener::bind("127.0.0.1:0").await.expect("a port"));
    }
    let addresses: Vec<_> = listeners.iter().map(|at| at.local_addr().expect("bound")).collect();
    let one = MemoryStore::new();
    let mut nodes = Vec::new();
    for (me, listener) in listeners.into_iter().enumerate() {
        let listed: Vec<_> = (0..count)
            .filter(|other| (options.knows)(me, *other))
            .map(|other| {
                serde_json::json!({
                    "name": format!("n{other}"), "address": addresses[other], "admin": format!("127.0.0.1:{}", other + 1),
                })
            })
            .collect();
        let table = serde_json::json!({
            "revision": 1, "region": "west", "stamps": [{ "name": "a", "nodes": listed }],
            "bindings": [{
                "registry": "contoso", "home_stamp": "a", "epoch": 1, "pull": "anonymous",
                "placement": { "account": "one", "container": "contoso" },
            }],
        });
        let bindings =
            Arc::new(Bindings::new(Table::new(serde_json::from_value(table).expect("a snapshot"))));
        let store = if options.shared { Arc::clone(&one) } else { MemoryStore::new() };
        let config = CacheConfig { fetch_parallel: options.fetch_parallel, ..CacheConfig::default() };
        let cache = Cache::open(config).await.expect("a cache");
        let life = Lifecycle::default();
        life.advance(State::Ready);
        let account = Laid::over(Arc::clone(&store) as Arc<dyn Store>);
        let stamp = StampCache::new(StampParts {
            stamp: "a".parse().expect("a name"),
            node: format!("n{me}").parse().expect("a name"),
            bindings,
            stores: Stores::from([("one".parse().expect("a name"), account)]),
            cache: cache.clone(),
            keys: keys((options.key)(me)),
            patience: options.patience,
            max_reads: options.max_reads,
            life: life.clone(),
        });
        let (act, asked) = (Arc::new(Mutex::new(Act::Serve)), Arc::new(AtomicUsize::new(0)));
        let server = tokio::spawn(serve(listener, Arc::clone(&stamp), Arc::clone(&act), Arc::clone(&asked)));
        nodes.push(Node { store, cache, stamp, life, act, asked, server });
    }
    for node in &nodes {
        node.store.put(&Layout::new("contoso").blob(&digest()), content());
        if options.shared {
            break;
        }
    }
    nodes
}

async fn serve(listener: TcpListener, stamp: Arc<StampCache>, act: Arc<Mutex<Act>>, asked: Arc<AtomicUsize>) {
    while let Ok((stream, _)) = listener.accept().await {
        let (stamp, act, asked) = (Arc::clone(&stamp), Arc::clone(&act), Arc::clone(&asked));
        tokio::spawn(async move {
            let service = service_fn(move |request: Request<Incoming>| {
                let (stamp, act) = (Arc::clone(&stamp), act.lock().expect("whole").clone());
                asked.fetch_add(1, Ordering::Relaxed);
                async move { Ok::<_, std::convert::Infallible>(acted(act, stamp, request).await) }
            });
            // A client that leaves in the middle is part of the tests.
            let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

async fn acted(act: Act, stamp: Arc<StampCache>, request: Request<Incoming>) -> Response<Body> {
    let bytes = match act {
        Act::Serve => return stamp.serve(request).await,
        Act::Mute => std::future::pending().await,
        Act::Forge => {
            let mut response = stamp.serve(request).await;
            let proof = header::HeaderValue::from_str(&"0".repeat(64)).expect("a value");
            response.headers_mut().insert(lend::PROOF, proof);
            return response;
        }
        Act::StallAfter(bytes) | Act::BreakAfter(bytes) => bytes,
    };
    let stalls = matches!(act, Act::StallAfter(_));
    let (head, body) = stamp.serve(request).await.into_parts();
    let length = body.size_hint().exact().expect("an exact length");
    let mut left = bytes;
    let pieces = body.into_data_stream().map_err(std::io::Error::other).take_while(move |piece| {
        let goes_on = left > 0;
        left = left.saturating_sub(piece.as_ref().map_or(0, |piece| piece.len() as u64));
        std::future::ready(goes_on)
    });
    let end = futures_util::stream::once(async move {
        if stalls {
            std::future::pending::<()>().await;
        }
        Err(std::io::Error::other("scripted"))
    });
    let frames = pieces.chain(end).map_ok(http_body::Frame::data).map_err(Into::into);
    let mut response = Response::from_parts(head, Body::stream(http_body_util::StreamBody::new(frames)));
    response.headers_mut().insert(header::CONTENT_LENGTH, length.into());
    response
}

impl Node {
    pub(super) fn source(&self) -> Source {
        let origin = Arc::clone(&self.store) as Arc<dyn Origin>;
        let behind = Source { origin, object: Layout::new("contoso").blob(&digest()) };
        self.stamp.source("contoso".parse().expect("a name"), key(), behind)
    }

    pub(super) async fn try_read(&self, wanted: Wanted) -> Result<Vec<u8>, CacheError> {
        let read = async {
            let mut reader = self.cache.read(&key(), &self.source(), wanted).await?;
            let mut found = Vec::new();
            while let Some(piece) = reader.try_next().await? {
                found.extend_from_slice(&piece);
            }
            Ok(found)
        };
        tokio::time::timeout(LIMIT, read).await.expect("in time")
    }

    pub(super) async fn check(&self) {
        assert!(self.try_read(Wanted::Whole).await.expect("it ends well") == content(), "wrong bytes");
    }

    pub(super) fn act(&self, act: Act) {
        *self.act.lock().expect("whole") = act;
    }

    pub(super) fn asked(&self) -> usize {
        self.asked.load(Ordering::Relaxed)
    }

    /// Stretches of the blob that it owns among nodes that all know each other.
    pub(super) fn owned(&self) -> u64 {
        let table = self.stamp.bindings.current();
        let owns = |number: &u64| self.stamp.owner(&table, &Stretch::at(&key(), number * STRETCH)).is_none();
        (0..SIZE.div_ceil(STRETCH)).filter(owns).count() as u64
    }
}

pub(super) async fn eventually(what: &str, condition: impl Fn() -> bool) {
    let begun = std::time::Instant::now();
    while !condition() {
        assert!(begun.elapsed() < LIMIT, "{what}: not within {LIMIT:?}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
