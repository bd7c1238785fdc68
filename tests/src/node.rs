//! Nodes of the real binary, each a process of its own, with settings of the test's choosing.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::time::Duration;

use serde_json::json;
use tempfile::TempDir;

use crate::binary;
use crate::daemon::Daemon;
use crate::eventually::eventually;
use crate::ports;
use crate::prometheus::Scrape;
use crate::raw_http;
use crate::storage::Container;

/// The zone of every test's registries.
pub const ZONE: &str = "registry.test";

/// One stamp, its storage account and its front door, on addresses of its own.
#[derive(Debug)]
pub struct Stamp {
    /// The nodes, `a1` first.
    pub nodes: Vec<Node>,
    /// The front door.
    pub front: Node,
    dir: TempDir,
}

/// One node.
#[derive(Debug)]
pub struct Node {
    name: String,
    dir: PathBuf,
    program: PathBuf,
    pull: SocketAddr,
    tls: SocketAddr,
    admin: SocketAddr,
    daemon: Option<Daemon>,
}

/// What a test may choose.
#[derive(Clone, Debug)]
pub struct Options {
    /// Nodes of the stamp.
    pub nodes: u8,
    /// Lines added to each node's configuration, of sections that the harness does not write itself.
    pub more: String,
    /// The settings of the storage account; a folder of the stamp's own if absent.
    pub account: Option<String>,
    /// Memory tier of each node in bytes.
    pub memory_bytes: u64,
    /// The folder of the nodes' disk tier; one of its own for each if absent.
    pub cache_dir: Option<PathBuf>,
    /// More lines of `[cache]`.
    pub cache: String,
    /// Certificate and key in PEM, for a TLS listener on each node.
    pub certificate: Option<(PathBuf, PathBuf)>,
    /// Whether the listeners speak HTTP/2 too.
    pub http2: bool,
    /// The lines of `[tenancy]`.
    pub tenancy: String,
    /// Bindings besides those of `contoso` and `fabrikam`.
    pub bindings: Vec<serde_json::Value>,
    /// Splits the stamp in two pools: its first node has role `registry` and sends clients for blobs to its last one, of
    /// role `dataproxy`. Its two registries have `delivery` `redirect`.
    pub split: bool,
    /// Whether the nodes are one cache.
    pub share: bool,
    /// The lines of `[drain]`.
    pub drain: String,
}

impl Default for Options {
    fn default() -> Self {
        let tenancy = "path = true\n".to_owned();
        let (more, bindings, account) = (String::new(), Vec::new(), None);
        let (cache_dir, cache) = (None, String::new());
        let (certificate, http2, split, share) = (None, false, false, false);
        let memory_bytes = 64 << 20;
        // A node whose test is over is waited for by nobody.
        let drain = "lame_duck = \"0s\"\nidle = \"100ms\"\n".to_owned();
        Self {
            nodes: 1,
            more,
            account,
            memory_bytes,
            cache_dir,
            cache,
            certificate,
            http2,
            tenancy,
            bindings,
            split,
            share,
            drain,
        }
    }
}

impl Stamp {
    /// Starts a stamp of one node, and its front door.
    ///
    /// # Panics
    /// If a node is not ready within 30 s.
    pub async fn start() -> Self {
        Self::start_with(Options::default()).await
    }

    /// Starts a stamp whose registries anybody may pull from.
    ///
    /// # Panics
    /// If a node is not ready within 30 s.
    pub async fn start_with(options: Options) -> Self {
        let dir = TempDir::with_prefix("stamp.").expect("a folder can be made");
        let program = binary::path("dataproxy").await;
        let ips: Vec<IpAddr> =
            (0..=options.nodes).map(|node| IpAddr::V4(Ipv4Addr::new(127, 0, 1, node))).collect();
        let port = ports::free_ports(&ips, 3);
        let mut nodes = Vec::new();
        for (at, ip) in ips.iter().enumerate() {
            let name = if at == 0 { "front".to_owned() } else { format!("a{at}") };
            let home = dir.path().join(&name);
            std::fs::create_dir(&home).expect("a folder can be made");
            let address = |above: u16| SocketAddr::new(*ip, port + above);
            nodes.push(Node {
                name,
                dir: home,
                program: program.clone(),
                pull: address(0),
                tls: address(1),
                admin: address(2),
                daemon: None,
            });
        }
        let bindings = dir.path().join("bindings.json");
        std::fs::write(&bindings, snapshot(&nodes[1..], &options).to_string())
            .expect("a file can be written");
        std::fs::write(dir.path().join("key"), "k".repeat(32)).expect("a file can be written");
        let last = nodes.last().map(|node| (node.name.clone(), node.pull));
        for node in &nodes {
            let data = last.clone().filter(|_| options.split);
            node.write_config(dir.path(), &options, data);
        }
        let front = nodes.remove(0);
        let mut stamp = Self { nodes, front, dir };
        for node in &mut stamp.nodes {
            node.start().await;
        }
        stamp.front.start().await;
        stamp
    }

    /// The content of a registry.
    pub fn container(&self, registry: &str) -> Container {
        Container::new(self.dir.path().join("storage").join(registry))
    }

    /// Writes a file that the nodes may be made to use, and gives where it is.
    ///
    /// # Panics
    /// If it cannot be written.
    pub fn write_file(&self, name: &str, content: &str) -> PathBuf {
        let path = self.dir.path().join(name);
        std::fs::write(&path, content).expect("a file can be written");
        path
    }

    /// The text of the bindings that all nodes start with.
    ///
    /// # Panics
    /// If it cannot be read.
    pub fn bindings(&self) -> String {
        std::fs::read_to_string(self.dir.path().join("bindings.json")).expect("the bindings are there")
    }

    /// Bytes that the nodes have read from storage.
    pub async fn origin_bytes(&self) -> u64 {
        let mut bytes = 0;
        for node in &self.nodes {
            bytes += node.scrape().await.sum("dataproxy_cache_origin_bytes_total", &[]) as u64;
        }
        bytes
    }
}

/// The bindings of two registries to a stamp of these nodes.
fn snapshot(nodes: &[Node], options: &Options) -> serde_json::Value {
    let delivery = if options.split { "redirect" } else { "stream" };
    let nodes: Vec<_> = nodes
        .iter()
        .map(|node| json!({ "name": node.name, "address": node.pull, "admin": node.admin }))
        .collect();
    let bindings: Vec<_> = ["contoso", "fabrikam"]
        .iter()
        .map(|name| {
            json!({
                "registry": name, "home_stamp": "a", "epoch": 1, "pull": "anonymous", "delivery": delivery,
                "placement": { "account": "acct", "container": name },
            })
        })
        .chain(options.bindings.iter().cloned())
        .collect();
    json!({
        "revision": 1, "region": "local", "stamps": [{ "name": "a", "nodes": nodes }], "bindings": bindings,
    })
}

impl Node {
    /// Starts it; it has to be ended.
    ///
    /// # Panics
    /// If it is not ready within 30 s.
    pub async fn start(&mut self) {
        assert!(self.daemon.is_none(), "{} runs", self.name);
        let config = self.dir.join("node.toml");
        let args = ["serve".as_ref(), "--config".as_ref(), config.as_os_str()];
        let program = self.program.display().to_string();
        let mut daemon = Daemon::start(&self.name, &self.dir.join("log"), &program, &args);
        let admin = self.admin;
        daemon
            .wait_until_ready(async || match raw_http::get(admin, "/readyz").await {
                Ok(answer) if answer.status == 200 => Ok(()),
                other => Err(format!("{other:?}")),
            })
            .await;
        self.daemon = Some(daemon);
    }

    /// Changes a text in its settings. It counts from its next start on.
    ///
    /// # Panics
    /// If the text is not there.
    pub fn change_settings(&self, from: &str, to: &str) {
        let path = self.dir.join("node.toml");
        let text = std::fs::read_to_string(&path).expect("the settings are there");
        assert!(text.contains(from), "{from:?} is not in the settings:\n{text}");
        std::fs::write(&path, text.replace(from, to)).expect("a file can be written");
    }

    /// CPU time of its process by now, user and system, in seconds.
    ///
    /// # Panics
    /// If it does not run.
    pub fn cpu_seconds(&self) -> f64 {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.pid())).expect("the node runs");
        let (_, after) = stat.rsplit_once(')').expect("Linux shows the command");
        let ticks =
            after.split_whitespace().skip(11).take(2).map(|ticks| ticks.parse::<f64>().expect("ticks"));
        // USER_HZ is 100 on every architecture that this runs on.
        ticks.sum::<f64>() / 100.0
    }

    /// Asks it to end, and waits. Gives how it ended.
    pub fn stop(&mut self) -> Option<ExitStatus> {
        self.daemon.take()?.stop()
    }

    /// Sends it a signal, by its name without `SIG`.
    ///
    /// # Panics
    /// If it does not run.
    pub fn signal(&self, name: &str) {
        crate::daemon::signal(self.pid(), name);
    }

    /// Waits until it has ended by itself; gives how.
    ///
    /// # Panics
    /// If it does not run, or has not ended within `limit`.
    pub fn ended(&mut self, limit: Duration) -> ExitStatus {
        self.daemon.take().expect("the node runs").ended(limit)
    }

    /// The state that it says it is in.
    ///
    /// # Errors
    /// If it does not answer.
    pub async fn state(&self) -> Result<String, String> {
        let answer = raw_http::get(self.admin, "/readyz").await.map_err(|error| error.to_string())?;
        let state = answer.json().and_then(|json| json["state"].as_str().map(str::to_owned));
        state.ok_or_else(|| format!("{answer:?}"))
    }

    /// Ends it as a crash would.
    pub fn kill_9(&mut self) {
        if let Some(mut daemon) = self.daemon.take() {
            daemon.kill_9();
        }
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Where it serves pulls by plain HTTP.
    pub fn pull(&self) -> SocketAddr {
        self.pull
    }

    /// Where it serves pulls by TLS, if the options gave a certificate.
    pub fn tls(&self) -> SocketAddr {
        self.tls
    }

    /// Its process.
    ///
    /// # Panics
    /// If it does not run.
    pub fn pid(&self) -> u32 {
        self.daemon.as_ref().expect("the node runs").pid()
    }

    /// The folder of its disk tier, unless the options name another.
    pub fn cache_dir(&self) -> PathBuf {
        self.dir.join("cache")
    }

    /// All that it has logged so far. Lines come a moment after what they tell of: see [`Node::settled_log`].
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.dir.join("log")).unwrap_or_default()
    }

    /// All that it has logged, with every line of what it has answered until now: lines come in its order, so this waits
    /// for that of a request of its own.
    ///
    /// # Panics
    /// If the node does not answer, or logs nothing within 10 s.
    pub async fn settled_log(&self) -> String {
        let mark = format!("mark-{:016x}", rand::random::<u64>());
        let header = format!("X-Request-Id: {mark}");
        let host = self.pull.to_string();
        raw_http::send(self.pull, "GET", "/v2/", &host, &[&header]).await.expect("the node answers");
        eventually("the log", Duration::from_secs(10), async || {
            let log = self.log();
            if log.contains(&mark) { Ok(log) } else { Err(format!("{mark} is not in {} bytes", log.len())) }
        })
        .await
    }

    /// The lines of its access log that name this request's path, parsed.
    ///
    /// # Panics
    /// As [`Node::settled_log`].
    pub async fn access(&self, path: &str) -> Vec<serde_json::Value> {
        let log = self.settled_log().await;
        access_lines(&log).filter(|line| line.to_string().contains(path)).collect()
    }

    /// Every line of its access log, parsed.
    pub fn access_log(&self) -> Vec<serde_json::Value> {
        access_lines(&self.log()).collect()
    }

    /// What its `/metrics` shows now.
    ///
    /// # Panics
    /// If it does not answer.
    pub async fn scrape(&self) -> Scrape {
        let answer = raw_http::get(self.admin, "/metrics").await.expect("the node answers");
        assert_eq!(answer.status, 200);
        Scrape::new(String::from_utf8(answer.body).expect("metrics are text"))
    }

    /// Anonymous memory of its process in bytes (RssAnon).
    ///
    /// # Panics
    /// If it does not run.
    pub fn anonymous_bytes(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid())).expect("the node runs");
        let line =
            status.lines().find_map(|line| line.strip_prefix("RssAnon:")).expect("Linux shows RssAnon");
        let kib: u64 = line.trim().trim_end_matches(" kB").parse().expect("it is a number");
        kib << 10
    }

    fn write_config(&self, dir: &Path, options: &Options, data: Option<(String, SocketAddr)>) {
        let Self { name, pull, tls, admin, .. } = self;
        let dir = dir.display();
        let mut text = format!("[node]\nname = \"{name}\"\nzone = \"{ZONE}\"\n");
        if name != "front" {
            text += "stamp = \"a\"\n";
            if let Some((last, _)) = &data {
                let role = if name == last { "dataproxy" } else { "registry" };
                text += &format!("role = \"{role}\"\n");
            }
        }
        text += &format!("[listen]\npull = [\"{pull}\"]\n");
        if let Some((cert, key)) = &options.certificate {
            let (cert, key) = (cert.display(), key.display());
            text += &format!("tls = [\"{tls}\"]\ncert = \"{cert}\"\nkey = \"{key}\"\n");
        }
        let account = options
            .account
            .clone()
            .unwrap_or_else(|| format!("kind = \"local\"\npath = \"{dir}/storage\"\n"));
        text += &format!("http2 = {}\n", options.http2);
        text += &format!(
            "[admin]\nlisten = \"{admin}\"\n[bindings]\nsource = \"file\"\npath = \"{dir}/bindings.json\"\n\
             [tenancy]\n{}[accounts.acct]\n{account}\
             [log]\nformat = \"json\"\n[drain]\n{}[cache]\nmemory = \"{} B\"\n",
            options.tenancy, options.drain, options.memory_bytes
        );
        if name != "front" {
            let own = self.dir.join("cache");
            let dir = options.cache_dir.as_ref().unwrap_or(&own);
            text += &format!("dir = \"{}\"\n{}", dir.display(), options.cache);
        }
        if let Some((_, endpoint)) = data {
            text += &format!("[delivery]\nkey = \"{dir}/key\"\ndata_endpoint = \"http://{endpoint}\"\n");
        }
        if options.share && name != "front" {
            text += &format!("[stamp]\nkey = \"{dir}/key\"\n");
        }
        text += &options.more;
        std::fs::create_dir_all(Path::new(&dir.to_string()).join("storage")).expect("a folder can be made");
        std::fs::write(self.dir.join("node.toml"), text).expect("a file can be written");
    }
}

fn access_lines(log: &str) -> impl Iterator<Item = serde_json::Value> {
    let lines = log.lines().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
    lines.filter(|line| line["target"] == "access")
}

impl Drop for Node {
    fn drop(&mut self) {
        self.stop();
        let log = self.log();
        // A second panic would hide the first one.
        if log.contains("panicked") && !std::thread::panicking() {
            panic!("{} panicked: {}", self.name, crate::run::tail(&log, 8000));
        }
        if std::thread::panicking() {
            eprintln!("--- {}:\n{}", self.name, crate::run::tail(&log, 4000));
        }
    }
}
