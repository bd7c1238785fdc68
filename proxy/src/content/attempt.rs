//! Small requests to storage: bounded in time, tried again where that is safe.

use std::time::Duration;

use dataproxy_cache::{OriginError, OriginErrorKind};
use futures_util::future::BoxFuture;
use tokio::time::{sleep, timeout};

use crate::store::Store;

/// Tries, the first included.
const TRIES: u32 = 3;
/// Longest wait before the second try; it doubles before each further one.
const FIRST_WAIT: Duration = Duration::from_millis(50);

/// How long storage has for one step of a listing. Clients wait 30 s for headers.
pub(crate) const LIST_PATIENCE: Duration = Duration::from_secs(10);

/// Asks `store` until there is an answer that another try would not change, or none is allowed, for at most `within` in all.
///
/// # Errors
/// The last try's error; [`OriginErrorKind::Timeout`] when the time is over.
pub(crate) async fn attempt<'a, T>(
    store: &dyn Store,
    within: Duration,
    ask: impl Fn() -> BoxFuture<'a, Result<T, OriginError>>,
) -> Result<T, OriginError> {
    let tries = async {
        let mut wait = FIRST_WAIT;
        for _ in 1..TRIES {
            match ask().await {
                Err(error) if error.kind.is_transient() && store.may_retry(&error) => {
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
