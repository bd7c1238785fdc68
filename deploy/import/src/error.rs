//! Why an image could not be imported: the file, what was found in it, and what would be right.

use std::io;
use std::path::{Path, PathBuf};

use dataproxy_cache::Digest;

/// A failed import. The storage is as it was before.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ImportError {
    /// The source cannot be read.
    #[error("cannot read {file}: {error}")]
    Read {
        /// The file.
        file: String,
        /// What the system said.
        error: io::Error,
    },
    /// The storage cannot be written.
    #[error("cannot write {}: {error}", path.display())]
    Write {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        error: io::Error,
    },
    /// The source is something else than an image.
    #[error("{file} is not an image: {found}. {}", EXPECTED_SOURCE)]
    NotAnImage {
        /// The source.
        file: String,
        /// What it is instead.
        found: String,
    },
    /// A file does not have the form that it must have.
    #[error("{file} is not valid: {problem}")]
    Malformed {
        /// The file.
        file: String,
        /// What is wrong and what is expected.
        problem: String,
    },
    /// A file that the image needs is not there.
    #[error("{file} is missing: {needed_by} needs it")]
    Missing {
        /// The file.
        file: String,
        /// What refers to it.
        needed_by: String,
    },
    /// Content does not hash to its digest.
    #[error("{file} is corrupt: its content hashes to {found}, {expected} is expected")]
    DigestMismatch {
        /// The file.
        file: String,
        /// The digest that it is referred to by.
        expected: Box<Digest>,
        /// The digest of its content.
        found: Box<Digest>,
    },
    /// Content does not have its stated size.
    #[error("{file} has {found} bytes, {expected} are expected")]
    SizeMismatch {
        /// The file.
        file: String,
        /// The size that its descriptor states, in bytes.
        expected: u64,
        /// Its size in bytes.
        found: u64,
    },
    /// A manifest is larger than registries take.
    #[error("{file} has {size} bytes, at most {limit} are allowed")]
    TooLarge {
        /// The file.
        file: String,
        /// Its size in bytes.
        size: u64,
        /// The limit in bytes.
        limit: u64,
    },
    /// A manifest is of a kind that is not an image.
    #[error("{file} has the media type {found:?}; {} is expected", crate::media::EXPECTED_MANIFEST)]
    MediaType {
        /// The file.
        file: String,
        /// Its media type.
        found: String,
    },
    /// The source holds several images and none or no such one was picked.
    #[error("{file} holds {}; name the one to import: {}", asked_for(image.as_deref(), candidates.len()), candidates.join(", "))]
    Choose {
        /// The source.
        file: String,
        /// The image that was asked for.
        image: Option<String>,
        /// The images that are there.
        candidates: Vec<String>,
    },
}

const EXPECTED_SOURCE: &str = "An OCI layout folder, or a tar archive (plain or gzip) of an OCI layout or from \
                               `docker save` is expected";

fn asked_for(image: Option<&str>, candidates: usize) -> String {
    match image {
        Some(image) => format!("no image {image:?}"),
        None => format!("{candidates} images"),
    }
}

impl ImportError {
    pub(crate) fn read(file: impl Into<String>, error: io::Error) -> Self {
        Self::Read { file: file.into(), error }
    }

    pub(crate) fn mismatch(file: String, expected: Digest, found: Digest) -> Self {
        Self::DigestMismatch { file, expected: Box::new(expected), found: Box::new(found) }
    }

    pub(crate) fn write(path: &Path, error: io::Error) -> Self {
        Self::Write { path: path.to_owned(), error }
    }

    pub(crate) fn malformed(file: impl Into<String>, problem: impl Into<String>) -> Self {
        Self::Malformed { file: file.into(), problem: problem.into() }
    }
}
