//! Faults of the disk tier for tests: errors where the system would give them, calls that hang, and a journal of what
//! was changed, from which a model makes what a crash may leave.

use std::collections::HashSet;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Condvar, Mutex, PoisonError};

use bytes::Bytes;

use crate::sync::lock;

/// Which errors the disk tier meets. `None` is none.
#[derive(Debug, Default)]
pub(crate) struct DiskFaults {
    open: Mutex<Option<io::ErrorKind>>,
    read: Mutex<Option<io::ErrorKind>>,
    write: Mutex<Option<io::ErrorKind>>,
    meta: Mutex<Option<io::ErrorKind>>,
    bad_places: Mutex<HashSet<u32>>,
    hangs: Mutex<bool>,
    changed: Condvar,
    journal: Mutex<Option<Vec<DiskChange>>>,
}

/// A change that the disk tier made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DiskChange {
    /// A file was opened, and made if it was not there.
    Opened(PathBuf),
    /// Bytes were written into a file.
    Written {
        /// The file.
        path: PathBuf,
        /// Where.
        offset: u64,
        /// What.
        content: Bytes,
    },
    /// A new file of this content took a name, by way of another one.
    Replaced {
        /// The name that it was written under.
        temp: PathBuf,
        /// The name that it got.
        path: PathBuf,
        /// What is in it.
        content: Bytes,
    },
    /// A name was removed.
    Removed(PathBuf),
}

/// A kind of call that the disk tier makes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DiskCall {
    /// Opening a blob's file.
    Open,
    /// Reading a block.
    Read,
    /// Writing a block or a meta file.
    Write,
    /// Writing a meta file.
    Meta,
}

impl DiskFaults {
    pub(crate) fn set(&self, call: DiskCall, error: Option<io::ErrorKind>) {
        let slot = match call {
            DiskCall::Open => &self.open,
            DiskCall::Read => &self.read,
            DiskCall::Write => &self.write,
            DiskCall::Meta => &self.meta,
        };
        *lock(slot) = error;
    }

    /// Makes every call hang from now on, or lets those that hang go on.
    pub(crate) fn hang(&self, hangs: bool) {
        *lock(&self.hangs) = hangs;
        self.changed.notify_all();
    }

    /// Begins a journal.
    pub(crate) fn record(&self) {
        *lock(&self.journal) = Some(Vec::new());
    }

    /// What is in the journal by now.
    pub(crate) fn recorded(&self) -> Vec<DiskChange> {
        lock(&self.journal).clone().unwrap_or_default()
    }

    fn note(&self, change: impl FnOnce() -> DiskChange) {
        if let Some(journal) = &mut *lock(&self.journal) {
            journal.push(change());
        }
    }

    pub(crate) fn note_opened(&self, path: &Path) {
        self.note(|| DiskChange::Opened(path.to_owned()));
    }

    pub(crate) fn note_written(&self, path: &Path, offset: u64, pieces: &[Bytes]) {
        let content = || pieces.concat().into();
        self.note(|| DiskChange::Written { path: path.to_owned(), offset, content: content() });
    }

    pub(crate) fn note_replaced(&self, temp: &Path, path: &Path, content: &[u8]) {
        self.note(|| DiskChange::Replaced {
            temp: temp.to_owned(),
            path: path.to_owned(),
            content: Bytes::copy_from_slice(content),
        });
    }

    pub(crate) fn note_removed(&self, path: &Path) {
        self.note(|| DiskChange::Removed(path.to_owned()));
    }

    pub(crate) fn on_open(&self) -> io::Result<()> {
        self.check(&self.open)
    }

    pub(crate) fn on_read(&self, block: u32) -> io::Result<()> {
        self.check(&self.read)?;
        if lock(&self.bad_places).contains(&block) {
            return Err(io::Error::other("scripted bad place"));
        }
        Ok(())
    }

    /// Makes this block of every file unreadable until it is written again, as disks map bad places away.
    pub(crate) fn spoil(&self, block: u32) {
        lock(&self.bad_places).insert(block);
    }

    pub(crate) fn note_mended(&self, block: u32) {
        lock(&self.bad_places).remove(&block);
    }

    /// Whether a read would hang or fail now.
    pub(crate) fn reads_fail(&self) -> bool {
        *lock(&self.hangs) || lock(&self.read).is_some()
    }

    pub(crate) fn on_write(&self) -> io::Result<()> {
        self.check(&self.write)
    }

    /// Hangs while calls hang.
    pub(crate) fn wait(&self) {
        let hangs = lock(&self.hangs);
        drop(self.changed.wait_while(hangs, |hangs| *hangs).unwrap_or_else(PoisonError::into_inner));
    }

    pub(crate) fn on_meta(&self) -> io::Result<()> {
        self.check(&self.write)?;
        self.check(&self.meta)
    }

    fn check(&self, slot: &Mutex<Option<io::ErrorKind>>) -> io::Result<()> {
        self.wait();
        answer(slot)
    }
}

fn answer(slot: &Mutex<Option<io::ErrorKind>>) -> io::Result<()> {
    (*lock(slot)).map_or(Ok(()), |kind| Err(io::Error::new(kind, "scripted disk fault")))
}
