//! What `docker save` wrote before it wrote OCI layouts: `manifest.json`, a configuration, one tar per layer.
//!
//! Such an archive has no manifest that a registry could serve, so one is made: an OCI manifest over the
//! configuration and the layers just as they lie there. The configuration states the digest of every layer's
//! tar, so each of them is checked against that.

use std::collections::HashMap;
use std::io::Read;

use dataproxy_cache::{Algorithm, Digest, Hasher};
use flate2::read::MultiGzDecoder;
use serde::Deserialize;

use super::Place;
use super::files::{Files, Found};
use super::layout::{answers_to, read};
use crate::change::describe;
use crate::manifest::Manifest;
use crate::media::{OCI_CONFIG, OCI_LAYER, OCI_LAYER_GZIP, OCI_MANIFEST};
use crate::{Descriptor, ImportError};

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Image {
    config: String,
    #[serde(default)]
    repo_tags: Option<Vec<String>>,
    layers: Vec<String>,
}

#[derive(Deserialize)]
struct Config {
    rootfs: RootFs,
}

#[derive(Deserialize)]
struct RootFs {
    diff_ids: Vec<String>,
}

/// A manifest for the image that `wanted` names, or for the only one; and where its parts lie.
pub(super) fn convert(
    files: &Files,
    wanted: Option<&str>,
) -> Result<(Descriptor, HashMap<Digest, Place>), ImportError> {
    let file = files.label("manifest.json");
    let listed = read(files, "manifest.json", "a docker archive")?;
    let images: Vec<Image> =
        serde_json::from_slice(&listed).map_err(|error| ImportError::malformed(&file, error.to_string()))?;
    let image = choose(&file, &images, wanted)?;
    let mut places = HashMap::new();
    let (config, diff_ids) = read_config(files, image)?;
    if diff_ids.len() != image.layers.len() {
        let problem = format!("it lists {} layers, the configuration {}", image.layers.len(), diff_ids.len());
        return Err(ImportError::malformed(file, problem));
    }
    places.insert(config.digest.clone(), Place::File(image.config.clone()));
    let mut layers = Vec::new();
    for (name, diff_id) in image.layers.iter().zip(diff_ids) {
        let layer = describe_layer(files, name, diff_id)?;
        places.insert(layer.digest.clone(), Place::File(name.clone()));
        layers.push(layer);
    }
    let manifest = Manifest {
        schema_version: 2,
        media_type: Some(OCI_MANIFEST.to_owned()),
        config: Some(config),
        layers: Some(layers),
        manifests: None,
    };
    let content =
        serde_json::to_vec(&manifest).map_err(|error| ImportError::malformed(&file, error.to_string()))?;
    let root = describe(OCI_MANIFEST, &content);
    places.insert(root.digest.clone(), Place::Made(content));
    Ok((root, places))
}

fn choose<'a>(file: &str, images: &'a [Image], wanted: Option<&str>) -> Result<&'a Image, ImportError> {
    let tags = |image: &'a Image| image.repo_tags.iter().flatten();
    let called =
        |image: &'a Image, wanted| image.config == wanted || tags(image).any(|tag| answers_to(tag, wanted));
    let mut fitting = images.iter().filter(|image| wanted.is_none_or(|wanted| called(image, wanted)));
    match (fitting.next(), fitting.next()) {
        (Some(image), None) => Ok(image),
        (None, _) if images.is_empty() => {
            Err(ImportError::malformed(file, "it lists no image, one is expected"))
        }
        _ => Err(ImportError::Choose {
            file: file.to_owned(),
            image: wanted.map(str::to_owned),
            candidates: images.iter().flat_map(|image| tags(image).cloned().chain(untagged(image))).collect(),
        }),
    }
}

fn untagged(image: &Image) -> Option<String> {
    image.repo_tags.iter().flatten().next().is_none().then(|| image.config.clone())
}

fn read_config(files: &Files, image: &Image) -> Result<(Descriptor, Vec<Digest>), ImportError> {
    let file = files.label(&image.config);
    let content = read(files, &image.config, "manifest.json")?;
    let descriptor = describe(OCI_CONFIG, &content);
    // Docker names the file by its digest, as `<hex>.json` or `blobs/sha256/<hex>`.
    let stem = image.config.rsplit('/').next().unwrap_or_default().trim_end_matches(".json");
    if let Ok(expected) = format!("sha256:{stem}").parse::<Digest>()
        && expected != descriptor.digest
    {
        return Err(ImportError::mismatch(file, expected, descriptor.digest));
    }
    let config: Config =
        serde_json::from_slice(&content).map_err(|error| ImportError::malformed(&file, error.to_string()))?;
    let parse = |text: &String| {
        text.parse().map_err(|error| ImportError::malformed(&file, format!("diff_id {text:?}: {error}")))
    };
    let diff_ids = config.rootfs.diff_ids.iter().map(parse).collect::<Result<_, _>>()?;
    Ok((descriptor, diff_ids))
}

/// What the manifest says of one layer. A plain tar has its diff_id for a digest, which the copy verifies;
/// a compressed one is read through here.
fn describe_layer(files: &Files, name: &str, diff_id: Digest) -> Result<Descriptor, ImportError> {
    let layer = |media_type: &str, digest, size| Descriptor {
        media_type: media_type.to_owned(),
        digest,
        size,
        platform: None,
        annotations: Default::default(),
        urls: Vec::new(),
    };
    let mut found = require(files, name)?;
    let mut magic = [0; 2];
    let compressed = found.size >= 2 && {
        found.content.read_exact(&mut magic).map_err(|error| ImportError::read(&found.file, error))?;
        magic == [0x1f, 0x8b]
    };
    if !compressed {
        return Ok(layer(OCI_LAYER, diff_id, found.size));
    }
    let Found { file, size, content } = require(files, name)?;
    let mut hashed = Hashed { inner: content, hasher: Hasher::new(Algorithm::Sha256) };
    let mut plain =
        Hashed { inner: MultiGzDecoder::new(&mut hashed), hasher: Hasher::new(diff_id.algorithm()) };
    let corrupt = |error| ImportError::malformed(&file, format!("the gzip stream is corrupt: {error}"));
    std::io::copy(&mut plain, &mut std::io::sink()).map_err(corrupt)?;
    let found = plain.hasher.finish();
    if found != diff_id {
        return Err(ImportError::mismatch(file, diff_id, found));
    }
    std::io::copy(&mut hashed, &mut std::io::sink()).map_err(|error| ImportError::read(&file, error))?;
    Ok(layer(OCI_LAYER_GZIP, hashed.hasher.finish(), size))
}

fn require(files: &Files, name: &str) -> Result<Found, ImportError> {
    files.find(name)?.ok_or_else(|| ImportError::Missing {
        file: files.label(name),
        needed_by: files.label("manifest.json"),
    })
}

/// Hashes what passes.
struct Hashed<R> {
    inner: R,
    hasher: Hasher,
}

impl<R: Read> Read for Hashed<R> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.hasher.update(buffer.get(..read).unwrap_or_default());
        Ok(read)
    }
}
