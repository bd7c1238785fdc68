//! What every promise asks of a real client: pull, prove that the bytes are right, forget.

use std::path::PathBuf;
use std::time::Duration;

use tempfile::TempDir;

use crate::containerd::Containerd;
use crate::dockerd::Dockerd;
use crate::image::Image;
use crate::skopeo;

/// The architecture that docker and containerd pull of a multi-platform image.
pub const ARCHITECTURE: &str = "amd64";

/// A real client with nothing pulled yet.
pub trait Client: Sized {
    /// Its name, for what is printed.
    const NAME: &'static str;

    /// Starts one.
    fn start() -> impl Future<Output = Self>;

    /// Pulls `name` over plain HTTP and finds each layer, hashed by `sha256sum`, to be that of `image`. Gives the
    /// time of the pull alone. Panics if the pull fails or a byte is wrong.
    fn pull(&self, name: &str, image: &Image) -> impl Future<Output = Duration>;

    /// Forgets all that it pulled, so that the next pull is the client's first.
    fn forget(&self) -> impl Future<Output = ()>;

    /// The blobs of `image` that it fetches: bytes in all.
    fn wanted_bytes(image: &Image) -> u64;
}

impl Client for Dockerd {
    const NAME: &'static str = "docker";

    async fn start() -> Self {
        Self::start().await
    }

    async fn pull(&self, name: &str, image: &Image) -> Duration {
        let took = self.pull(name).await.took;
        assert_eq!(self.saved_layers(name).await, image.platform(ARCHITECTURE).diff_ids, "{name}");
        took
    }

    async fn forget(&self) {
        self.forget().await;
    }

    fn wanted_bytes(image: &Image) -> u64 {
        image.platform(ARCHITECTURE).blobs.values().sum()
    }
}

impl Client for Containerd {
    const NAME: &'static str = "containerd";

    async fn start() -> Self {
        Self::start().await
    }

    async fn pull(&self, name: &str, image: &Image) -> Duration {
        let took = self.pull(name, &[]).await.took;
        self.check(image).await;
        took
    }

    async fn forget(&self) {
        self.forget().await;
    }

    fn wanted_bytes(image: &Image) -> u64 {
        Dockerd::wanted_bytes(image)
    }
}

impl Containerd {
    /// Finds every blob of `image` for this platform in the content store, each hashed by `sha256sum`.
    ///
    /// # Panics
    /// If one is missing or wrong.
    pub async fn check(&self, image: &Image) {
        let content = self.check_content().await;
        for (digest, size) in &image.platform(ARCHITECTURE).blobs {
            assert_eq!(content.get(digest), Some(size), "{digest} among {content:?}");
        }
    }
}

/// `skopeo`, each of whose pulls goes into a folder of its own.
#[derive(Debug)]
pub struct Skopeo {
    dir: TempDir,
}

impl Skopeo {
    /// A folder for the next pull, empty.
    pub fn folder(&self) -> PathBuf {
        self.dir.path().join("image")
    }
}

impl Client for Skopeo {
    const NAME: &'static str = "skopeo";

    async fn start() -> Self {
        Self { dir: TempDir::with_prefix("skopeo.").expect("a folder can be made") }
    }

    async fn pull(&self, name: &str, image: &Image) -> Duration {
        let (blobs, took) = skopeo::pull(name, &self.folder()).await;
        assert_eq!(blobs, image.blobs, "{name}");
        took
    }

    async fn forget(&self) {
        std::fs::remove_dir_all(self.folder()).expect("the folder can be removed");
    }

    fn wanted_bytes(image: &Image) -> u64 {
        image.blobs.values().sum()
    }
}
