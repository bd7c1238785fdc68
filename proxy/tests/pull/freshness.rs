//! How old an answer may be. Time stands still but where a test moves it.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use dataproxy_cache::OriginErrorKind;
use dataproxy_cache::fakes::{Fault, Gate};
use http_body_util::Empty;
use tokio::time::advance;

use crate::node::{Node, contoso, manifest, repository, tag};

const SECOND: Duration = Duration::from_secs(1);

fn asked(node: &Node, object: &dataproxy_cache::ObjectName) -> usize {
    node.store.origin().asked().iter().filter(|asked| asked.object == *object).count()
}

#[tokio::test(start_paused = true)]
async fn a_moved_tag_is_seen_after_tag_ttl() {
    let node = Node::new().await;
    node.push_manifest("app", &["v1"], &manifest("old"));
    assert_eq!(node.get("/v2/app/manifests/v1").await.body, manifest("old"));
    node.push_manifest("app", &["v1"], &manifest("new"));
    advance(4 * SECOND).await;
    assert_eq!(node.get("/v2/app/manifests/v1").await.body, manifest("old"));
    advance(SECOND).await;
    assert_eq!(node.get("/v2/app/manifests/v1").await.body, manifest("new"));
    let link = contoso().tag_link(&repository("app"), &tag("v1"));
    assert_eq!(asked(&node, &link), 2, "storage was asked once for each age");
}

#[tokio::test(start_paused = true)]
async fn an_absence_is_believed_for_negative_ttl() {
    let node = Node::new().await;
    assert_eq!(node.get("/v2/app/manifests/v1").await.status, 404);
    node.push_manifest("app", &["v1"], &manifest("x"));
    advance(Duration::from_millis(1900)).await;
    assert_eq!(node.get("/v2/app/manifests/v1").await.status, 404);
    advance(Duration::from_millis(100)).await;
    assert_eq!(node.get("/v2/app/manifests/v1").await.status, 200);
}

#[tokio::test(start_paused = true)]
async fn a_blob_that_a_repository_gave_up_is_refused_after_link_ttl() {
    let node = Node::new().await;
    let digest = node.push_blob("app", b"layer");
    let address = format!("/v2/app/blobs/{digest}");
    assert_eq!(node.get(&address).await.status, 200);
    node.store.remove(&contoso().layer_link(&repository("app"), &digest));
    advance(59 * SECOND).await;
    assert_eq!(node.get(&address).await.status, 200);
    advance(SECOND).await;
    assert_eq!(node.get(&address).await.status, 404);
}

#[tokio::test(start_paused = true)]
async fn many_who_ask_at_once_ask_storage_once() {
    let node = Node::new().await;
    node.push_manifest("app", &["v1"], &manifest("x"));
    let (link, gate) = (contoso().tag_link(&repository("app"), &tag("v1")), Gate::new());
    let held = link.clone();
    node.store.origin().script(move |asked| asked.object == held, None, Fault::HoldAnswer(gate.clone()));
    let pulls: Vec<_> = (0..50)
        .map(|_| {
            let request = http::Request::head("/v2/app/manifests/v1").header("host", "contoso.registry.test");
            let request = request.body(Empty::<Bytes>::new()).expect("a request");
            tokio::spawn(Arc::clone(&node.puller).serve(request))
        })
        .collect();
    gate.arrived(1).await;
    // The first to ask goes away; somebody else asks in its place.
    pulls[0].abort();
    gate.arrived(2).await;
    gate.open();
    for pull in pulls.into_iter().skip(1) {
        assert_eq!(pull.await.expect("no panic").status(), 200);
    }
    assert_eq!(asked(&node, &link), 2);
}

#[tokio::test(start_paused = true)]
async fn a_tag_is_covered_while_storage_does_not_answer_and_says_so() {
    for fault in [
        Fault::Refuse(OriginErrorKind::Unavailable),
        Fault::Refuse(OriginErrorKind::Timeout),
        Fault::Refuse(OriginErrorKind::Throttled(None)),
        Fault::Mute,
    ] {
        let node = Node::new().await;
        let digest = node.push_manifest("app", &["v1"], &manifest("x"));
        let fresh = node.get("/v2/app/manifests/v1").await;
        assert_eq!((fresh.status, fresh.header("warning")), (200, None));
        let links = |asked: &dataproxy_cache::fakes::Asked| asked.object.as_str().ends_with("/link");
        node.store.origin().script(links, None, fault.clone());
        // Long enough for the links of the manifest itself to be old as well.
        advance(100 * SECOND).await;
        let stale = node.send(http::Request::get("/v2/app/manifests/v1")).await;
        assert_eq!((stale.status, &stale.body), (200, &fresh.body), "{fault:?}");
        let warning = stale.header("warning").expect("a warning");
        assert!(warning.starts_with("299 - \"") && warning.contains(" 10"), "{warning}");
        assert!(node.last_record().stale);
        let by_digest = node.send(http::Request::get(format!("/v2/app/manifests/{digest}"))).await;
        assert_eq!((by_digest.status, by_digest.header("warning")), (200, None), "a digest does not age");
        // What was never seen is not covered.
        assert!(node.send(http::Request::get("/v2/app/manifests/v2")).await.status >= 500);
        advance(3600 * SECOND).await;
        assert!(
            node.send(http::Request::get("/v2/app/manifests/v1")).await.status >= 500,
            "no longer than stated"
        );
        node.store.origin().heal();
        let healed = node.send(http::Request::get("/v2/app/manifests/v1")).await;
        assert_eq!((healed.status, healed.header("warning")), (200, None));
    }
}

#[tokio::test(start_paused = true)]
async fn a_tag_that_storage_says_is_gone_is_gone() {
    let node = Node::new().await;
    node.push_manifest("app", &["v1"], &manifest("x"));
    assert_eq!(node.get("/v2/app/manifests/v1").await.status, 200);
    node.store.remove(&contoso().tag_link(&repository("app"), &tag("v1")));
    advance(6 * SECOND).await;
    assert_eq!(node.get("/v2/app/manifests/v1").await.status, 404);
}

#[tokio::test(start_paused = true)]
async fn what_is_asked_for_by_digest_is_covered_for_stale_link_and_a_tags_manifest_for_stale_tag() {
    let node = Node::new().await;
    let manifest = node.push_manifest("app", &["v1"], &manifest("x"));
    let layer = node.push_blob("app", b"layer");
    let (by_digest, blob) = (format!("/v2/app/manifests/{manifest}"), format!("/v2/app/blobs/{layer}"));
    for address in ["/v2/app/manifests/v1", &by_digest, &blob] {
        assert_eq!(node.send(http::Request::get(address)).await.status, 200);
    }
    let links = |asked: &dataproxy_cache::fakes::Asked| asked.object.as_str().ends_with("/link");
    node.store.origin().script(links, None, Fault::Refuse(OriginErrorKind::Unavailable));
    advance(590 * SECOND).await;
    for address in ["/v2/app/manifests/v1", &by_digest, &blob] {
        assert_eq!(node.head(address).await.status, 200, "{address}");
    }
    advance(20 * SECOND).await;
    // Asked alternately: what is refused by digest does not take from the tag what covers it.
    for (address, status) in
        [(blob.as_str(), 503), (&by_digest, 503), ("/v2/app/manifests/v1", 200), (&by_digest, 503)]
    {
        assert_eq!(node.head(address).await.status, status, "{address}");
    }
    node.store.origin().heal();
    assert_eq!(node.head(&blob).await.status, 200);
}
