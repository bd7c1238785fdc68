//! Nodes of a stamp on real sockets, each with a cache of its own, and what they do when one of them misbehaves.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{LazyLock, Mutex};

use bytes::Bytes;
use dataproxy_cache::conformance::pattern;
use dataproxy_cache::fakes::{Fault, Gate};
use dataproxy_cache::{Algorithm, CacheConfig, CacheError, Digest, Scope, Wanted};
use futures_util::future::join_all;
use futures_util::{StreamExt, TryStreamExt};
use http::{Request, Response, StatusCode, header};
use http_body::Body as _;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use super::owner::STRETCH;
use super::*;
use crate::bindings::Table;
use crate::body::Body;
use crate::layout::{Laid, Layout};
use crate::lifecycle::State;
use crate::store::Store;
use crate::store::memory::MemoryStore;

const MIB: u64 = 1 << 20;
const SIZE: u64 = 9 * STRETCH + 12_345;
const PATIENCE: Duration = Duration::from_secs(2);
const LIMIT: Duration = Duration::from_secs(40);

/// What a node does with what it is asked.
#[derive(Clone, Debug)]
enum Act {
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

struct Node {
    store: Arc<MemoryStore>,
    cache: Cache,
    stamp: Arc<StampCache>,
    life: Lifecycle,
    act: Arc<Mutex<Act>>,
    asked: Arc<AtomicUsize>,
    server: JoinHandle<()>,
}

impl Drop for Node {
    fn drop(&mut self) {
        self.server.abort();
    }
}

/// How the nodes of a test are made.
struct Options {
    patience: Duration,
    max_reads: usize,
    fetch_parallel: usize,
    /// Whether all nodes read one account, or each its own.
    shared: bool,
    /// Keys by node.
    key: fn(usize) -> &'static str,
    /// Which nodes a node knows.
    knows: fn(usize, usize) -> bool,
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

fn keys(text: &str) -> Arc<Keys> {
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

fn content() -> Bytes {
    CONTENT.0.clone()
}

fn digest() -> Digest {
    CONTENT.1.clone()
}

fn key() -> BlobKey {
    BlobKey { scope: Scope::new("contoso"), digest: digest() }
}

/// Nodes `n0`, `n1` and so on, that listen at the addresses which their tables name.
async fn nodes(count: usize, options: Options) -> Vec<Node> {
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
    fn source(&self) -> Source {
        let origin = Arc::clone(&self.store) as Arc<dyn Origin>;
        let behind = Source { origin, object: Layout::new("contoso").blob(&digest()) };
        self.stamp.source("contoso".parse().expect("a name"), key(), behind)
    }

    async fn try_read(&self, wanted: Wanted) -> Result<Vec<u8>, CacheError> {
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

    async fn check(&self) {
        assert!(self.try_read(Wanted::Whole).await.expect("it ends well") == content(), "wrong bytes");
    }

    fn act(&self, act: Act) {
        *self.act.lock().expect("whole") = act;
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::Relaxed)
    }

    /// Stretches of the blob that it owns among nodes that all know each other.
    fn owned(&self) -> u64 {
        let table = self.stamp.bindings.current();
        let owns = |number: &u64| self.stamp.owner(&table, &Stretch::at(&key(), number * STRETCH)).is_none();
        (0..SIZE.div_ceil(STRETCH)).filter(owns).count() as u64
    }
}

async fn eventually(what: &str, condition: impl Fn() -> bool) {
    let begun = std::time::Instant::now();
    while !condition() {
        assert!(begun.elapsed() < LIMIT, "{what}: not within {LIMIT:?}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cold_blob_costs_storage_once_for_all_nodes_of_a_stamp() {
    let nodes = nodes(4, Options::default()).await;
    join_all(nodes.iter().map(Node::check)).await;
    let (mut origin, mut lent) = (0, 0);
    for node in &nodes {
        let stats = node.cache.stats();
        println!("{} of storage, {} lent, {} stretches", stats.origin_bytes, stats.lent_bytes, node.owned());
        origin += stats.origin_bytes;
        lent += stats.lent_bytes;
    }
    let sent = nodes[0].store.origin().sent_bytes();
    println!("{sent} bytes of storage for {SIZE}");
    // Reads that two nodes begin at the same moment may both go to storage, on a machine that is slow enough.
    assert!((SIZE..=SIZE + 2 * STRETCH).contains(&sent), "storage is read {sent} bytes for {SIZE}");
    assert!((SIZE..=sent).contains(&origin), "{origin} is not what storage sent");
    assert!((4 * SIZE..=4 * SIZE + 2 * STRETCH).contains(&(origin + lent)), "{lent} lent besides {origin}");
    // Each has all of it now.
    let before: Vec<_> = nodes.iter().map(Node::asked).collect();
    join_all(nodes.iter().map(Node::check)).await;
    assert_eq!(before, nodes.iter().map(Node::asked).collect::<Vec<_>>(), "what is kept is asked of nobody");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nodes_that_wait_for_each_other_both_go_on() {
    // One read at a time: both are soon used by one that waits for the other node.
    let options = Options { fetch_parallel: 1, patience: Duration::from_secs(5), ..Options::default() };
    let nodes = nodes(2, options).await;
    assert!(nodes.iter().all(|node| node.owned() >= 2), "both own some");
    let half = SIZE / 2 / MIB * MIB;
    let begun = std::time::Instant::now();
    let (first, second) = tokio::join!(
        nodes[0].try_read(Wanted::Closed { first: 0, last: half - 1 }),
        nodes[1].try_read(Wanted::Closed { first: half, last: SIZE - 1 }),
    );
    assert!([first.expect("it ends well"), second.expect("it ends well")].concat() == content());
    println!("{:?}; {} bytes of storage", begun.elapsed(), nodes[0].store.origin().sent_bytes());
    assert!(begun.elapsed() < Duration::from_secs(4), "somebody lost patience");
    let stats = nodes.iter().map(|node| node.cache.stats().lent_bytes).sum::<u64>();
    assert!(stats > 0, "nothing was lent");
    // Where both opened at the same moment, each by the other, one stretch of each may have been begun there too.
    assert!(nodes[0].store.origin().sent_bytes() <= SIZE + 2 * STRETCH);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_says_nothing_costs_its_patience_once_and_is_asked_again_when_it_answers() {
    let nodes = nodes(2, Options::default()).await;
    assert!(nodes[1].owned() >= 2);
    nodes[1].act(Act::Mute);
    let begun = std::time::Instant::now();
    nodes[0].check().await;
    let detour = begun.elapsed();
    println!("{detour:?} with {} questions to a mute node", nodes[1].asked());
    assert!(detour >= PATIENCE, "it was never asked");
    assert!(detour < PATIENCE * 4, "the detour is bounded");
    assert_eq!(nodes[0].cache.stats().lent_bytes, 0);
    let name = "n1".parse().expect("a name");
    assert!(nodes[0].stamp.away.is_away(&name));
    nodes[1].act(Act::Serve);
    eventually("it is asked again", || !nodes[0].stamp.away.is_away(&name)).await;
    nodes[0].cache.purge(&Scope::new("contoso"), None).await.expect("purged");
    nodes[0].check().await;
    assert!(nodes[0].cache.stats().lent_bytes > 0, "it lends again");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_stalls_or_breaks_off_is_gone_on_from_at_the_exact_byte() {
    for act in [Act::StallAfter(3 * MIB), Act::BreakAfter(3 * MIB), Act::BreakAfter(1), Act::StallAfter(0)] {
        let nodes = nodes(2, Options::default()).await;
        assert!(nodes[1].owned() >= 2);
        nodes[1].act(act.clone());
        let begun = std::time::Instant::now();
        nodes[0].check().await;
        let stats = nodes[0].cache.stats();
        println!(
            "{act:?}: {:?}, {} lent, {} retries",
            begun.elapsed(),
            stats.lent_bytes,
            stats.origin_retries
        );
        assert_eq!(stats.lent_bytes + stats.origin_bytes, SIZE, "{act:?}: a byte came twice");
        assert_eq!(stats.origin_retries, 0, "{act:?}: storage has not failed");
        assert!(begun.elapsed() < PATIENCE * 4, "{act:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn wrong_bytes_of_a_node_fail_one_pull_and_the_next_one_reads_storage() {
    let nodes = nodes(2, Options { shared: false, ..Options::default() }).await;
    assert!(nodes[1].owned() >= 1);
    let mut wrong = content().to_vec();
    let at = (0..SIZE.div_ceil(STRETCH)).map(|number| number * STRETCH + 77).find(|offset| {
        nodes[0].stamp.owner(&nodes[0].stamp.bindings.current(), &Stretch::at(&key(), *offset)).is_some()
    });
    wrong[at.expect("n1 owns some") as usize] ^= 1;
    // Of the same version, as it would be with a damaged memory or a liar.
    let object = Layout::new("contoso").blob(&digest());
    nodes[1].store.remove(&object);
    let fresh = MemoryStore::new();
    fresh.put(&object, wrong);
    let version = fresh.origin().get(&object, 0..1, None).await.expect("there").etag;
    assert_eq!(version, nodes[0].store.origin().get(&object, 0..1, None).await.expect("there").etag);
    let lying = Laid::over(fresh as Arc<dyn Store>);
    // The cache of the second node gets the wrong content by the way of its own account.
    let source = Arc::clone(lying.store().expect("storage")) as Arc<dyn Origin>;
    let source = Source { origin: source, object };
    let mut reader = nodes[1]
        .cache
        .read(&key(), &source, Wanted::Closed { first: 0, last: SIZE - 2 })
        .await
        .expect("ranges are served before they are verified");
    while let Some(piece) = reader.next().await {
        piece.expect("a piece");
    }
    drop(reader);

    let error = nodes[0].try_read(Wanted::Whole).await.expect_err("the digest does not agree");
    assert!(matches!(error, CacheError::Mismatch(_)), "{error}");
    assert!(nodes[0].cache.stats().lent_bytes > 0, "nothing was lent");
    let lent = nodes[0].cache.stats().lent_bytes;
    nodes[0].check().await;
    assert_eq!(nodes[0].cache.stats().lent_bytes, lent, "what was refuted is read from storage alone");
    assert_eq!(nodes[0].cache.stats().mismatches, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_has_another_version_of_the_same_content_fails_no_pull() {
    let nodes = nodes(2, Options { shared: false, ..Options::default() }).await;
    assert!(nodes.iter().all(|node| node.owned() >= 2));
    // Where it lay before, it had another version.
    nodes[1].store.put(&Layout::new("contoso").blob(&digest()), content());
    let from_start = Wanted::Closed { first: 0, last: SIZE - 2 };
    nodes[1].try_read(from_start).await.expect("it ends well");
    // One of the two opens what the other owns.
    join_all(nodes.iter().map(Node::check)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_without_the_key_gets_nothing_and_is_believed_nothing() {
    let nodes = nodes(2, Options { key: |me| ["k", "o"][me], ..Options::default() }).await;
    assert!(nodes.iter().all(|node| node.owned() >= 1));
    // Neither accepts the other's signature.
    join_all(nodes.iter().map(Node::check)).await;
    for node in &nodes {
        assert_eq!((node.cache.stats().lent_bytes, node.cache.stats().origin_bytes), (0, SIZE));
        assert!(node.asked() > 0, "it was never asked");
    }
    // Whoever asks without a signature, or with that of another question, reads nothing.
    let table = nodes[0].stamp.bindings.current();
    let address = table.stamp(&"a".parse().expect("a name")).expect("listed").nodes[0].address;
    let path = format!("http://{address}{PATH}contoso/{}", digest());
    let question = |first| Question::Read {
        registry: "contoso".parse().expect("a name"),
        digest: digest(),
        first,
        last: STRETCH - 1,
    };
    let [from, to]: [NodeName; 2] = ["n1", "n0"].map(|name| name.parse().expect("a name"));
    let stamp = "a".parse().expect("a name");
    let ends = proof::Ends { stamp: &stamp, from: &from, to: &to };
    let now = crate::process::now_seconds() as u64;
    let good = proof::sign(&keys("k"), ends, &question(0), now).expect("signed").0;
    let other = proof::sign(&keys("k"), ends, &question(1), now).expect("signed").0;
    let old = proof::sign(&keys("k"), ends, &question(0), now - 120).expect("signed").0;
    let client: hyper_util::client::legacy::Client<_, http_body_util::Empty<Bytes>> =
        hyper_util::client::legacy::Client::builder(hyper_util::rt::TokioExecutor::new()).build_http();
    for (signature, status) in [
        (None, StatusCode::FORBIDDEN),
        (Some(other), StatusCode::FORBIDDEN),
        (Some(old), StatusCode::FORBIDDEN),
        (Some(good), StatusCode::PARTIAL_CONTENT),
    ] {
        let mut request = Request::get(&path).header("range", format!("bytes=0-{}", STRETCH - 1));
        if let Some(signature) = signature {
            request = request.header("authorization", signature);
        }
        let answer = client
            .request(request.body(http_body_util::Empty::new()).expect("a request"))
            .await
            .expect("answered");
        assert_eq!(answer.status(), status);
        let body = answer.into_body().collect().await.expect("a body").to_bytes();
        assert_eq!(body.len() as u64, if status == StatusCode::FORBIDDEN { 0 } else { STRETCH });
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_without_its_proof_is_not_read() {
    let nodes = nodes(2, Options::default()).await;
    assert!(nodes[1].owned() >= 1);
    nodes[1].act(Act::Forge);
    nodes[0].check().await;
    assert!(nodes[1].asked() > 0);
    assert_eq!(nodes[0].cache.stats().lent_bytes, 0);
    assert!(nodes[0].stamp.away.is_away(&"n1".parse().expect("a name")));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_gone_node_owned_is_read_once_by_the_next_in_order() {
    let nodes = nodes(4, Options::default()).await;
    assert!(nodes[3].owned() >= 1);
    let gone = nodes[3].owned();
    nodes[3].server.abort();
    eventually("the port is closed", || nodes[3].server.is_finished()).await;
    join_all(nodes[..3].iter().map(Node::check)).await;
    let sent = nodes[0].store.origin().sent_bytes();
    println!("{sent} bytes of storage for {SIZE}, {gone} stretches were of a node that is gone");
    // Without the next in order, each of the three would have read those stretches.
    assert!(
        (SIZE..=SIZE + 2 * STRETCH).contains(&sent) && gone >= 2,
        "the next in order takes its place at once"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_drains_or_has_no_place_lends_nothing_and_fails_nobody() {
    let nodes = nodes(2, Options { max_reads: 0, ..Options::default() }).await;
    join_all(nodes.iter().map(Node::check)).await;
    assert!(nodes.iter().all(|node| node.cache.stats().lent_bytes == 0 && node.asked() > 0));
    assert!(!nodes[0].stamp.away.is_away(&"n1".parse().expect("a name")), "who is busy is not away");

    let nodes = self::nodes(2, Options::default()).await;
    nodes[1].life.advance(State::Draining);
    nodes[0].check().await;
    assert!(nodes[1].asked() > 0 && nodes[0].cache.stats().lent_bytes == 0);
    assert!(nodes[0].stamp.away.is_away(&"n1".parse().expect("a name")));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_is_asked_for_what_another_owns_reads_storage_and_asks_nobody() {
    // The first knows the second alone; the second knows all three, and that the third owns some.
    let nodes = nodes(3, Options { knows: |me, other| me != 0 || other < 2, ..Options::default() }).await;
    nodes[0].check().await;
    assert!(nodes[0].cache.stats().lent_bytes > 0, "nothing was lent");
    assert_eq!(nodes[2].asked(), 0, "a question went on to a third node");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_read_that_is_left_stops_at_the_node_that_was_asked_too() {
    let options = Options { patience: Duration::from_secs(5), max_reads: 64, ..Options::default() };
    let nodes = nodes(2, options).await;
    assert!(nodes[1].owned() >= 1);
    let gate = Gate::new();
    nodes[0].store.origin().always(Fault::Hold { after_bytes: MIB, gate: gate.clone() });
    {
        let read = nodes[0].try_read(Wanted::Whole);
        let mut read = std::pin::pin!(read);
        tokio::select! {
            _ = &mut read => panic!("it cannot end"),
            () = eventually("the other node reads", || nodes[1].stamp.places.available_permits() < 64) => {}
        }
    }
    eventually("all places are free", || nodes[1].stamp.places.available_permits() == 64).await;
    eventually("no fill runs", || nodes.iter().all(|node| node.cache.stats().fills_running == 0)).await;
    gate.open();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_account_makes_no_node_away() {
    let nodes = nodes(2, Options { patience: Duration::from_secs(1), ..Options::default() }).await;
    let gate = Gate::new();
    nodes[0].store.origin().always(Fault::HoldAnswer(gate.clone()));
    let (both, ()) = tokio::join!(join_all(nodes.iter().map(Node::check)), async {
        // Longer than the patience of whoever asks.
        tokio::time::sleep(Duration::from_millis(1500)).await;
        gate.open();
    });
    assert_eq!(both.len(), 2);
    for (node, other) in [(0, "n1"), (1, "n0")] {
        assert!(!nodes[node].stamp.away.is_away(&other.parse().expect("a name")), "n{node}");
    }
}
