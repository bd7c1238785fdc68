//! The node's settings: read once from TOML into types, before any socket opens.
//!
//! Every setting has a default unless a node cannot do without it. A setting that is unknown, of the
//! wrong type or outside its bounds is an error that names file, line and key. The reference in
//! `docs/configuration.md` is checked against these types.

use std::collections::{BTreeMap, HashSet};
use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::path::Path;
use std::time::Duration;

use dataproxy_cache::CacheConfig;
use dataproxy_router_api::AccountName;
use serde::Deserialize;

use crate::content::Freshness;
use crate::control::ControlAddress;
use crate::identify::{Zone, ZoneError};
use crate::prefetch::Ahead;
use crate::pull::ANSWER_MAX;
use crate::redirect::DataEndpoint;
use crate::store::guard::AccountBounds;

mod account;
mod error;
pub mod reference;
mod section;
mod unit;

pub use error::ConfigError;
use error::{Invalid, Places};
pub use section::{
    Account, Accounts, Admin, BindingsSource, ClientAccess, Control, Cpu, CpuScope, Delivery, Drain,
    Forwarding, Listen, Log, LogFormat, Moves, Node, Sharing, Tenancy, Terms,
};
use section::{AccountKind, AccountSection, CacheSection, DeliverySection, FreshnessSection};

/// All settings of one node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Who the node is.
    pub node: Node,
    /// Where it serves pulls, and the bounds of a connection.
    pub listen: Listen,
    /// How it ends.
    pub drain: Drain,
    /// Where it answers `/readyz` and `/metrics`.
    pub admin: Admin,
    /// Where it is told to drain.
    pub control: Control,
    /// Where its bindings come from.
    pub bindings: BindingsSource,
    /// How registries leave its stamp.
    pub moves: Moves,
    /// What is measured of its processors.
    pub cpu: Cpu,
    /// How registries are named.
    pub tenancy: Tenancy,
    /// The storage accounts that it may read.
    pub accounts: Accounts,
    /// What holds for each of them.
    pub terms: BTreeMap<AccountName, Terms>,
    /// The tiers and the fills.
    pub cache: CacheConfig,
    /// Which layers are fetched ahead of their clients; `None` if none are.
    pub ahead: Option<Ahead>,
    /// How old an answer may be.
    pub freshness: Freshness,
    /// How blobs reach clients that are not served the bytes here.
    pub delivery: Delivery,
    /// What the nodes of its stamp do for each other.
    pub stamp: Sharing,
    /// What it logs.
    pub log: Log,
    /// How a front door forwards.
    pub front: Forwarding,
}

/// The file as written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    node: Node,
    #[serde(default)]
    listen: Listen,
    #[serde(default)]
    drain: Drain,
    #[serde(default)]
    admin: Admin,
    #[serde(default)]
    control: Control,
    bindings: BindingsSource,
    #[serde(default)]
    moves: Moves,
    #[serde(default)]
    cpu: Cpu,
    #[serde(default)]
    tenancy: Tenancy,
    #[serde(default)]
    accounts: BTreeMap<AccountName, AccountSection>,
    #[serde(default)]
    cache: CacheSection,
    #[serde(default)]
    freshness: FreshnessSection,
    #[serde(default)]
    delivery: DeliverySection,
    #[serde(default)]
    stamp: Sharing,
    #[serde(default)]
    log: Log,
    #[serde(default)]
    front: Forwarding,
}

impl Config {
    /// Reads and checks a file. Relative paths in it are taken from the file's own folder.
    ///
    /// # Errors
    /// [`ConfigError`]: the first thing that is wrong.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        let text = std::fs::read_to_string(path)
            .map_err(|error| ConfigError::Read { path: path.to_owned(), error })?;
        Self::parse(path, &text)
    }

    /// Checks the text of the file `path`, without touching the file system.
    ///
    /// # Errors
    /// [`ConfigError`]: the first thing that is wrong.
    pub fn parse(path: &Path, text: &str) -> Result<Self, ConfigError> {
        let places = Places::new(path, text);
        let written: Written = toml::from_str(text).map_err(|error| places.parse_error(&error))?;
        let folder = path.parent().unwrap_or(Path::new(""));
        written.resolve(folder).map_err(|invalid| places.invalid(invalid))
    }

    /// Whether this node is a front door: it belongs to no stamp and forwards to the home stamp's nodes.
    pub fn is_front(&self) -> bool {
        self.node.stamp.is_none()
    }

    /// Where others reach its plain listener, if it has one.
    pub fn address(&self) -> Option<SocketAddr> {
        self.node.address.or_else(|| self.listen.pull.first().copied())
    }

    /// Where others reach its admin listener.
    pub fn admin_address(&self) -> SocketAddr {
        self.node.admin_address.unwrap_or(self.admin.listen)
    }
}

impl BindingsSource {
    /// The same, with its paths taken from `folder`.
    fn within(self, folder: &Path) -> Self {
        match self {
            Self::File { path } => Self::File { path: folder.join(path) },
            Self::Router { routers, snapshot, token_file, ca_file } => Self::Router {
                routers,
                snapshot: folder.join(snapshot),
                token_file: token_file.map(|path| folder.join(path)),
                ca_file: ca_file.map(|path| folder.join(path)),
            },
        }
    }
}

impl Written {
    fn resolve(self, folder: &Path) -> Result<Config, Invalid> {
        let terms = self
            .accounts
            .iter()
            .map(|(name, section)| Ok((name.clone(), terms(name, section)?)))
            .collect::<Result<_, Invalid>>()?;
        let accounts = self
            .accounts
            .into_iter()
            .map(|(name, section)| {
                let account = section.resolve(&name, folder)?;
                Ok((name, account))
            })
            .collect::<Result<Accounts, Invalid>>()?;
        let ahead = self.cache.ahead();
        let mut cache = self.cache.resolve();
        if let Some(disk) = &mut cache.disk {
            disk.dir = folder.join(&disk.dir);
        }
        let delivery = delivery(self.delivery, &self.node, folder)?;
        let config = Config {
            node: self.node,
            listen: Listen {
                cert: self.listen.cert.map(|path| folder.join(path)),
                key: self.listen.key.map(|path| folder.join(path)),
                ..self.listen
            },
            drain: Drain { file: self.drain.file.map(|path| folder.join(path)), ..self.drain },
            admin: self.admin,
            control: Control { listen: self.control.listen.map(|address| address.within(folder)) },
            bindings: self.bindings.within(folder),
            moves: self.moves,
            cpu: self.cpu,
            tenancy: self.tenancy,
            accounts,
            terms,
            cache,
            ahead,
            freshness: self.freshness.into(),
            delivery,
            stamp: Sharing {
                key: self.stamp.key.map(|path| folder.join(path)),
                other_key: self.stamp.other_key.map(|path| folder.join(path)),
                ..self.stamp
            },
            log: self.log,
            front: self.front,
        };
        check(&config)?;
        Ok(config)
    }
}

fn terms(name: &AccountName, section: &AccountSection) -> Result<Terms, Invalid> {
    let bounds = AccountBounds {
        max_in_flight: section.max_in_flight.unwrap_or(AccountBounds::default().max_in_flight),
        egress_limit: section.egress_limit,
        request_limit: section.request_limit,
    };
    count(&format!("accounts.{name}.max_in_flight"), bounds.max_in_flight, 4, 65_536)?;
    if section.clients == ClientAccess::Open && section.kind == AccountKind::Local {
        return Err(Invalid::new(
            format!("accounts.{name}.clients"),
            "open, but no client can reach a folder of this machine; leave it out",
        ));
    }
    Ok(Terms { clients: section.clients, bounds })
}

fn check(config: &Config) -> Result<(), Invalid> {
    check_node(&config.node)?;
    if let Some(ahead) = config.ahead {
        count("cache.prefetch", ahead.fetches, 0, 64)?;
    }
    check_listen(config)?;
    check_routers(config)?;
    config.cache.validate().map_err(|error| {
        let key = error.key.strip_suffix("_bytes").unwrap_or(error.key);
        let allowed = error.allowed.replace("_bytes", "");
        Invalid::new(format!("cache.{key}"), format!("{} is out of bounds; {allowed}", error.found))
    })?;
    check_sharing(config)?;
    check_cpu(&config.cpu)?;
    check_level(&config.log.level)?;
    let front = &config.front;
    for (key, value) in [
        ("listen.first_byte_timeout", config.listen.first_byte_timeout),
        ("listen.idle_timeout", config.listen.idle_timeout),
        ("drain.idle", config.drain.idle),
        ("drain.hard_stop", config.drain.hard_stop),
        ("front.probe_interval", front.probe_interval),
        ("front.connect_timeout", front.connect_timeout),
        ("front.try_timeout", front.try_timeout),
        ("front.headers_timeout", front.headers_timeout),
        ("front.body_idle_timeout", front.body_idle_timeout),
        ("moves.spread", config.moves.spread),
    ] {
        within(key, value, Duration::from_millis(10), Duration::from_secs(24 * 3600))?;
    }
    // The innermost wait ends first, so that the answer tells what was late.
    let order = |key: &str, value, than: &str, least: Duration| {
        if value > least {
            return Ok(());
        }
        let [value, least] = [value, least].map(unit::show_duration);
        Err(Invalid::new(key, format!("{value} is too short; more than {than} ({least}) is allowed")))
    };
    let drain = &config.drain;
    for (key, value) in [
        ("drain.deadline", drain.deadline),
        ("drain.file_deadline", drain.file_deadline),
        ("drain.lame_duck", drain.lame_duck),
        ("drain.quiet", drain.quiet),
        ("drain.spread", drain.spread),
        ("drain.cut_window", drain.cut_window),
        ("drain.closing_quiet", drain.closing_quiet),
    ] {
        within(key, value, Duration::ZERO, Duration::from_secs(24 * 3600))?;
    }
    order("drain.hard_stop", drain.hard_stop, "twice drain.cut_window", drain.cut_window * 2)?;
    order("front.try_timeout", front.try_timeout, "what a node itself takes at most", ANSWER_MAX)?;
    order("front.headers_timeout", front.headers_timeout, "front.try_timeout", front.try_timeout)?;
    count("front.attempts", front.attempts as usize, 1, 100)?;
    count("front.resumes", front.resumes as usize, 0, 100)
}

fn delivery(section: DeliverySection, node: &Node, folder: &Path) -> Result<Delivery, Invalid> {
    let DeliverySection { data_endpoint, key, other_key, url_valid } = section;
    within("delivery.url_valid", url_valid, Duration::from_secs(10), Duration::from_secs(24 * 3600))?;
    for (name, is_set) in [("data_endpoint", data_endpoint.is_some()), ("other_key", other_key.is_some())] {
        if is_set && key.is_none() {
            return Err(Invalid::new(
                format!("delivery.{name}"),
                "set without delivery.key; URLs of nodes are signed: name the file of the region's key",
            ));
        }
    }
    let zone: Zone =
        node.zone.parse().map_err(|error: ZoneError| Invalid::new("node.zone", error.to_string()))?;
    let endpoint = |template: String| {
        DataEndpoint::new(&template, &node.region, &zone)
            .map_err(|error| Invalid::new("delivery.data_endpoint", error.to_string()))
    };
    Ok(Delivery {
        data_endpoint: data_endpoint.map(endpoint).transpose()?,
        key: key.map(|path| folder.join(path)),
        other_key: other_key.map(|path| folder.join(path)),
        url_valid,
    })
}

fn check_sharing(config: &Config) -> Result<(), Invalid> {
    let Sharing { key, other_key, patience, max_reads, .. } = &config.stamp;
    if key.is_some() && config.is_front() {
        let problem = "set, but this node is a front door; set node.stamp or leave it out";
        return Err(Invalid::new("stamp.key", problem));
    }
    if other_key.is_some() && key.is_none() {
        return Err(Invalid::new(
            "stamp.other_key",
            "set without stamp.key; name the file of the stamp's key",
        ));
    }
    // Storage has to be asked, and to answer, while the pull still waits.
    within("stamp.patience", *patience, Duration::from_millis(100), Duration::from_secs(5))?;
    // Else a node that is silent would be taken for an account that is, and asked again and again.
    let idle = config.cache.origin_idle_timeout;
    if key.is_some() && idle < *patience * 3 {
        let [idle, least] = [idle, *patience * 3].map(unit::show_duration);
        let problem =
            format!("{idle} is too short beside stamp.patience; {least}, thrice of it, or more is allowed");
        return Err(Invalid::new("cache.origin_idle_timeout", problem));
    }
    count("stamp.max_reads", *max_reads, 1, 65_536)
}

fn check_cpu(cpu: &Cpu) -> Result<(), Invalid> {
    let wrong = match (cpu.scope, cpu.millicores) {
        (CpuScope::Process, None) => "missing; the scope process is of a stated number of cores: name it",
        (CpuScope::Auto | CpuScope::Host | CpuScope::Cgroup, Some(_)) => {
            "set, but the scope finds its cores itself; leave it out, or set cpu.scope to \"process\""
        }
        _ => "",
    };
    if !wrong.is_empty() {
        return Err(Invalid::new("cpu.cores", wrong));
    }
    within("cpu.bin", cpu.bin, Duration::from_secs(1), Duration::from_secs(3600))?;
    if cpu.bin.subsec_nanos() > 0 || !(24 * 3600_u64).is_multiple_of(cpu.bin.as_secs()) {
        let bin = unit::show_duration(cpu.bin);
        let problem = format!("{bin} does not divide a day; whole seconds that do are allowed, such as 1m");
        return Err(Invalid::new("cpu.bin", problem));
    }
    count("cpu.top_registries", cpu.top_registries, 0, 1000)?;
    count("cpu.sample", cpu.sample as usize, 1, 1024)
}

/// A directive without `=` must be a level, though the parser would take any word as a target's name.
fn check_level(text: &str) -> Result<(), Invalid> {
    use tracing_subscriber::filter::{LevelFilter, Targets};
    let known = |part: &str| part.contains('=') || part.trim().parse::<LevelFilter>().is_ok();
    if text.split(',').all(known) && text.parse::<Targets>().is_ok() {
        return Ok(());
    }
    Err(Invalid::new(
        "log.level",
        format!(
            "{text:?} is not a level; error, warn, info, debug, trace, off or directives such as \"info,access=off\" are allowed"
        ),
    ))
}

fn check_node(node: &Node) -> Result<(), Invalid> {
    if let Err(error) = node.zone.parse::<Zone>() {
        return Err(Invalid::new("node.zone", error.to_string()));
    }
    node.threads.map_or(Ok(()), |threads| count("node.threads", threads, 1, 1024))
}

/// What only matters where there are routers to be told of it.
fn check_routers(config: &Config) -> Result<(), Invalid> {
    let BindingsSource::Router { routers, .. } = &config.bindings else { return Ok(()) };
    if routers.is_empty() {
        return Err(Invalid::new("bindings.routers", "empty; a node follows one router or more"));
    }
    let mut seen = HashSet::new();
    if let Some(twice) = routers.iter().find(|router| !seen.insert(*router)) {
        return Err(Invalid::new(
            "bindings.routers",
            format!("{twice} is listed twice; a router has one entry"),
        ));
    }
    if config.is_front() {
        return Ok(());
    }
    let ways = [
        ("node.address", config.address(), "listen.pull"),
        ("node.admin_address", Some(config.admin_address()), "admin.listen"),
    ];
    for (key, address, listen) in ways {
        if address.is_none_or(|address| address.ip().is_unspecified() || address.port() == 0) {
            let problem =
                format!("missing; {listen} has no address by which others reach this node: name it here");
            return Err(Invalid::new(key, problem));
        }
    }
    Ok(())
}

fn check_listen(config: &Config) -> Result<(), Invalid> {
    let listen = &config.listen;
    if listen.pull.is_empty() && listen.tls.is_empty() {
        return Err(Invalid::new(
            "listen.pull",
            "empty, and so is listen.tls; a node needs an address to serve pulls at",
        ));
    }
    let mut taken = HashSet::new();
    let addresses = listen.pull.iter().map(|address| ("listen.pull", *address));
    let addresses = addresses.chain(listen.tls.iter().map(|address| ("listen.tls", *address)));
    let control = match config.control.listen {
        Some(ControlAddress::Loopback(address)) => Some(("control.listen", address)),
        Some(ControlAddress::Unix(_)) | None => None,
    };
    for (key, address) in addresses.chain([("admin.listen", config.admin.listen)]).chain(control) {
        if address.port() != 0 && !taken.insert(address) {
            return Err(Invalid::new(key, format!("{address} is listed twice; an address has one purpose")));
        }
    }
    for (key, file) in [("listen.cert", &listen.cert), ("listen.key", &listen.key)] {
        if !listen.tls.is_empty() && file.is_none() {
            return Err(Invalid::new(key, "missing; listen.tls needs a certificate and its key"));
        }
        if listen.tls.is_empty() && file.is_some() {
            return Err(Invalid::new(
                key,
                "set, but listen.tls is empty; name an address for TLS or leave it out",
            ));
        }
    }
    count("listen.max_connections", listen.max_connections, 1, 1_000_000)?;
    count("listen.header_count", listen.header_count, 8, 1024)?;
    let bytes = |key: &str, value: u64, bounds: RangeInclusive<u64>, allowed: &str| {
        if bounds.contains(&value) {
            return Ok(());
        }
        Err(Invalid::new(key, format!("{value} bytes is out of bounds; {allowed} are allowed")))
    };
    bytes("listen.header_size", listen.header_bytes, 8 << 10..=1 << 20, "8 KiB to 1 MiB")?;
    bytes("listen.write_quantum", listen.write_quantum_bytes, 64 << 10..=64 << 20, "64 KiB to 64 MiB")?;
    bytes("listen.tls_buffer", listen.tls_buffer_bytes, 16 << 10..=4 << 20, "16 KiB to 4 MiB")
}

fn within(key: &str, value: Duration, least: Duration, most: Duration) -> Result<(), Invalid> {
    if (least..=most).contains(&value) {
        return Ok(());
    }
    let [value, least, most] = [value, least, most].map(unit::show_duration);
    Err(Invalid::new(key, format!("{value} is out of bounds; {least} to {most} are allowed")))
}

fn count(key: &str, value: usize, least: usize, most: usize) -> Result<(), Invalid> {
    if (least..=most).contains(&value) {
        return Ok(());
    }
    Err(Invalid::new(key, format!("{value} is out of bounds; {least} to {most} are allowed")))
}

#[cfg(test)]
mod tests;
