//! Debian's `docker-registry`, which writes the storage layout that a region reads.

use std::net::SocketAddr;
use std::path::Path;

use tempfile::TempDir;

use crate::daemon::Daemon;
use crate::ports;
use crate::raw_http;

/// A running `docker-registry` over a folder.
#[derive(Debug)]
pub struct DockerRegistry {
    _daemon: Daemon,
    _dir: TempDir,
    address: SocketAddr,
}

impl DockerRegistry {
    /// Starts one whose root directory is `root`, and waits until it answers.
    ///
    /// # Panics
    /// If it does not within 20 s.
    pub async fn start(root: &Path) -> Self {
        let dir = TempDir::with_prefix("docker-registry.").expect("a folder can be made");
        let address = ports::free_address();
        let config = dir.path().join("config.yml");
        let text = format!(
            "version: 0.1\nlog:\n  level: warn\n  accesslog:\n    disabled: true\n\
             storage:\n  filesystem:\n    rootdirectory: {}\nhttp:\n  addr: {address}\n",
            root.display()
        );
        std::fs::write(&config, text).expect("the folder can be written");
        let log = dir.path().join("log");
        let config = config.display().to_string();
        let mut daemon =
            Daemon::start("docker-registry", &log, "/usr/bin/docker-registry", &["serve", &config]);
        daemon
            .wait_until_ready(async || match raw_http::get(address, "/v2/").await {
                Ok(answer) if answer.status == 200 => Ok(()),
                other => Err(format!("{other:?}")),
            })
            .await;
        Self { _daemon: daemon, _dir: dir, address }
    }

    /// Where it listens, in plain HTTP.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}
