//! The region as a person meets it: the real binary, real processes, pulls over a socket.

#![allow(clippy::expect_used, reason = "steps are not test functions, but speak by panicking all the same")]

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

const PATIENCE: Duration = Duration::from_secs(60);
const ADDRESSES: [&str; 5] = ["127.0.0.1", "127.0.1.1", "127.0.1.2", "127.0.2.1", "127.0.2.2"];

/// A region under test; killed if the test fails before it ends it.
struct Region {
    child: Child,
    lines: Receiver<String>,
    offset: u16,
}

impl Drop for Region {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn region(data: &Path, offset: u16) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_region"));
    command.arg("--data").arg(data).arg("--port-offset").arg(offset.to_string());
    command
}

/// An offset whose ports are all free now. Tests of other processes start looking elsewhere.
fn free_offset(first: u16) -> u16 {
    let start = first + (std::process::id() % 500) as u16 * 4;
    let free = |offset: &u16| {
        ADDRESSES
            .iter()
            .flat_map(|ip| [5000, 9100, 7000, 5353].map(|port| (*ip, port + offset)))
            .all(|at| TcpListener::bind(at).is_ok())
    };
    (start..start + 4000).step_by(7).find(free).expect("free ports")
}

impl Region {
    fn start(data: &Path, first_offset: u16) -> Self {
        let offset = free_offset(first_offset);
        let mut child = region(data, offset).stdout(Stdio::piped()).spawn().expect("region starts");
        let out = BufReader::new(child.stdout.take().expect("piped"));
        let (tell, lines) = channel();
        std::thread::spawn(move || out.lines().map_while(Result::ok).try_for_each(|line| tell.send(line)));
        let region = Self { child, lines, offset };
        region.says("the region is ready");
        region
    }

    /// Waits for a line that contains this.
    fn says(&self, words: &str) -> String {
        let deadline = Instant::now() + PATIENCE;
        let mut seen = Vec::new();
        loop {
            match self.lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(line) if line.contains(words) => return line,
                Ok(line) => seen.push(line),
                Err(RecvTimeoutError::Timeout) => panic!("{words:?} was not said in time: {seen:#?}"),
                Err(RecvTimeoutError::Disconnected) => {
                    panic!("the region ended without {words:?}: {seen:#?}")
                }
            }
        }
    }

    fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    /// The processes of the router and the nodes, by name.
    fn nodes(&self) -> BTreeMap<String, Pid> {
        let children = format!("/proc/{0}/task/{0}/children", self.child.id());
        let children = fs::read_to_string(children).expect("children of the region");
        let node = |pid: &str| {
            let line = fs::read_to_string(format!("/proc/{pid}/cmdline")).ok()?;
            let name =
                line.split('\0').find_map(|part| part.strip_suffix(".toml"))?.rsplit('/').next()?.to_owned();
            Some((name, Pid::from_raw(pid.parse().ok()?)?))
        };
        children.split_whitespace().filter_map(node).collect()
    }

    fn ended(&mut self) -> ExitStatus {
        let mut status = None;
        eventually("the region ends", || {
            status = self.child.try_wait().expect("waitable");
            status.is_some()
        });
        status.expect("ended")
    }

    /// A request to the front door: the status, the headers in lower case, the body.
    fn get(&self, path: &str) -> (u16, String, Vec<u8>) {
        let mut stream = TcpStream::connect(("127.0.0.1", 5000 + self.offset)).expect("the front door");
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        let request =
            format!("GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nAccept: */*\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).expect("sent");
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).expect("an answer");
        let end = answer.windows(4).position(|bytes| bytes == b"\r\n\r\n").expect("headers") + 4;
        let head = String::from_utf8_lossy(&answer[..end]).to_lowercase();
        let status = head.split(' ').nth(1).and_then(|code| code.parse().ok()).expect("a status");
        (status, head, answer.split_off(end))
    }
}

fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    let (_keep, never) = channel::<()>();
    while !holds() {
        assert!(Instant::now() < deadline, "in time: {what}");
        let _ = never.recv_timeout(Duration::from_millis(20));
    }
}

/// Whether a process has ended; one that nobody has waited for yet has ended all the same.
fn is_gone(pid: Pid) -> bool {
    let stat = fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero())).unwrap_or_default();
    stat.rsplit_once(") ").is_none_or(|(_, state)| state.starts_with(['Z', 'X']))
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&[output.stdout.as_slice(), &output.stderr].concat()).into_owned()
}

fn digest(content: &[u8]) -> String {
    dataproxy_cache::Digest::of(dataproxy_cache::Algorithm::Sha256, content).to_string()
}

#[test]
fn a_region_serves_restarts_imports_and_ends() {
    let dir = tempfile::tempdir().expect("a folder");
    let data = dir.path().join("data");
    let mut region = Region::start(&data, 10_000);

    // It serves every image that it was seeded with, through the front door.
    for image in ["contoso/hello", "contoso/multi", "fabrikam/base"] {
        let (status, head, body) = region.get(&format!("/v2/{image}/manifests/v1"));
        assert_eq!(status, 200, "{head}");
        assert!(head.contains(&format!("docker-content-digest: {}", digest(&body))), "{image}: {head}");
        let manifest: serde_json::Value = serde_json::from_slice(&body).expect("JSON");
        for layer in manifest["layers"].as_array().into_iter().flatten() {
            let wanted = layer["digest"].as_str().expect("a digest");
            let (status, head, body) = region.get(&format!("/v2/{image}/blobs/{wanted}"));
            assert_eq!(status, 200, "{head}");
            assert_eq!(digest(&body), wanted, "{image}");
        }
    }

    // A node that is killed is named, started again, and the pulls go on meanwhile.
    let nodes = region.nodes();
    assert_eq!(
        nodes.keys().map(String::as_str).collect::<Vec<_>>(),
        ["a1", "a2", "b1", "b2", "front", "router"]
    );
    kill_process(nodes["a1"], Signal::KILL).expect("killed");
    let said = region.says("node a1");
    let pid = nodes["a1"].as_raw_nonzero();
    assert!(said.contains(&format!("(process {pid}) was ended by signal 9 (SIGKILL)")), "{said}");
    assert_eq!(region.get("/v2/contoso/hello/manifests/v1").0, 200);
    region.says("node a1 is ready again");

    // An image that is imported meanwhile can be pulled at once.
    let layout = dir.path().join("layout");
    let manifest = write_layout(&layout);
    let output = import(&data, &layout, "contoso/team/app:v2");
    assert!(output.status.success() && text(&output).contains(&manifest), "{}", text(&output));
    let (status, _, body) = region.get("/v2/contoso/team/app/manifests/v2");
    assert_eq!((status, digest(&body)), (200, manifest));

    // A second region in the folder, or at the ports, is told what is wrong and what would help.
    let output = self::region(&data, region.offset + 1).output().expect("it runs");
    let said = text(&output);
    assert_eq!(output.status.code(), Some(1));
    assert!(said.contains(&format!("another region (process {})", region.child.id())), "{said}");
    let output = self::region(&dir.path().join("other"), region.offset).output().expect("it runs");
    let said = text(&output);
    assert_eq!(output.status.code(), Some(1));
    let taken = format!("127.0.1.1:{} is needed for the pulls of node a1", 5000 + region.offset);
    assert!(said.contains(&taken) && said.contains("--port-offset N"), "{said}");

    // It ends on a polite kill, and takes every node with it.
    let nodes = region.nodes();
    kill_process(region.pid(), Signal::TERM).expect("told");
    assert!(region.ended().success());
    for (name, pid) in nodes {
        assert!(is_gone(pid), "{name} is still there");
    }
}

#[test]
fn nodes_end_when_their_region_is_killed() {
    let dir = tempfile::tempdir().expect("a folder");
    let mut region = Region::start(dir.path(), 30_000);
    let nodes = region.nodes();
    assert_eq!(nodes.len(), 6, "the router and five nodes");
    region.child.kill().expect("killed");
    region.child.wait().expect("gone");
    for (name, pid) in nodes {
        eventually(&format!("{name} ends"), || is_gone(pid));
    }
}

#[test]
fn an_import_needs_no_running_region_and_names_what_is_wrong() {
    let dir = tempfile::tempdir().expect("a folder");
    let (data, layout) = (dir.path().join("data"), dir.path().join("layout"));
    let manifest = write_layout(&layout);
    // A folder in which no region ever was is a mistyped one.
    let output = import(&data, &layout, "fabrikam/app:v1");
    assert_eq!(output.status.code(), Some(2), "{}", text(&output));
    let said = format!("there is no region in {}; start it once", data.display());
    assert!(text(&output).contains(&said) && text(&output).contains("--data DIR"), "{}", text(&output));
    assert!(!data.exists(), "nothing was made");
    write_bindings(&data);
    let output = import(&data, &layout, "fabrikam/app:v1");
    assert!(output.status.success() && text(&output).contains(&manifest), "{}", text(&output));
    let container = data.canonicalize().expect("a folder").join("accounts/b1/fabrikam");
    assert!(text(&output).contains(&format!("in {}", container.display())), "{}", text(&output));
    let tag = "accounts/b1/fabrikam/docker/registry/v2/repositories/app/_manifests/tags/v1/current/link";
    assert_eq!(fs::read_to_string(data.join(tag)).expect("a tag"), manifest);
    for (path, reference, code, words) in [
        ("layout", "tailspin/app:v1", 2, "the registries of this region are contoso, fabrikam"),
        ("layout", "contoso/app", 2, "the tag is missing"),
        ("missing", "contoso/app:v1", 1, "cannot read"),
    ] {
        let output = import(&data, &dir.path().join(path), reference);
        assert_eq!(output.status.code(), Some(code), "{}", text(&output));
        assert!(text(&output).contains(words), "{}", text(&output));
    }
}

#[test]
fn the_binary_is_a_nodes_command_line_too() {
    let output =
        Command::new(env!("CARGO_BIN_EXE_region")).args(["dataproxy", "--help"]).output().expect("it runs");
    assert!(output.status.success(), "{}", text(&output));
    assert!(text(&output).contains("serve"), "{}", text(&output));
}

fn import(data: &Path, source: &Path, reference: &str) -> Output {
    Command::new(env!("CARGO_BIN_EXE_region"))
        .arg("import")
        .args([source.as_os_str(), reference.as_ref(), "--data".as_ref(), data.as_os_str()])
        .output()
        .expect("import runs")
}

/// The bindings that a first start leaves behind.
fn write_bindings(data: &Path) {
    let binding = |registry: &str, stamp: &str| {
        let placement = serde_json::json!({"account": format!("{stamp}1"), "container": registry});
        serde_json::json!({"registry": registry, "home_stamp": stamp, "epoch": 1, "placement": placement})
    };
    let stamp = |name: &str| serde_json::json!({"name": name, "nodes": []});
    let bindings = serde_json::json!({
        "revision": 1, "region": "local", "stamps": [stamp("a"), stamp("b")],
        "bindings": [binding("contoso", "a"), binding("fabrikam", "b")],
    });
    fs::create_dir_all(data).expect("a folder");
    fs::write(data.join("bindings.json"), bindings.to_string()).expect("written");
}

/// An OCI layout with one small image; returns the digest of its manifest.
fn write_layout(path: &Path) -> String {
    let blobs = path.join("blobs/sha256");
    fs::create_dir_all(&blobs).expect("a folder");
    let put = |media_type: &str, content: &str| {
        let digest = digest(content.as_bytes());
        fs::write(blobs.join(&digest["sha256:".len()..]), content).expect("a blob");
        serde_json::json!({"mediaType": media_type, "digest": digest, "size": content.len()})
    };
    let config = put("application/vnd.oci.image.config.v1+json", "{}");
    let layer = put("application/vnd.oci.image.layer.v1.tar", "a layer");
    let media_type = "application/vnd.oci.image.manifest.v1+json";
    let manifest =
        serde_json::json!({"schemaVersion": 2, "mediaType": media_type, "config": config, "layers": [layer]});
    let image = put(media_type, &manifest.to_string());
    let index = serde_json::json!({"schemaVersion": 2, "manifests": [image]});
    fs::write(path.join("index.json"), index.to_string()).expect("an index");
    fs::write(path.join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#).expect("a version");
    image["digest"].as_str().expect("a digest").to_owned()
}
