//! A node that reaches its deadline with a thousand responses under way, in a network of its own, where nobody else sends
//! a packet: every one of them ends with FIN, none with RST, and every client goes on elsewhere.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::process::Command;
use std::time::Duration;

use dataproxy_tests::eventually::eventually;
use dataproxy_tests::node::{Options, Stamp};
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use sha2::{Digest as _, Sha256};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

const CLIENTS: usize = 1_000;
const MIB: usize = 1 << 20;
const LAYER: usize = 12 * MIB;
/// What each has got before the deadline. With a cut at 1 MiB or later, more is to come.
const EARLY: usize = MIB / 2;
const WINDOW: Duration = Duration::from_secs(10);
const LIMIT: Duration = Duration::from_secs(120);
const INSIDE: &str = "DATAPROXY_TESTS_OWN_NETWORK";
const TEST: &str = "net_drain::a_thousand_responses_cut_at_the_deadline_are_a_thousand_fins_and_no_rst";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_responses_cut_at_the_deadline_are_a_thousand_fins_and_no_rst() {
    if std::env::var_os(INSIDE).is_some() {
        return inside().await;
    }
    // Built outside: no registry can be reached from within.
    dataproxy_tests::binary::path("dataproxy").await;
    let test = std::env::current_exe().expect("a test knows where it lies");
    let within = "ip link set lo up && exec \"$0\" --exact \"$1\" --nocapture";
    let ran = Command::new("unshare")
        .args(["--net", "--", "sh", "-c", within])
        .arg(test)
        .arg(TEST)
        .env(INSIDE, "1")
        .status();
    assert!(ran.expect("unshare can be run").success(), "it fails in a network of its own");
}

/// What a client has when its response has ended.
struct Got {
    hash: Sha256,
    bytes: usize,
}

async fn inside() {
    let drain = format!(
        "lame_duck = \"0s\"\ndeadline = \"1s\"\ncut_window = \"{}s\"\nhard_stop = \"60s\"\nclosing_quiet = \"10s\"\n",
        WINDOW.as_secs()
    );
    let mut stamp = Stamp::start_with(Options { nodes: 2, drain, ..Options::default() }).await;
    let digest = put_layer(&stamp).await;
    let target = format!("/v2/contoso/app/blobs/{digest}");
    let (first, second) = (stamp.nodes[0].pull(), stamp.nodes[1].pull());

    let mut opened = JoinSet::new();
    for _ in 0..CLIENTS {
        opened.spawn(open(first, target.clone()));
    }
    let opened = opened.join_all().await;
    let before = Resets::now();
    stamp.nodes[0].signal("TERM");
    let mut reading = JoinSet::new();
    for (stream, got) in opened {
        reading.spawn(read_slowly(stream, got));
    }
    let cut = timeout(LIMIT, reading.join_all()).await.expect("every response ends");
    // Every connection is over, and no process has ended yet.
    eventually("nobody is left", LIMIT, async || {
        let state = stamp.nodes[0].state().await?;
        if state == "closing" { Ok(()) } else { Err(state) }
    })
    .await;
    let sent = before.until_now();
    let soft = stamp.nodes[0].scrape().await.sum("dataproxy_cuts_total", &["kind=\"soft\""]) as usize;
    let least = cut.iter().map(|got| got.bytes).min().unwrap_or(0);
    let by_second = cuts_by_second(&stamp.nodes[0].settled_log().await);
    println!(
        "{soft} cut, {sent} RST sent, each client had {least} bytes or more; cut by second {by_second:?}"
    );
    assert_eq!((cut.len(), soft, sent), (CLIENTS, CLIENTS, 0));
    assert!(cut.iter().all(|got| (MIB..LAYER).contains(&got.bytes)), "{least}");
    assert!(by_second.values().all(|cuts| *cuts <= CLIENTS / 10 * 2), "{by_second:?}");

    // All of them at once, as the test has the time of nobody.
    let mut resumed = JoinSet::new();
    for got in cut {
        resumed.spawn(resume(second, target.clone(), got));
        if resumed.len() >= 50 {
            assert_eq!(resumed.join_next().await.expect("some run").expect("no panic"), digest);
        }
    }
    for whole in resumed.join_all().await {
        assert_eq!(whole, digest);
    }
    let status = tokio::task::spawn_blocking(move || stamp.nodes[0].ended(LIMIT)).await.expect("it ends");
    assert_eq!(status.code(), Some(3));
}

/// How many responses were cut in each second, as the node says.
fn cuts_by_second(log: &str) -> BTreeMap<String, usize> {
    let mut by_second = BTreeMap::new();
    for line in log.lines().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok()) {
        if let (Some("cut"), Some(at)) = (line["end"].as_str(), line["timestamp"].as_str())
            && line["target"] == "access"
        {
            *by_second.entry(at[11..19].to_owned()).or_default() += 1;
        }
    }
    assert_eq!(by_second.values().sum::<usize>(), CLIENTS, "each has its record");
    by_second
}

async fn put_layer(stamp: &Stamp) -> String {
    let seed = rand::random();
    println!("seed {seed}");
    let mut layer = vec![0; LAYER];
    StdRng::seed_from_u64(seed).fill_bytes(&mut layer);
    let dir = tempfile::tempdir().expect("a folder");
    let file = dir.path().join("layer");
    std::fs::write(&file, layer).expect("a file can be written");
    stamp.container("contoso").put_blob("app", &file).await
}

/// Asks for the layer, and has its first bytes.
async fn open(node: SocketAddr, target: String) -> (TcpStream, Got) {
    let socket = TcpSocket::new_v4().expect("a socket");
    // A client far away: little is in the network, so much is left to the node.
    socket.set_recv_buffer_size(64 << 10).expect("a buffer can be small");
    let mut stream = socket.connect(node).await.expect("the node accepts");
    let body = send(&mut stream, node, &target, "").await;
    let mut got = Got { hash: Sha256::new(), bytes: 0 };
    got.take(&body);
    while got.bytes < EARLY {
        assert!(got.read(&mut stream).await > 0, "ended early");
    }
    (stream, got)
}

/// Sends a request and reads the head of the answer; gives what came of the body with it.
async fn send(stream: &mut TcpStream, node: SocketAddr, target: &str, header: &str) -> Vec<u8> {
    let request = format!("GET {target} HTTP/1.1\r\nhost: {node}\r\n{header}\r\n");
    stream.write_all(request.as_bytes()).await.expect("a request");
    let mut early = Vec::new();
    loop {
        if let Some(at) = early.windows(4).position(|four| four == b"\r\n\r\n") {
            let head = String::from_utf8_lossy(&early[..at]).into_owned();
            assert!(head.starts_with("HTTP/1.1 20"), "{head}");
            return early.split_off(at + 4);
        }
        assert!(stream.read_buf(&mut early).await.expect("an answer") > 0, "no answer");
    }
}

/// Reads at about 200 KiB a second, which is too slow to come to the end.
async fn read_slowly(mut stream: TcpStream, mut got: Got) -> Got {
    while got.read(&mut stream).await > 0 {
        sleep(Duration::from_millis(300)).await;
    }
    got
}

/// Goes on at the byte, and gives the digest of the whole.
async fn resume(node: SocketAddr, target: String, mut got: Got) -> String {
    let mut stream = TcpStream::connect(node).await.expect("the other node accepts");
    let range = format!("range: bytes={}-\r\nconnection: close\r\n", got.bytes);
    let body = send(&mut stream, node, &target, &range).await;
    got.take(&body);
    while got.read(&mut stream).await > 0 {}
    assert_eq!(got.bytes, LAYER);
    got.hash.finalize().iter().fold("sha256:".to_owned(), |text, byte| format!("{text}{byte:02x}"))
}

impl Got {
    fn take(&mut self, bytes: &[u8]) {
        self.hash.update(bytes);
        self.bytes += bytes.len();
    }

    async fn read(&mut self, stream: &mut TcpStream) -> usize {
        let mut piece = vec![0; 64 << 10];
        let read = timeout(LIMIT, stream.read(&mut piece)).await.expect("bytes or an end in time");
        let read = read.expect("FIN, not RST");
        self.take(&piece[..read]);
        read
    }
}

/// How many resets this network has sent (`OutRsts`; RFC 4022, tcpOutRsts).
struct Resets(u64);

impl Resets {
    fn now() -> Self {
        let text = std::fs::read_to_string("/proc/self/net/snmp").expect("Linux counts");
        let mut tcp = text.lines().filter_map(|line| line.strip_prefix("Tcp: "));
        let (names, numbers) = (tcp.next().expect("names"), tcp.next().expect("numbers"));
        let at = names.split(' ').position(|name| name == "OutRsts").expect("it counts resets");
        Self(numbers.split(' ').nth(at).and_then(|number| number.parse().ok()).expect("a number"))
    }

    fn until_now(&self) -> u64 {
        Self::now().0 - self.0
    }
}
