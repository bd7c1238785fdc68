//! Waiting on conditions, never on the clock.

use std::time::Duration;

use tokio::time::{Instant, sleep};

/// Tries `attempt` until it gives a value.
///
/// # Panics
/// After `limit`, with what was waited for and why the last attempt did not do.
pub async fn eventually<T, F, A>(what: &str, limit: Duration, mut attempt: F) -> T
where
    F: FnMut() -> A,
    A: Future<Output = Result<T, String>>,
{
    let deadline = Instant::now() + limit;
    loop {
        match attempt().await {
            Ok(value) => return value,
            Err(why) if Instant::now() >= deadline => panic!("{what}: not within {limit:?}: {why}"),
            Err(_) => sleep(Duration::from_millis(25)).await,
        }
    }
}
