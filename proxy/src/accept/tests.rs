//! Connections begin and end as stated: at once for a TLS hello, softly for a drain, never by a reset.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use bytes::Bytes;
use http_body_util::StreamBody;
use hyper::body::Frame;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};
use tokio::sync::mpsc;

use super::*;
use crate::body::BodyError;
use crate::lifecycle::{State, Timers};

mod tail;
mod tls;

const PATIENCE: Duration = Duration::from_secs(10);

/// A body whose pieces the test hands over one by one.
type Pieces = mpsc::Sender<Result<Frame<Bytes>, BodyError>>;

struct Server {
    addr: SocketAddr,
    life: Lifecycle,
    empty: tokio::task::JoinHandle<()>,
    bodies: mpsc::Receiver<Pieces>,
}

fn bounds() -> Bounds {
    Bounds {
        header_bytes: 16 << 10,
        header_count: 64,
        write_quantum_bytes: 1 << 20,
        sendfile: true,
        tls_buffer_bytes: 256 << 10,
        first_byte_timeout: PATIENCE,
        idle_timeout: PATIENCE,
    }
}

/// A body of 100 bytes that panics when it is read.
struct Panics;

impl hyper::body::Body for Panics {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        panic!("as asked")
    }
}

fn hundred(body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    response.headers_mut().insert("content-length", 100.into());
    response
}

/// Answers `/panic` by panicking, `/panics` and `/fails` with a body of 100 bytes that panics or fails when it is first
/// read, `/slow` with one that the test sends, `/session` with whether TLS was resumed, all else with `hello`.
fn serve(speaks: Speaks, bounds: Bounds, max_connections: usize) -> Server {
    let (handed, bodies) = mpsc::channel::<Pieces>(8);
    let handler = move |request: Request<Incoming>| {
        let handed = handed.clone();
        async move {
            match request.uri().path() {
                "/panic" => panic!("as asked"),
                "/session" => {
                    let resumed = request.extensions().get::<Peer>().unwrap().resumed;
                    Response::new(Body::full(if resumed { "again" } else { "first" }))
                }
                "/panics" => hundred(Body::stream(Panics)),
                "/fails" => {
                    let failed = async { Err::<Frame<Bytes>, BodyError>("as asked".into()) };
                    hundred(Body::stream(StreamBody::new(futures_util::stream::once(failed))))
                }
                "/slow" => {
                    let (pieces, body) = mpsc::channel(8);
                    handed.send(pieces).await.unwrap();
                    let body = futures_util::stream::unfold(body, |mut body| async {
                        body.recv().await.map(|piece| (piece, body))
                    });
                    hundred(Body::stream(StreamBody::new(body)))
                }
                _ => Response::new(Body::full("hello")),
            }
        }
    };
    let life = Lifecycle::new(Timers {
        spread: Duration::ZERO,
        idle: Duration::from_millis(200),
        cut_window: Duration::from_millis(300),
        ..Timers::default()
    });
    life.advance(State::Ready);
    let listener = bind(SocketAddr::from(([127, 0, 0, 1], 0)), "listen.pull").unwrap();
    let addr = listener.local_addr().unwrap();
    let acceptor = Acceptor::new(handler, bounds, max_connections, true, life.clone(), Arc::default());
    let accepting = tokio::spawn(Arc::clone(&acceptor).accept(listener, speaks));
    let draining = life.clone();
    let empty = tokio::spawn(async move {
        draining.reaches(State::Draining).await;
        acceptor.empty().await;
        accepting.abort();
    });
    Server { addr, life, empty, bodies }
}

fn plain() -> Server {
    serve(Speaks::Plain, bounds(), 100)
}

async fn send(to: SocketAddr, text: &str) -> BufReader<TcpStream> {
    let mut stream = TcpStream::connect(to).await.unwrap();
    stream.write_all(text.as_bytes()).await.unwrap();
    BufReader::new(stream)
}

/// Status line and headers of the next response.
async fn head(stream: &mut (impl AsyncBufReadExt + Unpin)) -> String {
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        let read = tokio::time::timeout(PATIENCE, stream.read_line(&mut head)).await.expect("a head in time");
        assert!(read.unwrap() > 0, "the connection ended inside {head:?}");
    }
    head.to_ascii_lowercase()
}

async fn body(stream: &mut (impl AsyncBufReadExt + Unpin), length: usize) -> String {
    let mut body = vec![0; length];
    tokio::time::timeout(PATIENCE, stream.read_exact(&mut body)).await.expect("a body in time").unwrap();
    String::from_utf8(body).unwrap()
}

/// What is left until the peer closes; a reset is an error here.
async fn rest(stream: &mut (impl AsyncBufReadExt + Unpin)) -> Vec<u8> {
    let mut rest = Vec::new();
    tokio::time::timeout(PATIENCE, stream.read_to_end(&mut rest))
        .await
        .expect("an end in time")
        .expect("FIN");
    rest
}

#[tokio::test]
async fn a_tls_hello_on_a_plain_address_is_answered_at_once_in_plain_http() {
    let server = plain();
    let start = Instant::now();
    let hello = "\x16\x03\x01\x02\x00\x01\x00\x01\u{0}and then five hundred bytes of hello";
    let mut stream = send(server.addr, hello).await;
    let head = head(&mut stream).await;
    assert!(head.starts_with("http/1.1 400 "), "{head}");
    let body = rest(&mut stream).await;
    assert!(head.contains(&format!("\r\ncontent-length: {}\r\n", body.len())), "{head}");
    let body: serde_json::Value = serde_json::from_slice(&body).unwrap();
    assert_eq!(body["errors"][0]["code"], "UNSUPPORTED");
    assert!(start.elapsed() < Duration::from_secs(2), "{:?}", start.elapsed());
}

#[tokio::test]
async fn a_panic_ends_its_own_request_and_nothing_else() {
    let server = plain();
    let mut stream = send(server.addr, "GET /panic HTTP/1.1\r\nhost: a\r\n\r\n").await;
    let failed = head(&mut stream).await;
    assert!(failed.starts_with("http/1.1 500"), "{failed}");
    assert!(failed.contains("content-type: application/json"), "{failed}");
    let mut again = send(server.addr, "GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
    assert!(head(&mut again).await.starts_with("http/1.1 200"));
}

#[tokio::test]
async fn headers_beyond_the_bounds_are_answered_431() {
    let server = plain();
    let many = "x: y\r\n".repeat(65);
    let large = format!("x: {}\r\n", "y".repeat(17 << 10));
    for headers in [many, large] {
        let mut stream = send(server.addr, &format!("GET / HTTP/1.1\r\n{headers}\r\n")).await;
        assert!(head(&mut stream).await.starts_with("http/1.1 431"));
    }
}

#[tokio::test]
async fn a_silent_connection_is_closed_in_time() {
    let server =
        serve(Speaks::Plain, Bounds { first_byte_timeout: Duration::from_millis(50), ..bounds() }, 100);
    let mut stream = send(server.addr, "").await;
    assert_eq!(rest(&mut stream).await, b"");
}

#[tokio::test]
async fn one_connection_more_than_allowed_waits_instead_of_being_refused() {
    let server = serve(Speaks::Plain, bounds(), 1);
    let mut first = send(server.addr, "GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
    head(&mut first).await;
    let mut second = send(server.addr, "GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
    let early = tokio::time::timeout(Duration::from_millis(100), second.fill_buf()).await;
    assert!(early.is_err(), "served while the first one has the slot");
    drop(first);
    assert!(head(&mut second).await.starts_with("http/1.1 200"));
}

#[tokio::test]
async fn a_drain_lets_bodies_end_and_serves_new_requests_until_it_is_empty() {
    let mut server = plain();
    let mut idle = send(server.addr, "GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
    head(&mut idle).await;
    body(&mut idle, 5).await;
    let mut slow = send(server.addr, "GET /slow HTTP/1.1\r\nhost: a\r\n\r\n").await;
    head(&mut slow).await;
    let pieces = server.bodies.recv().await.unwrap();

    server.life.advance(State::Draining);
    assert_eq!(rest(&mut idle).await, b"", "an idle connection ends");
    let mut new = send(server.addr, "GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
    let answered = head(&mut new).await;
    assert!(answered.starts_with("http/1.1 200") && answered.contains("connection: close"), "{answered}");
    assert_eq!(rest(&mut new).await, b"hello");
    assert!(!server.empty.is_finished(), "a body still runs");

    pieces.send(Ok(Frame::data(Bytes::from(vec![b'x'; 100])))).await.unwrap();
    drop(pieces);
    assert_eq!(rest(&mut slow).await.len(), 100);
    drop(slow);
    let start = Instant::now();
    tokio::time::timeout(PATIENCE, server.empty).await.expect("empty").unwrap();
    assert!(start.elapsed() < Duration::from_secs(2), "{:?}", start.elapsed());
}

#[tokio::test]
async fn a_cut_ends_short_with_fin_though_the_client_has_sent_more() {
    let mut server = plain();
    let mut slow = send(server.addr, "GET /slow HTTP/1.1\r\nhost: a\r\n\r\n").await;
    head(&mut slow).await;
    let pieces = server.bodies.recv().await.unwrap();
    pieces.send(Ok(Frame::data(Bytes::from_static(b"0123456789")))).await.unwrap();
    assert_eq!(body(&mut slow, 10).await, "0123456789");
    slow.write_all("GET /next HTTP/1.1\r\n".repeat(1000).as_bytes()).await.unwrap();
    server.life.advance(State::Cutting);
    assert_eq!(rest(&mut slow).await, b"");
    drop(slow);
    tokio::time::timeout(PATIENCE, server.empty).await.expect("empty").unwrap();
}

#[tokio::test]
async fn a_body_that_fails_ends_short_with_fin_though_the_client_has_sent_more() {
    let mut server = plain();
    let mut slow = send(server.addr, "GET /slow HTTP/1.1\r\nhost: a\r\n\r\n").await;
    assert!(head(&mut slow).await.contains("content-length: 100"));
    let pieces = server.bodies.recv().await.unwrap();
    pieces.send(Ok(Frame::data(Bytes::from_static(b"0123456789")))).await.unwrap();
    assert_eq!(body(&mut slow, 10).await, "0123456789");
    slow.write_all("GET /next HTTP/1.1\r\n".repeat(1000).as_bytes()).await.unwrap();
    pieces.send(Err("storage broke".into())).await.unwrap();
    assert_eq!(rest(&mut slow).await, b"");
}

#[tokio::test]
async fn a_body_that_fails_at_once_still_sends_its_headers() {
    let server = plain();
    let mut stream = send(server.addr, "GET /fails HTTP/1.1\r\nhost: a\r\n\r\n").await;
    let head = head(&mut stream).await;
    assert!(head.starts_with("http/1.1 200") && head.contains("content-length: 100"), "{head}");
    assert_eq!(rest(&mut stream).await, b"");
}

#[tokio::test]
async fn a_body_that_panics_ends_its_connection_with_fin_and_nothing_else() {
    let server = plain();
    let more = "GET /next HTTP/1.1\r\n".repeat(1000);
    let mut stream = send(server.addr, &format!("GET /panics HTTP/1.1\r\nhost: a\r\n\r\n{more}")).await;
    assert!(rest(&mut stream).await.len() < 100 + "HTTP/1.1 200 OK".len() + 200);
    let mut again = send(server.addr, "GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
    assert!(head(&mut again).await.starts_with("http/1.1 200"));
    drop((stream, again));
    server.life.advance(State::Draining);
    tokio::time::timeout(PATIENCE, server.empty).await.expect("empty").unwrap();
}

#[tokio::test]
async fn a_listener_that_nobody_connects_to_takes_no_slot() {
    let life = Lifecycle::default();
    let handler = |_: Request<Incoming>| async { Response::new(Body::full("hello")) };
    let acceptor = Acceptor::new(handler, bounds(), 1, false, life, Arc::default());
    let listeners = [(); 3].map(|()| bind(SocketAddr::from(([127, 0, 0, 1], 0)), "listen.pull").unwrap());
    let addresses = listeners.each_ref().map(|listener| listener.local_addr().unwrap());
    for listener in listeners {
        tokio::spawn(Arc::clone(&acceptor).accept(listener, Speaks::Plain));
    }
    // The last one first: the others have waited longer for a slot.
    for address in addresses.into_iter().rev() {
        let request = "GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n";
        let mut stream = send(address, request).await;
        assert!(head(&mut stream).await.starts_with("http/1.1 200"));
        assert_eq!(rest(&mut stream).await, b"hello");
    }
}

#[tokio::test]
async fn a_taken_address_is_named_with_the_setting_that_moves_it() {
    let first = bind(SocketAddr::from(([127, 0, 0, 1], 0)), "listen.pull").unwrap();
    let addr = first.local_addr().unwrap();
    let error = bind(addr, "admin.listen").unwrap_err().to_string();
    assert_eq!(
        error,
        format!(
            "{addr} cannot be listened on (admin.listen): Address already in use (os error 98); another process has it: stop that one, or give the setting another port"
        )
    );
}

#[tokio::test]
async fn connections_are_served_at_the_same_time() {
    let mut server = plain();
    let done = Arc::new(AtomicUsize::new(0));
    let mut slow = send(server.addr, "GET /slow HTTP/1.1\r\nhost: a\r\n\r\n").await;
    head(&mut slow).await;
    let _pieces = server.bodies.recv().await.unwrap();
    for _ in 0..20 {
        let mut quick = send(server.addr, "GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n").await;
        assert!(head(&mut quick).await.starts_with("http/1.1 200"));
        assert_eq!(rest(&mut quick).await, b"hello");
        done.fetch_add(1, Ordering::Relaxed);
    }
    assert_eq!(done.load(Ordering::Relaxed), 20);
}
