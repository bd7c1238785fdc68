//! A real etcd cluster, each member a process on an address of its own.

use std::fs::File;
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use dataproxy_router::store::etcd::{EtcdOptions, EtcdStore};
use dataproxy_router::store::{Key, Store as _};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;
use tokio::time::sleep;

/// How long a cluster may take to elect a leader, on a busy machine.
const LIMIT: Duration = Duration::from_secs(30);

/// One member.
#[derive(Debug)]
pub(crate) struct Member {
    pub(crate) ip: Ipv4Addr,
    args: Vec<String>,
    log: PathBuf,
    child: Option<Child>,
}

impl Member {
    pub(crate) fn start(&mut self) {
        let log = File::options().create(true).append(true).open(&self.log).expect("a log");
        let mut etcd = Command::new("etcd");
        etcd.args(&self.args).stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        self.child = Some(etcd.spawn().expect("etcd starts: tests/install brings it"));
    }

    fn signal(&self, signal: Signal) {
        let child = self.child.as_ref().expect("it runs");
        let pid = Pid::from_raw(child.id().cast_signed()).expect("a process");
        kill_process(pid, signal).expect("signalled");
    }

    pub(crate) fn pause(&self) {
        self.signal(Signal::STOP);
    }

    pub(crate) fn resume(&self) {
        self.signal(Signal::CONT);
    }

    /// As `kill -9` does.
    pub(crate) fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        self.kill();
    }
}

/// A cluster, ended and removed when dropped.
#[derive(Debug)]
pub(crate) struct Etcd {
    pub(crate) members: Vec<Member>,
    pub(crate) scheme: &'static str,
    /// What every `etcdctl` needs.
    pub(crate) control: Vec<String>,
    _dir: TempDir,
}

impl Etcd {
    /// A cluster of so many members, with these further arguments, which may speak of `scheme`.
    pub(crate) fn spawn(count: usize, scheme: &'static str, args: &[&str]) -> Self {
        let dir = TempDir::with_prefix("etcd.").expect("a folder");
        let ips: Vec<_> = (0..count).map(|_| address()).collect();
        let peers: Vec<_> =
            ips.iter().enumerate().map(|(at, ip)| format!("m{at}=http://{ip}:2380")).collect();
        let token = format!("test-{:x}", rand::random::<u64>());
        let members = ips.iter().enumerate().map(|(at, ip)| {
            let (client, peer) = (format!("{scheme}://{ip}:2379"), format!("http://{ip}:2380"));
            let data = dir.path().join(format!("m{at}")).display().to_string();
            let own = [
                ("--name", format!("m{at}")),
                ("--data-dir", data),
                ("--listen-client-urls", client.clone()),
                ("--advertise-client-urls", client),
                ("--listen-peer-urls", peer.clone()),
                ("--initial-advertise-peer-urls", peer),
                ("--initial-cluster", peers.join(",")),
                ("--initial-cluster-token", token.clone()),
                // Short enough for leases of a second, long enough for a busy machine.
                ("--heartbeat-interval", "100".into()),
                ("--election-timeout", "600".into()),
                ("--logger", "zap".into()),
            ];
            let own = own.into_iter().flat_map(|(name, value)| [name.to_owned(), value]);
            let args = own.chain(args.iter().map(|&arg| arg.to_owned())).collect();
            let log = dir.path().join(format!("m{at}.log"));
            let mut member = Member { ip: *ip, args, log, child: None };
            member.start();
            member
        });
        Self { members: members.collect(), scheme, control: Vec::new(), _dir: dir }
    }

    /// A cluster that answers.
    pub(crate) async fn start(count: usize) -> Self {
        let etcd = Self::spawn(count, "http", &[]);
        etcd.wait(&etcd.store()).await;
        etcd
    }

    /// Waits until the cluster answers.
    pub(crate) async fn wait(&self, store: &EtcdStore) {
        let begun = Instant::now();
        while let Err(error) = store.get(&Key::new("absent")).await {
            if begun.elapsed() > LIMIT {
                let logs: Vec<_> =
                    self.members.iter().map(|member| std::fs::read_to_string(&member.log)).collect();
                panic!("etcd does not answer: {error}\n{logs:?}");
            }
            sleep(Duration::from_millis(50)).await;
        }
    }

    pub(crate) fn options(&self) -> EtcdOptions {
        EtcdOptions::new(self.members.iter().map(|member| self.url(member)))
    }

    fn url(&self, member: &Member) -> String {
        format!("{}://{}:2379", self.scheme, member.ip)
    }

    pub(crate) fn store(&self) -> EtcdStore {
        EtcdStore::new(&self.options()).expect("options")
    }

    /// A store that knows these members alone.
    pub(crate) fn store_of(&self, members: &[usize]) -> EtcdStore {
        let urls = members.iter().map(|member| self.url(&self.members[*member]));
        EtcdStore::new(&EtcdOptions::new(urls)).expect("options")
    }

    /// What `etcdctl` says, if it succeeds.
    pub(crate) fn try_control(&self, args: &[&str]) -> Option<String> {
        let endpoints: Vec<_> = self.members.iter().map(|member| self.url(member)).collect();
        let ended = Command::new("etcdctl")
            .args(["--endpoints", &endpoints.join(",")])
            .args(&self.control)
            .args(args)
            .output()
            .expect("etcdctl: tests/install brings it");
        ended.status.success().then(|| String::from_utf8_lossy(&ended.stdout).into_owned())
    }

    pub(crate) fn control(&self, args: &[&str]) -> String {
        self.try_control(args).unwrap_or_else(|| panic!("etcdctl {args:?} fails"))
    }

    /// Makes the cluster forget all before now.
    pub(crate) async fn compact(&self, store: &EtcdStore) {
        let revision = store.list("").await.expect("listed").revision;
        self.control(&["compact", &revision.to_string()]);
    }

    /// Which member leads.
    pub(crate) async fn leader(&self) -> usize {
        let begun = Instant::now();
        loop {
            for (at, member) in self.members.iter().enumerate().filter(|(_, member)| member.child.is_some()) {
                let status = Command::new("etcdctl")
                    .args(["--endpoints", &self.url(member), "endpoint", "status", "--write-out", "json"])
                    .output()
                    .expect("etcdctl runs");
                let status: serde_json::Value = serde_json::from_slice(&status.stdout).unwrap_or_default();
                let status = &status[0]["Status"];
                if status["leader"].is_u64() && status["leader"] == status["header"]["member_id"] {
                    return at;
                }
            }
            assert!(begun.elapsed() < LIMIT, "nobody leads");
            sleep(Duration::from_millis(50)).await;
        }
    }
}

/// An address that nobody else has.
fn address() -> Ipv4Addr {
    let [a, b, c] = rand::random::<[u8; 3]>();
    Ipv4Addr::new(127, a.clamp(10, 250), b, c.clamp(1, 254))
}
