//! Clients that read a layer in pieces: what they get, and what that costs storage.
//!
//! The patterns are those of stargz-snapshotter (footer of 51 bytes, then its table of contents, then files), of
//! overlaybd (its trailer, then blocks) and of containerd's parallel fetch (open ranges, each hung up on after a chunk).

use std::collections::BTreeSet;
use std::fs::File;
use std::net::SocketAddr;
use std::os::unix::fs::FileExt as _;
use std::time::Duration;

use dataproxy_tests::image::{Image, TAG};
use dataproxy_tests::node::Stamp;
use dataproxy_tests::raw_http::{self, Answer};
use rand::rngs::SmallRng;
use rand::{RngExt as _, SeedableRng as _};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpSocket;
use tokio::task::JoinSet;
use tokio::time::timeout;

const LIMIT: Duration = Duration::from_secs(60);
/// What is fetched and kept at least (`cache.block`).
const BLOCK: u64 = 1 << 20;
/// Bytes of one ranged read (`cache.fetch_range`).
const READ: u64 = 4 << 20;
/// What a client takes of an open range.
const CHUNK: u64 = 4 << 20;
/// What is read of storage for every blob beside its blocks: its size, and links.
const BESIDES_BLOCKS: u64 = 64 << 10;

/// A cold layer of 64 MiB behind a front door, and the file that it is.
struct Layer {
    stamp: Stamp,
    digest: String,
    size: u64,
    file: File,
}

impl Layer {
    async fn cold() -> Self {
        let stamp = Stamp::start().await;
        let image = Image::medium().await;
        stamp.container("contoso").put_image(&image, "app", TAG);
        let (digest, size) = image.largest_blob();
        let file = File::open(image.blob_path(&digest)).expect("the layer is there");
        Self { stamp, digest, size, file }
    }

    fn target(&self) -> String {
        format!("/v2/contoso/app/blobs/{}", self.digest)
    }

    fn bytes(&self, from: u64, length: u64) -> Vec<u8> {
        let mut bytes = vec![0; length as usize];
        self.file.read_exact_at(&mut bytes, from).expect("the layer can be read");
        bytes
    }

    /// Finds an answer to be these bytes of the layer.
    fn check(&self, answer: &Answer, from: u64, length: u64) {
        assert_eq!(answer.status, 206, "{:?}", answer.head);
        let range = format!("bytes {from}-{}/{}", from + length - 1, self.size);
        assert_eq!(answer.header("content-range"), Some(range.as_str()));
        assert!(answer.body == self.bytes(from, length), "other bytes at {from}, length {length}");
    }
}

async fn range(address: SocketAddr, target: &str, range: &str) -> Answer {
    let header = format!("Range: bytes={range}");
    raw_http::send(address, "GET", target, &address.to_string(), &[&header]).await.expect("an answer")
}

/// Reads `footer` as it is asked for, a table of contents in front of it, and then `files` in parallel; checks every
/// byte and what storage was asked for.
async fn lazy(layer: &Layer, footer: (&str, u64), files: Vec<(u64, u64)>) {
    let (address, target) = (layer.stamp.front.pull(), layer.target());
    let mut read = vec![(layer.size - footer.1, footer.1)];
    layer.check(&range(address, &target, footer.0).await, read[0].0, read[0].1);
    // The table lies in front of the footer.
    let table = (layer.size - footer.1 - 70_000, 70_000);
    let closed = |(from, length): (u64, u64)| format!("{from}-{}", from + length - 1);
    layer.check(&range(address, &target, &closed(table)).await, table.0, table.1);
    read.push(table);

    let mut answers = JoinSet::new();
    let mut left = files.iter().copied();
    read.extend_from_slice(&files);
    loop {
        while answers.len() < 16
            && let Some((from, length)) = left.next()
        {
            let (target, wanted) = (target.clone(), closed((from, length)));
            answers.spawn(async move { (from, length, range(address, &target, &wanted).await) });
        }
        let Some(answer) = answers.join_next().await else { break };
        let (from, length, answer) = answer.expect("no panic");
        layer.check(&answer, from, length);
    }

    let touched: BTreeSet<u64> =
        read.iter().flat_map(|(from, length)| from / BLOCK..=(from + length - 1) / BLOCK).collect();
    let blocks: u64 = touched.iter().map(|block| BLOCK.min(layer.size - block * BLOCK)).sum();
    let asked: u64 = read.iter().map(|(_, length)| length).sum();
    let origin_bytes = layer.stamp.origin_bytes().await;
    println!(
        "{} ranges of {asked} bytes touch {} of {} blocks: origin bytes ÷ touched bytes = {:.3}, ÷ asked bytes = {:.3}",
        read.len(),
        touched.len(),
        layer.size.div_ceil(BLOCK),
        origin_bytes as f64 / blocks as f64,
        origin_bytes as f64 / asked as f64
    );
    assert!(origin_bytes >= asked.min(blocks), "{origin_bytes} bytes cannot have been {asked}");
    assert!(
        origin_bytes <= blocks + BESIDES_BLOCKS,
        "{origin_bytes} bytes of storage for {blocks} bytes in the blocks touched"
    );
    assert!(touched.len() as u64 <= layer.size / BLOCK / 2, "the pattern is not a lazy one");
    let logged = layer.stamp.front.access(&layer.digest).await;
    assert!(logged.iter().any(|line| line["range"] == format!("bytes={}", footer.0)), "{logged:?}");
}

/// Files of up to 100 KiB at random places of some blocks, so that most of the layer is left alone.
fn scattered(layer: &Layer, count: usize) -> Vec<(u64, u64)> {
    let seed: u64 = rand::random();
    println!("seed {seed}");
    let mut random = SmallRng::seed_from_u64(seed);
    let blocks: Vec<u64> = (0..12).map(|_| random.random_range(0..layer.size / BLOCK)).collect();
    let mut files = Vec::new();
    for _ in 0..count {
        let block = blocks[random.random_range(0..blocks.len())];
        let length = random.random_range(1..100 << 10);
        let from = block * BLOCK + random.random_range(0..BLOCK);
        files.push((from, length.min(layer.size - from)));
    }
    files
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lazy_pull_that_asks_for_the_last_51_bytes_first_costs_the_blocks_it_touches() {
    let layer = Layer::cold().await;
    let files = scattered(&layer, 150);
    timeout(LIMIT, lazy(&layer, ("-51", 51), files)).await.expect("within the limit");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lazy_pull_that_learns_the_size_by_head_costs_the_blocks_it_touches() {
    let layer = Layer::cold().await;
    let files = scattered(&layer, 150);
    let (address, target) = (layer.stamp.front.pull(), layer.target());
    let work = async {
        let head =
            raw_http::send(address, "HEAD", &target, &address.to_string(), &[]).await.expect("an answer");
        assert_eq!((head.status, head.head.content_length()), (200, Some(layer.size)));
        let trailer = 64 << 10;
        let wanted = format!("{}-{}", layer.size - trailer, layer.size - 1);
        lazy(&layer, (&wanted, trailer), files).await;
    };
    timeout(LIMIT, work).await.expect("within the limit");
}

/// Opens a range from `from` on, reads [`CHUNK`] bytes of it and hangs up. The socket takes little more than is read, as
/// over a real network; else what the kernel keeps for the client is most of the cost. Gives the bytes.
async fn chunk(address: SocketAddr, target: &str, from: u64) -> Vec<u8> {
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.set_recv_buffer_size(64 << 10).expect("a small buffer");
    let mut stream = socket.connect(address).await.expect("a connection");
    let range = format!("Range: bytes={from}-");
    let request = raw_http::request("GET", target, &address.to_string(), &[&range]);
    stream.write_all(&request).await.expect("a write");
    let mut answer = Vec::new();
    let body = loop {
        let head = answer.windows(4).position(|four| four == b"\r\n\r\n");
        if let Some(head) = head
            && (answer.len() - head - 4) as u64 >= CHUNK
        {
            assert!(answer.starts_with(b"HTTP/1.1 206 "), "{}", String::from_utf8_lossy(&answer[..head]));
            break answer.split_off(head + 4);
        }
        assert!(stream.read_buf(&mut answer).await.expect("a body") > 0, "it ended after {}", answer.len());
    };
    body[..CHUNK as usize].to_vec()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn open_ranges_that_are_hung_up_on_cost_a_few_chunks_and_no_block_twice() {
    let layer = Layer::cold().await;
    let (address, target) = (layer.stamp.nodes[0].pull(), layer.target());
    let work = async {
        // Two chunks far from each other, one after the other: what is read beyond each is waste.
        for from in [0, 40 << 20] {
            assert!(chunk(address, &target, from).await == layer.bytes(from, CHUNK), "other bytes at {from}");
        }
        let lone = layer.stamp.origin_bytes().await;
        println!("two lone chunks: origin bytes ÷ asked bytes = {:.3}", lone as f64 / (2 * CHUNK) as f64);
        // And the whole of it, as containerd 2.1 does: three at a time, each chunk once.
        let mut chunks = JoinSet::new();
        let check = |(from, bytes): (u64, Vec<u8>)| {
            assert!(bytes == layer.bytes(from, CHUNK), "other bytes at {from}");
        };
        for at in 0..layer.size / CHUNK {
            if chunks.len() == 3 {
                check(chunks.join_next().await.expect("one runs").expect("no panic"));
            }
            let target = target.clone();
            chunks.spawn(async move { (at * CHUNK, chunk(address, &target, at * CHUNK).await) });
        }
        while let Some(ended) = chunks.join_next().await {
            check(ended.expect("no panic"));
        }
        let all = layer.stamp.origin_bytes().await;
        println!("every chunk: origin bytes ÷ layer bytes = {:.3}", all as f64 / layer.size as f64);
        (lone, all)
    };
    let (lone, all) = timeout(LIMIT, work).await.expect("within the limit");
    assert!(lone >= 2 * CHUNK, "{lone} bytes cannot have been two chunks");
    // The connection took a chunk, and the kernel up to 4 MiB and a write more; as much again is read ahead.
    assert!(lone <= 2 * (5 * CHUNK + READ), "two lone chunks cost {lone} bytes");
    // Nothing is fetched twice, however many ask.
    assert!(all <= layer.size + BESIDES_BLOCKS, "every chunk once cost {all} bytes of {}", layer.size);
}
