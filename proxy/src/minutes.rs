//! What this node used, minute by minute, and for whom: kept for a day, told to routers, shown as metrics.
//!
//! A thread of its own reads the counters, so that a node that is busy with pulls still sees the edges of minutes.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use dataproxy_router_api::NodeBin;

mod follow;
mod shares;
mod show;

pub use follow::{Follower, Parts, StartError, start};

/// Bins that are kept: a day of minutes and an hour, so that a router that was away for a day misses none.
const KEPT: usize = 25 * 60;
/// Bins in one report at most: as JSON, some 5 KiB each.
pub const TOLD_AT_ONCE: usize = 60;

/// The bins that have ended.
#[derive(Debug, Default)]
pub struct Minutes {
    kept: Mutex<VecDeque<NodeBin>>,
}

impl Minutes {
    /// Keeps a bin, whose sequence follows the last one's.
    fn keep(&self, bin: NodeBin) {
        let mut kept = self.kept();
        if kept.len() >= KEPT {
            kept.pop_front();
        }
        kept.push_back(bin);
    }

    /// Those after the one of this sequence, oldest first, [`TOLD_AT_ONCE`] at most. What is no longer kept is left out.
    pub fn after(&self, sequence: u64) -> Vec<NodeBin> {
        let kept = self.kept();
        let begin = kept.partition_point(|bin| bin.sequence <= sequence);
        kept.range(begin..).take(TOLD_AT_ONCE).cloned().collect()
    }

    /// The sequence of the one that ended last; 0 if none has.
    pub fn ended(&self) -> u64 {
        self.kept().back().map_or(0, |bin| bin.sequence)
    }

    /// The one that ended last.
    pub fn last(&self) -> Option<NodeBin> {
        self.kept().back().cloned()
    }

    fn kept(&self) -> MutexGuard<'_, VecDeque<NodeBin>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
