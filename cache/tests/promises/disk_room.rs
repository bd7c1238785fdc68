//! The budget of the disk tier is what its files take, not what is in them.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use bytes::Bytes;
use dataproxy_cache::Wanted;
use dataproxy_cache::fakes::{Fault, Gate};
use dataproxy_cache::fault::DiskCall;
use futures_util::{StreamExt, stream};

use crate::harness::{BLOCK, Rig, bounded, eventually, open, take};

/// What a folder and everything below it take, as `du` tells.
fn taken(folder: &Path) -> u64 {
    let inside = fs::read_dir(folder).expect("readable").map(|entry| {
        let entry = entry.expect("readable");
        let about = entry.metadata().expect("readable");
        if about.is_dir() { taken(&entry.path()) } else { about.blocks() * 512 }
    });
    inside.sum::<u64>() + fs::metadata(folder).expect("readable").blocks() * 512
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tiny_blobs_take_no_more_than_the_budget() {
    let blobs: usize = match std::env::var("DATAPROXY_TINY_BLOBS") {
        Ok(blobs) => blobs.parse().expect("DATAPROXY_TINY_BLOBS is a number"),
        Err(_) => 5000,
    };
    // Half of them fit.
    let budget = blobs as u64 * (2 * BLOCK + 320) / 2;
    let change = |config: &mut dataproxy_cache::CacheConfig| {
        config.memory_bytes = 0;
        if let Some(disk) = &mut config.disk {
            disk.capacity_bytes = budget;
        }
    };
    let mut rig = Rig::with(change).await;
    let bring = async |number: usize| {
        let blob = rig.named(&format!("tiny-{number}"), Bytes::from(format!("{number}")));
        rig.check(&blob, Wanted::Whole).await;
        rig.origin.remove(&blob.object);
    };
    stream::iter(0..blobs).for_each_concurrent(8, bring).await;
    rig.idle().await;
    let (real, stats) = (taken(rig.dir.path()), rig.cache.stats());
    println!(
        "{blobs} blobs of {} bytes: {real} bytes on disk, {} counted, {:.3} of the budget; {} evictions",
        blobs.ilog10() + 1,
        stats.disk_bytes,
        real as f64 / budget as f64,
        stats.evictions
    );
    assert!(stats.evictions as usize > blobs / 3 && stats.disk_bytes <= budget);
    assert!(real as f64 <= 1.05 * budget as f64, "{real} bytes of {budget}");
    rig.reopen_with(change).await;
    let found = rig.cache.stats().disk_bytes;
    assert!(
        found <= budget && found as f64 > 0.95 * stats.disk_bytes as f64,
        "{found} bytes after a restart"
    );
}

#[tokio::test]
async fn what_a_killed_fill_had_written_and_not_noted_is_counted_after_it() {
    bounded(async {
        let rig = Rig::new().await;
        let blob = rig.blob(400 * BLOCK);
        let gate = Gate::new();
        let later = |asked: &dataproxy_cache::fakes::Asked| asked.range.start >= 80 * BLOCK;
        rig.origin.script(later, None, Fault::HoldAnswer(gate.clone()));
        let mut reader = rig.read(&blob, Wanted::Whole).await;
        take(&mut reader, 70 * BLOCK as usize).await;
        let meta_is_there = || taken(rig.dir.path()) > 0 && has_meta(rig.dir.path());
        eventually("something is noted", meta_is_there).await;
        // What comes now is written and not noted.
        rig.cache.fail_disk(DiskCall::Meta, Some(std::io::ErrorKind::Other));
        gate.open();
        take(&mut reader, 200 * BLOCK as usize).await;
        eventually("it is written", || rig.cache.stats().disk_bytes >= 200 * BLOCK).await;
        rig.cache.close().await;
        let written = taken(rig.dir.path());
        let cache = open(crate::harness::config(Some(rig.dir.path()))).await;
        let counted = cache.stats().disk_bytes;
        println!("{written} bytes on disk, {counted} counted");
        assert!(counted >= 200 * BLOCK && counted as f64 * 1.05 >= written as f64 - 5.0 * BLOCK as f64);
    })
    .await;
}

fn has_meta(folder: &Path) -> bool {
    fs::read_dir(folder).expect("readable").any(|entry| {
        let path = entry.expect("readable").path();
        if path.is_dir() { has_meta(&path) } else { path.extension().is_some_and(|kind| kind == "meta") }
    })
}
