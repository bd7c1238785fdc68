//! Malformed and hostile requests: a clear OCI error each, and storage hears of none.

use std::sync::Arc;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};

use crate::node::{Node, manifest};

#[tokio::test]
async fn malformed_requests_are_refused_before_storage_is_asked() {
    let node = Node::new().await;
    let long = "a".repeat(300);
    let hex = "0a".repeat(32);
    for (address, status, code) in [
        ("/v2/Team/manifests/v1", 400, "NAME_INVALID"),
        ("/v2/../../etc/passwd/manifests/v1", 400, "NAME_INVALID"),
        ("/v2/a%2f..%2fb/manifests/v1", 400, "NAME_INVALID"),
        ("/v2/a%00b/manifests/v1", 400, "NAME_INVALID"),
        (&format!("/v2/{long}/manifests/v1"), 400, "NAME_INVALID"),
        ("/v2/app/manifests/%2e%2e", 404, "TAG_INVALID"),
        (&format!("/v2/app/manifests/{long}"), 404, "TAG_INVALID"),
        ("/v2/app/manifests/sha256:zz", 400, "DIGEST_INVALID"),
        (&format!("/v2/app/blobs/sha256:{}", hex.to_uppercase()), 400, "DIGEST_INVALID"),
        ("/v2/app/blobs/sha256:..%2f..", 400, "DIGEST_INVALID"),
        ("/v2/app/referrers/v1", 400, "DIGEST_INVALID"),
        ("/v2/app/tags/list?n=-5", 400, "PAGINATION_NUMBER_INVALID"),
        ("/v2/app/tags/list?n=4294967296x", 400, "PAGINATION_NUMBER_INVALID"),
        ("/v2/_catalog", 404, "UNSUPPORTED"),
        ("/v2/app", 404, "UNSUPPORTED"),
        ("/metrics", 404, "UNSUPPORTED"),
    ] {
        let reply = node.get(address).await;
        assert_eq!((reply.status, reply.code().as_str()), (status, code), "{address}");
        assert_eq!(reply.header("docker-distribution-api-version"), Some("registry/2.0"));
    }
    for host in ["a@b", "", "a/b", "..", "[::1", "contoso.registry.test/x"] {
        let reply = node.get_with("/v2/app/manifests/v1", &[("host", host)]).await;
        assert!(matches!(reply.status, 400 | 404), "{host:?} {}", reply.status);
        reply.code();
    }
    assert_eq!(node.store.origin().requests(), 0);
}

#[tokio::test]
async fn writes_are_not_supported_and_their_content_is_not_read() {
    let node = Node::new().await;
    for method in ["POST", "PUT", "PATCH", "DELETE", "OPTIONS"] {
        let builder = http::Request::builder().method(method).uri("/v2/app/blobs/uploads/");
        let reply = node.send(builder).await;
        assert_eq!((reply.status, reply.code().as_str()), (405, "UNSUPPORTED"), "{method}");
        assert_eq!(reply.header("allow"), Some("GET, HEAD"));
        assert_eq!(reply.header("connection"), None);
    }
}

#[tokio::test]
async fn content_on_a_request_ends_the_connection() {
    let node = Node::new().await;
    for (method, status) in [("GET", 413), ("HEAD", 413), ("PUT", 405)] {
        for (version, closes) in [(http::Version::HTTP_11, true), (http::Version::HTTP_2, false)] {
            let request = http::Request::builder()
                .method(method)
                .version(version)
                .uri("http://contoso.registry.test/v2/app/manifests/v1")
                .body(Full::new(Bytes::from_static(b"GET /v2/ HTTP/1.1\r\n\r\n")))
                .expect("a request");
            let response = Arc::clone(&node.puller).serve(request).await;
            assert_eq!(response.status().as_u16(), status);
            assert_eq!(response.headers().contains_key("connection"), closes, "{method} {version:?}");
            response.into_body().collect().await.expect("a body");
        }
    }
}

#[tokio::test]
async fn a_request_of_the_nodes_own_that_comes_back_is_not_sent_around_again() {
    let node = Node::new().await;
    node.push_manifest("app", &["v1"], &manifest("app"));
    let via = dataproxy::via::value();
    let reply = node.get_with("/v2/app/manifests/v1", &[("via", via.to_str().expect("text"))]).await;
    assert_eq!((reply.status, reply.code().as_str()), (508, "UNSUPPORTED"));
    assert_eq!(node.store.origin().requests(), 0, "nothing is looked up");
    assert_eq!(node.get_with("/v2/app/manifests/v1", &[("via", "1.1 another")]).await.status, 200);
}
