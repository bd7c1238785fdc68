//! A real S3 server (moto's), and the ways to put objects behind it.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use dataproxy::store::s3::{S3Credential, S3Options, S3Secret, S3Store};
use tempfile::TempDir;

use crate::daemon::Daemon;
use crate::run::must_run;
use crate::{ports, raw_http, tool};

const LIMIT: Duration = Duration::from_secs(60);
/// The key pair that requests are signed with. The server takes any.
pub const KEY: (&str, &str) = ("AKIDTEST", "a-secret-of-no-worth");
/// The region that requests are signed for.
pub const REGION: &str = "us-east-1";

/// A running server, all in memory.
#[derive(Debug)]
pub struct S3Server {
    address: SocketAddr,
    _daemon: Daemon,
    dir: TempDir,
}

impl S3Server {
    /// Starts one and waits until it answers.
    ///
    /// # Panics
    /// If it does not within 30 s.
    pub async fn start() -> Self {
        let dir = TempDir::with_prefix("s3.").expect("a folder can be made");
        std::fs::write(dir.path().join("secret"), KEY.1).expect("the folder can be written");
        let address = ports::free_address();
        let (host, port) = (address.ip().to_string(), address.port().to_string());
        let program = tool::path("moto-5.2.5/bin/moto_server").display().to_string();
        let args = ["-H", &host, "-p", &port];
        let mut daemon = Daemon::start("moto_server", &dir.path().join("log"), &program, &args);
        daemon
            .wait_until_ready(async || match raw_http::get(address, "/moto-api/").await {
                Ok(answer) if answer.status == 200 => Ok(()),
                other => Err(format!("{other:?}")),
            })
            .await;
        Self { address, _daemon: daemon, dir }
    }

    /// Where it listens, as a URL.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// A file with the secret key.
    pub fn secret(&self) -> PathBuf {
        self.dir.path().join("secret")
    }

    /// The store of all its buckets.
    ///
    /// # Panics
    /// If it cannot be made.
    pub fn store(&self) -> S3Store {
        let options = S3Options {
            endpoint: Some(self.url().parse().expect("a URL")),
            region: REGION.to_owned(),
            path_style: true,
            credential: S3Credential::Key { id: KEY.0.to_owned(), secret: S3Secret::File(self.secret()) },
            ca: None,
        };
        S3Store::open(&options).expect("a store")
    }

    /// Makes a bucket.
    ///
    /// # Panics
    /// If it cannot be made.
    pub async fn make_bucket(&self, bucket: &str) {
        self.curl(&["-X", "PUT"], bucket).await;
    }

    /// Puts an object there; the first segment of its name is the bucket.
    ///
    /// # Panics
    /// If it cannot be put.
    pub async fn put(&self, name: &str, content: &Bytes) {
        let file = tempfile::NamedTempFile::new().expect("a file can be made");
        std::fs::write(file.path(), content).expect("the file can be written");
        self.put_file(name, file.path()).await;
    }

    /// Puts a file there.
    ///
    /// # Panics
    /// If it cannot be put.
    pub async fn put_file(&self, name: &str, file: &Path) {
        let file = file.display().to_string();
        self.curl(&["--upload-file", &file, "-H", "Expect:"], name).await;
    }

    /// Removes an object.
    ///
    /// # Panics
    /// If it cannot be removed.
    pub async fn remove(&self, name: &str) {
        self.curl(&["-X", "DELETE"], name).await;
    }

    async fn curl(&self, args: &[&str], name: &str) {
        let (signature, user) = (format!("aws:amz:{REGION}:s3"), format!("{}:{}", KEY.0, KEY.1));
        let url = format!("{}/{name}", self.url());
        let mut line = vec!["-sS", "--fail-with-body", "--aws-sigv4", &signature, "--user", &user];
        line.extend(["-H", "x-amz-content-sha256: UNSIGNED-PAYLOAD"]);
        line.extend(args);
        line.push(&url);
        must_run("curl", &line, LIMIT).await;
    }
}
