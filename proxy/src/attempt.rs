//! Small requests to an account: bounded in time, tried again where that is safe.

use std::time::Duration;

use dataproxy_cache::{OriginError, OriginErrorKind};
use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use tokio::time::{sleep, timeout};

/// Tries, the first included. Of many requests at once, the account's budget allows no such number (`store/guard.rs`).
const TRIES: u32 = 6;
/// Longest wait before the second try; it doubles before each further one.
const FIRST_WAIT: Duration = Duration::from_millis(50);
/// An account that asks for a longer pause than this is not asked again here: its word goes to the caller.
const PAUSE_MAX: Duration = Duration::from_millis(250);

/// Asks until there is an answer that another try would not change, or none is allowed, for at most `within` in all.
///
/// A quarter of that without a word, and the same is asked once more beside what was asked already: one request in many
/// is lost on its way, and who is only slow is still heard.
///
/// # Errors
/// The last try's error; [`OriginErrorKind::Timeout`] when the time is over.
pub(crate) async fn attempt<'a, T>(
    within: Duration,
    may_retry: impl Fn(&OriginError) -> bool,
    ask: impl Fn() -> BoxFuture<'a, Result<T, OriginError>>,
) -> Result<T, OriginError> {
    let late = || OriginError::new(OriginErrorKind::Timeout, format!("no answer within {within:?}"));
    let tries = async {
        let (mut tries, mut wait) = (1, FIRST_WAIT);
        let mut running = FuturesUnordered::from_iter([ask()]);
        loop {
            tokio::select! {
                Some(settled) = running.next() => {
                    let error = match settled {
                        Err(error) if error.kind.is_transient() => error,
                        settled => return settled,
                    };
                    if tries < TRIES && !asks_for_a_pause(error.kind) && may_retry(&error) {
                        // Full jitter: nodes that failed together do not come back together.
                        let share: f64 = rand::random();
                        sleep(wait.mul_f64(share)).await;
                        (tries, wait) = (tries + 1, wait * 2);
                        running.push(ask());
                    } else if running.is_empty() {
                        return Err(error);
                    }
                }
                () = sleep(within / 4), if tries < TRIES => {
                    if may_retry(&late()) {
                        tries += 1;
                        running.push(ask());
                    }
                }
            }
        }
    };
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
            (OriginErrorKind::Unavailable, TRIES),
            (OriginErrorKind::Throttled(None), TRIES),
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

    #[tokio::test(start_paused = true)]
    async fn what_is_lost_on_its_way_is_asked_for_again_and_who_is_slow_is_still_heard() {
        for (slow, taken, asked) in [(true, 1, 2), (false, 2, 2)] {
            let tries = AtomicU32::new(0);
            let ask = || {
                let number = tries.fetch_add(1, Ordering::Relaxed) + 1;
                let answer = async move {
                    match (number, slow) {
                        (1, true) => sleep(Duration::from_millis(1500)).await,
                        (2, false) => {}
                        _ => std::future::pending::<()>().await,
                    }
                    Ok::<_, OriginError>(number)
                };
                answer.boxed()
            };
            let within = Duration::from_secs(4);
            assert_eq!(attempt(within, |_| true, ask).await.expect("an answer"), taken);
            assert_eq!(tries.into_inner(), asked);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn nothing_is_asked_twice_where_that_is_not_allowed() {
        let tries = AtomicU32::new(0);
        let ask = || {
            tries.fetch_add(1, Ordering::Relaxed);
            std::future::pending::<Result<(), OriginError>>().boxed()
        };
        let error = attempt(Duration::from_secs(4), |_| false, ask).await.expect_err("nobody answers");
        assert_eq!((error.kind, tries.into_inner()), (OriginErrorKind::Timeout, 1));
    }
}
