//! What came of a drain: one event when it ends, so that an operator can prove it.

use metrics::histogram;
use tokio::time::Instant;

use super::machine::{Ending, Machine, State};

/// When a drain came to each of its states.
#[derive(Debug, Default)]
pub(super) struct Past {
    /// Lame duck, the last time.
    began: Option<Instant>,
    draining: Option<Instant>,
    cutting: Option<Instant>,
    /// The last connection that had something to lose has ended.
    empty: Option<Instant>,
}

impl Past {
    /// The node has come to a state.
    pub(super) fn enters(&mut self, machine: &Machine, now: Instant, soft_cuts: u64) {
        match machine.state() {
            State::Starting => {}
            State::Ready => {
                self.ends("taken_back", now, soft_cuts);
                *self = Self::default();
            }
            State::LameDuck => *self = Self { began: Some(now), ..Self::default() },
            State::Draining => self.draining = Some(now),
            State::Cutting => self.cutting = Some(now),
            State::Closing => self.empty = Some(now),
            State::Exit => {
                let end = match machine.ending() {
                    Ending::Clean => "clean",
                    Ending::Cut => "cut",
                    Ending::HardStop => "hard_stop",
                };
                self.ends(end, now, soft_cuts);
            }
        }
    }

    /// Tells of a drain that ends; of a node that was only cordoned there is nothing to tell.
    fn ends(&self, end: &'static str, now: Instant, soft_cuts: u64) {
        let Some(leaving) = self.draining.or(self.cutting) else { return };
        let began = self.began.unwrap_or(leaving);
        let last = self.empty.unwrap_or(now);
        let seconds = |from: Instant, to: Instant| to.saturating_duration_since(from).as_secs_f64();
        histogram!("dataproxy_drain_seconds", "end" => end).record(seconds(began, last));
        tracing::info!(
            end,
            seconds = seconds(began, last),
            lame_duck_seconds = seconds(began, leaving),
            draining_seconds = self.draining.map(|from| seconds(from, self.cutting.unwrap_or(last))),
            cutting_seconds = self.cutting.map(|from| seconds(from, last)),
            soft_cuts,
            "drain ended"
        );
    }
}
