//! All records at one revision, by their names. Pure: what the store says is applied, what nodes see is derived.

use std::collections::{BTreeMap, BTreeSet};

use dataproxy_router_api::{
    AccountName, Binding, Change, History, NodeName, Point, Purge, RegionName, RegistryName, Revision,
    Snapshot, Stamp, StampName,
};

use crate::execution::Execution;
use crate::migration::{Migration, UnixMillis};
use crate::record::{
    EPOCHS, EXECUTIONS, EpochRecord, FREEZE, FreezeRecord, HISTORY, HistoryRecord, MIGRATIONS, NODES,
    NodeRecord, PINS, PLANS, POLICY, PURGES, PinRecord, PlanRecord, PolicyRecord, PurgeRecord, REGISTRIES,
    RESTARTS, Record, SENT, STAMPS, SentRecord, StampRecord,
};
use crate::restart::Restart;

/// A record, and the revision of its last write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Versioned<T> {
    /// The record.
    pub value: T,
    /// When it was last written.
    pub version: Revision,
}

/// All records at one revision.
#[derive(Clone, Debug)]
pub struct State {
    region: RegionName,
    history: Option<Versioned<HistoryRecord>>,
    revision: Revision,
    stamps: BTreeMap<StampName, Versioned<StampRecord>>,
    nodes: BTreeMap<NodeName, Versioned<NodeRecord>>,
    bindings: BTreeMap<RegistryName, Versioned<Binding>>,
    migrations: BTreeMap<String, Versioned<Migration>>,
    /// Those that have not ended, so that nobody has to look through those that have.
    moving: BTreeSet<String>,
    restarts: BTreeMap<StampName, Versioned<Restart>>,
    sent: BTreeMap<RegistryName, Versioned<SentRecord>>,
    purges: BTreeMap<String, Versioned<PurgeRecord>>,
    /// Of registries that are no more.
    epochs: BTreeMap<RegistryName, Versioned<EpochRecord>>,
    plans: BTreeMap<String, Versioned<PlanRecord>>,
    executions: BTreeMap<String, Versioned<Execution>>,
    pins: BTreeMap<RegistryName, Versioned<PinRecord>>,
    freeze: Option<Versioned<FreezeRecord>>,
    policy: Option<Versioned<PolicyRecord>>,
}

/// One write, as the store tells of it. A commit writes a key once.
#[derive(Clone, Debug)]
pub enum Written {
    /// A record was put.
    Put(Box<Record>),
    /// What was under this key is gone.
    Gone(String),
}

impl State {
    /// Nothing, at revision 0.
    pub fn new(region: RegionName) -> Self {
        Self {
            region,
            history: None,
            revision: Revision(0),
            stamps: BTreeMap::new(),
            nodes: BTreeMap::new(),
            bindings: BTreeMap::new(),
            migrations: BTreeMap::new(),
            moving: BTreeSet::new(),
            restarts: BTreeMap::new(),
            sent: BTreeMap::new(),
            purges: BTreeMap::new(),
            epochs: BTreeMap::new(),
            plans: BTreeMap::new(),
            executions: BTreeMap::new(),
            pins: BTreeMap::new(),
            freeze: None,
            policy: None,
        }
    }

    /// The revision.
    pub fn revision(&self) -> Revision {
        self.revision
    }

    /// The history that the revision is of.
    pub fn history(&self) -> History {
        self.history.as_ref().map(|record| record.value.history).unwrap_or_default()
    }

    /// Where it is in the store's life.
    pub fn point(&self) -> Point {
        Point { history: self.history(), revision: self.revision }
    }

    /// The region.
    pub fn region(&self) -> &RegionName {
        &self.region
    }

    /// Takes in one record as a listing has it.
    pub fn load(&mut self, record: Record, version: Revision) {
        self.revision = self.revision.max(version);
        self.put(record, version);
    }

    /// Takes in the writes of one revision, and says what changed for nodes.
    pub fn apply(&mut self, revision: Revision, writes: Vec<Written>) -> Change {
        let mut change = Change {
            history: self.history(),
            base: self.revision,
            revision,
            stamps: Vec::new(),
            stamps_gone: Vec::new(),
            bindings: Vec::new(),
            registries_gone: Vec::new(),
            purges: Vec::new(),
        };
        let mut stamps = BTreeSet::new();
        for write in writes {
            stamps.extend(self.stamp_of(&write));
            match write {
                Written::Put(record) => {
                    match &*record {
                        Record::Binding(binding) => change.bindings.push(binding.clone()),
                        Record::Purge(record) => {
                            change.purges.push(Purge { revision, ..record.purge.clone() });
                        }
                        _ => {}
                    }
                    // A node may have gone from one stamp to another: both have changed.
                    if let Record::Node(node) = &*record {
                        stamps.insert(node.stamp.clone());
                    }
                    self.put(*record, revision);
                }
                Written::Gone(key) => {
                    change.registries_gone.extend(self.remove(&key));
                }
            }
        }
        self.revision = revision;
        for name in stamps {
            match self.stamp(&name) {
                Some(stamp) => change.stamps.push(stamp),
                None => change.stamps_gone.push(name),
            }
        }
        change
    }

    /// The stamp that a write changes, as it was before.
    fn stamp_of(&self, write: &Written) -> Option<StampName> {
        let node = |name: &str| self.nodes.get(name).map(|node| node.value.stamp.clone());
        match write {
            Written::Put(record) => match &**record {
                Record::Stamp(stamp) => Some(stamp.name.clone()),
                Record::Node(record) => node(record.node.name.as_str()),
                _ => None,
            },
            Written::Gone(key) => match key.strip_prefix(NODES) {
                Some(name) => node(name),
                None => key.strip_prefix(STAMPS).and_then(|name| name.parse().ok()),
            },
        }
    }

    fn put(&mut self, record: Record, version: Revision) {
        let key = record.key();
        match record {
            Record::Stamp(value) => {
                self.stamps.insert(value.name.clone(), Versioned { value, version });
            }
            Record::Node(value) => {
                self.nodes.insert(value.node.name.clone(), Versioned { value, version });
            }
            Record::Binding(value) => {
                self.bindings.insert(value.registry.clone(), Versioned { value, version });
            }
            Record::Migration(value) => {
                if value.state.has_ended() {
                    self.moving.remove(&value.id);
                } else {
                    self.moving.insert(value.id.clone());
                }
                self.migrations.insert(value.id.clone(), Versioned { value, version });
            }
            Record::History(value) => self.history = Some(Versioned { value, version }),
            Record::Sent(value) => {
                self.sent.insert(value.registry.clone(), Versioned { value, version });
            }
            Record::Restart(value) => {
                self.restarts.insert(value.stamp.clone(), Versioned { value, version });
            }
            Record::Epoch(value) => {
                self.epochs.insert(value.registry.clone(), Versioned { value, version });
            }
            Record::Plan(value) => {
                self.plans.insert(value.id.clone(), Versioned { value, version });
            }
            Record::Execution(value) => {
                self.executions.insert(value.id.clone(), Versioned { value, version });
            }
            Record::Pin(value) => {
                self.pins.insert(value.registry.clone(), Versioned { value, version });
            }
            Record::Freeze(value) => self.freeze = Some(Versioned { value, version }),
            Record::Policy(value) => self.policy = Some(Versioned { value, version }),
            Record::Purge(value) => {
                let purge = Purge { revision: version, ..value.purge };
                let value = PurgeRecord { purge, ..value };
                self.purges.insert(key, Versioned { value, version });
            }
        }
    }

    /// Forgets what is under a key, and says which registry is gone by that.
    fn remove(&mut self, key: &str) -> Option<RegistryName> {
        if let Some(name) = key.strip_prefix(STAMPS) {
            self.stamps.remove(name);
        } else if let Some(name) = key.strip_prefix(NODES) {
            self.nodes.remove(name);
        } else if let Some(id) = key.strip_prefix(MIGRATIONS) {
            self.moving.remove(id);
            self.migrations.remove(id);
        } else if let Some(name) = key.strip_prefix(EPOCHS) {
            self.epochs.remove(name);
        } else if let Some(name) = key.strip_prefix(SENT) {
            self.sent.remove(name);
        } else if let Some(name) = key.strip_prefix(RESTARTS) {
            self.restarts.remove(name);
        } else if let Some(id) = key.strip_prefix(PLANS) {
            self.plans.remove(id);
        } else if let Some(id) = key.strip_prefix(EXECUTIONS) {
            self.executions.remove(id);
        } else if let Some(name) = key.strip_prefix(PINS) {
            self.pins.remove(name);
        } else if key == FREEZE {
            self.freeze = None;
        } else if key == POLICY {
            self.policy = None;
        } else if key.starts_with(PURGES) {
            self.purges.remove(key);
        } else if let Some(name) = key.strip_prefix(REGISTRIES) {
            return self.bindings.remove(name).map(|binding| binding.value.registry);
        }
        None
    }

    /// A stamp as nodes are told of it.
    pub fn stamp(&self, name: &StampName) -> Option<Stamp> {
        let record = &self.stamps.get(name)?.value;
        Some(Stamp {
            name: record.name.clone(),
            nodes: self.nodes_of(name).map(|record| record.value.node.clone()).collect(),
            accounts: record.accounts.clone(),
            state: record.state,
        })
    }

    /// Everything that nodes are told.
    pub fn snapshot(&self) -> Snapshot {
        let mut snapshot = Snapshot {
            history: self.history(),
            revision: self.revision,
            region: self.region.clone(),
            stamps: self.stamps.keys().filter_map(|name| self.stamp(name)).collect(),
            bindings: self.bindings.values().map(|binding| binding.value.clone()).collect(),
            purges: self.purges.values().map(|record| record.value.purge.clone()).collect(),
        };
        snapshot.sort();
        snapshot
    }

    /// The record of a stamp.
    pub fn stamp_record(&self, name: &StampName) -> Option<&Versioned<StampRecord>> {
        self.stamps.get(name)
    }

    /// All stamps.
    pub fn stamps(&self) -> impl Iterator<Item = &Versioned<StampRecord>> {
        self.stamps.values()
    }

    /// The stamp that lists an account.
    pub fn owner(&self, account: &AccountName) -> Option<&StampName> {
        let owns = |stamp: &&Versioned<StampRecord>| stamp.value.accounts.contains(account);
        self.stamps.values().find(owns).map(|stamp| &stamp.value.name)
    }

    /// A node.
    pub fn node(&self, name: &NodeName) -> Option<&Versioned<NodeRecord>> {
        self.nodes.get(name)
    }

    /// All nodes.
    pub fn nodes(&self) -> impl Iterator<Item = &Versioned<NodeRecord>> {
        self.nodes.values()
    }

    /// The nodes of a stamp.
    pub fn nodes_of(&self, stamp: &StampName) -> impl Iterator<Item = &Versioned<NodeRecord>> {
        self.nodes.values().filter(move |record| record.value.stamp == *stamp)
    }

    /// A binding.
    pub fn binding(&self, registry: &RegistryName) -> Option<&Versioned<Binding>> {
        self.bindings.get(registry)
    }

    /// All bindings.
    pub fn bindings(&self) -> impl Iterator<Item = &Versioned<Binding>> {
        self.bindings.values()
    }

    /// A move.
    pub fn migration(&self, id: &str) -> Option<&Versioned<Migration>> {
        self.migrations.get(id)
    }

    /// All moves that are kept.
    pub fn migrations(&self) -> impl Iterator<Item = &Versioned<Migration>> {
        self.migrations.values()
    }

    /// The moves that have not ended.
    pub fn moving(&self) -> impl Iterator<Item = &Versioned<Migration>> {
        self.moving.iter().filter_map(|id| self.migrations.get(id))
    }

    /// The move of a registry that has not ended. There is one at most.
    pub fn move_of(&self, registry: &RegistryName) -> Option<&Versioned<Migration>> {
        self.moving().find(|migration| migration.value.registry == *registry)
    }

    /// The last move of a registry, ended or not.
    pub fn last_move_of(&self, registry: &RegistryName) -> Option<&Versioned<Migration>> {
        // No name of a registry has a dot, so that these are its moves and no other's.
        let of_it = self.migrations.range(format!("{registry}.")..format!("{registry}/"));
        of_it.map(|(_, migration)| migration).max_by_key(|migration| migration.value.number())
    }

    /// A move from or to a stamp that has not ended, if there is any.
    pub fn moving_at(&self, stamp: &StampName) -> Option<&Migration> {
        let mut moving = self.moving().map(|migration| &migration.value);
        moving.find(|migration| migration.from == *stamp || migration.to == *stamp)
    }

    /// The last restart of a stamp, ended or not.
    pub fn restart(&self, stamp: &StampName) -> Option<&Versioned<Restart>> {
        self.restarts.get(stamp)
    }

    /// The last restart of each stamp that had one.
    pub fn restarts(&self) -> impl Iterator<Item = &Versioned<Restart>> {
        self.restarts.values()
    }

    /// What a webhook has been told, and is to be told.
    pub fn sent(&self) -> impl Iterator<Item = &SentRecord> {
        self.sent.values().map(|sent| &sent.value)
    }

    /// The same of one registry.
    pub fn sent_of(&self, registry: &RegistryName) -> Option<&SentRecord> {
        self.sent.get(registry).map(|sent| &sent.value)
    }

    /// The last epoch of a registry that is no more.
    pub fn last_epoch(&self, registry: &RegistryName) -> Option<&EpochRecord> {
        self.epochs.get(registry).map(|record| &record.value)
    }

    /// A plan.
    pub fn plan(&self, id: &str) -> Option<&Versioned<PlanRecord>> {
        self.plans.get(id)
    }

    /// A plan on its way.
    pub fn execution(&self, id: &str) -> Option<&Versioned<Execution>> {
        self.executions.get(id)
    }

    /// All plans on their way, and those that have ended and are kept.
    pub fn executions(&self) -> impl Iterator<Item = &Versioned<Execution>> {
        self.executions.values()
    }

    /// Why a registry is to stay where it is, if it is.
    pub fn pin(&self, registry: &RegistryName) -> Option<&PinRecord> {
        self.pins.get(registry).map(|pin| &pin.value)
    }

    /// All registries that are to stay.
    pub fn pins(&self) -> impl Iterator<Item = &PinRecord> {
        self.pins.values().map(|pin| &pin.value)
    }

    /// The freeze that holds, if one does.
    pub fn freeze(&self, now: UnixMillis) -> Option<&FreezeRecord> {
        self.freeze.as_ref().map(|freeze| &freeze.value).filter(|freeze| freeze.holds(now))
    }

    /// The rules that were set; none if they are the usual ones.
    pub fn policy(&self) -> Option<&PolicyRecord> {
        self.policy.as_ref().map(|policy| &policy.value)
    }

    /// What is to be forgotten.
    pub fn purges(&self) -> impl Iterator<Item = &Versioned<PurgeRecord>> {
        self.purges.values()
    }

    /// The revision of a key's last write; none if there is nothing.
    pub fn version(&self, key: &str) -> Option<Revision> {
        if let Some(name) = key.strip_prefix(STAMPS) {
            return self.stamps.get(name).map(|record| record.version);
        }
        if let Some(name) = key.strip_prefix(NODES) {
            return self.nodes.get(name).map(|record| record.version);
        }
        if let Some(name) = key.strip_prefix(REGISTRIES) {
            return self.bindings.get(name).map(|record| record.version);
        }
        if let Some(id) = key.strip_prefix(MIGRATIONS) {
            return self.migrations.get(id).map(|record| record.version);
        }
        if let Some(name) = key.strip_prefix(SENT) {
            return self.sent.get(name).map(|record| record.version);
        }
        if key == HISTORY {
            return self.history.as_ref().map(|record| record.version);
        }
        if let Some(name) = key.strip_prefix(RESTARTS) {
            return self.restarts.get(name).map(|record| record.version);
        }
        if let Some(name) = key.strip_prefix(EPOCHS) {
            return self.epochs.get(name).map(|record| record.version);
        }
        if let Some(id) = key.strip_prefix(PLANS) {
            return self.plans.get(id).map(|record| record.version);
        }
        if let Some(id) = key.strip_prefix(EXECUTIONS) {
            return self.executions.get(id).map(|record| record.version);
        }
        if let Some(name) = key.strip_prefix(PINS) {
            return self.pins.get(name).map(|record| record.version);
        }
        match key {
            FREEZE => self.freeze.as_ref().map(|record| record.version),
            POLICY => self.policy.as_ref().map(|record| record.version),
            purge => self.purges.get(purge).map(|record| record.version),
        }
    }
}

#[cfg(test)]
mod tests;
