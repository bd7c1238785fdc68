//! The bindings that this node works from: an immutable table, swapped whole, never going backwards.

use std::collections::HashMap;
use std::sync::Arc;

use arc_swap::ArcSwap;
use dataproxy_router_api::{Binding, RegistryName, Revision, Snapshot, Stamp, StampName};

/// A snapshot, indexed for look-ups.
#[derive(Debug)]
pub struct Table {
    snapshot: Snapshot,
    by_registry: HashMap<RegistryName, usize>,
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
        Self { snapshot, by_registry }
    }

    /// The binding of `registry`, if it has one.
    pub fn binding(&self, registry: &RegistryName) -> Option<&Binding> {
        self.by_registry.get(registry).map(|at| &self.snapshot.bindings[*at])
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

/// A snapshot older than the one in force.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("revision {found} is older than {in_force}, the one in force")]
pub struct Stale {
    /// The revision that was offered.
    pub found: Revision,
    /// The revision in force.
    pub in_force: Revision,
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

    /// Puts a newer table in force.
    ///
    /// # Errors
    /// [`Stale`] if it is older than the one in force; nothing changes then.
    pub fn replace(&self, table: Table) -> Result<(), Stale> {
        let (found, in_force) = (table.snapshot.revision, self.current().snapshot.revision);
        if found < in_force {
            return Err(Stale { found, in_force });
        }
        self.table.store(Arc::new(table));
        Ok(())
    }
}
