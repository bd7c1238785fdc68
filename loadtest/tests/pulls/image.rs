//! An image to serve.

use sha2::{Digest, Sha256};

use crate::server::{Answer, Asked};

/// `sha256:<hex>`.
pub fn digest(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().fold("sha256:".to_owned(), |text, byte| format!("{text}{byte:02x}"))
}

/// Bytes that differ from place to place.
pub fn bytes(length: usize, seed: u64) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    (0..length)
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 24) as u8
        })
        .collect()
}

/// An index with one manifest for linux/amd64, a config and layers.
pub struct Image {
    pub index: Vec<u8>,
    pub manifest: Vec<u8>,
    pub config: Vec<u8>,
    pub layers: Vec<Vec<u8>>,
}

pub const INDEX: &str = "application/vnd.oci.image.index.v1+json";
pub const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
pub const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
pub const LAYER: &str = "application/vnd.oci.image.layer.v1.tar+gzip";

impl Image {
    /// With layers of these sizes.
    pub fn new(sizes: &[usize]) -> Self {
        let layers: Vec<Vec<u8>> = sizes.iter().zip(1..).map(|(size, seed)| bytes(*size, seed)).collect();
        let config = b"{\"architecture\":\"amd64\"}".to_vec();
        let named = |kind: &str, bytes: &[u8]| serde_json::json!({ "mediaType": kind, "digest": digest(bytes), "size": bytes.len() });
        let manifest = serde_json::json!({
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": named(CONFIG, &config),
            "layers": layers.iter().map(|layer| named(LAYER, layer)).collect::<Vec<_>>(),
        });
        let manifest = manifest.to_string().into_bytes();
        let mut chosen = named(MANIFEST, &manifest);
        chosen["platform"] = serde_json::json!({ "os": "linux", "architecture": "amd64" });
        let index = serde_json::json!({ "schemaVersion": 2, "manifests": [chosen] });
        Self { index: index.to_string().into_bytes(), manifest, config, layers }
    }

    /// All its bytes.
    pub fn size(&self) -> u64 {
        let layers: usize = self.layers.iter().map(Vec::len).sum();
        (self.index.len() + self.manifest.len() + self.config.len() + layers) as u64
    }

    /// What a registry answers to a request for `contoso/app:v1` or a part of it.
    pub fn answer(&self, asked: &Asked) -> Answer {
        let path = asked.what().split_once(' ').expect("a path").1;
        let path = path.split('?').next().expect("a path");
        if path == "/v2/" {
            return Answer::new(200, b"{}");
        }
        let Some((what, reference)) =
            path.strip_prefix("/v2/contoso/app/").and_then(|rest| rest.split_once('/'))
        else {
            return Answer::new(404, b"{\"errors\":[{\"code\":\"NAME_UNKNOWN\"}]}")
                .with("Content-Type", "application/json");
        };
        let manifests = [(INDEX, &self.index), (MANIFEST, &self.manifest)];
        match what {
            "manifests" => manifests
                .into_iter()
                .find(|(kind, bytes)| digest(bytes) == reference || (*kind == INDEX && reference == "v1"))
                .map(|(kind, bytes)| {
                    Answer::new(200, bytes)
                        .with("Content-Type", kind)
                        .with("Docker-Content-Digest", &digest(bytes))
                }),
            _ => std::iter::once(&self.config)
                .chain(&self.layers)
                .find(|bytes| digest(bytes) == reference)
                .map(|bytes| Answer::file(asked, bytes)),
        }
        .unwrap_or_else(|| {
            Answer::new(404, b"{\"errors\":[{\"code\":\"BLOB_UNKNOWN\"}]}")
                .with("Content-Type", "application/json")
        })
    }

    /// The path of a blob.
    pub fn path(&self, blob: &[u8]) -> String {
        format!("/v2/contoso/app/blobs/{}", digest(blob))
    }
}
