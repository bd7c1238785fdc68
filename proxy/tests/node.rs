//! The binary as an operator runs it: starts that fail say why with their own exit code, a node serves pulls from
//! a folder, takes new bindings and ends when asked.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use dataproxy_cache::{Algorithm, Digest};
use rustix::process::{Pid, Signal, kill_process};

const PATIENCE: Duration = Duration::from_secs(20);

/// A port that was free a moment ago.
fn free() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

/// A folder with a configuration, bindings and a storage account of one image.
struct Setup {
    folder: tempfile::TempDir,
    pull: SocketAddr,
    admin: SocketAddr,
    layer: Vec<u8>,
}

impl Setup {
    fn new() -> Self {
        Self::with_layer(2_800_000)
    }

    fn with_layer(bytes: u32) -> Self {
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

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn write(&self, name: &str, text: impl AsRef<[u8]>) {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        let next = path.with_extension("next");
        std::fs::write(&next, text).unwrap();
        std::fs::rename(next, path).unwrap();
    }

    fn config(&self, node: &str) -> String {
        format!(
            "[node]\nname = \"a1\"\n{node}\n[listen]\npull = [\"{}\"]\n[admin]\nlisten = \"{}\"\n[bindings]\nsource = \"file\"\npath = \"bindings.json\"\n[tenancy]\npath = true\n[accounts.main]\nkind = \"local\"\npath = \"account\"\n[cache]\ndir = \"cache\"\n",
            self.pull, self.admin
        )
    }

    fn bind(&self, revision: u64, pull: &str) {
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
    fn push(&self) {
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

    fn command(&self, command: &str) -> Command {
        let mut run = Command::new(env!("CARGO_BIN_EXE_dataproxy"));
        run.arg(command).arg("--config").arg(self.path("node.toml"));
        run
    }

    fn fails(&self, code: i32, words: &str) {
        let mut running = self.spawn();
        let found = running.code();
        let stderr = std::fs::read_to_string(&running.log).unwrap();
        assert_eq!(found, Some(code), "{stderr}");
        assert!(stderr.contains(words), "{words:?} is not in {stderr}");
    }

    fn spawn(&self) -> Running {
        let log = std::fs::File::create(self.path("log")).unwrap();
        let child = self.command("serve").stdout(Stdio::null()).stderr(log).spawn().unwrap();
        Running { child, log: self.path("log") }
    }

    fn start(&self) -> Running {
        let running = self.spawn();
        eventually(&running.log, "ready", || {
            get(self.admin, "/readyz").is_some_and(|ready| ready.status == 200)
        });
        running
    }
}

fn eventually(log: &Path, what: &str, mut check: impl FnMut() -> bool) {
    let start = Instant::now();
    while !check() {
        let log = || std::fs::read_to_string(log).unwrap_or_default();
        assert!(start.elapsed() < PATIENCE, "not in time: {what}\n{}", log());
        std::thread::park_timeout(Duration::from_millis(10));
    }
}

struct Running {
    child: Child,
    log: PathBuf,
}

impl Running {
    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    fn code(&mut self) -> Option<i32> {
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

struct Got {
    status: u16,
    head: String,
    body: Vec<u8>,
}

fn request(stream: &mut TcpStream, path: &str, headers: &str) {
    let text = format!("GET {path} HTTP/1.1\r\nhost: 127.0.0.1\r\nconnection: close\r\n{headers}\r\n");
    stream.write_all(text.as_bytes()).unwrap();
}

fn read(mut stream: TcpStream) -> Option<Got> {
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut all = Vec::new();
    stream.read_to_end(&mut all).ok()?;
    let end = all.windows(4).position(|four| four == b"\r\n\r\n")? + 4;
    let head = String::from_utf8(all[..end].to_vec()).unwrap();
    let status = head.split(' ').nth(1)?.parse().ok()?;
    Some(Got { status, head, body: all[end..].to_vec() })
}

fn get(at: SocketAddr, path: &str) -> Option<Got> {
    let mut stream = TcpStream::connect(at).ok()?;
    request(&mut stream, path, "");
    read(stream)
}

#[test]
fn a_start_that_fails_says_why_with_its_own_exit_code() {
    let setup = Setup::new();
    setup.write("node.toml", setup.config("colour = 1\n"));
    setup.fails(78, "node.toml:3: node.colour: unknown setting `colour`");

    setup.write("node.toml", setup.config("stamp = \"a\"\n"));
    let taken = TcpListener::bind(setup.pull).unwrap();
    setup.fails(69, &format!("{} cannot be listened on (listen.pull)", setup.pull));
    drop(taken);

    setup.write("bindings.json", "{\n  \"revision\": \"one\"\n}");
    setup.fails(66, "bindings.json:2:");
    std::fs::remove_file(setup.path("bindings.json")).unwrap();
    setup.fails(66, "bindings.json: the bindings file cannot be read");

    setup.bind(1, "anonymous");
    std::fs::rename(setup.path("account"), setup.path("away")).unwrap();
    setup.fails(73, "accounts.main.path: the storage folder");
    std::fs::rename(setup.path("away"), setup.path("account")).unwrap();

    setup.write("cache", "a file where a folder should be");
    setup.fails(73, "cache.dir: ");

    let usage = Command::new(env!("CARGO_BIN_EXE_dataproxy")).arg("srve").output().unwrap();
    assert_eq!(usage.status.code(), Some(2));
}

#[test]
fn a_check_of_reach_tries_every_placement_and_ends_with_68_if_one_cannot_be_served() {
    let setup = Setup::new();
    let Output { status, stdout, .. } = setup.command("check").arg("--reach").output().unwrap();
    let said = String::from_utf8(stdout).unwrap();
    assert_eq!(status.code(), Some(0), "{said}");
    let row = said.lines().find(|line| line.starts_with("contoso ")).expect("a row");
    assert!(row.contains("main") && row.contains("reachable"), "{said}");
    assert!(said.ends_with("this node can serve every registry\n"), "{said}");
    let bindings = std::fs::read_to_string(setup.path("bindings.json")).unwrap();
    setup.write("bindings.json", bindings.replace("\"account\": \"main\"", "\"account\": \"elsewhere\""));
    let Output { status, stdout, .. } = setup.command("check").arg("--reach").output().unwrap();
    let said = String::from_utf8(stdout).unwrap();
    assert_eq!(status.code(), Some(68), "{said}");
    assert!(said.contains("not_configured  add an [accounts] section of this name"), "{said}");
    assert!(said.ends_with("this node cannot serve: contoso\n"), "{said}");
}

#[test]
fn a_check_says_what_a_node_would_do_and_opens_no_socket() {
    let setup = Setup::new();
    let _taken = TcpListener::bind(setup.pull).unwrap();
    let Output { status, stdout, .. } = setup.command("check").output().unwrap();
    let stdout = String::from_utf8(stdout).unwrap();
    assert_eq!(status.code(), Some(0));
    for words in [
        "node a1 of stamp a, in region local, for *.registry.test".to_owned(),
        format!("pulls at http://{}/", setup.pull),
        "revision 1, 1 stamps, 1 registries".to_owned(),
    ] {
        assert!(stdout.contains(&words), "{words:?} is not in {stdout}");
    }
    setup.write("bindings.json", "");
    assert_eq!(setup.command("check").output().unwrap().status.code(), Some(66));
}

#[test]
fn a_node_serves_pulls_from_a_folder_and_is_seen_doing_it() {
    let setup = Setup::new();
    let mut running = setup.start();
    let manifest = get(setup.pull, "/v2/contoso/app/manifests/v1").unwrap();
    assert_eq!(manifest.status, 200, "{}", manifest.head);
    let manifest: serde_json::Value = serde_json::from_slice(&manifest.body).unwrap();
    let layer = format!("/v2/contoso/app/blobs/{}", manifest["layers"][0]["digest"].as_str().unwrap());
    for _ in 0..2 {
        let blob = get(setup.pull, &layer).unwrap();
        assert_eq!(blob.status, 200, "{}", blob.head);
        assert!(blob.body == setup.layer, "{} bytes, {}", blob.body.len(), blob.head);
    }
    let mut stream = TcpStream::connect(setup.pull).unwrap();
    request(&mut stream, &layer, "range: bytes=1048570-1048581\r\n");
    let part = read(stream).unwrap();
    assert_eq!(part.status, 206, "{}", part.head);
    assert_eq!(part.body, setup.layer[1_048_570..=1_048_581]);

    let metrics = String::from_utf8(get(setup.admin, "/metrics").unwrap().body).unwrap();
    for name in
        ["dataproxy_requests_total{", "dataproxy_cache_origin_bytes_total", "dataproxy_anonymous_bytes "]
    {
        assert!(metrics.contains(&format!("\n{name}")), "no {name} in\n{metrics}");
    }
    // Lines go out together, a moment after what they tell of.
    eventually(&running.log, "an access line", || {
        let access = std::fs::read_to_string(&running.log).unwrap();
        access.lines().any(|line| line.contains(" access: ") && line.contains("registry=\"contoso\""))
    });

    running.signal(Signal::TERM);
    assert_eq!(running.code(), Some(0));
}

#[test]
fn new_bindings_are_in_force_within_a_second() {
    let setup = Setup::new();
    let running = setup.start();
    assert_eq!(get(setup.pull, "/v2/contoso/app/manifests/v1").unwrap().status, 200);
    let start = Instant::now();
    setup.bind(2, "denied");
    eventually(&running.log, "denied", || {
        get(setup.pull, "/v2/contoso/app/manifests/v1").unwrap().status == 403
    });
    assert!(start.elapsed() < Duration::from_secs(1), "{:?}", start.elapsed());
    let bindings: serde_json::Value =
        serde_json::from_slice(&get(setup.admin, "/v1/bindings").unwrap().body).unwrap();
    assert_eq!(bindings["revision"], 2);
}

#[test]
fn a_second_signal_cuts_what_still_runs_and_says_so() {
    // Far more than the sockets hold, so that the response runs for as long as nobody reads it.
    let setup = Setup::with_layer(128 << 20);
    let mut running = setup.start();
    let mut stream = TcpStream::connect(setup.pull).unwrap();
    let layer = Digest::of(Algorithm::Sha256, &setup.layer);
    request(&mut stream, &format!("/v2/contoso/app/blobs/{layer}"), "");
    stream.peek(&mut [0]).unwrap();
    running.signal(Signal::TERM);
    eventually(&running.log, "draining", || {
        let ready = get(setup.admin, "/readyz").unwrap();
        ready.status == 503 && String::from_utf8_lossy(&ready.body).contains("draining")
    });
    assert_eq!(
        get(setup.pull, "/v2/contoso/app/manifests/v1").unwrap().status,
        200,
        "a draining node serves"
    );
    running.signal(Signal::TERM);
    assert_eq!(running.code(), Some(3));
    let short = read(stream).expect("FIN, not RST");
    assert_eq!(short.status, 200);
    assert!(short.body.len() < setup.layer.len());
    assert!(setup.layer.starts_with(&short.body));
}

#[test]
fn an_idle_node_ends_at_once() {
    let setup = Setup::new();
    let mut running = setup.start();
    let start = Instant::now();
    running.signal(Signal::INT);
    assert_eq!(running.code(), Some(0));
    assert!(start.elapsed() < Duration::from_secs(2), "{:?}", start.elapsed());
}

#[test]
fn a_front_door_forwards_to_the_node_and_outlives_it() {
    let setup = Setup::new();
    let mut node = setup.start();
    let (pull, admin) = (free(), free());
    let front = Setup { pull, admin, ..Setup::new() };
    front.write("node.toml", front.config(""));
    front.write("bindings.json", std::fs::read(setup.path("bindings.json")).unwrap());
    let _front = front.start();
    let got = get(front.pull, "/v2/contoso/app/manifests/v1").unwrap();
    assert_eq!(got.status, 200, "{}", got.head);
    node.signal(Signal::KILL);
    node.code();
    let node = setup.start();
    eventually(&node.log, "forwarded again", || {
        get(front.pull, "/v2/contoso/app/manifests/v1").is_some_and(|got| got.status == 200)
    });
}

#[test]
fn a_signal_ends_a_node_that_still_starts() {
    // A node that takes a connection and says nothing: the front door waits for its first look at it.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let setup = Setup { admin: silent.local_addr().unwrap(), ..Setup::new() };
    setup.bind(1, "anonymous");
    let front = Setup { pull: free(), admin: free(), ..Setup::new() };
    front.write("node.toml", front.config("") + "[front]\nconnect_timeout = \"1h\"\n");
    front.write("bindings.json", std::fs::read(setup.path("bindings.json")).unwrap());
    let mut running = front.spawn();
    let _looked_at = silent.accept().unwrap();
    running.signal(Signal::TERM);
    assert_eq!(running.code(), Some(0));
}
