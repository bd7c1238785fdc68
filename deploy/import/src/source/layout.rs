//! The OCI image layout: `oci-layout`, `index.json`, `blobs/<algorithm>/<hex>` (image-spec, "Image Layout").

use dataproxy_cache::Digest;
use serde::Deserialize;

use super::files::Files;
use crate::manifest::{MANIFEST_LIMIT_BYTES, Parsed, parse};
use crate::media::OCI_INDEX;
use crate::{Descriptor, ImportError};

/// Names that tools give to an image in `index.json`: the specification's, and containerd's.
const NAMES: [&str; 2] = ["org.opencontainers.image.ref.name", "io.containerd.image.name"];

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Version {
    image_layout_version: String,
}

/// Where a blob lies in a layout.
pub(super) fn blob(digest: &Digest) -> String {
    format!("blobs/{}/{}", digest.algorithm().name(), digest.hex())
}

/// The image to import: the only one, or the one that `wanted` names.
pub(super) fn choose(files: &Files, wanted: Option<&str>) -> Result<Descriptor, ImportError> {
    check_version(files)?;
    let index = read(files, "index.json", "the OCI layout")?;
    let file = files.label("index.json");
    let Parsed::Index(images) = parse(&file, OCI_INDEX, &index)? else {
        return Err(ImportError::malformed(file, "an index is expected"));
    };
    let fits = |image: &&Descriptor| wanted.is_none_or(|wanted| is_called(image, wanted));
    let mut fitting = images.iter().filter(fits);
    match (fitting.next(), fitting.next()) {
        (Some(image), None) => Ok(image.clone()),
        // Tools list one image twice under two names.
        (Some(image), Some(next)) if fitting.chain([next]).all(|other| other.digest == image.digest) => {
            Ok(image.clone())
        }
        (None, _) if images.is_empty() => {
            Err(ImportError::malformed(file, "it lists no image, one is expected"))
        }
        _ => Err(ImportError::Choose {
            file,
            image: wanted.map(str::to_owned),
            candidates: images.iter().map(candidate).collect(),
        }),
    }
}

fn check_version(files: &Files) -> Result<(), ImportError> {
    let file = files.label("oci-layout");
    let content = read(files, "oci-layout", "an OCI layout")?;
    let version: Version =
        serde_json::from_slice(&content).map_err(|error| ImportError::malformed(&file, error.to_string()))?;
    if version.image_layout_version.starts_with("1.") {
        return Ok(());
    }
    let problem = format!("imageLayoutVersion is {:?}, 1.0.0 is expected", version.image_layout_version);
    Err(ImportError::malformed(file, problem))
}

pub(super) fn read(files: &Files, name: &str, needed_by: &str) -> Result<Vec<u8>, ImportError> {
    match files.find(name)? {
        Some(found) => found.read_all(MANIFEST_LIMIT_BYTES),
        None => Err(ImportError::Missing { file: files.label(name), needed_by: needed_by.to_owned() }),
    }
}

fn is_called(image: &Descriptor, wanted: &str) -> bool {
    image.digest.to_string() == wanted || names(image).any(|name| answers_to(name, wanted))
}

/// Whether a name such as `docker.io/library/app:v1` is meant by `wanted`: the whole of it, or its tag.
pub(super) fn answers_to(name: &str, wanted: &str) -> bool {
    name == wanted || name.rsplit_once(':').is_some_and(|(_, tag)| tag == wanted)
}

fn names(image: &Descriptor) -> impl Iterator<Item = &str> {
    NAMES.iter().filter_map(|key| image.annotations.get(*key)).map(String::as_str)
}

fn candidate(image: &Descriptor) -> String {
    names(image).last().map_or_else(|| image.digest.to_string(), str::to_owned)
}
