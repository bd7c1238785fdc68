//! What nodes last told of themselves. It is this router's own: every node reports to every router.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use dataproxy_router_api::{NodeName, NodeReport, RegistryName, Revision, StampName};
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::migration::Seen;
use crate::record::NodeRecord;
use crate::restart;
use crate::state::State;

/// How often a node is to report.
pub const REPORT_EVERY: Duration = Duration::from_secs(1);
/// How long a node may be silent before it counts as gone.
pub const SILENCE: Duration = Duration::from_secs(5);

/// A report, and when it came.
#[derive(Clone, Debug)]
pub struct Heard {
    /// What it says.
    pub report: NodeReport,
    /// When.
    pub at: Instant,
}

/// What nodes last told of themselves.
#[derive(Debug, Default)]
pub struct Fleet {
    heard: Mutex<HashMap<NodeName, Heard>>,
    news: Notify,
}

impl Fleet {
    fn heard(&self) -> MutexGuard<'_, HashMap<NodeName, Heard>> {
        self.heard.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes in a report. One that is older than what was heard of the same process says nothing new.
    pub fn hear(&self, report: NodeReport, at: Instant) {
        let mut heard = self.heard();
        let stale = heard.get(report.name()).is_some_and(|known| {
            known.report.incarnation == report.incarnation && known.report.sequence >= report.sequence
        });
        if !stale {
            heard.insert(report.name().clone(), Heard { report, at });
            drop(heard);
            self.news.notify_one();
        }
    }

    /// Resolves when something has been heard since it resolved last.
    pub async fn news(&self) {
        self.news.notified().await;
    }

    /// What was heard of a node.
    pub fn of(&self, name: &NodeName) -> Option<Heard> {
        self.heard().get(name).cloned()
    }

    /// What was heard last of each node.
    pub fn all(&self) -> Vec<Heard> {
        self.heard().values().cloned().collect()
    }

    /// Whether a node reports, as of `now`.
    pub fn is_live(&self, name: &NodeName, now: Instant) -> bool {
        self.heard().get(name).is_some_and(|heard| now.duration_since(heard.at) < SILENCE)
    }

    /// Lets go of a node that was forgotten.
    pub fn forget(&self, name: &NodeName) {
        self.heard().remove(name);
    }

    /// The nodes of a stamp, as its restart sees them.
    pub fn turns(&self, state: &State, stamp: &StampName, now: Instant) -> Vec<restart::Seen> {
        let heard = self.heard();
        state
            .nodes_of(stamp)
            .map(|record| {
                let NodeRecord { node, incarnation, .. } = &record.value;
                let heard = heard.get(&node.name).filter(|heard| heard.report.incarnation == *incarnation);
                restart::Seen {
                    name: node.name.clone(),
                    role: node.role,
                    incarnation: *incarnation,
                    state: node.state,
                    intent: node.intent,
                    is_live: heard.is_some_and(|heard| now.duration_since(heard.at) < SILENCE),
                    acknowledges: heard
                        .is_some_and(|heard| acknowledged(&heard.report, state) >= record.version),
                }
            })
            .collect()
    }

    /// The nodes of a stamp, as a move of `registry` sees them.
    pub fn seen(&self, state: &State, stamp: &StampName, registry: &RegistryName, now: Instant) -> Vec<Seen> {
        let heard = self.heard();
        state
            .nodes_of(stamp)
            .map(|record| {
                let node = &record.value.node;
                let heard = heard.get(&node.name);
                let report = heard.map(|heard| &heard.report);
                let of_registry = |report: &NodeReport| {
                    report.registries.iter().find(|of| of.registry == *registry).cloned()
                };
                Seen {
                    name: node.name.clone(),
                    is_live: heard.is_some_and(|heard| now.duration_since(heard.at) < SILENCE),
                    in_rotation: node.in_rotation(),
                    revision: report.map(|report| acknowledged(report, state)).unwrap_or_default(),
                    registry: report.and_then(of_registry),
                }
            })
            .collect()
    }
}

/// The revision that a report acknowledges: none, if it is of another history.
pub fn acknowledged(report: &NodeReport, state: &State) -> Revision {
    if report.history == state.history() { report.revision } else { Revision(0) }
}
