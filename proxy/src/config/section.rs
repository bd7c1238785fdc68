//! The sections of the configuration file, one type each.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use dataproxy_router_api::{NodeName, RegionName, RegistryName, Role, StampName};
use serde::Deserialize;

use super::unit;
use crate::content::Freshness;
use crate::control::ControlAddress;
use crate::lifecycle::Timers;
use crate::prefetch::Ahead;
use crate::redirect::DataEndpoint;
use crate::routers::RouterUrl;

mod account;

pub use account::{Account, Accounts, ClientAccess, Terms};
pub(super) use account::{AccountKind, AccountSection, CredentialKind};

/// `[node]`: who the node is.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Node {
    /// Its name, unique in the region.
    pub name: NodeName,
    /// The stamp that it belongs to; a node of no stamp is a front door.
    pub stamp: Option<StampName>,
    /// The region. Default `local`.
    #[serde(default = "local")]
    pub region: RegionName,
    /// The zone below which registries have their names. Default `registry.test`.
    #[serde(default = "zone")]
    pub zone: String,
    /// What it serves. Default `all`.
    #[serde(default)]
    pub role: Role,
    /// Threads that serve pulls; as many as there are cores if absent.
    pub threads: Option<usize>,
    /// Where others reach its plain listener; the first of `listen.pull` if absent.
    pub address: Option<SocketAddr>,
    /// Where others reach its admin listener; `admin.listen` if absent.
    pub admin_address: Option<SocketAddr>,
}

fn local() -> RegionName {
    // The one name that no configuration supplies; `config::tests` shows that it is one.
    #[allow(clippy::expect_used)]
    "local".parse().expect("a DNS label")
}

fn zone() -> String {
    "registry.test".to_owned()
}

/// `[listen]`: where pulls are served, and the bounds of a connection.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Listen {
    /// Addresses that speak plain HTTP. Default `127.0.0.1:5000`.
    pub pull: Vec<SocketAddr>,
    /// Addresses that speak TLS. Default none.
    pub tls: Vec<SocketAddr>,
    /// PEM file of the certificate chain, leaf first; read again when it changes.
    pub cert: Option<PathBuf>,
    /// PEM file of the certificate's key.
    pub key: Option<PathBuf>,
    /// Whether HTTP/2 is spoken beside HTTP/1.1. Default off: stock clients speak HTTP/1.1, and a cut after
    /// GOAWAY cannot be resumed.
    pub http2: bool,
    /// Connections open at a time; more wait in the kernel's queue. Default 10 000.
    pub max_connections: usize,
    /// Size of a request's line and headers, in bytes. Default 16 KiB.
    #[serde(rename = "header_size", deserialize_with = "unit::bytes")]
    pub header_bytes: u64,
    /// Headers of a request. Default 64.
    pub header_count: usize,
    /// Bytes that a connection writes before others have their turn. Default 1 MiB.
    #[serde(rename = "write_quantum", deserialize_with = "unit::bytes")]
    pub write_quantum_bytes: u64,
    /// Whether plain HTTP/1.1 connections send cached files by `sendfile`. Default on.
    pub sendfile: bool,
    /// Bytes that a TLS connection encrypts before it writes them. Default 256 KiB.
    #[serde(rename = "tls_buffer", deserialize_with = "unit::bytes")]
    pub tls_buffer_bytes: u64,
    /// Time from a connection's start to its first byte, and for the TLS handshake. Default 10 s.
    #[serde(deserialize_with = "unit::duration")]
    pub first_byte_timeout: Duration,
    /// Time from one response's end to the end of the next request's headers. Default 60 s, more than the
    /// 30 s after which clients close idle connections themselves, so that none is closed under a request.
    #[serde(deserialize_with = "unit::duration")]
    pub idle_timeout: Duration,
}

impl Default for Listen {
    fn default() -> Self {
        Self {
            pull: vec![SocketAddr::from((Ipv4Addr::LOCALHOST, 5000))],
            tls: Vec::new(),
            cert: None,
            key: None,
            http2: false,
            max_connections: 10_000,
            header_bytes: 16 << 10,
            header_count: 64,
            write_quantum_bytes: 1 << 20,
            sendfile: true,
            tls_buffer_bytes: 256 << 10,
            first_byte_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(60),
        }
    }
}

/// `[drain]`: how the node ends.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Drain {
    /// How long running pulls may go on after a drain was asked for. Default 30 min.
    #[serde(deserialize_with = "unit::duration")]
    pub deadline: Duration,
    /// How long the node goes on as before while routers notice that it is not ready. Default 15 s.
    #[serde(deserialize_with = "unit::duration")]
    pub lame_duck: Duration,
    /// That ends early when no connection has come for so long. Default 10 s.
    #[serde(deserialize_with = "unit::duration")]
    pub quiet: Duration,
    /// Connections are told to close at moments spread over this. Default 30 s.
    #[serde(deserialize_with = "unit::duration")]
    pub spread: Duration,
    /// A connection without a request is closed after so long. Default 35 s.
    #[serde(deserialize_with = "unit::duration")]
    pub idle: Duration,
    /// Running responses are cut at moments spread over this. Default 10 s.
    #[serde(deserialize_with = "unit::duration")]
    pub cut_window: Duration,
    /// From the deadline to the end of whatever still runs. Default 30 s.
    #[serde(deserialize_with = "unit::duration")]
    pub hard_stop: Duration,
    /// After a cut, the node ends when nobody has come back for so long. Default 5 s.
    #[serde(deserialize_with = "unit::duration")]
    pub closing_quiet: Duration,
    /// A file that drains the node by being there.
    pub file: Option<PathBuf>,
    /// How long running pulls may go on when that file says nothing else. Default 60 s.
    #[serde(deserialize_with = "unit::duration")]
    pub file_deadline: Duration,
}

impl Default for Drain {
    fn default() -> Self {
        let Timers { lame_duck, quiet, spread, idle, cut_window, hard_stop, closing_quiet } =
            Timers::default();
        let (deadline, file_deadline) = (Duration::from_secs(30 * 60), Duration::from_secs(60));
        let file = None;
        Self {
            deadline,
            lame_duck,
            quiet,
            spread,
            idle,
            cut_window,
            hard_stop,
            closing_quiet,
            file,
            file_deadline,
        }
    }
}

impl Drain {
    /// How long each state of the node's end lasts.
    pub fn timers(&self) -> Timers {
        let Self { lame_duck, quiet, spread, idle, cut_window, hard_stop, closing_quiet, .. } = *self;
        Timers { lame_duck, quiet, spread, idle, cut_window, hard_stop, closing_quiet }
    }
}

/// `[admin]`: where the node is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Admin {
    /// The address. Default `127.0.0.1:9100`.
    pub listen: SocketAddr,
}

impl Default for Admin {
    fn default() -> Self {
        Self { listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 9100)) }
    }
}

/// `[control]`: where the node is told to drain.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Control {
    /// The address, of loopback, or the path. Default none.
    pub listen: Option<ControlAddress>,
}

/// `[bindings]`: where the bindings come from.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "snake_case", tag = "source")]
pub enum BindingsSource {
    /// A watched JSON file.
    File {
        /// The file.
        path: PathBuf,
    },
    /// The routers.
    Router {
        /// Where they are.
        routers: Vec<RouterUrl>,
        /// The file that the last good snapshot is kept in.
        snapshot: PathBuf,
        /// The file of the token that they are shown.
        token_file: Option<PathBuf>,
        /// PEM file of authorities that are believed besides the system's.
        ca_file: Option<PathBuf>,
    },
}

/// `[moves]`: how registries leave this node's stamp.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Moves {
    /// Time over which ever more responses of a registry that has moved away end their connections. Default 30 s.
    #[serde(deserialize_with = "unit::duration")]
    pub spread: Duration,
}

impl Default for Moves {
    fn default() -> Self {
        Self { spread: Duration::from_secs(30) }
    }
}

/// `[cpu]`: what is measured of the node's processors.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Cpu {
    /// What is measured. Default the limit that binds.
    pub scope: CpuScope,
    /// Thousandths of a core that the process has, for the scope `process` alone.
    #[serde(rename = "cores", deserialize_with = "unit::cores")]
    pub millicores: Option<u32>,
    /// Length of a bin: whole seconds. Default a minute; anything else is labelled scaled.
    #[serde(deserialize_with = "unit::duration")]
    pub bin: Duration,
    /// Registries that a bin names; the others are told together. Default 32.
    pub top_registries: usize,
    /// One poll of a task in so many is measured. Default 32.
    pub sample: u32,
}

/// What is measured.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CpuScope {
    /// The limit that allows least.
    #[default]
    Auto,
    /// The processors that the node may use, whoever uses them.
    Host,
    /// The node's control group.
    Cgroup,
    /// The process, of a stated number of cores.
    Process,
}

impl Default for Cpu {
    fn default() -> Self {
        Self {
            scope: CpuScope::default(),
            millicores: None,
            bin: Duration::from_secs(60),
            top_registries: 32,
            sample: 32,
        }
    }
}

impl Cpu {
    /// As the counters' source takes it.
    pub fn wanted(&self) -> dataproxy_cpu::Wanted {
        use dataproxy_cpu::Wanted;
        match self.scope {
            CpuScope::Auto => Wanted::Auto,
            CpuScope::Host => Wanted::Host,
            CpuScope::Cgroup => Wanted::Cgroup,
            CpuScope::Process => {
                Wanted::Process { cores: f64::from(self.millicores.unwrap_or_default()) / 1000.0 }
            }
        }
    }
}

/// `[tenancy]`: how registries are named.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Tenancy {
    /// Whether a repository's first path segment may name its registry. Default off.
    pub path: bool,
    /// The registry that a request is for which names none. Default none: such a request is refused.
    pub default_registry: Option<RegistryName>,
}

/// `[cache]` as written.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct CacheSection {
    #[serde(deserialize_with = "unit::bytes")]
    pub(super) memory: u64,
    pub(super) dir: Option<PathBuf>,
    #[serde(deserialize_with = "unit::bytes")]
    pub(super) capacity: u64,
    #[serde(deserialize_with = "unit::duration")]
    pub(super) disk_patience: Duration,
    pub(super) open_files: usize,
    #[serde(deserialize_with = "unit::bytes")]
    pub(super) scrub: u64,
    #[serde(deserialize_with = "unit::bytes")]
    pub(super) block: u64,
    #[serde(deserialize_with = "unit::bytes")]
    pub(super) fetch_range: u64,
    pub(super) fetch_parallel: usize,
    #[serde(deserialize_with = "unit::bytes")]
    pub(super) fill_memory: u64,
    #[serde(deserialize_with = "unit::bytes")]
    pub(super) small_blob: u64,
    #[serde(deserialize_with = "unit::duration")]
    pub(super) origin_idle_timeout: Duration,
    pub(super) origin_attempts: u32,
    #[serde(deserialize_with = "unit::bytes")]
    pub(super) finish: u64,
    pub(super) prefetch: usize,
    #[serde(deserialize_with = "unit::bytes")]
    pub(super) prefetch_budget: u64,
}

impl Default for CacheSection {
    fn default() -> Self {
        let cache = dataproxy_cache::CacheConfig::default();
        let disk = dataproxy_cache::DiskConfig::in_dir("");
        Self {
            memory: cache.memory_bytes,
            dir: None,
            capacity: disk.capacity_bytes,
            disk_patience: disk.patience,
            open_files: disk.open_files,
            scrub: disk.scrub_bytes_per_second,
            block: cache.block_bytes,
            fetch_range: cache.fetch_range_bytes,
            fetch_parallel: cache.fetch_parallel,
            fill_memory: cache.fill_memory_bytes,
            small_blob: cache.small_blob_bytes,
            origin_idle_timeout: cache.origin_idle_timeout,
            origin_attempts: cache.origin_attempts,
            finish: cache.finish_bytes,
            prefetch: 0,
            prefetch_budget: 512 << 20,
        }
    }
}

impl CacheSection {
    pub(super) fn ahead(&self) -> Option<Ahead> {
        (self.prefetch > 0).then_some(Ahead { fetches: self.prefetch, bytes: self.prefetch_budget })
    }

    pub(super) fn resolve(self) -> dataproxy_cache::CacheConfig {
        dataproxy_cache::CacheConfig {
            memory_bytes: self.memory,
            disk: self.dir.map(|dir| dataproxy_cache::DiskConfig {
                dir,
                capacity_bytes: self.capacity,
                patience: self.disk_patience,
                open_files: self.open_files,
                scrub_bytes_per_second: self.scrub,
            }),
            block_bytes: self.block,
            fetch_range_bytes: self.fetch_range,
            fetch_parallel: self.fetch_parallel,
            fill_memory_bytes: self.fill_memory,
            small_blob_bytes: self.small_blob,
            origin_idle_timeout: self.origin_idle_timeout,
            origin_attempts: self.origin_attempts,
            finish_bytes: self.finish,
        }
    }
}

/// `[freshness]` as written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct FreshnessSection {
    #[serde(deserialize_with = "unit::duration")]
    tag_ttl: Duration,
    #[serde(deserialize_with = "unit::duration")]
    link_ttl: Duration,
    #[serde(deserialize_with = "unit::duration")]
    negative_ttl: Duration,
    #[serde(deserialize_with = "unit::duration")]
    stale_tag: Duration,
    #[serde(deserialize_with = "unit::duration")]
    stale_link: Duration,
}

impl Default for FreshnessSection {
    fn default() -> Self {
        let Freshness { tag_ttl, link_ttl, negative_ttl, stale_tag, stale_link } = Freshness::default();
        Self { tag_ttl, link_ttl, negative_ttl, stale_tag, stale_link }
    }
}

impl From<FreshnessSection> for Freshness {
    fn from(section: FreshnessSection) -> Self {
        let FreshnessSection { tag_ttl, link_ttl, negative_ttl, stale_tag, stale_link } = section;
        Self { tag_ttl, link_ttl, negative_ttl, stale_tag, stale_link }
    }
}

/// `[delivery]`: how blobs reach clients that are not served the bytes here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delivery {
    /// Where a node of role `registry` sends clients for blobs. Default nowhere: it streams them.
    pub data_endpoint: Option<DataEndpoint>,
    /// The file of the key that URLs are signed with, the same on all nodes of the region.
    pub key: Option<PathBuf>,
    /// The file of another key that is accepted.
    pub other_key: Option<PathBuf>,
    /// How long a signed URL is valid. Default 20 min.
    pub url_valid: Duration,
}

/// `[delivery]` as written.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct DeliverySection {
    pub(super) data_endpoint: Option<String>,
    pub(super) key: Option<PathBuf>,
    pub(super) other_key: Option<PathBuf>,
    #[serde(deserialize_with = "unit::duration")]
    pub(super) url_valid: Duration,
}

impl Default for DeliverySection {
    fn default() -> Self {
        Self { data_endpoint: None, key: None, other_key: None, url_valid: Duration::from_secs(20 * 60) }
    }
}

/// `[stamp]`: the stamp's nodes as one cache.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Sharing {
    /// Whether it is, where there is a key. Default yes.
    pub share: bool,
    /// The file of the key that the nodes show each other that they know, the same on all nodes of the stamp.
    pub key: Option<PathBuf>,
    /// The file of another key that is accepted.
    pub other_key: Option<PathBuf>,
    /// How long another node may be silent before storage is asked. Default 2 s.
    #[serde(deserialize_with = "unit::duration")]
    pub patience: Duration,
    /// Reads served to other nodes at once. Default 512.
    pub max_reads: usize,
}

impl Default for Sharing {
    fn default() -> Self {
        Self { share: true, key: None, other_key: None, patience: Duration::from_secs(2), max_reads: 512 }
    }
}

/// `[log]`: what the node logs, on standard error.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Log {
    /// How a line is written. Default `text`.
    pub format: LogFormat,
    /// Which lines are written: a level, or directives such as `info,access=off`. Default `info`.
    pub level: String,
}

/// How a log line is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

impl Default for Log {
    fn default() -> Self {
        Self { format: LogFormat::Text, level: "info".to_owned() }
    }
}

/// `[front]`: how a front door forwards.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Forwarding {
    /// Time between two looks at a node's `/readyz`. Default 1 s.
    #[serde(deserialize_with = "unit::duration")]
    pub probe_interval: Duration,
    /// Time for a node to accept a connection. Default 2 s.
    #[serde(deserialize_with = "unit::duration")]
    pub connect_timeout: Duration,
    /// Time for one node to send a response's headers before the next one is asked. Default 15 s: more than a node
    /// takes itself, so that its own word on what is slow arrives.
    #[serde(deserialize_with = "unit::duration")]
    pub try_timeout: Duration,
    /// Time for a response's headers in all, waiting for a ready node included. Default 25 s: more than one
    /// try, below the 30 s that containerd waits.
    #[serde(deserialize_with = "unit::duration")]
    pub headers_timeout: Duration,
    /// Time that a node may be silent inside a body before another one goes on. Default 30 s.
    #[serde(deserialize_with = "unit::duration")]
    pub body_idle_timeout: Duration,
    /// Nodes asked for one response's headers. Default 4.
    pub attempts: u32,
    /// Times that one body may lose its node without having got further. Default 4.
    pub resumes: u32,
}

impl Default for Forwarding {
    fn default() -> Self {
        Self {
            probe_interval: Duration::from_secs(1),
            connect_timeout: Duration::from_secs(2),
            try_timeout: Duration::from_secs(15),
            headers_timeout: Duration::from_secs(25),
            body_idle_timeout: Duration::from_secs(30),
            attempts: 4,
            resumes: 4,
        }
    }
}
