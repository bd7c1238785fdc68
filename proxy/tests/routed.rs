//! The binary with a router: it waits for one, works from what it has while that is away, tells of itself, and ends
//! when it is asked to.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use dataproxy_cache::{Algorithm, Digest};
use dataproxy_router_api::{NodeReport, NodeState};
use serde_json::{Value, json};

const PATIENCE: Duration = Duration::from_secs(20);

/// A port that was free a moment ago.
fn free() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

#[derive(Default)]
struct Script {
    /// What streams say: the whole, each time it changes. No stream is answered without it.
    whole: Option<Value>,
    reports: Vec<NodeReport>,
    is_away: bool,
}

/// A router that takes what comes, a thread for each connection.
struct Router {
    address: SocketAddr,
    script: Arc<Mutex<Script>>,
}

impl Router {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let router = Self { address: listener.local_addr().unwrap(), script: Arc::default() };
        let script = Arc::clone(&router.script);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let script = Arc::clone(&script);
                // A connection that breaks is the node's to mind.
                std::thread::spawn(move || drop(answer(stream.unwrap(), &script)));
            }
        });
        router
    }

    fn says(&self, whole: Value) {
        self.script.lock().unwrap().whole = Some(whole);
    }

    fn is_away(&self, is_away: bool) {
        self.script.lock().unwrap().is_away = is_away;
    }

    fn last_report(&self) -> Option<NodeReport> {
        self.script.lock().unwrap().reports.last().cloned()
    }
}

fn answer(stream: TcpStream, script: &Mutex<Script>) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    let (mut writer, mut first, mut length) = (stream, String::new(), 0);
    reader.read_line(&mut first)?;
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line)? <= 2 {
            break;
        }
        if let Some((name, value)) = line.split_once(':')
            && name.eq_ignore_ascii_case("content-length")
        {
            length = value.trim().parse().unwrap();
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    if script.lock().unwrap().is_away {
        return Ok(());
    }
    if first.starts_with("POST /v1/nodes/a1/report ") {
        script.lock().unwrap().reports.push(serde_json::from_slice(&body).unwrap());
        let text = r#"{"revision": 1, "again_ms": 100}"#;
        let length = text.len();
        return write!(
            writer,
            "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n{text}"
        );
    }
    assert!(first.starts_with("GET /v1/watch"), "{first}");
    writer.write_all(b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n")?;
    let mut said = None;
    loop {
        let (whole, is_away) = {
            let script = script.lock().unwrap();
            (script.whole.clone(), script.is_away)
        };
        if is_away {
            return Ok(());
        }
        match whole {
            Some(whole) if said.as_ref() != Some(&whole) => {
                write!(writer, "event: snapshot\ndata: {whole}\n\n")?;
                said = Some(whole);
            }
            _ => writer.write_all(b":\n\n")?,
        }
        std::thread::park_timeout(Duration::from_millis(20));
    }
}

/// A node's folder, with a blob of `contoso` in a storage account.
struct Setup {
    folder: tempfile::TempDir,
    pull: SocketAddr,
    admin: SocketAddr,
    blob: Digest,
}

impl Setup {
    fn new(router: &Router) -> Self {
        let blob = Digest::of(Algorithm::Sha256, b"layer");
        let setup = Self { folder: tempfile::tempdir().unwrap(), pull: free(), admin: free(), blob };
        let (root, hex) = ("account/c/docker/registry/v2", setup.blob.hex());
        setup.write(&format!("{root}/blobs/sha256/{}/{hex}/data", &hex[..2]), "layer");
        setup.write(&format!("{root}/repositories/app/_layers/sha256/{hex}/link"), &setup.blob.to_string());
        let config = format!(
            "[node]\nname = \"a1\"\nstamp = \"a\"\n[listen]\npull = [\"{}\"]\n[admin]\nlisten = \"{}\"\n[bindings]\nsource = \"router\"\nrouters = [\"http://{}\"]\nsnapshot = \"state/snapshot.json\"\n[tenancy]\npath = true\n[accounts.main]\nkind = \"local\"\npath = \"account\"\n[cache]\ndir = \"cache\"\n",
            setup.pull, setup.admin, router.address
        );
        setup.write("node.toml", &config);
        setup
    }

    fn write(&self, name: &str, text: &str) {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The region with `contoso` at home here, and what is asked of the node.
    fn whole(&self, revision: u64, intent: Value) -> Value {
        let node = json!({"name": "a1", "address": self.pull, "admin": self.admin, "intent": intent});
        json!({
            "revision": revision, "region": "local",
            "stamps": [{"name": "a", "nodes": [node]}],
            "bindings": [{
                "registry": "contoso", "home_stamp": "a", "epoch": 1, "pull": "anonymous",
                "placement": {"account": "main", "container": "c"},
            }],
        })
    }

    fn start(&self) -> Running {
        let log = std::fs::File::create(self.path("log")).unwrap();
        let mut run = Command::new(env!("CARGO_BIN_EXE_dataproxy"));
        run.arg("serve").arg("--config").arg(self.path("node.toml"));
        Running { child: run.stdout(Stdio::null()).stderr(log).spawn().unwrap() }
    }

    fn eventually(&self, what: &str, mut check: impl FnMut() -> bool) {
        let start = Instant::now();
        while !check() {
            let log = || std::fs::read_to_string(self.path("log")).unwrap_or_default();
            assert!(start.elapsed() < PATIENCE, "not in time: {what}\n{}", log());
            std::thread::park_timeout(Duration::from_millis(10));
        }
    }

    /// Status and body, if the node answers.
    fn get(&self, at: SocketAddr, path: &str) -> Option<(u16, Vec<u8>)> {
        let mut stream = TcpStream::connect(at).ok()?;
        stream.set_read_timeout(Some(PATIENCE)).ok()?;
        write!(stream, "GET {path} HTTP/1.1\r\nhost: 127.0.0.1\r\nconnection: close\r\n\r\n").ok()?;
        let mut all = Vec::new();
        stream.read_to_end(&mut all).ok()?;
        let end = all.windows(4).position(|four| four == b"\r\n\r\n")? + 4;
        let status = std::str::from_utf8(&all[..end]).ok()?.split(' ').nth(1)?.parse().ok()?;
        Some((status, all[end..].to_vec()))
    }

    fn ready(&self) -> Option<(u16, Value)> {
        let (status, body) = self.get(self.admin, "/readyz")?;
        Some((status, serde_json::from_slice(&body).unwrap()))
    }

    fn bindings(&self) -> Value {
        let (_, body) = self.get(self.admin, "/v1/node").unwrap();
        let node: Value = serde_json::from_slice(&body).unwrap();
        node["bindings"].clone()
    }

    fn pulls(&self) {
        let (status, body) = self.get(self.pull, &format!("/v2/contoso/app/blobs/{}", self.blob)).unwrap();
        assert_eq!((status, &body[..]), (200, &b"layer"[..]));
    }
}

struct Running {
    child: Child,
}

impl Running {
    /// As by kill -9.
    fn dies(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn a_node_waits_for_its_first_router_then_works_and_starts_without_one() {
    let router = Router::start();
    router.is_away(true);
    let setup = Setup::new(&router);
    let running = setup.start();
    setup.eventually("not ready, and says why", || {
        setup.ready().is_some_and(|(status, ready)| {
            status == 503 && ready["state"] == "starting" && ready["bindings_source"] == "none"
        })
    });
    setup.eventually("the router is missed", || setup.bindings()["error"].is_string());
    router.says(setup.whole(7, json!({"do": "serve"})));
    router.is_away(false);
    setup.eventually("ready", || setup.ready().is_some_and(|(status, _)| status == 200));
    assert_eq!(setup.ready().unwrap().1["bindings_source"], "router");
    let followed = setup.bindings();
    assert_eq!((&followed["revision"], &followed["source"]), (&json!(7), &json!("router")));
    assert_eq!(followed["router"], json!(format!("http://{}", router.address)));
    setup.pulls();
    setup.eventually("reported", || {
        router.last_report().is_some_and(|report| {
            report.state() == NodeState::Ready && report.revision.0 == 7 && report.node.address == setup.pull
        })
    });
    setup.eventually("saved", || setup.path("state/snapshot.json").exists());
    running.dies();

    router.is_away(true);
    let _running = setup.start();
    setup.eventually("ready from disk", || setup.ready().is_some_and(|(status, _)| status == 200));
    assert_eq!(setup.ready().unwrap().1["bindings_source"], "disk");
    setup.pulls();
    router.says(setup.whole(8, json!({"do": "serve"})));
    router.is_away(false);
    setup.eventually("revision 8", || setup.bindings()["revision"] == 8);
    assert_eq!(setup.bindings()["source"], "router");
    setup.pulls();
}

#[test]
fn a_drain_that_a_router_asks_for_ends_the_process_that_is_meant() {
    let router = Router::start();
    let setup = Setup::new(&router);
    router.says(setup.whole(1, json!({"do": "serve"})));
    let mut running = setup.start();
    setup.eventually("ready", || setup.ready().is_some_and(|(status, _)| status == 200));
    let drain = |incarnation| json!({"do": "drain", "incarnation": incarnation, "deadline_seconds": 60});
    router.says(setup.whole(2, drain(1)));
    setup.eventually("revision 2", || setup.bindings()["revision"] == 2);
    setup.pulls();
    router.says(setup.whole(3, json!({"do": "cordon"})));
    setup.eventually("not to be sent anything", || setup.ready().unwrap().0 == 503);
    setup.pulls();
    let incarnation = router.last_report().unwrap().incarnation;
    router.says(setup.whole(4, drain(incarnation.0)));
    let mut code = None;
    setup.eventually("exit", || {
        code = running.child.try_wait().unwrap();
        code.is_some()
    });
    assert_eq!(code.unwrap().code(), Some(0));
}
