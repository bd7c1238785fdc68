//! A repository is served what is its own, and learns nothing of the rest.

use dataproxy_cache::{Algorithm, Digest};

use crate::node::{Node, contoso, fabrikam, manifest, repository};

#[tokio::test]
async fn a_digest_of_another_repository_looks_like_one_that_nobody_has() {
    let node = Node::new().await;
    let blob = node.push_blob("app", b"secret layer");
    let image = node.push_manifest("app", &["v1"], &manifest("secret"));
    let theirs = node.store.push_blob(fabrikam(), &repository("other"), b"their layer");
    let random = Digest::of(Algorithm::Sha256, b"random");
    // Warm, so that a cache that answered before the check would be seen.
    assert_eq!(node.get(&format!("/v2/app/blobs/{blob}")).await.status, 200);
    assert_eq!(node.get(&format!("/v2/app/manifests/{image}")).await.status, 200);
    for kind in ["blobs", "manifests"] {
        let unknown = node.get(&format!("/v2/other/{kind}/{random}")).await;
        assert_eq!(unknown.status, 404);
        for digest in [&blob, &image, &theirs] {
            let before = node.store.origin().requests();
            let reply = node.send(http::Request::get(format!("/v2/other/{kind}/{digest}"))).await;
            assert_eq!((reply.status, &reply.body), (404, &unknown.body), "{kind} {digest}");
            let asked = node.store.origin().asked();
            let asked: Vec<&str> = asked[before..].iter().map(|asked| asked.object.as_str()).collect();
            assert!(
                asked.iter().all(|object| object.ends_with("/link")),
                "only the link is asked for: {asked:?}"
            );
        }
    }
    // A manifest is no blob, nor a blob a manifest.
    assert_eq!(node.get(&format!("/v2/app/blobs/{image}")).await.status, 404);
    assert_eq!(node.get(&format!("/v2/app/manifests/{blob}")).await.status, 404);
}

#[tokio::test]
async fn a_link_that_names_another_digest_owns_nothing() {
    let node = Node::new().await;
    let real = node.push_blob("app", b"real");
    let other = Digest::of(Algorithm::Sha256, b"other");
    node.store.put(&contoso().blob(&other), "other");
    node.store.put(&contoso().layer_link(&repository("app"), &other), real.to_string());
    assert_eq!(node.get(&format!("/v2/app/blobs/{other}")).await.status, 404);
}

#[tokio::test]
async fn a_registry_that_denies_says_the_same_of_everything() {
    let node = Node::new().await;
    let digest = Digest::of(Algorithm::Sha256, b"x");
    let mut bodies = Vec::new();
    for address in [
        format!("/v2/app/blobs/{digest}"),
        "/v2/app/manifests/v1".into(),
        "/v2/nothing/tags/list".into(),
        format!("/v2/app/referrers/{digest}"),
    ] {
        let reply =
            node.get_with(&address, &[("host", "closed.registry.test"), ("authorization", "Bearer x")]).await;
        assert_eq!((reply.status, reply.code().as_str()), (403, "DENIED"), "{address}");
        bodies.push(reply.body);
    }
    bodies.dedup();
    assert_eq!(bodies.len(), 1);
    assert_eq!(node.store.origin().requests(), 0, "storage is not asked before the permit");
}

#[tokio::test]
async fn a_registry_on_an_account_that_the_node_cannot_read_is_unavailable() {
    let node = Node::new().await;
    let reply = node.get_with("/v2/app/manifests/v1", &[("host", "lost.registry.test")]).await;
    assert_eq!((reply.status, reply.code().as_str()), (503, "UNAVAILABLE"));
    assert!(reply.header("retry-after").is_some());
}
