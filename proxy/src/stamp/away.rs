//! Nodes of the stamp that are not asked for a while, as they did not answer or said that they do not lend.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use dataproxy_router_api::NodeName;
use metrics::gauge;

/// First wait before a node that is away is looked at again; each that comes to nothing doubles it.
const PAUSE_MIN: Duration = Duration::from_secs(1);
/// Longest such wait.
const PAUSE_MAX: Duration = Duration::from_secs(30);

/// What is known against a node.
#[derive(Clone, Copy, Debug, Default)]
struct Record {
    away: bool,
    /// Failures since it last lent something whole.
    failures: u32,
}

/// The nodes that something is known against.
#[derive(Debug, Default)]
pub(super) struct Away {
    records: Mutex<HashMap<NodeName, Record>>,
}

impl Away {
    fn records(&self) -> MutexGuard<'_, HashMap<NodeName, Record>> {
        // Every change is a whole one, so what a panic leaves is good.
        self.records.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn is_away(&self, node: &NodeName) -> bool {
        self.records().get(node).is_some_and(|record| record.away)
    }

    /// Notes a failure. The wait before the next look if the node was not away already: somebody has to look then.
    pub(super) fn failed(&self, node: &NodeName) -> Option<Duration> {
        let mut records = self.records();
        let record = records.entry(node.clone()).or_default();
        let was_away = std::mem::replace(&mut record.away, true);
        if was_away {
            return None;
        }
        record.failures = record.failures.saturating_add(1);
        let pause = pause(record.failures);
        show(&records);
        Some(pause)
    }

    /// Notes that a look came to nothing, and gives the wait before the next one.
    pub(super) fn still(&self, node: &NodeName) -> Duration {
        let mut records = self.records();
        let record = records.entry(node.clone()).or_default();
        record.failures = record.failures.saturating_add(1);
        pause(record.failures)
    }

    /// It may be asked again.
    pub(super) fn back(&self, node: &NodeName) {
        let mut records = self.records();
        if let Some(record) = records.get_mut(node) {
            record.away = false;
        }
        show(&records);
    }

    /// It has lent something whole: what was known against it counts no more.
    pub(super) fn lent(&self, node: &NodeName) {
        let mut records = self.records();
        if records.get(node).is_some_and(|record| !record.away) {
            records.remove(node);
        }
    }

    /// It is a node of the stamp no more.
    pub(super) fn forget(&self, node: &NodeName) {
        let mut records = self.records();
        records.remove(node);
        show(&records);
    }
}

fn pause(failures: u32) -> Duration {
    PAUSE_MIN.saturating_mul(1 << failures.saturating_sub(1).min(8)).min(PAUSE_MAX)
}

fn show(records: &HashMap<NodeName, Record>) {
    let away = records.values().filter(|record| record.away).count();
    gauge!("dataproxy_stamp_nodes_away").set(away as f64);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_is_away_from_its_first_failure_until_a_look_and_looks_grow_rarer() {
        let (away, node) = (Away::default(), "a2".parse().expect("a name"));
        assert!(!away.is_away(&node));
        assert_eq!(away.failed(&node), Some(Duration::from_secs(1)));
        assert!(away.is_away(&node) && away.failed(&node).is_none(), "one looks, however many failed");
        assert_eq!([away.still(&node), away.still(&node)], [2, 4].map(Duration::from_secs));
        away.back(&node);
        assert!(!away.is_away(&node));
        assert_eq!(away.failed(&node), Some(Duration::from_secs(8)), "it has lent nothing since");
        for _ in 0..100 {
            assert!(away.still(&node) <= PAUSE_MAX);
        }
        away.lent(&node);
        assert!(away.is_away(&node), "a read that began before does not bring it back");
        away.back(&node);
        away.lent(&node);
        assert_eq!(away.failed(&node), Some(Duration::from_secs(1)));
        away.forget(&node);
        assert!(!away.is_away(&node));
    }
}
