//! One blob's open data file: positioned reads and writes, and which blocks were checked since it was opened.

use std::fs::File;
use std::io::{self, IoSliceMut};
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, OnceLock, RwLock};

use bytes::Bytes;
use rustix::io::ReadWriteFlags;

use super::usage::Charge;
use crate::Buffers;
use crate::block::Bitmap;
use crate::sync::{lock, read, write};

/// Pieces smaller than this on average are joined before they are written: a copy is cheaper than the calls.
const SMALL_PIECE_BYTES: usize = 16 << 10;

/// An open data file. Its bytes stay until the last holder lets go, unlinked or not.
#[derive(Debug)]
pub(crate) struct BlobFile {
    path: PathBuf,
    file: RwLock<Arc<File>>,
    is_writable: AtomicBool,
    /// What is written by, if the file is open for reading alone and is written to nevertheless.
    writer: OnceLock<Arc<File>>,
    checked: Mutex<Bitmap>,
    last_used: AtomicU64,
    charge: Arc<Charge>,
}

/// Why a block could not be read.
#[derive(Debug)]
pub(crate) enum LoadError {
    /// It is not on disk, or no longer.
    Absent,
    /// It does not match its checksum.
    Bad,
    /// The system failed. The block may be sound.
    Io(io::Error),
    /// The disk is in trouble and was not asked.
    Off,
}

impl LoadError {
    /// What an error of a read means: a file that ends too early has lost blocks.
    pub(crate) fn of(error: io::Error) -> Self {
        if error.kind() == io::ErrorKind::UnexpectedEof { Self::Bad } else { Self::Io(error) }
    }
}

impl BlobFile {
    /// Opens the file of a complete blob, for reading alone: so an operator may make the file system read-only, however
    /// long it stays open.
    pub(crate) fn open_complete(path: &Path, blocks: u32, charge: Arc<Charge>) -> io::Result<Arc<Self>> {
        match File::open(path) {
            Ok(file) => Ok(Self::new(path, file, false, blocks, charge)),
            // Its blocks are lost, and are to be written again.
            Err(error) if error.kind() == io::ErrorKind::NotFound => Self::open(path, blocks, charge),
            Err(error) => Err(error),
        }
    }

    fn new(path: &Path, file: File, is_writable: bool, blocks: u32, charge: Arc<Charge>) -> Arc<Self> {
        Arc::new(Self {
            path: path.to_owned(),
            file: RwLock::new(Arc::new(file)),
            is_writable: AtomicBool::new(is_writable),
            writer: OnceLock::new(),
            checked: Mutex::new(Bitmap::empty(blocks)),
            last_used: AtomicU64::new(0),
            charge,
        })
    }

    /// Opens a file to read and to write it; makes it if it is not there.
    pub(crate) fn open(path: &Path, blocks: u32, charge: Arc<Charge>) -> io::Result<Arc<Self>> {
        let open = || File::options().read(true).write(true).create(true).truncate(false).open(path);
        let file = open().or_else(|error| match path.parent() {
            Some(folder) if error.kind() == io::ErrorKind::NotFound => {
                std::fs::create_dir_all(folder)?;
                open()
            }
            // What is there can still be read.
            _ if error.kind() == io::ErrorKind::ReadOnlyFilesystem => File::open(path).map_err(|_| error),
            _ => Err(error),
        })?;
        Ok(Self::new(path, file, true, blocks, charge))
    }

    /// The file as it is open now.
    pub(crate) fn descriptor(&self) -> Arc<File> {
        Arc::clone(&read(&self.file))
    }

    /// Goes on with the file open for reading alone, as all of it is written.
    pub(super) fn end_writing(&self) {
        // What cannot be opened anew stays as it is.
        if self.is_writable.load(Relaxed)
            && let Ok(file) = File::open(&self.path)
        {
            *write(&self.file) = Arc::new(file);
            self.is_writable.store(false, Relaxed);
        }
    }

    /// Whether it was written to again after that.
    pub(super) fn is_written_again(&self) -> bool {
        self.writer.get().is_some()
    }

    fn writer(&self) -> io::Result<Arc<File>> {
        if self.is_writable.load(Relaxed) {
            return Ok(self.descriptor());
        }
        if let Some(writer) = self.writer.get() {
            return Ok(Arc::clone(writer));
        }
        let writer = File::options().write(true).open(&self.path)?;
        Ok(Arc::clone(self.writer.get_or_init(|| Arc::new(writer))))
    }

    pub(crate) fn charge(&self) -> &Charge {
        &self.charge
    }

    /// Whether the block was checked since the file was opened.
    pub(crate) fn is_checked(&self, block: u32) -> bool {
        lock(&self.checked).has(block)
    }

    /// Has the block checked when it is next read.
    pub(crate) fn forget_check(&self, block: u32) {
        lock(&self.checked).clear(block);
    }

    /// Takes no block for checked any more.
    pub(super) fn forget_checks(&self) {
        let mut checked = lock(&self.checked);
        *checked = Bitmap::empty(checked.len());
    }

    /// Notes a use, the so-manieth of all files.
    pub(super) fn used_at(&self, use_number: u64) {
        self.last_used.store(use_number, Relaxed);
    }

    /// Its last use.
    pub(super) fn last_used(&self) -> u64 {
        self.last_used.load(Relaxed)
    }

    /// Whether the page cache has all of these bytes. Blocks on no disk.
    pub(crate) fn is_resident(&self, bytes: Range<u64>) -> bool {
        dataproxy_resident::is_resident(&*self.descriptor(), bytes).unwrap_or(false)
    }

    /// Reads bytes that the page cache has all of; `None` if it has not. Blocks on no disk.
    pub(crate) fn read_resident(&self, bytes: Range<u64>, buffers: &Arc<Buffers>) -> Option<Bytes> {
        let mut buffer = buffers.take((bytes.end - bytes.start) as usize);
        let (file, mut read) = (self.descriptor(), 0);
        while let Some(rest) = buffer.get_mut(read..).filter(|rest| !rest.is_empty()) {
            let at = bytes.start + read as u64;
            match rustix::io::preadv2(&*file, &mut [IoSliceMut::new(rest)], at, ReadWriteFlags::NOWAIT) {
                Ok(0) | Err(_) => return None,
                Ok(more) => read += more,
            }
        }
        Some(buffer.freeze())
    }

    /// Reads the bytes of a block.
    pub(crate) fn read(
        &self,
        bytes: Range<u64>,
        block: u32,
        sum: Option<u32>,
        buffers: &Arc<Buffers>,
    ) -> Result<Bytes, LoadError> {
        let mut buffer = buffers.take((bytes.end - bytes.start) as usize);
        match self.descriptor().read_exact_at(&mut buffer, bytes.start) {
            Ok(()) => {}
            Err(error) => return Err(LoadError::of(error)),
        }
        if !self.is_checked(block) {
            if sum != Some(crc32c::crc32c(&buffer)) {
                return Err(LoadError::Bad);
            }
            lock(&self.checked).set(block);
        }
        Ok(buffer.freeze())
    }

    /// Reads bytes of a block that was checked.
    pub(crate) fn read_part(&self, bytes: Range<u64>) -> Result<Bytes, LoadError> {
        let mut buffer = vec![0; (bytes.end - bytes.start) as usize];
        self.descriptor().read_exact_at(&mut buffer, bytes.start).map_err(LoadError::of)?;
        Ok(buffer.into())
    }

    /// Checks a block as it is on the disk, whatever the page cache has of it.
    pub(crate) fn check(
        &self,
        bytes: Range<u64>,
        block: u32,
        sum: u32,
        buffers: &Arc<Buffers>,
    ) -> Result<(), LoadError> {
        self.forget_cached(&bytes);
        self.forget_check(block);
        let checked = self.read(bytes.clone(), block, Some(sum), buffers).map(drop);
        // Nor does the page cache keep what nobody asked for.
        self.forget_cached(&bytes);
        checked
    }

    fn forget_cached(&self, bytes: &Range<u64>) {
        #[cfg(target_os = "linux")]
        {
            let length = std::num::NonZeroU64::new(bytes.end - bytes.start);
            // Only advice: what is not dropped is checked as it is cached.
            let _advised =
                rustix::fs::fadvise(&*self.descriptor(), bytes.start, length, rustix::fs::Advice::DontNeed);
        }
    }

    /// Writes pieces one after the other. The block is checked again when it is next read.
    pub(crate) fn write(&self, mut offset: u64, pieces: &[Bytes]) -> io::Result<()> {
        let file = self.writer()?;
        let length: usize = pieces.iter().map(Bytes::len).sum();
        if pieces.len() > 1 && length / pieces.len() < SMALL_PIECE_BYTES {
            return file.write_all_at(&pieces.concat(), offset);
        }
        for piece in pieces {
            file.write_all_at(piece, offset)?;
            offset += piece.len() as u64;
        }
        Ok(())
    }
}
