//! What a list of referrers says of one manifest, and which manifest that one refers to.

use std::collections::BTreeMap;
use std::sync::Arc;

use dataproxy_cache::Digest;
use serde::{Deserialize, Serialize};
use serde_json::value::{RawValue, to_raw_value};

use crate::media_type::{OCI_INDEX, sniff};

/// A manifest as lists of referrers show it (OCI image-spec, "Content Descriptors").
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Descriptor {
    digest: Digest,
    written: Written,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Written {
    media_type: String,
    digest: String,
    size: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    artifact_type: Option<String>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    annotations: BTreeMap<String, String>,
}

/// What of a manifest matters to a list of referrers.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Manifest {
    artifact_type: Option<String>,
    config: Option<Typed>,
    subject: Option<Subject>,
    annotations: Option<BTreeMap<String, String>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Typed {
    media_type: String,
}

#[derive(Deserialize)]
struct Subject {
    digest: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Listed {
    media_type: Option<String>,
    manifests: Vec<Written>,
}

impl Descriptor {
    fn of(written: Written) -> Option<Self> {
        Some(Self { digest: written.digest.parse().ok()?, written })
    }

    pub(super) fn digest(&self) -> &Digest {
        &self.digest
    }

    pub(super) fn is_of_type(&self, artifact_type: &str) -> bool {
        self.written.artifact_type.as_deref() == Some(artifact_type)
    }

    /// Bytes of memory that it takes, about.
    pub(super) fn weight(&self) -> usize {
        let annotations = self.written.annotations.iter();
        512 + annotations.map(|(key, value)| key.len() + value.len() + 96).sum::<usize>()
    }

    pub(super) fn to_json(&self) -> Box<RawValue> {
        to_raw_value(&self.written).unwrap_or_default()
    }
}

/// Reads a manifest: the digest that it refers to and how it is listed. `None` if it refers to nothing.
pub(super) fn referrer(digest: &Digest, manifest: &[u8]) -> Option<(Digest, Descriptor)> {
    let parsed: Manifest = serde_json::from_slice(manifest).ok()?;
    let subject = parsed.subject?.digest.parse().ok()?;
    let media_type = sniff(manifest).ok()?.to_str().ok()?.to_owned();
    let artifact_type = parsed.artifact_type.filter(|kind| !kind.is_empty());
    let written = Written {
        media_type,
        digest: digest.to_string(),
        size: manifest.len() as u64,
        artifact_type: artifact_type.or_else(|| parsed.config.map(|config| config.media_type)),
        annotations: parsed.annotations.unwrap_or_default(),
    };
    Some((subject, Descriptor { digest: digest.clone(), written }))
}

/// The descriptors in an index; none if it is something else.
pub(super) fn listed_in(index: &[u8]) -> Vec<Arc<Descriptor>> {
    let Ok(listed) = serde_json::from_slice::<Listed>(index) else { return Vec::new() };
    if listed.media_type.is_some_and(|media_type| media_type != OCI_INDEX) {
        return Vec::new();
    }
    listed.manifests.into_iter().filter_map(Descriptor::of).map(Arc::new).collect()
}

/// A descriptor that another registry has written; `None` if it is not one.
pub(super) fn described(json: &RawValue) -> Option<Descriptor> {
    Descriptor::of(serde_json::from_str(json.get()).ok()?)
}

#[cfg(test)]
mod tests {
    use dataproxy_cache::Algorithm;

    use super::*;

    fn read(manifest: &str) -> Option<serde_json::Value> {
        let digest = Digest::of(Algorithm::Sha256, manifest.as_bytes());
        let (_, descriptor) = referrer(&digest, manifest.as_bytes())?;
        let mut json: serde_json::Value = serde_json::from_str(descriptor.to_json().get()).expect("JSON");
        assert_eq!(json["digest"], digest.to_string());
        assert_eq!(json["size"], manifest.len());
        json.as_object_mut()?.retain(|key, _| key != "digest" && key != "size");
        Some(json)
    }

    #[test]
    fn the_artifact_type_falls_back_to_the_configs_media_type() {
        let subject = Digest::of(Algorithm::Sha256, b"subject");
        let image = "application/vnd.oci.image.manifest.v1+json";
        let manifest = |fields: &str| {
            format!(
                r#"{{"schemaVersion":2,"mediaType":"{image}","layers":[],"subject":{{"digest":"{subject}"}},{fields}}}"#
            )
        };
        assert_eq!(
            read(&manifest(r#""artifactType":"a/b","config":{"mediaType":"c/d"},"annotations":{"k":"v"}"#)),
            Some(serde_json::json!({"mediaType": image, "artifactType": "a/b", "annotations": {"k": "v"}}))
        );
        assert_eq!(
            read(&manifest(r#""artifactType":"","config":{"mediaType":"c/d"}"#)),
            Some(serde_json::json!({"mediaType": image, "artifactType": "c/d"}))
        );
    }

    #[test]
    fn what_refers_to_nothing_or_is_no_manifest_is_not_listed() {
        for manifest in [
            r#"{"schemaVersion":2,"config":{},"layers":[]}"#,
            r#"{"schemaVersion":2,"config":{"mediaType":"a"},"layers":[],"subject":{"digest":"../x"}}"#,
            r#"{"subject":{"digest":"sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"}}"#,
            "not json",
        ] {
            assert_eq!(read(manifest), None, "{manifest}");
        }
        assert!(listed_in(b"{}").is_empty());
        assert!(listed_in(br#"{"manifests":[{"mediaType":"a","digest":"bad","size":1}]}"#).is_empty());
    }
}
