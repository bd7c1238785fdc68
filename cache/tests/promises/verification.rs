//! Nothing wrong is served as whole, and nothing wrong is kept.

use bytes::Bytes;
use dataproxy_cache::fakes::{Fault, Gate};
use dataproxy_cache::{CacheError, OriginErrorKind, Outcome, Wanted};
use futures_util::StreamExt;
use futures_util::future::join_all;

use crate::harness::{BLOCK, Rig, bounded, drain_into, take};

/// Puts other content of the same length behind the blob's name, before anything was read.
fn spoil(rig: &Rig, blob: &crate::harness::Stored) {
    let mut wrong = blob.content.to_vec();
    let middle = wrong.len() / 2;
    wrong[middle] ^= 1;
    rig.origin.put(&blob.object, wrong);
}

#[tokio::test]
async fn wrong_content_never_ends_well_for_anybody_and_is_not_kept() {
    bounded(async {
        for rig in [Rig::new().await, Rig::without_disk().await] {
            for length in [1, 900, BLOCK, 5 * BLOCK, 30 * BLOCK + 1] {
                let blob = rig.named(&format!("wrong {length}"), Bytes::from(vec![9; length as usize]));
                spoil(&rig, &blob);
                let (before, mismatches) = (rig.origin_bytes(), rig.cache.stats().mismatches);
                let reads = [
                    Wanted::Whole,
                    Wanted::From(0),
                    Wanted::Whole,
                    Wanted::Closed { first: 0, last: u64::MAX },
                ];
                join_all(reads.map(|wanted| {
                    let (rig, blob) = (&rig, &blob);
                    async move {
                        let mut reader = match rig.cache.read(&blob.key, &blob.source, wanted).await {
                            Ok(reader) => reader,
                            Err(error) => panic!("{wanted:?} did not start: {error}"),
                        };
                        let mut found = Vec::new();
                        let error = drain_into(&mut reader, &mut found).await.expect_err("wrong content");
                        assert!(matches!(error, CacheError::Mismatch(_)), "{wanted:?}: {error}");
                        let held_back = (length - 1) / BLOCK * BLOCK;
                        assert!(
                            found.len() as u64 <= held_back,
                            "{} bytes of {length} went out",
                            found.len()
                        );
                    }
                }))
                .await;
                rig.idle().await;
                let stats = rig.cache.stats();
                assert!(stats.mismatches > mismatches);
                assert_eq!(
                    (stats.disk_bytes, stats.disk_complete + stats.disk_partial),
                    (0, 0),
                    "kept nothing"
                );
                assert!(rig.origin_bytes() > before);
                rig.origin.put(&blob.object, blob.content.clone());
                rig.check(&blob, Wanted::Whole).await;
                rig.idle().await;
                rig.cache.purge(&blob.key.scope, None).await.expect("purged");
            }
        }
    })
    .await;
}

#[tokio::test]
async fn the_rest_of_a_whole_waits_for_the_verdict_on_all_of_it() {
    bounded(async {
        for rig in [Rig::new().await, Rig::without_disk().await] {
            for first in [0, 1, 7 * BLOCK + 5, 29 * BLOCK, 30 * BLOCK] {
                let blob = rig.named(&format!("rest {first}"), Bytes::from(vec![9; 30 * BLOCK as usize + 1]));
                spoil(&rig, &blob);
                // The wrong bit lies in the middle: the rest itself is right, if it begins behind that.
                let mut reader = rig.read(&blob, Wanted::RestOfWhole(first)).await;
                let mut found = Vec::new();
                let error = drain_into(&mut reader, &mut found).await.expect_err("wrong content");
                assert!(matches!(error, CacheError::Mismatch(_)), "from {first}: {error}");
                assert!(first + found.len() as u64 <= 30 * BLOCK, "the end went out");
                drop(reader);
                rig.idle().await;
                rig.origin.put(&blob.object, blob.content.clone());
                rig.check(&blob, Wanted::RestOfWhole(first)).await;
                rig.idle().await;
                rig.cache.purge(&blob.key.scope, None).await.expect("purged");
            }
        }
    })
    .await;
}

#[tokio::test]
async fn the_last_block_waits_for_the_verdict_and_no_longer() {
    bounded(async {
        let rig = Rig::new().await;
        let blob = rig.blob(6 * BLOCK);
        let gate = Gate::new();
        // The last block comes before one in the middle.
        rig.origin.at(0, Fault::Hold { after_bytes: 2 * BLOCK, gate: gate.clone() });
        let mut reader = rig.read(&blob, Wanted::Whole).await;
        take(&mut reader, 2 * BLOCK as usize).await;
        rig.check(&blob, Wanted::Closed { first: 5 * BLOCK, last: 6 * BLOCK }).await;
        assert_eq!(rig.cache.stats().unverified_range_reads, 1, "the range was served as unverified");
        gate.open();
        let found = take(&mut reader, 4 * BLOCK as usize).await;
        assert_eq!(found, blob.content[2 * BLOCK as usize..]);
        assert!(reader.next().await.is_none());
    })
    .await;
}

#[tokio::test]
async fn an_empty_object_is_the_empty_blob_or_absent() {
    bounded(async {
        let rig = Rig::new().await;
        let empty = rig.named("empty", Bytes::new());
        for _ in 0..2 {
            rig.check(&empty, Wanted::Whole).await;
            assert_eq!(rig.cache.size(&empty.key, &empty.source).await.expect("there"), 0);
        }
        let error = rig.cache.read(&empty.key, &empty.source, Wanted::From(0)).await.expect_err("no bytes");
        assert!(matches!(error, CacheError::RangeNotSatisfiable { size: 0 }));
        let other = rig.blob(10);
        rig.origin.put(&other.object, Bytes::new());
        for wanted in
            [Wanted::Whole, Wanted::From(5), Wanted::Suffix(1), Wanted::Closed { first: 0, last: 1 }]
        {
            let error = rig.cache.read(&other.key, &other.source, wanted).await.expect_err("absent");
            assert!(matches!(error, CacheError::NotFound), "{wanted:?}: {error}");
        }
        assert!(matches!(rig.cache.size(&other.key, &other.source).await, Err(CacheError::NotFound)));
    })
    .await;
}

#[tokio::test]
async fn an_object_that_changes_on_the_way_fails_its_readers_and_no_later_one() {
    bounded(async {
        let rig = Rig::new().await;
        let blob = rig.blob(200 * BLOCK);
        let gate = Gate::new();
        rig.origin.script(|asked| asked.range.start >= 8 * BLOCK, Some(1), Fault::HoldAnswer(gate.clone()));
        let mut reader = rig.read(&blob, Wanted::Whole).await;
        take(&mut reader, 1).await;
        gate.arrived(1).await;
        rig.origin.put(&blob.object, blob.content.clone());
        gate.open();
        let error = drain_into(&mut reader, &mut Vec::new()).await.expect_err("changed");
        assert!(matches!(error, CacheError::Changed), "{error}");
        rig.idle().await;
        assert_eq!(rig.cache.stats().disk_bytes, 0, "what is unverified is dropped");
        rig.check(&blob, Wanted::Whole).await;
    })
    .await;
}

#[tokio::test]
async fn storage_that_ignores_pins_is_found_out() {
    bounded(async {
        let rig = Rig::new().await;
        let blob = rig.blob(20 * BLOCK);
        rig.check(&blob, Wanted::Closed { first: 0, last: 1 }).await;
        rig.idle().await;
        rig.origin.put(&blob.object, blob.content.clone());
        rig.origin.always(Fault::IgnorePin);
        // The version that the first block is kept of is gone: a read that has delivered nothing starts afresh.
        rig.check(&blob, Wanted::From(BLOCK)).await;
        rig.idle().await;
        assert_eq!((rig.origin_bytes(), rig.cache.stats().disk_complete), (21 * BLOCK, 1));
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_body_cut_short_is_resumed_and_verified() {
    let rig = Rig::new().await;
    let blob = rig.blob(10 * BLOCK);
    for kind in [OriginErrorKind::Unavailable, OriginErrorKind::Timeout] {
        rig.origin.next(Fault::Break { after_bytes: BLOCK + 1, kind });
    }
    rig.origin.next(Fault::Truncate { after_bytes: 77 });
    assert_eq!(rig.check(&blob, Wanted::Whole).await, Outcome::Filled);
    rig.idle().await;
    assert_eq!(rig.origin_bytes(), 10 * BLOCK, "no byte is asked for twice");
    let stats = rig.cache.stats();
    assert_eq!((stats.origin_retries, stats.disk_complete), (3, 1));
    let unpinned = rig.origin.asked().iter().filter(|asked| asked.pin.is_none()).count();
    assert_eq!(unpinned, 1, "all but the first request carry the version");
}

#[tokio::test]
async fn a_purge_makes_every_later_read_ask_the_origin() {
    bounded(async {
        for rig in [Rig::new().await, Rig::without_disk().await] {
            let (one, two) = (rig.blob(900), rig.blob(9 * BLOCK));
            for blob in [&one, &two] {
                rig.check(blob, Wanted::Whole).await;
            }
            rig.idle().await;
            assert_eq!(rig.cache.purge(&one.key.scope, Some(&one.key.digest)).await.expect("purged"), 1);
            let before = rig.origin_bytes();
            rig.check(&one, Wanted::Whole).await;
            assert_eq!(rig.origin_bytes() - before, 900);
            rig.idle().await;
            let purged = rig.cache.purge(&one.key.scope, None).await.expect("purged");
            assert!(purged >= 1, "{purged}");
            let stats = rig.cache.stats();
            assert_eq!((stats.disk_bytes, stats.disk_complete), (0, 0));
            for blob in [&one, &two] {
                rig.origin.remove(&blob.object);
                assert!(rig.cache.read(&blob.key, &blob.source, Wanted::Whole).await.is_err());
            }
        }
    })
    .await;
}
