//! Files that stay open: how many, for whose sake, and that nothing is kept back by them.

use std::fs::File;
use std::future::poll_fn;
use std::os::unix::fs::FileExt;
use std::path::Path;

use dataproxy_cache::{Outcome, Piece, Wanted};

use crate::harness::{BLOCK, Rig, Stored, bounded, eventually};

/// Enough for a place in a file.
const BLOCKS: u64 = 64;
const SIZE: u64 = BLOCKS * BLOCK + 7;

/// A disk tier of so many blobs, of whose files so many stay open, and nothing in memory.
async fn rig(blobs: u64, open_files: usize) -> Rig {
    Rig::with(|config| {
        config.memory_bytes = 0;
        if let Some(disk) = &mut config.disk {
            disk.capacity_bytes = blobs * (BLOCKS + 1) * BLOCK;
            disk.open_files = open_files;
        }
    })
    .await
}

/// Brings a blob, and has it checked.
async fn bring(rig: &Rig, extra: u64) -> Stored {
    let blob = rig.blob(SIZE + extra);
    rig.check(&blob, Wanted::Whole).await;
    settle(rig).await;
    assert_eq!(rig.check(&blob, Wanted::Whole).await, Outcome::DiskHit);
    blob
}

/// Waits until nobody writes.
async fn settle(rig: &Rig) {
    rig.idle().await;
    eventually("no file is written to", || descriptors(rig.dir.path(), true) == 0).await;
}

/// The places in the file that make up the blob, and bytes for the rest; all of it compared with what it should be.
async fn pieces(rig: &Rig, blob: &Stored) -> Vec<Piece> {
    pieces_of(rig, blob, Wanted::Whole).await
}

async fn pieces_of(rig: &Rig, blob: &Stored, wanted: Wanted) -> Vec<Piece> {
    let mut reader = rig.read(blob, wanted).await;
    let range = reader.range();
    let (mut pieces, mut content) = (Vec::new(), Vec::new());
    while let Some(piece) = poll_fn(|context| reader.poll_piece(context, 1 << 20)).await {
        let piece = piece.expect("no error");
        match &piece {
            Piece::Bytes(bytes) => content.extend_from_slice(bytes),
            Piece::InFile(place) => content.extend_from_slice(&read(place)),
        }
        pieces.push(piece);
    }
    assert!(content == blob.content[range.start as usize..range.end as usize]);
    pieces
}

fn read(place: &dataproxy_cache::FilePiece) -> Vec<u8> {
    use std::os::fd::AsFd;
    let file = File::from(place.as_fd().try_clone_to_owned().expect("a descriptor"));
    let mut content = vec![0; place.length()];
    file.read_exact_at(&mut content, place.offset()).expect("all of it");
    content
}

fn is_in_file(pieces: &[Piece]) -> bool {
    pieces.iter().any(|piece| matches!(piece, Piece::InFile(_)))
}

/// The blobs' files of this folder that this process has open, or has open for writing.
fn descriptors(dir: &Path, for_writing: bool) -> usize {
    let is_data = |link: &std::fs::DirEntry| {
        let to = link.path().read_link().unwrap_or_default();
        to.starts_with(dir) && to.extension().is_some_and(|kind| kind == "data")
    };
    let is_written = |link: &std::fs::DirEntry| {
        let info = std::fs::read_to_string(Path::new("/proc/self/fdinfo").join(link.file_name()));
        let info = info.unwrap_or_default();
        let flags = info.lines().find_map(|line| line.strip_prefix("flags:")).unwrap_or("0").trim();
        u32::from_str_radix(flags, 8).is_ok_and(|flags| flags & 3 != 0)
    };
    let links = std::fs::read_dir("/proc/self/fd").expect("Linux").flatten();
    links.filter(|link| is_data(link) && (!for_writing || is_written(link))).count()
}

#[tokio::test]
async fn a_checked_blob_is_given_as_places_in_its_file_which_stays_open() {
    bounded(async {
        let rig = rig(4, 4).await;
        let blob = bring(&rig, 0).await;
        let opened = descriptors(rig.dir.path(), false);
        assert_eq!(
            (opened, rig.cache.stats().disk_open_files),
            (1, 1),
            "it was read and nobody reads it now"
        );
        assert!(is_in_file(&pieces(&rig, &blob).await));
        // Who takes bytes gets them, though nothing is in memory.
        assert_eq!(rig.check(&blob, Wanted::Closed { first: 3, last: SIZE - 3 }).await, Outcome::DiskHit);
    })
    .await;
}

#[tokio::test]
async fn no_more_files_stay_open_than_may_and_the_one_that_is_used_does() {
    bounded(async {
        let rig = rig(100, 3).await;
        let hot = bring(&rig, 0).await;
        for extra in 1..20 {
            assert!(is_in_file(&pieces(&rig, &hot).await), "closed after {extra} others");
            bring(&rig, extra).await;
            assert!(
                descriptors(rig.dir.path(), false) <= 3,
                "{} are open",
                descriptors(rig.dir.path(), false)
            );
        }
    })
    .await;
}

#[tokio::test]
async fn with_no_file_to_stay_open_every_reader_checks_what_it_reads() {
    bounded(async {
        let rig = rig(4, 0).await;
        let blob = bring(&rig, 0).await;
        assert_eq!(descriptors(rig.dir.path(), false), 0);
        assert!(!is_in_file(&pieces(&rig, &blob).await));
    })
    .await;
}

#[tokio::test]
async fn a_file_that_only_stays_open_keeps_no_blob_and_no_room() {
    bounded(async {
        let rig = rig(10, 100).await;
        for extra in 0..30 {
            bring(&rig, extra).await;
            assert!(rig.cache.stats().disk_bytes <= 10 * (BLOCKS + 1) * BLOCK);
        }
        assert!(rig.cache.stats().evictions >= 20);
        assert!(descriptors(rig.dir.path(), false) <= 10, "what was evicted is closed");
    })
    .await;
}

#[tokio::test]
async fn a_blob_is_not_evicted_under_who_holds_a_place_in_its_file() {
    bounded(async {
        let rig = rig(10, 100).await;
        let blob = bring(&rig, 0).await;
        let held = pieces(&rig, &blob).await;
        for extra in 1..30 {
            bring(&rig, extra).await;
        }
        let asked = rig.origin_bytes();
        assert_eq!(rig.check(&blob, Wanted::Whole).await, Outcome::DiskHit);
        assert_eq!(rig.origin_bytes(), asked);
        // Nor do its bytes go when it is dropped on purpose.
        rig.cache.purge(&blob.key.scope, None).await.expect("purged");
        let mut content = Vec::new();
        for piece in &held {
            match piece {
                Piece::Bytes(bytes) => content.extend_from_slice(bytes),
                Piece::InFile(place) => content.extend_from_slice(&read(place)),
            }
        }
        assert!(content == blob.content);
        drop(held);
        assert_eq!(rig.cache.stats().disk_bytes, 0, "and then the room is free");
    })
    .await;
}

#[tokio::test]
async fn what_no_reader_has_checked_yet_is_given_as_bytes() {
    bounded(async {
        let mut rig = rig(4, 4).await;
        let blob = bring(&rig, 0).await;
        rig.reopen_with(|config| config.memory_bytes = 0).await;
        assert!(!is_in_file(&pieces(&rig, &blob).await), "the file was opened anew");
        assert!(is_in_file(&pieces(&rig, &blob).await), "and is checked now");
    })
    .await;
}

#[tokio::test]
async fn a_blob_that_is_still_written_to_is_given_as_bytes() {
    bounded(async {
        let rig = rig(4, 4).await;
        let blob = rig.blob(SIZE);
        let part = Wanted::Closed { first: 0, last: 48 * BLOCK - 1 };
        rig.check(&blob, part).await;
        rig.idle().await;
        assert_eq!(rig.check(&blob, part).await, Outcome::DiskHit);
        assert!(!is_in_file(&pieces_of(&rig, &blob, part).await), "the rest is missing");
        rig.check(&blob, Wanted::Whole).await;
        settle(&rig).await;
        rig.check(&blob, Wanted::Whole).await;
        assert!(is_in_file(&pieces_of(&rig, &blob, part).await), "and it is not now");
    })
    .await;
}

#[tokio::test]
async fn a_block_that_is_lost_from_a_file_that_stays_open_is_written_again() {
    bounded(async {
        let rig = rig(4, 4).await;
        let blob = bring(&rig, 0).await;
        assert!(is_in_file(&pieces(&rig, &blob).await));
        // A reader has the file open for reading, and somebody cuts it short.
        let mut reader = rig.read(&blob, Wanted::Whole).await;
        poll_fn(|context| reader.poll_piece(context, 1 << 20)).await.expect("a piece").expect("no error");
        let links = std::fs::read_dir("/proc/self/fd").expect("Linux").flatten();
        let mut data =
            links.filter_map(|link| link.path().read_link().ok()).filter(|to| to.starts_with(rig.dir.path()));
        let data = data.find(|to| to.extension().is_some_and(|kind| kind == "data")).expect("it is open");
        File::options().write(true).open(data).and_then(|file| file.set_len(9 * BLOCK)).expect("it is cut");
        assert_eq!(rig.check(&blob, Wanted::Whole).await, Outcome::Filled);
        drop(reader);
        settle(&rig).await;
        rig.check(&blob, Wanted::Whole).await;
        assert!(is_in_file(&pieces(&rig, &blob).await), "it is whole again");
    })
    .await;
}

#[tokio::test]
async fn a_blob_that_memory_has_too_is_given_as_places_in_its_file() {
    bounded(async {
        let rig = Rig::with(|config| config.memory_bytes = 64 << 20).await;
        let blob = rig.blob(SIZE);
        for _ in 0..3 {
            rig.check(&blob, Wanted::Whole).await;
            rig.idle().await;
        }
        assert!(is_in_file(&pieces(&rig, &blob).await));
        eventually("no file is written to", || descriptors(rig.dir.path(), true) == 0).await;
    })
    .await;
}
