//! Trouble of a real disk under a real node: a file system that is full or read-only, calls that fail or hang.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use dataproxy_tests::fault::{Injection, SmallDisk, files};
use dataproxy_tests::load::{Blob, Load, blobs, pull};
use dataproxy_tests::node::{Options, Stamp};

const MIB: usize = 1 << 20;

/// How soon a disk that is well again has to be used again.
const RECOVERY: Duration = Duration::from_secs(5);

async fn stamp(options: Options, sizes: &[usize]) -> (Stamp, Arc<Vec<Blob>>) {
    let stamp = Stamp::start_with(Options { memory_bytes: 1 << 20, ..options }).await;
    let set = blobs(&stamp.container("contoso"), 1, sizes).await;
    (stamp, Arc::new(set))
}

async fn disk_hits(stamp: &Stamp) -> f64 {
    stamp.nodes[0].scrape().await.sum("dataproxy_requests_total", &["outcome=\"disk_hit\""])
}

/// Pulls a blob until that is a hit on disk; how long it took.
async fn hits_again(stamp: &Stamp, blob: &Blob) -> Duration {
    let begun = Instant::now();
    loop {
        let before = disk_hits(stamp).await;
        pull(stamp.nodes[0].pull(), blob).await;
        // What a request was is counted when its answer has ended, a moment after the client has all of it.
        tokio::time::sleep(Duration::from_millis(20)).await;
        if disk_hits(stamp).await > before {
            return begun.elapsed();
        }
        assert!(begun.elapsed() < 4 * RECOVERY, "no hit on disk after {:?}", begun.elapsed());
    }
}

/// Lets clients pull while something is wrong; every body has to be whole and right.
async fn pull_all_the_same(stamp: &Stamp, set: &Arc<Vec<Blob>>, time: Duration, what: &str) -> f64 {
    let load = Load::start(stamp.nodes[0].pull(), set, 8, 1);
    // How much is served in a given time is what is measured.
    tokio::time::sleep(time).await;
    let (begun, counts) = (Instant::now(), load.stop().await);
    let seconds = (time + begun.elapsed()).as_secs_f64();
    let rate = counts.bytes.load(Relaxed) as f64 / seconds / MIB as f64;
    println!("{what}: {}; {rate:.0} MiB/s", counts.tell());
    if counts.failed.load(Relaxed) > 0 {
        let log = stamp.nodes[0].access_log();
        log.iter().filter(|line| line["end"] != "complete").for_each(|line| println!("{line}"));
    }
    assert_eq!((counts.wrong.load(Relaxed), counts.failed.load(Relaxed)), (0, 0), "{what}");
    rate
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_system_that_is_full_fails_no_pull_and_is_used_once_there_is_room() {
    let disk = SmallDisk::mount(24);
    let options = Options { cache_dir: Some(disk.path().join("cache")), ..Options::default() };
    let (stamp, set) = stamp(options, &[4 * MIB; 16]).await;
    // Larger than the file system and within the tier's own budget: room is made by eviction.
    pull_all_the_same(&stamp, &set, Duration::from_secs(3), "a budget above the file system").await;
    let errors = stamp.nodes[0].scrape().await.sum("dataproxy_cache_disk_errors_total", &[]);
    assert!(errors > 0.0, "the file system was never full");
    // Filled by somebody else too.
    let ballast = disk.path().join("ballast");
    assert!(disk.remount("size=64m"));
    let written = std::fs::write(&ballast, vec![1; 80 * MIB]);
    assert!(written.is_err(), "the file system is full");
    pull_all_the_same(&stamp, &set, Duration::from_secs(3), "full by somebody else's files").await;
    std::fs::remove_file(&ballast).expect("it can be removed");
    let recovery = hits_again(&stamp, &set[0]).await;
    println!("used again after {recovery:?}");
    assert!(recovery < RECOVERY, "{recovery:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_system_that_turns_read_only_still_hits_and_fails_no_pull() {
    let disk = SmallDisk::mount(200);
    let options = Options { cache_dir: Some(disk.path().join("cache")), ..Options::default() };
    let (stamp, set) = stamp(options, &[2 * MIB; 12]).await;
    for blob in &set[..6] {
        hits_again(&stamp, blob).await;
    }
    dataproxy_tests::eventually::eventually("no file is open", Duration::from_secs(10), async || {
        if disk.remount("ro") { Ok(()) } else { Err("mount would not".into()) }
    })
    .await;
    for blob in &set[..6] {
        let before = disk_hits(&stamp).await;
        pull(stamp.nodes[0].pull(), blob).await;
        tokio::time::sleep(Duration::from_millis(20)).await;
        assert!(disk_hits(&stamp).await > before, "what is there can be read");
    }
    pull_all_the_same(&stamp, &set, Duration::from_secs(3), "read-only").await;
    assert!(disk.remount("rw"));
    let recovery = hits_again(&stamp, &set[11]).await;
    println!("used again after {recovery:?}");
    assert!(recovery < RECOVERY, "{recovery:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_that_fail_fail_no_pull_and_the_disk_is_used_again_when_they_do_not() {
    for what in ["pread64:error=EIO", "openat:error=EMFILE", "pwrite64:error=EIO"] {
        // A file that stays open, and what the page cache has of it, hide that the disk fails.
        let options = Options { cache: "open_files = 0\n".into(), ..Options::default() };
        let (stamp, set) = stamp(options, &[3 * MIB; 12]).await;
        let known = if what.starts_with("pwrite") { 6 } else { 12 };
        for blob in &set[..known] {
            hits_again(&stamp, blob).await;
        }
        let paths = files(&stamp.nodes[0].cache_dir(), "data");
        assert_eq!(paths.len(), known);
        // Writes go to files that are not there yet; nothing but the cache writes at an offset.
        let paths = if what.starts_with("pwrite") { Vec::new() } else { paths };
        let injection = Injection::begin(stamp.nodes[0].pid(), what, &paths).await;
        pull_all_the_same(&stamp, &set, Duration::from_secs(3), what).await;
        let errors = stamp.nodes[0].scrape().await.sum("dataproxy_cache_disk_errors_total", &[]);
        assert!(errors > 0.0, "{what}: no call failed");
        drop(injection);
        let recovery = hits_again(&stamp, &set[11]).await;
        println!("{what}: {errors} errors, used again after {recovery:?}");
        assert!(recovery < RECOVERY, "{what}: {recovery:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_disk_that_hangs_for_ten_seconds_holds_up_no_pull_for_longer_than_its_patience() {
    let options =
        Options { cache: "disk_patience = \"500ms\"\nopen_files = 0\n".into(), ..Options::default() };
    let (stamp, set) = stamp(options, &[3 * MIB; 12]).await;
    for blob in set.iter() {
        hits_again(&stamp, blob).await;
    }
    let paths = files(&stamp.nodes[0].cache_dir(), "data");
    let injection = Injection::begin(stamp.nodes[0].pid(), "pread64:delay_enter=10000000", &paths).await;
    let begun = Instant::now();
    pull(stamp.nodes[0].pull(), &set[0]).await;
    let first = begun.elapsed();
    let begun = Instant::now();
    for blob in set.iter() {
        pull(stamp.nodes[0].pull(), blob).await;
    }
    let next = begun.elapsed();
    let stalls = stamp.nodes[0].scrape().await.sum("dataproxy_cache_disk_stalls_total", &[]);
    println!("the first pull took {first:?}, the twelve after it {next:?}; {stalls} calls were given up");
    assert!(
        stalls >= 1.0 && first < Duration::from_secs(4) && next < Duration::from_secs(4),
        "{first:?} {next:?}"
    );
    // The call that hangs comes back in its own time; nothing hangs after it.
    drop(injection);
    let recovery = hits_again(&stamp, &set[1]).await;
    println!("used again {recovery:?} after the trouble ended");
    assert!(recovery < Duration::from_secs(15), "{recovery:?}");
}
