//! Pulls at a stamp that is not the registry's home any more: served through, or forwarded by one hop, never refused.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use dataproxy::accept::{Acceptor, Speaks, bind};
use dataproxy::bindings::Table;
use dataproxy::config::Forwarding;
use dataproxy::connection::Bounds;
use dataproxy::lifecycle::Lifecycle;
use dataproxy::store::memory::MemoryStore;
use dataproxy_cache::OriginErrorKind;
use dataproxy_cache::conformance::pattern;
use dataproxy_cache::fakes::Fault;
use serde_json::json;

use crate::node::{Node, Reply, contoso, repository};

const CONTOSO: &[(&str, &str)] = &[("host", "contoso.registry.test")];

/// `contoso` has moved from stamp `a` to `b`, whose nodes are at these addresses.
fn moved(revision: u64, phase: &str, source: Option<&str>, nodes: &[SocketAddr]) -> Table {
    let entry = |(at, address): (usize, &SocketAddr)| {
        let admin = SocketAddr::from(([127, 0, 0, 1], 1 + at as u16));
        json!({"name": format!("b{at}"), "address": address, "admin": admin})
    };
    let nodes: Vec<_> = nodes.iter().enumerate().map(entry).collect();
    let mut binding = json!({
        "registry": "contoso", "home_stamp": "b", "epoch": revision + 10, "phase": phase, "pull": "anonymous",
        "placement": {"account": "one", "container": "contoso"},
    });
    if let Some(source) = source {
        binding["source"] = json!(source);
    }
    let snapshot = json!({
        "revision": revision, "region": "west",
        "stamps": [{"name": "a", "nodes": []}, {"name": "b", "nodes": nodes}],
        "bindings": [binding],
    });
    Table::new(serde_json::from_value(snapshot).expect("a snapshot"))
}

/// Serves a node's pulls on a socket.
fn listen(node: &Node) -> SocketAddr {
    let patience = Duration::from_secs(20);
    let bounds = Bounds {
        header_bytes: 16 << 10,
        header_count: 64,
        write_quantum_bytes: 1 << 20,
        sendfile: true,
        tls_buffer_bytes: 256 << 10,
        first_byte_timeout: patience,
        idle_timeout: patience,
    };
    let (puller, life) = (Arc::clone(&node.puller), Lifecycle::default());
    life.opened();
    let acceptor = Acceptor::new(
        move |request| Arc::clone(&puller).serve(request),
        bounds,
        100,
        false,
        life,
        Arc::default(),
    );
    let listener = bind(SocketAddr::from(([127, 0, 0, 1], 0)), "listen.pull").expect("a port");
    let address = listener.local_addr().expect("bound");
    tokio::spawn(acceptor.accept(listener, Speaks::Plain));
    address
}

struct Move {
    /// The node of the stamp that the registry has left.
    old: Node,
    /// The node of its home.
    home: Node,
    address: SocketAddr,
    blob: Vec<u8>,
    path: String,
}

impl Move {
    /// `old` reads `store`; the home always has the content.
    async fn new(old: Option<&Arc<MemoryStore>>) -> Self {
        let store = MemoryStore::new();
        let blob = pattern(300_000);
        let digest = store.push_blob(contoso(), &repository("app"), &blob);
        let (old, home) = (Node::of_stamp("a", old).await, Node::of_stamp("b", Some(&store)).await);
        let address = listen(&home);
        let blob = blob.to_vec();
        Self { old, home, address, blob, path: format!("/v2/app/blobs/{digest}") }
    }

    fn bind(&self, table: impl Fn() -> Table) {
        for node in [&self.old, &self.home] {
            node.bindings.replace(table()).expect("newer");
        }
    }

    async fn get(&self) -> Reply {
        self.old.get_with(&self.path, CONTOSO).await
    }
}

fn closes(reply: &Reply) -> bool {
    reply.header("connection") == Some("close")
}

#[tokio::test]
async fn a_late_arrival_whose_account_this_stamp_cannot_read_is_forwarded_to_the_home() {
    for denied in [false, true] {
        let store = MemoryStore::new();
        store.origin().always(Fault::Refuse(OriginErrorKind::Denied));
        let moved_to = Move::new(denied.then_some(&store)).await;
        for (revision, phase, source) in
            [(2, "draining", Some("a")), (3, "observing", Some("a")), (4, "stable", None)]
        {
            moved_to.bind(|| moved(revision, phase, source, &[moved_to.address]));
            let reply = moved_to.get().await;
            assert_eq!(reply.status, 200, "{phase} {reply:?}");
            assert!(reply.body[..] == moved_to.blob, "{phase}");
            let record = moved_to.old.last_record();
            assert!(record.late && record.forwarded, "{record:?}");
            assert_eq!(record.sent, 0, "the last one was a HEAD");
            let at_home = moved_to.home.last_record();
            assert!(!at_home.late && !at_home.forwarded, "{at_home:?}");
            assert_eq!(at_home.request_id, record.request_id);
            if phase != "draining" {
                assert!(closes(&reply), "{phase}: {reply:?}");
            }
        }
        let ranged = [CONTOSO[0], ("range", "bytes=1000-1999")];
        let part = moved_to.old.get_with(&moved_to.path, &ranged).await;
        assert_eq!((part.status, &part.body[..]), (206, &moved_to.blob[1000..2000]));
        assert_eq!(moved_to.old.last_record().range.as_deref(), Some("bytes=1000-1999"));
    }
}

#[tokio::test]
async fn a_late_arrival_is_served_through_while_the_placement_can_be_read_and_its_connection_ends() {
    let store = MemoryStore::new();
    let digest = store.push_blob(contoso(), &repository("app"), b"layer");
    let old = Node::of_stamp("a", Some(&store)).await;
    // Nobody is there to forward to.
    for (revision, phase, source) in
        [(2, "observing", Some("a")), (3, "stable", Some("a")), (4, "stable", None)]
    {
        old.bindings.replace(moved(revision, phase, source, &[])).expect("newer");
        let reply = old.get_with(&format!("/v2/app/blobs/{digest}"), CONTOSO).await;
        assert_eq!((reply.status, &reply.body[..]), (200, &b"layer"[..]), "{phase}");
        assert!(closes(&reply), "{phase}");
        let record = old.last_record();
        assert!(record.late && !record.forwarded);
        // What is not there is not there, whichever stamp says so.
        assert_eq!(old.get_with("/v2/app/manifests/none", CONTOSO).await.status, 404);
    }
    old.bindings.replace(crate::node::table(5, "a")).expect_err("older epochs");
}

#[tokio::test]
async fn a_pull_at_home_and_one_that_comes_early_keep_their_connections() {
    let store = MemoryStore::new();
    let digest = store.push_blob(contoso(), &repository("app"), b"layer");
    let path = format!("/v2/app/blobs/{digest}");
    let home = Node::of_stamp("b", Some(&store)).await;
    home.bindings.replace(moved(2, "draining", Some("a"), &[])).expect("newer");
    let reply = home.get_with(&path, CONTOSO).await;
    assert!(reply.status == 200 && !closes(&reply) && !home.last_record().late);
    // The stamp that it is to come to serves it before it is bound there.
    let early = Node::of_stamp("c", Some(&store)).await;
    let mut warming = moved(2, "preparing", None, &[]).snapshot().clone();
    warming.bindings[0].destination = Some("c".parse().expect("a name"));
    early.bindings.replace(Table::new(warming)).expect("newer");
    let reply = early.get_with(&path, CONTOSO).await;
    assert!(reply.status == 200 && !closes(&reply) && !early.last_record().late, "{reply:?}");
}

#[tokio::test]
async fn what_has_been_forwarded_is_served_if_it_can_be_and_never_forwarded_again() {
    let moved_to = Move::new(None).await;
    moved_to.bind(|| moved(2, "observing", Some("a"), &[moved_to.address]));
    let marked = [CONTOSO[0], ("dataproxy-hop", "1"), ("dataproxy-epoch", "11")];
    let reply = moved_to.old.get_with(&moved_to.path, &marked).await;
    assert_eq!((reply.status, reply.code().as_str()), (508, "UNSUPPORTED"));
    let served = moved_to.home.get_with(&moved_to.path, &marked).await;
    assert_eq!(served.status, 200);

    // Two nodes that each hold the other's stamp for the home, and neither can read: the client is never told 508.
    let behind = Node::of_stamp("b", None).await;
    let back = moved(2, "observing", Some("a"), &[]).snapshot().clone();
    let mut back = back;
    (back.bindings[0].home_stamp, back.bindings[0].source) =
        ("a".parse().expect("a name"), Some("b".parse().expect("a name")));
    behind.bindings.replace(Table::new(back)).expect("newer");
    let address = listen(&behind);
    moved_to.old.bindings.replace(moved(3, "observing", Some("a"), &[address])).expect("newer");
    let reply = moved_to.old.send(http::Request::get(&moved_to.path).header("host", CONTOSO[0].1)).await;
    assert_eq!((reply.status, reply.code().as_str()), (503, "UNAVAILABLE"));
    assert_eq!(reply.header("retry-after"), Some("1"));
    assert_eq!(behind.last_record().code, Some("UNSUPPORTED"), "asked once, and not again by it");
    // The home's other node, which is not behind, serves.
    moved_to
        .old
        .bindings
        .replace(moved(4, "observing", Some("a"), &[address, moved_to.address]))
        .expect("newer");
    assert_eq!(moved_to.get().await.status, 200);
}

#[tokio::test(start_paused = true)]
async fn a_late_arrival_has_its_answer_in_the_time_of_one_however_long_this_node_has_tried_itself() {
    let (store, forwarding) = (MemoryStore::new(), Forwarding::default());
    let digest = store.push_blob(contoso(), &repository("app"), &pattern(300_000));
    let blob = contoso().blob(&digest);
    store.origin().script(move |asked| asked.object == blob, None, Fault::Mute);
    let old = Node::forwarding("a", Some(&store), forwarding).await;
    // The home takes connections, and says nothing.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = silent.local_addr().expect("bound");
    old.bindings.replace(moved(2, "stable", None, &[address])).expect("newer");
    let began = tokio::time::Instant::now();
    let request = http::Request::get(format!("/v2/app/blobs/{digest}")).header(CONTOSO[0].0, CONTOSO[0].1);
    let reply = old.send(request).await;
    let took = began.elapsed();
    assert_eq!(reply.status, 504, "{reply:?}");
    assert!(old.last_record().forwarded);
    assert!(took > dataproxy::pull::ANSWER_MAX, "{took:?}: it was tried here first");
    assert!(took <= forwarding.headers_timeout + Duration::from_millis(10), "{took:?}");
}

#[tokio::test]
async fn what_another_stamp_could_not_serve_either_is_not_forwarded() {
    let moved_to = Move::new(None).await;
    moved_to.bind(|| {
        let mut denied = moved(2, "observing", Some("a"), &[moved_to.address]).snapshot().clone();
        denied.bindings[0].pull = dataproxy_router_api::PullPolicy::Denied;
        Table::new(denied)
    });
    assert_eq!(moved_to.get().await.status, 403);
    assert!(moved_to.home.records().is_empty(), "nothing is forwarded that is not permitted");
    assert_eq!(moved_to.old.get_with("/v2/", CONTOSO).await.status, 200);
}

#[tokio::test]
async fn running_pulls_are_counted_for_their_registry_until_their_bodies_end() {
    let store = MemoryStore::new();
    let digest = store.push_blob(contoso(), &repository("app"), &pattern(300_000));
    let node = Node::of_stamp("b", Some(&store)).await;
    node.bindings.replace(moved(2, "stable", None, &[])).expect("newer");
    let contoso = "contoso".parse().expect("a name");
    let worked = || node.bindings.current().standing(&contoso).expect("bound").worked();
    let open = |path: String| node.open(http::Request::get(path).header("host", CONTOSO[0].1));
    let first = open(format!("/v2/app/blobs/{digest}")).await;
    let second = open(format!("/v2/app/blobs/{digest}")).await;
    assert_eq!((worked().in_flight, worked().begun), (2, 2));
    // A new epoch does not lose who runs.
    node.bindings.replace(moved(3, "stable", None, &[])).expect("newer");
    assert_eq!((worked().in_flight, worked().begun), (2, 0));
    drop(first);
    assert_eq!(worked().in_flight, 1, "who hangs up is gone");
    drop(second);
    assert_eq!(open("/v2/app/manifests/none".to_owned()).await.status(), 404);
    assert_eq!((worked().in_flight, worked().begun), (0, 1));
}
