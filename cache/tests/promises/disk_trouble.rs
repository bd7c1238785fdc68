//! Trouble with the disk is a miss, and room is made without hurting a reader.

use std::io::ErrorKind;

use dataproxy_cache::fault::DiskCall;
use dataproxy_cache::{Bypass, Outcome, Wanted};
use futures_util::future::join_all;

use crate::harness::{BLOCK, Rig, bounded, drain, take};

#[tokio::test]
async fn no_error_of_the_disk_fails_a_pull() {
    bounded(async {
        for (call, error, bypass) in [
            (DiskCall::Write, ErrorKind::StorageFull, Some(Bypass::DiskFull)),
            (DiskCall::Write, ErrorKind::ReadOnlyFilesystem, Some(Bypass::DiskError)),
            (DiskCall::Open, ErrorKind::Other, Some(Bypass::DiskError)),
            (DiskCall::Read, ErrorKind::Other, None),
        ] {
            let rig = Rig::new().await;
            rig.cache.fail_disk(call, Some(error));
            let blob = rig.blob(300 * BLOCK + 1);
            let outcomes = join_all((0..5).map(|_| rig.check(&blob, Wanted::Whole))).await;
            if let Some(bypass) = bypass {
                assert_eq!(outcomes, [Outcome::Bypassed(bypass); 5], "{call:?} {error:?}");
            }
            assert!(rig.cache.stats().disk_errors > 0 || bypass.is_none(), "{call:?} {error:?}");
            rig.idle().await;
            rig.cache.fail_disk(call, None);
            rig.check(&blob, Wanted::Whole).await;
            rig.idle().await;
            assert_eq!(
                rig.check(&blob, Wanted::Whole).await,
                Outcome::DiskHit,
                "{call:?} {error:?}: recovers"
            );
        }
    })
    .await;
}

#[tokio::test]
async fn a_read_error_of_the_disk_is_a_miss_that_costs_no_entry() {
    bounded(async {
        for call in [DiskCall::Read, DiskCall::Open] {
            let rig = Rig::new().await;
            let blob = rig.blob(40 * BLOCK);
            rig.check(&blob, Wanted::Whole).await;
            rig.idle().await;
            rig.cache.fail_disk(call, Some(ErrorKind::Other));
            let outcome = rig.check(&blob, Wanted::Whole).await;
            assert_eq!(outcome, Outcome::Bypassed(Bypass::DiskError));
            assert_eq!(rig.cache.stats().disk_complete, 1);
            rig.idle().await;
            rig.cache.fail_disk(call, None);
            let before = rig.origin_bytes();
            assert_eq!(rig.check(&blob, Wanted::Whole).await, Outcome::DiskHit);
            assert_eq!(rig.origin_bytes(), before);
        }
    })
    .await;
}

#[tokio::test]
async fn a_disk_that_fails_half_way_costs_no_reader_its_bytes() {
    bounded(async {
        for call in [DiskCall::Read, DiskCall::Write] {
            let rig = Rig::new().await;
            let blob = rig.blob(300 * BLOCK);
            let mut slow = rig.read(&blob, Wanted::Whole).await;
            let head = take(&mut slow, 10 * BLOCK as usize).await;
            rig.cache.fail_disk(call, Some(ErrorKind::Other));
            rig.check(&blob, Wanted::Whole).await;
            let rest = drain(&mut slow).await.expect("no error");
            assert_eq!([head, rest].concat(), blob.content);
        }
    })
    .await;
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
        let rig = Rig::with(|config| {
            config.memory_bytes = 0;
            if let Some(disk) = &mut config.disk {
                disk.capacity_bytes = 50 * BLOCK;
            }
        })
        .await;
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
async fn eviction_never_bites_a_reader() {
    bounded(async {
        let rig = Rig::with(|config| {
            config.memory_bytes = 0;
            if let Some(disk) = &mut config.disk {
                disk.capacity_bytes = 50 * BLOCK;
            }
        })
        .await;
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
        assert_eq!((stats.disk_bytes, stats.disk_complete), (40 * BLOCK, 0));
        let rest = drain(&mut reader).await.expect("no error");
        assert_eq!([head, rest].concat(), blob.content);
        assert_eq!(rig.cache.stats().disk_bytes, 0);
    })
    .await;
}

#[tokio::test]
async fn a_full_working_set_of_readers_is_served_whole() {
    bounded(async {
        let rig = Rig::with(|config| {
            config.memory_bytes = 0;
            if let Some(disk) = &mut config.disk {
                disk.capacity_bytes = 30 * BLOCK;
            }
        })
        .await;
        let blobs: Vec<_> = (0..20).map(|extra| rig.blob(10 * BLOCK + extra)).collect();
        for _ in 0..3 {
            join_all(blobs.iter().map(|blob| rig.check(blob, Wanted::Whole))).await;
            assert!(rig.cache.stats().disk_bytes <= 30 * BLOCK);
        }
    })
    .await;
}
