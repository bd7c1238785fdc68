//! A node of the real binary on a folder of its own, and the least of an HTTP client.

#![allow(dead_code, reason = "each test takes what it needs")]

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use dataproxy_cache::{Algorithm, Digest};
use rustix::process::{Pid, Signal, kill_process};

pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// A port that was free a moment ago.
pub(crate) fn free() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

/// A folder with a configuration, bindings and a storage account of one image.
pub(crate) struct Setup {
    pub(crate) folder: tempfile::TempDir,
    pub(crate) pull: SocketAddr,
    pub(crate) admin: SocketAddr,
    pub(crate) layer: Vec<u8>,
}

impl Setup {
    pub(crate) fn new() -> Self {
        Self::with_layer(2_800_000)
    }

    pub(crate) fn with_layer(bytes: u32) -> Self {
        let setup = Self {
            folder: tempfile::tempdir().unwrap(),
            pull: free(),
            admin: free(),
            layer: (0..bytes / 4).flat_map(|n| n.wrapping_mul(2_654_435_761).to_le_bytes()).collect(),
        };
        setup.push();
        setup.bind(1, "anonymous");
        setup.write("node.toml", setup.config("stamp = \"a\"\n"));
        setup
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn write(&self, name: &str, text: impl AsRef<[u8]>) {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        let next = path.with_extension("next");
        std::fs::write(&next, text).unwrap();
        std::fs::rename(next, path).unwrap();
    }

    pub(crate) fn config(&self, node: &str) -> String {
        self.config_draining(node, "lame_duck = \"0s\"\n")
    }

    /// With these lines of `[drain]`.
    pub(crate) fn config_draining(&self, node: &str, drain: &str) -> String {
        format!(
            "[node]\nname = \"a1\"\n{node}\n[listen]\npull = [\"{}\"]\n[admin]\nlisten = \"{}\"\n[bindings]\nsource = \"file\"\npath = \"bindings.json\"\n[tenancy]\npath = true\n[accounts.main]\nkind = \"local\"\npath = \"account\"\n[cache]\ndir = \"cache\"\n[control]\nlisten = \"unix:control\"\n[drain]\n{drain}",
            self.pull, self.admin
        )
    }

    pub(crate) fn bind(&self, revision: u64, pull: &str) {
        let text = format!(
            r#"{{"revision": {revision}, "region": "local",
                "stamps": [{{"name": "a", "nodes": [{{"name": "a1", "address": "{}", "admin": "{}"}}]}}],
                "bindings": [{{"registry": "contoso", "home_stamp": "a", "epoch": 1, "pull": "{pull}",
                    "placement": {{"account": "main", "container": "c"}}}}]}}"#,
            self.pull, self.admin
        );
        self.write("bindings.json", text);
    }

    /// Puts `app:v1` into the account in the layout of CNCF distribution.
    pub(crate) fn push(&self) {
        let root = "account/c/docker/registry/v2";
        let put = |content: &[u8], link: &str| {
            let digest = Digest::of(Algorithm::Sha256, content);
            let hex = digest.hex();
            self.write(&format!("{root}/blobs/sha256/{}/{hex}/data", &hex[..2]), content);
            self.write(&format!("{root}/repositories/app/{link}/sha256/{hex}/link"), digest.to_string());
            digest
        };
        let config = b"{}";
        let (config_digest, layer_digest) = (put(config, "_layers"), put(&self.layer, "_layers"));
        let manifest = format!(
            r#"{{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":{{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"{config_digest}","size":2}},"layers":[{{"mediaType":"application/vnd.oci.image.layer.v1.tar","digest":"{layer_digest}","size":{}}}]}}"#,
            self.layer.len()
        );
        let digest = put(manifest.as_bytes(), "_manifests/revisions");
        self.write(&format!("{root}/repositories/app/_manifests/tags/v1/current/link"), digest.to_string());
    }

    pub(crate) fn command(&self, command: &str) -> Command {
        let mut run = Command::new(env!("CARGO_BIN_EXE_dataproxy"));
        run.arg(command).arg("--config").arg(self.path("node.toml"));
        run
    }

    pub(crate) fn fails(&self, code: i32, words: &str) {
        let mut running = self.spawn();
        let found = running.code();
        let stderr = std::fs::read_to_string(&running.log).unwrap();
        assert_eq!(found, Some(code), "{stderr}");
        assert!(stderr.contains(words), "{words:?} is not in {stderr}");
    }

    pub(crate) fn spawn(&self) -> Running {
        let log = std::fs::File::create(self.path("log")).unwrap();
        let child = self.command("serve").stdout(Stdio::null()).stderr(log).spawn().unwrap();
        Running { child, log: self.path("log") }
    }

    pub(crate) fn start(&self) -> Running {
        let running = self.spawn();
        eventually(&running.log, "ready", || {
            get(self.admin, "/readyz").is_some_and(|ready| ready.status == 200)
        });
        running
    }
}

pub(crate) fn eventually(log: &Path, what: &str, mut check: impl FnMut() -> bool) {
    let start = Instant::now();
    while !check() {
        let log = || std::fs::read_to_string(log).unwrap_or_default();
        assert!(start.elapsed() < PATIENCE, "not in time: {what}\n{}", log());
        std::thread::park_timeout(Duration::from_millis(10));
    }
}

pub(crate) struct Running {
    pub(crate) child: Child,
    pub(crate) log: PathBuf,
}

impl Running {
    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    pub(crate) fn code(&mut self) -> Option<i32> {
        let (child, log) = (&mut self.child, self.log.clone());
        let mut status = None;
        eventually(&log, "exit", || {
            status = child.try_wait().unwrap();
            status.is_some()
        });
        status.unwrap().code()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub(crate) struct Got {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
}

pub(crate) fn request(stream: &mut TcpStream, path: &str, headers: &str) {
    let text = format!("GET {path} HTTP/1.1\r\nhost: 127.0.0.1\r\nconnection: close\r\n{headers}\r\n");
    stream.write_all(text.as_bytes()).unwrap();
}

pub(crate) fn read(mut stream: TcpStream) -> Option<Got> {
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut all = Vec::new();
    stream.read_to_end(&mut all).ok()?;
    let end = all.windows(4).position(|four| four == b"\r\n\r\n")? + 4;
    let head = String::from_utf8(all[..end].to_vec()).unwrap();
    let status = head.split(' ').nth(1)?.parse().ok()?;
    Some(Got { status, head, body: all[end..].to_vec() })
}

pub(crate) fn get(at: SocketAddr, path: &str) -> Option<Got> {
    let mut stream = TcpStream::connect(at).ok()?;
    request(&mut stream, path, "");
    read(stream)
}
