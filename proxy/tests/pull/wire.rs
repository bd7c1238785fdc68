//! The bytes that leave on HTTP/1.1, where the promise is about them and not about a response.

use std::convert::Infallible;
use std::sync::Arc;

use dataproxy_cache::OriginErrorKind;
use dataproxy_cache::fakes::Fault;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::node::{Node, contoso};

/// What comes back for these bytes until the server closes.
async fn exchange(node: &Node, sent: String) -> String {
    let (mut client, server) = tokio::io::duplex(64 << 10);
    let puller = Arc::clone(&node.puller);
    let service = service_fn(move |request| {
        let puller = Arc::clone(&puller);
        async move { Ok::<_, Infallible>(puller.serve(request).await) }
    });
    let connection = tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(server), service));
    client.write_all(sent.as_bytes()).await.expect("written");
    let mut answer = Vec::new();
    client.read_to_end(&mut answer).await.expect("read to the end");
    // A body that failed is an error of the connection, too.
    let _ended = connection.await.expect("no panic");
    String::from_utf8_lossy(&answer).into_owned()
}

fn request(method: &str, path: &str, more: &str) -> String {
    format!("{method} {path} HTTP/1.1\r\nhost: contoso.registry.test\r\n{more}\r\n")
}

#[tokio::test]
async fn a_head_has_the_length_and_the_next_answer_follows_its_headers() {
    let node = Node::new().await;
    let digest = node.push_blob("app", b"0123456789");
    let path = format!("/v2/app/blobs/{digest}");
    let sent = request("HEAD", &path, "") + &request("GET", &path, "connection: close\r\n");
    let answer = exchange(&node, sent).await;
    let (head, get) = answer.split_once("\r\n\r\n").expect("headers");
    assert!(head.contains("content-length: 10"), "{head}");
    assert!(get.starts_with("HTTP/1.1 200"), "{get}");
    assert!(get.ends_with("\r\n\r\n0123456789"), "{get}");
}

#[tokio::test(start_paused = true)]
async fn a_body_that_fails_closes_the_connection_short_of_its_length() {
    let node = Node::new().await;
    let digest = node.push_blob("app", &vec![b'x'; 8 << 20]);
    let bytes = contoso().blob(&digest);
    let fault = Fault::Break { after_bytes: 3 << 20, kind: OriginErrorKind::Denied };
    node.store.origin().script(move |asked| asked.object == bytes, None, fault);
    let next = request("GET", "/v2/", "connection: close\r\n");
    let answer = exchange(&node, request("GET", &format!("/v2/app/blobs/{digest}"), "") + &next).await;
    let (head, body) = answer.split_once("\r\n\r\n").expect("headers");
    if head.starts_with("HTTP/1.1 200") {
        assert!(head.contains("content-length: 8388608"), "{head}");
        assert!(body.len() < 8 << 20, "{}", body.len());
        assert!(!body.contains("HTTP/1.1"), "nothing follows a body that was cut");
    } else {
        // The failure was found out before the headers left.
        assert!(head.starts_with("HTTP/1.1 502"), "{head}");
    }
}

#[tokio::test]
async fn content_that_looks_like_a_request_is_never_served_as_one() {
    let node = Node::new().await;
    let smuggled = request("GET", "/v2/app/tags/list", "");
    let more = format!("content-length: {}\r\n", smuggled.len());
    let answer = exchange(&node, request("GET", "/v2/", &more) + &smuggled).await;
    assert!(answer.starts_with("HTTP/1.1 413"), "{answer}");
    assert!(answer.contains("connection: close"), "{answer}");
    assert_eq!(answer.matches("HTTP/1.1").count(), 1, "{answer}");
}
