//! What a former process left in one folder, read without touching the data.
//!
//! A blob counts if its meta file is sound and its data file is long enough. Blocks are checked when they are first
//! read, so a crash costs what was not written and nothing else. Temporary files, data without meta, older
//! instances and folders of other versions are removed.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use super::layout::{Layout, Meta};
use crate::BlobKey;

/// A blob that was found.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) meta: Meta,
    /// When its data was last written.
    pub(super) written: SystemTime,
    /// Bytes that the data file takes.
    pub(super) room: u64,
}

/// Every folder of this layout that may hold blobs.
pub(super) fn folders(layout: &Layout) -> Vec<PathBuf> {
    let mut folders = vec![layout.tree()];
    for _ in ["scope", "algorithm", "prefix"] {
        let inside = |folder: &PathBuf| {
            children(folder).unwrap_or_else(|error| {
                tell_unlisted(folder, &error);
                Vec::new()
            })
        };
        folders = folders.iter().flat_map(inside).collect();
    }
    folders
}

/// Removes what versions of the layout that this one does not read have left.
///
/// # Errors
/// The root cannot be listed, or such a folder cannot be removed.
pub(super) fn remove_other_versions(layout: &Layout) -> io::Result<()> {
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

/// Says that a folder cannot be listed. What is in it stays, for the next start.
pub(super) fn tell_unlisted(folder: &Path, error: &io::Error) {
    tracing::warn!(
        folder = %folder.display(), %error,
        "cannot list a folder of the cache; what is in it is left alone, and found by the next start that can list it"
    );
}

/// What a folder holds: nothing, if it is not there.
fn children(folder: &Path) -> io::Result<Vec<PathBuf>> {
    match fs::read_dir(folder) {
        Ok(entries) => entries.map(|entry| Ok(entry?.path())).collect(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}

/// The sound blobs of one folder, one instance each; the rest is removed. Files of the ids that `is_ours` knows are not
/// a former process's and are left alone.
///
/// # Errors
/// The folder cannot be listed to its end: nothing is known of it, and nothing was removed.
pub(super) fn read_folder(
    layout: &Layout,
    folder: &Path,
    block_bytes: u64,
    is_ours: impl Fn(u64) -> bool,
) -> io::Result<Vec<Found>> {
    let mut files = children(folder)?;
    // Asked after the folder was listed: an id is ours before the first file of that name is made.
    files.retain(|path| !id_of(path).is_some_and(&is_ours));
    let mut found = Vec::new();
    let mut sound = HashSet::new();
    for path in files.iter().filter(|path| path.extension().is_some_and(|kind| kind == "meta")) {
        match read_meta(layout, path, block_bytes) {
            Ok(blob) => {
                sound.insert(path.clone());
                sound.insert(path.with_extension("data"));
                found.push(blob);
            }
            // As of a process that has no file left to open: it says nothing of the blob, which the next start may find.
            Err(error) if is_passing(&*error) => {
                tracing::warn!(file = %path.display(), %error, "cannot read a cached blob; it is left alone");
                sound.insert(path.clone());
                sound.insert(path.with_extension("data"));
            }
            Err(error) => tracing::info!(file = %path.display(), %error, "dropping a cached blob"),
        }
    }
    for path in files.iter().filter(|path| !sound.contains(*path)) {
        remove(path);
    }
    Ok(newest(layout, found))
}

/// Whether the system could not be asked, and did not say what is there.
fn is_passing(error: &(dyn std::error::Error + 'static)) -> bool {
    error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() != io::ErrorKind::NotFound)
}

/// The id in a file's name.
fn id_of(path: &Path) -> Option<u64> {
    let name = path.file_name()?.to_str()?;
    u64::from_str_radix(name.split('.').nth(1)?, 16).ok()
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
    // Counted in units of 512 bytes, whatever the file system's own are.
    Ok(Found { written: data.modified()?, room: data.blocks() * 512, meta })
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
            discard(layout, &loser.meta);
        }
    }
    best.into_values().collect()
}

/// Removes the files of a blob that is not taken over.
pub(super) fn discard(layout: &Layout, meta: &Meta) {
    remove(&layout.meta(&meta.key, meta.id));
    remove(&layout.data(&meta.key, meta.id));
}

fn remove(path: &Path) {
    if let Err(error) = fs::remove_file(path) {
        tracing::warn!(file = %path.display(), %error, "cannot remove a stale cache file");
    }
}
