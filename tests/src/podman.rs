//! `podman`, with a storage of its own. Only images are pulled; no container runs.

use std::time::Duration;

use tempfile::TempDir;

use crate::access::Access;
use crate::run::{Failed, Ran};
use crate::saved;
use crate::system::System;

const LIMIT: Duration = Duration::from_secs(150);

/// A podman with no images.
#[derive(Debug)]
pub struct Podman {
    dir: TempDir,
    system: System,
}

impl Podman {
    /// One whose program lies in `system`.
    ///
    /// # Panics
    /// If its folder cannot be made.
    pub fn on(system: System) -> Self {
        Self { dir: TempDir::with_prefix("podman.").expect("a folder can be made"), system }
    }

    /// Runs `podman`.
    ///
    /// # Errors
    /// [`Failed`] if the command does not succeed within 150 s.
    pub async fn podman(&self, args: &[&str]) -> Result<Ran, Failed> {
        let path = |name: &str| self.dir.path().join(name).display().to_string();
        let (root, run, temporary) = (path("root"), path("run"), path("tmp"));
        // vfs works on every file system, and layers here are small.
        let mut all = vec!["--root", &root, "--runroot", &run, "--tmpdir", &temporary];
        all.extend(["--storage-driver=vfs", "--events-backend=none", "--cgroup-manager=cgroupfs"]);
        all.extend_from_slice(args);
        self.system.run("/usr/bin/podman", &all, LIMIT).await
    }

    /// Pulls an image.
    ///
    /// # Errors
    /// [`Failed`] if that does not succeed within 150 s.
    pub async fn pull(&self, image: &str, access: &Access) -> Result<Ran, Failed> {
        let options = access.options("");
        let mut args = vec!["pull", "--quiet"];
        args.extend(options.iter().map(String::as_str));
        args.push(image);
        self.podman(&args).await
    }

    /// Takes an image out again and hashes every layer's tar with `sha256sum`, in order: the diff ids.
    ///
    /// # Panics
    /// If that fails.
    pub async fn saved_layers(&self, image: &str) -> Vec<String> {
        let out = TempDir::with_prefix_in("saved.", self.dir.path()).expect("a folder can be made");
        let archive = out.path().join("image.tar");
        let name = archive.display().to_string();
        let args = ["save", "--quiet", "--format=docker-archive", "--output", &name, image];
        self.podman(&args).await.unwrap_or_else(|failed| panic!("{failed}"));
        saved::layers(&archive).await
    }

    /// Removes every image, so that the next pull is the client's first.
    ///
    /// # Panics
    /// If one is left.
    pub async fn forget(&self) {
        self.podman(&["rmi", "--all", "--force"]).await.expect("images can be removed");
        let left = self.podman(&["images", "--all", "--quiet"]).await.expect("images can be listed");
        assert_eq!(left.stdout.trim(), "");
    }
}
