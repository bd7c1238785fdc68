//! Content with known digests, the same on every machine for the same seed.
//!
//! ```text
//! Content: images and the sizes of their layers ──► layer: a tar of one incompressible file ─┐
//!                                                   image: OCI config and manifest ──────────┴► layout: distribution's folders
//!                                                                                               www: hard links for a file server
//! ```
//!
//! Layers are plain tars of one file whose bytes come from xoshiro256++, so that a client really unpacks them and no
//! compression on the way shrinks them. Each layer's bytes follow from the seed, the names and its place alone: more images
//! change none of those that are there.

mod error;
mod image;
mod layer;
mod layout;
mod record;
mod size;
mod www;

use std::path::Path;

pub use error::SeedError;
pub use record::{Blob, Image};
pub use size::{SMALLEST, Sizes, SizesError, parse_size};

use layout::Container;
use record::Record;

/// The images of one registry.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Content {
    /// Name of the registry; the folder that holds it.
    pub registry: String,
    /// Of every byte.
    pub seed: u64,
    /// What it holds.
    pub images: Vec<Wanted>,
}

/// An image to be made.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Wanted {
    /// Repository in the registry, such as `app-01`.
    pub repository: String,
    /// Its tag.
    pub tag: String,
    /// Bytes of each layer, at least [`SMALLEST`].
    pub layers: Vec<u64>,
}

/// A registry that holds its content.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Seeded {
    /// Its name.
    pub registry: String,
    /// Its images, in the order that they were wanted in.
    pub images: Vec<Image>,
    /// Whether something had to be written.
    pub written: bool,
}

impl Content {
    /// `images` images `app-001:v1`, …, each of `layers` layers with sizes drawn from `sizes` by the seed.
    pub fn evenly(registry: &str, seed: u64, images: u32, layers: u32, sizes: &Sizes) -> Self {
        let images = (1..=images).map(|number| {
            let repository = format!("app-{number:03}");
            let mut random = layer::random(seed, &[registry, &repository, "sizes"]);
            let layers = (0..layers).map(|_| sizes.draw(&mut random)).collect();
            Wanted { repository, tag: "v1".to_owned(), layers }
        });
        Self { registry: registry.to_owned(), seed, images: images.collect() }
    }

    /// Bytes of all layers.
    pub fn bytes(&self) -> u64 {
        self.images.iter().flat_map(|image| &image.layers).sum()
    }

    /// Puts the content into the folder `DIR/<registry>` in the layout of the CNCF distribution, and, where `www` names a
    /// folder, hard links into it as a file server serves them. `add`: also where there is other content already. Content that
    /// is there from an earlier run is left alone. `progress` is told of bytes as they are done.
    ///
    /// A run that is cut leaves blobs that nothing names and clears its unfinished files away the next time.
    ///
    /// # Errors
    /// With the path and what to do about it: other content is there, no space, no permission, another run is under way.
    pub fn write(
        &self,
        dir: &Path,
        www: Option<&Path>,
        add: bool,
        progress: &mut dyn FnMut(u64),
    ) -> Result<Seeded, SeedError> {
        let container = Container::open(&dir.join(&self.registry))?;
        let earlier = Record::read(container.path())?;
        let images = match earlier {
            Some(record) if record.content() == *self && container.holds(&record.images)? => {
                progress(self.bytes());
                (record.images, false)
            }
            earlier => {
                if !add && (earlier.is_some() || container.has_content()?) {
                    return Err(SeedError::NotEmpty(container.path().to_owned()));
                }
                let images = self.make(&container, progress)?;
                Record::of(self, &images).write(&container)?;
                (images, true)
            }
        };
        let (images, written) = images;
        if let Some(www) = www {
            www::link(&container, www, &self.registry, &images)?;
        }
        Ok(Seeded { registry: self.registry.clone(), images, written })
    }

    fn make(&self, container: &Container, progress: &mut dyn FnMut(u64)) -> Result<Vec<Image>, SeedError> {
        let mut made = Vec::with_capacity(self.images.len());
        for wanted in &self.images {
            let mut layers = Vec::with_capacity(wanted.layers.len());
            for (place, &size) in wanted.layers.iter().enumerate() {
                let place = place.to_string();
                let random = layer::random(self.seed, &[&self.registry, &wanted.repository, &place]);
                layers.push(container.blob(&mut layer::Layer::new(&place, size, random), progress)?);
            }
            let config = container.blob(&mut image::config(&layers).as_slice(), &mut |_| {})?;
            let manifest = container.blob(&mut image::manifest(&config, &layers).as_slice(), &mut |_| {})?;
            let image = Image {
                repository: wanted.repository.clone(),
                tag: wanted.tag.clone(),
                manifest,
                config,
                layers,
            };
            container.publish(&image)?;
            made.push(image);
        }
        Ok(made)
    }
}

#[cfg(test)]
mod tests;
