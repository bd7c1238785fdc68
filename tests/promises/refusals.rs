//! Hostile and malformed requests over a bare socket: each gets the OCI error that says what is wrong, and the
//! node goes on. (That none panicked is asserted whenever a node of the harness ends.)

use dataproxy_tests::image::{Image, TAG};
use dataproxy_tests::node::{Node, Stamp};
use dataproxy_tests::raw_http::{self, Answer};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::{Duration, timeout};

const HEX: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

async fn stamp() -> (Stamp, Image) {
    let stamp = Stamp::start().await;
    let image = Image::empty_layer().await;
    stamp.container("contoso").put_image(&image, "app", TAG);
    (stamp, image)
}

async fn ask(node: &Node, method: &str, target: &str, host: &str, headers: &[&str]) -> Answer {
    let answer = raw_http::send(node.pull(), method, target, host, headers).await;
    answer.unwrap_or_else(|error| panic!("{method} {target} of {host}: {error}"))
}

/// The answer is this refusal, in JSON with a message, and of the size that it says.
fn assert_refused(answer: &Answer, status: u16, code: &str, what: &str) {
    assert_eq!((answer.status, answer.error_code().as_deref()), (status, Some(code)), "{what}: {answer:?}");
    assert_eq!(answer.header("content-type"), Some("application/json"), "{what}");
    assert_eq!(answer.head.content_length(), Some(answer.body.len() as u64), "{what}");
    let message = answer.json().expect("JSON")["errors"][0]["message"].as_str().map(str::len);
    assert!(message.is_some_and(|length| length > 10), "{what}: {answer:?}");
}

async fn assert_still_serving(stamp: &Stamp, image: &Image) {
    for node in [&stamp.front, &stamp.nodes[0]] {
        let (digest, size) = image.largest_blob();
        let target = format!("/v2/contoso/app/blobs/{digest}");
        let blob = dataproxy_tests::download::download(node.pull(), &target).await.expect("a blob");
        assert_eq!((blob.digest, blob.bytes), (digest, size));
        assert_eq!(node.scrape().await.sum("dataproxy_request_panics_total", &[]), 0.0);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_name_tag_or_digest_that_is_not_one_is_refused_with_its_code() {
    let (stamp, image) = stamp().await;
    let long = "a".repeat(300);
    let upper = HEX.to_uppercase();
    let names =
        ["../fabrikam", "..", "a/../b", "%2e%2e", "a%2fb", "a%00b", "App", "a//b", "-a", "a_", "a___b"];
    let mut cases: Vec<(String, u16, &str)> = Vec::new();
    for name in names.iter().copied().chain([long.as_str()]) {
        cases.push((format!("/v2/contoso/{name}/manifests/v1"), 400, "NAME_INVALID"));
        cases.push((format!("/v2/contoso/{name}/blobs/sha256:{HEX}"), 400, "NAME_INVALID"));
        cases.push((format!("/v2/contoso/{name}/tags/list"), 400, "NAME_INVALID"));
    }
    for tag in ["-v1", ".v1", "v1%00", "%2e%2e", "v%2f1", &"v".repeat(129)] {
        cases.push((format!("/v2/contoso/app/manifests/{tag}"), 404, "TAG_INVALID"));
    }
    for digest in [
        "sha256:".to_owned(),
        format!("sha256:{}", &HEX[1..]),
        format!("sha256:{upper}"),
        format!("SHA256:{HEX}"),
        format!("md5:{HEX}"),
        format!("sha256:{HEX}0"),
        format!("sha256:..%2f{}", &HEX[5..]),
        HEX.to_owned(),
    ] {
        cases.push((format!("/v2/contoso/app/blobs/{digest}"), 400, "DIGEST_INVALID"));
    }
    cases.push(("/v2/contoso/app/tags/list?n=-1".into(), 400, "PAGINATION_NUMBER_INVALID"));
    cases.push(("/v2/contoso/app/tags/list?n=x".into(), 400, "PAGINATION_NUMBER_INVALID"));
    cases.push((format!("/v2/contoso/app/manifests/{}", "v".repeat(5000)), 414, "NAME_INVALID"));
    for node in [&stamp.nodes[0], &stamp.front] {
        for (target, status, code) in &cases {
            let answer = ask(node, "GET", target, "127.0.0.1", &[]).await;
            assert_refused(&answer, *status, code, &format!("{}: {target}", node.name()));
        }
    }
    assert_still_serving(&stamp, &image).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_not_there_or_not_the_repositorys_own_is_a_404_of_its_kind() {
    let (stamp, image) = stamp().await;
    let (digest, _) = image.largest_blob();
    let (contoso, fabrikam) = (stamp.container("contoso"), stamp.container("fabrikam"));
    let other = Image::multi_platform().await;
    contoso.put_image(&other, "other", TAG);
    fabrikam.put_image(&other, "app", TAG);
    let without_data = format!("sha256:{}", "1".repeat(64));
    contoso.own_blob("app", &without_data);
    let emptied = other.largest_blob().0;
    let file = contoso.data(&emptied);
    std::fs::remove_file(&file).expect("the file is there");
    std::fs::write(&file, "").expect("a file can be written");

    let blob = |repository: &str, digest: &str| format!("/v2/{repository}/blobs/{digest}");
    for (target, code) in [
        (blob("nobody/app", &digest), "NAME_UNKNOWN"),
        ("/v2/nobody/app/manifests/v1".into(), "NAME_UNKNOWN"),
        ("/v2/contoso/app/manifests/v2".into(), "MANIFEST_UNKNOWN"),
        (format!("/v2/contoso/app/manifests/{}", other.digest), "MANIFEST_UNKNOWN"),
        (blob("contoso/app", &format!("sha256:{HEX}")), "BLOB_UNKNOWN"),
        // The bytes are in this account, but the repository does not own them.
        (blob("contoso/other", &digest), "BLOB_UNKNOWN"),
        (blob("fabrikam/app", &digest), "BLOB_UNKNOWN"),
        (blob("contoso/app", &without_data), "BLOB_UNKNOWN"),
        (blob("contoso/other", &emptied), "BLOB_UNKNOWN"),
    ] {
        let answer = ask(&stamp.nodes[0], "GET", &target, "127.0.0.1", &[]).await;
        assert_refused(&answer, 404, code, &target);
        let head = ask(&stamp.nodes[0], "HEAD", &target, "127.0.0.1", &[]).await;
        assert_eq!((head.status, head.body.len()), (404, 0), "{target}");
    }
    // Now that the cache holds the blob, it is still nobody else's.
    assert_still_serving(&stamp, &image).await;
    let answer = ask(&stamp.nodes[0], "GET", &blob("contoso/other", &digest), "127.0.0.1", &[]).await;
    assert_refused(&answer, 404, "BLOB_UNKNOWN", "a cached blob");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_host_says_which_registry_and_no_other_name_leads_anywhere() {
    let (stamp, image) = stamp().await;
    let served = ["contoso.registry.test", "CONTOSO.Registry.Test:5000", "contoso.registry.test."];
    for host in served {
        let answer = ask(&stamp.nodes[0], "GET", "/v2/app/manifests/v1", host, &[]).await;
        assert_eq!(answer.status, 200, "{host}: {answer:?}");
        assert_eq!(answer.header("docker-content-digest"), Some(image.digest.as_str()), "{host}");
    }
    let by_namespace = "/v2/app/manifests/v1?ns=contoso.registry.test";
    let answer = ask(&stamp.nodes[0], "GET", by_namespace, "127.0.0.1", &[]).await;
    assert_eq!((answer.status, answer.header("oci-namespace")), (200, Some("contoso.registry.test")));

    for (host, target, status) in [
        ("nobody.registry.test", "/v2/app/manifests/v1", 404),
        (".registry.test", "/v2/app/manifests/v1", 404),
        ("contoso.registry.test.evil.test", "/v2/app/manifests/v1", 404),
        ("evilcontoso.registry.test", "/v2/app/manifests/v1", 404),
        // A host in the zone decides, even where the path would name a registry.
        ("nobody.registry.test", "/v2/contoso/app/manifests/v1", 404),
        ("127.0.0.1", "/v2/contoso/app/manifests/v1?ns=docker.io", 404),
        ("127.0.0.1", "/v2/app/manifests/v1?ns=169.254.169.254", 404),
        ("127.0.0.1", "/v2/app/manifests/v1?ns=contoso.registry.test&ns=fabrikam.registry.test", 400),
        ("con toso.registry.test", "/v2/app/manifests/v1", 400),
    ] {
        let answer = ask(&stamp.nodes[0], "GET", target, host, &[]).await;
        assert_eq!(answer.status, status, "{host} {target}: {answer:?}");
    }
    assert_still_serving(&stamp, &image).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_range_is_answered_exactly_ignored_or_refused() {
    let (stamp, image) = stamp().await;
    let (digest, size) = image.largest_blob();
    let bytes = std::fs::read(image.blob_path(&digest)).expect("the blob is there");
    let target = format!("/v2/contoso/app/blobs/{digest}");
    let whole = 0..size;
    let parts = [
        ("bytes=0-0".to_owned(), 0..1),
        ("bytes=500-1499".into(), 500..1500),
        (format!("bytes={}-", size - 7), size - 7..size),
        (format!("bytes={}-{}", size - 7, u64::MAX), size - 7..size),
        ("bytes=-5".into(), size - 5..size),
        (format!("bytes=-{}", u64::MAX), whole.clone()),
        ("bytes=0-".into(), whole.clone()),
    ];
    for node in [&stamp.nodes[0], &stamp.front] {
        for (range, part) in &parts {
            let answer = ask(node, "GET", &target, "127.0.0.1", &[&format!("Range: {range}")]).await;
            let content_range = format!("bytes {}-{}/{size}", part.start, part.end - 1);
            assert_eq!(answer.status, 206, "{range}");
            assert_eq!(answer.header("content-range"), Some(content_range.as_str()), "{range}");
            assert!(answer.body == bytes[part.start as usize..part.end as usize], "{range}: other bytes");
        }
        for range in ["bytes=a-b", "bytes=1-2,4-5", "lines=1-2", "bytes=", "bytes=--1", "bytes"] {
            let answer = ask(node, "GET", &target, "127.0.0.1", &[&format!("Range: {range}")]).await;
            assert_eq!((answer.status, answer.body == bytes), (200, true), "{range}");
        }
        for range in [
            format!("bytes={size}-"),
            "bytes=-0".into(),
            "bytes=500-0".into(),
            "bytes=99999999999999999999-".into(),
        ] {
            let answer = ask(node, "GET", &target, "127.0.0.1", &[&format!("Range: {range}")]).await;
            assert_refused(&answer, 416, "RANGE_INVALID", &range);
            assert_eq!(answer.header("content-range"), Some(format!("bytes */{size}").as_str()), "{range}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn writes_and_what_is_no_route_are_refused_and_say_what_would_be_right() {
    let (stamp, image) = stamp().await;
    for node in [&stamp.nodes[0], &stamp.front] {
        for (method, target) in [
            ("PUT", "/v2/contoso/app/manifests/v1"),
            ("DELETE", "/v2/contoso/app/manifests/v1"),
            ("POST", "/v2/contoso/app/blobs/uploads/"),
            ("PATCH", "/v2/contoso/app/blobs/uploads/1"),
        ] {
            let answer = ask(node, method, target, "127.0.0.1", &[]).await;
            assert_refused(&answer, 405, "UNSUPPORTED", &format!("{method} {target}"));
        }
        for target in ["/", "/v1/", "/v2/_catalog", "/v2/contoso/app", "/metrics", "/v2/contoso/app/blobs"] {
            let answer = ask(node, "GET", target, "127.0.0.1", &[]).await;
            assert_eq!(answer.status, 404, "{target}: {answer:?}");
            assert!(answer.error_code().is_some(), "{target}: {answer:?}");
        }
    }
    assert_still_serving(&stamp, &image).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stored_manifest_that_cannot_be_one_is_refused_as_such() {
    let (stamp, image) = stamp().await;
    let contoso = stamp.container("contoso");
    let mut large = br#"{"schemaVersion":2,"config":{},"layers":[]}"#.to_vec();
    large.resize((4 << 20) + 1, b' ');
    for (tag, bytes) in
        [("text", b"not JSON".as_slice()), ("large", &large), ("array", b"[]"), ("deep", &[b'['; 100_000])]
    {
        let digest = contoso.put_manifest("odd", tag, bytes).await;
        for reference in [tag, &digest] {
            let target = format!("/v2/contoso/odd/manifests/{reference}");
            let answer = ask(&stamp.nodes[0], "GET", &target, "127.0.0.1", &[]).await;
            assert_refused(&answer, 400, "MANIFEST_INVALID", tag);
        }
    }
    assert_still_serving(&stamp, &image).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_not_http_is_refused_and_nothing_is_smuggled_behind_it() {
    let (stamp, image) = stamp().await;
    let get = "GET /v2/ HTTP/1.1\r\nHost: 127.0.0.1\r\n";
    let behind = "GET /v2/contoso/app/manifests/v1 HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n";
    let length = behind.len();
    let payloads = [
        "\0\0\0\0\r\n\r\n".to_owned(),
        "GET\r\n\r\n".into(),
        "GET /v2/ HTTP/9.9\r\n\r\n".into(),
        format!("{get}Content-Length: 0x10\r\n\r\n{behind}"),
        format!("{get}Content-Length: +{length}\r\n\r\n{behind}"),
        format!("{get}Content-Length: {length}\r\nContent-Length: 0\r\n\r\n{behind}"),
        format!("{get}Content-Length : {length}\r\n\r\n{behind}"),
        format!("{get}Transfer-Encoding: chunked\r\nContent-Length: {length}\r\n\r\n0\r\n\r\n{behind}"),
        format!("{get}Transfer-Encoding: xchunked\r\n\r\n{behind}"),
        format!("{get}A: b\r\n c: d\r\n\r\n{behind}"),
        format!("{get}{}\r\n{behind}", "A: b\r\n".repeat(5000)),
        format!("{get}A: {}\r\n\r\n{behind}", "b".repeat(200_000)),
        format!("GET /{} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n{behind}", "a".repeat(200_000)),
    ];
    for node in [&stamp.nodes[0], &stamp.front] {
        for payload in &payloads {
            let what: String = payload.chars().take(120).collect();
            let mut socket = TcpStream::connect(node.pull()).await.expect("a connection");
            // A node that has seen enough may close before it has read all.
            let _ = socket.write_all(payload.as_bytes()).await;
            let mut answers = Vec::new();
            let read = timeout(Duration::from_secs(15), socket.read_to_end(&mut answers)).await;
            assert!(read.is_ok(), "{what:?}: the connection is still open");
            let answers = String::from_utf8_lossy(&answers);
            assert!(answers.matches("HTTP/1.1 ").count() <= 1, "{what:?} got two answers: {answers}");
            assert!(!answers.contains(&image.digest), "{what:?} got what was behind it: {answers}");
            assert!(answers.is_empty() || answers.starts_with("HTTP/1.1 4"), "{what:?}: {answers}");
        }
    }
    assert_still_serving(&stamp, &image).await;
}
