//! A node is killed with -9 at random instants under load, over and over. `DATAPROXY_KILLS` says how often; 20 is the
//! ordinary number. `DATAPROXY_SEED` repeats the choices, though not their instants.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use dataproxy_tests::load::{Load, blobs, pull};
use dataproxy_tests::node::{Options, Stamp};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

/// A number from the environment.
fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().expect("it is a number"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kill_9_at_any_instant_under_load_costs_no_byte_its_rightness_and_what_was_kept_still_hits() {
    let kills = number("DATAPROXY_KILLS").unwrap_or(20);
    let seed = number("DATAPROXY_SEED").unwrap_or_else(rand::random);
    println!("DATAPROXY_SEED={seed}");
    let mut random = StdRng::seed_from_u64(seed);
    // So little memory that nearly all hits are the disk's, and a disk that has to make room all the time.
    let options =
        Options { memory_bytes: 1 << 20, cache: "capacity = \"48 MiB\"\n".into(), ..Options::default() };
    let mut stamp = Stamp::start_with(options).await;
    let sizes: Vec<usize> = (0..30).map(|_| random.random_range(1..6 << 20)).collect();
    let set = Arc::new(blobs(&stamp.container("contoso"), seed, &sizes).await);
    let address = stamp.nodes[0].pull();

    let load = Load::start(address, &set, 8, seed);
    let (mut slowest, mut hits, mut bad) = (Duration::ZERO, 0, 0);
    for _ in 0..kills {
        // The instant is what is random here.
        tokio::time::sleep(Duration::from_millis(random.random_range(20..300))).await;
        let scrape = stamp.nodes[0].scrape().await;
        hits += scrape.sum("dataproxy_requests_total", &["outcome=\"disk_hit\""]) as u64;
        bad += scrape.sum("dataproxy_cache_bad_blocks_total", &[]) as u64;
        stamp.nodes[0].kill_9();
        let begun = Instant::now();
        stamp.nodes[0].start().await;
        slowest = slowest.max(begun.elapsed());
        assert_eq!(load.counts().wrong.load(Relaxed), 0, "{}", load.counts().tell());
    }
    let counts = load.stop().await;
    println!(
        "{kills} kills: {}; {hits} hits on disk; {bad} blocks found bad; slowest start {slowest:?}",
        counts.tell()
    );
    assert_eq!(counts.wrong.load(Relaxed), 0);
    assert!(counts.whole.load(Relaxed) >= kills && hits >= kills, "hardly anything was served");
    assert!(slowest < Duration::from_secs(2), "{slowest:?} to be ready");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_verified_before_a_kill_is_hit_after_it() {
    let mut stamp = Stamp::start_with(Options { memory_bytes: 1 << 20, ..Options::default() }).await;
    let set = blobs(&stamp.container("contoso"), 1, &[3 << 20, 200, 5 << 20, 1 << 20, 700_000]).await;
    let address = stamp.nodes[0].pull();
    for blob in &set {
        pull(address, blob).await;
    }
    dataproxy_tests::eventually::eventually("every fill has ended", Duration::from_secs(10), async || {
        match stamp.nodes[0].scrape().await.sum("dataproxy_cache_fills_running", &[]) {
            0.0 => Ok(()),
            running => Err(format!("{running} run")),
        }
    })
    .await;
    stamp.nodes[0].kill_9();
    stamp.nodes[0].start().await;
    for blob in &set {
        pull(address, blob).await;
    }
    let scrape = stamp.nodes[0].scrape().await;
    assert_eq!(scrape.sum("dataproxy_cache_origin_bytes_total", &[]), 0.0);
    assert_eq!(scrape.sum("dataproxy_requests_total", &["outcome=\"disk_hit\""]), set.len() as f64);
}
