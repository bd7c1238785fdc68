//! What a crash of the machine may leave, by a model of the disk's changes in which nothing is ever synced: of every
//! change up to the crash any part may have reached the disk, in any order. `DATAPROXY_SEED` repeats a run,
//! `DATAPROXY_CRASHES` says how many crashes each workload is put to; 15 is the ordinary number.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use dataproxy_cache::fault::DiskChange;
use dataproxy_cache::{CacheConfig, Wanted};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use crate::harness::{BLOCK, Rig, Stored, config, open};
use crate::random_operations::seed;

/// What a disk writes at once or not at all.
const SECTOR: usize = 512;

/// A file as the disk may have it: all that was ever written into it, in order.
#[derive(Default)]
struct File {
    writes: Vec<(u64, Bytes)>,
}

/// All that may be on the disk at an instant.
#[derive(Default)]
struct Model {
    files: Vec<File>,
    /// What each name has meant over time: a file, or nothing.
    names: BTreeMap<PathBuf, Vec<Option<usize>>>,
}

impl Model {
    fn of(changes: &[DiskChange]) -> Self {
        let mut model = Self::default();
        for change in changes {
            match change {
                DiskChange::Opened(path) => drop(model.file(path)),
                DiskChange::Written { path, offset, content } => {
                    let file = model.file(path);
                    model.files[file].writes.push((*offset, content.clone()));
                }
                DiskChange::Replaced { temp, path, content } => {
                    model.files.push(File { writes: vec![(0, content.clone())] });
                    let file = model.files.len() - 1;
                    model.name(temp).extend([Some(file), None]);
                    model.name(path).push(Some(file));
                }
                DiskChange::Removed(path) => model.name(path).push(None),
            }
        }
        model
    }

    fn name(&mut self, path: &Path) -> &mut Vec<Option<usize>> {
        self.names.entry(path.to_owned()).or_insert_with(|| vec![None])
    }

    /// The file of this name, which is made if there is none.
    fn file(&mut self, path: &Path) -> usize {
        if let Some(Some(file)) = self.name(path).last() {
            return *file;
        }
        self.files.push(File::default());
        let file = self.files.len() - 1;
        self.name(path).push(Some(file));
        file
    }

    /// One of the things that a crash may leave, as files below `to`.
    fn crash(&self, random: &mut StdRng, from: &Path, to: &Path) {
        // Sometimes nearly all has reached the disk, sometimes hardly anything.
        let names_kept = [1.0, 0.9, 0.5][random.random_range(0..3)];
        let bytes_kept = [1.0, 0.999, 0.9, 0.5, 0.0][random.random_range(0..5)];
        for (name, meanings) in &self.names {
            let last = meanings.len() - 1;
            let at = if random.random_bool(names_kept) { last } else { random.random_range(0..=last) };
            let Some(file) = meanings[at] else { continue };
            let path = to.join(name.strip_prefix(from).expect("below the folder"));
            fs::create_dir_all(path.parent().expect("a folder")).expect("made");
            let file = self.files[file].crash(random, bytes_kept);
            let image = fs::File::create(&path).expect("made");
            image.write_all_at(&file, 0).expect("written");
        }
    }
}

impl File {
    fn crash(&self, random: &mut StdRng, kept: f64) -> Vec<u8> {
        let end =
            self.writes.iter().map(|(offset, content)| offset + content.len() as u64).max().unwrap_or(0);
        let mut image = vec![0; end as usize];
        if random.random_bool(0.1) {
            // What another file had there before.
            random.fill(&mut image[..]);
        }
        let mut sectors: Vec<(usize, &[u8])> = Vec::new();
        for (offset, content) in &self.writes {
            let starts = (*offset as usize..).step_by(SECTOR);
            sectors.extend(starts.zip(content.chunks(SECTOR)).filter(|_| random.random_bool(kept)));
        }
        // Of two that meet either may come last.
        for at in (1..sectors.len()).rev() {
            sectors.swap(at, random.random_range(0..=at));
        }
        for (at, sector) in sectors {
            image[at..at + sector.len()].copy_from_slice(sector);
        }
        if random.random_bool(0.2) {
            image.truncate(random.random_range(0..=image.len()));
        }
        image
    }
}

fn settings(dir: &Path) -> CacheConfig {
    let mut config = config(Some(dir));
    config.memory_bytes = 0;
    if let Some(disk) = &mut config.disk {
        disk.capacity_bytes = 120 * BLOCK;
    }
    config
}

/// Does what a node does with its disk, and gives the journal.
async fn work(rig: &Rig, blobs: &[Stored], random: &mut StdRng) -> Vec<DiskChange> {
    rig.cache.record_disk();
    for _ in 0..30 {
        let blob = &blobs[random.random_range(0..blobs.len())];
        let size = blob.content.len() as u64;
        let first = random.random_range(0..size);
        let wanted = match random.random_range(0..3) {
            0 => Wanted::Closed { first, last: first + random.random_range(0..20 * BLOCK) },
            _ => Wanted::Whole,
        };
        rig.check(blob, wanted).await;
        if random.random_bool(0.1) {
            rig.cache.purge(&blob.key.scope, Some(&blob.key.digest)).await.expect("purged");
        }
    }
    rig.idle().await;
    rig.cache.recorded_disk()
}

#[tokio::test]
async fn whatever_a_crash_leaves_of_unsynced_writes_no_wrong_byte_is_served() {
    let crashes: usize = match std::env::var("DATAPROXY_CRASHES") {
        Ok(crashes) => crashes.parse().expect("DATAPROXY_CRASHES is a number"),
        Err(_) => 15,
    };
    let seed = seed();
    println!("DATAPROXY_SEED={seed}");
    let (mut reads, mut bytes, mut fetched, mut bad, mut kept) = (0, 0, 0, 0, 0);
    for workload in 0..4 {
        let mut random = StdRng::seed_from_u64(seed.wrapping_add(workload));
        let rig = Rig::with(|config| *config = settings(&config.disk.as_ref().expect("a disk").dir)).await;
        let blobs: Vec<_> = (0..6).map(|_| rig.blob(random.random_range(1..60 * BLOCK))).collect();
        let changes = work(&rig, &blobs, &mut random).await;
        for _ in 0..crashes {
            let model = Model::of(&changes[..random.random_range(0..=changes.len())]);
            let image = tempfile::tempdir().expect("a temporary folder");
            model.crash(&mut random, rig.dir.path(), image.path());
            let cache = open(settings(image.path())).await;
            kept += cache.stats().disk_bytes;
            for blob in &blobs {
                let (found, _) = cache.read_all(&blob.key, &blob.source, u64::MAX).await.expect("whole");
                assert!(found == blob.content, "wrong bytes after a crash, workload {workload}");
                reads += 1;
                bytes += found.len() as u64;
            }
            let stats = cache.stats();
            fetched += stats.origin_bytes;
            bad += stats.bad_blocks;
            cache.close().await;
        }
    }
    println!(
        "{} crashes: {reads} blobs read, 0 wrong; {bad} blocks found bad; {kept} bytes were listed after the crash, \
         {} of {bytes} came from disk",
        4 * crashes,
        bytes.saturating_sub(fetched),
    );
    assert!(bad > 0 && fetched < bytes, "the model does not bite, or nothing outlives it");
}
