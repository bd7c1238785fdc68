//! What the task has in flight and holds in memory: which reads start, which blocks are let go.

use std::ops::Range;
use std::sync::Arc;

use futures_util::StreamExt;
use futures_util::stream::{AbortHandle, BoxStream, SelectAll, abortable};

use super::engine::Engine;
use super::lingering::Lingering;
use super::plan::{Bounds, Need, Reach, Run, next_owed_run, next_run};
use super::{State, Window};
use crate::fetch::{Event, Fetch};

/// Reads of a fill beside the ordinary ones, for other caches that wait for them, and whole reads of room for these.
const OWED_PARALLEL: usize = 2;

/// One ranged read in flight.
pub(super) struct Flight {
    pub(super) blocks: Range<u32>,
    owed: bool,
    pub(super) lingering: Option<Lingering>,
    abort: AbortHandle,
}

pub(super) type Flights = SelectAll<BoxStream<'static, (u64, Event)>>;

impl Engine {
    /// Whether the rest is fetched with no reader left: it is wanted, can be kept and is small enough.
    pub(super) fn goes_on(&self, state: &State) -> bool {
        let near_its_end = || self.blob.missing_bytes() <= self.tiers.config.finish_bytes;
        (state.ahead > 0 || (state.goal_whole && near_its_end()))
            && self.is_keeping(state)
            && !self.blob.is_complete()
    }

    /// Whether the digest is to be told from the blocks that are there or come.
    pub(super) fn is_verifying(&self, state: &State) -> bool {
        !self.blob.verified()
            && ((self.is_reading(state) && self.blob.is_full())
                || self.goes_on(state)
                || state.readers.values().any(|reader| reader.demand.verified))
    }

    /// Blocks to fetch that no reader is about to come to.
    pub(super) fn rest(&self, state: &State) -> Range<u32> {
        let count = self.blob.blocks.count();
        let waits = state.awaits_verdict();
        let whole = state.readers.values().any(|reader| reader.demand.reach == Reach::Whole);
        if self.is_keeping(state) && (waits || whole || self.goes_on(state)) {
            0..count
        } else if waits {
            self.hashed..count
        } else {
            0..0
        }
    }

    pub(super) fn bounds(&self, state: &State) -> Bounds {
        let config = &self.tiers.config;
        // With nothing to fall back on, a quarter of the memory is left to readers that are elsewhere.
        let ahead = config.fill_memory_bytes - config.fill_memory_bytes / 4;
        Bounds {
            blocks: self.blob.blocks,
            fetch_bytes: config.fetch_range_bytes,
            ahead_bytes: (!self.is_keeping(state)).then_some(ahead),
        }
    }

    pub(super) fn fetch_on(&mut self) {
        self.fetch_wanted();
        self.fetch_owed();
    }

    fn in_flight(&self, owed: bool) -> usize {
        self.flights.values().filter(|flight| flight.owed == owed).count()
    }

    fn fetch_wanted(&mut self) {
        loop {
            let fill = Arc::clone(&self.fill);
            let mut guard = fill.state();
            let state = &mut *guard;
            if self.in_flight(false) >= state.parallel(self.tiers.config.fetch_parallel) {
                return;
            }
            self.let_idle_go(state);
            let Some(mut run) = self.next_run(state) else { return };
            let spare = if run.need == Need::Rest { self.tiers.config.fetch_range_bytes } else { 0 };
            // Work in the background leaves room for one more read, should somebody come.
            let limit = self.tiers.config.fill_memory_bytes.saturating_sub(spare);
            let room = self.room(state, &run, limit);
            // Rather one whole read when there is room than several small ones now: jobs make room in a moment, reads
            // of storage when they come, which nobody who is in want should wait for.
            let can_wait = !self.jobs.is_empty() || (run.need != Need::Now && !self.flights.is_empty());
            if can_wait && room < self.bytes(&run.blocks) {
                return;
            }
            while self.bytes(&run.blocks) > room {
                run.blocks.end -= 1;
                if run.blocks.is_empty() {
                    return;
                }
            }
            if let Some(window) = &mut state.window {
                window.reserve(run.blocks.clone());
            }
            drop(guard);
            self.launch(run.blocks, false);
        }
    }

    /// Fetches what other caches wait for and ordinary reads leave no place for.
    fn fetch_owed(&mut self) {
        while self.in_flight(true) < OWED_PARALLEL {
            let fill = Arc::clone(&self.fill);
            let mut guard = fill.state();
            let state = &mut *guard;
            let Some(run) = self.next_owed_run(state) else { return };
            let config = &self.tiers.config;
            let limit = config.fill_memory_bytes + OWED_PARALLEL as u64 * config.fetch_range_bytes;
            if self.room(state, &run, limit) < self.bytes(&run.blocks) {
                return;
            }
            if let Some(window) = &mut state.window {
                window.reserve(run.blocks.clone());
            }
            drop(guard);
            self.launch(run.blocks, true);
        }
    }

    fn next_owed_run(&self, state: &State) -> Option<Run> {
        if !state.readers.values().any(|reader| reader.demand.owed) {
            return None;
        }
        let bounds = self.bounds(state);
        let (readable, in_memory) = (self.may_read(state), !self.is_keeping(state));
        let window = state.window.as_ref()?;
        let holdings = self.blob.holdings();
        next_owed_run(&state.readers, &bounds, |block| {
            window.has(block)
                || (readable && holdings.on_disk.has(block))
                || (in_memory && self.tiers.memory.has(&self.blob, block))
        })
    }

    fn next_run(&self, state: &mut State) -> Option<Run> {
        let (bounds, rest) = (self.bounds(state), self.rest(state));
        let readable = self.may_read(state);
        let in_memory = !self.is_keeping(state);
        let window = state.window.as_ref()?;
        let holdings = self.blob.holdings();
        next_run(&mut state.readers, &bounds, rest, |block| {
            window.has(block)
                || (readable && holdings.on_disk.has(block))
                || (in_memory && self.tiers.memory.has(&self.blob, block))
        })
    }

    fn bytes(&self, run: &Range<u32>) -> u64 {
        let bytes = self.blob.blocks.bytes(run.clone());
        bytes.end - bytes.start
    }

    /// Room in memory for a run, or what there is of it; blocks that are needed least are let go.
    fn room(&self, state: &mut State, run: &Run, limit: u64) -> u64 {
        let limit = limit.max(self.blob.blocks.block_bytes());
        loop {
            let held = state.window.as_ref().map_or(0, Window::bytes);
            let room = limit.saturating_sub(held);
            if room >= self.bytes(&run.blocks) || !self.let_least_go(state, run) {
                return room;
            }
        }
    }

    /// Whether nobody needs a block in memory any more: it is hashed, if it has to be, and no reader will take it.
    fn is_idle(&self, state: &State, verifying: bool, block: u32) -> bool {
        (!verifying || block < self.hashed)
            && !state.readers.values().any(|reader| reader.will_take(block, self.blob.blocks))
    }

    fn let_idle_go(&self, state: &mut State) {
        if state.openers > 0 {
            return;
        }
        let verifying = self.is_verifying(state);
        let settled: Vec<u32> = state.window.iter().flat_map(Window::settled).collect();
        for block in settled {
            if self.is_idle(state, verifying, block)
                && let Some(window) = &mut state.window
            {
                window.drop_block(block);
            }
        }
    }

    /// Lets one block go for a run, the one that is needed least; whether there was one.
    fn let_least_go(&self, state: &mut State, run: &Run) -> bool {
        let verifying = self.is_verifying(state);
        let mut least: Option<(u8, u32)> = None;
        for block in state.window.iter().flat_map(Window::settled) {
            let taken_now = state.readers.values().any(|reader| reader.waits_at(block, self.blob.blocks));
            let on_disk = !state.without_disk && self.blob.has(block);
            let rank = match (on_disk, !verifying || block < self.hashed) {
                (true, _) => 0,
                // Its reader has been woken and has yet to take it.
                (false, _) if taken_now && run.need != Need::Now => continue,
                (false, _) if taken_now => 3,
                // Only memory has it: a reader that comes for it later has it fetched again.
                (false, true) if run.need != Need::Rest && !run.spare.contains(&block) => 1,
                // Not even hashed yet. The furthest from that goes first.
                (false, false) if run.need == Need::Now && !run.spare.contains(&block) => 2,
                _ => continue,
            };
            if least.is_none_or(|(best, _)| rank < best || (rank == best && rank == 2)) {
                least = Some((rank, block));
            }
        }
        let (Some((_, block)), Some(window)) = (least, &mut state.window) else { return false };
        window.drop_block(block);
        true
    }

    fn launch(&mut self, run: Range<u32>, owed: bool) {
        let range = self.blob.blocks.bytes(run.clone());
        let known = Some((self.blob.size(), self.blob.etag.clone()));
        let fetch = Fetch::new(&self.source, range, known, &self.tiers.config, &self.tiers.counters);
        self.fly(run, owed, fetch.events().boxed());
    }

    pub(super) fn fly(&mut self, blocks: Range<u32>, owed: bool, events: BoxStream<'static, Event>) {
        let id = self.next_flight;
        self.next_flight += 1;
        let (events, abort) = abortable(events.map(move |event| (id, event)));
        self.events.push(events.boxed());
        self.flights.insert(id, Flight { blocks, owed, lingering: None, abort });
    }

    pub(super) fn stop_flights(&mut self, which: impl Fn(u64) -> bool) {
        let mut state = self.fill.state();
        self.flights.retain(|id, flight| {
            if !which(*id) {
                return true;
            }
            flight.abort.abort();
            if let Some(window) = &mut state.window {
                window.cancel(flight.blocks.clone());
            }
            false
        });
    }
}
