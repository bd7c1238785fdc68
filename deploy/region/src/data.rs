//! The region's folder: what lies where, who works in it, and the files that the nodes start from.
//!
//! ```text
//! bindings.json       which registry is where, as the router last said; what a new router begins with
//! router.toml         settings of the router, written anew at every start
//! router.redb         what the router keeps
//! nodes/<node>.toml   settings of one node, written anew at every start
//! nodes/<node>.bindings.json   what the router last told it
//! accounts/<account>/<container>/docker/registry/v2/…   storage accounts, in distribution's layout
//! stamp.key           what nodes of one stamp show each other that they know
//! azurite/            with --azurite: where it keeps its own copy of the accounts, and each account's key
//! azurite.address     where it listens; there for as long as the region was last started with --azurite
//! cache/<node>/       the node's disk tier
//! logs/<node>.log     what the node says; the run before that, or what has grown too long, in <node>.log.1
//! ```

use std::fs::{self, File, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use dataproxy_router_api::{AccountName, Binding, RegistryName, Revision, Snapshot};

use crate::azurite::{Azurite, make_secret, random_key};
use crate::error::RegionError;
use crate::node_settings::node_settings;
use crate::router_settings::router_settings;
use crate::topology::{Member, REGION, Topology, first_bindings};

const BINDINGS: &str = "bindings.json";

/// The folder of a region.
#[derive(Clone, Debug)]
pub(crate) struct Data {
    root: PathBuf,
}

/// Held for as long as a region works in its folder; the system lets go of it when the process ends.
#[derive(Debug)]
pub(crate) struct Lock {
    _file: File,
}

impl Data {
    /// The folder at `path`, made if absent.
    pub(crate) fn open(path: &Path) -> Result<Self, RegionError> {
        let failed = |error| RegionError::file(path, error);
        fs::create_dir_all(path).map_err(failed)?;
        Ok(Self { root: path.canonicalize().map_err(failed)? })
    }

    /// The folder at `path`, in which a region has been started before. Nothing is made.
    pub(crate) fn existing(path: &Path) -> Result<Self, RegionError> {
        if !path.join(BINDINGS).is_file() {
            return Err(RegionError::NoRegion(path.to_owned()));
        }
        Self::open(path)
    }

    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    pub(crate) fn bindings(&self) -> PathBuf {
        self.root.join(BINDINGS)
    }

    pub(crate) fn account(&self, account: &str) -> PathBuf {
        self.root.join("accounts").join(account)
    }

    /// The folder that holds a registry's content.
    pub(crate) fn container(&self, binding: &Binding) -> PathBuf {
        let placement = &binding.placement;
        let container = self.account(placement.account.as_str()).join(&placement.container);
        // A leading slash would make the path start over; nodes refuse such a prefix of a folder.
        container.join(placement.prefix.as_str().trim_start_matches('/'))
    }

    pub(crate) fn settings(&self, member: &Member) -> PathBuf {
        self.root.join("nodes").join(format!("{}.toml", member.name))
    }

    /// What a node was last told.
    pub(crate) fn snapshot(&self, member: &Member) -> PathBuf {
        self.root.join("nodes").join(format!("{}.bindings.json", member.name))
    }

    pub(crate) fn router_settings(&self) -> PathBuf {
        self.root.join("router.toml")
    }

    /// Where the router's state lies.
    pub(crate) fn router_store(&self) -> PathBuf {
        self.root.join("router.redb")
    }

    pub(crate) fn cache(&self, member: &Member) -> PathBuf {
        self.root.join("cache").join(member.name.as_str())
    }

    /// The file of the key that the nodes of a stamp share.
    pub(crate) fn stamp_key(&self) -> PathBuf {
        self.root.join("stamp.key")
    }

    /// Makes the key, unless there is one.
    fn make_stamp_key(&self) -> Result<(), RegionError> {
        let path = self.stamp_key();
        if path.exists() {
            return Ok(());
        }
        make_secret(&path, &random_key())
    }

    /// The log of a process of this name.
    pub(crate) fn log(&self, name: &str) -> PathBuf {
        self.root.join("logs").join(format!("{name}.log"))
    }

    /// Azurite's own folder.
    pub(crate) fn azurite(&self) -> PathBuf {
        self.root.join("azurite")
    }

    /// The file with an account's key.
    pub(crate) fn account_key(&self, account: &AccountName) -> PathBuf {
        self.azurite().join(format!("{account}.key"))
    }

    /// Where Azurite listens, if it holds the accounts.
    pub(crate) fn azurite_address(&self) -> Option<SocketAddr> {
        fs::read_to_string(self.azurite_marker()).ok()?.trim().parse().ok()
    }

    /// Keeps where Azurite listens, or that it does not hold the accounts.
    pub(crate) fn set_azurite_address(&self, address: Option<SocketAddr>) -> Result<(), RegionError> {
        let path = self.azurite_marker();
        match address {
            Some(address) => replace(&path, format!("{address}\n").as_bytes()),
            None => match fs::remove_file(&path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => Err(RegionError::file(&path, error)),
                _ => Ok(()),
            },
        }
    }

    fn azurite_marker(&self) -> PathBuf {
        self.root.join("azurite.address")
    }

    /// Makes this process the only region in the folder.
    pub(crate) fn lock(&self) -> Result<Lock, RegionError> {
        let path = self.root.join("region.lock");
        let failed = |error| RegionError::file(&path, error);
        let options = File::options().read(true).write(true).create(true).truncate(false).open(&path);
        let mut file = options.map_err(failed)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut pid = String::new();
                file.read_to_string(&mut pid).map_err(failed)?;
                return Err(RegionError::InUse { data: self.root.clone(), pid: pid.trim().to_owned() });
            }
            Err(TryLockError::Error(error)) => return Err(failed(error)),
        }
        let written = file.set_len(0).and_then(|()| file.rewind());
        written.and_then(|()| writeln!(file, "{}", std::process::id())).map_err(failed)?;
        Ok(Lock { _file: file })
    }

    /// Reads the bindings; a new region begins with its first registries. The accounts' folders are there
    /// when this returns.
    pub(crate) fn load(&self, topology: &Topology) -> Result<Snapshot, RegionError> {
        let path = self.bindings();
        let snapshot = match fs::read(&path) {
            Ok(text) => self.parse(&text)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let snapshot = Snapshot {
                    revision: Revision(1),
                    stamps: topology.stamps(),
                    bindings: first_bindings()?,
                    ..Snapshot::empty(REGION.parse()?)
                };
                self.save(&snapshot)?;
                snapshot
            }
            Err(error) => return Err(RegionError::file(&path, error)),
        };
        let accounts = topology.accounts.iter().map(|account| self.account(account.as_str()));
        for folder in accounts.chain(snapshot.bindings.iter().map(|binding| self.container(binding))) {
            fs::create_dir_all(&folder).map_err(|error| RegionError::file(&folder, error))?;
        }
        Ok(snapshot)
    }

    fn parse(&self, text: &[u8]) -> Result<Snapshot, RegionError> {
        let unusable = |problem: String| RegionError::Bindings { path: self.bindings(), problem };
        let snapshot: Snapshot = serde_json::from_slice(text).map_err(|error| unusable(error.to_string()))?;
        snapshot.validate().map_err(|error| unusable(error.to_string()))?;
        Ok(snapshot)
    }

    /// Writes what the router and the nodes start from.
    pub(crate) fn write(
        &self,
        topology: &Topology,
        zone: &str,
        azurite: Option<&Azurite>,
        bin_seconds: u32,
    ) -> Result<(), RegionError> {
        self.make_stamp_key()?;
        let path = self.router_settings();
        let text = router_settings(self, &topology.control, zone);
        let text = text.map_err(|error| RegionError::file(&path, io::Error::other(error)))?;
        replace(&path, text.as_bytes())?;
        self.put_log_aside("router")?;
        for member in &topology.members {
            let text = node_settings(self, topology, member, zone, azurite, bin_seconds)
                .map_err(|error| RegionError::file(&self.settings(member), io::Error::other(error)))?;
            replace(&self.settings(member), text.as_bytes())?;
            self.put_log_aside(member.name.as_str())?;
        }
        self.put_log_aside("azurite")
    }

    fn put_log_aside(&self, name: &str) -> Result<(), RegionError> {
        let log = self.log(name);
        if let Some(folder) = log.parent() {
            fs::create_dir_all(folder).map_err(|error| RegionError::file(folder, error))?;
        }
        match fs::rename(&log, log.with_extension("log.1")) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(RegionError::file(&log, error)),
            _ => Ok(()),
        }
    }

    /// Keeps what the router says of the bindings.
    pub(crate) fn save(&self, snapshot: &Snapshot) -> Result<(), RegionError> {
        let path = self.bindings();
        let mut text = serde_json::to_vec_pretty(snapshot)
            .map_err(|error| RegionError::file(&path, io::Error::other(error)))?;
        text.push(b'\n');
        replace(&path, &text)
    }
}

/// The binding of a registry that a command names.
pub(crate) fn binding_of<'a>(snapshot: &'a Snapshot, name: &str) -> Result<&'a Binding, RegionError> {
    let registry = name.parse::<RegistryName>().ok();
    registry.and_then(|registry| snapshot.binding(&registry)).ok_or_else(|| RegionError::Registry {
        name: name.to_owned(),
        known: snapshot.bindings.iter().map(|binding| binding.registry.to_string()).collect(),
    })
}

/// Writes a file so that a reader sees the old content or the new one.
fn replace(path: &Path, content: &[u8]) -> Result<(), RegionError> {
    let failed = |error| RegionError::file(path, error);
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).map_err(failed)?;
    }
    let staged = path.with_extension(format!("new-{}", std::process::id()));
    fs::write(&staged, content).and_then(|()| fs::rename(&staged, path)).map_err(failed)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn region() -> (tempfile::TempDir, Data, Topology) {
        let dir = tempfile::tempdir().expect("a folder");
        let data = Data::open(&dir.path().join("data")).expect("a folder");
        (dir, data, Topology::new(0).expect("names"))
    }

    #[test]
    fn a_second_region_in_one_folder_is_refused_with_the_first_ones_number() {
        let (_dir, data, _) = region();
        let lock = data.lock().expect("free");
        let error = data.lock().expect_err("taken").to_string();
        assert!(error.contains(&format!("process {}", std::process::id())), "{error}");
        assert!(error.contains("--data DIR"), "{error}");
        drop(lock);
        data.lock().expect("free again");
    }

    #[test]
    fn the_bindings_that_the_router_last_said_survive_a_restart_at_other_ports() {
        let (_dir, data, topology) = region();
        let mut snapshot = data.load(&topology).expect("new");
        snapshot.bindings[0].home_stamp = "b".parse().expect("a name");
        snapshot.bindings[0].epoch.0 = 7;
        snapshot.revision.0 = 20;
        data.save(&snapshot).expect("saved");
        let moved = Topology::new(5).expect("names");
        data.write(&moved, "registry.test", None, 60).expect("written");
        assert_eq!(data.load(&moved).expect("loaded"), snapshot);
    }

    #[test]
    fn bindings_that_cannot_be_used_are_named_with_their_fault_and_left_alone() {
        let (_dir, data, topology) = region();
        for (text, fault) in [("{", "EOF while parsing"), ("{\"revision\":1}", "missing field")] {
            fs::write(data.bindings(), text).expect("written");
            let error = data.load(&topology).expect_err(text).to_string();
            assert!(error.contains("bindings.json") && error.contains(fault), "{error}");
            assert_eq!(fs::read_to_string(data.bindings()).expect("there"), text);
        }
    }

    #[test]
    fn a_registry_that_does_not_exist_is_answered_with_those_that_do() {
        let (_dir, data, topology) = region();
        let snapshot = data.load(&topology).expect("new");
        for name in ["contosso", "..", ""] {
            let error = binding_of(&snapshot, name).expect_err(name).to_string();
            assert!(error.contains("contoso, fabrikam"), "{error}");
        }
        let contoso = binding_of(&snapshot, "contoso").expect("bound");
        assert!(data.container(contoso).ends_with("accounts/a1/contoso"));
        assert!(data.container(contoso).is_dir(), "a container is there before anything is pushed into it");
    }

    #[test]
    fn each_run_has_its_own_logs_and_the_last_ones_are_kept() {
        let (_dir, data, topology) = region();
        let log = data.log(topology.members[0].name.as_str());
        for run in ["first", "second", "third"] {
            data.write(&topology, "registry.test", None, 60).expect("written");
            assert!(!log.exists());
            fs::write(&log, run).expect("written");
        }
        assert_eq!(fs::read_to_string(log.with_extension("log.1")).expect("kept"), "second");
    }
}
