//! Small requests to an account: bounded in time, tried again where that is safe.

use std::time::Duration;

use dataproxy_cache::{OriginError, OriginErrorKind, Retry};
use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use tokio::time::{Instant, sleep_until, timeout};

/// Tries, the first included, beside those that an account does not count. Where a tenth of all requests break or stall,
/// one question in ten million meets that eight times. Of many requests at once, the account's budget allows no such
/// number (`store/guard.rs`).
const TRIES: u32 = 8;
/// Longest wait before the second try; it doubles before each further one, up to the last.
const FIRST_WAIT: Duration = Duration::from_millis(50);
const LAST_WAIT: Duration = Duration::from_millis(400);
/// An account that asks for a longer pause than this is not asked again here: its word goes to the caller.
const PAUSE_MAX: Duration = Duration::from_millis(250);

/// Asks until there is an answer that another try would not change, or none is allowed, for at most `within` in all.
///
/// A quarter of that without a word, and the same is asked once more beside what was asked already: one request in many
/// is lost on its way, and who is only slow is still heard. The next time half as much silence is enough, down to a
/// sixteenth.
///
/// # Errors
/// The last try's error; [`OriginErrorKind::Timeout`] when the time is over.
pub(crate) async fn attempt<'a, T>(
    within: Duration,
    retry: impl Fn(&OriginError) -> Retry,
    ask: impl Fn() -> BoxFuture<'a, Result<T, OriginError>>,
) -> Result<T, OriginError> {
    let late = || OriginError::new(OriginErrorKind::Timeout, format!("no answer within {within:?}"));
    let tries = async {
        let (mut tries, mut wait, mut silence) = (1, FIRST_WAIT, within / 4);
        let mut running = FuturesUnordered::from_iter([ask()]);
        let mut again = Again { at: Some(Instant::now() + silence), failed: None };
        loop {
            tokio::select! {
                // An answer that is there is better than one more question.
                biased;
                Some(settled) = running.next() => {
                    let error = match settled {
                        Err(error) if error.kind.is_transient() => error,
                        settled => return settled,
                    };
                    if may_be_asked_again(tries, error.kind) {
                        again.sooner(jitter(wait), error);
                        wait = (wait * 2).min(LAST_WAIT);
                    } else if running.is_empty() {
                        return Err(error);
                    }
                }
                () = sleep_until(again.at.unwrap_or_else(Instant::now)), if again.at.is_some() => {
                    let lost = again.failed.clone().unwrap_or_else(late);
                    let leave = if may_be_asked_again(tries, lost.kind) { retry(&lost) } else { Retry::Counted };
                    match leave {
                        Retry::Later => again.at = Some(Instant::now() + jitter(LAST_WAIT)),
                        Retry::Counted if tries >= TRIES && running.is_empty() => return Err(lost),
                        Retry::Counted if tries >= TRIES => again.at = None,
                        Retry::Counted | Retry::Uncounted => {
                            tries += u32::from(leave == Retry::Counted);
                            if again.failed.is_none() {
                                silence = (silence / 2).max(within / 16);
                            }
                            running.push(ask());
                            again = Again { at: Some(Instant::now() + silence), failed: None };
                        }
                    }
                }
            }
        }
    };
    timeout(within, tries).await.unwrap_or_else(|_| Err(late()))
}

/// When the account is to be asked again, if it is, and what it said last, if anything.
struct Again {
    at: Option<Instant>,
    failed: Option<OriginError>,
}

impl Again {
    fn sooner(&mut self, wait: Duration, failed: OriginError) {
        let then = Instant::now() + wait;
        self.at = Some(self.at.map_or(then, |at| at.min(then)));
        self.failed = Some(failed);
    }
}

/// Full jitter: nodes that failed together do not come back together.
fn jitter(longest: Duration) -> Duration {
    longest.mul_f64(rand::random_range(0.0..=1.0))
}

fn may_be_asked_again(tries: u32, kind: OriginErrorKind) -> bool {
    let asks_for_a_pause = matches!(kind, OriginErrorKind::Throttled(Some(pause)) if pause > PAUSE_MAX);
    !asks_for_a_pause && (tries < TRIES || kind.is_throttled())
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use futures_util::FutureExt;
    use tokio::time::sleep;

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
            let error =
                attempt(Duration::from_secs(4), |_| Retry::Counted, ask).await.expect_err("it always fails");
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
            assert_eq!(attempt(within, |_| Retry::Counted, ask).await.expect("an answer"), taken);
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
        let error = attempt(Duration::from_secs(4), |_| Retry::Later, ask).await.expect_err("nobody answers");
        assert_eq!((error.kind, tries.into_inner()), (OriginErrorKind::Timeout, 1));
    }

    #[tokio::test(start_paused = true)]
    async fn an_account_that_has_too_many_requests_is_asked_for_as_long_as_there_is_time() {
        let within = Duration::from_secs(4);
        for (leave, least) in [(Retry::Uncounted, TRIES + 4), (Retry::Counted, TRIES)] {
            let (tries, started) = (AtomicU32::new(0), Instant::now());
            let ask = || {
                tries.fetch_add(1, Ordering::Relaxed);
                let busy = OriginError::new(OriginErrorKind::Throttled(None), "busy");
                std::future::ready(Err::<(), _>(busy)).boxed()
            };
            attempt(within, |_| leave, ask).await.expect_err("it is always busy");
            let took_all = started.elapsed() == within;
            assert_eq!(took_all, leave == Retry::Uncounted, "{:?}", started.elapsed());
            assert!((least..=60).contains(&tries.into_inner()), "{leave:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn who_gets_no_leave_to_try_again_waits_for_it() {
        let (tries, refusals) = (AtomicU32::new(0), AtomicU32::new(0));
        let ask = || {
            let answer = match tries.fetch_add(1, Ordering::Relaxed) {
                0 => Err(OriginError::new(OriginErrorKind::Unavailable, "reset")),
                _ => Ok(()),
            };
            std::future::ready(answer).boxed()
        };
        let retry = |_: &OriginError| match refusals.fetch_add(1, Ordering::Relaxed) {
            0..=2 => Retry::Later,
            _ => Retry::Counted,
        };
        attempt(Duration::from_secs(4), retry, ask).await.expect("an answer");
        assert_eq!((tries.into_inner(), refusals.into_inner()), (2, 4));
    }
}
