//! One fill a blob, owned by nobody.

use std::time::Duration;

use dataproxy_cache::fakes::{Fault, Gate};
use dataproxy_cache::{CacheError, OriginErrorKind, Outcome, Wanted};
use futures_util::StreamExt;
use futures_util::future::join_all;

use crate::harness::{BLOCK, RANGE, Rig, bounded, drain, eventually, take};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fifty_readers_of_a_cold_blob_cost_one_blob() {
    bounded(async {
        for rig in [Rig::new().await, Rig::without_disk().await] {
            let blob = rig.blob(40 * BLOCK + 77);
            let outcomes = join_all((0..50).map(|_| rig.check(&blob, Wanted::Whole))).await;
            let led = outcomes.iter().filter(|outcome| outcome.as_str() == "filled").count();
            assert!(led <= 1, "{led} reads led a fill");
            rig.idle().await;
            if rig.cache.stats().disk_complete == 1 {
                assert_eq!(rig.origin_bytes(), blob.content.len() as u64);
                assert_eq!(rig.origin.requests(), 11, "one request a range");
            }
        }
    })
    .await;
}

#[tokio::test]
async fn a_late_reader_joins_at_any_offset() {
    bounded(async {
        let rig = Rig::new().await;
        let blob = rig.blob(20 * BLOCK + 5);
        let gate = Gate::new();
        rig.origin.at(9 * BLOCK, Fault::Hold { after_bytes: BLOCK + 10, gate: gate.clone() });
        let mut leader = rig.read(&blob, Wanted::Whole).await;
        gate.arrived(1).await;
        let head = take(&mut leader, 9 * BLOCK as usize).await;
        let wishes = [
            Wanted::Whole,
            Wanted::From(0),
            Wanted::From(9 * BLOCK + 1),
            Wanted::Closed { first: 1, last: 9 },
            Wanted::Closed { first: 7 * BLOCK, last: 11 * BLOCK },
            Wanted::From(20 * BLOCK + 4),
            Wanted::Suffix(1),
        ];
        let (followers, ()) = tokio::join!(join_all(wishes.map(|wanted| rig.check(&blob, wanted))), async {
            tokio::task::yield_now().await;
            gate.open();
        });
        let rest = drain(&mut leader).await.expect("no error");
        assert_eq!([head, rest].concat(), blob.content);
        assert_eq!(leader.outcome(), Outcome::Filled);
        for (wanted, outcome) in wishes.iter().zip(followers) {
            let joined = matches!(outcome, Outcome::Followed | Outcome::DiskHit | Outcome::MemoryHit);
            assert!(joined, "{wanted:?}: {outcome:?}");
        }
        rig.idle().await;
        assert_eq!(rig.origin_bytes(), blob.content.len() as u64);
    })
    .await;
}

#[tokio::test]
async fn the_leader_leaves_and_its_followers_finish() {
    bounded(async {
        let rig = Rig::with(|config| config.finish_bytes = 0).await;
        let blob = rig.blob(40 * BLOCK);
        let gate = Gate::new();
        rig.origin.next(Fault::Hold { after_bytes: 500, gate: gate.clone() });
        let mut leader = rig.read(&blob, Wanted::Whole).await;
        take(&mut leader, 500).await;
        let mut follower = rig.read(&blob, Wanted::Whole).await;
        drop(leader);
        gate.open();
        assert_eq!(drain(&mut follower).await.expect("no error"), blob.content);
        assert_eq!(follower.outcome(), Outcome::Followed);
        rig.idle().await;
        assert_eq!(rig.origin_bytes(), blob.content.len() as u64);
    })
    .await;
}

#[tokio::test]
async fn a_reader_that_leaves_before_the_answer_harms_nobody() {
    bounded(async {
        let rig = Rig::new().await;
        let blob = rig.blob(4 * BLOCK);
        let gate = Gate::new();
        rig.origin.next(Fault::HoldAnswer(gate.clone()));
        let leader = tokio::spawn({
            let (cache, key, source) = (rig.cache.clone(), blob.key.clone(), blob.source.clone());
            async move { cache.read(&key, &source, Wanted::Whole).await.map(drop) }
        });
        gate.arrived(1).await;
        let follower = rig.check(&blob, Wanted::Whole);
        leader.abort();
        let (outcome, ()) = tokio::join!(follower, async { gate.open() });
        assert!(matches!(outcome, Outcome::Followed | Outcome::Filled), "{outcome:?}");
    })
    .await;
}

#[tokio::test]
async fn a_slow_reader_slows_nobody() {
    bounded(async {
        for (rig, most) in [(Rig::new().await, 1), (Rig::without_disk().await, 2)] {
            let blob = rig.blob(100 * BLOCK);
            let mut slow = rig.read(&blob, Wanted::Whole).await;
            let head = take(&mut slow, 1).await;
            for _ in 0..5 {
                rig.check(&blob, Wanted::Whole).await;
            }
            let before = rig.origin_bytes();
            let rest = drain(&mut slow).await.expect("no error");
            assert_eq!([head, rest].concat(), blob.content, "the slow one gets everything");
            let size = blob.content.len() as u64;
            assert!(
                rig.origin_bytes() - before <= size,
                "what is gone from memory is fetched once more at most"
            );
            if most == 1 {
                assert_eq!(rig.origin_bytes(), size, "with a disk nothing is fetched twice");
            }
        }
    })
    .await;
}

#[tokio::test]
async fn the_first_bytes_of_a_slow_origin_are_delivered_at_once() {
    bounded(async {
        let rig = Rig::new().await;
        let blob = rig.blob(8 * BLOCK);
        let (answer, body) = (Gate::new(), Gate::new());
        rig.origin.next(Fault::Hold { after_bytes: 100, gate: body.clone() });
        answer.open();
        let mut reader = rig.read(&blob, Wanted::Whole).await;
        assert_eq!(reader.size(), 8 * BLOCK, "the size is known before any block is whole");
        let first = reader.next().await.expect("more").expect("no error");
        assert_eq!(first, blob.content[..100], "delivered while the rest of its block is on the way");
        body.open();
        drain(&mut reader).await.expect("no error");
    })
    .await;
}

#[tokio::test]
async fn absence_is_told_to_everybody_who_waits_and_asked_once() {
    bounded(async {
        let rig = Rig::new().await;
        let blob = rig.blob(BLOCK);
        rig.origin.remove(&blob.object);
        let gate = Gate::new();
        rig.origin.next(Fault::HoldAnswer(gate.clone()));
        let reads = join_all((0..10).map(|_| rig.cache.read(&blob.key, &blob.source, Wanted::Whole)));
        let (results, ()) = tokio::join!(reads, async {
            gate.arrived(1).await;
            gate.open();
        });
        assert!(results.iter().all(|result| matches!(result, Err(CacheError::NotFound))), "{results:?}");
        assert_eq!(rig.origin.requests(), 1);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn an_outage_ends_the_fill_for_all_and_the_next_read_starts_another() {
    let rig = Rig::new().await;
    let blob = rig.blob(8 * BLOCK);
    rig.origin.script(|asked| asked.range.start >= RANGE, None, Fault::Refuse(OriginErrorKind::Unavailable));
    let (one, two) = tokio::join!(rig.read(&blob, Wanted::Whole), rig.read(&blob, Wanted::From(5 * BLOCK)));
    for mut reader in [one, two] {
        let error = drain(&mut reader).await.expect_err("the origin is away");
        assert!(error.is_transient() && error.as_str() == "unavailable", "{error}");
        assert!(reader.next().await.is_none(), "after an error nothing follows");
    }
    assert_eq!(rig.cache.stats().fills_failed, 1);
    rig.origin.heal();
    rig.check(&blob, Wanted::Whole).await;
    rig.idle().await;
    assert_eq!(rig.cache.stats().disk_complete, 1);
}

#[tokio::test]
async fn the_origin_is_left_alone_when_the_last_reader_leaves() {
    bounded(async {
        let rig = Rig::with(|config| config.finish_bytes = 0).await;
        let blob = rig.blob(400 * BLOCK);
        let gate = Gate::new();
        rig.origin.at(40 * BLOCK, Fault::Hold { after_bytes: 1, gate });
        let mut reader = rig.read(&blob, Wanted::Whole).await;
        take(&mut reader, 30 * BLOCK as usize).await;
        drop(reader);
        rig.idle().await;
        let stats = rig.cache.stats();
        assert_eq!((stats.fills_partial, stats.disk_partial, stats.fill_bytes), (1, 1, 0));
        let before = rig.origin_bytes();
        rig.origin.heal();
        rig.check(&blob, Wanted::Closed { first: 0, last: 29 * BLOCK }).await;
        assert_eq!(rig.origin_bytes(), before, "what came of it stays");
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_read_that_its_reader_left_is_not_stopped_under_one_who_came_since() {
    let rig = Rig::with(|config| config.finish_bytes = 0).await;
    let blob = rig.blob(12 * BLOCK);
    let gate = Gate::new();
    rig.origin.next(Fault::Hold { after_bytes: BLOCK + 10, gate: gate.clone() });
    let mut first = rig.read(&blob, Wanted::From(0)).await;
    take(&mut first, BLOCK as usize + 10).await;
    drop(first);
    // It lingers inside a block for one second, and is wanted again within it.
    tokio::time::sleep(Duration::from_millis(300)).await;
    let mut second = rig.read(&blob, Wanted::Whole).await;
    let head = take(&mut second, BLOCK as usize + 10).await;
    tokio::time::sleep(Duration::from_millis(1200)).await;
    gate.open();
    let rest = drain(&mut second).await.expect("no error");
    assert_eq!([head, rest].concat(), blob.content);
    rig.idle().await;
    assert_eq!(rig.origin.requests(), 3, "one request a range");
    assert_eq!(rig.origin_bytes(), blob.content.len() as u64);
}

#[tokio::test(start_paused = true)]
async fn a_read_that_nobody_wants_is_stopped_inside_a_block_after_a_second() {
    let rig = Rig::with(|config| config.finish_bytes = 0).await;
    let blob = rig.blob(12 * BLOCK);
    rig.origin.next(Fault::Hold { after_bytes: BLOCK + 10, gate: Gate::new() });
    let mut reader = rig.read(&blob, Wanted::From(0)).await;
    take(&mut reader, BLOCK as usize + 10).await;
    let left = tokio::time::Instant::now();
    drop(reader);
    rig.idle().await;
    let lingered = left.elapsed();
    assert!((900..2000).contains(&lingered.as_millis()), "{lingered:?}");
}

#[tokio::test]
async fn a_nearly_whole_blob_is_finished_when_its_last_reader_leaves() {
    bounded(async {
        let rig = Rig::new().await;
        let blob = rig.blob(60 * BLOCK);
        let mut reader = rig.read(&blob, Wanted::Whole).await;
        take(&mut reader, 1).await;
        drop(reader);
        eventually("the blob is complete", || rig.cache.stats().disk_complete == 1).await;
        assert_eq!(rig.origin_bytes(), blob.content.len() as u64);
        assert_eq!(rig.check(&blob, Wanted::Whole).await, Outcome::DiskHit);
    })
    .await;
}
