//! Memory stays within its bound however many clients read however slowly.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

use dataproxy_tests::certificate;
use dataproxy_tests::eventually::eventually;
use dataproxy_tests::node::{Options, Stamp};
use dataproxy_tests::slow_reader::{SlowReader, trust};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use serde_json::json;

const MIB: u64 = 1 << 20;
const MEMORY_TIER: u64 = 64 * MIB;
/// What so many readers may add to it.
const READERS: u64 = 10_000;
const BOUND: u64 = 1 << 30;
const REGISTRIES: u64 = 100;
/// More than the kernel takes of a body that nobody reads, and of a small blob.
const SIZE: usize = 320 << 10;

/// As many readers as there are descriptors for: the node has a connection and a file open for each.
fn readers() -> u64 {
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    let most = rustix::process::Rlimit { current: limit.maximum, maximum: limit.maximum };
    rustix::process::setrlimit(rustix::process::Resource::Nofile, most).expect("up to the most is allowed");
    let most = limit.maximum.unwrap_or(u64::MAX);
    (most.saturating_sub(500) / 2).min(READERS)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_slow_readers_of_different_blobs_take_no_more_than_a_gib() {
    slow_readers(false).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_slow_readers_over_tls_take_no_more_than_a_gib() {
    slow_readers(true).await;
}

async fn slow_readers(tls: bool) {
    let readers = readers();
    let bound = MEMORY_TIER + BOUND / READERS * readers;
    let dir = tempfile::tempdir().expect("a folder can be made");
    let certificate = certificate::make(dir.path(), &["127.0.1.1"]);
    let name = |number| format!("r{number}");
    let bindings = (0..REGISTRIES).map(|number| {
        json!({
            "registry": name(number), "home_stamp": "a", "epoch": 1, "pull": "anonymous", "delivery": "stream",
            "placement": { "account": "acct", "container": "contoso" },
        })
    });
    let options = Options {
        memory_bytes: MEMORY_TIER,
        certificate: Some((certificate.server.clone(), certificate.key.clone())),
        bindings: bindings.collect(),
        ..Options::default()
    };
    let stamp = Stamp::start_with(options).await;
    let node = &stamp.nodes[0];
    // The same blobs in each registry are others to the cache.
    let container = stamp.container("contoso");
    let mut digests = Vec::new();
    for number in 0..readers.div_ceil(REGISTRIES) {
        let mut content = vec![0; SIZE];
        StdRng::seed_from_u64(number).fill_bytes(&mut content);
        let file = container.dir().join(format!("blob-{number}.new"));
        std::fs::write(&file, content).expect("a file can be written");
        digests.push(container.put_blob("app", &file).await);
    }
    let (server, connector) = match tls {
        true => (node.tls(), Some(Arc::new(trust(&certificate.authority)))),
        false => (node.pull(), None),
    };
    let start = node.anonymous_bytes();
    let open = |number: u64| {
        let digest = digests[(number / REGISTRIES) as usize].clone();
        let target = format!("/v2/{}/app/blobs/{digest}", name(number % REGISTRIES));
        let [_, a, b, c] = (number as u32 * 1000 + 2).to_be_bytes();
        let connector = connector.clone();
        async move {
            let from = IpAddr::V4(Ipv4Addr::new(127, a, b, c));
            Ok::<_, std::io::Error>((
                digest,
                SlowReader::open(from, server, connector.as_deref(), &target).await?,
            ))
        }
    };
    let mut open: Vec<_> = stream::iter(0..readers)
        .map(open)
        .buffer_unordered(64)
        .try_collect()
        .await
        .expect("every reader has an answer");
    // Fills end; what is held then is held for the readers.
    eventually("no fill runs", Duration::from_secs(60), async || {
        let running = node.scrape().await.sum("dataproxy_cache_fills_running", &[]);
        if running == 0.0 { Ok(()) } else { Err(format!("{running} fills")) }
    })
    .await;
    let held = node.anonymous_bytes();
    println!(
        "{readers} slow readers{}: RssAnon {} MiB of {} allowed, {:.1} KiB a reader; {} MiB before",
        if tls { " over TLS" } else { "" },
        held / MIB,
        bound / MIB,
        held.saturating_sub(start) as f64 / 1024.0 / readers as f64,
        start / MIB
    );
    let connections = node.scrape().await.sum("dataproxy_connections_open", &[]) as u64;
    assert!(connections >= readers, "{connections} connections");
    assert!(held <= bound, "RssAnon is {} MiB", held / MIB);
    for (digest, reader) in open.drain(..50) {
        assert_eq!(reader.finish(SIZE).await.expect("a whole body"), digest);
    }
}
