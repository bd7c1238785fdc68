//! What a folder was seeded with: so that a second run knows it without making every byte again.

use std::io;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::layout::Container;
use super::{Content, SeedError, Wanted};

/// Beside the layout's own folder, where no registry looks.
pub(super) const FILE: &str = ".loadtest-seed.json";
/// Changes when the same options make other bytes.
const FORMAT: u32 = 1;

/// A blob that was made.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Blob {
    /// sha256, lower-case hex.
    pub sha256: String,
    /// Bytes.
    pub size: u64,
}

impl Blob {
    /// Of so many bytes that hash to this.
    pub(super) fn new(sha256: &[u8], size: u64) -> Self {
        Self { sha256: hex(sha256), size }
    }

    /// `sha256:<hex>`.
    pub fn digest(&self) -> String {
        format!("sha256:{}", self.sha256)
    }
}

pub(super) fn hex(bytes: &[u8]) -> String {
    let digits = bytes.iter().flat_map(|byte| [byte >> 4, byte & 15]);
    digits.filter_map(|digit| char::from_digit(u32::from(digit), 16)).collect()
}

/// An image that was made.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Image {
    /// Its repository in the registry.
    pub repository: String,
    /// Its tag.
    pub tag: String,
    /// Its manifest.
    pub manifest: Blob,
    /// Its config.
    pub config: Blob,
    /// Its layers, lowest first.
    pub layers: Vec<Blob>,
}

#[derive(Debug, Deserialize, Serialize)]
pub(super) struct Record {
    format: u32,
    registry: String,
    seed: u64,
    pub(super) images: Vec<Image>,
}

impl Record {
    pub(super) fn of(content: &Content, images: &[Image]) -> Self {
        Self {
            format: FORMAT,
            registry: content.registry.clone(),
            seed: content.seed,
            images: images.to_vec(),
        }
    }

    /// The record of the folder; nothing if there is none, or one that this version does not know.
    pub(super) fn read(container: &Path) -> Result<Option<Self>, SeedError> {
        let path = container.join(FILE);
        match std::fs::read(&path) {
            Ok(text) => {
                Ok(serde_json::from_slice::<Self>(&text).ok().filter(|record| record.format == FORMAT))
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(SeedError::at(&path)(error)),
        }
    }

    /// What was wanted when it was written.
    pub(super) fn content(&self) -> Content {
        let images = self.images.iter().map(|image| Wanted {
            repository: image.repository.clone(),
            tag: image.tag.clone(),
            layers: image.layers.iter().map(|layer| layer.size).collect(),
        });
        Content { registry: self.registry.clone(), seed: self.seed, images: images.collect() }
    }

    pub(super) fn write(&self, container: &Container) -> Result<(), SeedError> {
        let text = serde_json::to_vec_pretty(self).map_err(io::Error::from);
        let path = container.path().join(FILE);
        container.file(&path, &text.map_err(SeedError::at(&path))?)
    }
}
