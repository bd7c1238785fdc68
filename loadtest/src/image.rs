//! What an image is made of: an index, a manifest for one platform, its config and layers.
//!
//! Read are OCI and Docker schema 2, by their content where the media type is not given. The platform is linux/amd64.

use std::collections::HashSet;

use serde::Deserialize;
use sha2::{Digest, Sha256};

/// The media types of manifests, as all clients list them.
pub(crate) mod media {
    pub(crate) const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
    pub(crate) const DOCKER_LIST: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
    pub(crate) const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
    pub(crate) const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";
}

/// The layers of images that are not in the registry: they are fetched elsewhere, or not at all.
const FOREIGN: [&str; 2] = [".foreign.", ".nondistributable."];

/// Something that a manifest or an index names.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Descriptor {
    #[serde(default)]
    pub(crate) media_type: String,
    pub(crate) digest: String,
    pub(crate) size: u64,
    #[serde(default)]
    platform: Option<Platform>,
}

#[derive(Clone, Debug, Deserialize, Eq, PartialEq)]
struct Platform {
    #[serde(default)]
    os: String,
    #[serde(default)]
    architecture: String,
}

/// A manifest, by what it is.
#[derive(Debug, Eq, PartialEq)]
pub(crate) enum Manifest {
    /// An index, and the manifest in it that is wanted.
    Index(Descriptor),
    /// One image.
    Image {
        /// Its config.
        config: Descriptor,
        /// Its layers that the registry has, each once.
        layers: Vec<Descriptor>,
    },
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Either {
    #[serde(default)]
    media_type: String,
    #[serde(default)]
    manifests: Option<Vec<Descriptor>>,
    #[serde(default)]
    config: Option<Descriptor>,
    #[serde(default)]
    layers: Option<Vec<Descriptor>>,
}

impl Manifest {
    /// Reads a manifest. Errors: the end of a sentence about the answer.
    pub(crate) fn read(bytes: &[u8]) -> Result<Self, String> {
        let either: Either =
            serde_json::from_slice(bytes).map_err(|error| format!("what came is no manifest: {error}"))?;
        let manifest = match either {
            Either { manifests: Some(manifests), .. } => Self::Index(choose(manifests)?),
            Either { config: Some(config), layers, .. } => Self::Image { config, layers: pullable(layers) },
            Either { media_type, .. } => {
                return Err(format!(
                    "what came is neither an index nor an image's manifest ({media_type:?})"
                ));
            }
        };
        manifest.check()?;
        Ok(manifest)
    }

    fn check(&self) -> Result<(), String> {
        let named: Box<dyn Iterator<Item = &Descriptor>> = match self {
            Self::Index(manifest) => Box::new(std::iter::once(manifest)),
            Self::Image { config, layers } => Box::new(std::iter::once(config).chain(layers)),
        };
        for descriptor in named {
            if sha256(&descriptor.digest).is_none() {
                return Err(format!("the manifest names {:?}, which is no sha256 digest", descriptor.digest));
            }
        }
        Ok(())
    }
}

fn choose(manifests: Vec<Descriptor>) -> Result<Descriptor, String> {
    let fits = |descriptor: &Descriptor| {
        descriptor
            .platform
            .as_ref()
            .is_some_and(|platform| platform.os == "linux" && platform.architecture == "amd64")
    };
    let only = if manifests.len() == 1 { manifests.first().cloned() } else { None };
    manifests
        .into_iter()
        .find(fits)
        .or(only.filter(|only| only.platform.is_none()))
        .ok_or_else(|| "the index has no manifest for linux/amd64".to_owned())
}

/// Clients fetch a layer that an image names twice once.
fn pullable(layers: Option<Vec<Descriptor>>) -> Vec<Descriptor> {
    let mut seen = HashSet::new();
    let mut pullable = layers.unwrap_or_default();
    pullable.retain(|layer| {
        let is_foreign = FOREIGN.iter().any(|word| layer.media_type.contains(word));
        !is_foreign && seen.insert(layer.digest.clone())
    });
    pullable
}

/// The 32 bytes of `sha256:<64 lower-case hex>`.
pub(crate) fn sha256(digest: &str) -> Option<[u8; 32]> {
    sha256_hex(digest.strip_prefix("sha256:")?)
}

/// The 32 bytes of 64 lower-case hex digits.
pub(crate) fn sha256_hex(hex: &str) -> Option<[u8; 32]> {
    if hex.len() != 64 {
        return None;
    }
    let nibble = |byte: u8| match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        _ => None,
    };
    let mut bytes = [0; 32];
    for (byte, pair) in bytes.iter_mut().zip(hex.as_bytes().chunks_exact(2)) {
        let &[high, low] = pair else { return None };
        *byte = nibble(high)? << 4 | nibble(low)?;
    }
    Some(bytes)
}

/// `sha256:<hex>` of these bytes.
pub(crate) fn digest_of(bytes: &[u8]) -> String {
    written(&Sha256::digest(bytes))
}

/// `sha256:<hex>`.
pub(crate) fn written(hash: &[u8]) -> String {
    hash.iter().fold("sha256:".to_owned(), |mut text, byte| {
        for nibble in [byte >> 4, byte & 15] {
            text.extend(char::from_digit(u32::from(nibble), 16));
        }
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn descriptor(kind: &str, fill: char, platform: Option<&str>) -> serde_json::Value {
        let digest = format!("sha256:{}", fill.to_string().repeat(64));
        let mut value = serde_json::json!({ "mediaType": kind, "digest": digest, "size": 5 });
        if let Some((os, architecture)) = platform.and_then(|platform| platform.split_once('/')) {
            value["platform"] =
                serde_json::json!({ "os": os, "architecture": architecture, "variant": "v8" });
        }
        value
    }

    fn read(value: &serde_json::Value) -> Result<Manifest, String> {
        Manifest::read(value.to_string().as_bytes())
    }

    #[test]
    fn an_index_leads_to_the_manifest_for_linux_amd64_alone() {
        let arm = descriptor(media::OCI_MANIFEST, 'a', Some("linux/arm64"));
        let amd = descriptor(media::OCI_MANIFEST, 'b', Some("linux/amd64"));
        let nameless = descriptor(media::OCI_MANIFEST, 'c', None);
        let Ok(Manifest::Index(chosen)) = read(&serde_json::json!({ "manifests": [arm, amd] })) else {
            panic!("no index");
        };
        assert!(chosen.digest.starts_with("sha256:bbbb"));
        assert!(matches!(read(&serde_json::json!({ "manifests": [nameless] })), Ok(Manifest::Index(_))));
        for manifests in [serde_json::json!([arm]), serde_json::json!([]), serde_json::json!([nameless, arm])]
        {
            let error = read(&serde_json::json!({ "manifests": manifests })).expect_err("none fits");
            assert!(error.contains("linux/amd64"), "{error}");
        }
    }

    #[test]
    fn an_image_is_its_config_and_each_layer_that_the_registry_has_once() {
        let config = descriptor("application/vnd.oci.image.config.v1+json", 'c', None);
        let layer = descriptor("application/vnd.oci.image.layer.v1.tar+gzip", 'd', None);
        let foreign = descriptor("application/vnd.docker.image.rootfs.foreign.diff.tar.gzip", 'e', None);
        let image = serde_json::json!({ "config": config, "layers": [layer, foreign, layer] });
        let Ok(Manifest::Image { layers, .. }) = read(&image) else { panic!("no image") };
        assert_eq!(layers.len(), 1);
        assert!(layers[0].digest.starts_with("sha256:dddd"));
    }

    #[test]
    fn a_manifest_of_40_000_layers_is_read_in_no_time_that_other_pulls_would_feel() {
        let digest = |number: usize| format!("{{\"digest\":\"sha256:{number:064x}\",\"size\":1}}");
        let layers = (0..40_000).map(digest).collect::<Vec<_>>().join(",");
        let text = format!("{{\"config\":{},\"layers\":[{layers}]}}", digest(0));
        assert!(text.len() < crate::kept::KEPT_BYTES);
        let begun = std::time::Instant::now();
        let Ok(Manifest::Image { layers, .. }) = Manifest::read(text.as_bytes()) else { panic!("no image") };
        assert_eq!(layers.len(), 40_000);
        // Compared with each other they took a minute; this is some milliseconds, on a machine that is busy too.
        assert!(begun.elapsed() < std::time::Duration::from_secs(5), "{:?}", begun.elapsed());
    }

    #[test]
    fn what_is_no_manifest_is_said_not_to_be_one() {
        for bytes in [&b"<html>"[..], b"{}", b"{\"manifests\": 3}", b"[]"] {
            assert!(Manifest::read(bytes).is_err(), "{}", bytes.escape_ascii());
        }
        let mut config = descriptor("x", 'c', None);
        config["digest"] = "sha256:../../etc".into();
        let error = read(&serde_json::json!({ "config": config, "layers": [] })).expect_err("no digest");
        assert!(error.contains("no sha256 digest"), "{error}");
    }

    #[test]
    fn a_digest_reads_as_it_is_written() {
        let digest = digest_of(b"abc");
        assert_eq!(digest, "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
        assert_eq!(written(&sha256(&digest).expect("valid")), digest);
        assert_eq!(sha256(&digest.to_uppercase()), None);
    }
}
