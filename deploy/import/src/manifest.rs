//! Manifests and indexes, as far as an import must understand them.

use std::collections::BTreeMap;

use dataproxy_cache::Digest;
use serde::{Deserialize, Serialize};

use crate::ImportError;
use crate::media::{self, Kind};

/// Most bytes of a manifest: what distribution and hosted registries take.
pub(crate) const MANIFEST_LIMIT_BYTES: u64 = 4 << 20;

/// What a manifest says of content that it refers to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Descriptor {
    /// Media type of the content.
    pub media_type: String,
    /// Digest of the content.
    #[serde(with = "digest_text")]
    pub digest: Digest,
    /// Its size in bytes.
    pub size: u64,
    /// The platform that an image is for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub platform: Option<Platform>,
    /// Notes, such as the name of an image in a layout.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
    /// Where else the content can be had.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub urls: Vec<String>,
}

/// The platform that an image is for, in Go's words (`amd64`, not `x86_64`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Platform {
    /// The processor architecture.
    pub architecture: String,
    /// The operating system.
    pub os: String,
    /// A variant of the architecture, such as `v8`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub variant: Option<String>,
}

impl Platform {
    /// Linux on this architecture.
    pub fn linux(architecture: &str) -> Self {
        Self { architecture: architecture.to_owned(), os: "linux".to_owned(), variant: None }
    }
}

impl std::fmt::Display for Platform {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.os, self.architecture)?;
        self.variant.iter().try_for_each(|variant| write!(f, "/{variant}"))
    }
}

/// A manifest of either kind; the fields that belong to the other one are refused.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Manifest {
    pub(crate) schema_version: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) media_type: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) config: Option<Descriptor>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) layers: Option<Vec<Descriptor>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) manifests: Option<Vec<Descriptor>>,
}

/// What a manifest refers to.
#[derive(Debug)]
pub(crate) enum Parsed {
    /// The configuration, then the layers from the lowest.
    Image(Vec<Descriptor>),
    /// Other manifests.
    Index(Vec<Descriptor>),
}

/// Reads a manifest that is referred to by `media_type`; `file` names it in messages.
pub(crate) fn parse(file: &str, media_type: &str, content: &[u8]) -> Result<Parsed, ImportError> {
    let Some(kind) = Kind::of(media_type) else {
        return Err(ImportError::MediaType { file: file.to_owned(), found: media_type.to_owned() });
    };
    let malformed = |problem: String| ImportError::malformed(file, problem);
    let manifest: Manifest = serde_json::from_slice(content).map_err(|error| malformed(error.to_string()))?;
    if manifest.schema_version != 2 {
        return Err(malformed(format!("schemaVersion is {}, 2 is expected", manifest.schema_version)));
    }
    match &manifest.media_type {
        Some(own) if own != media_type => {
            return Err(malformed(format!("it calls itself {own:?}, but is referred to as {media_type:?}")));
        }
        // It would be served as an OCI manifest, which is another media type.
        None if !media::is_oci(media_type) => {
            return Err(malformed(format!("mediaType is missing, {media_type:?} is expected")));
        }
        _ => {}
    }
    // A document that is an image to one reader and an index to another is never taken (CVE-2021-41190).
    match (kind, manifest) {
        (Kind::Image, Manifest { config: Some(config), layers: Some(layers), manifests: None, .. }) => {
            Ok(Parsed::Image(std::iter::once(config).chain(layers).collect()))
        }
        (Kind::Index, Manifest { config: None, layers: None, manifests: Some(manifests), .. }) => {
            Ok(Parsed::Index(manifests))
        }
        (Kind::Image, _) => Err(malformed("an image has config and layers, and no manifests".to_owned())),
        (Kind::Index, _) => {
            Err(malformed("an index has manifests, and neither config nor layers".to_owned()))
        }
    }
}

/// A digest is written as its text.
pub(crate) mod digest_text {
    use dataproxy_cache::Digest;
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub(crate) fn serialize<S: Serializer>(digest: &Digest, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(digest)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Digest, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(|error| D::Error::custom(format!("digest {text:?}: {error}")))
    }
}
