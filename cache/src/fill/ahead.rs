//! A fill that goes on ahead of any reader, while somebody holds its mark.

use std::sync::Arc;

use super::{Fill, State};

/// Ranged reads in flight where nobody reads yet: who does has the rest of the origin's patience.
const PARALLEL: usize = 1;

/// Held by who wants the whole blob fetched though they do not read it.
#[derive(Debug)]
pub(crate) struct AheadMark(Arc<Fill>);

impl Fill {
    /// Has the whole blob fetched for as long as the mark is held.
    pub(crate) fn mark_ahead(self: &Arc<Self>) -> AheadMark {
        self.state().ahead += 1;
        self.poke();
        AheadMark(Arc::clone(self))
    }
}

impl Drop for AheadMark {
    fn drop(&mut self) {
        self.0.state().ahead -= 1;
        self.0.poke();
    }
}

impl State {
    /// How many ranged reads may be in flight, of `most` that a reader is worth.
    pub(super) fn parallel(&self, most: usize) -> usize {
        // Who fetches ahead waits for the size, too.
        let nobody_reads = !self.has_readers() && self.openers <= self.ahead;
        let only_ahead = self.ahead > 0 && !self.goal_whole && nobody_reads;
        if only_ahead { PARALLEL.min(most) } else { most }
    }
}
