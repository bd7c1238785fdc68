//! Scripted nodes that refuse, die, stall and lie; a client that must not notice.

use std::collections::HashSet;
use std::net::SocketAddr;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use dataproxy_cache::{Algorithm, Digest};
use dataproxy_router_api::Snapshot;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::*;
use crate::accept::{Acceptor, Speaks, bind};
use crate::bindings::Table;
use crate::connection::Bounds;
use crate::lifecycle::State;

mod scripted;

use scripted::{Act, Node, blob, digest, header, read_head};

const PATIENCE: Duration = Duration::from_secs(10);

struct Region {
    nodes: Vec<Node>,
    bindings: Arc<Bindings>,
    front: Arc<Front>,
    addr: SocketAddr,
}

/// Stamp a has all nodes but the last one, which is stamp b's.
fn snapshot(revision: u64, home: &str, nodes: &[Node]) -> Table {
    let entry = |(at, node): (usize, &Node)| serde_json::json!({"name": format!("n{at}"), "address": node.addr, "admin": node.admin});
    let mut entries: Vec<_> = nodes.iter().enumerate().map(entry).collect();
    let last = entries.pop().unwrap();
    let snapshot = serde_json::json!({
        "revision": revision, "region": "local",
        "stamps": [{"name": "a", "nodes": entries}, {"name": "b", "nodes": [last]}],
        "bindings": [{"registry": "contoso", "home_stamp": home, "epoch": revision, "placement": {"account": "x", "container": "c"}}],
    });
    Table::new(serde_json::from_value::<Snapshot>(snapshot).unwrap())
}

fn settings() -> Forwarding {
    Forwarding {
        probe_interval: Duration::from_millis(20),
        try_timeout: Duration::from_millis(300),
        headers_timeout: Duration::from_secs(2),
        body_idle_timeout: Duration::from_millis(300),
        ..Forwarding::default()
    }
}

impl Region {
    async fn start(settings: Forwarding) -> Self {
        let nodes = vec![Node::start().await, Node::start().await, Node::start().await];
        let bindings = Arc::new(Bindings::new(snapshot(1, "a", &nodes)));
        let tenancy =
            Tenancy { zone: "registry.test".parse().unwrap(), path_tenancy: true, default_registry: None };
        let front = Front::new("front".parse().unwrap(), tenancy, Arc::clone(&bindings), settings);
        let (life, watching) = (Lifecycle::default(), Arc::clone(&front));
        life.advance(State::Ready);
        let watched = life.clone();
        tokio::spawn(async move { watching.watch_nodes(&watched).await });
        front.looked().await;
        let bounds = Bounds {
            header_bytes: 16 << 10,
            header_count: 64,
            write_quantum_bytes: 1 << 20,
            sendfile: true,
            tls_buffer_bytes: 256 << 10,
            first_byte_timeout: PATIENCE,
            idle_timeout: PATIENCE,
        };
        let serving = Arc::clone(&front);
        let acceptor = Acceptor::new(
            move |request| Arc::clone(&serving).serve(request),
            bounds,
            100,
            false,
            life,
            Arc::default(),
        );
        let listener = bind(SocketAddr::from(([127, 0, 0, 1], 0)), "listen.pull").unwrap();
        let addr = listener.local_addr().unwrap();
        tokio::spawn(acceptor.accept(listener, Speaks::Plain));
        Self { nodes, bindings, front, addr }
    }

    /// Stamp a's two nodes: the one that our blob goes to, and the other one.
    async fn by_preference(&self) -> (&Node, &Node) {
        let (_, body) = self.get("").await;
        assert_eq!(body, blob());
        let (one, other) = (&self.nodes[0], &self.nodes[1]);
        if one.seen().is_empty() { (other, one) } else { (one, other) }
    }

    async fn request(&self, method: &str, path: &str, headers: &str) -> (String, Vec<u8>) {
        let mut stream = TcpStream::connect(self.addr).await.unwrap();
        let request =
            format!("{method} {path} HTTP/1.1\r\nhost: 127.0.0.1:5000\r\nconnection: close\r\n{headers}\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let head =
            tokio::time::timeout(PATIENCE, read_head(&mut stream)).await.expect("a head in time").unwrap();
        let mut body = Vec::new();
        // An error here is a reset: whatever happens, the client must see a FIN.
        tokio::time::timeout(PATIENCE, stream.read_to_end(&mut body))
            .await
            .expect("an end in time")
            .expect("FIN");
        (head, body)
    }

    async fn get(&self, headers: &str) -> (String, Vec<u8>) {
        self.request("GET", &format!("/v2/contoso/app/blobs/{}", digest()), headers).await
    }
}

#[tokio::test]
async fn a_request_reaches_a_node_as_the_client_sent_it() {
    let region = Region::start(settings()).await;
    let (node, _) = region.by_preference().await;
    let (head, _) = region
        .get("range: bytes=5-9\r\nauthorization: Bearer t\r\nte: trailers\r\nx-request-id: mine\r\n")
        .await;
    assert!(head.starts_with("HTTP/1.1 206"), "{head}");
    let seen = node.seen().pop().unwrap();
    assert!(seen.starts_with(&format!("GET /v2/contoso/app/blobs/{} HTTP/1.1\r\n", digest())), "{seen}");
    for (name, value) in [
        ("host", Some("127.0.0.1:5000")),
        ("range", Some("bytes=5-9")),
        ("authorization", Some("Bearer t")),
        ("x-request-id", Some("mine")),
        ("x-forwarded-for", Some("127.0.0.1")),
        ("dataproxy-front", Some("front")),
        ("te", None),
        ("connection", None),
    ] {
        assert_eq!(header(&seen, name), value, "{name}");
    }
}

#[tokio::test]
async fn a_blob_always_goes_to_one_node_and_many_blobs_to_all() {
    let region = Region::start(settings()).await;
    let mut used = HashSet::new();
    for n in 0..16_u8 {
        let path = format!("/v2/contoso/app/blobs/{}", Digest::of(Algorithm::Sha256, &[n]));
        let before: Vec<usize> = region.nodes.iter().map(|node| node.seen().len()).collect();
        for _ in 0..3 {
            region.request("HEAD", &path, "").await;
        }
        let moved = |(at, node): (usize, &Node)| (node.seen().len() - before[at] == 3).then_some(at);
        let node = region.nodes.iter().enumerate().find_map(moved).expect("one node has all three");
        used.insert(node);
    }
    assert_eq!(used, HashSet::from([0, 1]), "stamp a has nodes 0 and 1");
}

#[tokio::test]
async fn a_node_killed_inside_a_body_is_not_noticed() {
    let region = Region::start(settings()).await;
    let (first, second) = region.by_preference().await;
    first.will(&[Act::DieAfter(123_457)]);
    let (head, body) = region.get("").await;
    assert!(head.starts_with("HTTP/1.1 200") && header(&head, "content-length") == Some("800000"), "{head}");
    assert_eq!(body, blob());
    let rest = second.seen().pop().unwrap();
    assert_eq!(header(&rest, "range"), Some("bytes=123457-799999"));
    assert_eq!(header(&rest, "if-match"), Some("\"this\""));
}

#[tokio::test]
async fn a_range_goes_on_at_its_own_offsets() {
    let region = Region::start(settings()).await;
    let (first, second) = region.by_preference().await;
    first.will(&[Act::BreakAfter(1000)]);
    let (head, body) = region.get("range: bytes=500000-\r\n").await;
    assert!(head.starts_with("HTTP/1.1 206"), "{head}");
    assert_eq!(header(&head, "content-range"), Some("bytes 500000-799999/800000"));
    assert_eq!(body, blob()[500_000..]);
    assert_eq!(header(&second.seen().pop().unwrap(), "range"), Some("bytes=501000-799999"));
}

#[tokio::test]
async fn a_node_that_goes_silent_inside_a_body_is_left() {
    let region = Region::start(settings()).await;
    let (first, _) = region.by_preference().await;
    first.will(&[Act::StallAfter(1000)]);
    assert_eq!(region.get("").await.1, blob());
}

#[tokio::test]
async fn a_node_that_refuses_breaks_or_stalls_before_its_headers_is_passed_over() {
    for act in [Act::Break, Act::Stall] {
        let region = Region::start(settings()).await;
        let (first, second) = region.by_preference().await;
        let before = second.seen().len();
        first.will(&[act]);
        assert_eq!(region.get("").await.1, blob(), "{act:?}");
        assert_eq!(second.seen().len(), before + 1, "{act:?}");
    }
    // Looked at once and never again, so only the refused connection can tell.
    let mut region = Region::start(Forwarding { probe_interval: PATIENCE, ..settings() }).await;
    region.by_preference().await;
    let dead = usize::from(region.nodes[0].seen().is_empty());
    region.nodes[dead].kill().await;
    assert_eq!(region.get("").await.1, blob());
}

#[tokio::test]
async fn a_lost_node_that_is_back_goes_on_where_every_other_one_is_gone() {
    // Nodes are looked at once and never again: the other one is thought to be ready until it is asked.
    let mut region = Region::start(Forwarding { probe_interval: PATIENCE, ..settings() }).await;
    let (first, _) = region.by_preference().await;
    first.will(&[Act::BreakAfter(1000)]);
    let other = usize::from(!region.nodes[0].seen().is_empty());
    region.nodes[other].kill().await;
    assert_eq!(region.get("").await.1, blob());
}

#[tokio::test]
async fn an_answer_that_is_not_exactly_the_rest_is_never_mixed_in() {
    for lie in [Act::OtherVersion, Act::ShorterRange] {
        let region = Region::start(settings()).await;
        let (first, second) = region.by_preference().await;
        // The liar is asked first; the node that was lost is asked again once there is no other.
        first.will(&[Act::BreakAfter(1000)]);
        second.will(&[lie]);
        assert_eq!(region.get("").await.1, blob(), "{lie:?}");

        first.will(&[Act::BreakAfter(1000), lie]);
        second.will(&[lie]);
        let (head, body) = region.get("").await;
        assert_eq!(header(&head, "content-length"), Some("800000"));
        assert_eq!(body, blob()[..1000], "{lie:?}: short, and not one byte of it wrong");
    }
}

#[tokio::test]
async fn a_manifest_which_nodes_give_only_whole_goes_on_where_it_was() {
    let region = Region::start(settings()).await;
    let (first, second) = region.by_preference().await;
    first.will(&[Act::BreakAfter(123_457)]);
    second.will(&[Act::Whole]);
    assert_eq!(region.get("").await.1, blob());
    // Lost again before it has caught up: what the client has does not change.
    first.will(&[Act::BreakAfter(1000), Act::Whole]);
    second.will(&[Act::WholeUntil(10)]);
    assert_eq!(region.get("").await.1, blob());
}

#[tokio::test]
async fn a_body_that_gets_no_further_ends_short() {
    let region = Region::start(settings()).await;
    let (first, second) = region.by_preference().await;
    first.will(&[Act::BreakAfter(10), Act::BreakAfter(0), Act::BreakAfter(0), Act::BreakAfter(0)]);
    second.will(&[Act::BreakAfter(0), Act::BreakAfter(0), Act::BreakAfter(0), Act::BreakAfter(0)]);
    assert_eq!(region.get("").await.1, blob()[..10]);
    first.script.lock().unwrap().clear();
    second.script.lock().unwrap().clear();
    // Progress counts: many losses in a row are no reason to give up while bytes come.
    let losses = [Act::BreakAfter(50_000); 20];
    first.will(&losses);
    second.will(&losses);
    assert_eq!(region.get("").await.1, blob());
}

#[tokio::test]
async fn a_draining_node_gets_nothing_while_another_one_is_ready() {
    let region = Region::start(settings()).await;
    let (first, second) = region.by_preference().await;
    first.ready.store(false, Ordering::Relaxed);
    let start = Instant::now();
    let mut before = second.seen().len();
    while second.seen().len() == before {
        assert!(start.elapsed() < PATIENCE, "the draining node still gets pulls");
        before = second.seen().len();
        assert_eq!(region.get("").await.1, blob());
    }
    // With no ready one left, a node that drains still serves: to refuse would fail the pull.
    second.ready.store(false, Ordering::Relaxed);
    let looks = second.looks.load(Ordering::Relaxed);
    while second.looks.load(Ordering::Relaxed) < looks + 2 {
        assert!(start.elapsed() < PATIENCE, "the front door does not look");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(region.get("").await.1, blob());
}

#[tokio::test]
async fn with_no_node_at_all_the_answer_is_a_503_to_come_back_to() {
    let mut region =
        Region::start(Forwarding { headers_timeout: Duration::from_millis(500), ..settings() }).await;
    region.nodes[0].kill().await;
    region.nodes[1].kill().await;
    let (head, body) = region.get("").await;
    assert!(head.starts_with("HTTP/1.1 503"), "{head}");
    assert_eq!(header(&head, "retry-after"), Some("1"));
    let json: serde_json::Value = serde_json::from_slice(&body).unwrap();
    assert_eq!(json["errors"][0]["code"], "UNAVAILABLE");
}

#[tokio::test]
async fn nodes_that_are_all_too_slow_are_a_504_and_not_missing() {
    let region = Region::start(settings()).await;
    let (first, second) = region.by_preference().await;
    for node in [first, second] {
        node.will(&[Act::Stall; 4]);
    }
    let (head, body) = region.get("").await;
    assert!(head.starts_with("HTTP/1.1 504"), "{head}");
    assert_eq!(header(&head, "retry-after"), Some("1"));
    let json: serde_json::Value = serde_json::from_slice(&body).unwrap();
    assert_eq!(json["errors"][0]["code"], "UNAVAILABLE");
}

#[tokio::test]
async fn a_pull_waits_for_a_node_that_comes_back() {
    let mut region = Region::start(Forwarding { headers_timeout: PATIENCE, ..settings() }).await;
    region.nodes[0].kill().await;
    region.nodes[1].kill().await;
    let addr = region.addr;
    let path =
        format!("GET /v2/contoso/app/blobs/{} HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n", digest());
    let mut stream = TcpStream::connect(addr).await.unwrap();
    stream.write_all(path.as_bytes()).await.unwrap();
    let early = tokio::time::timeout(Duration::from_millis(200), stream.peek(&mut [0])).await;
    assert!(early.is_err(), "answered while no node is there");
    region.nodes[1].start_again().await;
    let head = tokio::time::timeout(PATIENCE, read_head(&mut stream)).await.expect("in time").unwrap();
    assert!(head.starts_with("HTTP/1.1 200"), "{head}");
}

#[tokio::test]
async fn a_binding_that_moves_is_followed() {
    let region = Region::start(settings()).await;
    region.by_preference().await;
    region.bindings.replace(snapshot(2, "b", &region.nodes)).unwrap();
    let before = region.nodes[2].seen().len();
    assert_eq!(region.get("").await.1, blob());
    assert_eq!(region.nodes[2].seen().len(), before + 1);
}

#[tokio::test]
async fn a_body_follows_a_binding_that_moves_while_it_runs() {
    let mut region = Region::start(settings()).await;
    let preferred = usize::from(region.by_preference().await.0.addr == region.nodes[1].addr);
    region.nodes[preferred].will(&[Act::StallAfter(1000)]);
    let path =
        format!("GET /v2/contoso/app/blobs/{} HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n", digest());
    let mut stream = TcpStream::connect(region.addr).await.unwrap();
    stream.write_all(path.as_bytes()).await.unwrap();
    read_head(&mut stream).await.unwrap();
    region.bindings.replace(snapshot(2, "b", &region.nodes)).unwrap();
    region.nodes[preferred].kill().await;
    let mut body = Vec::new();
    tokio::time::timeout(PATIENCE, stream.read_to_end(&mut body)).await.expect("in time").unwrap();
    assert_eq!(body, blob());
}

#[tokio::test]
async fn what_needs_no_node_is_answered_here() {
    let region = Region::start(settings()).await;
    for (method, path, headers, status, code) in [
        ("GET", "/v2/", "", 200, None),
        ("GET", "/v2/nobody/app/tags/list", "", 404, Some("NAME_UNKNOWN")),
        ("PUT", "/v2/contoso/app/manifests/v1", "content-length: 0\r\n", 405, Some("UNSUPPORTED")),
        ("GET", "/v2/contoso/app/tags/list", "dataproxy-front: other\r\n", 508, Some("UNSUPPORTED")),
    ] {
        let (head, body) = region.request(method, path, headers).await;
        assert!(head.starts_with(&format!("HTTP/1.1 {status}")), "{method} {path}: {head}");
        let json: serde_json::Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(json["errors"][0]["code"].as_str(), code, "{method} {path}");
    }
    assert!(region.nodes.iter().all(|node| node.seen().is_empty()));
}

#[tokio::test]
async fn what_is_answered_here_has_the_headers_of_every_answer_and_no_body_to_head() {
    let region = Region::start(settings()).await;
    let path = "/v2/app/manifests/v1?ns=contoso.registry.test";
    region.bindings.replace(snapshot(2, "b", &region.nodes)).unwrap();
    for (method, path, more, namespace) in [
        ("GET", "/v2/", "", None),
        ("HEAD", "/v2/", "", None),
        ("HEAD", "/v2/nobody/app/tags/list", "", None),
        ("PUT", "/v2/contoso/app/manifests/v1", "content-length: 0\r\n", None),
    ] {
        let (head, body) = region.request(method, path, more).await;
        assert_eq!(header(&head, "docker-distribution-api-version"), Some("registry/2.0"), "{head}");
        assert!(header(&head, "x-request-id").is_some(), "{head}");
        assert_eq!(header(&head, "oci-namespace"), namespace, "{head}");
        let length: usize = header(&head, "content-length").unwrap().parse().unwrap();
        assert!(length > 0, "{head}");
        assert_eq!(body.len(), if method == "HEAD" { 0 } else { length }, "{method} {path}");
    }
    let mut region = region;
    region.nodes[2].kill().await;
    // A request that is known to be for a namespace and finds no node.
    let (head, _) = region.request("GET", path, "").await;
    assert!(head.starts_with("HTTP/1.1 503"), "{head}");
    assert_eq!(header(&head, "oci-namespace"), Some("contoso.registry.test"), "{head}");
}

#[tokio::test]
async fn a_head_that_is_answered_here_is_complete_in_the_account() {
    let region = Region::start(settings()).await;
    let front = Arc::clone(&region.front);
    let request = http::Request::head("/v2/").header("host", "a");
    let response = front.serve(request.body(http_body_util::Empty::<bytes::Bytes>::new()).unwrap()).await;
    assert_eq!(response.headers()["content-length"], "2");
    assert!(matches!(response.body(), Body::Empty), "nothing is left to send");
}
