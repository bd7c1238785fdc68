//! Config and manifest of an image (OCI image specification 1.1).

use serde_json::{Value, json};

use super::record::Blob;

pub(super) const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const LAYER: &str = "application/vnd.oci.image.layer.v1.tar";

/// The config: nothing to run, and layers whose digests are those of their content, as they are not compressed.
pub(super) fn config(layers: &[Blob]) -> Vec<u8> {
    let diff_ids: Vec<String> = layers.iter().map(Blob::digest).collect();
    let history: Vec<Value> = layers
        .iter()
        .map(|_| json!({ "created": "1970-01-01T00:00:00Z", "created_by": "loadtest seed" }))
        .collect();
    let config = json!({
        "created": "1970-01-01T00:00:00Z",
        "architecture": "amd64",
        "os": "linux",
        "config": {},
        "rootfs": { "type": "layers", "diff_ids": diff_ids },
        "history": history,
    });
    config.to_string().into_bytes()
}

/// The manifest over them.
pub(super) fn manifest(config: &Blob, layers: &[Blob]) -> Vec<u8> {
    let descriptor =
        |kind: &str, blob: &Blob| json!({ "mediaType": kind, "digest": blob.digest(), "size": blob.size });
    let layers: Vec<Value> = layers.iter().map(|layer| descriptor(LAYER, layer)).collect();
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": descriptor(CONFIG, config),
        "layers": layers,
    });
    manifest.to_string().into_bytes()
}
