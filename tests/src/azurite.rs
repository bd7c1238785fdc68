//! Azurite, the emulator of Azure Blob, with accounts of the test's own, and what a user of it would make with
//! other tools: a SAS, a URL fetched by somebody who has no part in this project.

use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use tempfile::TempDir;
use tokio::net::TcpStream;

use crate::certificate::{self, Certificate};
use crate::daemon::Daemon;
use crate::ports;
use crate::run::must_run;

const LIMIT: Duration = Duration::from_secs(30);

/// Makes an account SAS for reading and listing, as "Create an account SAS" of the Azure Storage reference says.
const SAS_SCRIPT: &str = r#"
const [account, key, expiry] = process.argv.slice(1);
const fields = { sv: '2021-12-02', ss: 'b', srt: 'sco', sp: 'rl', se: expiry };
const text = [account, fields.sp, fields.ss, fields.srt, '', fields.se, '', '', fields.sv, '', ''].join('\n');
const hmac = require('crypto').createHmac('sha256', Buffer.from(key, 'base64'));
fields.sig = hmac.update(text).digest('base64');
console.log(new URLSearchParams(fields).toString());
"#;

/// Fetches a URL and prints the status, then the body's SHA-256.
const FETCH_SCRIPT: &str = r#"
const [url, ca] = process.argv.slice(1);
const options = ca ? { ca: require('fs').readFileSync(ca) } : {};
require(url.startsWith('https') ? 'https' : 'http').get(url, options, (answer) => {
  const hash = require('crypto').createHash('sha256');
  answer.on('data', (piece) => hash.update(piece));
  answer.on('end', () => console.log(answer.statusCode, hash.digest('hex')));
});
"#;

/// A running Azurite.
#[derive(Debug)]
pub struct Azurite {
    daemon: Daemon,
    address: SocketAddr,
    certificate: Option<Certificate>,
    dir: TempDir,
}

impl Azurite {
    /// Starts one with these accounts, plain HTTP.
    ///
    /// # Panics
    /// If it is not ready within 30 s.
    pub async fn start(accounts: &[&str]) -> Self {
        Self::start_as(accounts, false).await
    }

    /// Starts one with these accounts, TLS, which takes tokens of an identity too.
    ///
    /// # Panics
    /// If it is not ready within 30 s.
    pub async fn start_tls(accounts: &[&str]) -> Self {
        Self::start_as(accounts, true).await
    }

    async fn start_as(accounts: &[&str], tls: bool) -> Self {
        let dir = TempDir::with_prefix("azurite.").expect("a folder can be made");
        let ip = IpAddr::V4(Ipv4Addr::LOCALHOST);
        let address = SocketAddr::new(ip, ports::free_port(&[ip]));
        let certificate = tls.then(|| certificate::make(&dir.path().join("tls"), &[ip]));
        let mut known = "AZURITE_ACCOUNTS=".to_owned();
        for account in accounts {
            let _ = write!(known, "{account}:{};", key(account));
        }
        let port = address.port().to_string();
        let mut args = vec![known, "azurite-blob".to_owned()];
        // The SDK speaks a newer version of the service than any Azurite knows.
        args.extend(
            ["--inMemoryPersistence", "--disableTelemetry", "--skipApiVersionCheck"].map(str::to_owned),
        );
        args.extend(["--blobHost", "127.0.0.1", "--blobPort", &port].map(str::to_owned));
        if let Some(certificate) = &certificate {
            let path = |path: &Path| path.display().to_string();
            args.extend(["--oauth".to_owned(), "basic".to_owned()]);
            args.extend(["--cert".to_owned(), path(&certificate.server)]);
            args.extend(["--key".to_owned(), path(&certificate.key)]);
        }
        let mut daemon = Daemon::start("azurite", &dir.path().join("log"), "env", &args);
        daemon.wait_until_ready(async || TcpStream::connect(address).await.map(drop)).await;
        Self { daemon, address, certificate, dir }
    }

    /// Where an account is.
    pub fn endpoint(&self, account: &str) -> String {
        let scheme = if self.certificate.is_some() { "https" } else { "http" };
        format!("{scheme}://{}/{account}", self.address)
    }

    /// The authority that vouches for it, where it speaks TLS.
    pub fn authority(&self) -> Option<PathBuf> {
        self.certificate.as_ref().map(|certificate| certificate.authority.clone())
    }

    /// Its certificate, where it speaks TLS.
    ///
    /// # Panics
    /// If it does not.
    pub fn certificate(&self) -> &Certificate {
        self.certificate.as_ref().expect("it speaks TLS")
    }

    /// A file with the account's key.
    ///
    /// # Panics
    /// If it cannot be written.
    pub fn key_file(&self, account: &str) -> PathBuf {
        self.file(&format!("{account}.key"), &key(account))
    }

    /// A file with a SAS that reads and lists the account until the year 2999.
    ///
    /// # Panics
    /// If it cannot be made.
    pub async fn sas_file(&self, account: &str) -> PathBuf {
        let sas = sas(account, "2999-01-01T00:00:00Z").await;
        self.file(&format!("{account}.sas"), &sas)
    }

    /// The lines of its access log that hold this text.
    pub fn accesses(&self, text: &str) -> Vec<String> {
        self.daemon.log().lines().filter(|line| line.contains(text)).map(str::to_owned).collect()
    }

    fn file(&self, name: &str, text: &str) -> PathBuf {
        let path = self.dir.path().join(name);
        std::fs::write(&path, text).expect("a file can be written");
        path
    }
}

/// The key of an account of a test: made of its name, so that it is told from another's.
pub fn key(account: &str) -> String {
    // Any base64 will do; names of accounts hold nothing else.
    let mut key = account.repeat(64);
    key.truncate(84);
    format!("{key}AAA=")
}

/// A SAS that reads and lists an account until `expiry`.
///
/// # Panics
/// If it cannot be made.
pub async fn sas(account: &str, expiry: &str) -> String {
    let key = key(account);
    must_run("node", &["-e", SAS_SCRIPT, account, &key, expiry], LIMIT).await.stdout.trim().to_owned()
}

/// The status of a GET of `url`, and the SHA-256 of what came.
///
/// # Panics
/// If there is no answer.
pub async fn fetch(url: &str, authority: Option<&Path>) -> (u16, String) {
    let authority = authority.map_or_else(String::new, |path| path.display().to_string());
    let printed = must_run("node", &["-e", FETCH_SCRIPT, url, &authority], LIMIT).await.stdout;
    let (status, hash) = printed.trim().split_once(' ').expect("a status and a hash");
    (status.parse().expect("a number"), hash.to_owned())
}
