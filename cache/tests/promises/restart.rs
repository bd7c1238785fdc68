//! What outlives the process, and what does not.

use std::fs;
use std::path::{Path, PathBuf};

use dataproxy_cache::{Cache, CacheConfig, OpenError, Outcome, Wanted};

use crate::harness::{BESIDE, BLOCK, Rig, bounded, config, drain, eventually, open, take};

fn files(dir: &Path, kind: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![dir.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).expect("readable") {
            let path = entry.expect("readable").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == kind) {
                found.push(path);
            }
        }
    }
    found
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("made");
    for entry in fs::read_dir(from).expect("readable") {
        let path = entry.expect("readable").path();
        let target = to.join(path.file_name().expect("named"));
        if path.is_dir() {
            copy(&path, &target);
        } else {
            fs::copy(&path, &target).expect("copied");
        }
    }
}

#[tokio::test]
async fn complete_blobs_and_cold_ranges_are_found_again() {
    bounded(async {
        let mut rig = Rig::new().await;
        let (whole, part) = (rig.blob(20 * BLOCK + 3), rig.blob(500 * BLOCK));
        rig.check(&whole, Wanted::Whole).await;
        let range = Wanted::Closed { first: 100 * BLOCK, last: 103 * BLOCK - 1 };
        rig.check(&part, range).await;
        rig.idle().await;
        rig.reopen().await;
        let stats = rig.cache.stats();
        assert_eq!((stats.disk_complete, stats.disk_partial), (1, 1));
        assert_eq!(stats.disk_bytes, 24 * BLOCK + 2 * BESIDE);
        assert_eq!(rig.check(&whole, Wanted::Whole).await, Outcome::DiskHit);
        assert_eq!(rig.check(&part, range).await, Outcome::DiskHit);
        assert_eq!(rig.origin_bytes(), 0);
        assert_eq!(rig.cache.stats().unverified_range_reads, 1, "a partial blob stays unverified");
        rig.check(&part, Wanted::Closed { first: 100 * BLOCK, last: 104 * BLOCK - 1 }).await;
        assert_eq!(rig.origin_bytes(), BLOCK);
    })
    .await;
}

#[tokio::test]
async fn closing_keeps_what_a_fill_has_brought() {
    bounded(async {
        let mut rig = Rig::new().await;
        let blob = rig.blob(400 * BLOCK);
        let gate = dataproxy_cache::fakes::Gate::new();
        rig.origin.at(40 * BLOCK, dataproxy_cache::fakes::Fault::Hold { after_bytes: 1, gate });
        let mut reader = rig.read(&blob, Wanted::Whole).await;
        take(&mut reader, 32 * BLOCK as usize).await;
        rig.reopen().await;
        drop(reader);
        rig.check(&blob, Wanted::Closed { first: 0, last: 32 * BLOCK - 1 }).await;
        let bytes = rig.origin_bytes();
        assert!(bytes <= 8 * BLOCK, "{bytes} bytes fetched again");
    })
    .await;
}

#[tokio::test]
async fn a_crash_costs_no_correctness_wherever_it_comes() {
    bounded(async {
        let rig = Rig::new().await;
        let blob = rig.blob(40 * BLOCK);
        let mut reader = rig.read(&blob, Wanted::Whole).await;
        let images = tempfile::tempdir().expect("a temporary folder");
        let mut content = Vec::new();
        for at in 0..10 {
            copy(rig.dir.path(), &images.path().join(at.to_string()));
            content.extend(take(&mut reader, 3 * BLOCK as usize).await);
        }
        drop(reader);
        rig.idle().await;
        copy(rig.dir.path(), &images.path().join("end"));
        for image in fs::read_dir(images.path()).expect("readable") {
            let image = image.expect("readable").path();
            // Of the end's image, some data never reached the disk.
            if image.ends_with("end") {
                let data = files(&image, "data").remove(0);
                let file = fs::File::options().write(true).open(data).expect("opens");
                std::os::unix::fs::FileExt::write_all_at(&file, &[0; 5000], 9 * BLOCK).expect("written");
            }
            let cache = Cache::open(config(Some(&image))).await.expect("opens");
            let (found, _) = cache.read_all(&blob.key, &blob.source, u64::MAX).await.expect("whole");
            assert!(found == blob.content, "wrong bytes after a crash");
            cache.close().await;
        }
    })
    .await;
}

#[tokio::test]
async fn a_range_that_was_brought_outlives_a_crash_while_its_reader_is_still_there() {
    bounded(async {
        let rig = Rig::new().await;
        let blob = rig.blob(500 * BLOCK);
        let range = Wanted::Closed { first: 100 * BLOCK, last: 103 * BLOCK - 1 };
        let mut reader = rig.read(&blob, range).await;
        take(&mut reader, 1).await;
        eventually("the map is written", || !files(rig.dir.path(), "meta").is_empty()).await;
        let image = tempfile::tempdir().expect("a temporary folder");
        copy(rig.dir.path(), image.path());
        let cache = open(config(Some(image.path()))).await;
        assert_eq!(cache.stats().disk_partial, 1);
        let mut again = cache.read(&blob.key, &blob.source, range).await.expect("the read starts");
        assert_eq!(
            drain(&mut again).await.expect("no error"),
            blob.content[100 * BLOCK as usize..103 * BLOCK as usize]
        );
        assert_eq!(cache.stats().origin_bytes, 0);
        drop(reader);
    })
    .await;
}

#[tokio::test]
async fn a_block_that_rots_on_disk_is_found_and_fetched_again() {
    bounded(async {
        let mut rig = Rig::new().await;
        let blob = rig.blob(20 * BLOCK);
        rig.check(&blob, Wanted::Whole).await;
        rig.idle().await;
        rig.cache.close().await;
        for (at, damage) in [(0, 7 * BLOCK + 100), (1, 19 * BLOCK + 4095)] {
            let path = files(rig.dir.path(), "data").remove(0);
            let mut data = fs::read(&path).expect("readable");
            data[damage as usize] ^= 0x10;
            fs::write(&path, data).expect("written");
            rig.reopen().await;
            let outcome = rig.check(&blob, Wanted::Whole).await;
            assert_eq!(outcome, Outcome::Filled, "damage {at}");
            rig.idle().await;
            let stats = rig.cache.stats();
            assert_eq!((stats.bad_blocks, rig.origin_bytes(), stats.disk_complete), (1, BLOCK, 1));
        }
        rig.reopen().await;
        assert_eq!(rig.check(&blob, Wanted::Whole).await, Outcome::DiskHit);
    })
    .await;
}

#[tokio::test]
async fn a_blob_damaged_all_over_is_read_whole_all_the_same() {
    bounded(async {
        let mut rig = Rig::with(|config| config.memory_bytes = 0).await;
        let blob = rig.blob(900 * BLOCK);
        rig.check(&blob, Wanted::Whole).await;
        rig.idle().await;
        rig.cache.close().await;
        let path = files(rig.dir.path(), "data").remove(0);
        let mut data = fs::read(&path).expect("readable");
        for block in (0..900).step_by(40) {
            data[block * BLOCK as usize] ^= 1;
        }
        fs::write(&path, data).expect("written");
        rig.reopen().await;
        rig.check(&blob, Wanted::Whole).await;
        rig.idle().await;
        // What was not come to then is mended by whoever reads it next.
        for _ in 0..3 {
            rig.check(&blob, Wanted::Whole).await;
            rig.idle().await;
        }
        assert_eq!(rig.check(&blob, Wanted::Whole).await, Outcome::DiskHit);
        assert_eq!(rig.cache.stats().bad_blocks, 23);
    })
    .await;
}

#[tokio::test]
async fn a_block_that_rots_where_nobody_reads_is_found_by_the_scrub() {
    bounded(async {
        let mut rig = Rig::new().await;
        let blob = rig.blob(200 * BLOCK + 5);
        rig.check(&blob, Wanted::Whole).await;
        rig.idle().await;
        rig.cache.close().await;
        let path = files(rig.dir.path(), "data").remove(0);
        let mut data = fs::read(&path).expect("readable");
        data[150 * BLOCK as usize + 7] ^= 0x80;
        data[200 * BLOCK as usize] ^= 1;
        fs::write(&path, data).expect("written");
        rig.reopen_with(|config| scrub(config, 0)).await;
        assert_eq!(rig.cache.stats().scrubbed_bytes, 0, "0 is off");
        // The rate bounds it: after the first batch of 16 blocks it waits for an hour.
        rig.reopen_with(|config| scrub(config, 16 * BLOCK / 3600)).await;
        eventually("some is checked", || rig.cache.stats().scrubbed_bytes > 0).await;
        assert_eq!((rig.cache.stats().scrubbed_bytes, rig.cache.stats().bad_blocks), (16 * BLOCK, 0));
        rig.reopen_with(|config| scrub(config, u64::MAX)).await;
        eventually("both are found", || rig.cache.stats().bad_blocks == 2).await;
        eventually("all is checked", || rig.cache.stats().scrubbed_bytes == 200 * BLOCK + 5).await;
        assert_eq!(rig.cache.stats().disk_partial, 1);
        // That they are bad outlives the process, and costs them alone.
        rig.reopen_with(|config| scrub(config, 0)).await;
        rig.check(&blob, Wanted::Whole).await;
        assert_eq!((rig.origin_bytes(), rig.cache.stats().bad_blocks), (BLOCK + 5, 0));
    })
    .await;
}

fn scrub(config: &mut CacheConfig, bytes_per_second: u64) {
    if let Some(disk) = &mut config.disk {
        disk.scrub_bytes_per_second = bytes_per_second;
    }
}

#[tokio::test]
async fn data_that_is_cut_short_is_a_miss() {
    bounded(async {
        let mut rig = Rig::new().await;
        let blob = rig.blob(20 * BLOCK);
        rig.check(&blob, Wanted::Whole).await;
        rig.idle().await;
        rig.cache.close().await;
        let path = files(rig.dir.path(), "data").remove(0);
        fs::File::options().write(true).open(path).expect("opens").set_len(5 * BLOCK).expect("cut");
        rig.reopen().await;
        assert_eq!(rig.cache.stats().disk_complete, 0);
        rig.check(&blob, Wanted::Whole).await;
    })
    .await;
}

#[tokio::test]
async fn what_cannot_be_used_is_removed_at_start() {
    bounded(async {
        let mut rig = Rig::new().await;
        let blob = rig.blob(2 * BLOCK);
        rig.check(&blob, Wanted::Whole).await;
        rig.idle().await;
        rig.cache.close().await;
        let meta = files(rig.dir.path(), "meta").remove(0);
        fs::write(meta.with_extension("temp"), "half").expect("written");
        fs::write(meta.with_file_name("orphan.data"), "data").expect("written");
        let other = rig.dir.path().join("v0");
        fs::create_dir(&other).expect("made");
        let mut bytes = fs::read(&meta).expect("readable");
        let last = bytes.len() - 1;
        bytes[last] ^= 1;
        fs::write(&meta, bytes).expect("written");
        rig.reopen().await;
        for kind in ["temp", "data", "meta"] {
            assert!(files(rig.dir.path(), kind).is_empty(), "{kind} files are left");
        }
        assert!(!other.exists(), "another layout's folder is left");
        rig.check(&blob, Wanted::Whole).await;
    })
    .await;
}

#[tokio::test]
async fn one_cache_at_a_time_uses_a_folder() {
    bounded(async {
        let rig = Rig::new().await;
        let error = Cache::open(config(Some(rig.dir.path()))).await.expect_err("in use");
        let text = error.to_string();
        assert!(
            text.contains(&rig.dir.path().display().to_string()) && text.contains("another process"),
            "{text}"
        );
        rig.cache.close().await;
        drop(Cache::open(config(Some(rig.dir.path()))).await.expect("free again"));
    })
    .await;
}

#[tokio::test]
async fn a_folder_that_cannot_be_used_is_named() {
    bounded(async {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let path = dir.path().join("file");
        fs::write(&path, "in the way").expect("written");
        let error = Cache::open(config(Some(&path))).await.expect_err("not a folder");
        assert!(matches!(&error, OpenError::Dir { dir, .. } if dir.ends_with("file")), "{error}");
    })
    .await;
}

#[tokio::test]
async fn another_block_size_starts_with_an_empty_tier() {
    bounded(async {
        let rig = Rig::new().await;
        let blob = rig.blob(20 * BLOCK);
        rig.check(&blob, Wanted::Whole).await;
        rig.idle().await;
        rig.cache.close().await;
        let mut config = config(Some(rig.dir.path()));
        config.block_bytes = 2 * BLOCK;
        let cache = open(config).await;
        assert_eq!(cache.stats().disk_bytes, 0);
        let (found, _) = cache.read_all(&blob.key, &blob.source, u64::MAX).await.expect("whole");
        assert!(found == blob.content);
    })
    .await;
}
