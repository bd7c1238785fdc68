//! Which of several routers over one store leads.
//!
//! A lease says who leads, and is no lock: a router that was paused may wake up believing that it still
//! leads. So the revision at which it became the leader is its [`Fence`], and every write that only a leader
//! may make compares it. A router that is alone leads by the same rules.

mod campaign;

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;

use crate::store::{Commit, Key, Revision, Store};
use campaign::Campaign;

/// The key that the leader has, bound to its lease. Nobody writes it but here.
pub const LEADER: &str = "leader";

/// The right to write as the leader: the revision at which this router became it. Whoever leads later has a
/// greater one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Fence(Revision);

impl Fence {
    /// The revision.
    pub fn revision(self) -> Revision {
        self.0
    }

    /// `commit`, if this router still leads when the store judges it. With another leader, or none, it
    /// conflicts.
    #[must_use]
    pub fn guard(self, commit: Commit) -> Commit {
        commit.if_version(Key::new(LEADER), self.0)
    }
}

/// What a router is to the others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Another leads, or nobody does as far as is known.
    Following {
        /// The leader's name.
        leader: Option<String>,
    },
    /// This one leads.
    Leading(Fence),
}

/// How long a leader that is silent remains one. Routers over one store have the same.
#[derive(Clone, Copy, Debug)]
pub struct Term {
    /// Life of the lease; a third of it passes between two signs of life. etcd counts whole seconds.
    pub lease: Duration,
}

impl Default for Term {
    fn default() -> Self {
        Self { lease: Duration::from_secs(6) }
    }
}

/// What the leader's key says.
#[derive(Debug, Serialize, Deserialize)]
struct Record {
    /// The leader's name.
    router: String,
}

/// A router that stands for leader for as long as this is held. Dropped, it falls silent, and the others wait
/// for the lease to end.
#[derive(Debug)]
pub struct Candidate {
    standing: watch::Receiver<Standing>,
    resign: oneshot::Sender<()>,
    task: AbortOnDrop,
}

#[derive(Debug)]
struct AbortOnDrop(JoinHandle<()>);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Candidate {
    /// Stands for leader under this name, which followers show and may send callers to. Must be called in a
    /// tokio runtime.
    pub fn stand(store: Arc<dyn Store>, router: String, term: Term) -> Self {
        let (told, standing) = watch::channel(Standing::Following { leader: None });
        let (resign, resigned) = oneshot::channel();
        let campaign = Campaign::new(store, router, term, told);
        Self { standing, resign, task: AbortOnDrop(tokio::spawn(campaign.run(resigned))) }
    }

    /// What it is now, and every change of that. It stops saying `Leading` a tenth of the lease before that
    /// can have ended, at the latest: before another router can lead, unless this process was paused.
    pub fn standing(&self) -> watch::Receiver<Standing> {
        self.standing.clone()
    }

    /// Ends the lease if it leads, so that another can lead at once. Tries for as long as one call of the
    /// store may take.
    pub async fn resign(mut self) {
        let _ = self.resign.send(());
        let _ = (&mut self.task.0).await;
    }
}
