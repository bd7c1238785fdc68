//! How a fill ends: every way out of its task leaves the books, tells its readers and frees its memory.

use std::sync::Arc;

use super::{Fill, FillStatus, State, wake_all};
use crate::CacheError;
use crate::tiers::{Running, Tiers};

/// Ends the fill whatever becomes of its task: a dropped task is an abandoned fill, never one that hangs.
pub(super) struct End {
    pub(super) fill: Arc<Fill>,
    pub(super) tiers: Arc<Tiers>,
    _running: Running,
}

impl Drop for End {
    fn drop(&mut self) {
        self.tiers.fills.remove(&self.fill);
        let mut state = self.fill.state();
        if !state.status.has_ended() {
            state.status = FillStatus::Abandoned;
            state.error = Some(CacheError::Abandoned);
        }
        self.fill.opened.send_if_modified(|opened| {
            let waiting = opened.is_none();
            if waiting {
                *opened = Some(Err(CacheError::Abandoned));
            }
            waiting
        });
        let held = state.window.as_mut().map_or(0, |window| {
            let held = window.bytes();
            window.clear();
            held
        });
        self.tiers.counters.fill_bytes.sub(held);
        let wakers = state.wakers(|_| true);
        drop(state);
        wake_all(wakers);
    }
}

impl End {
    pub(super) fn new(tiers: &Arc<Tiers>, fill: Arc<Fill>) -> Self {
        Self { fill, tiers: Arc::clone(tiers), _running: tiers.count_fill() }
    }

    /// Ends the fill with an error for everybody in it.
    pub(super) fn fail(&self, error: &CacheError) {
        self.tiers.fills.remove(&self.fill);
        let status = FillStatus::of_error(error);
        tracing::debug!(blob = %self.fill.key, status = status.as_str(), %error, "fill ended");
        self.tiers.counters.fills_failed.add(1);
        let mut state = self.fill.state();
        state.status = status;
        state.error = Some(error.clone());
        drop(state);
        self.fill.opened.send_if_modified(|opened| {
            let waiting = opened.is_none();
            if waiting {
                *opened = Some(Err(error.clone()));
            }
            waiting
        });
    }

    /// Ends the fill well, unless somebody came meanwhile who wants more of it.
    pub(super) fn succeed(&self, status: FillStatus, keeps_going: impl Fn(&State) -> bool) -> bool {
        let running = self.tiers.fills.book();
        let mut state = self.fill.state();
        if status == FillStatus::Partial && keeps_going(&state) {
            return false;
        }
        state.status = status;
        if status == FillStatus::Abandoned {
            state.error = Some(CacheError::Abandoned);
        }
        drop(state);
        drop(running);
        let counters = &self.tiers.counters;
        match status {
            FillStatus::Complete => counters.fills_completed.add(1),
            FillStatus::Partial => counters.fills_partial.add(1),
            _ => counters.fills_failed.add(1),
        }
        tracing::debug!(blob = %self.fill.key, status = status.as_str(), "fill ended");
        true
    }
}
