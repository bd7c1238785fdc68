//! A containerd of its own, driven by `ctr`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tempfile::TempDir;

use crate::daemon::Daemon;
use crate::run::{Failed, Ran, run, tail};
use crate::sha256sum;

const LIMIT: Duration = Duration::from_secs(150);

/// A running containerd with no images.
#[derive(Debug)]
pub struct Containerd {
    daemon: Daemon,
    dir: TempDir,
    address: String,
}

impl Containerd {
    /// Starts one and waits until it answers.
    ///
    /// # Panics
    /// If it does not within 30 s.
    pub async fn start() -> Self {
        let dir = TempDir::with_prefix("containerd.").expect("a folder can be made");
        let at = dir.path().display();
        let config = dir.path().join("config.toml");
        let text = format!(
            "version = 2\nroot = \"{at}/root\"\nstate = \"{at}/state\"\n\
             disabled_plugins = [\"io.containerd.grpc.v1.cri\"]\n\
             [grpc]\naddress = \"{at}/sock\"\n[ttrpc]\naddress = \"{at}/sock.ttrpc\"\n"
        );
        std::fs::write(&config, text).expect("the folder can be written");
        let address = format!("{at}/sock");
        let config = config.display().to_string();
        let log = dir.path().join("log");
        let mut daemon = Daemon::start("containerd", &log, "/usr/bin/containerd", &["--config", &config]);
        daemon.wait_until_ready(async || command(&address, &["version"]).await.map(drop)).await;
        Self { daemon, dir, address }
    }

    /// Runs `ctr` against it.
    ///
    /// # Errors
    /// [`Failed`] if the command does not succeed within 150 s.
    pub async fn ctr(&self, args: &[&str]) -> Result<Ran, Failed> {
        command(&self.address, args).await
    }

    /// Pulls over plain HTTP, straight from the registry in the image's name; `options` go to `ctr images pull`.
    ///
    /// # Panics
    /// If that fails, with the daemon's log.
    pub async fn pull(&self, image: &str, options: &[&str]) -> Ran {
        let mut args = vec!["images", "pull", "--plain-http"];
        args.extend_from_slice(options);
        args.push(image);
        self.ctr(&args).await.unwrap_or_else(|failed| panic!("{failed}\n{}", tail(&self.daemon.log(), 4000)))
    }

    /// Pulls through the mirrors that `hosts` (a `certs.d` folder, see [`mirror`]) names for the image's host.
    ///
    /// # Panics
    /// If that fails, with the daemon's log.
    pub async fn pull_by_hosts(&self, image: &str, hosts: &Path) -> Ran {
        let hosts = hosts.display().to_string();
        let args = ["images", "pull", "--hosts-dir", &hosts, image];
        self.ctr(&args).await.unwrap_or_else(|failed| panic!("{failed}\n{}", tail(&self.daemon.log(), 4000)))
    }

    /// Removes every image and waits until their content is gone, so that the next pull is the client's first.
    ///
    /// # Panics
    /// If an image cannot be removed.
    pub async fn forget(&self) {
        let images = self.ctr(&["images", "ls", "--quiet"]).await.expect("images can be listed");
        for image in images.stdout.split_whitespace() {
            // `--sync` collects what the image alone held before it returns.
            self.ctr(&["images", "rm", "--sync", image]).await.expect("an image can be removed");
        }
        let left = self.ctr(&["content", "ls", "--quiet"]).await.expect("content can be listed");
        assert_eq!(left.stdout.trim(), "", "content is left");
    }

    /// Hashes every blob of the content store with `sha256sum`; gives their digests and sizes in bytes.
    ///
    /// # Panics
    /// If a blob is not what its name says.
    pub async fn check_content(&self) -> BTreeMap<String, u64> {
        let blobs = self.dir.path().join("root/io.containerd.content.v1.content/blobs/sha256");
        sha256sum::check_named_by_digest(&blobs).await
    }

    /// A folder of its own for `hosts.toml` files.
    pub fn hosts_dir(&self) -> PathBuf {
        self.dir.path().join("certs.d")
    }
}

async fn command(address: &str, args: &[&str]) -> Result<Ran, Failed> {
    let mut all = vec!["--address", address];
    all.extend_from_slice(args);
    run("/usr/bin/ctr", &all, LIMIT).await
}

/// Writes `hosts.toml` for `host` under `hosts`: pull and resolve from `mirror` (a URL) and from nowhere else.
/// As the mirror is not the image's own host, containerd adds `?ns=HOST` to what it asks. `more` is added to the
/// mirror's table (`ca = "…"`, say).
///
/// # Panics
/// If it cannot be written.
pub fn mirror(hosts: &Path, host: &str, mirror: &str, more: &str) {
    let folder = hosts.join(host);
    std::fs::create_dir_all(&folder).expect("a folder can be made");
    let text = format!(
        "server = \"{mirror}\"\n[host.\"{mirror}\"]\ncapabilities = [\"pull\", \"resolve\"]\n{more}\n"
    );
    std::fs::write(folder.join("hosts.toml"), text).expect("the folder can be written");
}
