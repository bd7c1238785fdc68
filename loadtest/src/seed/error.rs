//! What keeps content from being written.

use std::io;
use std::path::{Path, PathBuf};

/// Why content was not written.
#[derive(Debug, thiserror::Error)]
pub enum SeedError {
    /// There is other content.
    #[error(
        "{} holds other content already, or was seeded with other options; name another folder, or give --add to put the images \
         beside what is there", .0.display()
    )]
    NotEmpty(PathBuf),
    /// Another run holds the folder.
    #[error("{} is being seeded by another process; wait until it has ended", .0.display())]
    Busy(PathBuf),
    /// No space.
    #[error("{}: the disk is full; free some space, or ask for fewer or smaller images", .0.display())]
    Full(PathBuf),
    /// No permission.
    #[error("{}: this user may not write there; name another folder, or run as its owner", .0.display())]
    Forbidden(PathBuf),
    /// A hard link over a border of file systems.
    #[error(
        "{} lies in another file system than the content, where hard links do not reach; put --www beside the content", .0.display()
    )]
    AnotherFileSystem(PathBuf),
    /// Anything else that the system says.
    #[error("{}: {error}", path.display())]
    System {
        /// Where.
        path: PathBuf,
        /// What.
        error: io::Error,
    },
}

impl SeedError {
    /// What the system said about a path.
    pub(super) fn at(path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |error| match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::Full(path),
            io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => Self::Forbidden(path),
            io::ErrorKind::CrossesDevices => Self::AnotherFileSystem(path),
            _ => Self::System { path, error },
        }
    }
}
