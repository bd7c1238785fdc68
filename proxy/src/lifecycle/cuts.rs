//! Which response is cut when: one after the other, evenly over a window, so that their clients do not all come back at
//! once.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::time::Instant;

/// What is left to a cut connection before the hard stop, at most.
const RESERVE_MAX: Duration = Duration::from_secs(5);

/// The order in which responses are cut.
#[derive(Debug)]
pub struct Cuts {
    began: Instant,
    window: Duration,
    last: Instant,
    expected: OnceLock<usize>,
    taken: AtomicUsize,
}

/// When one response is cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slot {
    /// From when on, if it has got far enough for its client to resume it.
    pub due: Instant,
    /// When at the latest.
    pub latest: Instant,
}

impl Cuts {
    /// Cutting that begins now.
    pub(super) fn new(now: Instant, window: Duration, hard_stop: Instant) -> Self {
        let reserve = (hard_stop.saturating_duration_since(now) / 4).min(RESERVE_MAX);
        Self {
            began: now,
            window,
            last: hard_stop - reserve,
            expected: OnceLock::new(),
            taken: AtomicUsize::new(0),
        }
    }

    /// The next one's turn; the first who asks counts how many are `running`. Whoever begins while responses are cut has
    /// its turn after all that ran before, and time until shortly before the hard stop.
    pub fn slot(&self, running: impl FnOnce() -> usize) -> Slot {
        let expected = *self.expected.get_or_init(|| running().max(1));
        let index = self.taken.fetch_add(1, Ordering::Relaxed);
        let due = self.began + self.window.mul_f64(index as f64 / expected as f64);
        // A window more for each: who is late at the same time is not cut at the same time.
        let latest = if index < expected { due + self.window } else { self.last };
        let latest = latest.min(self.last);
        Slot { due: due.min(latest), latest }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tenth_of_all_is_cut_in_each_tenth_of_the_window_and_newcomers_after_them() {
        let (now, second) = (Instant::now(), Duration::from_secs(1));
        let cuts = Cuts::new(now, 10 * second, now + 30 * second);
        let slots: Vec<_> = (0..1000).map(|_| cuts.slot(|| 1000)).collect();
        for tenth in 0..10 {
            let (from, to) = (now + second * tenth, now + second * (tenth + 1));
            assert_eq!(slots.iter().filter(|slot| (from..to).contains(&slot.due)).count(), 100);
        }
        assert!(slots.iter().all(|slot| slot.latest == slot.due + 10 * second));
        let newcomer = cuts.slot(|| 0);
        assert_eq!(newcomer, Slot { due: now + 10 * second, latest: now + 25 * second });
        let crowd = (0..9000).map(|_| cuts.slot(|| 1000)).last();
        assert_eq!(crowd.map(|slot| slot.due), Some(now + 25 * second));
    }
}
