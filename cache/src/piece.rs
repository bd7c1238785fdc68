//! A piece of a blob: bytes, or the place in an open file where they are.

use std::fmt;
use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use bytes::Bytes;

use crate::disk::BlobFile;

/// What is read at a time of what is read for the page cache alone, in bytes.
const READ_AHEAD: usize = 128 << 10;

/// The next bytes of a blob.
#[derive(Debug)]
pub enum Piece {
    /// The bytes.
    Bytes(Bytes),
    /// Where they are.
    InFile(FilePiece),
}

/// Bytes of a complete blob that lie in a file: checked since it was opened, and in the page cache a moment ago.
///
/// They stay in the file until this is dropped, whatever is evicted meanwhile. Only somebody outside who changes or cuts
/// the file can make them others or fewer: who takes fewer than [`FilePiece::length`] must not make up the rest.
pub struct FilePiece {
    /// Keeps the blob from eviction.
    _blob: Arc<BlobFile>,
    file: Arc<File>,
    offset: u64,
    length: usize,
}

impl FilePiece {
    pub(crate) fn new(file: Arc<BlobFile>, offset: u64, length: usize) -> Self {
        Self { file: file.descriptor(), _blob: file, offset, length }
    }

    /// Where in the file they begin, in bytes.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// Whether these bytes of the file are still in the page cache, so that who sends them waits for no disk. They were
    /// when the piece was made.
    pub fn is_resident(&self, bytes: Range<u64>) -> bool {
        // Where it could not be told there would be no piece.
        dataproxy_resident::is_resident(&*self.file, bytes).unwrap_or(true)
    }

    /// Reads these bytes of the file into the page cache, as far as there are any. Blocks for as long as the disk takes.
    ///
    /// # Errors
    /// The disk's own.
    pub fn read_ahead(&self, bytes: Range<u64>) -> io::Result<()> {
        let mut seen = vec![0; READ_AHEAD.min((bytes.end - bytes.start) as usize)];
        let mut at = bytes.start;
        while at < bytes.end {
            match self.file.read_at(&mut seen, at) {
                Ok(0) => break,
                Ok(read) => at += read as u64,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// How many they are.
    pub fn length(&self) -> usize {
        self.length
    }
}

impl AsFd for FilePiece {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

impl fmt::Debug for FilePiece {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FilePiece")
            .field("offset", &self.offset)
            .field("length", &self.length)
            .finish_non_exhaustive()
    }
}
