//! Named files, in a folder or in a tar archive.

use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use super::archive::{Archive, inside};
use crate::{ImportError, Progress};

/// A file that was found.
pub(crate) struct Found {
    /// Its name, for messages.
    pub(crate) file: String,
    /// Its size in bytes.
    pub(crate) size: u64,
    /// What it holds.
    pub(crate) content: Box<dyn Read>,
}

impl fmt::Debug for Found {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Found").field("file", &self.file).field("size", &self.size).finish_non_exhaustive()
    }
}

impl Found {
    /// The whole content, if it has at most `limit` bytes.
    pub(crate) fn read_all(self, limit: u64) -> Result<Vec<u8>, ImportError> {
        if self.size > limit {
            return Err(ImportError::TooLarge { file: self.file, size: self.size, limit });
        }
        let mut content = Vec::new();
        match self.content.take(limit).read_to_end(&mut content) {
            Ok(_) => Ok(content),
            Err(error) => Err(ImportError::read(self.file, error)),
        }
    }
}

/// The files of a source.
#[derive(Debug)]
pub(crate) enum Files {
    /// A folder.
    Folder(PathBuf),
    /// A tar archive.
    Archive(Archive),
}

impl Files {
    /// Opens a folder or an archive; a compressed one is unpacked to `scratch` first.
    pub(crate) fn open(
        path: &Path,
        scratch: &Path,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<Self, ImportError> {
        let shown = path.display().to_string();
        let metadata = path.metadata().map_err(|error| ImportError::read(&shown, error))?;
        if metadata.is_dir() {
            return Ok(Self::Folder(path.to_owned()));
        }
        if !metadata.is_file() {
            let found = "it is neither a folder nor a regular file".to_owned();
            return Err(ImportError::NotAnImage { file: shown, found });
        }
        Archive::open(path, scratch, progress).map(Self::Archive)
    }

    /// The file of this name, if there is one.
    pub(crate) fn find(&self, name: &str) -> Result<Option<Found>, ImportError> {
        let Some(name) = &inside("", name) else {
            return Err(ImportError::malformed(self.label(name), "a path inside the source is expected"));
        };
        match self {
            Self::Archive(archive) => archive.find(name),
            Self::Folder(folder) => {
                let failed = |error| ImportError::read(self.label(name), error);
                let file = match File::open(folder.join(name)) {
                    Ok(file) => file,
                    Err(error) if is_absence(&error) => return Ok(None),
                    Err(error) => return Err(failed(error)),
                };
                let metadata = file.metadata().map_err(failed)?;
                if !metadata.is_file() {
                    return Err(ImportError::malformed(self.label(name), "a regular file is expected"));
                }
                Ok(Some(Found { file: self.label(name), size: metadata.len(), content: Box::new(file) }))
            }
        }
    }

    /// The name of a file, for messages.
    pub(crate) fn label(&self, name: &str) -> String {
        match self {
            Self::Folder(folder) => folder.join(name).display().to_string(),
            Self::Archive(archive) => archive.label(name),
        }
    }
}

/// What a source is, for messages.
pub(crate) fn kind_of(files: &Files) -> &'static str {
    match files {
        Files::Folder(_) => "a folder",
        Files::Archive(_) => "a tar archive",
    }
}

fn is_absence(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}
