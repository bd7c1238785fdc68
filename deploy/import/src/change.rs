//! One change to a storage folder: staged and verified first, then moved into place, the tag last.

use std::collections::HashMap;
use std::fs::{self, File, TryLockError};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use dataproxy_cache::{Algorithm, Digest, Hasher};

use crate::pieces::for_each_piece;
use crate::source::Found;
use crate::{Descriptor, ImportError, Repository, Tag, Target};

/// Where things are staged, in the container, so that a rename moves them. No registry looks there.
const STAGING: &str = ".import";

/// A change under way. It puts one image, with all that lies below it, under one tag.
///
/// Dropping it without [`Change::publish`] leaves the storage as it was. The container is locked meanwhile;
/// what a change left behind that was killed is cleared away by the next one. Content reaches the disk before
/// its name does, so a crash never leaves a name without its content.
#[derive(Debug)]
pub struct Change {
    target: Target,
    staging: PathBuf,
    _lock: File,
    files: usize,
    staged: HashMap<Digest, PathBuf>,
    blobs: Vec<Digest>,
    manifests: Vec<Digest>,
}

impl Change {
    /// Starts a change to the storage in the folder `container`, which is made if absent. If another change
    /// is under way there, calls `waiting` and then waits for its end.
    ///
    /// # Errors
    /// [`ImportError::Write`]
    pub fn begin(container: &Path, waiting: impl FnOnce()) -> Result<Self, ImportError> {
        let failed = |error| ImportError::write(container, error);
        fs::create_dir_all(container).map_err(failed)?;
        let lock = File::open(container).map_err(failed)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                waiting();
                lock.lock().map_err(failed)?;
            }
            Err(TryLockError::Error(error)) => return Err(failed(error)),
        }
        let staging = container.join(STAGING);
        clear(&staging)?;
        fs::create_dir(&staging).map_err(|error| ImportError::write(&staging, error))?;
        Ok(Self {
            target: Target::new(container),
            staging,
            _lock: lock,
            files: 0,
            staged: HashMap::new(),
            blobs: Vec::new(),
            manifests: Vec::new(),
        })
    }

    /// Takes over a blob that the storage already holds whole; `passed` is told how many bytes were checked.
    pub(crate) fn adopt(
        &mut self,
        blob: &Descriptor,
        passed: &mut dyn FnMut(u64),
    ) -> Result<bool, ImportError> {
        let held = self.holds(&blob.digest, blob.size, passed)?;
        if held {
            self.blobs.push(blob.digest.clone());
        }
        Ok(held)
    }

    /// Copies a blob; `passed` is told how many bytes were copied.
    pub(crate) fn copy(
        &mut self,
        found: Found,
        expected: &Descriptor,
        passed: &mut dyn FnMut(u64),
    ) -> Result<(), ImportError> {
        let Found { file: name, mut content, .. } = found;
        let (path, mut file) = self.create()?;
        let mut hasher = Hasher::new(expected.digest.algorithm());
        let mut size = 0;
        let failed = |error| ImportError::read(&name, error);
        for_each_piece(&mut content, failed, |piece| {
            hasher.update(piece);
            size += piece.len() as u64;
            file.write_all(piece).map_err(|error| ImportError::write(&path, error))?;
            passed(size);
            Ok(())
        })?;
        if size != expected.size {
            return Err(ImportError::SizeMismatch { file: name, expected: expected.size, found: size });
        }
        let digest = hasher.finish();
        if digest != expected.digest {
            return Err(ImportError::mismatch(name, expected.digest.clone(), digest));
        }
        file.sync_data().map_err(|error| ImportError::write(&path, error))?;
        self.staged.insert(digest.clone(), path);
        self.blobs.push(digest);
        Ok(())
    }

    /// Puts a configuration or another small blob; returns what a manifest says of it.
    ///
    /// # Errors
    /// [`ImportError::Write`], [`ImportError::Read`]
    pub fn put_blob(&mut self, media_type: &str, content: &[u8]) -> Result<Descriptor, ImportError> {
        let descriptor = describe(media_type, content);
        self.put(&descriptor, content)?;
        self.blobs.push(descriptor.digest.clone());
        Ok(descriptor)
    }

    /// Puts a manifest whose content has been checked against its descriptor.
    pub(crate) fn put_manifest(
        &mut self,
        descriptor: &Descriptor,
        content: &[u8],
    ) -> Result<(), ImportError> {
        self.put(descriptor, content)?;
        self.manifests.push(descriptor.digest.clone());
        Ok(())
    }

    fn put(&mut self, descriptor: &Descriptor, content: &[u8]) -> Result<(), ImportError> {
        if self.holds(&descriptor.digest, descriptor.size, &mut |_| {})? {
            return Ok(());
        }
        let path = self.write(content)?;
        self.staged.insert(descriptor.digest.clone(), path);
        Ok(())
    }

    /// A new file to stage a blob in, for [`Change::keep`].
    pub(crate) fn create(&mut self) -> Result<(PathBuf, File), ImportError> {
        let path = self.staging.join(self.files.to_string());
        self.files += 1;
        let file = File::create_new(&path).map_err(|error| ImportError::write(&path, error))?;
        Ok((path, file))
    }

    /// Makes a staged file a blob of the image.
    pub(crate) fn keep(&mut self, path: PathBuf, digest: Digest, size: u64) -> Result<(), ImportError> {
        if !self.holds(&digest, size, &mut |_| {})? {
            self.staged.insert(digest.clone(), path);
        }
        self.blobs.push(digest);
        Ok(())
    }

    /// A path for a file of the caller's own, gone when the change ends.
    pub(crate) fn scratch(&self) -> PathBuf {
        self.staging.join("scratch")
    }

    /// Whether the storage holds this blob whole. Such a file is left alone: a pull may be reading it.
    fn holds(&self, digest: &Digest, size: u64, passed: &mut dyn FnMut(u64)) -> Result<bool, ImportError> {
        let path = self.target.blob(digest);
        let failed = |error| ImportError::read(path.display().to_string(), error);
        let mut file = match File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            Err(error) => return Err(failed(error)),
        };
        if file.metadata().map_err(failed)?.len() != size {
            return Ok(false);
        }
        let mut hasher = Hasher::new(digest.algorithm());
        let mut done = 0;
        for_each_piece(&mut file, failed, |piece| {
            hasher.update(piece);
            done += piece.len() as u64;
            passed(done);
            Ok(())
        })?;
        Ok(hasher.finish() == *digest)
    }

    /// Makes everything visible: blobs, then the links by which the repository owns them, then its manifests
    /// in the order in which they were put, and last the tag, which names `root` from then on.
    ///
    /// # Errors
    /// [`ImportError::Write`]. What was moved into place by then stays there without the tag, and does no harm.
    pub fn publish(mut self, repository: &Repository, tag: &Tag, root: &Digest) -> Result<(), ImportError> {
        if !self.manifests.contains(root) {
            let needed_by = format!("the tag {repository}:{tag}");
            return Err(ImportError::Missing { file: root.to_string(), needed_by });
        }
        for (digest, path) in std::mem::take(&mut self.staged) {
            place(&path, &self.target.blob(&digest))?;
        }
        for digest in std::mem::take(&mut self.blobs) {
            self.link(&self.target.layer_link(repository, &digest), &digest)?;
        }
        for digest in std::mem::take(&mut self.manifests) {
            self.link(&self.target.revision_link(repository, &digest), &digest)?;
        }
        self.link(&self.target.tag_index(repository, tag, root), root)?;
        self.link(&self.target.tag_current(repository, tag), root)
    }

    fn link(&mut self, path: &Path, digest: &Digest) -> Result<(), ImportError> {
        let text = digest.to_string();
        if fs::read_to_string(path).is_ok_and(|present| present == text) {
            return Ok(());
        }
        let staged = self.write(text.as_bytes())?;
        place(&staged, path)
    }

    fn write(&mut self, content: &[u8]) -> Result<PathBuf, ImportError> {
        let (path, mut file) = self.create()?;
        file.write_all(content)
            .and_then(|()| file.sync_data())
            .map_err(|error| ImportError::write(&path, error))?;
        Ok(path)
    }
}

impl Drop for Change {
    fn drop(&mut self) {
        // What cannot be removed now, the next change removes before it starts.
        let _ = clear(&self.staging);
    }
}

/// What a manifest says of this content.
pub(crate) fn describe(media_type: &str, content: &[u8]) -> Descriptor {
    Descriptor {
        media_type: media_type.to_owned(),
        digest: Digest::of(Algorithm::Sha256, content),
        size: content.len() as u64,
        platform: None,
        annotations: Default::default(),
        urls: Vec::new(),
    }
}

fn place(staged: &Path, path: &Path) -> Result<(), ImportError> {
    let failed = |error| ImportError::write(path, error);
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).map_err(failed)?;
    }
    fs::rename(staged, path).map_err(failed)
}

fn clear(staging: &Path) -> Result<(), ImportError> {
    match fs::remove_dir_all(staging) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(ImportError::write(staging, error)),
        _ => Ok(()),
    }
}
