//! A tree that a plain file server serves as a registry is read: `v2/<registry>/<repository>/{blobs,manifests}/…`.

use std::fs;
use std::io;
use std::path::Path;

use super::layout::Container;
use super::{Blob, Image, SeedError};

/// Hard links to every blob and manifest of the images. The server has to send manifests as
/// `application/vnd.oci.image.manifest.v1+json`, since their names do not say what they are.
pub(super) fn link(
    container: &Container,
    www: &Path,
    registry: &str,
    images: &[Image],
) -> Result<(), SeedError> {
    for image in images {
        let repository = www.join("v2").join(registry).join(&image.repository);
        for blob in image.layers.iter().chain([&image.config]) {
            one(container, blob, &repository.join("blobs").join(blob.digest()))?;
        }
        for name in [image.manifest.digest(), image.tag.clone()] {
            one(container, &image.manifest, &repository.join("manifests").join(name))?;
        }
    }
    Ok(())
}

fn one(container: &Container, blob: &Blob, to: &Path) -> Result<(), SeedError> {
    if let Some(folder) = to.parent() {
        fs::create_dir_all(folder).map_err(SeedError::at(folder))?;
    }
    let data = container.data(blob);
    match fs::hard_link(&data, to) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            // A tag may have named another manifest.
            fs::remove_file(to).map_err(SeedError::at(to))?;
            fs::hard_link(&data, to).map_err(SeedError::at(to))
        }
        other => other.map_err(SeedError::at(to)),
    }
}
