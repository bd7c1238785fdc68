//! A whole region, as a newcomer starts it: the `region` binary on free ports, in a folder of its own.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::time::Duration;

use rand::RngExt as _;
use tempfile::TempDir;

use crate::binary;
use crate::daemon::{Daemon, signal};
use crate::eventually::eventually;
use crate::ports;
use crate::prometheus::Scrape;
use crate::raw_http;
use crate::run::{Failed, Ran, run};
use crate::storage::Container;

const PULL_PORT: u16 = 5000;
const ADMIN_PORT: u16 = 9100;
const AZURITE_PORT: u16 = 10_000;
const API_PORT: u16 = 7000;
const DNS_PORT: u16 = 5353;
const NODES: [(&str, Ipv4Addr); 5] = [
    ("front", Ipv4Addr::LOCALHOST),
    ("a1", Ipv4Addr::new(127, 0, 1, 1)),
    ("a2", Ipv4Addr::new(127, 0, 1, 2)),
    ("b1", Ipv4Addr::new(127, 0, 2, 1)),
    ("b2", Ipv4Addr::new(127, 0, 2, 2)),
];
/// Making the seeded images is part of a first start.
const IMPORT_LIMIT: Duration = Duration::from_secs(120);

/// A running region.
#[derive(Debug)]
pub struct Region {
    daemon: Option<Daemon>,
    program: PathBuf,
    offset: u16,
    dir: TempDir,
}

impl Region {
    /// Starts one with no images.
    ///
    /// # Panics
    /// If it is not ready within 30 s.
    pub async fn start() -> Self {
        Self::start_with(&["--no-seed"]).await
    }

    /// Starts one with these options beside `--data` and `--port-offset`.
    ///
    /// # Panics
    /// If it is not ready within 30 s.
    pub async fn start_with(options: &[&str]) -> Self {
        let dir = TempDir::with_prefix("region.").expect("a folder can be made");
        let ips: Vec<IpAddr> = NODES.iter().map(|(_, ip)| IpAddr::V4(*ip)).collect();
        let mut random = rand::rng();
        let offset = (0..200)
            .map(|_| random.random_range(3_000..22_000))
            .find(|offset| {
                let free = |port: u16| ips.iter().all(|ip| ports::is_free(*ip, port + offset));
                [PULL_PORT, ADMIN_PORT, AZURITE_PORT, API_PORT, DNS_PORT].into_iter().all(free)
            })
            .expect("some ports are free");
        let program = binary::path("region").await;
        let mut region = Self { daemon: None, program, offset, dir };
        region.resume(options).await;
        region
    }

    /// Starts it again in the same folder, at the same ports.
    ///
    /// # Panics
    /// If it runs, or is not ready within 30 s.
    pub async fn resume(&mut self, options: &[&str]) {
        assert!(self.daemon.is_none(), "the region runs");
        let offset = self.offset.to_string();
        let data = self.data().display().to_string();
        let mut args = vec!["--data", &data, "--port-offset", &offset];
        args.extend_from_slice(options);
        let log = self.dir.path().join("region.log");
        let mut daemon = Daemon::start("region", &log, &self.program.display().to_string(), &args);
        daemon
            .wait_until_ready(async || {
                for (name, _) in NODES {
                    match raw_http::get(self.admin(name), "/readyz").await {
                        Ok(answer) if answer.status == 200 => {}
                        other => return Err(format!("{name}: {other:?}")),
                    }
                }
                Ok(())
            })
            .await;
        self.daemon = Some(daemon);
    }

    /// Where a node (`front`, `a1`, `a2`, `b1`, `b2`) serves pulls.
    ///
    /// # Panics
    /// If there is no such node.
    pub fn pull(&self, node: &str) -> SocketAddr {
        self.address(node, PULL_PORT)
    }

    /// Where a node answers `/readyz` and `/metrics`.
    ///
    /// # Panics
    /// If there is no such node.
    pub fn admin(&self, node: &str) -> SocketAddr {
        self.address(node, ADMIN_PORT)
    }

    /// Its folder.
    pub fn data(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    /// The content of a registry that is bound to stamp `a` or `b`.
    pub fn container(&self, stamp: &str, registry: &str) -> Container {
        Container::new(self.data().join("accounts").join(format!("{stamp}1")).join(registry))
    }

    /// Runs `region import`.
    ///
    /// # Errors
    /// [`Failed`] if it does not succeed within 120 s.
    pub async fn import(&self, path: &Path, reference: &str) -> Result<Ran, Failed> {
        let (path, data) = (path.display().to_string(), self.data().display().to_string());
        let program = self.program.display().to_string();
        run(&program, &["import", &path, reference, "--data", &data], IMPORT_LIMIT).await
    }

    /// Runs the binary with other options, in another folder, at the same ports.
    ///
    /// # Errors
    /// [`Failed`] if it does not end with 0 within 30 s.
    pub async fn run_beside(&self, options: &[&str]) -> Result<Ran, Failed> {
        let other = self.dir.path().join("other").display().to_string();
        let offset = self.offset.to_string();
        let mut args = vec!["--data", &other, "--port-offset", &offset];
        args.extend_from_slice(options);
        run(&self.program.display().to_string(), &args, Duration::from_secs(30)).await
    }

    /// Runs the binary with other options that have nothing to do with this region's folder or ports.
    ///
    /// # Errors
    /// [`Failed`] if it does not end with 0 within 30 s.
    pub async fn run_with(&self, options: &[&str]) -> Result<Ran, Failed> {
        run(&self.program.display().to_string(), options, Duration::from_secs(30)).await
    }

    /// Asks the region's router.
    ///
    /// # Errors
    /// [`Failed`] if it does not end with 0 within 30 s.
    pub async fn stampctl(&self, arguments: &[&str]) -> Result<Ran, Failed> {
        let router = format!("http://127.0.0.1:{}", API_PORT + self.offset);
        let mut all = vec!["stampctl", "--router", &router];
        all.extend_from_slice(arguments);
        self.run_with(&all).await
    }

    /// Where pulls of a registry go, as DNS says now.
    ///
    /// # Panics
    /// If DNS says nothing within 5 s.
    pub async fn resolve(&self, registry: &str) -> SocketAddr {
        let port = (DNS_PORT + self.offset).to_string();
        let name = format!("{registry}.registry.test");
        let asked = ["@127.0.0.1", "-p", &port, &name, "+short", "+time=1", "+tries=5"];
        let said = run("dig", &asked, Duration::from_secs(10)).await.expect("DNS answers");
        let first = said.stdout.lines().next().unwrap_or_else(|| panic!("{name} has no address"));
        SocketAddr::new(first.parse().expect("an address"), PULL_PORT + self.offset)
    }

    /// The process of the router, if it runs.
    pub fn router_pid(&self) -> Option<u32> {
        self.pid_with(&self.data().join("router.toml").display().to_string())
    }

    /// The process of a node, if it runs.
    pub fn pid(&self, node: &str) -> Option<u32> {
        self.pid_with(&self.data().join("nodes").join(format!("{node}.toml")).display().to_string())
    }

    fn pid_with(&self, argument: &str) -> Option<u32> {
        let pids = std::fs::read_dir("/proc").expect("/proc can be read");
        pids.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<u32>().ok()).find(|pid| {
            // A process that has just ended has no command line.
            let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            line.split(|byte| *byte == 0).any(|found| found == argument.as_bytes())
        })
    }

    /// The process of Azurite, if the region runs over it.
    pub fn azurite_pid(&self) -> Option<u32> {
        self.pid_with(&self.data().join("azurite").display().to_string())
    }

    /// Kills a node as a crash would.
    ///
    /// # Panics
    /// If it does not run.
    pub fn kill_9(&self, node: &str) {
        signal(self.pid(node).unwrap_or_else(|| panic!("{node} does not run")), "KILL");
    }

    /// Waits until a node is ready.
    ///
    /// # Panics
    /// If it is not within 20 s.
    pub async fn wait_until_ready(&self, node: &str) {
        eventually(node, Duration::from_secs(20), async || {
            match raw_http::get(self.admin(node), "/readyz").await {
                Ok(answer) if answer.status == 200 => Ok(()),
                other => Err(format!("{other:?}")),
            }
        })
        .await;
    }

    /// What a node's `/metrics` shows now.
    ///
    /// # Panics
    /// If it does not answer.
    pub async fn scrape(&self, node: &str) -> Scrape {
        let answer = raw_http::get(self.admin(node), "/metrics").await.expect("the node answers");
        Scrape::new(String::from_utf8(answer.body).expect("metrics are text"))
    }

    /// All that the region itself has printed.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.dir.path().join("region.log")).unwrap_or_default()
    }

    /// Asks it to end, as Ctrl-C does, and waits. Gives how it ended.
    pub fn stop(&mut self) -> Option<ExitStatus> {
        self.daemon.take()?.stop()
    }

    /// Ends the region itself as a crash would.
    pub fn kill_9_itself(&mut self) {
        if let Some(mut daemon) = self.daemon.take() {
            daemon.kill_9();
        }
    }

    fn address(&self, node: &str, port: u16) -> SocketAddr {
        let (_, ip) = NODES.iter().find(|(name, _)| *name == node).expect("the node is one of the region's");
        (*ip, port + self.offset).into()
    }

    fn logs(&self) -> String {
        let mut text = self.log();
        for node in NODES.map(|(node, _)| node).into_iter().chain(["router"]) {
            for name in [format!("{node}.log.1"), format!("{node}.log")] {
                let log = std::fs::read_to_string(self.data().join("logs").join(&name)).unwrap_or_default();
                text += &format!("\n--- {name}\n{}", crate::run::tail(&log, 20_000));
            }
        }
        text
    }
}

impl Drop for Region {
    fn drop(&mut self) {
        self.stop();
        let logs = self.logs();
        if std::thread::panicking() {
            eprintln!("{logs}");
        } else if logs.contains("panicked") {
            panic!("something panicked: {logs}");
        }
    }
}
