//! What a former process left: read at start, by a few threads, without touching the data.
//!
//! A blob counts if its meta file is sound and its data file is long enough. Blocks are checked when they are first
//! read, so a crash costs what was not written and nothing else. Temporary files, data without meta, older
//! instances and folders of other versions are removed.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::SystemTime;

use super::layout::{Layout, Meta};
use crate::BlobKey;
use crate::sync::lock;

/// Beyond this the disk is the limit.
const MAX_THREADS: usize = 8;

/// A blob that was found.
#[derive(Debug)]
pub(crate) struct Found {
    pub(crate) meta: Meta,
    written: SystemTime,
}

/// Reads the tree. Blobs come in the order they were last written in, oldest first.
///
/// # Errors
/// The tree's root cannot be made or listed. What goes wrong below that costs only the blobs there.
pub(crate) fn recover(layout: &Layout, block_bytes: u64) -> io::Result<Vec<Found>> {
    let tree = layout.tree();
    fs::create_dir_all(&tree)?;
    remove_other_versions(layout)?;
    let mut folders = vec![tree];
    for _ in ["scope", "algorithm", "prefix"] {
        folders = folders.iter().flat_map(|folder| children(folder)).collect();
    }
    let found = Mutex::new(Vec::new());
    let folders = Mutex::new(folders);
    let threads = std::thread::available_parallelism().map_or(1, usize::from).min(MAX_THREADS);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let Some(folder) = lock(&folders).pop() else { break };
                    let here = read_folder(layout, &folder, block_bytes);
                    lock(&found).extend(here);
                }
            });
        }
    });
    let mut found = newest(layout, found.into_inner().unwrap_or_default());
    found.sort_by_key(|found| found.written);
    Ok(found)
}

fn remove_other_versions(layout: &Layout) -> io::Result<()> {
    let tree = layout.tree();
    for entry in fs::read_dir(layout.root())? {
        let path = entry?.path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let version = name.strip_prefix('v').is_some_and(|number| number.parse::<u32>().is_ok());
        if version && path != tree {
            tracing::info!(folder = %path.display(), "removing the cache of another layout version");
            fs::remove_dir_all(&path)?;
        }
    }
    Ok(())
}

fn children(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    entries.flatten().map(|entry| entry.path()).collect()
}

/// The sound blobs of one folder; the rest is removed.
fn read_folder(layout: &Layout, folder: &Path, block_bytes: u64) -> Vec<Found> {
    let mut found = Vec::new();
    let mut sound = HashSet::new();
    let files = children(folder);
    for path in files.iter().filter(|path| path.extension().is_some_and(|kind| kind == "meta")) {
        match read_meta(layout, path, block_bytes) {
            Ok(blob) => {
                sound.insert(path.clone());
                sound.insert(path.with_extension("data"));
                found.push(blob);
            }
            Err(error) => tracing::info!(file = %path.display(), %error, "dropping a cached blob"),
        }
    }
    for path in files.iter().filter(|path| !sound.contains(*path)) {
        remove(path);
    }
    found
}

fn read_meta(layout: &Layout, path: &Path, block_bytes: u64) -> Result<Found, Box<dyn std::error::Error>> {
    let meta = Meta::decode(&fs::read(path)?, block_bytes)?;
    if layout.meta(&meta.key, meta.id) != path {
        return Err("the meta file speaks of another blob".into());
    }
    let data = fs::metadata(layout.data(&meta.key, meta.id))?;
    let end = meta.on_disk.iter().last().map_or(0, |block| meta.blocks.span(block).end);
    if data.len() < end || meta.on_disk.count() == 0 {
        return Err("the data file is too short".into());
    }
    Ok(Found { written: data.modified()?, meta })
}

/// Of several instances of a blob, the one of most worth: verified before not, then the newest.
fn newest(layout: &Layout, found: Vec<Found>) -> Vec<Found> {
    let mut best: HashMap<BlobKey, Found> = HashMap::with_capacity(found.len());
    for blob in found {
        let worth = |found: &Found| (found.meta.verified, found.meta.id);
        let loser = match best.remove(&blob.meta.key) {
            Some(other) if worth(&other) > worth(&blob) => {
                best.insert(other.meta.key.clone(), other);
                Some(blob)
            }
            other => {
                best.insert(blob.meta.key.clone(), blob);
                other
            }
        };
        if let Some(loser) = loser {
            remove(&layout.meta(&loser.meta.key, loser.meta.id));
            remove(&layout.data(&loser.meta.key, loser.meta.id));
        }
    }
    best.into_values().collect()
}

fn remove(path: &Path) {
    if let Err(error) = fs::remove_file(path) {
        tracing::warn!(file = %path.display(), %error, "cannot remove a stale cache file");
    }
}
