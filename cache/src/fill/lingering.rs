//! Which reads stop: those of which nobody wants anything any more, at the end of a block where that is near.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::State;
use super::engine::Engine;
use super::plan::is_wanted;
use super::supply::Flight;

/// Time for a block that has come in part to come to its end, once nobody wants it.
const LINGER: Duration = Duration::from_secs(1);

/// Nobody wants more of a read than a block that has come in part.
#[derive(Clone, Copy, Debug)]
pub(super) struct Lingering {
    block: u32,
    until: Instant,
}

impl Engine {
    /// Stops the reads of which nobody wants anything any more. A block that has come in part, and will be kept, comes
    /// to its end first, unless storage is too slow for that: a reader of a small range leaves in the middle of one,
    /// and the next one would fetch it anew.
    pub(super) fn stop_unwanted(&mut self) {
        let fill = Arc::clone(&self.fill);
        let state = fill.state();
        let (bounds, rest) = (self.bounds(&state), self.rest(&state));
        // Nothing is known of demand while somebody has the size and has not said what they want.
        if !rest.is_empty() || state.openers > 0 {
            // Should it be unwanted again, that is another time.
            self.flights.values_mut().for_each(|flight| flight.lingering = None);
            return;
        }
        let keeps = self.is_keeping(&state) || !state.detached;
        let now = Instant::now();
        let mut unwanted = Vec::new();
        for (id, flight) in &mut self.flights {
            let left = left_of(flight, &state);
            if is_wanted(&state.readers, &bounds, &left) {
                flight.lingering = None;
                continue;
            }
            let begun = state.window.as_ref().is_some_and(|window| window.has_begun(left.start));
            let fresh = Lingering { block: left.start, until: now + LINGER };
            let lingering = *flight.lingering.get_or_insert(fresh);
            let in_time = lingering.block == left.start && now < lingering.until;
            if !(keeps && begun && in_time && !left.is_empty()) {
                unwanted.push(*id);
            }
        }
        drop(state);
        self.stop_flights(|id| unwanted.contains(&id));
    }

    /// When the next read that lingers has had its time.
    pub(super) fn lingers_until(&self) -> Option<Instant> {
        self.flights.values().filter_map(|flight| flight.lingering).map(|lingering| lingering.until).min()
    }
}

/// The blocks of a flight that are still to come.
fn left_of(flight: &Flight, state: &State) -> Range<u32> {
    let window = state.window.as_ref();
    let still = |block: &u32| window.is_some_and(|window| window.has(*block) && !window.is_whole(*block));
    flight.blocks.clone().find(still).unwrap_or(flight.blocks.end)..flight.blocks.end
}
