//! What is found again, when, and what is not.

use std::path::Path;

use bytes::Bytes;
use tempfile::TempDir;

use super::*;
use crate::block::Blocks;
use crate::disk::LoadError;
use crate::disk::layout::Layout;
use crate::stats::Counters;
use crate::{Algorithm, CacheConfig, DiskConfig, ETag};

const BLOCK: u64 = 4096;
/// What a blob takes: a block, a page for its meta file, its names.
const ROOM: u64 = 2 * BLOCK + 320;
const CAPACITY: u64 = 1024 * ROOM;

/// A tier whose walkers have yet to start.
fn tier(dir: &Path, capacity: u64) -> Arc<Disk> {
    let config = CacheConfig { block_bytes: BLOCK, ..CacheConfig::default() };
    let disk = DiskConfig { capacity_bytes: capacity, ..DiskConfig::in_dir(dir) };
    Disk::still(&disk, &config, Arc::<Counters>::default()).expect("opens")
}

fn over(disk: &Arc<Disk>) {
    disk.start_recovery().expect("starts");
    let mut books = lock(&disk.recovery.books);
    while !disk.recovery.is_over() {
        books = disk.recovery.wait(books);
    }
}

fn key(number: u64) -> BlobKey {
    BlobKey {
        scope: Scope::new(&format!("registry-{}", number % 3)),
        digest: Digest::of(Algorithm::Sha256, &number.to_le_bytes()),
    }
}

fn content(number: u64) -> Bytes {
    vec![number as u8; BLOCK as usize].into()
}

/// Brings a blob of two blocks, its second on disk; whether it was taken.
fn bring(disk: &Disk, number: u64) -> bool {
    let blocks = Blocks::new(2 * BLOCK, BLOCK).expect("few");
    let blob = Arc::new(Blob::new(disk.next_id(), key(number), ETag::new("v"), blocks));
    disk.list(&blob);
    let file = disk.file(&blob).expect("opens");
    blob.note_sum(1, crc32c::crc32c(&content(number)));
    let stored = disk.store(&blob, &file, 1, &[content(number)]).is_ok();
    disk.persist(&blob);
    stored
}

fn load(disk: &Disk, number: u64) -> Result<Bytes, LoadError> {
    let blob = disk.find(&key(number)).ok_or(LoadError::Absent)?;
    disk.load(&blob, &*disk.file(&blob)?, 1)
}

fn filled(blobs: u64) -> TempDir {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let disk = tier(dir.path(), CAPACITY);
    over(&disk);
    assert!((0..blobs).all(|number| bring(&disk, number)));
    disk.unlock();
    dir
}

#[test]
fn a_blob_is_hit_before_its_folder_has_been_come_to() {
    let dir = filled(300);
    let disk = tier(dir.path(), CAPACITY);
    for number in [7, 250, 8] {
        assert!(!disk.has_recovered(&key(number)));
        disk.recover_first(&key(number));
        assert!(disk.has_recovered(&key(number)));
        assert_eq!(load(&disk, number).expect("found"), content(number));
    }
    assert!(!disk.recovery.is_over());
    over(&disk);
    assert_eq!(disk.usage.bytes(), 300 * ROOM, "nothing is counted twice");
    assert!((0..300).all(|number| load(&disk, number).is_ok_and(|found| found == content(number))));
}

#[test]
fn what_comes_before_all_is_found_is_kept_and_goes_before_what_is_found() {
    let dir = filled(100);
    let disk = tier(dir.path(), CAPACITY);
    // As by a read that did not wait for a disk that hangs.
    assert!(bring(&disk, 5));
    let id = disk.find(&key(5)).expect("listed").id;
    over(&disk);
    assert_eq!(disk.find(&key(5)).expect("listed").id, id);
    assert_eq!(load(&disk, 5).expect("kept"), content(5));
    assert_eq!(disk.usage.bytes(), 100 * ROOM);
    disk.unlock();
    let disk = tier(dir.path(), CAPACITY);
    over(&disk);
    assert_eq!(disk.find(&key(5)).expect("listed").id, id, "the older instance is off the disk");
}

#[test]
fn what_the_system_does_not_let_us_read_is_left_alone_and_what_is_damaged_goes() {
    let dir = filled(3);
    let layout = Layout::new(dir.path());
    let files = |number: u64| {
        let folder = layout.folder(&key(number));
        let of = |kind: &str| -> Vec<_> {
            let all =
                std::fs::read_dir(&folder).expect("readable").map(|entry| entry.expect("readable").path());
            all.filter(|path| path.extension().is_some_and(|found| found == kind)).collect()
        };
        (of("meta"), of("data"))
    };
    let (unreadable, data) = files(0);
    std::fs::rename(&unreadable[0], dir.path().join("aside")).expect("renamed");
    // To read a folder is an error that says nothing of the blob.
    std::fs::create_dir(&unreadable[0]).expect("made");
    std::fs::write(&files(1).0[0], b"damaged").expect("written");
    let disk = tier(dir.path(), CAPACITY);
    over(&disk);
    assert!(load(&disk, 0).is_err() && load(&disk, 1).is_err() && load(&disk, 2).is_ok());
    disk.unlock();
    assert!(data[0].exists(), "a sound blob was removed");
    assert_eq!(files(1), (Vec::new(), Vec::new()));
    std::fs::remove_dir(&unreadable[0]).expect("removed");
    std::fs::rename(dir.path().join("aside"), &unreadable[0]).expect("renamed");
    let disk = tier(dir.path(), CAPACITY);
    over(&disk);
    assert_eq!(load(&disk, 0).expect("found at the next start"), content(0));
}

#[test]
fn the_budget_is_kept_while_it_is_not_known_what_is_there() {
    let dir = filled(640);
    let disk = tier(dir.path(), 640 * ROOM);
    let taken = (1000..1100).filter(|number| bring(&disk, *number)).count();
    assert_eq!(taken, 20, "a part of 32");
    over(&disk);
    assert!(disk.usage.bytes() <= 640 * ROOM);
    assert!(bring(&disk, 2000), "room is made again");
}

#[test]
fn a_smaller_budget_holds_as_soon_as_all_is_found() {
    let dir = filled(100);
    let disk = tier(dir.path(), 50 * ROOM);
    over(&disk);
    assert_eq!(disk.usage.bytes(), 50 * ROOM);
}

#[test]
fn a_purge_drops_what_no_walker_has_come_to_without_looking_for_it() {
    let dir = filled(99);
    let disk = tier(dir.path(), CAPACITY);
    disk.recover_first(&key(4));
    let purge = |scope, digest| {
        let purged = disk.purgeable(&Scope::new(scope), digest);
        purged.iter().for_each(|blob| disk.delist(blob));
        purged.len()
    };
    assert_eq!(purge("registry-1", None), 1, "the one that is known");
    assert_eq!(purge("registry-2", Some(&key(2).digest)), 0);
    assert!(bring(&disk, 7) && load(&disk, 7).is_ok(), "what comes after it stays");
    disk.recover_first(&key(1));
    assert!(load(&disk, 1).is_err());
    over(&disk);
    let left = (0..99).filter(|number| load(&disk, *number).is_ok()).count();
    assert_eq!(left, 66, "all of registry-0, all but one of registry-2, and what came since");
    disk.unlink_delisted();
    assert_eq!(disk.usage.bytes(), 66 * ROOM);
}

#[test]
fn a_folder_that_cannot_be_listed_costs_nothing_that_is_elsewhere_or_in_it() {
    let dir = filled(3);
    let folder = Layout::new(dir.path()).folder(&key(0));
    std::fs::rename(&folder, dir.path().join("aside")).expect("renamed");
    std::os::unix::fs::symlink(&folder, &folder).expect("a loop");
    let disk = tier(dir.path(), CAPACITY);
    over(&disk);
    assert!(load(&disk, 1).is_ok() && load(&disk, 2).is_ok());
    assert!(disk.counters.read().disk_errors > 0, "it is told");
    disk.unlock();
    std::fs::remove_file(&folder).expect("removed");
    std::fs::rename(dir.path().join("aside"), &folder).expect("renamed");
    let disk = tier(dir.path(), CAPACITY);
    over(&disk);
    assert_eq!(load(&disk, 0).expect("found at the next start"), content(0));
}

#[test]
fn closing_does_not_wait_for_all_to_be_found() {
    let dir = filled(10);
    let disk = tier(dir.path(), CAPACITY);
    disk.recovery.stopped.store(true, Release);
    disk.start_recovery().expect("starts");
    disk.unlock();
    assert!(!disk.recovery.is_over());
    over(&tier(dir.path(), CAPACITY));
}
