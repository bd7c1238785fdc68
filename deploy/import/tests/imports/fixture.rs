//! Images in every form that tools write them, made by code so that each test can spoil what it wants.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use dataproxy_cache::{Algorithm, Digest};
use dataproxy_import::{ImportError, Imported, Progress, import};
use serde_json::{Value, json};

pub(crate) const INDEX: &str = "application/vnd.oci.image.index.v1+json";
pub(crate) const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
pub(crate) const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
pub(crate) const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
pub(crate) const LAYER: &str = "application/vnd.oci.image.layer.v1.tar";

/// Files by name, in the order in which an archive holds them.
#[derive(Clone, Default)]
pub(crate) struct Files(pub(crate) BTreeMap<String, Vec<u8>>);

pub(crate) fn digest(content: &[u8]) -> String {
    Digest::of(Algorithm::Sha256, content).to_string()
}

pub(crate) fn blob_name(digest: &str) -> String {
    format!("blobs/{}", digest.replace(':', "/"))
}

impl Files {
    /// An empty OCI layout.
    pub(crate) fn layout() -> Self {
        let mut files = Self::default();
        files.put("oci-layout", br#"{"imageLayoutVersion":"1.0.0"}"#);
        files
    }

    pub(crate) fn put(&mut self, name: &str, content: &[u8]) {
        self.0.insert(name.to_owned(), content.to_vec());
    }

    /// Puts a blob and returns its descriptor.
    pub(crate) fn blob(&mut self, media_type: &str, content: &[u8]) -> Value {
        let digest = digest(content);
        self.put(&blob_name(&digest), content);
        json!({"mediaType": media_type, "digest": digest, "size": content.len()})
    }

    /// Puts an image with these layers and returns the descriptor of its manifest.
    pub(crate) fn image(&mut self, platform: &str, layers: &[&[u8]]) -> Value {
        let config =
            self.blob(CONFIG, json!({"os": "linux", "architecture": platform}).to_string().as_bytes());
        let layers: Vec<Value> = layers.iter().map(|layer| self.blob(LAYER, layer)).collect();
        let manifest = json!({"schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": layers});
        let mut descriptor = self.blob(MANIFEST, manifest.to_string().as_bytes());
        descriptor["platform"] = json!({"os": "linux", "architecture": platform});
        descriptor
    }

    /// Puts an index over these and returns its descriptor.
    pub(crate) fn index(&mut self, children: &[Value]) -> Value {
        let index = json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": children});
        self.blob(INDEX, index.to_string().as_bytes())
    }

    /// Makes these the images of the layout.
    pub(crate) fn top(&mut self, images: &[Value]) {
        self.put("index.json", json!({"schemaVersion": 2, "manifests": images}).to_string().as_bytes());
    }

    /// An archive in docker's older form; the layers are stored under the names given with them.
    pub(crate) fn docker(tag: &str, layers: &[(&str, &[u8], &[u8])]) -> Self {
        let mut files = Self::default();
        let diff_ids: Vec<String> = layers.iter().map(|(_, plain, _)| digest(plain)).collect();
        let config = json!({"os": "linux", "architecture": "amd64", "rootfs": {"type": "layers", "diff_ids": diff_ids}});
        let config_name = format!("{}.json", &digest(config.to_string().as_bytes())[7..]);
        files.put(&config_name, config.to_string().as_bytes());
        for (name, _, stored) in layers {
            files.put(name, stored);
        }
        let names: Vec<&str> = layers.iter().map(|(name, _, _)| *name).collect();
        let listed = json!([{"Config": config_name, "RepoTags": [tag], "Layers": names}]);
        files.put("manifest.json", listed.to_string().as_bytes());
        files
    }

    pub(crate) fn folder(&self, path: &Path) -> PathBuf {
        for (name, content) in &self.0 {
            let path = path.join(name);
            fs::create_dir_all(path.parent().expect("a parent")).expect("folders");
            fs::write(path, content).expect("a file");
        }
        path.to_owned()
    }

    pub(crate) fn tar(&self) -> Vec<u8> {
        let mut tar = tar::Builder::new(Vec::new());
        for (name, content) in &self.0 {
            let mut header = tar::Header::new_gnu();
            header.set_size(content.len() as u64);
            header.set_mode(0o644);
            tar.append_data(&mut header, name, content.as_slice()).expect("an entry");
        }
        tar.into_inner().expect("a tar")
    }
}

pub(crate) fn gzip(content: &[u8]) -> Vec<u8> {
    let mut coder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    coder.write_all(content).expect("compressible");
    coder.finish().expect("compressed")
}

/// Random-looking bytes that depend on `seed` alone.
pub(crate) fn noise(seed: u64, len: usize) -> Vec<u8> {
    let mut state = seed;
    std::iter::repeat_with(|| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 56) as u8
    })
    .take(len)
    .collect()
}

/// Imports as `team/app:v1`.
pub(crate) fn import_as_v1(path: &Path, container: &Path) -> Result<Imported, ImportError> {
    import_one(path, container, None, &mut |_| {})
}

pub(crate) fn import_one(
    path: &Path,
    container: &Path,
    image: Option<&str>,
    progress: &mut dyn FnMut(Progress),
) -> Result<Imported, ImportError> {
    let (repository, tag) = ("team/app".parse().expect("a name"), "v1".parse().expect("a tag"));
    import(path, container, &repository, &tag, image, progress)
}

/// Every file below a folder with its content; folders that hold none do not show.
pub(crate) fn snapshot(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(at) = folders.pop() {
        let Ok(entries) = fs::read_dir(&at) else { continue };
        for entry in entries {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
            } else {
                let name = path.strip_prefix(folder).expect("below").display().to_string();
                found.insert(name, fs::read(&path).expect("readable"));
            }
        }
    }
    found
}
