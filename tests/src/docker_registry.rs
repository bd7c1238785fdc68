//! Debian's `docker-registry`, which writes the storage layout that a region reads, and is pulled through.

use std::net::SocketAddr;
use std::path::Path;

use tempfile::TempDir;
use tokio::net::TcpStream;

use crate::certificate::Certificate;
use crate::daemon::Daemon;
use crate::ports;

/// Who is let in.
#[derive(Clone, Debug, Default)]
pub enum Access {
    /// Everybody.
    #[default]
    Open,
    /// [`USERNAME`] with [`PASSWORD`].
    Password,
    /// Whoever shows a token of this service.
    Token {
        /// Its URL.
        realm: String,
        /// Who signs the tokens, as they say.
        issuer: String,
        /// The authorities of its certificates.
        authorities: std::path::PathBuf,
    },
}

/// The one user of [`Access::Password`].
pub const USERNAME: &str = "tester";
/// Its password.
pub const PASSWORD: &str = "U*U";
/// Who tokens are for.
pub const SERVICE: &str = "registry of a test";

/// A `docker-registry` over a folder.
#[derive(Debug)]
pub struct DockerRegistry {
    daemon: Option<Daemon>,
    dir: TempDir,
    address: SocketAddr,
}

impl DockerRegistry {
    /// Starts one that lets in everybody over plain HTTP, with the root directory `root`, and waits until it answers.
    ///
    /// # Panics
    /// If it does not within 30 s.
    pub async fn start(root: &Path) -> Self {
        Self::start_with(root, None, &Access::Open).await
    }

    /// Starts one, over TLS if there is a certificate.
    ///
    /// # Panics
    /// If it does not answer within 30 s.
    pub async fn start_with(root: &Path, certificate: Option<&Certificate>, access: &Access) -> Self {
        let dir = TempDir::with_prefix("docker-registry.").expect("a folder can be made");
        let address = ports::free_address();
        let mut text = format!(
            "version: 0.1\nlog:\n  level: warn\n  accesslog:\n    disabled: true\n\
             storage:\n  filesystem:\n    rootdirectory: {}\nhttp:\n  addr: {address}\n",
            root.display()
        );
        if let Some(certificate) = certificate {
            let (server, key) = (certificate.server.display(), certificate.key.display());
            text += &format!("  tls:\n    certificate: {server}\n    key: {key}\n");
        }
        match access {
            Access::Open => {}
            Access::Password => {
                let users = dir.path().join("htpasswd");
                // bcrypt of PASSWORD, out of the test vectors of crypt_blowfish.
                let hash = "$2a$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW";
                std::fs::write(&users, format!("{USERNAME}:{hash}\n")).expect("the folder can be written");
                text += &format!("auth:\n  htpasswd:\n    realm: test\n    path: {}\n", users.display());
            }
            Access::Token { realm, issuer, authorities } => {
                let authorities = authorities.display();
                text += &format!(
                    "auth:\n  token:\n    realm: {realm}\n    service: {SERVICE}\n    issuer: {issuer}\n    \
                     rootcertbundle: {authorities}\n"
                );
            }
        }
        std::fs::write(dir.path().join("config.yml"), text).expect("the folder can be written");
        let mut registry = Self { daemon: None, dir, address };
        registry.resume().await;
        registry
    }

    /// Starts it again, where it was.
    ///
    /// # Panics
    /// If it does not answer within 30 s.
    pub async fn resume(&mut self) {
        let config = self.dir.path().join("config.yml").display().to_string();
        let (log, address) = (self.dir.path().join("log"), self.address);
        let args = ["serve", &config];
        let mut daemon = Daemon::start("docker-registry", &log, "/usr/bin/docker-registry", &args);
        daemon.wait_until_ready(async || TcpStream::connect(address).await.map(drop)).await;
        self.daemon = Some(daemon);
    }

    /// Ends it.
    pub fn stop(&mut self) {
        self.daemon = None;
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}
