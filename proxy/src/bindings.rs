//! The bindings that this node works from: an immutable table, swapped whole, never going backwards within a history of
//! the routers' store, and never to an earlier history.

pub mod feed;
pub mod file;
pub mod router;
mod table;
mod work;

use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;
use dataproxy_router_api::{Epoch, Point, RegistryName, Revision};
use tokio::sync::watch;

pub use table::Table;
pub use work::{Flight, Standing, Worked};

/// The table in force.
#[derive(Debug)]
pub struct Bindings {
    table: ArcSwap<Table>,
    revision: watch::Sender<Revision>,
    /// Held by who replaces the table.
    turn: Mutex<()>,
}

/// Why a snapshot is not put in force.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// It is older than the one in force.
    #[error("revision {found} is older than {in_force}, the one in force")]
    Older {
        /// What was offered.
        found: Point,
        /// What is in force.
        in_force: Point,
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
        let revision = watch::Sender::new(table.snapshot().revision);
        Self { table: ArcSwap::from_pointee(table), revision, turn: Mutex::default() }
    }

    /// The table in force now. A request takes it once and works from that.
    pub fn current(&self) -> Arc<Table> {
        self.table.load_full()
    }

    /// A receiver that changes with every table that is put in force.
    pub fn changes(&self) -> watch::Receiver<Revision> {
        self.revision.subscribe()
    }

    /// Puts a newer table in force. The one that is in force is accepted again. One writer at a time.
    ///
    /// # Errors
    /// [`Refused`] if any of it goes backwards; nothing changes then.
    pub fn replace(&self, table: Table) -> Result<(), Refused> {
        let in_force = self.current();
        if in_force.snapshot().point() == table.snapshot().point() && in_force.snapshot() != table.snapshot()
        {
            return Err(Refused::SameRevision(table.snapshot().revision));
        }
        self.confirm(table)
    }

    /// The same for a table that may say more of the revision in force: that was saved by another version of this
    /// program, which did not know all of it.
    ///
    /// # Errors
    /// As [`Bindings::replace`].
    pub fn confirm(&self, mut table: Table) -> Result<(), Refused> {
        // Of two that come at once, the later one has to follow the earlier one.
        let _one_at_a_time = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        let in_force = self.current();
        follows(&in_force, &table)?;
        table.continues(&in_force);
        let revision = table.snapshot().revision;
        self.table.store(Arc::new(table));
        self.revision.send_replace(revision);
        Ok(())
    }
}

fn follows(in_force: &Table, next: &Table) -> Result<(), Refused> {
    let (before, after) = (in_force.snapshot(), next.snapshot());
    if after.point() < before.point() {
        return Err(Refused::Older { found: after.point(), in_force: before.point() });
    }
    // An operator has restored the store from a backup: what was changed since is undone, epochs too.
    if after.history > before.history {
        return Ok(());
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
