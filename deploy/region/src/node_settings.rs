//! The settings of one node, as the file that `dataproxy serve` reads.

use std::collections::BTreeMap;
use std::path::PathBuf;

use dataproxy_router_api::AccountName;
use serde::Serialize;

use crate::azurite::Azurite;
use crate::data::Data;
use crate::topology::{Member, REGION, Topology};

/// Memory of one node's cache: five nodes share one machine.
const CACHE_MEMORY: &str = "128 MiB";
/// Disk of one node's cache.
const CACHE_CAPACITY: &str = "4 GiB";
/// How long running pulls may go on once the region is told to end.
pub(crate) const DRAIN_SECONDS: u64 = 5;

#[derive(Serialize)]
struct Settings<'a> {
    node: Node<'a>,
    listen: Listen,
    admin: Admin,
    drain: Drain,
    bindings: Bindings,
    tenancy: Tenancy,
    cpu: Cpu,
    #[serde(skip_serializing_if = "Option::is_none")]
    cache: Option<Cache>,
    #[serde(skip_serializing_if = "Option::is_none")]
    stamp: Option<Stamp>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    accounts: BTreeMap<&'a str, Account>,
}

#[derive(Serialize)]
struct Node<'a> {
    name: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    stamp: Option<&'a str>,
    region: &'a str,
    zone: &'a str,
}

#[derive(Serialize)]
struct Listen {
    pull: Vec<String>,
}

#[derive(Serialize)]
struct Admin {
    listen: String,
}

#[derive(Serialize)]
struct Drain {
    deadline: String,
    /// Front doors look every second, and ask another node at once where one refuses.
    lame_duck: &'static str,
}

#[derive(Serialize)]
struct Bindings {
    source: &'static str,
    routers: Vec<String>,
    snapshot: PathBuf,
}

/// Nodes share one machine, so that each looks at its own process, beside all cores.
#[derive(Serialize)]
struct Cpu {
    scope: &'static str,
    cores: usize,
    bin: String,
}

#[derive(Serialize)]
struct Tenancy {
    path: bool,
}

#[derive(Serialize)]
struct Cache {
    dir: PathBuf,
    memory: &'static str,
    capacity: &'static str,
}

#[derive(Serialize)]
struct Stamp {
    key: PathBuf,
}

#[derive(Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
enum Account {
    Local { path: PathBuf },
    Azure { endpoint: String, credential: &'static str, secret_file: PathBuf },
}

/// The text of a member's settings. A stamp's node may read the accounts of every stamp, so that a registry
/// that is bound to another stamp is served at once; the front door reads none.
pub(crate) fn node_settings(
    data: &Data,
    topology: &Topology,
    member: &Member,
    zone: &str,
    azurite: Option<&Azurite>,
    bin_seconds: u32,
) -> Result<String, toml::ser::Error> {
    let of_stamp = member.stamp.is_some();
    let account = |name: &AccountName| match azurite {
        None => Account::Local { path: data.account(name.as_str()) },
        Some(azurite) => Account::Azure {
            endpoint: azurite.endpoint(name),
            credential: "shared_key",
            secret_file: data.account_key(name),
        },
    };
    let accounts = topology.accounts.iter().map(|name| (name.as_str(), account(name)));
    let settings = Settings {
        node: Node {
            name: member.name.as_str(),
            stamp: member.stamp.as_ref().map(|stamp| stamp.as_str()),
            region: REGION,
            zone,
        },
        listen: Listen { pull: vec![member.pull.to_string()] },
        admin: Admin { listen: member.admin.to_string() },
        drain: Drain { deadline: format!("{DRAIN_SECONDS}s"), lame_duck: "0s" },
        bindings: Bindings {
            source: "router",
            routers: vec![format!("http://{}", topology.control.api)],
            snapshot: data.snapshot(member),
        },
        tenancy: Tenancy { path: true },
        cpu: Cpu {
            scope: "process",
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            bin: format!("{bin_seconds}s"),
        },
        cache: of_stamp.then(|| Cache {
            dir: data.cache(member),
            memory: CACHE_MEMORY,
            capacity: CACHE_CAPACITY,
        }),
        stamp: of_stamp.then(|| Stamp { key: data.stamp_key() }),
        accounts: accounts.filter(|_| of_stamp).collect(),
    };
    Ok(format!("# Written by `region` at every start; changes are lost.\n\n{}", toml::to_string(&settings)?))
}

#[cfg(test)]
mod tests {
    use dataproxy::config::{Account, Config};

    use super::*;

    #[test]
    fn every_node_accepts_the_settings_that_are_written_for_it() {
        let dir = tempfile::tempdir().expect("a folder");
        let odd = dir.path().join("a \"quoted\" folder \\ with = and #");
        let data = Data::open(&odd).expect("a folder");
        let topology = Topology::new(1000).expect("names");
        for member in &topology.members {
            let text = node_settings(&data, &topology, member, "example.test", None, 60).expect("TOML");
            let config = Config::parse(&data.settings(member), &text).expect("valid");
            assert_eq!((&config.node.name, &config.node.stamp), (&member.name, &member.stamp));
            assert_eq!(config.node.zone, "example.test");
            assert_eq!((config.listen.pull, config.admin.listen), (vec![member.pull], member.admin));
            assert!(config.tenancy.path);
            if member.stamp.is_none() {
                assert!(config.accounts.is_empty() && config.cache.disk.is_none());
                assert_eq!(config.stamp.key, None);
                continue;
            }
            assert_eq!(config.stamp.key, Some(data.stamp_key()), "the nodes of a stamp are one cache");
            assert_eq!(config.cache.disk.expect("a disk tier").dir, data.cache(member));
            for account in &topology.accounts {
                let Account::Local { path } = &config.accounts[account] else { panic!("a folder") };
                assert_eq!(*path, data.account(account.as_str()), "stamps may read each other's accounts");
            }
        }
    }
}
