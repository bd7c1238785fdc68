//! One ranged read of an origin, as a stream of events, with its retries.
//!
//! A read that fails on the way goes on at the exact byte where it stopped, pinned to the version that its first
//! answer had. What an origin sends is checked against what was asked before anything of it is passed on.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream::{BoxStream, Stream, StreamExt, unfold};
use tokio::time::Instant;

use crate::stats::Counters;
use crate::{CacheConfig, ETag, OriginError, OriginErrorKind, OriginRead, Retry, Source};

/// First back-off, before jitter (promises: origin faults).
const BACKOFF_BASE: Duration = Duration::from_millis(50);
/// Largest back-off.
const BACKOFF_CAP: Duration = Duration::from_secs(2);
/// An origin that asks for a longer pause than this does not get it: the client's header deadline is 20 s.
const RETRY_AFTER_CAP: Duration = Duration::from_secs(5);

/// How long a read that gets nothing is tried again for want of leave, or because its origin asks for less: no body
/// should be silent for longer (promises: origin faults). Tries beyond that count.
const PATIENCE: Duration = Duration::from_secs(8);

/// Reads that another cache has begun to answer and broken off, in one fetch, before such a break counts as a failed try.
const LENT_BREAKS: u32 = 4;

/// What happens to a read.
#[derive(Debug)]
pub(crate) enum Event {
    /// The origin began to answer.
    Answered {
        /// Size of the whole object.
        size: u64,
        /// Its version.
        etag: ETag,
    },
    /// The next bytes. Never empty.
    Piece {
        /// Their offset in the object.
        offset: u64,
        /// The bytes.
        bytes: Bytes,
    },
    /// Everything came.
    Done,
    /// It failed for good. Nothing follows.
    Failed(OriginError),
}

/// A read that is to be made or goes on.
pub(crate) struct Fetch {
    source: Source,
    /// What is still to come.
    left: Range<u64>,
    /// Size and version, once known.
    known: Option<(u64, ETag)>,
    body: Option<BoxStream<'static, Result<Bytes, OriginError>>>,
    /// Whether another cache gives `body`.
    lent: bool,
    lent_breaks: u32,
    /// Failures, for the length of pauses.
    failures: u32,
    /// Tries that count, the first included.
    tries: u32,
    max_tries: u32,
    /// When it began, or bytes came last.
    got_at: Instant,
    idle: Duration,
    over: bool,
    counters: Arc<Counters>,
}

impl Fetch {
    /// A read of `range`, of this size and version if they are known.
    pub(crate) fn new(
        source: &Source,
        range: Range<u64>,
        known: Option<(u64, ETag)>,
        config: &CacheConfig,
        counters: &Arc<Counters>,
    ) -> Self {
        Self {
            source: source.clone(),
            left: range,
            known,
            body: None,
            lent: false,
            lent_breaks: 0,
            failures: 0,
            tries: 1,
            max_tries: config.origin_attempts,
            got_at: Instant::now(),
            idle: config.origin_idle_timeout,
            over: false,
            counters: Arc::clone(counters),
        }
    }

    /// The events of this read. Dropping the stream stops it.
    pub(crate) fn events(self) -> impl Stream<Item = Event> + Send + 'static {
        unfold(self, |mut fetch| async move { fetch.next().await.map(|event| (event, fetch)) })
    }

    async fn next(&mut self) -> Option<Event> {
        while !self.over {
            match self.step().await {
                Ok(event) => return Some(event),
                Err(error) => {
                    let lent = self.body.take().is_some() && self.lent;
                    if lent && error.kind.is_transient() && self.lent_breaks < LENT_BREAKS {
                        // Storage has not failed, so neither a pause nor its leave is due.
                        self.lent_breaks += 1;
                        tracing::debug!(object = ?self.source.object, at = self.left.start, %error, "no longer lent");
                        continue;
                    }
                    if !self.may_go_on(&error).await {
                        self.over = true;
                        return Some(Event::Failed(error));
                    }
                    self.counters.origin_retries.add(1);
                    tracing::debug!(object = ?self.source.object, at = self.left.start, %error, "trying again");
                }
            }
        }
        None
    }

    /// Waits as long as is due before the next try, if there may be one.
    async fn may_go_on(&mut self, error: &OriginError) -> bool {
        let throttled = error.kind.is_throttled();
        while error.kind.is_transient() {
            let (has_tries, has_time) = (self.tries < self.max_tries, self.got_at.elapsed() < PATIENCE);
            if !(has_tries || throttled && has_time) {
                return false;
            }
            self.failures += 1;
            let pause = backoff(self.failures, error.kind);
            match self.source.origin.retry(error) {
                Retry::Uncounted if has_time => {}
                Retry::Counted | Retry::Uncounted if has_tries => self.tries += 1,
                Retry::Later if has_time => {
                    tokio::time::sleep(pause).await;
                    continue;
                }
                _ => return false,
            }
            tokio::time::sleep(pause).await;
            return true;
        }
        false
    }

    async fn step(&mut self) -> Result<Event, OriginError> {
        let Some(body) = &mut self.body else {
            let read = self.ask().await?;
            let answer = Event::Answered { size: read.size, etag: read.etag.clone() };
            self.known = Some((read.size, read.etag));
            self.left = read.range;
            self.body = Some(read.body);
            self.lent = read.lent;
            return Ok(answer);
        };
        loop {
            let left = self.left.end - self.left.start;
            let next = tokio::time::timeout(self.idle, body.next()).await;
            if left == 0 {
                // The end is read too, so that the connection can be used again. Silence here costs nothing.
                self.over = true;
                return match next {
                    Ok(Some(Ok(surplus))) if !surplus.is_empty() => Ok(Event::Failed(overrun())),
                    _ => Ok(Event::Done),
                };
            }
            let bytes = match next {
                Err(_) => return Err(silent("the body stopped", self.idle)),
                Ok(None) => {
                    let message = format!("the body ended {left} bytes short");
                    return Err(OriginError::new(OriginErrorKind::Protocol, message));
                }
                Ok(Some(bytes)) => bytes?,
            };
            if bytes.is_empty() {
                continue;
            }
            if bytes.len() as u64 > left {
                return Err(overrun());
            }
            let received = if self.lent { &self.counters.lent_bytes } else { &self.counters.origin_bytes };
            received.add(bytes.len() as u64);
            let offset = self.left.start;
            self.left.start += bytes.len() as u64;
            self.got_at = Instant::now();
            return Ok(Event::Piece { offset, bytes });
        }
    }

    async fn ask(&mut self) -> Result<OriginRead, OriginError> {
        let mut sent = Sent { lent: false, counters: Arc::clone(&self.counters) };
        let pin = self.known.as_ref().map(|(_, etag)| etag);
        let get = self.source.origin.get(&self.source.object, self.left.clone(), pin);
        let read =
            tokio::time::timeout(self.idle, get).await.map_err(|_| silent("no answer", self.idle))??;
        sent.lent = read.lent;
        if self.known.as_ref().is_some_and(|(size, etag)| *size != read.size || *etag != read.etag) {
            let message = "another version than the pinned one was sent";
            return Err(OriginError::new(OriginErrorKind::Changed, message));
        }
        let expected = self.left.start.min(read.size)..self.left.end.min(read.size);
        if read.range != expected {
            let message = format!("asked for {expected:?} of {} bytes, got {:?}", read.size, read.range);
            return Err(OriginError::new(OriginErrorKind::Protocol, message));
        }
        Ok(read)
    }
}

/// A request on its way. It is counted when it is answered or given up, as only the answer tells who gave it.
struct Sent {
    lent: bool,
    counters: Arc<Counters>,
}

impl Drop for Sent {
    fn drop(&mut self) {
        let counter = if self.lent { &self.counters.lent_requests } else { &self.counters.origin_requests };
        counter.add(1);
    }
}

fn overrun() -> OriginError {
    OriginError::new(OriginErrorKind::Protocol, "more bytes came than were asked for")
}

fn silent(what: &str, idle: Duration) -> OriginError {
    OriginError::new(OriginErrorKind::Timeout, format!("{what} for {} s", idle.as_secs_f32()))
}

/// Full jitter: anywhere from nothing to the doubled step, plus what the origin asked for.
fn backoff(failures: u32, kind: OriginErrorKind) -> Duration {
    let step = BACKOFF_BASE.saturating_mul(1 << failures.clamp(1, 16)).min(BACKOFF_CAP);
    let asked = match kind {
        OriginErrorKind::Throttled(Some(pause)) => pause.min(RETRY_AFTER_CAP),
        _ => Duration::ZERO,
    };
    asked + step.mul_f64(rand::random_range(0.0..=1.0))
}

/// The size of an object, from one request for its first byte, with the retries due.
///
/// # Errors
/// [`OriginError`]
pub(crate) async fn size(
    source: &Source,
    config: &CacheConfig,
    counters: &Arc<Counters>,
) -> Result<u64, OriginError> {
    let mut fetch = Fetch::new(source, 0..1, None, config, counters);
    match fetch.next().await {
        Some(Event::Answered { size, .. }) => Ok(size),
        Some(Event::Failed(error)) => Err(error),
        _ => Err(OriginError::new(OriginErrorKind::Protocol, "a body without an answer")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ObjectName;
    use crate::conformance::pattern;
    use crate::fakes::{FakeOrigin, Fault};

    async fn run(origin: &Arc<FakeOrigin>, range: Range<u64>) -> Result<Vec<u8>, OriginErrorKind> {
        let source = origin.source(&ObjectName::new("o"));
        let fetch = Fetch::new(&source, range, None, &CacheConfig::default(), &Arc::default());
        let mut events = std::pin::pin!(fetch.events());
        let mut content = Vec::new();
        loop {
            match events.next().await {
                Some(Event::Answered { .. }) => {}
                Some(Event::Piece { bytes, .. }) => content.extend_from_slice(&bytes),
                Some(Event::Done) => return Ok(content),
                Some(Event::Failed(error)) => return Err(error.kind),
                None => panic!("the events ended without an end"),
            }
        }
    }

    fn stored(length: usize) -> Arc<FakeOrigin> {
        let origin = FakeOrigin::with_chunk_bytes(1000);
        origin.put(&ObjectName::new("o"), pattern(length));
        origin
    }

    #[tokio::test(start_paused = true)]
    async fn a_read_goes_on_at_the_exact_byte_pinned_to_its_version() {
        for fault in [
            Fault::Truncate { after_bytes: 3500 },
            Fault::Break { after_bytes: 3500, kind: OriginErrorKind::Unavailable },
            Fault::Stall { after_bytes: 3500 },
        ] {
            let origin = stored(10_000);
            origin.next(fault.clone());
            let content = run(&origin, 100..9000).await.expect("resumed");
            assert_eq!(content, pattern(10_000)[100..9000], "{fault:?}");
            let asked = origin.asked();
            assert_eq!(asked[0].range, 100..9000);
            assert_eq!((asked[1].range.clone(), asked[1].pin.is_some()), (3600..9000, true), "{fault:?}");
            assert_eq!(asked.len(), 2, "{fault:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_for_another_range_is_refused_and_asked_again() {
        let origin = stored(10_000);
        origin.next(Fault::Shift { by: 8 });
        assert_eq!(run(&origin, 0..5000).await.expect("second answer"), pattern(10_000)[..5000]);
        origin.always(Fault::Shift { by: 8 });
        assert_eq!(run(&origin, 0..5000).await, Err(OriginErrorKind::Protocol));
    }

    #[tokio::test(start_paused = true)]
    async fn surplus_bytes_are_a_protocol_error() {
        let origin = stored(10_000);
        origin.always(Fault::Overrun { bytes: 1 });
        assert_eq!(run(&origin, 0..5000).await, Err(OriginErrorKind::Protocol));
    }

    #[tokio::test(start_paused = true)]
    async fn tries_are_bounded_and_final_errors_are_not_retried() {
        let origin = stored(10_000);
        origin.always(Fault::Refuse(OriginErrorKind::Unavailable));
        assert_eq!(run(&origin, 0..10).await, Err(OriginErrorKind::Unavailable));
        let tries = CacheConfig::default().origin_attempts as usize;
        assert_eq!(origin.requests(), tries);
        origin.heal();
        origin.always(Fault::Refuse(OriginErrorKind::Denied));
        assert_eq!(run(&origin, 0..10).await, Err(OriginErrorKind::Denied));
        assert_eq!(origin.requests(), tries + 1);
    }

    /// An origin that says this to whoever wants to try again, and counts how often it is asked for that.
    #[derive(Debug)]
    struct Bounding {
        behind: Arc<FakeOrigin>,
        says: fn(u32) -> Retry,
        asked: std::sync::atomic::AtomicU32,
    }

    impl crate::Origin for Bounding {
        fn get<'a>(
            &'a self,
            object: &'a ObjectName,
            range: Range<u64>,
            pin: Option<&'a ETag>,
        ) -> futures_util::future::BoxFuture<'a, Result<OriginRead, OriginError>> {
            self.behind.get(object, range, pin)
        }

        fn retry(&self, _: &OriginError) -> Retry {
            (self.says)(self.asked.fetch_add(1, std::sync::atomic::Ordering::Relaxed))
        }
    }

    async fn size_at(behind: &Arc<FakeOrigin>, says: fn(u32) -> Retry) -> (bool, usize, Duration) {
        let (requests, start) = (behind.requests(), Instant::now());
        let origin = Arc::new(Bounding { behind: Arc::clone(behind), says, asked: Default::default() });
        let source = Source { origin, object: ObjectName::new("o") };
        let size = size(&source, &CacheConfig::default(), &Arc::default()).await;
        (size.is_ok(), behind.requests() - requests, start.elapsed())
    }

    #[tokio::test(start_paused = true)]
    async fn a_throttled_read_that_its_origin_bounds_goes_on_while_there_is_time() {
        let origin = stored(10_000);
        let tries = CacheConfig::default().origin_attempts;
        let busy = Fault::Refuse(OriginErrorKind::Throttled(None));
        origin.script(|_| true, Some(tries), busy.clone());
        let (succeeded, asked, _) = size_at(&origin, |_| Retry::Uncounted).await;
        assert_eq!((succeeded, asked), (true, tries as usize + 1));
        origin.always(busy);
        let (succeeded, asked, took) = size_at(&origin, |_| Retry::Uncounted).await;
        assert!(!succeeded && took >= PATIENCE && took < PATIENCE + 10 * BACKOFF_CAP, "{took:?}");
        assert!(asked < 40, "{asked} tries in {took:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_read_that_gets_no_leave_waits_for_it() {
        let origin = stored(10_000);
        origin.next(Fault::Refuse(OriginErrorKind::Unavailable));
        let later_twice = |asked| if asked < 2 { Retry::Later } else { Retry::Counted };
        let (succeeded, asked, _) = size_at(&origin, later_twice).await;
        assert_eq!((succeeded, asked), (true, 2));
        origin.next(Fault::Refuse(OriginErrorKind::Unavailable));
        let (succeeded, asked, took) = size_at(&origin, |_| Retry::Later).await;
        assert_eq!((succeeded, asked), (false, 1), "nothing is asked without leave");
        assert!(took >= PATIENCE && took <= PATIENCE + BACKOFF_CAP, "{took:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_mute_origin_times_out_and_is_asked_again() {
        let origin = stored(10_000);
        origin.next(Fault::Mute);
        let start = tokio::time::Instant::now();
        assert_eq!(run(&origin, 0..10).await.expect("second answer"), pattern(10));
        assert!(start.elapsed() >= CacheConfig::default().origin_idle_timeout);
    }

    #[tokio::test(start_paused = true)]
    async fn a_throttled_read_waits_as_long_as_it_is_told_within_reason() {
        let origin = stored(10_000);
        for (asked, least, most) in [(3, 3, 6), (3600, 5, 8)] {
            origin.next(Fault::Refuse(OriginErrorKind::Throttled(Some(Duration::from_secs(asked)))));
            let start = tokio::time::Instant::now();
            run(&origin, 0..10).await.expect("second answer");
            let waited = start.elapsed();
            assert!((Duration::from_secs(least)..Duration::from_secs(most)).contains(&waited), "{waited:?}");
        }
    }
}
