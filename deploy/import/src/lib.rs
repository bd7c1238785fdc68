//! Puts images into a storage folder in the CNCF distribution layout, as a registry's push would.
//!
//! [`import`] takes an image from an OCI layout folder, an OCI archive or a docker archive; [`ImageBuilder`]
//! makes one from nothing. Both write through a [`Change`]: everything is staged and verified first, then
//! moved into place, the tag's link last. So a failure leaves the storage as it was, a reader never sees half
//! an image, and the same import twice changes nothing.
//!
//! ```text
//! source (folder, tar, docker archive) → tree (manifests, blobs wanted) → change (stage, verify, publish)
//! ```

mod change;
mod error;
mod image;
mod layer;
mod manifest;
mod media;
mod name;
mod pieces;
mod progress;
mod source;
mod target;
mod tree;

use std::path::Path;

use dataproxy_cache::Digest;

pub use change::Change;
pub use error::ImportError;
pub use image::{Compression, ImageBuilder};
pub use layer::Layer;
pub use manifest::{Descriptor, Platform};
pub use name::{NameError, Repository, Tag};
pub use progress::{Progress, Step};
pub use target::Target;
pub use tree::LeftOut;

use source::Source;
use tree::Tree;

/// What an import did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Imported {
    /// Digest of the manifest or index that the tag names now.
    pub digest: Digest,
    /// Its media type.
    pub media_type: String,
    /// Manifests and indexes of the image, the named one included.
    pub manifests: usize,
    /// Configurations and layers of the image.
    pub blobs: usize,
    /// Bytes of them that were copied.
    pub copied_bytes: u64,
    /// Bytes of them that the storage already held.
    pub present_bytes: u64,
    /// Parts of a multi-platform image that the source does not carry.
    pub left_out: Vec<LeftOut>,
}

/// Imports the image at `path` into the storage of one registry, under `repository` and `tag`.
///
/// `container` is the folder above `docker/registry/v2`; it is made if absent. Where the source holds several
/// images, `image` picks one by its name, tag or digest. `progress` is told of every step; its figures only
/// grow within one step. One import at a time works on a container; a second one waits. This call blocks.
///
/// # Errors
/// [`ImportError`]; the storage is then as it was before.
pub fn import(
    path: &Path,
    container: &Path,
    repository: &Repository,
    tag: &Tag,
    image: Option<&str>,
    progress: &mut dyn FnMut(Progress),
) -> Result<Imported, ImportError> {
    let mut change = Change::begin(container, || progress(Progress::waiting()))?;
    let source = Source::open(path, image, &change, progress)?;
    let tree = Tree::read(&source)?;
    let (mut copied_bytes, mut present_bytes) = (0, 0);
    let total: u64 = tree.blobs.iter().map(|blob| blob.size).sum();
    for blob in &tree.blobs {
        let before = copied_bytes + present_bytes;
        let mut passed = |bytes: u64| progress(Progress::copying(before + bytes, total));
        if change.adopt(blob, &mut passed)? {
            present_bytes += blob.size;
        } else {
            let found = source.require(&blob.digest)?;
            change.copy(found, blob, &mut passed)?;
            copied_bytes += blob.size;
        }
    }
    for (descriptor, content) in &tree.manifests {
        change.put_manifest(descriptor, content)?;
    }
    change.publish(repository, tag, &source.root().digest)?;
    Ok(Imported {
        digest: source.root().digest.clone(),
        media_type: source.root().media_type.clone(),
        manifests: tree.manifests.len(),
        blobs: tree.blobs.len(),
        copied_bytes,
        present_bytes,
        left_out: tree.left_out,
    })
}
