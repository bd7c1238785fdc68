//! One record for each request, whatever became of it.

use std::sync::Arc;

use bytes::Bytes;
use dataproxy::account::End;
use dataproxy::peer::Peer;
use dataproxy_cache::Outcome;
use dataproxy_cache::fakes::{Fault, Gate};
use http_body_util::{BodyExt, Empty};

use crate::node::{Node, contoso, manifest, repository, tag};

#[tokio::test]
async fn a_served_blob_is_accounted_in_full() {
    let node = Node::new().await;
    let digest = node.push_blob("team/app", &[7; 1000]);
    let request = http::Request::get(format!("/v2/team/app/blobs/{digest}"))
        .header("host", "contoso.registry.test")
        .header("range", "bytes=100-")
        .header("user-agent", "containerd/1.7.27")
        .header("x-request-id", "from-the-caller")
        .header("authorization", "Bearer secret")
        .extension(Peer { addr: "127.0.0.9:1234".parse().expect("an address"), tls: true, resumed: true })
        .body(Empty::<Bytes>::new())
        .expect("a request");
    let response = Arc::clone(&node.puller).serve(request).await;
    assert_eq!(response.headers()["x-request-id"], "from-the-caller");
    assert!(node.records().is_empty(), "the record is made when the body has ended");
    response.into_body().collect().await.expect("whole");
    let record = node.last_record();
    assert_eq!(record.request_id, "from-the-caller");
    assert_eq!((record.kind, record.method.as_str(), record.node.as_str()), ("blob", "GET", "a1"));
    assert_eq!(record.registry.as_ref().map(|name| name.as_str()), Some("contoso"));
    assert_eq!(record.repository.as_ref().map(|name| name.as_str()), Some("team/app"));
    assert_eq!(record.reference, Some(digest.to_string()));
    assert_eq!(record.status.map(|status| status.as_u16()), Some(206));
    assert_eq!((record.length, record.sent, record.end), (900, 900, End::Complete));
    assert_eq!(record.range.as_deref(), Some("bytes=100-"));
    assert_eq!(record.outcome, Some(Outcome::Filled));
    assert!(record.first_byte.is_some_and(|first_byte| first_byte <= record.total));
    assert_eq!(record.peer.map(|peer| peer.to_string()).as_deref(), Some("127.0.0.9:1234"));
    assert!(record.tls && record.tls_resumed && !record.late && !record.stale);
    assert_eq!(record.user_agent.as_deref(), Some("containerd/1.7.27"));
    assert!(!format!("{record:?}").contains("secret"));
    assert_eq!(node.records().len(), 1);
}

#[tokio::test]
async fn what_is_forwarded_for_is_logged_as_a_claim_beside_the_peer() {
    let node = Node::new().await;
    let long = "192.0.2.1, ".repeat(100);
    let request = http::Request::get("/v2/")
        .header("host", "contoso.registry.test")
        .header("x-forwarded-for", long)
        .header("x-forwarded-for", "203.0.113.7\t\"end=complete\"")
        .extension(Peer { addr: "127.0.0.9:1234".parse().expect("an address"), tls: false, resumed: false })
        .body(Empty::<Bytes>::new())
        .expect("a request");
    Arc::clone(&node.puller).serve(request).await.into_body().collect().await.expect("whole");
    let record = node.last_record();
    assert_eq!(record.peer.map(|peer| peer.to_string()).as_deref(), Some("127.0.0.9:1234"));
    let claim = record.forwarded_for.expect("a claim");
    assert_eq!(claim.len(), 200);
    assert!(claim.ends_with("192.0.2.1, , 203.0.113.7??end?complete?"), "{claim}");
}

#[tokio::test]
async fn a_client_that_goes_away_in_the_body_is_accounted_as_aborted() {
    let node = Node::new().await;
    let digest = node.push_blob("app", &vec![7; 8 << 20]);
    let mut body = node.open(http::Request::get(format!("/v2/app/blobs/{digest}"))).await.into_body();
    let first = body.frame().await.expect("a frame").expect("no error").into_data().expect("data");
    drop(body);
    let record = node.last_record();
    assert_eq!((record.end, record.status), (End::Aborted, Some(http::StatusCode::OK)));
    assert_eq!((record.length, record.sent), (8 << 20, first.len() as u64));
}

#[tokio::test]
async fn a_client_that_goes_away_before_the_answer_is_accounted_as_aborted() {
    let node = Node::new().await;
    node.push_manifest("app", &["v1"], &manifest("x"));
    let (gate, held) = (Gate::new(), contoso().tag_link(&repository("app"), &tag("v1")));
    node.store.origin().script(move |asked| asked.object == held, None, Fault::HoldAnswer(gate.clone()));
    let request = http::Request::get("/v2/app/manifests/v1").header("host", "contoso.registry.test");
    let request = request.body(Empty::<Bytes>::new()).expect("a request");
    let pull = tokio::spawn(Arc::clone(&node.puller).serve(request));
    gate.arrived(1).await;
    pull.abort();
    assert!(pull.await.is_err_and(|error| error.is_cancelled()));
    let record = node.last_record();
    assert_eq!((record.end, record.status, record.kind), (End::Aborted, None, "manifest"));
}

#[tokio::test]
async fn refusals_and_heads_are_accounted_too() {
    let node = Node::new().await;
    node.get("/v2/app/manifests/v1").await;
    node.get("/nowhere").await;
    let digest = node.push_blob("app", b"layer");
    node.head(&format!("/v2/app/blobs/{digest}")).await;
    let seen: Vec<_> = node
        .records()
        .iter()
        .map(|record| {
            let status = record.status.map(|status| status.as_u16());
            (record.method.as_str().to_owned(), record.kind, status, record.code, record.end)
        })
        .collect();
    let row = |method: &str, kind, status, code| (method.to_owned(), kind, Some(status), code, End::Complete);
    assert_eq!(
        seen,
        [
            row("GET", "manifest", 404, Some("MANIFEST_UNKNOWN")),
            row("HEAD", "manifest", 404, Some("MANIFEST_UNKNOWN")),
            row("GET", "invalid", 404, Some("UNSUPPORTED")),
            row("HEAD", "invalid", 404, Some("UNSUPPORTED")),
            row("HEAD", "blob", 200, None),
        ]
    );
    assert_eq!(node.last_record().sent, 0);
}

#[tokio::test]
async fn a_request_id_that_could_forge_a_log_line_is_replaced() {
    let node = Node::new().await;
    for sent in ["a b", "a\"b", "", &"x".repeat(200)] {
        let reply = node.send(http::Request::get("/v2/").header("x-request-id", sent)).await;
        let id = reply.header("x-request-id").expect("an id");
        assert_eq!((id.len(), id.bytes().all(|b| b.is_ascii_hexdigit())), (32, true), "{sent:?} {id}");
        assert_eq!(node.last_record().request_id, id);
    }
}
