//! The whole state that a proxy works from: one immutable value, ordered by revision.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use crate::{
    AccountName, Binding, Location, NodeName, Phase, Purge, RegionName, RegistryHost, RegistryName, Stamp,
    StampName,
};

/// Orders snapshots of the whole store; only grows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Revision(pub u64);

impl fmt::Display for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// One life of the store's content: revisions are of it, and begin anew with the next. 0 is the first; each restore of a
/// backup begins a greater one, so that nodes take what was restored though its revisions are low. Nothing else does: a
/// store that was lost and is empty has none that is greater, and no node takes it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct History(pub u64);

impl History {
    /// Whether the store was never restored: written as nothing, as before there were histories.
    pub fn is_first(&self) -> bool {
        self.0 == 0
    }
}

impl fmt::Display for History {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A revision of a history. Ordered by both: what is of a later history is newer, whatever its revision.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Point {
    /// The history.
    #[serde(default, skip_serializing_if = "History::is_first")]
    pub history: History,
    /// The revision.
    pub revision: Revision,
}

impl Point {
    /// A revision of the first history.
    pub fn first(revision: Revision) -> Self {
        Self { history: History::default(), revision }
    }
}

impl fmt::Display for Point {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.history {
            History(0) => self.revision.fmt(f),
            history => write!(f, "{} of history {history}", self.revision),
        }
    }
}

/// Every stamp and every binding of a region at one revision.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Snapshot {
    /// The history that the revision is of.
    #[serde(default, skip_serializing_if = "History::is_first")]
    pub history: History,
    /// Version of the whole.
    pub revision: Revision,
    /// The region.
    pub region: RegionName,
    /// The stamps.
    pub stamps: Vec<Stamp>,
    /// The bindings.
    pub bindings: Vec<Binding>,
    /// What is to be forgotten, of the last day.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub purges: Vec<Purge>,
}

/// A snapshot that contradicts itself.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SnapshotError {
    /// Two stamps have one name.
    #[error("stamp {0} is listed twice; a stamp has one entry")]
    StampTwice(StampName),
    /// Two nodes have one name.
    #[error("node {0} is listed twice; a node's name is unique in the region")]
    NodeTwice(NodeName),
    /// Two listeners have one address.
    #[error("address {address} is of node {node} and of node {other}; each listener has its own")]
    AddressTwice {
        /// The address.
        address: SocketAddr,
        /// The node that has it first.
        node: NodeName,
        /// The node that has it as well, which may be the same.
        other: NodeName,
    },
    /// Two bindings name one registry.
    #[error("registry {0} is bound twice; a registry has one binding")]
    RegistryTwice(RegistryName),
    /// A binding names a stamp that is not listed.
    #[error("registry {registry} is bound to stamp {stamp}, which is not listed under `stamps`")]
    UnknownStamp {
        /// The registry.
        registry: RegistryName,
        /// Its stamp.
        stamp: StampName,
    },
    /// A move leads nowhere, or to a stamp that is not listed.
    #[error("registry {registry}: {reason}")]
    Move {
        /// The registry.
        registry: RegistryName,
        /// What is wrong, and what would be right.
        reason: String,
    },
    /// Two registries are known by one name.
    #[error("host {host} is of registry {registry} and of registry {other}; a name means one registry")]
    HostTwice {
        /// The name.
        host: RegistryHost,
        /// The registry that has it first.
        registry: RegistryName,
        /// The registry that has it as well, which may be the same.
        other: RegistryName,
    },
    /// A container's name could leave its account.
    #[error(
        "registry {0}: placement.container must be one path segment of letters, digits, '-', '_' and '.', not starting with '.'"
    )]
    Container(RegistryName),
    /// Two stamps own one account, or one lists it twice.
    #[error("account {account} is of stamp {stamp} and of stamp {other}; an account belongs to one stamp")]
    AccountTwice {
        /// The account.
        account: AccountName,
        /// The stamp that lists it first.
        stamp: StampName,
        /// The stamp that lists it as well, which may be the same.
        other: StampName,
    },
    /// A placement names an account of no stamp, though stamps list theirs.
    #[error(
        "registry {registry} has content in account {account}, which no stamp lists under `accounts`; list it with the stamp that owns it"
    )]
    UnknownAccount {
        /// The registry.
        registry: RegistryName,
        /// The account.
        account: AccountName,
    },
    /// A placement names an account twice: a copy in the same account fails when that fails.
    #[error("registry {registry} names account {account} twice; a copy is in an account of its own")]
    CopyTwice {
        /// The registry.
        registry: RegistryName,
        /// The account.
        account: AccountName,
    },
}

impl Snapshot {
    /// A region without stamps.
    pub fn empty(region: RegionName) -> Self {
        Self {
            history: History::default(),
            revision: Revision(0),
            region,
            stamps: Vec::new(),
            bindings: Vec::new(),
            purges: Vec::new(),
        }
    }

    /// Where it is in the store's life.
    pub fn point(&self) -> Point {
        Point { history: self.history, revision: self.revision }
    }

    /// Puts everything in the order of its name, so that equal content is equal.
    pub fn sort(&mut self) {
        self.stamps.sort_by(|one, other| one.name.cmp(&other.name));
        self.stamps.iter_mut().for_each(|stamp| stamp.nodes.sort_by(|one, other| one.name.cmp(&other.name)));
        self.bindings.sort_by(|one, other| one.registry.cmp(&other.registry));
        self.purges.sort_by_key(|purge| purge.revision);
    }

    /// Checks what the types cannot say.
    ///
    /// # Errors
    /// The first contradiction.
    pub fn validate(&self) -> Result<(), SnapshotError> {
        let mut stamps = HashSet::new();
        for stamp in &self.stamps {
            if !stamps.insert(&stamp.name) {
                return Err(SnapshotError::StampTwice(stamp.name.clone()));
            }
        }
        self.validate_nodes()?;
        let accounts = self.validate_accounts()?;
        let mut registries = HashSet::new();
        for binding in &self.bindings {
            if !registries.insert(&binding.registry) {
                return Err(SnapshotError::RegistryTwice(binding.registry.clone()));
            }
            if !stamps.contains(&binding.home_stamp) {
                return Err(SnapshotError::UnknownStamp {
                    registry: binding.registry.clone(),
                    stamp: binding.home_stamp.clone(),
                });
            }
            validate_move(binding, &stamps)
                .map_err(|reason| SnapshotError::Move { registry: binding.registry.clone(), reason })?;
            validate_placement(binding, &accounts)?;
        }
        self.validate_hosts()
    }

    fn validate_hosts(&self) -> Result<(), SnapshotError> {
        let mut hosts = HashMap::new();
        for binding in &self.bindings {
            for host in &binding.hosts {
                if let Some(first) = hosts.insert(host, &binding.registry) {
                    let (registry, other) = (RegistryName::clone(first), binding.registry.clone());
                    return Err(SnapshotError::HostTwice { host: host.clone(), registry, other });
                }
            }
        }
        Ok(())
    }

    /// The accounts that stamps list, with their stamps.
    fn validate_accounts(&self) -> Result<HashMap<&AccountName, &StampName>, SnapshotError> {
        let mut owners = HashMap::new();
        for stamp in &self.stamps {
            for account in &stamp.accounts {
                if let Some(first) = owners.insert(account, &stamp.name) {
                    return Err(SnapshotError::AccountTwice {
                        account: account.clone(),
                        stamp: StampName::clone(first),
                        other: stamp.name.clone(),
                    });
                }
            }
        }
        Ok(owners)
    }

    fn validate_nodes(&self) -> Result<(), SnapshotError> {
        let (mut names, mut addresses) = (HashSet::new(), HashMap::new());
        for node in self.stamps.iter().flat_map(|stamp| &stamp.nodes) {
            if !names.insert(&node.name) {
                return Err(SnapshotError::NodeTwice(node.name.clone()));
            }
            for address in [node.address, node.admin] {
                if let Some(first) = addresses.insert(address, &node.name) {
                    let (node, other) = (NodeName::clone(first), node.name.clone());
                    return Err(SnapshotError::AddressTwice { address, node, other });
                }
            }
        }
        Ok(())
    }

    /// The binding of `registry`, if it has one.
    pub fn binding(&self, registry: &RegistryName) -> Option<&Binding> {
        self.bindings.iter().find(|binding| binding.registry == *registry)
    }

    /// The stamp that owns an account, where stamps list theirs.
    pub fn owner(&self, account: &AccountName) -> Option<&StampName> {
        self.stamps.iter().find(|stamp| stamp.accounts.contains(account)).map(|stamp| &stamp.name)
    }

    /// The stamp of this name.
    pub fn stamp(&self, name: &StampName) -> Option<&Stamp> {
        self.stamps.iter().find(|stamp| stamp.name == *name)
    }
}

/// The stamps of a move, which its phase asks for.
fn validate_move(binding: &Binding, stamps: &HashSet<&StampName>) -> Result<(), String> {
    let other = |stamp: &Option<StampName>, what: &str| match stamp {
        None => Ok(()),
        Some(stamp) if *stamp == binding.home_stamp => {
            Err(format!("its {what} is {stamp}, which is its home already; {what} and home differ"))
        }
        Some(stamp) if !stamps.contains(stamp) => {
            Err(format!("its {what} is stamp {stamp}, which is not listed under `stamps`"))
        }
        Some(_) => Ok(()),
    };
    other(&binding.destination, "destination")?;
    other(&binding.source, "source")?;
    match binding.phase {
        Phase::Preparing if binding.destination.is_none() => {
            Err("its phase is preparing; a destination goes with that".into())
        }
        Phase::Draining | Phase::Observing if binding.source.is_none() => {
            Err("its phase is draining or observing; a source goes with that".into())
        }
        _ => Ok(()),
    }
}

/// An account need not be of the home stamp: after a re-bind it is of the one before.
fn validate_placement(
    binding: &Binding,
    owners: &HashMap<&AccountName, &StampName>,
) -> Result<(), SnapshotError> {
    let mut accounts = HashSet::new();
    let has_copies = !binding.placement.copies.is_empty();
    for Location { account, container, .. } in binding.placement.locations() {
        let registry = binding.registry.clone();
        // An upstream registry has no containers, and nothing is a copy of it.
        if (has_copies || !container.is_empty()) && !is_container(&container) {
            return Err(SnapshotError::Container(registry));
        }
        if !owners.is_empty() && !owners.contains_key(&account) {
            return Err(SnapshotError::UnknownAccount { registry, account });
        }
        if !accounts.insert(account.clone()) {
            return Err(SnapshotError::CopyTwice { registry, account });
        }
    }
    Ok(())
}

fn is_container(name: &str) -> bool {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
    !name.is_empty() && name.len() <= 255 && !name.starts_with('.') && name.bytes().all(allowed)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn snapshot(json: &str) -> Result<(), String> {
        let value: Snapshot = serde_json::from_str(json).map_err(|e| e.to_string())?;
        value.validate().map_err(|e| e.to_string())
    }

    fn with_bindings(bindings: &str) -> String {
        format!(
            r#"{{"revision":1,"region":"local","stamps":[{{"name":"a","nodes":[{{"name":"a1","address":"127.0.1.1:5000","admin":"127.0.1.1:9100"}}]}}],"bindings":[{bindings}]}}"#
        )
    }

    fn binding(registry: &str, stamp: &str, container: &str) -> String {
        format!(
            r#"{{"registry":"{registry}","home_stamp":"{stamp}","epoch":1,"placement":{{"account":"a1","container":"{container}"}}}}"#
        )
    }

    #[test]
    fn a_snapshot_that_contradicts_itself_is_refused_with_the_reason() {
        let good = binding("contoso", "a", "contoso");
        assert_eq!(snapshot(&with_bindings(&good)), Ok(()));
        for (bindings, reason) in [
            (format!("{good},{good}"), "bound twice"),
            (binding("contoso", "c", "contoso"), "stamp c, which is not listed"),
            (binding("contoso", "a", ".."), "one path segment"),
            (binding("contoso", "a", "a/b"), "one path segment"),
            (binding("Contoso", "a", "x"), "registry \"Contoso\" is not valid"),
        ] {
            let error = snapshot(&with_bindings(&bindings)).expect_err(&bindings);
            assert!(error.contains(reason), "{error}");
        }
    }

    #[test]
    fn a_field_of_a_later_version_is_ignored_wherever_it_is() {
        let plain: Snapshot = serde_json::from_str(&with_bindings(&binding("contoso", "a", "c"))).unwrap();
        let mut json = serde_json::to_value(&plain).unwrap();
        for place in ["", "/stamps/0", "/stamps/0/nodes/0", "/bindings/0", "/bindings/0/placement"] {
            let object = json.pointer_mut(place).and_then(serde_json::Value::as_object_mut).expect(place);
            object.insert("of_a_later_version".to_owned(), serde_json::json!({"any": ["thing", 1]}));
        }
        assert_eq!(serde_json::from_value::<Snapshot>(json).unwrap(), plain);
    }

    #[test]
    fn a_move_has_two_ends_that_are_listed() {
        let moving = |more: &str| {
            let binding = binding("contoso", "a", "contoso").replacen('{', &format!("{{{more},"), 1);
            let two = with_bindings(&binding).replacen(
                "],\"bindings\"",
                r#",{"name":"b","nodes":[]}],"bindings""#,
                1,
            );
            snapshot(&two)
        };
        assert_eq!(moving(r#""phase":"preparing","destination":"b""#), Ok(()));
        assert_eq!(moving(r#""phase":"draining","source":"b""#), Ok(()));
        assert_eq!(moving(r#""source":"b""#), Ok(()));
        for (more, reason) in [
            (r#""phase":"preparing""#, "a destination goes with that"),
            (r#""phase":"observing""#, "a source goes with that"),
            (r#""source":"a""#, "its home already"),
            (r#""destination":"c""#, "stamp c, which is not listed"),
        ] {
            let error = moving(more).expect_err(more);
            assert!(error.contains(reason), "{error}");
        }
    }

    #[test]
    fn a_placement_names_accounts_of_stamps_if_stamps_list_any_and_each_once() {
        let with = |accounts: [&str; 2], placement: &str| {
            let [a, b] = accounts;
            format!(
                r#"{{"revision":1,"region":"local","stamps":[{{"name":"a","nodes":[],"accounts":[{a}]}},{{"name":"b","nodes":[],"accounts":[{b}]}}],"bindings":[{{"registry":"contoso","home_stamp":"a","epoch":1,"placement":{placement}}}]}}"#
            )
        };
        let plain = r#"{"account":"two","container":"c"}"#;
        let copied = r#"{"account":"two","container":"c","prefix":"/","copies":[{"account":"one","container":"c","prefix":"x/"}]}"#;
        for good in [
            with(["", ""], plain),
            with([r#""one""#, r#""two""#], plain),
            with([r#""one","two""#, ""], copied),
        ] {
            assert_eq!(snapshot(&good), Ok(()), "{good}");
        }
        for (bad, reason) in [
            (with([r#""one""#, ""], plain), "account two, which no stamp lists"),
            (with([r#""two""#, ""], copied), "account one, which no stamp lists"),
            (with([r#""one""#, r#""one""#], plain), "account one is of stamp a and of stamp b"),
            (with(["", r#""two","two""#], plain), "account two is of stamp b and of stamp b"),
            (with(["", ""], &copied.replace("one", "two")), "account two twice"),
            (with(["", ""], &copied.replace("\"x/\"", "\"../\"")), "prefix \"../\" is not valid"),
            (
                with(
                    ["", ""],
                    &copied.replace(
                        "[{\"account\":\"one\",\"container\":\"c\"",
                        "[{\"account\":\"one\",\"container\":\"a/b\"",
                    ),
                ),
                "one path segment",
            ),
        ] {
            let error = snapshot(&bad).expect_err(&bad);
            assert!(error.contains(reason), "{error}");
        }
    }

    #[test]
    fn a_name_means_one_registry() {
        let with = |one: &str, other: &str| {
            let hosts =
                |binding: String, hosts: &str| binding.replacen('{', &format!(r#"{{"hosts":[{hosts}],"#), 1);
            snapshot(&with_bindings(&format!(
                "{},{}",
                hosts(binding("hub", "a", "hub"), one),
                hosts(binding("other", "a", "other"), other)
            )))
        };
        assert_eq!(with(r#""docker.io","localhost:5000""#, r#""ghcr.io","localhost""#), Ok(()));
        for (one, other, reason) in [
            (
                r#""docker.io""#,
                r#""ghcr.io","docker.io""#,
                "docker.io is of registry hub and of registry other",
            ),
            (r#""docker.io","docker.io""#, "", "docker.io is of registry hub and of registry hub"),
            (r#""Docker.io""#, "", "host \"Docker.io\" is not valid"),
        ] {
            let error = with(one, other).expect_err(reason);
            assert!(error.contains(reason), "{error}");
        }
    }

    #[test]
    fn a_placement_in_an_account_without_containers_names_none() {
        let none = binding("hub", "a", "").replace(r#","container":"""#, "");
        assert_eq!(snapshot(&with_bindings(&none)), Ok(()));
        let read: Binding = serde_json::from_str(&none).expect("valid");
        assert_eq!(
            serde_json::to_value(&read.placement).expect("JSON"),
            serde_json::json!({"account": "a1"})
        );
    }

    #[test]
    fn nodes_that_cannot_be_told_apart_are_refused_across_stamps() {
        let with_nodes = |a: [&str; 3], b: [&str; 3]| {
            let node = |[name, address, admin]: [&str; 3]| {
                format!(
                    r#"[{{"name":"{name}","address":"127.0.0.1:{address}","admin":"127.0.0.1:{admin}"}}]"#
                )
            };
            format!(
                r#"{{"revision":1,"region":"local","stamps":[{{"name":"a","nodes":{}}},{{"name":"b","nodes":{}}}],"bindings":[]}}"#,
                node(a),
                node(b)
            )
        };
        let a1 = ["a1", "1", "2"];
        assert_eq!(snapshot(&with_nodes(a1, ["b1", "3", "4"])), Ok(()));
        for (b, reason) in [
            (["a1", "3", "4"], "node a1 is listed twice"),
            (["b1", "1", "4"], "address 127.0.0.1:1 is of node a1 and of node b1"),
            (["b1", "3", "2"], "address 127.0.0.1:2 is of node a1 and of node b1"),
            (["b1", "2", "4"], "address 127.0.0.1:2 is of node a1 and of node b1"),
            (["b1", "3", "3"], "address 127.0.0.1:3 is of node b1 and of node b1"),
        ] {
            let error = snapshot(&with_nodes(a1, b)).expect_err(reason);
            assert!(error.contains(reason), "{error}");
        }
    }
}
