//! The router's settings: one TOML file.

use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use dataproxy_planner::signal::SignalRules;
use dataproxy_router_api::{NodeName, RegionName, StampName};
use serde::Deserialize;

use crate::api::Role;
use crate::dns::{Zone, ZoneSettings};
use crate::push::Webhook;
use crate::signals::SignalTerms;
use crate::store::etcd::{EtcdOptions, EtcdTls, EtcdUser};

/// Everything that a router is told at its start.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The router's name, by which others show who leads.
    #[serde(default = "usual_name")]
    pub name: String,
    /// The region. A router serves one.
    pub region: RegionName,
    /// The API.
    #[serde(default)]
    pub api: Api,
    /// Where the state lies.
    pub store: Store,
    /// Who may use the API. Everybody as an administrator if there are none, which only loopback addresses allow.
    #[serde(default)]
    pub tokens: Vec<Token>,
    /// DNS, if this router answers it or says what is to be answered.
    #[serde(default)]
    pub dns: Option<Dns>,
    /// What is made of what nodes used.
    #[serde(default)]
    pub signals: Signals,
    /// What is logged.
    #[serde(default)]
    pub log: Log,
}

fn usual_name() -> String {
    "router".to_owned()
}

/// DNS.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Dns {
    /// Where it listens, for UDP and TCP alike. Nowhere if empty.
    #[serde(default)]
    pub listen: Vec<SocketAddr>,
    /// The zone: its name, and how long its answers are valid.
    pub zone: ZoneSettings,
    /// The file that the zone's record sets are written to, for another server to answer from.
    #[serde(default)]
    pub record_sets: Option<PathBuf>,
    /// The webhook that is told of every change of names, as ExternalDNS tells its providers.
    #[serde(default)]
    pub webhook: Option<Webhook>,
}

/// The API.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Api {
    /// Where it listens.
    pub listen: SocketAddr,
    /// The certificate that it shows; plain HTTP if absent.
    pub tls: Option<Tls>,
}

/// A certificate and its key, read again when they change.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tls {
    /// The chain, the server's own certificate first, in PEM.
    pub cert: PathBuf,
    /// Its key, in PEM.
    pub key: PathBuf,
}

impl Default for Api {
    fn default() -> Self {
        Self { listen: SocketAddr::from(([127, 0, 0, 1], 7000)), tls: None }
    }
}

/// What is made of what nodes used, and where that is kept.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Signals {
    /// The file with what nodes used in the last fourteen days, which this router alone has open. If absent, beside an
    /// embedded store's file; with another store in memory, where it ends with the process.
    pub path: Option<PathBuf>,
    /// A node counts in a bin if it was in rotation for at least this part of it.
    pub in_rotation_part: f32,
    /// What it measured counts if it covers at least this part of the bin.
    pub observed_part: f32,
    /// Bins of a window, where bins are no minutes.
    pub scaled_bins: u32,
    /// Registries that a pool's CPU time is told of, each by itself.
    pub top_registries: usize,
}

impl Default for Signals {
    fn default() -> Self {
        let SignalTerms { rules, scaled_bins, top_registries } = SignalTerms::default();
        let (in_rotation_part, observed_part) = (rules.in_rotation_part, rules.observed_part);
        Self { path: None, in_rotation_part, observed_part, scaled_bins, top_registries }
    }
}

impl Signals {
    /// As they are computed.
    pub fn terms(&self) -> SignalTerms {
        let usual = SignalTerms::default();
        let (in_rotation_part, observed_part) = (self.in_rotation_part, self.observed_part);
        let rules = SignalRules { in_rotation_part, observed_part, ..usual.rules };
        SignalTerms { rules, scaled_bins: self.scaled_bins, top_registries: self.top_registries }
    }

    fn check(&self) -> Result<(), String> {
        for (name, part) in
            [("in_rotation_part", self.in_rotation_part), ("observed_part", self.observed_part)]
        {
            if !(0.0..=1.0).contains(&part) {
                return Err(format!("signals.{name} is {part}; a part of the bin, 0 to 1, is allowed"));
            }
        }
        if !(1..=20_160).contains(&self.scaled_bins) {
            let bins = self.scaled_bins;
            return Err(format!("signals.scaled_bins is {bins}; 1 to 20160 are allowed"));
        }
        if self.top_registries > 1000 {
            let most = self.top_registries;
            return Err(format!("signals.top_registries is {most}; 0 to 1000 are allowed"));
        }
        Ok(())
    }
}

/// Where the state lies.
#[derive(Clone, Debug, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Store {
    /// In one file, which this router alone has open.
    Embedded {
        /// The file. Made if absent; its folder has to be there.
        path: PathBuf,
    },
    /// In an etcd cluster, which any number of routers share.
    Etcd(Etcd),
}

/// An etcd cluster.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Etcd {
    /// The members' client URLs.
    pub endpoints: Vec<String>,
    /// What every key begins with.
    #[serde(default = "usual_prefix")]
    pub prefix: String,
    /// Authorities that alone are believed, in PEM; the system's if absent.
    pub ca_file: Option<PathBuf>,
    /// The router's certificate, in PEM, with `key_file`, for a cluster that wants one.
    pub certificate_file: Option<PathBuf>,
    /// The certificate's key, in PEM.
    pub key_file: Option<PathBuf>,
    /// The name in the members' certificates, where it is not the endpoint's.
    pub server_name: Option<String>,
    /// Whom to be, with `password_file`, where the cluster has users.
    pub user: Option<String>,
    /// The file with the user's password.
    pub password_file: Option<PathBuf>,
}

fn usual_prefix() -> String {
    EtcdOptions::PREFIX.to_owned()
}

impl Etcd {
    /// As the store takes it.
    ///
    /// # Errors
    /// What belongs together and is only half there.
    pub fn options(&self) -> Result<EtcdOptions, String> {
        let both = |names: [&str; 2], given: [bool; 2]| match given {
            [true, false] => {
                Err(format!("store.{} is given without store.{}; they go together", names[0], names[1]))
            }
            [false, true] => {
                Err(format!("store.{} is given without store.{}; they go together", names[1], names[0]))
            }
            _ => Ok(()),
        };
        let identity = self.certificate_file.clone().zip(self.key_file.clone());
        both(["certificate_file", "key_file"], [self.certificate_file.is_some(), self.key_file.is_some()])?;
        both(["user", "password_file"], [self.user.is_some(), self.password_file.is_some()])?;
        let user = self.user.clone().zip(self.password_file.clone());
        Ok(EtcdOptions {
            prefix: self.prefix.clone(),
            tls: EtcdTls { ca_file: self.ca_file.clone(), identity, server_name: self.server_name.clone() },
            user: user.map(|(name, password_file)| EtcdUser { name, password_file }),
            ..EtcdOptions::new(self.endpoints.clone())
        })
    }
}

impl fmt::Display for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Embedded { path } => write!(f, "embedded, {}", path.display()),
            Self::Etcd(etcd) => write!(f, "etcd, {} under {}", etcd.endpoints.join(" "), etcd.prefix),
        }
    }
}

/// Somebody who may use the API.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Token {
    /// Who, as the audit shows them.
    pub name: String,
    /// What they may do.
    pub role: Role,
    /// The file with the token.
    pub file: PathBuf,
    /// The stamp whose nodes it is for, with the role `node`: nobody reports for another one with it.
    pub stamp: Option<StampName>,
    /// The node that it is for, with the role `node`: nobody reports under another name with it.
    pub node: Option<NodeName>,
}

/// What is logged.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Log {
    /// The least important level: `error`, `warn`, `info`, `debug` or `trace`; by module, as `info,dataproxy_router=debug`.
    pub level: String,
}

impl Default for Log {
    fn default() -> Self {
        Self { level: "info".into() }
    }
}

/// Settings that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("{}: the settings cannot be read: {error}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        error: std::io::Error,
    },
    /// A setting is wrong.
    #[error("{}: {error}", path.display())]
    Parse {
        /// The file.
        path: PathBuf,
        /// What is wrong, with its line.
        error: Box<toml::de::Error>,
    },
    /// Settings do not go together.
    #[error("{}: {reason}", path.display())]
    Unfit {
        /// The file.
        path: PathBuf,
        /// What is wrong, and what would be right.
        reason: String,
    },
}

impl Config {
    /// Reads and checks the settings of a file.
    ///
    /// # Errors
    /// [`ConfigError`]
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        let file = || path.to_owned();
        let text =
            std::fs::read_to_string(path).map_err(|error| ConfigError::Read { path: file(), error })?;
        Self::parse(&text).map_err(|reason| match reason {
            Wrong::Parse(error) => ConfigError::Parse { path: file(), error },
            Wrong::Unfit(reason) => ConfigError::Unfit { path: file(), reason },
        })
    }

    fn parse(text: &str) -> Result<Self, Wrong> {
        let config: Self = toml::from_str(text).map_err(|error| Wrong::Parse(Box::new(error)))?;
        let listen = config.api.listen;
        if config.tokens.is_empty() && !listen.ip().is_loopback() {
            return Err(Wrong::Unfit(format!(
                "api.listen is {listen}, which others can reach, and there are no tokens; give at least one under [[tokens]], or listen on a loopback address"
            )));
        }
        if let Some(dns) = &config.dns {
            Zone::new(&dns.zone).map_err(|error| Wrong::Unfit(format!("dns: {error}")))?;
        }
        config.signals.check().map_err(Wrong::Unfit)?;
        if let Store::Etcd(etcd) = &config.store {
            etcd.options().map_err(Wrong::Unfit)?;
        }
        for (at, token) in config.tokens.iter().enumerate() {
            if token.role != Role::Node && (token.stamp.is_some() || token.node.is_some()) {
                return Err(Wrong::Unfit(format!(
                    "tokens: {} has the role {} and a stamp or node; only a token of the role node is bound to one",
                    token.name,
                    token.role.as_str()
                )));
            }
            if config.tokens[..at].iter().any(|other| other.name == token.name) {
                return Err(Wrong::Unfit(format!(
                    "tokens: {} is named twice; each name is somebody's own",
                    token.name
                )));
            }
        }
        Ok(config)
    }
}

enum Wrong {
    Parse(Box<toml::de::Error>),
    Unfit(String),
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wrong(text: &str) -> String {
        match Config::parse(text) {
            Ok(config) => panic!("{config:?}"),
            Err(Wrong::Parse(error)) => error.to_string(),
            Err(Wrong::Unfit(reason)) => reason,
        }
    }

    const LEAST: &str = "region = \"local\"\nstore = { kind = \"embedded\", path = \"r.redb\" }\n";

    #[test]
    fn a_region_and_a_store_are_all_that_has_to_be_said() {
        let Ok(config) = Config::parse(LEAST) else { panic!("{}", wrong(LEAST)) };
        assert_eq!(config.api.listen.to_string(), "127.0.0.1:7000");
        assert_eq!(config.store.to_string(), "embedded, r.redb");
    }

    #[test]
    fn an_etcd_cluster_is_entered_with_both_halves_of_what_it_asks_for_or_with_none() {
        let least = "region = \"local\"\n[store]\nkind = \"etcd\"\nendpoints = [\"http://127.0.0.1:2379\"]\n";
        let Ok(config) = Config::parse(least) else { panic!("{}", wrong(least)) };
        assert_eq!(config.store.to_string(), "etcd, http://127.0.0.1:2379 under /dataproxy/v1/");
        let half = wrong(&format!("{least}user = \"router\"\n"));
        assert_eq!(half, "store.user is given without store.password_file; they go together");
        let half = wrong(&format!("{least}key_file = \"k\"\n"));
        assert_eq!(half, "store.key_file is given without store.certificate_file; they go together");
        assert!(wrong(&format!("{least}user_name = \"r\"\n")).contains("unknown field `user_name`"));
    }

    #[test]
    fn parts_of_a_bin_and_bins_of_a_window_are_bounded() {
        for (line, words) in [
            ("in_rotation_part = 1.5", "in_rotation_part is 1.5; a part of the bin, 0 to 1"),
            ("observed_part = nan", "observed_part is NaN"),
            ("scaled_bins = 0", "1 to 20160 are allowed"),
        ] {
            let error = wrong(&format!("{LEAST}[signals]\n{line}\n"));
            assert!(error.contains(words), "{error}");
        }
    }

    #[test]
    fn a_router_that_others_can_reach_has_tokens() {
        let open = format!("{LEAST}[api]\nlisten = \"0.0.0.0:7000\"\n");
        assert!(wrong(&open).contains("there are no tokens; give at least one"), "{}", wrong(&open));
        let token = "[[tokens]]\nname = \"ada\"\nrole = \"admin\"\nfile = \"t\"\n";
        assert!(Config::parse(&format!("{open}{token}")).is_ok());
        let bound = format!("{open}{token}stamp = \"a\"\n");
        assert!(wrong(&bound).contains("ada has the role admin and a stamp or node"), "{}", wrong(&bound));
        assert!(Config::parse(&bound.replace("\"admin\"", "\"node\"")).is_ok());
        let twice = format!("{LEAST}{token}{token}");
        assert!(wrong(&twice).contains("ada is named twice"));
    }

    #[test]
    fn a_zone_is_said_in_the_section_of_dns() {
        let dns =
            "[dns]\nlisten = [\"127.0.0.1:5353\"]\n[dns.zone]\nname = \"registry.test\"\nttl_seconds = 3\n";
        let Ok(config) = Config::parse(&format!("{LEAST}{dns}")) else { panic!() };
        assert_eq!(config.dns.map(|dns| dns.zone.ttl_seconds), Some(3));
        let bad = wrong(&format!("{LEAST}[dns.zone]\nname = \"a b\"\n"));
        assert!(bad.contains("dns: the zone \"a b\" is not valid"), "{bad}");
        let odd = wrong(&format!("{LEAST}{dns}ttl = 3\n"));
        assert!(odd.contains("ttl"), "{odd}");
    }

    #[test]
    fn what_is_not_known_is_named_with_its_line() {
        for (text, words) in [
            ("regoin = \"x\"", "unknown field `regoin`"),
            ("region = \"Bad Name\"", "1 to 63 of a-z"),
            ("region = \"local\"\n[store]\nkind = \"paper\"", "unknown variant `paper`"),
            ("region = \"local\"", "missing field `store`"),
            (
                &format!("{LEAST}[[tokens]]\nname = \"a\"\nrole = \"king\"\nfile = \"t\""),
                "unknown variant `king`",
            ),
        ] {
            let error = wrong(text);
            assert!(error.contains(words) && error.contains("line"), "{error}");
        }
    }
}
