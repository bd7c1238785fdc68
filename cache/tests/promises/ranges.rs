//! Ranges of blobs that are cold, partial, or being filled.

use dataproxy_cache::fakes::{Fault, Gate};
use dataproxy_cache::{CacheError, Outcome, Wanted};
use futures_util::future::join_all;

use crate::harness::{BLOCK, RANGE, Rig, bounded, eventually, take};

#[tokio::test]
async fn a_cold_range_fetches_the_blocks_it_touches_once() {
    bounded(async {
        let rig = Rig::new().await;
        let blob = rig.blob(100 * BLOCK);
        let wanted = Wanted::Closed { first: 50 * BLOCK + 7, last: 52 * BLOCK };
        assert_eq!(rig.check(&blob, wanted).await, Outcome::Filled);
        rig.idle().await;
        assert_eq!(rig.origin_bytes(), 3 * BLOCK);
        assert_eq!(rig.origin.asked()[0].range, 50 * BLOCK..53 * BLOCK);
        assert_eq!(rig.check(&blob, wanted).await, Outcome::DiskHit);
        assert_eq!(rig.check(&blob, wanted).await, Outcome::MemoryHit);
        assert_eq!((rig.origin_bytes(), rig.origin.requests()), (3 * BLOCK, 1));
        assert_eq!(rig.cache.stats().unverified_range_reads, 3);
        rig.check(&blob, Wanted::Closed { first: 51 * BLOCK, last: 54 * BLOCK - 1 }).await;
        assert_eq!(rig.origin_bytes(), 4 * BLOCK, "a range that is half there fetches the other half");
    })
    .await;
}

#[tokio::test]
async fn a_block_that_has_begun_to_come_is_kept_though_its_reader_has_what_it_wants() {
    bounded(async {
        for rig in [Rig::new().await, Rig::without_disk().await] {
            let blob = rig.blob(100 * BLOCK);
            let gate = Gate::new();
            rig.origin.next(Fault::Hold { after_bytes: BLOCK / 2, gate: gate.clone() });
            let small = |first| Wanted::Closed { first, last: first + 9 };
            // A lazy pull reads the files of a block one after the other, each in a moment.
            rig.check(&blob, small(50 * BLOCK)).await;
            gate.arrived(1).await;
            gate.open();
            rig.idle().await;
            for first in [50 * BLOCK + 7, 51 * BLOCK - 10, 50 * BLOCK] {
                rig.check(&blob, small(first)).await;
            }
            assert_eq!((rig.origin_bytes(), rig.origin.requests()), (BLOCK, 1));
        }
    })
    .await;
}

#[tokio::test]
async fn ranges_that_add_up_make_a_verified_blob() {
    bounded(async {
        let rig = Rig::new().await;
        let blob = rig.blob(12 * BLOCK + 9);
        for first in [8, 4, 0, 12] {
            let last = (first + 4) * BLOCK - 1;
            rig.check(&blob, Wanted::Closed { first: first * BLOCK, last }).await;
        }
        eventually("the blob is complete", || rig.cache.stats().disk_complete == 1).await;
        assert_eq!(rig.origin_bytes(), blob.content.len() as u64);
        assert_eq!(rig.check(&blob, Wanted::Whole).await, Outcome::DiskHit);
    })
    .await;
}

#[tokio::test]
async fn an_open_range_that_hangs_up_early_stops_the_reading() {
    bounded(async {
        for rig in [Rig::new().await, Rig::without_disk().await] {
            let blob = rig.blob(1000 * BLOCK);
            let mut reader = rig.read(&blob, Wanted::From(100 * BLOCK)).await;
            take(&mut reader, 2 * BLOCK as usize).await;
            drop(reader);
            rig.idle().await;
            let bytes = rig.origin_bytes();
            assert!(bytes <= 2 * BLOCK + 2 * RANGE, "{bytes} bytes for two blocks");
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn parallel_chunks_cost_about_one_blob() {
    bounded(async {
        let rig = Rig::new().await;
        let blob = rig.blob(256 * BLOCK);
        let chunk = 32 * BLOCK;
        join_all((0..8).map(|at| {
            let (rig, blob) = (&rig, &blob);
            async move {
                let first = at * chunk;
                let mut reader = rig.read(blob, Wanted::From(first)).await;
                let found = take(&mut reader, chunk as usize).await;
                let found = &found[..chunk as usize];
                assert_eq!(found, &blob.content[first as usize..(first + chunk) as usize]);
            }
        }))
        .await;
        rig.idle().await;
        let bytes = rig.origin_bytes();
        assert!(bytes * 10 <= blob.content.len() as u64 * 11, "{bytes} bytes for {}", blob.content.len());
    })
    .await;
}

#[tokio::test]
async fn an_open_range_comes_first_then_the_rest_then_the_verdict() {
    bounded(async {
        let rig = Rig::new().await;
        let blob = rig.blob(40 * BLOCK);
        rig.check(&blob, Wanted::From(30 * BLOCK + 1)).await;
        eventually("the blob is complete", || rig.cache.stats().disk_complete == 1).await;
        assert_eq!(rig.origin.asked()[0].range.start, 30 * BLOCK);
        assert_eq!(rig.origin_bytes(), 40 * BLOCK);
        let far = rig.blob(200 * BLOCK);
        rig.check(&far, Wanted::From(199 * BLOCK)).await;
        rig.idle().await;
        assert_eq!(rig.origin_bytes(), 41 * BLOCK, "more than finish_bytes is missing");
    })
    .await;
}

#[tokio::test]
async fn a_range_that_is_there_does_not_wait_for_the_fill() {
    bounded(async {
        let rig = Rig::new().await;
        let blob = rig.blob(40 * BLOCK);
        let gate = Gate::new();
        rig.origin.at(20 * BLOCK, Fault::Hold { after_bytes: 0, gate: gate.clone() });
        let mut leader = rig.read(&blob, Wanted::Whole).await;
        take(&mut leader, 16 * BLOCK as usize).await;
        rig.check(&blob, Wanted::Closed { first: 3, last: 15 * BLOCK }).await;
        rig.check(&blob, Wanted::Closed { first: 30 * BLOCK, last: 31 * BLOCK }).await;
        gate.open();
    })
    .await;
}

#[tokio::test]
async fn suffixes_and_ends_are_cut_as_http_has_it() {
    bounded(async {
        let rig = Rig::new().await;
        for cold in [true, false] {
            let blob = rig.named(&format!("cut {cold}"), dataproxy_cache::conformance::pattern(10_001));
            if !cold {
                rig.check(&blob, Wanted::Whole).await;
            }
            for (wanted, range) in [
                (Wanted::Suffix(5), 9_996..10_001),
                (Wanted::Suffix(20_000), 0..10_001),
                (Wanted::From(10_000), 10_000..10_001),
                (Wanted::Closed { first: 9_000, last: u64::MAX }, 9_000..10_001),
            ] {
                assert_eq!(rig.read(&blob, wanted).await.range(), range);
                rig.check(&blob, wanted).await;
            }
            for wanted in [
                Wanted::From(10_001),
                Wanted::From(u64::MAX),
                Wanted::Suffix(0),
                Wanted::Closed { first: 10_001, last: 10_002 },
            ] {
                let error = rig.cache.read(&blob.key, &blob.source, wanted).await.expect_err("nothing there");
                assert!(
                    matches!(error, CacheError::RangeNotSatisfiable { size: 10_001 }),
                    "{wanted:?}: {error}"
                );
            }
        }
    })
    .await;
}

#[tokio::test]
async fn a_leader_past_the_end_does_not_fail_its_followers() {
    bounded(async {
        let rig = Rig::new().await;
        let blob = rig.blob(3 * BLOCK);
        let gate = Gate::new();
        rig.origin.next(Fault::HoldAnswer(gate.clone()));
        let (leader, follower, ()) = tokio::join!(
            rig.cache.read(&blob.key, &blob.source, Wanted::From(9 * BLOCK)),
            rig.check(&blob, Wanted::Whole),
            async {
                gate.arrived(1).await;
                gate.open();
            }
        );
        assert!(matches!(leader, Err(CacheError::RangeNotSatisfiable { .. })));
        assert_eq!(follower, Outcome::Followed);
    })
    .await;
}

#[tokio::test]
async fn the_size_is_told_with_one_request_and_no_fill() {
    bounded(async {
        let rig = Rig::new().await;
        let blob = rig.blob(3 * BLOCK);
        assert_eq!(rig.cache.size(&blob.key, &blob.source).await.expect("there"), 3 * BLOCK);
        assert_eq!((rig.origin.requests(), rig.cache.stats().fills_started), (1, 0));
        rig.check(&blob, Wanted::Whole).await;
        rig.idle().await;
        let before = rig.origin.requests();
        assert_eq!(rig.cache.size(&blob.key, &blob.source).await.expect("there"), 3 * BLOCK);
        assert_eq!(rig.origin.requests(), before, "a known size is not asked for");
    })
    .await;
}
