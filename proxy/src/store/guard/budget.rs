//! How many requests an account gets on top of those that were asked for: one more for every five, and ten a second.
//!
//! Retries that are decided on one by one, each with good reason, multiply the load of an account that is down. So
//! their sum is bounded here, as Finagle and Envoy do (20 %), whoever decides on them.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// What each first request earns.
const RATIO: f64 = 0.2;
/// Retries a second that need no request to earn them; also how many of them may come at once.
const FLOOR: f64 = 10.0;
/// How long what was earned can be spent.
pub(super) const LIFE: Duration = Duration::from_secs(10);

#[derive(Debug)]
struct Tokens {
    earned: f64,
    floor: f64,
    at: Instant,
    /// Retries that were allowed and have not been sent yet: they earn nothing.
    owed: u64,
}

/// The budget of one account.
#[derive(Debug)]
pub(super) struct Budget {
    tokens: Mutex<Tokens>,
}

impl Budget {
    pub(super) fn new() -> Self {
        let tokens = Tokens { earned: 0.0, floor: FLOOR, at: Instant::now(), owed: 0 };
        Self { tokens: Mutex::new(tokens) }
    }

    /// A request is sent.
    pub(super) fn sent(&self) {
        let mut tokens = self.tokens.lock().unwrap_or_else(PoisonError::into_inner);
        if tokens.owed > 0 {
            tokens.owed -= 1;
        } else {
            tokens.earned += RATIO;
        }
    }

    /// Takes one retry, if there is one; `recent` is how many requests were sent within [`LIFE`].
    pub(super) fn take(&self, recent: u64) -> bool {
        let mut tokens = self.tokens.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        let refill = now.duration_since(tokens.at).as_secs_f64() * FLOOR;
        tokens.at = now;
        tokens.floor = (tokens.floor + refill).min(FLOOR);
        tokens.earned = tokens.earned.min(recent as f64 * RATIO);
        let tokens = &mut *tokens;
        let purse = if tokens.earned >= 1.0 { &mut tokens.earned } else { &mut tokens.floor };
        let allowed = *purse >= 1.0;
        if allowed {
            *purse -= 1.0;
            tokens.owed += 1;
        }
        allowed
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn retries_are_a_fifth_of_what_is_asked_for_and_ten_a_second() {
        let budget = Budget::new();
        let (mut first, mut retries) = (0u64, 0u64);
        for _ in 0..20 {
            for _ in 0..500 {
                budget.sent();
                first += 1;
                // Everything fails for ever, and every failure asks for as much as it can get.
                for _ in 0..3 {
                    if !budget.take(5_000) {
                        break;
                    }
                    retries += 1;
                    budget.sent();
                }
            }
            advance(Duration::from_secs(1)).await;
        }
        let bound = first / 5 + 20 * 10;
        assert!(retries <= bound, "{retries} retries for {first} requests");
        assert!(retries >= bound - 20, "{retries} retries for {first} requests");
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_not_spent_is_lost() {
        let budget = Budget::new();
        for _ in 0..10_000 {
            budget.sent();
        }
        // None of them was within the life of what it earned.
        let spent = (0..100).filter(|_| budget.take(0)).count();
        assert_eq!(spent, FLOOR as usize);
        advance(Duration::from_secs(3600)).await;
        assert_eq!((0..100).filter(|_| budget.take(0)).count(), FLOOR as usize);
    }
}
