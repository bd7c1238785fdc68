//! Blobs, whole and in parts.

use std::sync::Arc;

use bytes::Bytes;
use dataproxy_cache::fakes::{Fault, Gate};
use dataproxy_cache::{Algorithm, Digest, OriginErrorKind};
use http_body_util::{BodyExt, Empty};

use crate::node::{Node, contoso, repository};

fn pattern(length: usize) -> Vec<u8> {
    dataproxy_cache::conformance::pattern(length).to_vec()
}

#[tokio::test]
async fn a_blob_is_served_whole_with_all_its_headers() {
    let node = Node::new().await;
    let content = pattern(300_000);
    let digest = node.push_blob("team/app", &content);
    let reply =
        node.get_with(&format!("/v2/team/app/blobs/{digest}"), &[("accept-encoding", "gzip, zstd")]).await;
    assert_eq!(reply.status, 200);
    assert_eq!(reply.body, content);
    for (name, value) in [
        ("content-length", "300000"),
        ("content-type", "application/octet-stream"),
        ("docker-content-digest", &digest.to_string()),
        ("etag", &format!("\"{digest}\"")),
        ("accept-ranges", "bytes"),
        ("cache-control", "max-age=31536000, immutable"),
    ] {
        assert_eq!(reply.header(name), Some(value), "{name}");
    }
    assert_eq!(reply.header("content-encoding"), None);
}

/// It is moved a few times on its way to the heap, and a node holds one for each request that waits.
#[tokio::test]
async fn the_state_of_a_pull_is_small() {
    let node = Node::new().await;
    let request = http::Request::get("/v2/").body(Empty::<Bytes>::new()).expect("a request");
    let pull = Arc::clone(&node.puller).serve(request);
    assert!(size_of_val(&pull) <= 3104, "{} bytes", size_of_val(&pull));
}

#[tokio::test]
async fn every_range_is_answered_as_rfc_9110_and_the_conformance_suite_say() {
    let node = Node::new().await;
    let content = pattern(2048);
    let digest = node.push_blob("app", &content);
    let address = format!("/v2/app/blobs/{digest}");
    for (range, served) in [
        ("bytes=500-1499", Some(500..1500)),
        ("bytes=500-", Some(500..2048)),
        ("bytes=-500", Some(1548..2048)),
        ("bytes=2000-5000", Some(2000..2048)),
        ("bytes=0-", Some(0..2048)),
        ("bytes=-5000", Some(0..2048)),
        ("bytes=2047-", Some(2047..2048)),
        ("bytes=0-18446744073709551616", Some(0..2048)),
        ("bytes=500-0", None),
        ("bytes=5000-10000", None),
        ("bytes=2048-", None),
        ("bytes=18446744073709551616-", None),
    ] {
        let reply = node.get_with(&address, &[("range", range)]).await;
        match served {
            Some(served) => {
                assert_eq!(reply.status, 206, "{range}");
                let content_range = format!("bytes {}-{}/2048", served.start, served.end - 1);
                assert_eq!(reply.header("content-range"), Some(content_range.as_str()), "{range}");
                assert_eq!(
                    reply.header("content-length"),
                    Some(served.len().to_string().as_str()),
                    "{range}"
                );
                assert_eq!(reply.body, content[served], "{range}");
            }
            None => {
                assert_eq!((reply.status, reply.code().as_str()), (416, "RANGE_INVALID"), "{range}");
                assert_eq!(reply.header("content-range"), Some("bytes */2048"), "{range}");
            }
        }
    }
    for range in ["bytes=0-1,5-6", "items=0-1", "bytes=x", "bytes=-"] {
        let reply = node.get_with(&address, &[("range", range)]).await;
        assert_eq!((reply.status, reply.body.len()), (200, 2048), "{range}");
        assert_eq!(reply.header("content-range"), None, "{range}");
    }
}

#[tokio::test]
async fn a_range_counts_only_under_the_same_content_and_only_in_get() {
    let node = Node::new().await;
    let digest = node.push_blob("app", &pattern(2048));
    let (address, etag) = (format!("/v2/app/blobs/{digest}"), format!("\"{digest}\""));
    for (if_range, status) in [
        (etag.clone(), 206),
        ("\"other\"".into(), 200),
        (format!("W/{etag}"), 200),
        ("Wed, 21 Oct 2015 07:28:00 GMT".into(), 200),
    ] {
        let reply = node.get_with(&address, &[("range", "bytes=5-"), ("if-range", &if_range)]).await;
        assert_eq!(reply.status, status, "{if_range}");
    }
    let head = node.send(http::Request::head(&address).header("range", "bytes=5-9")).await;
    assert_eq!((head.status, head.header("content-length")), (200, Some("2048")));
    let resumed = node.get_with(&address, &[("range", "bytes=5-"), ("if-match", &etag)]).await;
    assert_eq!(resumed.status, 206);
    let changed = node.get_with(&address, &[("range", "bytes=5-"), ("if-match", "\"other\"")]).await;
    assert_eq!(changed.status, 412);
    let past = node.get_with(&address, &[("range", "bytes=99999999-")]).await;
    assert_eq!(past.status, 416);
    // Whoever asked wrongly is told what there is to ask for.
    for refused in [changed, past] {
        assert_eq!(refused.header("etag"), Some(etag.as_str()));
        assert_eq!(refused.header("docker-content-digest"), Some(digest.to_string().as_str()));
        assert_eq!(refused.header("accept-ranges"), Some("bytes"));
        assert_eq!(refused.header("cache-control"), None, "a refusal is not kept");
    }
    let held = node.get_with(&address, &[("if-none-match", &etag)]).await;
    assert_eq!((held.status, held.body.len(), held.header("etag")), (304, 0, Some(etag.as_str())));
}

#[tokio::test]
async fn an_empty_blob_is_a_blob_even_where_a_client_asks_for_a_range() {
    let node = Node::new().await;
    let digest = node.push_blob("app", b"");
    let address = format!("/v2/app/blobs/{digest}");
    let reply = node.get(&address).await;
    assert_eq!((reply.status, reply.header("content-length")), (200, Some("0")));
    assert_eq!(node.get_with(&address, &[("range", "bytes=0-")]).await.status, 200);
    let past = node.get_with(&address, &[("range", "bytes=1-")]).await;
    assert_eq!((past.status, past.header("content-range")), (416, Some("bytes */0")));
}

#[tokio::test]
async fn content_that_has_gone_is_an_unknown_blob_whatever_is_asked_of_it() {
    let node = Node::new().await;
    let (gone, emptied) = (node.push_blob("app", b"gone"), node.push_blob("app", b"emptied"));
    node.store.remove(&contoso().blob(&gone));
    node.store.put(&contoso().blob(&emptied), "");
    for digest in [gone, emptied] {
        let address = format!("/v2/app/blobs/{digest}");
        let whole = node.get(&address).await;
        assert_eq!((whole.status, whole.code().as_str()), (404, "BLOB_UNKNOWN"));
        for range in ["bytes=0-", "bytes=1-", "bytes=5-2", "bytes=-1"] {
            let part = node.get_with(&address, &[("range", range)]).await;
            assert_eq!((part.status, part.code().as_str()), (404, "BLOB_UNKNOWN"), "{range}");
        }
    }
}

#[tokio::test]
async fn a_head_reads_no_more_than_a_byte_of_the_blob() {
    let node = Node::new().await;
    let digest = node.push_blob("app", &pattern(3_000_000));
    let before = node.store.origin().sent_bytes();
    let reply = node.head(&format!("/v2/app/blobs/{digest}")).await;
    assert_eq!(reply.header("content-length"), Some("3000000"));
    let link = digest.to_string().len() as u64;
    assert!(node.store.origin().sent_bytes() - before <= link + 1);
}

#[tokio::test(start_paused = true)]
async fn headers_leave_before_the_blob_is_there() {
    let node = Node::new().await;
    let content = pattern(8 << 20);
    let digest = node.push_blob("app", &content);
    let gate = Gate::new();
    let held = contoso().blob(&digest);
    let fault = Fault::Hold { after_bytes: 1 << 20, gate: gate.clone() };
    node.store.origin().script(move |asked| asked.object == held && asked.range.contains(&0), Some(1), fault);
    let response = node.open(http::Request::get(format!("/v2/app/blobs/{digest}"))).await;
    assert_eq!(response.status(), 200);
    assert_eq!(response.headers()["content-length"], content.len().to_string());
    gate.open();
    assert_eq!(response.into_body().collect().await.expect("whole").to_bytes(), content);
}

#[tokio::test(start_paused = true)]
async fn a_blob_that_fails_in_the_middle_never_ends_cleanly() {
    let node = Node::new().await;
    let content = pattern(8 << 20);
    let digest = node.push_blob("app", &content);
    let bytes = contoso().blob(&digest);
    let fault = Fault::Break { after_bytes: 1 << 20, kind: OriginErrorKind::Denied };
    node.store.origin().script(move |asked| asked.object == bytes, None, fault);
    // It may be found out before the headers leave, or after.
    let response = node.open(http::Request::get(format!("/v2/app/blobs/{digest}"))).await;
    if response.status() == 200 {
        assert!(response.into_body().collect().await.is_err(), "a short body");
        let record = node.last_record();
        assert_eq!((record.end.as_str(), record.status), ("failed", Some(http::StatusCode::OK)));
        assert!(record.sent < content.len() as u64 && record.error.is_some());
    } else {
        assert_eq!(response.status(), 502);
    }
}

#[tokio::test(start_paused = true)]
async fn a_body_that_goes_silent_is_cut() {
    let node = Node::new().await;
    let digest = node.push_blob("app", &pattern(8 << 20));
    let bytes = contoso().blob(&digest);
    node.store.origin().script(move |asked| asked.object == bytes, None, Fault::Stall { after_bytes: 0 });
    let response = node.open(http::Request::get(format!("/v2/app/blobs/{digest}"))).await;
    if response.status() == 200 {
        assert!(response.into_body().collect().await.is_err(), "a short body");
        assert_eq!(node.last_record().end.as_str(), "failed");
    } else {
        assert_eq!(response.status(), 504);
    }
}

#[tokio::test]
async fn a_sha512_blob_is_a_blob() {
    let node = Node::new().await;
    let digest = Digest::of(Algorithm::Sha512, b"content");
    node.store.put(&contoso().blob(&digest), "content");
    node.store.put(&contoso().layer_link(&repository("app"), &digest), digest.to_string());
    let reply = node.get(&format!("/v2/app/blobs/{digest}")).await;
    assert_eq!((reply.status, reply.body.as_ref()), (200, &b"content"[..]));
}

#[tokio::test(start_paused = true)]
async fn storage_that_says_nothing_is_a_504_before_anybody_gives_the_node_up() {
    let node = Node::new().await;
    let content = pattern(300_000);
    let digest = node.push_blob("app", &content);
    let bytes = contoso().blob(&digest);
    // The link is read; the content never comes.
    node.store.origin().script(move |asked| asked.object == bytes, None, Fault::Mute);
    let start = tokio::time::Instant::now();
    let reply = node.send(http::Request::get(format!("/v2/app/blobs/{digest}"))).await;
    assert_eq!((reply.status, reply.code().as_str()), (504, "UNAVAILABLE"));
    assert_eq!(reply.header("retry-after"), Some("1"));
    assert!(start.elapsed() <= dataproxy::pull::ANSWER_MAX, "{:?}", start.elapsed());
}
