//! A Docker daemon of its own: own images, own socket, no bridge, no firewall rules.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use tempfile::TempDir;

use crate::daemon::Daemon;
use crate::run::{Failed, Ran, tail};
use crate::saved;
use crate::sha256sum;
use crate::system::System;

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
    system: System,
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
        Self::start_on(System::machine(), settings).await
    }

    /// As [`Dockerd::start_with`], of programs that lie in `system`.
    ///
    /// # Panics
    /// If it does not answer within 30 s.
    pub async fn start_on(system: System, settings: &str) -> Self {
        let dir = TempDir::with_prefix("dockerd.").expect("a folder can be made");
        let path = |name: &str| dir.path().join(name).display().to_string();
        let host = format!("unix://{}", path("docker.sock"));
        let (data, exec, pid) = (path("data"), path("exec"), path("pid"));
        let config = path("daemon.json");
        // The machine's own daemon.json is none of the test's business.
        std::fs::write(&config, settings).expect("the folder can be written");
        let (program, args) = system.command(
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
        let mut daemon = Daemon::start("dockerd", &dir.path().join("log"), &program, &args);
        daemon.wait_until_ready(async || command(&system, &host, &["version"]).await.map(drop)).await;
        Self { daemon, dir, host, system }
    }

    /// Runs the `docker` command against this daemon.
    ///
    /// # Errors
    /// [`Failed`] if the command does not succeed within 150 s.
    pub async fn docker(&self, args: &[&str]) -> Result<Ran, Failed> {
        command(&self.system, &self.host, args).await
    }

    /// Pulls an image.
    ///
    /// # Panics
    /// If that fails, with the daemon's log.
    pub async fn pull(&self, image: &str) -> Ran {
        let pulled = self.try_pull(image).await;
        pulled.unwrap_or_else(|failed| panic!("{failed}\n{}", tail(&self.daemon.log(), 4000)))
    }

    /// Pulls an image that may not be there.
    ///
    /// # Errors
    /// [`Failed`] if it does not succeed within 150 s.
    pub async fn try_pull(&self, image: &str) -> Result<Ran, Failed> {
        self.docker(&["pull", image]).await
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
        for id in self.image_ids().await {
            self.docker(&["image", "rm", "--force", &id]).await.expect("an image can be removed");
        }
        assert_eq!(self.image_ids().await, Vec::<String>::new());
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
        let archive = out.path().join("image.tar");
        let name = archive.display().to_string();
        self.docker(&["save", "--output", &name, image]).await.unwrap_or_else(|failed| panic!("{failed}"));
        saved::layers(&archive).await
    }

    /// The ids of all images.
    ///
    /// # Panics
    /// If they cannot be listed.
    pub async fn image_ids(&self) -> Vec<String> {
        let images = self.docker(&["image", "ls", "--all", "--quiet", "--no-trunc"]).await;
        let images = images.expect("images can be listed").stdout;
        let mut ids: Vec<String> = images.split_whitespace().map(str::to_owned).collect();
        ids.sort_unstable();
        ids.dedup();
        ids
    }

    /// Hashes every blob that is kept in containerd's image store; gives their digests and sizes in bytes.
    ///
    /// # Panics
    /// If a blob is not what its name says, or the image store is the classic one.
    pub async fn check_content(&self) -> BTreeMap<String, u64> {
        sha256sum::check_content(&self.dir.path().join("data/containerd/daemon")).await
    }
}

async fn command(system: &System, host: &str, args: &[&str]) -> Result<Ran, Failed> {
    let mut all = vec!["--host", host];
    all.extend_from_slice(args);
    system.run(DOCKER, &all, PULL_LIMIT).await
}
