//! The nodes of a stamp as one cache, each a process of its own, some of them dead, stopped or misled.

use std::time::{Duration, Instant};

use dataproxy_tests::daemon::signal;
use dataproxy_tests::download::{Download, Downloaded, download};
use dataproxy_tests::eventually::eventually;
use dataproxy_tests::node::{Node, Options, Stamp};
use dataproxy_tests::raw_http;
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use tokio::task::JoinSet;

const MIB: u64 = 1 << 20;

/// A stamp of sharing nodes with one blob of noise in its account.
struct Rig {
    stamp: Stamp,
    digest: String,
    size: u64,
}

impl Rig {
    async fn new(nodes: u8, size: u64) -> Self {
        Self::with(Options { nodes, share: true, ..Options::default() }, size).await
    }

    async fn with(options: Options, size: u64) -> Self {
        let stamp = Stamp::start_with(options).await;
        let mut rig = Self { stamp, digest: String::new(), size: 0 };
        rig.put(size).await;
        rig
    }

    /// Goes on with another blob.
    async fn put(&mut self, size: u64) {
        let seed = rand::random();
        println!("a blob of seed {seed}");
        self.put_seeded(size, seed).await;
    }

    async fn put_seeded(&mut self, size: u64, seed: u64) {
        let mut random = StdRng::seed_from_u64(seed);
        // A debug build makes noise slowly: one piece, told from the next by its number.
        let mut piece = vec![0; MIB as usize];
        random.fill_bytes(&mut piece);
        let mut noise = Vec::with_capacity(size as usize);
        for number in 0..size / MIB {
            piece[..8].copy_from_slice(&number.to_le_bytes());
            noise.extend_from_slice(&piece);
        }
        let dir = tempfile::tempdir().expect("a folder");
        let file = dir.path().join("noise");
        std::fs::write(&file, noise).expect("a file can be written");
        self.digest = self.stamp.container("contoso").put_blob("app", &file).await;
        self.size = size;
    }

    fn target(&self) -> String {
        format!("/v2/contoso/app/blobs/{}", self.digest)
    }

    /// What each of these nodes serves of the blob is all of it, right.
    async fn pull_at(&self, nodes: &[usize]) {
        let mut pulls = JoinSet::new();
        for node in nodes {
            let (address, target) = (self.stamp.nodes[*node].pull(), self.target());
            pulls.spawn(async move { download(address, &target).await });
        }
        for pulled in pulls.join_all().await {
            self.is_right(&pulled.expect("every pull ends well"));
        }
    }

    fn is_right(&self, pulled: &Downloaded) {
        assert_eq!((pulled.digest.as_str(), pulled.bytes), (self.digest.as_str(), self.size));
    }

    async fn tell(&self, what: &str) -> f64 {
        let origin = self.stamp.origin_bytes().await as f64 / self.size as f64;
        println!("{what}: origin bytes ÷ blob bytes = {origin:.3}");
        origin
    }
}

/// Waits until a node holds no other one for away.
async fn lends_again(node: &Node) {
    eventually("all nodes lend", Duration::from_secs(40), async || {
        let away = node.scrape().await.sum("dataproxy_stamp_nodes_away", &[]);
        if away == 0.0 { Ok(()) } else { Err(format!("{away} nodes are away")) }
    })
    .await;
}

async fn lent_bytes(node: &Node) -> f64 {
    node.scrape().await.sum("dataproxy_cache_lent_bytes_total", &[])
}

async fn reads(node: &Node, outcome: &str) -> f64 {
    node.scrape().await.sum("dataproxy_stamp_reads_total", &[&format!("outcome=\"{outcome}\"")])
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_nodes_that_pull_one_cold_blob_cost_storage_about_once_and_share_the_work() {
    let mut rig = Rig::new(10, MIB).await;
    // Who owns what hangs on the names and the digest: with this seed, nothing here is left to chance but time.
    rig.put_seeded(128 * MIB, 1).await;
    let nodes = &rig.stamp.nodes;
    let before: Vec<f64> = nodes.iter().map(Node::cpu_seconds).collect();
    rig.pull_at(&(0..10).collect::<Vec<_>>()).await;
    let cpu: Vec<f64> = nodes.iter().zip(before).map(|(node, before)| node.cpu_seconds() - before).collect();
    let origin = rig.tell("ten nodes").await;
    let mean = cpu.iter().sum::<f64>() / cpu.len() as f64;
    let busiest = cpu.iter().copied().fold(0.0, f64::max) / mean;
    println!("CPU-s of each node: {cpu:.2?}; busiest ÷ mean = {busiest:.2}");
    let mut lent = 0.0;
    for node in nodes {
        lent += lent_bytes(node).await;
    }
    // Not the account's bytes once more: what nodes lend each other is counted apart.
    assert!((lent / rig.size as f64 + origin - 10.0).abs() < 0.01, "{lent} bytes lent");
    assert!((1.0..1.5).contains(&origin), "the account was read {origin} times");
    assert!(busiest <= 1.3, "one node did {busiest} times the mean");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_killed_with_9_while_it_lends_fails_no_pull_of_another() {
    const ROUNDS: u32 = 6;
    let mut rig = Rig::new(3, 48 * MIB).await;
    let mut met = (0.0, 0.0);
    for round in 1..=ROUNDS {
        let target = rig.target();
        let mut first = Download::open(rig.stamp.nodes[0].pull(), &target, &[]).await.expect("an answer");
        let mut second = Download::open(rig.stamp.nodes[1].pull(), &target, &[]).await.expect("an answer");
        first.read_to(MIB).await.expect("a body");
        second.read_to(MIB).await.expect("a body");
        rig.stamp.nodes[2].kill_9();
        let (first, second) = tokio::join!(first.finish(), second.finish());
        rig.is_right(&first.expect("a whole body"));
        rig.is_right(&second.expect("a whole body"));
        // Another blob, whose owner is gone from the start.
        rig.put(48 * MIB).await;
        rig.pull_at(&[0, 1]).await;
        met = (0.0, 0.0);
        for node in &rig.stamp.nodes[..2] {
            met = (met.0 + reads(node, "broke").await, met.1 + reads(node, "gone").await);
        }
        println!("after round {round}: {} reads were broken off by the kill, {} met nobody", met.0, met.1);
        rig.stamp.nodes[2].start().await;
        for node in [0, 1] {
            lends_again(&rig.stamp.nodes[node]).await;
        }
        if met.0 >= 1.0 && met.1 >= 1.0 {
            break;
        }
        rig.put(48 * MIB).await;
    }
    assert!(met.0 >= 1.0, "in {ROUNDS} rounds the node was never killed while it lent");
    rig.put(48 * MIB).await;
    let before = lent_bytes(&rig.stamp.nodes[0]).await;
    rig.pull_at(&[0]).await;
    assert!(lent_bytes(&rig.stamp.nodes[0]).await > before);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_is_stopped_costs_a_bounded_detour_once() {
    let mut rig = Rig::new(2, 64 * MIB).await;
    let stopped = rig.stamp.nodes[1].pid();
    signal(stopped, "STOP");
    let begun = Instant::now();
    rig.pull_at(&[0]).await;
    let detour = begun.elapsed();
    let silent = reads(&rig.stamp.nodes[0], "silent").await;
    println!("with a silent owner: {detour:?}, {silent} reads waited for it");
    // At most the reads that were on their way when the first one ended.
    assert!((1.0..=8.0).contains(&silent), "{silent} reads waited for it");
    rig.put(64 * MIB).await;
    rig.pull_at(&[0]).await;
    assert_eq!(reads(&rig.stamp.nodes[0], "silent").await, silent, "it was asked again though it is silent");
    signal(stopped, "CONT");
    lends_again(&rig.stamp.nodes[0]).await;
    rig.put(64 * MIB).await;
    let before = lent_bytes(&rig.stamp.nodes[0]).await;
    rig.pull_at(&[0]).await;
    assert!(lent_bytes(&rig.stamp.nodes[0]).await > before);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_with_another_key_is_served_nothing_and_pulls_all_the_same() {
    let mut rig = Rig::new(2, 32 * MIB).await;
    rig.stamp.nodes[1].stop();
    rig.stamp.write_file("another", &"o".repeat(32));
    rig.stamp.nodes[1].change_settings("/key\"", "/another\"");
    rig.stamp.nodes[1].start().await;
    rig.pull_at(&[0, 1]).await;
    assert_eq!(rig.tell("two keys").await, 2.0);
    for node in &rig.stamp.nodes {
        assert_eq!(lent_bytes(node).await, 0.0, "{}", node.name());
        let sent = node.scrape().await.sum("dataproxy_stamp_sent_bytes_total", &[]);
        assert_eq!(sent, 0.0, "{} gave something to a node without its key", node.name());
        assert!(reads(node, "denied").await >= 1.0, "{} asked nobody", node.name());
    }
    // A client has no key either.
    for path in [format!("/stamp/v1/contoso/{}", rig.digest), "/stamp/v1/ready".to_owned()] {
        let answer = raw_http::get(rig.stamp.nodes[0].pull(), &path).await.expect("an answer");
        assert_eq!((answer.status, answer.body.len()), (403, 0), "{path}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nodes_that_know_different_nodes_pull_right_bytes() {
    let mut rig = Rig::new(3, 64 * MIB).await;
    // The first does not know the third, nor the third the first.
    for (node, other) in [(0, 2), (2, 0)] {
        let mut bindings: serde_json::Value = serde_json::from_str(&rig.stamp.bindings()).expect("JSON");
        let listed = bindings["stamps"][0]["nodes"].as_array_mut().expect("a list");
        listed.remove(other);
        let file = format!("bindings-{node}.json");
        rig.stamp.write_file(&file, &bindings.to_string());
        rig.stamp.nodes[node].stop();
        rig.stamp.nodes[node].change_settings("/bindings.json", &format!("/{file}"));
        rig.stamp.nodes[node].start().await;
    }
    rig.pull_at(&[0, 1, 2]).await;
    let origin = rig.tell("three nodes, two of which do not know each other").await;
    assert!((1.0..=2.0).contains(&origin), "{origin}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn switched_off_each_node_reads_storage_itself() {
    let options = Options { nodes: 2, share: true, ..Options::default() };
    let mut rig = Rig::with(options, 16 * MIB).await;
    for node in &mut rig.stamp.nodes {
        node.stop();
        node.change_settings("[stamp]\n", "[stamp]\nshare = false\n");
        node.start().await;
    }
    rig.pull_at(&[0, 1]).await;
    assert_eq!(rig.tell("switched off").await, 2.0);
    for node in &rig.stamp.nodes {
        assert_eq!(lent_bytes(node).await, 0.0);
        let answer = raw_http::get(node.pull(), "/stamp/v1/ready").await.expect("an answer");
        assert_eq!(answer.status, 404, "there is no such route");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_drains_lends_nothing_more_and_pulls_go_on() {
    let mut rig = Rig::new(2, 48 * MIB).await;
    let target = rig.target();
    // A client that does not read on keeps the node draining.
    let mut slow = Download::open(rig.stamp.nodes[1].pull(), &target, &[]).await.expect("an answer");
    slow.read_to(MIB).await.expect("a body");
    signal(rig.stamp.nodes[1].pid(), "TERM");
    eventually("it drains", Duration::from_secs(10), async || {
        let state = rig.stamp.nodes[1].scrape().await.sum("dataproxy_state", &["state=\"draining\""]);
        if state == 1.0 { Ok(()) } else { Err("not yet".to_owned()) }
    })
    .await;
    rig.pull_at(&[0]).await;
    assert_eq!(lent_bytes(&rig.stamp.nodes[0]).await, 0.0);
    rig.is_right(&slow.finish().await.expect("a whole body"));
    rig.stamp.nodes[1].stop();
}
