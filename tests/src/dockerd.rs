//! A Docker daemon of its own: own images, own socket, no bridge, no firewall rules.

use std::path::{Path, PathBuf};
use std::time::Duration;

use tempfile::TempDir;

use crate::daemon::Daemon;
use crate::run::{Failed, Ran, must_run, run, tail};
use crate::sha256sum;

// The client that Debian ships beside the daemon, whatever else a machine may have first on its path.
const DOCKER: &str = "/usr/bin/docker";
const PULL_LIMIT: Duration = Duration::from_secs(150);

/// A running `dockerd` with no images.
#[derive(Debug)]
pub struct Dockerd {
    // Fields drop in this order: the daemon ends before its folder goes.
    daemon: Daemon,
    dir: TempDir,
    host: String,
}

impl Dockerd {
    /// Starts one and waits until it answers.
    ///
    /// # Panics
    /// If it does not within 30 s.
    pub async fn start() -> Self {
        Self::start_with("{}").await
    }

    /// Starts one with this `daemon.json`.
    ///
    /// # Panics
    /// If it does not answer within 30 s.
    pub async fn start_with(settings: &str) -> Self {
        let dir = TempDir::with_prefix("dockerd.").expect("a folder can be made");
        let path = |name: &str| dir.path().join(name).display().to_string();
        let host = format!("unix://{}", path("docker.sock"));
        let (data, exec, pid) = (path("data"), path("exec"), path("pid"));
        let config = path("daemon.json");
        // The machine's own daemon.json is none of the test's business.
        std::fs::write(&config, settings).expect("the folder can be written");
        let mut daemon = Daemon::start(
            "dockerd",
            &dir.path().join("log"),
            "/usr/sbin/dockerd",
            &[
                "--config-file",
                &config,
                "--data-root",
                &data,
                "--exec-root",
                &exec,
                "--pidfile",
                &pid,
                "--host",
                &host,
                "--bridge=none",
                "--iptables=false",
                "--ip6tables=false",
            ],
        );
        daemon.wait_until_ready(async || command(&host, &["version"]).await.map(drop)).await;
        Self { daemon, dir, host }
    }

    /// Runs the `docker` command against this daemon.
    ///
    /// # Errors
    /// [`Failed`] if the command does not succeed within 150 s.
    pub async fn docker(&self, args: &[&str]) -> Result<Ran, Failed> {
        command(&self.host, args).await
    }

    /// Pulls an image.
    ///
    /// # Panics
    /// If that fails, with the daemon's log.
    pub async fn pull(&self, image: &str) -> Ran {
        let pulled = self.docker(&["pull", image]).await;
        pulled.unwrap_or_else(|failed| panic!("{failed}\n{}", tail(&self.daemon.log(), 4000)))
    }

    /// Pushes an image.
    ///
    /// # Panics
    /// If that fails.
    pub async fn push(&self, image: &str) -> Ran {
        self.docker(&["push", image]).await.unwrap_or_else(|failed| panic!("{failed}"))
    }

    /// Removes every image, so that the next pull is the client's first.
    ///
    /// # Panics
    /// If one is left.
    pub async fn forget(&self) {
        let images = self.docker(&["image", "ls", "--all", "--quiet"]).await.expect("images can be listed");
        let mut ids: Vec<&str> = images.stdout.split_whitespace().collect();
        ids.sort_unstable();
        ids.dedup();
        for id in ids {
            self.docker(&["image", "rm", "--force", id]).await.expect("an image can be removed");
        }
        let left = self.docker(&["image", "ls", "--all", "--quiet"]).await.expect("images can be listed");
        assert_eq!(left.stdout.trim(), "");
    }

    /// Its folder.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// The image's id: the digest of its config.
    ///
    /// # Panics
    /// If there is no such image.
    pub async fn image_id(&self, image: &str) -> String {
        let ran = self.docker(&["image", "inspect", "--format={{.Id}}", image]).await;
        ran.unwrap_or_else(|failed| panic!("{failed}")).stdout.trim().to_owned()
    }

    /// Takes the image out again (`docker save`) and hashes every layer's tar with `sha256sum`, in order. What it
    /// finds are the layers' diff ids.
    ///
    /// # Panics
    /// If that fails.
    pub async fn saved_layers(&self, image: &str) -> Vec<String> {
        let out = TempDir::with_prefix_in("saved.", self.dir.path()).expect("a folder can be made");
        let (archive, folder) = (out.path().join("image.tar"), out.path().join("image"));
        std::fs::create_dir(&folder).expect("a folder can be made");
        let name = archive.display().to_string();
        self.docker(&["save", "--output", &name, image]).await.unwrap_or_else(|failed| panic!("{failed}"));
        let folder_name = folder.display().to_string();
        must_run("tar", &["-xf", &name, "-C", &folder_name], PULL_LIMIT).await;
        let manifest = std::fs::read(folder.join("manifest.json")).expect("an archive has a manifest");
        let manifest: serde_json::Value = serde_json::from_slice(&manifest).expect("it is JSON");
        let mut digests = Vec::new();
        for layer in manifest[0]["Layers"].as_array().expect("it lists layers") {
            let path: PathBuf = folder.join(layer.as_str().expect("a layer is a path"));
            digests.push(sha256sum::of_file(&path).await);
        }
        digests
    }
}

async fn command(host: &str, args: &[&str]) -> Result<Ran, Failed> {
    let mut all = vec!["--host", host];
    all.extend_from_slice(args);
    run(DOCKER, &all, PULL_LIMIT).await
}
