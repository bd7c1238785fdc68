//! Small requests to an account: bounded in time, tried again where that is safe.

use std::time::Duration;

use dataproxy_cache::{OriginError, OriginErrorKind};
use futures_util::future::BoxFuture;
use tokio::time::{sleep, timeout};

/// Tries, the first included.
const TRIES: u32 = 3;
/// Longest wait before the second try; it doubles before each further one.
const FIRST_WAIT: Duration = Duration::from_millis(50);
/// An account that asks for a longer pause than this is not asked again here: its word goes to the caller.
const PAUSE_MAX: Duration = Duration::from_millis(250);

/// Asks until there is an answer that another try would not change, or none is allowed, for at most `within` in all.
///
/// # Errors
/// The last try's error; [`OriginErrorKind::Timeout`] when the time is over.
pub(crate) async fn attempt<'a, T>(
    within: Duration,
    may_retry: impl Fn(&OriginError) -> bool,
    ask: impl Fn() -> BoxFuture<'a, Result<T, OriginError>>,
) -> Result<T, OriginError> {
    let tries = async {
        let mut wait = FIRST_WAIT;
        for _ in 1..TRIES {
            match ask().await {
                Err(error)
                    if error.kind.is_transient() && !asks_for_a_pause(error.kind) && may_retry(&error) =>
                {
                    // Full jitter: nodes that failed together do not come back together.
                    let share: f64 = rand::random();
                    sleep(wait.mul_f64(share)).await;
                    wait *= 2;
                }
                settled => return settled,
            }
        }
        ask().await
    };
    let late = || OriginError::new(OriginErrorKind::Timeout, format!("no answer within {within:?}"));
    timeout(within, tries).await.unwrap_or_else(|_| Err(late()))
}

fn asks_for_a_pause(kind: OriginErrorKind) -> bool {
    matches!(kind, OriginErrorKind::Throttled(Some(pause)) if pause > PAUSE_MAX)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use futures_util::FutureExt;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn an_account_that_asks_for_a_pause_is_not_asked_again_at_once() {
        for (kind, asked) in [
            (OriginErrorKind::Unavailable, 3),
            (OriginErrorKind::Throttled(None), 3),
            (OriginErrorKind::Throttled(Some(Duration::from_secs(30))), 1),
            (OriginErrorKind::Denied, 1),
        ] {
            let tries = AtomicU32::new(0);
            let ask = || {
                tries.fetch_add(1, Ordering::Relaxed);
                std::future::ready(Err::<(), _>(OriginError::new(kind, "no"))).boxed()
            };
            let error = attempt(Duration::from_secs(4), |_| true, ask).await.expect_err("it always fails");
            assert_eq!((error.kind, tries.into_inner()), (kind, asked));
        }
    }
}
