//! What is fetched ahead of its readers, and what they find.

use dataproxy_cache::fakes::{Asked, Fault, Gate};
use dataproxy_cache::{Ahead, FetchAhead, Outcome, Wanted};

use crate::harness::{BLOCK, RANGE, Rig, Stored, bounded, drain, eventually};

async fn ahead(rig: &Rig, blob: &Stored) -> Ahead {
    match rig.cache.fetch_ahead(&blob.key, &blob.source).await.expect("it begins") {
        FetchAhead::Begun(ahead) => ahead,
        other => panic!("{other:?}"),
    }
}

/// Holds every answer of the origin but the first.
fn hold(rig: &Rig) -> Gate {
    let gate = Gate::new();
    let later = |asked: &Asked| asked.range.start > 0;
    rig.origin.script(later, None, Fault::HoldAnswer(gate.clone()));
    gate
}

#[tokio::test]
async fn what_was_fetched_ahead_is_whole_and_verified_and_hit() {
    bounded(async {
        for blocks in [5, 500] {
            let rig = Rig::new().await;
            let blob = rig.blob(blocks * BLOCK - 1);
            assert!(ahead(&rig, &blob).await.ended().await.expect("no error"), "{blocks} blocks");
            rig.idle().await;
            assert_eq!(rig.check(&blob, Wanted::Whole).await, Outcome::DiskHit);
            let stats = rig.cache.stats();
            assert_eq!((stats.origin_bytes, stats.disk_complete), (blob.content.len() as u64, 1));
            let again = rig.cache.fetch_ahead(&blob.key, &blob.source).await.expect("no error");
            assert!(matches!(again, FetchAhead::Held), "{again:?}");
        }
    })
    .await;
}

#[tokio::test]
async fn a_reader_joins_what_is_fetched_ahead_which_then_is_as_urgent_as_any() {
    bounded(async {
        let rig = Rig::new().await;
        let blob = rig.blob(200 * BLOCK);
        let gate = hold(&rig);
        let ahead = ahead(&rig, &blob).await;
        gate.arrived(1).await;
        eventually("the first range is kept", || rig.cache.stats().disk_bytes > RANGE).await;
        assert_eq!(rig.origin.requests(), 2, "one at a time while nobody reads");
        let mut reader = rig.read(&blob, Wanted::Whole).await;
        // As many as a reader may have in flight.
        gate.arrived(4).await;
        let running = rig.cache.fetch_ahead(&blob.key, &blob.source).await.expect("no error");
        assert!(matches!(running, FetchAhead::Running), "{running:?}");
        drop(ahead);
        gate.open();
        assert_eq!(drain(&mut reader).await.expect("no error"), blob.content);
        assert_eq!(reader.outcome(), Outcome::Followed);
        assert_eq!(rig.origin_bytes(), blob.content.len() as u64, "nothing is fetched twice");
    })
    .await;
}

#[tokio::test]
async fn what_nobody_wants_ahead_any_more_is_fetched_no_further() {
    bounded(async {
        let rig = Rig::new().await;
        let blob = rig.blob(200 * BLOCK);
        let gate = hold(&rig);
        let ahead = ahead(&rig, &blob).await;
        gate.arrived(1).await;
        drop(ahead);
        rig.idle().await;
        assert_eq!((rig.origin.requests(), rig.origin_bytes()), (2, RANGE));
        // What came is kept, and the rest is fetched by who reads it.
        gate.open();
        rig.check(&blob, Wanted::Whole).await;
        assert_eq!(rig.origin_bytes(), blob.content.len() as u64);
    })
    .await;
}

#[tokio::test]
async fn what_could_not_be_kept_is_not_fetched_ahead() {
    bounded(async {
        let rig = Rig::without_disk().await;
        let blob = rig.blob(20 * BLOCK);
        let ahead = rig.cache.fetch_ahead(&blob.key, &blob.source).await.expect("no error");
        assert!(matches!(ahead, FetchAhead::Unkept), "{ahead:?}");
        assert_eq!(rig.origin.requests(), 0);
    })
    .await;
}
