//! A containerd of its own, driven by `ctr`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tempfile::TempDir;

use crate::access::Access;
use crate::daemon::Daemon;
use crate::run::{Failed, Ran, tail};
use crate::sha256sum;
use crate::system::System;

const LIMIT: Duration = Duration::from_secs(150);

/// A running containerd with no images.
#[derive(Debug)]
pub struct Containerd {
    daemon: Daemon,
    dir: TempDir,
    address: String,
    system: System,
}

impl Containerd {
    /// Starts one and waits until it answers.
    ///
    /// # Panics
    /// If it does not within 30 s.
    pub async fn start() -> Self {
        Self::start_on(System::machine()).await
    }

    /// As [`Containerd::start`], of programs that lie in `system`.
    ///
    /// # Panics
    /// If it does not within 30 s.
    pub async fn start_on(system: System) -> Self {
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
        let (program, args) = system.command("/usr/bin/containerd", &["--config", &config]);
        let mut daemon = Daemon::start("containerd", &log, &program, &args);
        daemon.wait_until_ready(async || command(&system, &address, &["version"]).await.map(drop)).await;
        Self { daemon, dir, address, system }
    }

    /// Runs `ctr` against it.
    ///
    /// # Errors
    /// [`Failed`] if the command does not succeed within 150 s.
    pub async fn ctr(&self, args: &[&str]) -> Result<Ran, Failed> {
        command(&self.system, &self.address, args).await
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

    /// Pulls an image that may not be there.
    ///
    /// # Errors
    /// [`Failed`] if it does not succeed within 150 s.
    pub async fn try_pull(&self, image: &str, access: &Access) -> Result<Ran, Failed> {
        let host = image.split('/').next().unwrap_or_default();
        let hosts = self.hosts_dir();
        match access {
            Access::Plain => return self.ctr(&["images", "pull", "--plain-http", image]).await,
            Access::Tls { authority } => {
                let authority = authority.join("ca.crt");
                mirror(
                    &hosts,
                    host,
                    &format!("https://{host}"),
                    &format!("ca = \"{}\"", authority.display()),
                );
            }
            Access::Mirror { url } => mirror(&hosts, host, url, ""),
        }
        self.ctr(&["images", "pull", "--hosts-dir", &hosts.display().to_string(), image]).await
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
        sha256sum::check_content(&self.dir.path().join("root")).await
    }

    /// A folder of its own for `hosts.toml` files.
    pub fn hosts_dir(&self) -> PathBuf {
        self.dir.path().join("certs.d")
    }
}

async fn command(system: &System, address: &str, args: &[&str]) -> Result<Ran, Failed> {
    let mut all = vec!["--address", address];
    all.extend_from_slice(args);
    system.run("/usr/bin/ctr", &all, LIMIT).await
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
