//! Clients that keep their connections leave a draining node one after the other, and never all at once.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use dataproxy_tests::eventually::eventually;
use dataproxy_tests::node::{Options, Stamp};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout};

const LIMIT: Duration = Duration::from_secs(30);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_told_to_close_come_back_elsewhere_at_no_more_than_twice_the_even_rate() {
    storm(2_000, Duration::from_secs(20)).await;
}

/// Drains a node of so many clients over `spread`.
async fn storm(clients: usize, spread: Duration) {
    let drain = format!("lame_duck = \"0s\"\nspread = \"{}ms\"\n", spread.as_millis());
    let mut stamp = Stamp::start_with(Options { nodes: 2, drain, ..Options::default() }).await;
    let (from, to) = (stamp.nodes[0].pull(), stamp.nodes[1].pull());
    let mut connected = Vec::new();
    for _ in 0..clients {
        connected.push(connect(from));
    }
    let mut running = JoinSet::new();
    for (number, stream) in connected.into_iter().enumerate() {
        running.spawn(client(number, stream, to, spread));
    }
    let began = Instant::now();
    stamp.nodes[0].signal("TERM");
    let status = tokio::task::spawn_blocking(move || {
        let status = stamp.nodes[0].ended(spread * 3);
        (stamp, status)
    });
    let mut moved: Vec<Duration> = Vec::new();
    while let Some(at) = running.join_next().await {
        moved.push(at.expect("a client does not panic") - began);
    }
    let (stamp, status) = status.await.expect("the node ends");
    assert_eq!((moved.len(), status.code()), (clients, Some(0)));
    // The node is asked by nobody else: every connection of the other one is of these clients, its front door and probes.
    eventually("the other node has them", LIMIT, async || {
        let open = stamp.nodes[1].scrape().await.sum("dataproxy_connections_total", &[]) as usize;
        if open >= clients { Ok(()) } else { Err(format!("{open}")) }
    })
    .await;
    let seconds = moved.iter().map(|at| at.as_secs()).max().unwrap_or(0) as usize + 1;
    let mut by_second = vec![0; seconds];
    moved.iter().for_each(|at| by_second[at.as_secs() as usize] += 1);
    let peak = by_second.iter().copied().max().unwrap_or(0);
    let even = clients as f64 / spread.as_secs_f64();
    println!("{clients} clients over {spread:?}: peak {peak}/s, even {even:.0}/s, by second {by_second:?}");
    assert!(f64::from(peak) <= 2.0 * even, "a peak of {peak}/s");
}

/// A connection that has had one answer.
fn connect(to: SocketAddr) -> tokio::net::TcpStream {
    let mut stream = TcpStream::connect(to).expect("the node accepts");
    stream.write_all(b"GET /v2/ HTTP/1.1\r\nhost: node\r\n\r\n").expect("it takes a request");
    let mut got = Vec::new();
    let mut piece = [0; 1024];
    while !got.ends_with(b"\r\n\r\n{}") {
        let read = stream.read(&mut piece).expect("it answers");
        assert!(read > 0, "closed");
        got.extend_from_slice(&piece[..read]);
    }
    stream.set_nonblocking(true).expect("a socket can be entered");
    tokio::net::TcpStream::from_std(stream).expect("a socket can be entered")
}

/// Asks once in two seconds until it is told to close, then comes back elsewhere; gives when.
async fn client(
    number: usize,
    mut stream: tokio::net::TcpStream,
    elsewhere: SocketAddr,
    spread: Duration,
) -> Instant {
    let mut next = Instant::now() + Duration::from_millis(number as u64 * 997 % 2_000);
    let give_up = Instant::now() + spread * 2;
    loop {
        sleep_until(next).await;
        assert!(Instant::now() < give_up, "never told to close");
        next += Duration::from_secs(2);
        let answer = timeout(LIMIT, exchange(&mut stream)).await.expect("an answer in time");
        if answer.to_ascii_lowercase().contains("connection: close") {
            break;
        }
    }
    let at = Instant::now();
    let mut again = tokio::net::TcpStream::connect(elsewhere).await.expect("the other node accepts");
    exchange(&mut again).await;
    at
}

async fn exchange(stream: &mut tokio::net::TcpStream) -> String {
    stream.write_all(b"GET /v2/ HTTP/1.1\r\nhost: node\r\n\r\n").await.expect("it takes a request");
    let mut got = Vec::new();
    while !got.ends_with(b"\r\n\r\n{}") {
        let read = stream.read_buf(&mut got).await.expect("it answers");
        assert!(read > 0, "a request was lost: closed after {got:?}");
    }
    String::from_utf8(got).expect("text")
}
