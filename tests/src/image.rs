//! The images that the clients pull: made once, kept under `target/test-images`.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;

use crate::layout::{Algorithms, Layout};
use crate::run::must_run;

const LIMIT: Duration = Duration::from_secs(600);
/// The one tag of every image here.
pub const TAG: &str = "v1";

/// An image in an OCI layout folder, and what is known of it without asking code of ours.
#[derive(Clone, Debug)]
pub struct Image {
    /// The layout folder.
    pub layout: PathBuf,
    /// The digest that the tag names.
    pub digest: String,
    /// Manifests and indexes: digest to size in bytes.
    pub manifests: BTreeMap<String, u64>,
    /// Configs and layers of every platform: digest to size in bytes.
    pub blobs: BTreeMap<String, u64>,
    /// The platforms.
    pub platforms: Vec<Platform>,
}

/// An image of one platform.
#[derive(Clone, Debug)]
pub struct Platform {
    /// Its architecture, as Go names it.
    pub architecture: String,
    /// Digest of its manifest.
    pub manifest: String,
    /// Digests of its config and its layers, and their sizes in bytes.
    pub blobs: BTreeMap<String, u64>,
    /// Its layers in order: digest of the blob.
    pub layers: Vec<String>,
    /// Its layers in order: digest of the tar inside.
    pub diff_ids: Vec<String>,
}

impl Image {
    /// A Debian root file system made by `debootstrap`, put into a layout by `umoci`. Needs root the first time.
    pub async fn debian() -> Self {
        let tar = debian_root().await;
        made("debian", async |layout| {
            let (layout, tar) = (layout.display().to_string(), tar.display().to_string());
            let image = format!("{layout}:{TAG}");
            must_run("umoci", &["init", "--layout", &layout], LIMIT).await;
            must_run("umoci", &["new", "--image", &image], LIMIT).await;
            must_run("umoci", &["raw", "add-layer", "--image", &image, &tar], LIMIT).await;
        })
        .await
    }

    /// Two platforms under one index. They share their first layer.
    pub async fn multi_platform() -> Self {
        made("multi-platform", async |dir| {
            let layout = Layout::create(dir);
            let shared = layout.add_layer(random_files(&[6 << 20]).await.path(), true).await;
            let mut images = Vec::new();
            for architecture in ["amd64", "arm64"] {
                let own = layout.add_layer(random_files(&[3 << 20, 70_000]).await.path(), true).await;
                images.push(layout.add_image(architecture, &[shared.clone(), own]).await);
            }
            let index = layout.add_index(&images).await;
            layout.finish(TAG, index);
        })
        .await
    }

    /// What every client pulls in every configuration: two platforms, the first one's layers three small ones and one
    /// of 8 MiB, which is not compressed.
    pub async fn small() -> Self {
        made("small", async |dir| small(Layout::create(dir)).await).await
    }

    /// The same with its configs and layers named by sha512.
    pub async fn sha512_blobs() -> Self {
        let by = Algorithms { manifests: "sha256", blobs: "sha512" };
        made("sha512-blobs", async |dir| small(Layout::create_by(dir, by)).await).await
    }

    /// The same with its manifests, too, named by sha512.
    pub async fn sha512() -> Self {
        let by = Algorithms { manifests: "sha512", blobs: "sha512" };
        made("sha512", async |dir| small(Layout::create_by(dir, by)).await).await
    }

    /// Three layers, the middle one with nothing in it.
    pub async fn empty_layer() -> Self {
        made("empty-layer", async |dir| {
            let layout = Layout::create(dir);
            let layers = [
                layout.add_layer(random_files(&[2 << 20]).await.path(), true).await,
                layout.add_layer(random_files(&[]).await.path(), true).await,
                layout.add_layer(random_files(&[100]).await.path(), true).await,
            ];
            let image = layout.add_image("amd64", &layers).await;
            layout.finish(TAG, image);
        })
        .await
    }

    /// One small layer and one of 64 MiB, not compressed: long enough to be in the middle of.
    pub async fn medium() -> Self {
        made("medium", async |dir| {
            let layout = Layout::create(dir);
            let layers = [
                layout.add_layer(random_files(&[1000]).await.path(), true).await,
                layout.add_layer(random_files(&[64 << 20]).await.path(), false).await,
            ];
            let image = layout.add_image("amd64", &layers).await;
            layout.finish(TAG, image);
        })
        .await
    }

    /// A layer of more than 1 GiB.
    pub async fn big() -> Self {
        made("big", async |dir| {
            let layout = Layout::create(dir);
            let layer = layout.add_layer(random_files(&[1100 << 20]).await.path(), false).await;
            let image = layout.add_image("amd64", &[layer]).await;
            layout.finish(TAG, image);
        })
        .await
    }

    /// The platform of this architecture.
    ///
    /// # Panics
    /// If there is none.
    pub fn platform(&self, architecture: &str) -> &Platform {
        let found = self.platforms.iter().find(|platform| platform.architecture == architecture);
        found.unwrap_or_else(|| panic!("no {architecture} in {}", self.layout.display()))
    }

    /// Bytes of its largest blob, and its digest.
    ///
    /// # Panics
    /// If there is none.
    pub fn largest_blob(&self) -> (String, u64) {
        let (digest, size) = self.blobs.iter().max_by_key(|(_, size)| **size).expect("an image has blobs");
        (digest.clone(), *size)
    }

    /// Reads what a layout folder says of itself.
    fn open(layout: &Path) -> Self {
        let index = read_json(&layout.join("index.json"));
        let mut image = Self {
            layout: layout.to_owned(),
            digest: index["manifests"][0]["digest"].as_str().expect("a layout names a digest").to_owned(),
            manifests: BTreeMap::new(),
            blobs: BTreeMap::new(),
            platforms: Vec::new(),
        };
        let digest = image.digest.clone();
        image.read_manifest(&digest);
        image
    }

    fn read_manifest(&mut self, digest: &str) {
        let path = self.blob_path(digest);
        self.manifests.insert(digest.to_owned(), path.metadata().expect("the manifest is there").len());
        let manifest = read_json(&path);
        if let Some(children) = manifest["manifests"].as_array() {
            for child in children {
                self.read_manifest(child["digest"].as_str().expect("a descriptor has a digest"));
            }
            return;
        }
        let entry = |descriptor: &Value| {
            let digest = descriptor["digest"].as_str().expect("a descriptor has a digest").to_owned();
            (digest, descriptor["size"].as_u64().expect("a descriptor has a size"))
        };
        let config = entry(&manifest["config"]);
        let layers: Vec<_> = manifest["layers"].as_array().expect("layers").iter().map(entry).collect();
        let settings = read_json(&self.blob_path(&config.0));
        let diff_ids = settings["rootfs"]["diff_ids"].as_array().expect("a config has diff ids");
        let blobs: BTreeMap<_, _> = std::iter::once(config).chain(layers.iter().cloned()).collect();
        self.blobs.extend(blobs.clone());
        self.platforms.push(Platform {
            architecture: settings["architecture"].as_str().expect("an architecture").to_owned(),
            manifest: digest.to_owned(),
            blobs,
            layers: layers.into_iter().map(|(digest, _)| digest).collect(),
            diff_ids: diff_ids.iter().map(|id| id.as_str().expect("a digest").to_owned()).collect(),
        });
    }

    /// The file of a blob or manifest.
    pub fn blob_path(&self, digest: &str) -> PathBuf {
        self.layout.join("blobs").join(digest.replace(':', "/"))
    }
}

async fn small(layout: Layout) {
    let mut layers = Vec::new();
    for size in [700_000, 1 << 20, 20_000] {
        layers.push(layout.add_layer(random_files(&[size]).await.path(), true).await);
    }
    let shared = layers[2].clone();
    layers.push(layout.add_layer(random_files(&[8 << 20]).await.path(), false).await);
    let images = [layout.add_image("amd64", &layers).await, layout.add_image("arm64", &[shared]).await];
    let index = layout.add_index(&images).await;
    layout.finish(TAG, index);
}

/// The tar of a Debian root file system; made by `tests/debian-root` if it is not there.
pub async fn debian_root() -> PathBuf {
    let tar = images_dir().join("debian-root.tar");
    let _lock = lock("debian-root");
    if !tar.exists() {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/debian-root");
        must_run(script, &[&tar], LIMIT).await;
    }
    tar
}

/// The image of this name; `make` writes its layout if it is not there.
async fn made(name: &str, make: impl AsyncFnOnce(&Path)) -> Image {
    let layout = images_dir().join(name);
    let _lock = lock(name);
    if !layout.join("index.json").exists() {
        let new = TempDir::with_prefix_in("new.", images_dir()).expect("a folder can be made");
        make(&new.path().join(name)).await;
        // Fails where there is none, as there should be.
        let _ = std::fs::remove_dir_all(&layout);
        std::fs::rename(new.path().join(name), &layout).expect("a folder can be moved");
    }
    Image::open(&layout)
}

/// A folder of files of these sizes in bytes, which no compressor makes smaller.
async fn random_files(sizes: &[u64]) -> TempDir {
    let dir = TempDir::with_prefix("layer.").expect("a folder can be made");
    for (at, size) in sizes.iter().enumerate() {
        let file = dir.path().join(format!("random-{at}")).display().to_string();
        must_run("sh", &["-c".into(), format!("head -c {size} /dev/urandom > {file}")], LIMIT).await;
    }
    dir
}

fn read_json(path: &Path) -> Value {
    let text = std::fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    serde_json::from_slice(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Tests run at once, in processes of their own, and may want the same image.
fn lock(name: &str) -> File {
    let file = File::create(images_dir().join(format!("{name}.lock"))).expect("a lock file can be made");
    file.lock().expect("a lock can be taken");
    file
}

fn images_dir() -> PathBuf {
    let target = std::env::var_os("CARGO_TARGET_DIR")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../target"), PathBuf::from);
    let dir = target.join("test-images");
    std::fs::create_dir_all(&dir).expect("a folder can be made");
    dir
}
