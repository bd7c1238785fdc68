//! The bindings that this node works from: an immutable table, swapped whole, never going backwards.

pub mod file;

use std::borrow::Borrow;
use std::collections::HashMap;
use std::hash::Hash;
use std::sync::Arc;

use arc_swap::ArcSwap;
use dataproxy_router_api::{
    Binding, Epoch, RegistryHost, RegistryName, Revision, Snapshot, Stamp, StampName,
};

/// A snapshot, indexed for look-ups.
#[derive(Debug)]
pub struct Table {
    snapshot: Snapshot,
    by_registry: HashMap<RegistryName, usize>,
    by_host: HashMap<RegistryHost, usize>,
}

impl Table {
    /// Indexes a validated snapshot.
    pub fn new(snapshot: Snapshot) -> Self {
        let by_registry = snapshot
            .bindings
            .iter()
            .enumerate()
            .map(|(at, binding)| (binding.registry.clone(), at))
            .collect();
        let hosts = |(at, binding): (usize, &Binding)| {
            binding.hosts.iter().map(move |host| (host.clone(), at)).collect::<Vec<_>>()
        };
        let by_host = snapshot.bindings.iter().enumerate().flat_map(hosts).collect();
        Self { snapshot, by_registry, by_host }
    }

    /// The binding of `registry`, a name or its text, if it has one.
    pub fn binding<Q>(&self, registry: &Q) -> Option<&Binding>
    where
        RegistryName: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        self.by_registry.get(registry).map(|at| &self.snapshot.bindings[*at])
    }

    /// The binding that is known by `host`, a canonical one: with this port, or without any.
    pub fn binding_by_host(&self, host: &str, port: Option<u16>) -> Option<&Binding> {
        if self.by_host.is_empty() {
            return None;
        }
        let with_port = port.and_then(|port| self.by_host.get(format!("{host}:{port}").as_str()));
        with_port.or_else(|| self.by_host.get(host)).and_then(|at| self.snapshot.bindings.get(*at))
    }

    /// The stamp of this name.
    pub fn stamp(&self, name: &StampName) -> Option<&Stamp> {
        self.snapshot.stamp(name)
    }

    /// The snapshot behind the table.
    pub fn snapshot(&self) -> &Snapshot {
        &self.snapshot
    }
}

/// The table in force.
#[derive(Debug)]
pub struct Bindings {
    table: ArcSwap<Table>,
}

/// Why a snapshot is not put in force.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// It is older than the one in force.
    #[error("revision {found} is older than {in_force}, the one in force")]
    Older {
        /// The revision that was offered.
        found: Revision,
        /// The revision in force.
        in_force: Revision,
    },
    /// It is not what is in force under the same revision.
    #[error("revision {0} is in force with other content; raise the revision with every change")]
    SameRevision(Revision),
    /// A binding in it is older than the one in force.
    #[error(
        "registry {registry} has epoch {found}, older than {in_force}, the one in force; a binding's epoch only grows"
    )]
    EpochBack {
        /// The registry.
        registry: RegistryName,
        /// The epoch that was offered.
        found: Epoch,
        /// The epoch in force.
        in_force: Epoch,
    },
}

impl Bindings {
    /// Starts with this table.
    pub fn new(table: Table) -> Self {
        Self { table: ArcSwap::from_pointee(table) }
    }

    /// The table in force now. A request takes it once and works from that.
    pub fn current(&self) -> Arc<Table> {
        self.table.load_full()
    }

    /// Puts a newer table in force. The one that is in force is accepted again.
    ///
    /// # Errors
    /// [`Refused`] if any of it goes backwards; nothing changes then.
    pub fn replace(&self, table: Table) -> Result<(), Refused> {
        let in_force = self.current();
        follows(&in_force, &table)?;
        self.table.store(Arc::new(table));
        Ok(())
    }
}

fn follows(in_force: &Table, next: &Table) -> Result<(), Refused> {
    let (before, after) = (in_force.snapshot(), next.snapshot());
    if after.revision < before.revision {
        return Err(Refused::Older { found: after.revision, in_force: before.revision });
    }
    if after.revision == before.revision && after != before {
        return Err(Refused::SameRevision(after.revision));
    }
    for binding in &after.bindings {
        match in_force.binding(&binding.registry) {
            Some(known) if binding.epoch < known.epoch => {
                let registry = binding.registry.clone();
                return Err(Refused::EpochBack { registry, found: binding.epoch, in_force: known.epoch });
            }
            _ => {}
        }
    }
    Ok(())
}
