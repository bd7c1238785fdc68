//! Who has the file open: a lock that ends with the process, in a file that says whose it is.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Seek, Write};
use std::path::{Path, PathBuf};

use super::OpenError;

/// The right to the store's file, until it is dropped or the process dies.
#[derive(Debug)]
pub(super) struct Hold {
    // Closing it unlocks it. The file stays: to remove it would let two processes lock two files of one name.
    _lock: File,
}

impl Hold {
    /// Takes the right to the file at `path`.
    pub(super) fn take(path: &Path) -> Result<Self, OpenError> {
        let beside = beside(path);
        let io = |error| OpenError::io(&beside, error);
        let mut lock = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&beside)
            .map_err(io)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut holder = String::new();
                let _ = lock.read_to_string(&mut holder);
                let holder = holder.trim();
                let holder = if holder.is_empty() { "another process" } else { holder };
                return Err(OpenError::Held { path: path.to_owned(), holder: holder.to_owned() });
            }
            Err(TryLockError::Error(error)) => return Err(io(error)),
        }
        // For people alone, so a full disk does not keep the router from opening what it has.
        let _ = lock.set_len(0).and_then(|()| lock.rewind());
        let _ = writeln!(lock, "process {}", std::process::id());
        Ok(Self { _lock: lock })
    }
}

fn beside(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".lock");
    name.into()
}
