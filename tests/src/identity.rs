//! A scripted identity service: the metadata service of a machine, and the token endpoint that a federated token is
//! taken to. Its tokens are what Azurite takes: not validly signed, for the right audience, soon expired.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use tempfile::TempDir;
use tokio::net::TcpStream;

use crate::certificate::Certificate;
use crate::daemon::Daemon;
use crate::ports;

const SCRIPT: &str = include_str!("identity.js");

/// A running identity service.
#[derive(Debug)]
pub struct Identity {
    daemon: Daemon,
    plain: SocketAddr,
    tls: SocketAddr,
    _dir: TempDir,
}

impl Identity {
    /// Starts one whose tokens are good for `life`, in whole seconds, and that takes `assertion` as a federated token.
    ///
    /// # Panics
    /// If it is not ready within 30 s.
    pub async fn start(certificate: &Certificate, life: Duration, assertion: &str) -> Self {
        let dir = TempDir::with_prefix("identity.").expect("a folder can be made");
        let ip = IpAddr::V4(Ipv4Addr::LOCALHOST);
        let port = ports::free_ports(&[ip], 2);
        let (plain, tls) = (SocketAddr::new(ip, port), SocketAddr::new(ip, port + 1));
        let args = [
            "-e".to_owned(),
            SCRIPT.to_owned(),
            port.to_string(),
            certificate.server.display().to_string(),
            certificate.key.display().to_string(),
            life.as_secs().to_string(),
            assertion.to_owned(),
        ];
        let mut daemon = Daemon::start("identity", &dir.path().join("log"), "node", &args);
        for address in [plain, tls] {
            daemon.wait_until_ready(async || TcpStream::connect(address).await.map(drop)).await;
        }
        Self { daemon, plain, tls, _dir: dir }
    }

    /// Where the metadata service answers.
    pub fn metadata(&self) -> String {
        format!("http://{}", self.plain)
    }

    /// Where tokens are issued for federated ones.
    pub fn authority(&self) -> String {
        format!("https://{}", self.tls)
    }

    /// What it did, one line each: `metadata`, `federated`, `refused` and why.
    pub fn done(&self) -> Vec<String> {
        self.daemon.log().lines().map(str::to_owned).collect()
    }
}
