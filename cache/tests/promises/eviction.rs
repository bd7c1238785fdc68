//! Room is made without hurting a reader, and what is used stays.

use std::io::ErrorKind;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use dataproxy_cache::fakes::{Fault, Gate};
use dataproxy_cache::fault::DiskCall;
use dataproxy_cache::{Bypass, Outcome, Wanted};
use futures_util::future::join_all;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use crate::harness::{BESIDE, BLOCK, Rig, bounded, drain, take};
use crate::random_operations::seed;

/// A disk tier of so many blocks, and nothing in memory.
async fn on_disk_alone(blocks: u64) -> Rig {
    Rig::with(|config| {
        config.memory_bytes = 0;
        if let Some(disk) = &mut config.disk {
            disk.capacity_bytes = blocks * BLOCK;
        }
    })
    .await
}

#[tokio::test]
async fn a_blob_beyond_the_capacity_passes_through() {
    bounded(async {
        let rig = Rig::with(|config| {
            if let Some(disk) = &mut config.disk {
                disk.capacity_bytes = 10 * BLOCK;
            }
        })
        .await;
        let blob = rig.blob(300 * BLOCK);
        let outcome = rig.check(&blob, Wanted::Whole).await;
        assert_eq!(outcome, Outcome::Bypassed(Bypass::TooLarge));
        assert_eq!(rig.cache.stats().disk_bytes, 0);
    })
    .await;
}

#[tokio::test]
async fn room_is_made_by_what_is_used_least_and_the_account_is_exact() {
    bounded(async {
        let rig = on_disk_alone(50).await;
        let hot = rig.blob(10 * BLOCK);
        rig.check(&hot, Wanted::Whole).await;
        rig.idle().await;
        for extra in 1..30 {
            assert_eq!(rig.check(&hot, Wanted::Whole).await, Outcome::DiskHit, "after {extra} others");
            rig.check(&rig.blob(10 * BLOCK + extra), Wanted::Whole).await;
            rig.idle().await;
            let stats = rig.cache.stats();
            assert!(stats.disk_bytes <= 50 * BLOCK, "{} bytes", stats.disk_bytes);
        }
        assert!(rig.cache.stats().evictions >= 25);
        rig.cache.purge(&hot.key.scope, None).await.expect("purged");
        assert_eq!(rig.cache.stats().disk_bytes, 0);
    })
    .await;
}

#[tokio::test]
async fn writers_that_need_room_at_once_evict_no_more_than_it_takes() {
    bounded(async {
        // Ten blobs with what they take beside their blocks, and no eleventh.
        let rig = on_disk_alone(10 * 65 + 10 * BESIDE.div_ceil(BLOCK)).await;
        for extra in 0..40 {
            let blob = rig.blob(64 * BLOCK + extra);
            rig.check(&blob, Wanted::Whole).await;
            rig.idle().await;
            assert_eq!(rig.check(&blob, Wanted::Whole).await, Outcome::DiskHit, "blob {extra} is kept");
            assert_eq!(rig.cache.stats().evictions, (extra + 1).saturating_sub(10), "after blob {extra}");
        }
    })
    .await;
}

#[tokio::test]
async fn a_sweep_of_ten_times_the_budget_leaves_what_is_used_on_disk() {
    bounded(async {
        let rig = on_disk_alone(200).await;
        let hot: Vec<_> = (0..50).map(|extra| rig.blob(BLOCK - extra)).collect();
        for blob in &hot {
            for _ in 0..3 {
                rig.check(blob, Wanted::Whole).await;
                rig.idle().await;
            }
        }
        let mut swept = 0;
        for extra in 0..400 {
            let cold = rig.blob(5 * BLOCK + extra);
            rig.check(&cold, Wanted::Whole).await;
            rig.idle().await;
            swept += cold.content.len() as u64;
            assert!(rig.cache.stats().disk_bytes <= 200 * BLOCK);
        }
        let mut hits = 0;
        for blob in &hot {
            hits += u32::from(rig.check(blob, Wanted::Whole).await == Outcome::DiskHit);
        }
        println!("{hits} of {} hot blobs are hit after {} budgets", hot.len(), swept / (200 * BLOCK));
        assert!(hits >= 45, "{hits} of {}", hot.len());
    })
    .await;
}

#[tokio::test]
async fn eviction_never_bites_a_reader() {
    bounded(async {
        let rig = on_disk_alone(50).await;
        let blob = rig.blob(40 * BLOCK);
        rig.check(&blob, Wanted::Whole).await;
        rig.idle().await;
        let mut reader = rig.read(&blob, Wanted::Whole).await;
        let head = take(&mut reader, 1).await;
        for extra in 1..10 {
            rig.check(&rig.blob(20 * BLOCK + extra), Wanted::Whole).await;
        }
        let before = rig.origin_bytes();
        let rest = drain(&mut reader).await.expect("no error");
        assert_eq!([head, rest].concat(), blob.content);
        assert_eq!((rig.origin_bytes(), reader.outcome()), (before, Outcome::DiskHit));
    })
    .await;
}

#[tokio::test]
async fn a_purge_leaves_an_open_reader_its_bytes_and_counts_them_until_it_ends() {
    bounded(async {
        let rig = Rig::with(|config| config.memory_bytes = 0).await;
        let blob = rig.blob(40 * BLOCK);
        rig.check(&blob, Wanted::Whole).await;
        rig.idle().await;
        let mut reader = rig.read(&blob, Wanted::Whole).await;
        let head = take(&mut reader, 1).await;
        rig.cache.purge(&blob.key.scope, None).await.expect("purged");
        let stats = rig.cache.stats();
        assert_eq!((stats.disk_bytes, stats.disk_complete), (40 * BLOCK + BESIDE, 0));
        let rest = drain(&mut reader).await.expect("no error");
        assert_eq!([head, rest].concat(), blob.content);
        assert_eq!(rig.cache.stats().disk_bytes, 0);
    })
    .await;
}

#[tokio::test]
async fn a_reader_of_a_blob_that_was_dropped_goes_on_while_another_fill_of_it_begins() {
    bounded(async {
        let rig = Rig::with(|config| config.memory_bytes = 0).await;
        let blob = rig.blob(40 * BLOCK);
        rig.check(&blob, Wanted::Whole).await;
        rig.idle().await;
        let mut reader = rig.read(&blob, Wanted::Whole).await;
        let head = take(&mut reader, 1).await;
        // The rest cannot be read, and the blob is dropped and asked for anew.
        rig.cache.fail_disk(DiskCall::Read, Some(ErrorKind::UnexpectedEof));
        rig.cache.purge(&blob.key.scope, None).await.expect("purged");
        let gate = Gate::new();
        rig.origin.next(Fault::HoldAnswer(gate.clone()));
        let opening = rig.cache.read(&blob.key, &blob.source, Wanted::Whole);
        let mut opening = std::pin::pin!(opening);
        tokio::select! {
            _ = &mut opening => panic!("the answer is held"),
            () = gate.arrived(1) => {}
        }
        let rest = drain(&mut reader).await.expect("no error");
        assert_eq!([head, rest].concat(), blob.content);
        gate.open();
        let mut other = opening.await.expect("the read starts");
        assert_eq!(drain(&mut other).await.expect("no error"), blob.content);
    })
    .await;
}

#[tokio::test]
async fn a_full_working_set_of_readers_is_served_whole() {
    bounded(async {
        let rig = on_disk_alone(30).await;
        let blobs: Vec<_> = (0..20).map(|extra| rig.blob(10 * BLOCK + extra)).collect();
        for _ in 0..3 {
            join_all(blobs.iter().map(|blob| rig.check(blob, Wanted::Whole))).await;
            assert!(rig.cache.stats().disk_bytes <= 30 * BLOCK);
        }
    })
    .await;
}

/// A seeded choice in which a few blobs are wanted most, as in a registry.
fn choose(random: &mut StdRng, blobs: usize) -> usize {
    let u: f64 = random.random();
    ((blobs as f64).powf(u) - 1.0) as usize
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn at_one_percent_of_the_working_set_two_hundred_readers_get_every_body_whole() {
    const READERS: usize = 200;
    const BLOBS: u64 = 400;
    let bodies: usize = match std::env::var("DATAPROXY_BODIES") {
        Ok(bodies) => bodies.parse().expect("DATAPROXY_BODIES is a number"),
        Err(_) => 10_000,
    };
    let seed = seed();
    println!("DATAPROXY_SEED={seed}");
    let set = BLOBS * 10 * BLOCK;
    let rig = Arc::new(
        Rig::with(|config| {
            config.memory_bytes = 0;
            if let Some(disk) = &mut config.disk {
                disk.capacity_bytes = set / 100;
            }
        })
        .await,
    );
    let blobs: Arc<Vec<_>> = Arc::new((0..BLOBS).map(|at| rig.blob(10 * BLOCK - at)).collect());
    let (whole, ranges, most) = (AtomicU64::new(0), AtomicU64::new(0), AtomicU64::new(0));
    let counts = Arc::new((whole, ranges, most));
    let readers = (0..READERS as u64).map(|reader| {
        let (rig, blobs, counts) = (Arc::clone(&rig), Arc::clone(&blobs), Arc::clone(&counts));
        tokio::spawn(async move {
            let mut random = StdRng::seed_from_u64(seed.wrapping_add(reader));
            for _ in 0..bodies / READERS {
                let blob = &blobs[choose(&mut random, BLOBS as usize)];
                let size = blob.content.len() as u64;
                if random.random_bool(0.8) {
                    rig.check(blob, Wanted::Whole).await;
                    counts.0.fetch_add(1, Relaxed);
                } else {
                    let first = random.random_range(0..size);
                    let last = first + random.random_range(0..5 * BLOCK);
                    rig.check(blob, Wanted::Closed { first, last }).await;
                    counts.1.fetch_add(1, Relaxed);
                }
                counts.2.fetch_max(rig.cache.stats().disk_bytes, Relaxed);
            }
        })
    });
    for reader in join_all(readers).await {
        reader.expect("every body is whole and right");
    }
    let (whole, ranges, most) = (counts.0.load(Relaxed), counts.1.load(Relaxed), counts.2.load(Relaxed));
    let stats = rig.cache.stats();
    println!(
        "{whole} whole bodies and {ranges} ranges, 0 short, 0 wrong; {} evictions; at most {most} bytes of {}",
        stats.evictions,
        set / 100
    );
    assert!(whole + ranges == (bodies / READERS * READERS) as u64 && stats.evictions > 100);
    assert!(most <= set / 100 + set / 100 / 20, "{most} bytes, more than a twentieth above the budget");
}
