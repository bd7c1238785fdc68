//! Faults of the disk tier for tests: errors where the system would give them.

use std::io;
use std::sync::Mutex;

use crate::sync::lock;

/// Which errors the disk tier meets. `None` is none.
#[derive(Debug, Default)]
pub(crate) struct DiskFaults {
    open: Mutex<Option<io::ErrorKind>>,
    read: Mutex<Option<io::ErrorKind>>,
    write: Mutex<Option<io::ErrorKind>>,
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
}

impl DiskFaults {
    pub(crate) fn set(&self, call: DiskCall, error: Option<io::ErrorKind>) {
        let slot = match call {
            DiskCall::Open => &self.open,
            DiskCall::Read => &self.read,
            DiskCall::Write => &self.write,
        };
        *lock(slot) = error;
    }

    pub(crate) fn on_open(&self) -> io::Result<()> {
        check(&self.open)
    }

    pub(crate) fn on_read(&self) -> io::Result<()> {
        check(&self.read)
    }

    pub(crate) fn on_write(&self) -> io::Result<()> {
        check(&self.write)
    }
}

fn check(slot: &Mutex<Option<io::ErrorKind>>) -> io::Result<()> {
    (*lock(slot)).map_or(Ok(()), |kind| Err(io::Error::new(kind, "scripted disk fault")))
}
