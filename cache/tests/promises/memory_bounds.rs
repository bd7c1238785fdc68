//! How much is held in memory, and what is served from it.

use dataproxy_cache::{Bypass, Outcome, Wanted};
use futures_util::StreamExt;
use futures_util::future::join_all;

use crate::harness::{BLOCK, RANGE, Rig, bounded, drain, take};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fill_holds_no_more_than_it_may_whoever_reads_how_slowly() {
    bounded(async {
        for rig in [Rig::new().await, Rig::without_disk().await] {
            let blob = rig.blob(500 * BLOCK);
            let mut slow = Vec::new();
            for at in 0..10 {
                let mut reader = rig.read(&blob, Wanted::From(at * 40 * BLOCK)).await;
                take(&mut reader, 1).await;
                slow.push((at, reader));
            }
            rig.check(&blob, Wanted::Whole).await;
            join_all(slow.into_iter().map(|(at, mut reader)| {
                let blob = &blob;
                async move {
                    let rest = drain(&mut reader).await.expect("no error");
                    assert!(blob.content[(at * 40 * BLOCK) as usize..].ends_with(&rest), "reader {at}");
                }
            }))
            .await;
            let stats = rig.cache.stats();
            assert!(stats.fill_bytes_peak <= 8 * RANGE, "{} bytes at the peak", stats.fill_bytes_peak);
            rig.idle().await;
            assert_eq!(rig.cache.stats().fill_bytes, 0);
        }
    })
    .await;
}

#[tokio::test]
async fn memory_as_small_as_one_range_still_serves_everybody() {
    bounded(async {
        for disk in [true, false] {
            let rig = Rig::with(|config| {
                config.fill_memory_bytes = RANGE;
                config.memory_bytes = 0;
                if !disk {
                    config.disk = None;
                }
            })
            .await;
            let blob = rig.blob(50 * BLOCK + 1);
            let wishes = [Wanted::Whole, Wanted::From(20 * BLOCK), Wanted::Whole, Wanted::Suffix(BLOCK)];
            join_all(wishes.map(|wanted| rig.check(&blob, wanted))).await;
            assert!(rig.cache.stats().fill_bytes_peak <= RANGE);
        }
    })
    .await;
}

#[tokio::test]
async fn a_small_blob_is_a_memory_hit_from_its_second_read_on() {
    bounded(async {
        for rig in [Rig::new().await, Rig::without_disk().await] {
            let blob = rig.blob(1000);
            assert_eq!(rig.check(&blob, Wanted::Whole).await, Outcome::Filled);
            rig.idle().await;
            assert_eq!(rig.check(&blob, Wanted::Whole).await, Outcome::MemoryHit);
            let (content, outcome) = rig.cache.read_all(&blob.key, &blob.source, 1000).await.expect("small");
            assert_eq!((content, outcome), (blob.content.clone(), Outcome::MemoryHit));
            let refused = rig.cache.read_all(&blob.key, &blob.source, 999).await.expect_err("too large");
            assert_eq!(refused.as_str(), "too_large");
            assert_eq!(rig.origin.requests(), 1);
        }
    })
    .await;
}

#[tokio::test]
async fn with_no_disk_a_blob_that_fits_is_kept_in_memory_and_one_that_does_not_passes_through() {
    bounded(async {
        let rig = Rig::without_disk().await;
        let fits = rig.blob(40 * BLOCK);
        assert_eq!(rig.check(&fits, Wanted::Whole).await, Outcome::Filled);
        rig.idle().await;
        assert_eq!(rig.check(&fits, Wanted::Whole).await, Outcome::MemoryHit);
        assert_eq!(rig.origin_bytes(), 40 * BLOCK);
        let large = rig.blob(1000 * BLOCK);
        assert_eq!(rig.check(&large, Wanted::Whole).await, Outcome::Bypassed(Bypass::NoDisk));
        rig.idle().await;
        rig.check(&large, Wanted::Whole).await;
        let stats = rig.cache.stats();
        assert!(stats.memory_bytes <= 256 * BLOCK, "{} bytes", stats.memory_bytes);
    })
    .await;
}

#[tokio::test]
async fn a_limited_piece_keeps_nothing_else_alive_wherever_it_comes_from() {
    bounded(async {
        let places = [(0, "filled"), (0, "disk_hit"), (256 * BLOCK, "memory_hit")];
        for ((memory, outcome), limit) in places.into_iter().flat_map(|place| [(place, 99), (place, 5000)]) {
            let rig = Rig::with(|config| config.memory_bytes = memory).await;
            let blob = rig.blob(40 * BLOCK);
            for _ in 0..if outcome == "filled" { 0 } else { 2 } {
                rig.check(&blob, Wanted::Whole).await;
                rig.idle().await;
            }
            let mut reader = rig.read(&blob, Wanted::Whole).await;
            reader.limit_pieces(Some(limit));
            let mut found = Vec::new();
            while let Some(piece) = reader.next().await {
                let piece = piece.expect("no error");
                let length = piece.len() as u64;
                assert!(length <= limit, "{length} bytes of at most {limit}, {outcome}");
                // A whole block is no longer than the limit.
                assert!(length == BLOCK || piece.is_unique(), "{length} bytes hold more, {outcome}");
                found.extend_from_slice(&piece);
            }
            assert!(found == blob.content, "wrong bytes, {outcome}");
            assert_eq!(reader.outcome().as_str(), outcome);
        }
    })
    .await;
}
