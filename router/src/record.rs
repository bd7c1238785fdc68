//! What the store holds: one record a stamp, node, registry, migration, restart, plan, its execution, pin and purge, each
//! under a key of its own.

use dataproxy_router_api::{
    AccountName, Binding, Epoch, History, Incarnation, Node, Purge, RegistryName, StampName, StampState,
};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::dns::Endpoint;
use crate::execution::{Execution, ExecutionPolicy};
use crate::migration::{Migration, UnixMillis};
use crate::restart::Restart;

/// A stamp, without its nodes: those come and go by themselves.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StampRecord {
    /// Its name.
    pub name: StampName,
    /// Its storage accounts.
    #[serde(default)]
    pub accounts: Vec<AccountName>,
    /// What it takes on.
    #[serde(default)]
    pub state: StampState,
}

/// A node as it was last told of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeRecord {
    /// Its stamp.
    pub stamp: StampName,
    /// The node, with its state and what is asked of it.
    pub node: Node,
    /// Its process, once it has reported.
    #[serde(default)]
    pub incarnation: Incarnation,
    /// Its version, once it has reported.
    #[serde(default)]
    pub version: String,
}

/// Something to be forgotten, and since when.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PurgeRecord {
    /// What. Its revision is that of the record's write, whatever is written here.
    #[serde(flatten)]
    pub purge: Purge,
    /// When it was asked for.
    pub at: UnixMillis,
}

/// The last epoch of a registry that was removed, so that one of the same name begins above it: an epoch is never used
/// again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EpochRecord {
    /// The registry.
    pub registry: RegistryName,
    /// Its last epoch.
    pub epoch: Epoch,
}

/// The history that the store's revisions are of. There is none before the first restore.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HistoryRecord {
    /// The history.
    pub history: History,
}

/// A plan as it was made. It is never written again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlanRecord {
    /// Its id.
    pub id: String,
    /// Its hash.
    pub hash: String,
    /// The plan, as the planner wrote it: a router of another version keeps what it does not know.
    pub plan: serde_json::Value,
}

/// A registry that is to stay where it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PinRecord {
    /// The registry.
    pub registry: RegistryName,
    /// Why.
    pub reason: String,
    /// Who said so.
    pub by: String,
    /// When.
    pub at: UnixMillis,
}

/// No move begins, and no plan takes a step forward.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FreezeRecord {
    /// Why.
    pub reason: String,
    /// Who said so.
    pub by: String,
    /// When.
    pub since: UnixMillis,
    /// Until when; until it is lifted, if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<UnixMillis>,
}

impl FreezeRecord {
    /// Whether it holds.
    pub fn holds(&self, now: UnixMillis) -> bool {
        self.until.is_none_or(|until| now < until)
    }
}

/// The rules of planning and of carrying out.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct PolicyRecord {
    /// Of carrying out.
    pub execution: ExecutionPolicy,
    /// Of planning, as the planner reads them; its defaults where it says nothing.
    pub planning: serde_json::Map<String, serde_json::Value>,
}

/// What a webhook has been told of a registry's names, or is to be told next.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SentRecord {
    /// The registry.
    pub registry: RegistryName,
    /// The history that the epoch is of.
    #[serde(default, skip_serializing_if = "History::is_first")]
    pub history: History,
    /// The epoch of its binding then.
    pub epoch: Epoch,
    /// Its names; none if they are to go.
    pub endpoints: Vec<Endpoint>,
    /// What the webhook had before, for as long as it may not have these.
    #[serde(default)]
    pub before: Vec<Endpoint>,
    /// Whether the webhook has said that it has them.
    pub is_sent: bool,
}

impl SentRecord {
    /// What is to be sent after this one.
    pub fn changed(&self, endpoints: Vec<Endpoint>) -> Self {
        Self { endpoints, before: self.endpoints.clone(), is_sent: false, ..self.clone() }
    }

    /// The same once the webhook has it.
    pub fn sent(self) -> Self {
        Self { before: Vec::new(), is_sent: true, ..self }
    }
}

/// One record.
#[derive(Clone, Debug, PartialEq)]
pub enum Record {
    /// A stamp.
    Stamp(StampRecord),
    /// A node.
    Node(NodeRecord),
    /// A registry's binding.
    Binding(Binding),
    /// A move.
    Migration(Migration),
    /// The restart of a stamp.
    Restart(Restart),
    /// Something to be forgotten.
    Purge(PurgeRecord),
    /// The last epoch of a registry that is no more.
    Epoch(EpochRecord),
    /// The history of the store.
    History(HistoryRecord),
    /// A plan.
    Plan(PlanRecord),
    /// A plan on its way.
    Execution(Execution),
    /// A registry that is to stay.
    Pin(PinRecord),
    /// A freeze.
    Freeze(FreezeRecord),
    /// The rules.
    Policy(PolicyRecord),
    /// What a webhook has of a registry's names.
    Sent(SentRecord),
}

/// Key of the store's history.
pub const HISTORY: &str = "history";

/// Folder of the stamps.
pub const STAMPS: &str = "stamps/";
/// Folder of the nodes.
pub const NODES: &str = "nodes/";
/// Folder of the bindings.
pub const REGISTRIES: &str = "registries/";
/// Folder of the migrations.
pub const MIGRATIONS: &str = "migrations/";
/// Folder of the purges.
pub const PURGES: &str = "purges/";
/// Folder of the restarts of stamps.
pub const RESTARTS: &str = "restarts/";
/// Folder of the last epochs of registries that are no more.
pub const EPOCHS: &str = "epochs/";
/// Folder of the plans.
pub const PLANS: &str = "plans/";
/// Folder of the plans on their way.
pub const EXECUTIONS: &str = "executions/";
/// Folder of the registries that are to stay.
pub const PINS: &str = "pins/";
/// Key of the freeze.
pub const FREEZE: &str = "freeze/region";
/// Key of the rules.
pub const POLICY: &str = "policy/region";

/// A record that this version cannot read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the record {key} cannot be read: {reason}; it was written by a later version, or by hand")]
pub struct Unreadable {
    /// Its key.
    pub key: String,
    /// Why.
    pub reason: String,
}

/// Folder of what a webhook has been told, and is to be told.
pub const SENT: &str = "sent/";

/// The key of what a webhook has of a registry.
pub fn sent_key(registry: &RegistryName) -> String {
    format!("{SENT}{registry}")
}

/// The key of a registry's binding.
pub fn registry_key(registry: &RegistryName) -> String {
    format!("{REGISTRIES}{registry}")
}

/// The key of a stamp.
pub fn stamp_key(stamp: &StampName) -> String {
    format!("{STAMPS}{stamp}")
}

/// The key of a node.
pub fn node_key(node: impl std::fmt::Display) -> String {
    format!("{NODES}{node}")
}

/// The key of a plan on its way.
pub fn execution_key(id: &str) -> String {
    format!("{EXECUTIONS}{id}")
}

/// The key of a registry's pin.
pub fn pin_key(registry: &RegistryName) -> String {
    format!("{PINS}{registry}")
}

/// The key of a migration.
pub fn migration_key(id: &str) -> String {
    format!("{MIGRATIONS}{id}")
}

impl Record {
    /// Where it lies. A purge is told apart by what it purges: a second one of the same replaces the first.
    pub fn key(&self) -> String {
        match self {
            Self::Stamp(stamp) => stamp_key(&stamp.name),
            Self::Node(record) => node_key(&record.node.name),
            Self::Binding(binding) => registry_key(&binding.registry),
            Self::Migration(migration) => migration_key(&migration.id),
            Self::Restart(restart) => format!("{RESTARTS}{}", restart.stamp),
            Self::Epoch(record) => format!("{EPOCHS}{}", record.registry),
            Self::History(_) => HISTORY.to_owned(),
            Self::Plan(record) => format!("{PLANS}{}", record.id),
            Self::Execution(execution) => execution_key(&execution.id),
            Self::Pin(record) => pin_key(&record.registry),
            Self::Freeze(_) => FREEZE.to_owned(),
            Self::Policy(_) => POLICY.to_owned(),
            Self::Sent(record) => sent_key(&record.registry),
            Self::Purge(PurgeRecord { purge, .. }) => {
                let repository = purge.repository.as_deref().unwrap_or("*");
                format!("{PURGES}{}/{repository}/{}", purge.registry, purge.digest.as_deref().unwrap_or("*"))
            }
        }
    }

    /// Its text.
    ///
    /// # Errors
    /// The reason why it has none, which no record of these types has.
    pub fn text(&self) -> Result<Vec<u8>, serde_json::Error> {
        match self {
            Self::Stamp(stamp) => serde_json::to_vec(stamp),
            Self::Node(node) => serde_json::to_vec(node),
            Self::Binding(binding) => serde_json::to_vec(binding),
            Self::Migration(migration) => serde_json::to_vec(migration),
            Self::Restart(restart) => serde_json::to_vec(restart),
            Self::Purge(purge) => serde_json::to_vec(purge),
            Self::Epoch(epoch) => serde_json::to_vec(epoch),
            Self::History(history) => serde_json::to_vec(history),
            Self::Plan(plan) => serde_json::to_vec(plan),
            Self::Execution(execution) => serde_json::to_vec(execution),
            Self::Pin(pin) => serde_json::to_vec(pin),
            Self::Freeze(freeze) => serde_json::to_vec(freeze),
            Self::Policy(policy) => serde_json::to_vec(policy),
            Self::Sent(sent) => serde_json::to_vec(sent),
        }
    }

    /// Reads what lies under a key; `None` if the key is of none of these folders.
    ///
    /// # Errors
    /// [`Unreadable`]: its text is not that of such a record, or of one with another key.
    pub fn read(key: &str, text: &[u8]) -> Result<Option<Self>, Unreadable> {
        fn of<T: DeserializeOwned>(text: &[u8]) -> Result<T, String> {
            serde_json::from_slice(text).map_err(|error| error.to_string())
        }
        let record = match () {
            () if key.starts_with(STAMPS) => of(text).map(Self::Stamp),
            () if key.starts_with(NODES) => of(text).map(Self::Node),
            () if key.starts_with(REGISTRIES) => of(text).map(Self::Binding),
            () if key.starts_with(MIGRATIONS) => of(text).map(Self::Migration),
            () if key.starts_with(RESTARTS) => of(text).map(Self::Restart),
            () if key.starts_with(PURGES) => of(text).map(Self::Purge),
            () if key.starts_with(EPOCHS) => of(text).map(Self::Epoch),
            () if key.starts_with(SENT) => of(text).map(Self::Sent),
            () if key == HISTORY => of(text).map(Self::History),
            () if key.starts_with(PLANS) => of(text).map(Self::Plan),
            () if key.starts_with(EXECUTIONS) => of(text).map(Self::Execution),
            () if key.starts_with(PINS) => of(text).map(Self::Pin),
            () if key == FREEZE => of(text).map(Self::Freeze),
            () if key == POLICY => of(text).map(Self::Policy),
            () => return Ok(None),
        };
        let named = record.and_then(|record| match record.key() {
            own if own == key => Ok(record),
            own => Err(format!("its text is that of {own}")),
        });
        named.map(Some).map_err(|reason| Unreadable { key: key.to_owned(), reason })
    }
}
