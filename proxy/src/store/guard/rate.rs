//! How much there was of something over the last seconds.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// Seconds that are remembered.
const SECONDS: usize = 64;
/// Longest window that can be asked for.
pub(super) const WINDOW_MAX: Duration = Duration::from_secs(60);

/// A sum for each of the last seconds.
#[derive(Debug)]
pub(super) struct Rate {
    start: Instant,
    slots: Mutex<[Slot; SECONDS]>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Slot {
    second: u64,
    amount: u64,
}

impl Rate {
    pub(super) fn new() -> Self {
        Self { start: Instant::now(), slots: Mutex::new([Slot::default(); SECONDS]) }
    }

    fn second(&self) -> u64 {
        self.start.elapsed().as_secs()
    }

    pub(super) fn add(&self, amount: u64) {
        let second = self.second();
        let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(slot) = slots.get_mut(second as usize % SECONDS) else { return };
        if slot.second != second {
            *slot = Slot { second, amount: 0 };
        }
        slot.amount = slot.amount.saturating_add(amount);
    }

    /// What came within `window`, the second under way included.
    pub(super) fn within(&self, window: Duration) -> u64 {
        let second = self.second();
        let first = (second + 1).saturating_sub(window.min(WINDOW_MAX).as_secs());
        let slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        slots.iter().filter(|slot| (first..=second).contains(&slot.second)).map(|slot| slot.amount).sum()
    }

    /// The mean of a second of `window`, or of the time since the start if that is less.
    pub(super) fn per_second(&self, window: Duration) -> f64 {
        let seconds = window.min(WINDOW_MAX).as_secs().min(self.second() + 1).max(1);
        self.within(window) as f64 / seconds as f64
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_window_holds_what_came_in_it_and_nothing_older() {
        let rate = Rate::new();
        let window = Duration::from_secs(10);
        for second in 0..200u64 {
            rate.add(3);
            rate.add(4);
            assert_eq!(rate.within(window), 7 * (second + 1).min(10));
            assert_eq!(rate.within(WINDOW_MAX), 7 * (second + 1).min(60));
            assert!((rate.per_second(window) - 7.0).abs() < 1e-9);
            advance(Duration::from_secs(1)).await;
        }
        advance(Duration::from_secs(8)).await;
        assert_eq!(rate.within(window), 7);
        advance(Duration::from_secs(1)).await;
        assert_eq!(rate.within(window), 0);
    }
}
