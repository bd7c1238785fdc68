//! The admin listener says what state the node is in, and answers while the serving runtime is blocked.

use http_body_util::{BodyExt, Empty};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;

use super::*;
use crate::bindings::file::BindingsFile;

struct Answered {
    status: u16,
    kind: String,
    text: String,
}

struct Node {
    base: String,
    life: Lifecycle,
    _admin: Admin,
    _folder: tempfile::TempDir,
}

fn node() -> Node {
    bounded(Bounds::default())
}

fn bounded(bounds: Bounds) -> Node {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("bindings.json");
    std::fs::write(&path, r#"{"revision": 7, "region": "local", "stamps": [], "bindings": []}"#).unwrap();
    let region: RegionName = "local".parse().unwrap();
    let life = Lifecycle::default();
    let view = View {
        identity: Identity {
            name: "n1".parse().unwrap(),
            stamp: None,
            region: region.clone(),
            role: Role::All,
        },
        life: life.clone(),
        bindings: Feed::File(Arc::new(BindingsFile::open(path, region).unwrap())),
        certificate: None,
        metrics: crate::metrics::install(1024).unwrap(),
        minutes: Arc::default(),
        refresh: Arc::new(|| {}),
    };
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap());
    Node { base, life, _admin: Admin::bounded(listener, view, None, bounds).unwrap(), _folder: folder }
}

impl Node {
    async fn send(&self, method: &str, path: &str) -> Answered {
        let request = http::Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.base))
            .body(Empty::<bytes::Bytes>::new())
            .unwrap();
        let client = Client::builder(TokioExecutor::new()).build_http::<Empty<bytes::Bytes>>();
        let response = client.request(request).await.unwrap();
        let status = response.status().as_u16();
        let kind =
            response.headers().get("content-type").map_or("", |kind| kind.to_str().unwrap()).to_owned();
        let body = response.into_body().collect().await.unwrap().to_bytes();
        Answered { status, kind, text: String::from_utf8(body.to_vec()).unwrap() }
    }

    async fn get(&self, path: &str) -> Answered {
        self.send("GET", path).await
    }
}

#[tokio::test]
async fn readiness_follows_the_state_and_liveness_does_not() {
    let node = node();
    for (state, status) in
        [(State::Starting, 503), (State::Ready, 200), (State::Draining, 503), (State::Cutting, 503)]
    {
        node.life.advance(state);
        let ready = node.get("/readyz").await;
        assert_eq!(ready.status, status, "{state:?}");
        let json: serde_json::Value = serde_json::from_str(&ready.text).unwrap();
        let expected = json!({
            "state": state.as_str(), "node": "n1", "bindings_revision": 7, "bindings_source": "file",
        });
        assert_eq!(json, expected);
        assert_eq!(node.get("/livez").await.status, 200, "{state:?}");
        let metrics = node.get("/metrics").await;
        assert!(metrics.kind.starts_with("text/plain; version=0.0.4"), "{}", metrics.kind);
        let shown = format!("dataproxy_state{{state=\"{}\"}} 1", state.as_str());
        assert!(metrics.text.contains(&shown), "{}", metrics.text);
    }
}

#[tokio::test]
async fn the_bindings_and_the_node_can_be_read_and_not_written() {
    let node = node();
    let bindings: serde_json::Value = serde_json::from_str(&node.get("/v1/bindings").await.text).unwrap();
    assert_eq!(bindings["revision"], 7);
    let shown: serde_json::Value = serde_json::from_str(&node.get("/v1/node").await.text).unwrap();
    assert_eq!((&shown["name"], &shown["state"]), (&json!("n1"), &json!("starting")));
    assert_eq!(shown["bindings"], json!({"revision": 7, "source": "file", "error": null}));
    for (method, path, status) in [("PUT", "/v1/bindings", 405), ("GET", "/nothing", 404)] {
        let refused = node.send(method, path).await;
        assert_eq!(refused.status, status);
        assert_eq!(refused.kind, "application/json");
        assert!(refused.text.starts_with("{\"error\":"), "{}", refused.text);
    }
}

#[test]
fn the_admin_thread_answers_while_the_serving_runtime_is_blocked() {
    // No runtime of the caller's runs here at all: a plain blocking client is enough.
    let node = node();
    let host = node.base.trim_start_matches("http://").to_owned();
    let mut stream = std::net::TcpStream::connect(&host).unwrap();
    std::io::Write::write_all(&mut stream, b"GET /livez HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n")
        .unwrap();
    let mut text = String::new();
    std::io::Read::read_to_string(&mut stream, &mut text).unwrap();
    assert!(text.starts_with("HTTP/1.1 200"), "{text}");
}

#[test]
fn clients_that_say_nothing_are_closed_and_make_room() {
    let node = bounded(Bounds { connections: 2, headers: Duration::from_millis(100) });
    let host = node.base.trim_start_matches("http://").to_owned();
    let silent: Vec<_> = (0..4).map(|_| std::net::TcpStream::connect(&host).unwrap()).collect();
    let mut stream = std::net::TcpStream::connect(&host).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    std::io::Write::write_all(&mut stream, b"GET /livez HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n")
        .unwrap();
    let mut text = String::new();
    std::io::Read::read_to_string(&mut stream, &mut text).unwrap();
    assert!(text.starts_with("HTTP/1.1 200"), "{text}");
    for mut silent in silent {
        silent.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        // 408 or nothing, as the library likes; then the end.
        std::io::Read::read_to_end(&mut silent, &mut Vec::new()).expect("closed in time");
    }
}
