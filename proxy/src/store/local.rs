//! A folder on this machine as a storage account; the first segment of an object's name is the container.
//!
//! **Names.** An object's name is a relative path of plain segments: an empty one, `.`, `..`, a NUL or a
//! leading `/` names nothing and reads as absent; so a placement's prefix that begins with `/` is refused. Symbolic links are followed as long as they end below the
//! folder; one that leads out of it is refused as [`OriginErrorKind::Denied`]. The folder itself is resolved
//! once, when it is opened. A file that is not a regular file holds no object.
//!
//! **Versions.** A file is opened once per read, and its version (inode, modification time, size) is taken
//! from that handle, compared with the pin, and compared again after every piece. A file that is replaced by
//! a rename goes on being read as the version that was opened; one that is written to or cut ends the read
//! with [`OriginErrorKind::Changed`]. A rewrite of the same size within one tick of the file system's clock
//! cannot be seen here; the digest finds it.
//!
//! **Blocking work** runs on the runtime's blocking pool, one piece at a time per read and at most
//! [`BLOCKING_CALLS`] per folder, so a disk that hangs does not take the pool from everybody else. A call
//! that was begun when its read is dropped ends by itself.

use std::collections::BTreeSet;
use std::fs::{File, Metadata};
use std::io::{self, Read, Seek, SeekFrom};
use std::ops::Range;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use dataproxy_cache::{Buffers, ETag, ObjectName, Origin, OriginError, OriginErrorKind, OriginRead};
use dataproxy_router_api::Prefix;
use futures_util::future::BoxFuture;
use futures_util::stream::{self, BoxStream, StreamExt};
use tokio::sync::Semaphore;

use super::{Listing, Store};

/// Blocking calls under way at once, per folder.
pub const BLOCKING_CALLS: usize = 64;

/// The first piece is read in the same hop as the open: small, so that headers do not wait for a slow disk.
const FIRST_PIECE_BYTES: u64 = 256 << 10;
/// The later pieces.
const PIECE_BYTES: u64 = 1 << 20;

/// A folder, as a storage account. Cheap to clone.
#[derive(Clone, Debug)]
pub struct LocalFolder {
    root: Arc<Path>,
    calls: Arc<Semaphore>,
    /// For the first piece and for the later ones.
    buffers: [Arc<Buffers>; 2],
}

impl LocalFolder {
    /// Opens the folder at `root`. It must exist: an account that is not there is an outage, not an empty store.
    ///
    /// # Errors
    /// What the system said, with the folder's path.
    pub fn open(root: impl AsRef<Path>) -> io::Result<Self> {
        let root = root.as_ref();
        let named = |error: io::Error| {
            io::Error::new(
                error.kind(),
                format!("the storage folder {} cannot be used: {error}", root.display()),
            )
        };
        let resolved = root.canonicalize().map_err(named)?;
        if !resolved.is_dir() {
            return Err(named(io::ErrorKind::NotADirectory.into()));
        }
        Ok(Self {
            root: resolved.into(),
            calls: Arc::new(Semaphore::new(BLOCKING_CALLS)),
            buffers: [FIRST_PIECE_BYTES, PIECE_BYTES].map(|bytes| Buffers::new(bytes as usize)),
        })
    }

    /// Runs blocking work for this folder; its place is taken until the work has really ended.
    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Path) -> Result<T, OriginError> + Send + 'static,
    ) -> Result<T, OriginError> {
        let permit = Arc::clone(&self.calls).acquire_owned().await.map_err(|_| unavailable("closed"))?;
        let root = Arc::clone(&self.root);
        let done = tokio::task::spawn_blocking(move || {
            let _permit = permit;
            work(&root)
        });
        done.await.map_err(|error| unavailable(&error.to_string()))?
    }
}

impl Origin for LocalFolder {
    fn get<'a>(
        &'a self,
        object: &'a ObjectName,
        range: Range<u64>,
        pin: Option<&'a ETag>,
    ) -> BoxFuture<'a, Result<OriginRead, OriginError>> {
        let (object, pin, buffers) = (object.clone(), pin.cloned(), Arc::clone(&self.buffers[0]));
        Box::pin(async move {
            let (open, first) = self
                .blocking(move |root| {
                    let mut open = OpenObject::open(root, &object, range, pin.as_ref())?;
                    let first = open.read_piece(FIRST_PIECE_BYTES, &buffers)?;
                    Ok((open, first))
                })
                .await?;
            let (size, etag, range) = (open.size, open.etag.clone(), open.range.clone());
            Ok(OriginRead { size, etag, range, body: self.clone().body(open, first), lent: false })
        })
    }
}

impl LocalFolder {
    /// The first piece, then the others as they are asked for.
    fn body(self, open: OpenObject, first: Bytes) -> BoxStream<'static, Result<Bytes, OriginError>> {
        let rest = stream::try_unfold((self, open), |(folder, mut open)| async move {
            if open.next == open.range.end {
                return Ok(None);
            }
            let buffers = Arc::clone(&folder.buffers[1]);
            let (open, piece) = folder
                .blocking(move |_| {
                    let piece = open.read_piece(PIECE_BYTES, &buffers)?;
                    Ok((open, piece))
                })
                .await?;
            Ok(Some((piece, (folder, open))))
        });
        let first = (!first.is_empty()).then_some(Ok(first));
        stream::iter(first).chain(rest).boxed()
    }
}

/// A file under a read: the handle, the version it had when it was opened, and what is still to come.
struct OpenObject {
    file: File,
    object: ObjectName,
    etag: ETag,
    size: u64,
    range: Range<u64>,
    next: u64,
}

impl OpenObject {
    fn open(
        root: &Path,
        object: &ObjectName,
        wanted: Range<u64>,
        pin: Option<&ETag>,
    ) -> Result<Self, OriginError> {
        let path = resolve(root, object, object.as_str())?;
        let describe = |error| failure(root, object, &error);
        // Looked at before the open, since opening a FIFO would wait for its writer.
        if !path.metadata().map_err(describe)?.is_file() {
            return Err(not_an_object(object));
        }
        let mut file = File::open(&path).map_err(describe)?;
        let metadata = file.metadata().map_err(describe)?;
        if !metadata.is_file() {
            return Err(not_an_object(object));
        }
        let (size, etag) = (metadata.len(), version(&metadata));
        if pin.is_some_and(|pin| *pin != etag) {
            return Err(changed(object, "it is not the pinned version"));
        }
        let empty = size == 0 && wanted.start == 0;
        if wanted.start >= size && !empty {
            let message = format!("{object:?} has {size} bytes, the range starts at {}", wanted.start);
            return Err(OriginError::new(OriginErrorKind::RangeInvalid(size), message));
        }
        let range = wanted.start..wanted.end.min(size).max(wanted.start);
        if range.start > 0 {
            file.seek(SeekFrom::Start(range.start)).map_err(describe)?;
        }
        let next = range.start;
        Ok(Self { file, object: object.clone(), etag, size, range, next })
    }

    /// Reads the next piece, and makes sure that the file is still the version that was opened.
    fn read_piece(&mut self, limit: u64, buffers: &Arc<Buffers>) -> Result<Bytes, OriginError> {
        // Pieces end where blocks do, so that a block that is let go takes no part of the next one along.
        let to_boundary = PIECE_BYTES - self.next % PIECE_BYTES;
        let wanted = limit.min(to_boundary).min(self.range.end - self.next);
        if wanted == 0 {
            return Ok(Bytes::new());
        }
        let failed = |error: io::Error| unavailable(&format!("{:?}: {error}", self.object));
        let mut piece = buffers.take(wanted as usize);
        let read = (&self.file).read_exact(&mut piece);
        if version(&self.file.metadata().map_err(failed)?) != self.etag {
            return Err(changed(&self.object, "it was written to while it was read"));
        }
        read.map_err(failed)?;
        self.next += wanted;
        Ok(piece.freeze())
    }
}

impl Store for LocalFolder {
    /// A folder counts even if no object lies in it, and names that are not UTF-8 are left out.
    fn list<'a>(
        &'a self,
        prefix: &'a ObjectName,
        after: Option<&'a str>,
        limit: usize,
    ) -> BoxFuture<'a, Result<Listing, OriginError>> {
        let (prefix, after) = (prefix.clone(), after.map(str::to_owned));
        Box::pin(self.blocking(move |root| list_folders(root, &prefix, after.as_deref(), limit)))
    }

    fn refuses(&self, prefix: &Prefix) -> Option<&'static str> {
        let is_rooted = prefix.as_str().starts_with('/');
        is_rooted
            .then_some("a folder has no name for a leading slash; leave it out of the placement's prefix")
    }
}

fn list_folders(
    root: &Path,
    prefix: &ObjectName,
    after: Option<&str>,
    limit: usize,
) -> Result<Listing, OriginError> {
    let absent = |error: OriginError| match error.kind {
        OriginErrorKind::NotFound => Ok(Listing::default()),
        _ => Err(error),
    };
    let name = prefix.as_str();
    let folder = match resolve(root, prefix, name.strip_suffix('/').unwrap_or(name)) {
        Ok(folder) => folder,
        Err(error) => return absent(error),
    };
    let describe = |error| failure(root, prefix, &error);
    let entries = match folder.read_dir().map_err(describe) {
        Ok(entries) => entries,
        Err(error) => return absent(error),
    };
    // The smallest `limit` names and one more: a page costs its own size, not the folder's.
    let mut page = BTreeSet::new();
    for entry in entries {
        let entry = entry.map_err(describe)?;
        let Ok(name) = entry.file_name().into_string() else { continue };
        let beyond_page = page.len() > limit && page.last().is_some_and(|last: &String| *last < name);
        if beyond_page || after.is_some_and(|after| name.as_str() <= after) {
            continue;
        }
        let kind = entry.file_type().map_err(describe)?;
        let is_folder = kind.is_dir()
            || kind.is_symlink()
                && entry.path().canonicalize().is_ok_and(|end| end.starts_with(root) && end.is_dir());
        if is_folder {
            page.insert(name);
            if page.len() > limit.saturating_add(1) {
                page.pop_last();
            }
        }
    }
    let more = page.len() > limit;
    Ok(Listing { folders: page.into_iter().take(limit).collect(), more })
}

/// The file or folder behind a name, with every symbolic link followed; never outside the root.
fn resolve(root: &Path, object: &ObjectName, name: &str) -> Result<PathBuf, OriginError> {
    let plain = |segment: &str| !matches!(segment, "" | "." | "..") && !segment.contains('\0');
    if !name.split('/').all(plain) {
        return Err(OriginError::new(
            OriginErrorKind::NotFound,
            format!("{object:?} is not a name of a file"),
        ));
    }
    let path = root.join(name).canonicalize().map_err(|error| failure(root, object, &error))?;
    if path.starts_with(root) {
        Ok(path)
    } else {
        let message = format!("{object:?} leads out of the storage folder through a symbolic link");
        Err(OriginError::new(OriginErrorKind::Denied, message))
    }
}

fn version(metadata: &Metadata) -> ETag {
    ETag::new(format!(
        "{:x}-{:x}.{:09x}-{:x}",
        metadata.ino(),
        metadata.mtime(),
        metadata.mtime_nsec(),
        metadata.len()
    ))
}

/// What a failed system call means. Absence is believed only while the folder itself is there.
fn failure(root: &Path, object: &ObjectName, error: &io::Error) -> OriginError {
    let kind = match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory | io::ErrorKind::InvalidFilename => {
            if !root.is_dir() {
                return unavailable(&format!("the storage folder {} is gone", root.display()));
            }
            OriginErrorKind::NotFound
        }
        io::ErrorKind::PermissionDenied => OriginErrorKind::Denied,
        _ => OriginErrorKind::Unavailable,
    };
    OriginError::new(kind, format!("{object:?}: {error}"))
}

fn not_an_object(object: &ObjectName) -> OriginError {
    OriginError::new(OriginErrorKind::NotFound, format!("{object:?} is not a regular file"))
}

fn changed(object: &ObjectName, how: &str) -> OriginError {
    OriginError::new(OriginErrorKind::Changed, format!("{object:?}: {how}"))
}

fn unavailable(message: &str) -> OriginError {
    OriginError::new(OriginErrorKind::Unavailable, message)
}

#[cfg(test)]
mod tests;
