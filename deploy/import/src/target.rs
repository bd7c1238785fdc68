//! Where things lie in the CNCF distribution layout, below the folder of one container.

use std::io;
use std::path::{Path, PathBuf};

use dataproxy_cache::Digest;

use crate::{Repository, Tag};

/// The storage of one registry: the folder above `docker/registry/v2`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    container: PathBuf,
}

impl Target {
    /// The storage in this folder, which need not exist yet.
    pub fn new(container: impl Into<PathBuf>) -> Self {
        Self { container: container.into() }
    }

    /// The folder.
    pub fn container(&self) -> &Path {
        &self.container
    }

    /// The manifest that a tag names, if the tag is there.
    ///
    /// # Errors
    /// What the system said; or [`io::ErrorKind::InvalidData`] if the link holds no digest.
    pub fn tagged(&self, repository: &Repository, tag: &Tag) -> io::Result<Option<Digest>> {
        match std::fs::read_to_string(self.tag_current(repository, tag)) {
            Ok(text) => text
                .trim()
                .parse()
                .map(Some)
                .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    pub(crate) fn blob(&self, digest: &Digest) -> PathBuf {
        let hex = digest.hex();
        let shard = hex.get(..2).unwrap_or_default();
        self.root().join("blobs").join(digest.algorithm().name()).join(shard).join(&hex).join("data")
    }

    pub(crate) fn layer_link(&self, repository: &Repository, digest: &Digest) -> PathBuf {
        link(self.repository(repository).join("_layers"), digest)
    }

    pub(crate) fn revision_link(&self, repository: &Repository, digest: &Digest) -> PathBuf {
        link(self.repository(repository).join("_manifests/revisions"), digest)
    }

    pub(crate) fn tag_index(&self, repository: &Repository, tag: &Tag, digest: &Digest) -> PathBuf {
        link(self.tag(repository, tag).join("index"), digest)
    }

    pub(crate) fn tag_current(&self, repository: &Repository, tag: &Tag) -> PathBuf {
        self.tag(repository, tag).join("current/link")
    }

    fn tag(&self, repository: &Repository, tag: &Tag) -> PathBuf {
        self.repository(repository).join("_manifests/tags").join(tag.as_str())
    }

    fn repository(&self, repository: &Repository) -> PathBuf {
        self.root().join("repositories").join(repository.as_str())
    }

    fn root(&self) -> PathBuf {
        self.container.join("docker/registry/v2")
    }
}

fn link(folder: PathBuf, digest: &Digest) -> PathBuf {
    folder.join(digest.algorithm().name()).join(digest.hex()).join("link")
}
