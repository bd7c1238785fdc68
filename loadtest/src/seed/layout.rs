//! The folders of the CNCF distribution (`registry/storage/paths.go` there):
//!
//! ```text
//! docker/registry/v2/blobs/sha256/<2>/<hex>/data
//! docker/registry/v2/repositories/<name>/_layers/sha256/<hex>/link
//! docker/registry/v2/repositories/<name>/_manifests/revisions/sha256/<hex>/link
//! docker/registry/v2/repositories/<name>/_manifests/tags/<tag>/{current,index/sha256/<hex>}/link
//! ```
//!
//! Every file is staged beside them and renamed to its place; a tag comes last, when all that it names is there.

use std::fs::{self, File, TryLockError};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use super::SeedError;
use super::record::{self, Blob, Image};

/// In the folder itself, so that a rename moves what is staged. No registry looks there.
const STAGING: &str = ".loadtest-seed";
const PIECE: usize = 1 << 20;

/// The folder of one registry, locked against other runs.
pub(super) struct Container {
    path: PathBuf,
    staging: PathBuf,
    _lock: File,
}

impl Container {
    pub(super) fn open(path: &Path) -> Result<Self, SeedError> {
        fs::create_dir_all(path).map_err(SeedError::at(path))?;
        let lock = File::open(path).map_err(SeedError::at(path))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(SeedError::Busy(path.to_owned())),
            Err(TryLockError::Error(error)) => return Err(SeedError::at(path)(error)),
        }
        let staging = path.join(STAGING);
        // Of a run that was cut.
        remove(&staging)?;
        Ok(Self { path: path.to_owned(), staging, _lock: lock })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Whether something lies there that is not ours.
    pub(super) fn has_content(&self) -> Result<bool, SeedError> {
        let entries = fs::read_dir(&self.path).map_err(SeedError::at(&self.path))?;
        for entry in entries {
            let name = entry.map_err(SeedError::at(&self.path))?.file_name();
            if name != record::FILE && name != STAGING {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Whether every blob of the images has its size and every tag its image.
    pub(super) fn holds(&self, images: &[Image]) -> Result<bool, SeedError> {
        for image in images {
            let blobs = image.layers.iter().chain([&image.config, &image.manifest]);
            for blob in blobs {
                if size_of(&self.data(blob))? != Some(blob.size) {
                    return Ok(false);
                }
            }
            for (link, blob) in self.links(image) {
                match fs::read_to_string(&link) {
                    Ok(text) if text.trim() == blob.digest() => {}
                    Ok(_) => return Ok(false),
                    Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
                    Err(error) => return Err(SeedError::at(&link)(error)),
                }
            }
        }
        Ok(true)
    }

    /// Writes a blob under its digest; `progress` is told of every piece.
    pub(super) fn blob(
        &self,
        content: &mut dyn Read,
        progress: &mut dyn FnMut(u64),
    ) -> Result<Blob, SeedError> {
        fs::create_dir_all(&self.staging).map_err(SeedError::at(&self.staging))?;
        let staged = self.staging.join("blob");
        let mut file = File::create(&staged).map_err(SeedError::at(&staged))?;
        let (mut hash, mut size) = (Sha256::new(), 0);
        let mut piece = vec![0; PIECE];
        loop {
            let count = content.read(&mut piece).map_err(SeedError::at(&staged))?;
            let Some(part) = piece.get(..count).filter(|part| !part.is_empty()) else { break };
            hash.update(part);
            file.write_all(part).map_err(SeedError::at(&staged))?;
            size += count as u64;
            progress(count as u64);
        }
        drop(file);
        let blob = Blob::new(&hash.finalize(), size);
        let data = self.data(&blob);
        // One that is there has the same bytes; it stays, and so do hard links to it.
        if size_of(&data)? != Some(size) {
            place(&staged, &data)?;
        }
        Ok(blob)
    }

    /// Makes an image known whose blobs are all there.
    pub(super) fn publish(&self, image: &Image) -> Result<(), SeedError> {
        for (link, blob) in self.links(image) {
            self.file(&link, blob.digest().as_bytes())?;
        }
        Ok(())
    }

    /// Writes a small file, whole or not at all.
    pub(super) fn file(&self, path: &Path, content: &[u8]) -> Result<(), SeedError> {
        fs::create_dir_all(&self.staging).map_err(SeedError::at(&self.staging))?;
        let staged = self.staging.join("file");
        fs::write(&staged, content).map_err(SeedError::at(&staged))?;
        place(&staged, path)
    }

    pub(super) fn data(&self, blob: &Blob) -> PathBuf {
        let prefix = blob.sha256.get(..2).unwrap_or_default();
        self.root().join("blobs/sha256").join(prefix).join(&blob.sha256).join("data")
    }

    fn root(&self) -> PathBuf {
        self.path.join("docker/registry/v2")
    }

    /// Every link of an image with the blob it names, the tag's last.
    fn links<'a>(&self, image: &'a Image) -> Vec<(PathBuf, &'a Blob)> {
        let repository = self.root().join("repositories").join(&image.repository);
        let layers = image.layers.iter().chain([&image.config]);
        let mut links: Vec<_> = layers
            .map(|blob| (repository.join("_layers/sha256").join(&blob.sha256).join("link"), blob))
            .collect();
        let manifests = repository.join("_manifests");
        let tag = manifests.join("tags").join(&image.tag);
        let hex = &image.manifest.sha256;
        links.extend(
            [
                manifests.join("revisions/sha256").join(hex).join("link"),
                tag.join("index/sha256").join(hex).join("link"),
                tag.join("current/link"),
            ]
            .map(|link| (link, &image.manifest)),
        );
        links
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        // What is left is cleared by the next run.
        let _ = fs::remove_dir_all(&self.staging);
    }
}

fn place(staged: &Path, path: &Path) -> Result<(), SeedError> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).map_err(SeedError::at(folder))?;
    }
    fs::rename(staged, path).map_err(SeedError::at(path))
}

fn size_of(path: &Path) -> Result<Option<u64>, SeedError> {
    match fs::metadata(path) {
        Ok(found) => Ok(Some(found.len())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(SeedError::at(path)(error)),
    }
}

fn remove(folder: &Path) -> Result<(), SeedError> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(SeedError::at(folder)(error)),
        _ => Ok(()),
    }
}
