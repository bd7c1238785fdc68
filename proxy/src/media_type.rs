//! What kind of manifest some bytes are. Storage does not say, so the bytes have to, and they must be of one kind only.
//!
//! A document that can be read both as an image and as an index means different images to different clients
//! (CVE-2021-41190), so it is refused, whatever it declares.

use http::HeaderValue;
use serde::Deserialize;
use serde::de::IgnoredAny;

/// An OCI image index.
pub(crate) const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";
const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
const DOCKER_LIST: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
const DOCKER_SCHEMA1: &str = "application/vnd.docker.distribution.manifest.v1+json";
const DOCKER_SCHEMA1_SIGNED: &str = "application/vnd.docker.distribution.manifest.v1+prettyjws";

/// What of a manifest tells its kind. A field that comes twice is an error: readers differ in which one counts.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Shape<'a> {
    schema_version: Option<u64>,
    #[serde(borrow)]
    media_type: Option<std::borrow::Cow<'a, str>>,
    config: Option<IgnoredAny>,
    layers: Option<IgnoredAny>,
    manifests: Option<IgnoredAny>,
    fs_layers: Option<IgnoredAny>,
    signatures: Option<IgnoredAny>,
}

/// The media type of a manifest, without parameters.
///
/// # Errors
/// What is wrong, in words for a user.
pub(crate) fn sniff(manifest: &[u8]) -> Result<HeaderValue, &'static str> {
    let shape: Shape<'_> = serde_json::from_slice(manifest)
        .map_err(|_| "it is not a JSON object with the fields of a manifest")?;
    let is_image = shape.config.is_some() || shape.layers.is_some() || shape.fs_layers.is_some();
    let is_index = shape.manifests.is_some();
    if is_image && is_index {
        return Err("it is an image manifest and an image index at once");
    }
    let declared = shape.media_type.as_deref();
    let media_type = match declared {
        Some(OCI_INDEX | DOCKER_LIST) if is_image => {
            return Err("it says that it is an index, but it has layers");
        }
        Some(OCI_MANIFEST | DOCKER_MANIFEST) if is_index => {
            return Err("it says that it is an image, but it has manifests");
        }
        Some(declared) if is_manifest_type(declared) => declared,
        Some(_) => return Err("its mediaType is not one of a manifest"),
        None if is_index => OCI_INDEX,
        None if shape.config.is_some() && shape.layers.is_some() => OCI_MANIFEST,
        None if shape.schema_version == Some(1) && shape.signatures.is_some() => DOCKER_SCHEMA1_SIGNED,
        None if shape.schema_version == Some(1) => DOCKER_SCHEMA1,
        None => return Err("it is neither an image manifest nor an image index"),
    };
    HeaderValue::from_str(media_type).map_err(|_| "its mediaType is not one of a manifest")
}

/// `application/…+json` or the signed schema 1: never a type that a browser would run or that hides a layer.
fn is_manifest_type(text: &str) -> bool {
    // RFC 6838, 4.2: restricted-name characters.
    let allowed = |b: u8| b.is_ascii_alphanumeric() || b"!#$&-^_.+".contains(&b);
    text == DOCKER_SCHEMA1_SIGNED
        || text
            .strip_prefix("application/")
            .is_some_and(|rest| rest.len() <= 127 && rest.ends_with("+json") && rest.bytes().all(allowed))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_declared_type_is_served_and_else_the_shape_decides() {
        for (manifest, media_type) in [
            (format!(r#"{{"mediaType":"{DOCKER_MANIFEST}","config":{{}},"layers":[]}}"#), DOCKER_MANIFEST),
            (format!(r#"{{"mediaType":"{DOCKER_LIST}","manifests":[]}}"#), DOCKER_LIST),
            (
                r#"{"mediaType":"application/vnd.oci.artifact.manifest.v1+json"}"#.into(),
                "application/vnd.oci.artifact.manifest.v1+json",
            ),
            (r#"{"schemaVersion":2,"manifests":[]}"#.into(), OCI_INDEX),
            (r#"{"schemaVersion":2,"config":{},"layers":[]}"#.into(), OCI_MANIFEST),
            (r#"{"schemaVersion":1,"fsLayers":[],"signatures":[{}]}"#.into(), DOCKER_SCHEMA1_SIGNED),
            (r#"{"schemaVersion":1,"fsLayers":[]}"#.into(), DOCKER_SCHEMA1),
        ] {
            assert_eq!(sniff(manifest.as_bytes()).expect(&manifest), media_type, "{manifest}");
        }
    }

    #[test]
    fn what_is_of_no_kind_or_of_two_is_refused() {
        let deep = "[".repeat(100_000);
        for manifest in [
            "",
            "null",
            "[]",
            "<html>",
            "{}",
            r#"{"schemaVersion":2}"#,
            r#"{"config":{}}"#,
            r#"{"manifests":[],"layers":[]}"#,
            r#"{"mediaType":"application/vnd.oci.image.index.v1+json","layers":[]}"#,
            r#"{"mediaType":"application/vnd.oci.image.manifest.v1+json","manifests":[]}"#,
            r#"{"mediaType":"text/html","config":{},"layers":[]}"#,
            r#"{"mediaType":"application/octet-stream","config":{},"layers":[]}"#,
            r#"{"mediaType":"application/x+json; charset=utf-8","config":{},"layers":[]}"#,
            "{\"mediaType\":\"application/x\\r\\nevil: 1+json\",\"config\":{},\"layers\":[]}",
            r#"{"mediaType":"application/vnd.oci.image.manifest.v1+json","mediaType":"application/vnd.oci.image.index.v1+json"}"#,
            r#"{"config":{},"layers":[],"layers":[]}"#,
            &format!(r#"{{"layers":{deep}"#),
        ] {
            assert!(sniff(manifest.as_bytes()).is_err(), "{}", manifest.get(..80).unwrap_or(manifest));
        }
    }
}
