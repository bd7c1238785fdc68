//! A layer that is made here: a tar whose bytes depend on nothing but what is put into it.

use std::fs::File;
use std::io::{self, BufWriter, Read, Write};

use dataproxy_cache::{Algorithm, Digest, Hasher};
use flate2::write::GzEncoder;
use flate2::{Compression as Level, GzBuilder};
use tar::{EntryType, Header};

use crate::Compression;

/// Modification time of everything in a layer: the start of 2024, UTC.
const MTIME: u64 = 1_704_067_200;
const BUFFER_BYTES: usize = 256 << 10;

/// A layer under construction. Everything in it belongs to root and has the same, fixed time.
pub struct Layer {
    tar: tar::Builder<Hashed<Coded>>,
}

/// A finished layer.
pub(crate) struct Finished {
    /// Digest of the tar, as a configuration lists it.
    pub(crate) diff_id: Digest,
    /// Digest of the blob, as a manifest lists it.
    pub(crate) digest: Digest,
    /// Size of the blob in bytes.
    pub(crate) size: u64,
}

enum Coded {
    Plain(Box<Hashed<BufWriter<File>>>),
    Gzip(Box<GzEncoder<Hashed<BufWriter<File>>>>),
}

impl Layer {
    pub(crate) fn new(file: File, compression: Compression) -> Self {
        let file = Hashed::new(BufWriter::with_capacity(BUFFER_BYTES, file));
        let coded = match compression {
            Compression::None => Coded::Plain(Box::new(file)),
            Compression::Gzip => {
                Coded::Gzip(Box::new(GzBuilder::new().mtime(0).write(file, Level::default())))
            }
        };
        Self { tar: tar::Builder::new(Hashed::new(coded)) }
    }

    /// Adds a folder. `path` has no leading `/`.
    ///
    /// # Errors
    /// If the path does not fit a tar or the storage cannot be written.
    pub fn folder(&mut self, path: &str, mode: u32) -> io::Result<()> {
        let mut header = header(EntryType::Directory, mode, 0);
        self.tar.append_data(&mut header, format!("{path}/"), io::empty())
    }

    /// Adds a file. `path` has no leading `/`.
    ///
    /// # Errors
    /// If the path does not fit a tar or the storage cannot be written.
    pub fn file(&mut self, path: &str, mode: u32, content: &[u8]) -> io::Result<()> {
        self.stream(path, mode, content.len() as u64, content)
    }

    /// Adds a file of `size` bytes that are read while it is written.
    ///
    /// # Errors
    /// As [`Layer::file`], and if `content` fails or has another size.
    pub fn stream(&mut self, path: &str, mode: u32, size: u64, content: impl Read) -> io::Result<()> {
        let mut header = header(EntryType::Regular, mode, size);
        let mut counted = content.take(size);
        self.tar.append_data(&mut header, path, &mut counted)?;
        match counted.limit() {
            0 => Ok(()),
            missing => Err(io::Error::new(
                io::ErrorKind::UnexpectedEof,
                format!("{path} was to have {size} bytes, {missing} are missing"),
            )),
        }
    }

    /// Adds a symbolic link.
    ///
    /// # Errors
    /// If a path does not fit a tar or the storage cannot be written.
    pub fn symlink(&mut self, path: &str, to: &str) -> io::Result<()> {
        let mut header = header(EntryType::Symlink, 0o777, 0);
        self.tar.append_link(&mut header, path, to)
    }

    pub(crate) fn finish(self) -> io::Result<Finished> {
        let tar = self.tar.into_inner()?;
        let diff_id = tar.hasher.finish();
        let blob = match tar.inner {
            Coded::Plain(file) => *file,
            Coded::Gzip(coder) => coder.finish()?,
        };
        let (digest, size) = (blob.hasher.finish(), blob.size);
        blob.inner.into_inner().map_err(io::IntoInnerError::into_error)?.sync_data()?;
        Ok(Finished { diff_id, digest, size })
    }
}

fn header(kind: EntryType, mode: u32, size: u64) -> Header {
    let mut header = Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_size(size);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(MTIME);
    header
}

impl Write for Coded {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Plain(file) => file.write(bytes),
            Self::Gzip(coder) => coder.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Plain(file) => file.flush(),
            Self::Gzip(coder) => coder.flush(),
        }
    }
}

/// Hashes and counts what passes.
struct Hashed<W> {
    inner: W,
    hasher: Hasher,
    size: u64,
}

impl<W> Hashed<W> {
    fn new(inner: W) -> Self {
        Self { inner, hasher: Hasher::new(Algorithm::Sha256), size: 0 }
    }
}

impl<W: Write> Write for Hashed<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.inner.write(bytes)?;
        self.hasher.update(bytes.get(..written).unwrap_or_default());
        self.size += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}
