//! TLS at the plain port: docker tries that first at every address of 127.0.0.0/8.

use std::time::{Duration, Instant};

use dataproxy_tests::node::Stamp;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// A ClientHello of TLS 1.2 with one cipher suite and no extensions (RFC 5246, 7.4.1.2).
fn client_hello() -> Vec<u8> {
    let mut hello = vec![3, 3];
    hello.extend([0x5a; 32]);
    hello.extend([0, 0, 2, 0xc0, 0x2f, 1, 0]);
    let mut message = vec![1, 0, 0, hello.len() as u8];
    message.extend(hello);
    let mut record = vec![22, 3, 1, 0, message.len() as u8];
    record.extend(message);
    record
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tls_hello_is_answered_at_once_in_plain_http() {
    let stamp = Stamp::start().await;
    for node in [&stamp.front, &stamp.nodes[0]] {
        let begun = Instant::now();
        let mut socket = TcpStream::connect(node.pull()).await.expect("a connection");
        socket.write_all(&client_hello()).await.expect("a write");
        let mut answer = Vec::new();
        let read = timeout(Duration::from_secs(2), socket.read_to_end(&mut answer)).await;
        read.expect("an answer and the end of the connection within 2 s").expect("no reset");
        // By its first five bytes a client knows it from TLS.
        assert!(answer.starts_with(b"HTTP/1.1 400 "), "{answer:?}");
        assert!(begun.elapsed() < Duration::from_secs(1), "{:?}", begun.elapsed());
    }
}
