//! Manifests by tag and digest.

use dataproxy_cache::fakes::Fault;
use dataproxy_cache::{Algorithm, Digest, OriginErrorKind};

use crate::node::{Node, contoso, manifest, repository, tag};

#[tokio::test]
async fn a_manifest_has_the_same_bytes_and_headers_by_tag_and_by_digest() {
    let node = Node::new().await;
    let content = manifest("x");
    let digest = node.push_manifest("team/app", &["v1"], &content).to_string();
    for reference in ["v1", &digest] {
        let reply = node.get(&format!("/v2/team/app/manifests/{reference}")).await;
        assert_eq!(reply.status, 200, "{reference}");
        assert_eq!(reply.body, content);
        assert_eq!(reply.header("content-type"), Some("application/vnd.oci.image.manifest.v1+json"));
        assert_eq!(reply.header("docker-content-digest"), Some(digest.as_str()));
        assert_eq!(reply.header("content-length"), Some(content.len().to_string().as_str()));
        assert_eq!(reply.header("etag"), Some(format!("\"{digest}\"").as_str()));
        assert_eq!(reply.header("docker-distribution-api-version"), Some("registry/2.0"));
        assert_eq!(reply.header("content-encoding"), None);
    }
    let by_tag = node.get("/v2/team/app/manifests/v1").await;
    assert_eq!(by_tag.header("cache-control"), Some("no-cache"));
    let by_digest = node.get(&format!("/v2/team/app/manifests/{digest}")).await;
    assert_eq!(by_digest.header("cache-control"), Some("max-age=31536000, immutable"));
}

#[tokio::test]
async fn a_manifest_by_sha512_is_a_manifest() {
    let node = Node::new().await;
    let content = manifest("long");
    let digest = Digest::of(Algorithm::Sha512, content.as_bytes());
    node.store.put(&contoso().blob(&digest), content.clone());
    node.store.put(&contoso().revision_link(&repository("app"), &digest), digest.to_string());
    let reply = node.get(&format!("/v2/app/manifests/{digest}")).await;
    assert_eq!((reply.status, reply.body.as_ref()), (200, content.as_bytes()));
    assert_eq!(reply.header("docker-content-digest"), Some(digest.to_string().as_str()));
}

#[tokio::test]
async fn what_the_client_has_is_not_sent_again() {
    let node = Node::new().await;
    let digest = node.push_manifest("app", &["v1"], &manifest("x"));
    let etag = format!("\"{digest}\"");
    for reference in ["v1".to_owned(), digest.to_string()] {
        let address = format!("/v2/app/manifests/{reference}");
        let reply = node.get_with(&address, &[("if-none-match", &etag)]).await;
        assert_eq!((reply.status, reply.body.len()), (304, 0));
        assert_eq!(reply.header("etag"), Some(etag.as_str()));
        assert_eq!(reply.header("content-length"), None);
        assert_eq!(node.get_with(&address, &[("if-none-match", "\"other\"")]).await.status, 200);
        let refused = node.get_with(&address, &[("if-match", "\"other\"")]).await;
        assert_eq!((refused.status, refused.code().as_str()), (412, "PRECONDITION_FAILED"));
        assert!(refused.header("etag").is_some() && refused.header("docker-content-digest").is_some());
    }
}

#[tokio::test]
async fn an_accept_that_lacks_the_type_is_served_what_there_is() {
    let node = Node::new().await;
    node.push_manifest("app", &["v1"], &manifest("x"));
    let reply = node.get_with("/v2/app/manifests/v1", &[("accept", "application/json")]).await;
    assert_eq!(reply.status, 200);
}

#[tokio::test]
async fn what_is_not_there_is_unknown() {
    let node = Node::new().await;
    let name = repository("app");
    let absent = Digest::of(Algorithm::Sha256, b"absent");
    node.store.tag(contoso(), &name, &tag("dangling"), &absent);
    let gone = node.push_manifest("app", &["gone"], &manifest("gone"));
    node.store.remove(&contoso().blob(&gone));
    let empty = node.push_manifest("app", &["empty"], &manifest("empty"));
    node.store.put(&contoso().blob(&empty), "");
    node.store.put(&contoso().tag_link(&name, &tag("blank")), "");
    node.store.put(&contoso().tag_link(&name, &tag("torn")), "sha256:abc");
    node.store.put(&contoso().tag_link(&name, &tag("huge")), "x".repeat(10_000));
    for reference in
        ["v1", "dangling", "gone", "empty", "blank", "torn", "huge", &absent.to_string(), &gone.to_string()]
    {
        let reply = node.get(&format!("/v2/app/manifests/{reference}")).await;
        assert_eq!((reply.status, reply.code().as_str()), (404, "MANIFEST_UNKNOWN"), "{reference}");
    }
}

#[tokio::test]
async fn a_link_with_white_space_around_its_digest_is_read() {
    let node = Node::new().await;
    let digest = node.push_manifest("app", &[], &manifest("x"));
    node.store.put(&contoso().tag_link(&repository("app"), &tag("v1")), format!("{digest}\n"));
    assert_eq!(node.get("/v2/app/manifests/v1").await.status, 200);
}

#[tokio::test]
async fn stored_content_that_is_no_manifest_is_said_to_be_invalid() {
    let node = Node::new().await;
    for (tagged, content) in [
        ("html", "<html>"),
        ("blob", "\u{1f}gzip"),
        ("both", r#"{"manifests":[],"layers":[],"config":{}}"#),
        ("type", r#"{"mediaType":"text/html","layers":[],"config":{}}"#),
    ] {
        node.push_manifest("app", &[tagged], content);
        let reply = node.get(&format!("/v2/app/manifests/{tagged}")).await;
        assert_eq!((reply.status, reply.code().as_str()), (400, "MANIFEST_INVALID"), "{tagged}");
    }
    let huge = format!("{{\"layers\":[],\"config\":{{}},\"x\":\"{}\"}}", "x".repeat(5 << 20));
    node.push_manifest("app", &["large"], &huge);
    let reply = node.get("/v2/app/manifests/large").await;
    assert_eq!((reply.status, reply.code().as_str()), (400, "MANIFEST_INVALID"));
    assert!(String::from_utf8_lossy(&reply.body).contains("4194304"), "the limit is told");
}

#[tokio::test]
async fn an_index_is_served_as_one() {
    let node = Node::new().await;
    node.push_manifest("app", &["multi"], r#"{"schemaVersion":2,"manifests":[]}"#);
    let reply = node.get("/v2/app/manifests/multi").await;
    assert_eq!(reply.header("content-type"), Some("application/vnd.oci.image.index.v1+json"));
}

#[tokio::test(start_paused = true)]
async fn an_outage_of_storage_never_looks_like_absence() {
    for (kind, status) in [
        (OriginErrorKind::Unavailable, 503),
        (OriginErrorKind::Throttled(None), 503),
        (OriginErrorKind::Timeout, 504),
        (OriginErrorKind::Denied, 502),
    ] {
        let node = Node::new().await;
        node.push_manifest("app", &["v1"], &manifest("x"));
        node.store.origin().always(Fault::Refuse(kind));
        let reply = node.get("/v2/app/manifests/v1").await;
        assert_eq!(reply.status, status, "{kind:?}");
        assert_eq!(reply.header("retry-after").is_some(), kind.is_transient(), "{kind:?}");
        node.store.origin().heal();
        assert_eq!(node.get("/v2/app/manifests/v1").await.status, 200, "after {kind:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_storage_that_is_mute_is_given_up_before_the_client_gives_us_up() {
    let node = Node::new().await;
    node.push_manifest("app", &["v1"], &manifest("x"));
    node.store.origin().always(Fault::Mute);
    let started = tokio::time::Instant::now();
    assert_eq!(node.head("/v2/app/manifests/v1").await.status, 504);
    assert!(started.elapsed() < std::time::Duration::from_secs(20), "{:?}", started.elapsed());
}

#[tokio::test(start_paused = true)]
async fn one_failure_of_storage_is_not_seen_by_the_client() {
    let node = Node::new().await;
    node.push_manifest("app", &["v1"], &manifest("x"));
    node.store.origin().next(Fault::Refuse(OriginErrorKind::Throttled(None)));
    assert_eq!(node.head("/v2/app/manifests/v1").await.status, 200);
}
