//! Writes OCI layout folders. Layers come as tars of Debian's `tar` and `gzip`, digests from `sha256sum`.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Value, json};

use crate::run::must_run;
use crate::sha256sum;

const LIMIT: Duration = Duration::from_secs(180);
const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const INDEX: &str = "application/vnd.oci.image.index.v1+json";

/// A layout folder that is being written.
#[derive(Debug)]
pub struct Layout {
    dir: PathBuf,
    algorithms: Algorithms,
}

/// What digests are made by, each `sha256` or `sha512`. Diff ids, which no registry sees, are always sha256.
#[derive(Clone, Copy, Debug)]
pub struct Algorithms {
    /// Those of indexes and manifests.
    pub manifests: &'static str,
    /// Those of configs and layers.
    pub blobs: &'static str,
}

/// A layer that is in the layout.
#[derive(Clone, Debug)]
pub struct Layer {
    descriptor: Value,
    diff_id: String,
}

impl Layout {
    /// Starts an empty layout in a folder that does not exist yet.
    ///
    /// # Panics
    /// If it cannot be made.
    pub fn create(dir: &Path) -> Self {
        Self::create_by(dir, Algorithms { manifests: "sha256", blobs: "sha256" })
    }

    /// As [`Layout::create`], with other digests.
    ///
    /// # Panics
    /// If it cannot be made.
    pub fn create_by(dir: &Path, algorithms: Algorithms) -> Self {
        for algorithm in [algorithms.manifests, algorithms.blobs] {
            std::fs::create_dir_all(dir.join("blobs").join(algorithm)).expect("a folder can be made");
        }
        std::fs::write(dir.join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#)
            .expect("a file can be made");
        Self { dir: dir.to_owned(), algorithms }
    }

    /// Adds the content of `folder` as a layer, gzipped or as a plain tar.
    ///
    /// # Panics
    /// If a tool fails.
    pub async fn add_layer(&self, folder: &Path, gzip: bool) -> Layer {
        let tar = self.dir.join("layer.tar");
        let name = tar.display().to_string();
        let from = folder.display().to_string();
        let args = ["--sort=name", "--mtime=@0", "--owner=0", "--group=0", "-C", &from, "-cf", &name, "."];
        must_run("tar", &args, LIMIT).await;
        let diff_id = sha256sum::of_file(&tar).await;
        if !gzip {
            let descriptor = self.take(&tar, "application/vnd.oci.image.layer.v1.tar").await;
            return Layer { descriptor, diff_id };
        }
        must_run("gzip", &["-n", "-1", "-f", &name], LIMIT).await;
        let tar = self.dir.join("layer.tar.gz");
        Layer { descriptor: self.take(&tar, "application/vnd.oci.image.layer.v1.tar+gzip").await, diff_id }
    }

    /// Adds an image of these layers; gives its descriptor.
    ///
    /// # Panics
    /// If a file cannot be written.
    pub async fn add_image(&self, architecture: &str, layers: &[Layer]) -> Value {
        let diff_ids: Vec<&str> = layers.iter().map(|layer| layer.diff_id.as_str()).collect();
        let config = json!({
            "architecture": architecture, "os": "linux", "config": { "Cmd": ["/bin/true"] },
            "rootfs": { "type": "layers", "diff_ids": diff_ids },
        });
        let config = self.add_json(&config, "application/vnd.oci.image.config.v1+json").await;
        let layers: Vec<&Value> = layers.iter().map(|layer| &layer.descriptor).collect();
        let manifest =
            json!({ "schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": layers });
        let mut descriptor = self.add_json(&manifest, MANIFEST).await;
        descriptor["platform"] = json!({ "architecture": architecture, "os": "linux" });
        descriptor
    }

    /// Adds an index of these images; gives its descriptor.
    ///
    /// # Panics
    /// If a file cannot be written.
    pub async fn add_index(&self, images: &[Value]) -> Value {
        let index = json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": images });
        self.add_json(&index, INDEX).await
    }

    /// Ends the layout: what `tag` names.
    ///
    /// # Panics
    /// If the file cannot be written.
    pub fn finish(self, tag: &str, mut descriptor: Value) {
        descriptor["annotations"] = json!({ "org.opencontainers.image.ref.name": tag });
        let index = json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": [descriptor] });
        std::fs::write(self.dir.join("index.json"), index.to_string()).expect("a file can be made");
    }

    async fn add_json(&self, value: &Value, media_type: &str) -> Value {
        let file = self.dir.join("value.json");
        std::fs::write(&file, value.to_string()).expect("a file can be made");
        self.take(&file, media_type).await
    }

    async fn take(&self, file: &Path, media_type: &str) -> Value {
        let algorithm = match media_type {
            MANIFEST | INDEX => self.algorithms.manifests,
            _ => self.algorithms.blobs,
        };
        let digest = sha256sum::by(file, algorithm).await;
        let size = file.metadata().expect("the file is there").len();
        let blob = self.dir.join("blobs").join(digest.replace(':', "/"));
        std::fs::rename(file, blob).expect("a file can be moved");
        json!({ "mediaType": media_type, "digest": digest, "size": size })
    }
}
