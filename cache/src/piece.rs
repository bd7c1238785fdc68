//! A piece of a blob: bytes, or the place in an open file where they are.

use std::fmt;
use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;

use bytes::Bytes;

use crate::disk::BlobFile;

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
