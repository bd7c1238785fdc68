//! Why the file cannot be used, and what would be right.

use std::io;
use std::path::{Path, PathBuf};

/// A store's file that cannot be opened. It is as it was before.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process has it open.
    #[error(
        "{} is in use by {holder}; one router at a time may open it. Several routers share their state by etcd",
        path.display()
    )]
    Held {
        /// The file.
        path: PathBuf,
        /// Who, in words.
        holder: String,
    },
    /// The system does not let us: no such folder, no permission, read-only, full.
    #[error("{} cannot be read and written: {error}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        error: io::Error,
    },
    /// Another version of the router wrote it.
    #[error(
        "{} has format {found}; this router knows format {known}. Start the version that wrote it",
        path.display()
    )]
    Format {
        /// The file.
        path: PathBuf,
        /// What it says.
        found: u64,
        /// What this version writes.
        known: u64,
    },
    /// It is something else.
    #[error("{} is not a router's store: {reason}. Name another file", path.display())]
    Foreign {
        /// The file.
        path: PathBuf,
        /// What was found.
        reason: String,
    },
    /// It was one, and is damaged.
    #[error("{} is damaged: {reason}. Put back a copy of it, or move it away to begin anew", path.display())]
    Corrupt {
        /// The file.
        path: PathBuf,
        /// What was found.
        reason: String,
    },
}

impl OpenError {
    pub(super) fn io(path: &Path, error: io::Error) -> Self {
        Self::Io { path: path.to_owned(), error }
    }
}
