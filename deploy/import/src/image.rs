//! An image that is made here, layer by layer, in OCI's media types.

use std::io;
use std::path::Path;

use serde::Serialize;

use crate::manifest::Manifest;
use crate::media::{OCI_CONFIG, OCI_INDEX, OCI_LAYER, OCI_LAYER_GZIP, OCI_MANIFEST};
use crate::{Change, Descriptor, ImportError, Layer, Platform};

/// Stated time of creation: the start of 2024, so that the same content has the same digest.
const CREATED: &str = "2024-01-01T00:00:00Z";

/// How a layer is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compression {
    /// As a plain tar.
    None,
    /// As a gzip-compressed tar.
    Gzip,
}

/// Builds one image for one platform into a [`Change`]. The same calls give the same digests.
///
/// ```
/// use dataproxy_import::{Change, Compression, ImageBuilder, Platform};
/// # let dir = tempfile::tempdir()?;
/// let mut change = Change::begin(dir.path(), || {})?;
/// let mut image = ImageBuilder::new(&mut change, Platform::linux("amd64"));
/// image.layer("add a file", Compression::Gzip, |layer| layer.file("hello.txt", 0o644, b"hello"))?;
/// let manifest = image.entrypoint(&["/hello"]).finish()?;
/// change.publish(&"team/app".parse()?, &"v1".parse()?, &manifest.digest)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct ImageBuilder<'a> {
    change: &'a mut Change,
    platform: Platform,
    config: Config,
    layers: Vec<Descriptor>,
}

#[derive(Debug, Serialize)]
struct Config {
    created: &'static str,
    architecture: String,
    os: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    variant: Option<String>,
    config: Run,
    rootfs: RootFs,
    history: Vec<History>,
}

#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Run {
    env: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    entrypoint: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    cmd: Vec<String>,
}

#[derive(Debug, Serialize)]
struct RootFs {
    #[serde(rename = "type")]
    kind: &'static str,
    diff_ids: Vec<String>,
}

#[derive(Debug, Serialize)]
struct History {
    created: &'static str,
    created_by: String,
}

impl<'a> ImageBuilder<'a> {
    /// Starts an image without layers.
    pub fn new(change: &'a mut Change, platform: Platform) -> Self {
        let config = Config {
            created: CREATED,
            architecture: platform.architecture.clone(),
            os: platform.os.clone(),
            variant: platform.variant.clone(),
            config: Run {
                env: vec!["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin".to_owned()],
                ..Run::default()
            },
            rootfs: RootFs { kind: "layers", diff_ids: Vec::new() },
            history: Vec::new(),
        };
        Self { change, platform, config, layers: Vec::new() }
    }

    /// Adds a layer on top, filled by `fill`; `created_by` is its line in the image's history.
    ///
    /// # Errors
    /// [`ImportError::Write`], with what `fill` failed with.
    pub fn layer(
        &mut self,
        created_by: &str,
        compression: Compression,
        fill: impl FnOnce(&mut Layer) -> io::Result<()>,
    ) -> Result<&mut Self, ImportError> {
        let (path, file) = self.change.create()?;
        let failed = |path: &Path, error| ImportError::write(path, error);
        let mut layer = Layer::new(file, compression);
        fill(&mut layer).map_err(|error| failed(&path, error))?;
        let finished = layer.finish().map_err(|error| failed(&path, error))?;
        let media_type = match compression {
            Compression::None => OCI_LAYER,
            Compression::Gzip => OCI_LAYER_GZIP,
        };
        self.layers.push(Descriptor {
            media_type: media_type.to_owned(),
            digest: finished.digest.clone(),
            size: finished.size,
            platform: None,
            annotations: Default::default(),
            urls: Vec::new(),
        });
        self.config.rootfs.diff_ids.push(finished.diff_id.to_string());
        self.config.history.push(History { created: CREATED, created_by: created_by.to_owned() });
        self.change.keep(path, finished.digest, finished.size)?;
        Ok(self)
    }

    /// Sets what a container of this image runs.
    pub fn entrypoint(&mut self, command: &[&str]) -> &mut Self {
        self.config.config.entrypoint = command.iter().map(|&part| part.to_owned()).collect();
        self
    }

    /// Sets what a container of this image runs if nothing else is asked for.
    pub fn command(&mut self, command: &[&str]) -> &mut Self {
        self.config.config.cmd = command.iter().map(|&part| part.to_owned()).collect();
        self
    }

    /// Puts the configuration and the manifest; returns what an index says of the image.
    ///
    /// # Errors
    /// [`ImportError::Write`], [`ImportError::Read`]
    pub fn finish(&mut self) -> Result<Descriptor, ImportError> {
        let config = self.change.put_blob(OCI_CONFIG, &json(&self.config)?)?;
        let manifest = Manifest {
            schema_version: 2,
            media_type: Some(OCI_MANIFEST.to_owned()),
            config: Some(config),
            layers: Some(self.layers.clone()),
            manifests: None,
        };
        let descriptor = put_manifest(self.change, OCI_MANIFEST, &manifest)?;
        Ok(Descriptor { platform: Some(self.platform.clone()), ..descriptor })
    }

    /// Puts an index over images of several platforms.
    ///
    /// # Errors
    /// [`ImportError::Write`], [`ImportError::Read`]
    pub fn index(change: &mut Change, images: Vec<Descriptor>) -> Result<Descriptor, ImportError> {
        let index = Manifest {
            schema_version: 2,
            media_type: Some(OCI_INDEX.to_owned()),
            config: None,
            layers: None,
            manifests: Some(images),
        };
        put_manifest(change, OCI_INDEX, &index)
    }
}

fn put_manifest(
    change: &mut Change,
    media_type: &str,
    manifest: &Manifest,
) -> Result<Descriptor, ImportError> {
    let content = json(manifest)?;
    let descriptor = crate::change::describe(media_type, &content);
    change.put_manifest(&descriptor, &content)?;
    Ok(descriptor)
}

fn json(value: &impl Serialize) -> Result<Vec<u8>, ImportError> {
    serde_json::to_vec(value)
        .map_err(|error| ImportError::malformed("the image's description", error.to_string()))
}
