//! The time that a connection may take for its next request, as hyper asks for it: anew for each, though it hardly ever
//! passes.
//!
//! The runtime enters a timer into a wheel and takes it out again under a lock that all connections share. So a
//! connection keeps one entry for all its requests, and puts it off only when its time has come.
//!
//! hyper begins to wait when it has taken the last piece of a response. The client may still be taking that, so its time
//! begins when it has.

use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use hyper::rt::Timer;

use crate::connections::Connection;

/// The timer of one connection.
#[derive(Clone)]
pub(crate) struct IdleTimer {
    entry: Arc<Mutex<Option<Pin<Box<tokio::time::Sleep>>>>>,
    connection: Arc<Connection>,
    timeout: Duration,
}

impl IdleTimer {
    /// For a connection that has so long for its next request.
    pub(crate) fn of(connection: Arc<Connection>, timeout: Duration) -> Self {
        Self { entry: Arc::default(), connection, timeout }
    }
}

impl Timer for IdleTimer {
    fn sleep(&self, duration: Duration) -> Pin<Box<dyn hyper::rt::Sleep>> {
        self.sleep_until(self.now() + duration)
    }

    fn sleep_until(&self, deadline: Instant) -> Pin<Box<dyn hyper::rt::Sleep>> {
        Box::pin(Sleep { deadline: deadline.into(), timer: self.clone() })
    }

    fn now(&self) -> Instant {
        tokio::time::Instant::now().into()
    }
}

/// One wait of the connection. Of several at a time, the one that was polled last is woken.
struct Sleep {
    deadline: tokio::time::Instant,
    timer: IdleTimer,
}

impl hyper::rt::Sleep for Sleep {}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let timer = self.timer.clone();
        let mut entry = timer.entry.lock().unwrap_or_else(PoisonError::into_inner);
        let entry = entry.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(self.deadline)));
        if entry.deadline() > self.deadline {
            entry.as_mut().reset(self.deadline);
        }
        loop {
            ready!(entry.as_mut().poll(context));
            if entry.deadline() >= self.deadline {
                let now = tokio::time::Instant::now();
                let due = timer.connection.idle_since().unwrap_or(now) + timer.timeout;
                if due <= now {
                    return Poll::Ready(());
                }
                self.deadline = due;
            }
            // It was the time of an earlier request, or the client has not had all of the last response for as long.
            entry.as_mut().reset(self.deadline);
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    /// The timer of a connection that has been without a request for longer than any wait here.
    fn timer() -> IdleTimer {
        let table = Arc::<crate::connections::Connections>::default();
        let entry = table.enter(([127, 0, 0, 1], 1).into());
        IdleTimer::of(Arc::clone(&entry.connection), Duration::ZERO)
    }

    #[tokio::test(start_paused = true)]
    async fn a_clients_time_for_its_next_request_begins_when_it_has_all_of_the_last_response() {
        let table = Arc::<crate::connections::Connections>::default();
        let entry = table.enter(([127, 0, 0, 1], 1).into());
        let timer = IdleTimer::of(Arc::clone(&entry.connection), 10 * SECOND);
        drop(entry.connection.begin());
        let began = tokio::time::Instant::now();
        let client = async {
            tokio::time::sleep(25 * SECOND).await;
            entry.connection.flushed();
        };
        tokio::join!(timer.sleep(10 * SECOND), client);
        assert_eq!(began.elapsed().as_secs(), 35, "25 s for the last bytes and 10 s after them");
    }

    #[tokio::test(start_paused = true)]
    async fn each_wait_ends_at_its_own_time_however_many_came_before() {
        let timer = timer();
        for _ in 0..10 {
            let mut wait = timer.sleep(10 * SECOND);
            assert!(wait.as_mut().now_or_never().is_none());
            tokio::time::advance(3 * SECOND).await;
        }
        let began = tokio::time::Instant::now();
        timer.sleep(10 * SECOND).await;
        assert_eq!(began.elapsed().as_secs(), 10);
        let _ = timer.sleep(10 * SECOND).now_or_never();
        timer.sleep(2 * SECOND).await;
        assert_eq!(began.elapsed().as_secs(), 12, "one that is due earlier than the entry");
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_that_goes_on_asking_enters_the_wheel_once_a_timeout() {
        let timer = timer();
        let entered = || timer.entry.lock().unwrap().as_ref().map(|entry| entry.deadline());
        let _ = timer.sleep(10 * SECOND).now_or_never();
        let first = entered();
        for _ in 0..9 {
            tokio::time::advance(SECOND).await;
            assert!(timer.sleep(10 * SECOND).now_or_never().is_none());
            assert_eq!(entered(), first);
        }
        tokio::time::advance(2 * SECOND).await;
        assert!(timer.sleep(10 * SECOND).now_or_never().is_none());
        assert_eq!(entered(), first.map(|first| first + 11 * SECOND));
    }
}
