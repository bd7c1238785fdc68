use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use dataproxy_cache::Retry;
use dataproxy_cache::conformance::{Fixture, pattern};
use dataproxy_cache::fakes::{Fault, Gate};
use futures_util::{FutureExt, StreamExt};
use metrics_exporter_prometheus::PrometheusBuilder;
use tokio::time::{advance, timeout};

use super::*;
use crate::store::conformance;
use crate::store::memory::MemoryStore;

const SECOND: Duration = Duration::from_secs(1);

fn guard(store: &Arc<MemoryStore>, bounds: AccountBounds) -> Arc<Guard> {
    Guard::new("one".parse().expect("a name"), Arc::clone(store) as Arc<dyn Store>, bounds)
}

fn object() -> ObjectName {
    ObjectName::new("c/object")
}

fn stored() -> (Arc<MemoryStore>, Arc<Guard>) {
    let store = MemoryStore::new();
    store.put(&object(), pattern(10_000));
    let guard = guard(&store, AccountBounds { max_in_flight: 8, ..AccountBounds::default() });
    (store, guard)
}

async fn read(guard: &Guard) -> Result<usize, OriginErrorKind> {
    let mut read = guard.get(&object(), 0..10_000, None).await.map_err(|error| error.kind)?;
    let mut bytes = 0;
    while let Some(piece) = read.body.next().await {
        bytes += piece.map_err(|error| error.kind)?.len();
    }
    Ok(bytes)
}

/// Fails reads until the account is dark.
async fn darken(store: &MemoryStore, guard: &Guard) {
    store.origin().always(Fault::Refuse(OriginErrorKind::Unavailable));
    for _ in 0..5 {
        assert_eq!(read(guard).await, Err(OriginErrorKind::Unavailable));
        advance(SECOND / 2).await;
    }
    until_dark(guard, Duration::ZERO).await;
}

/// Waits until the account is dark, which it is after a probe of at most this time.
async fn until_dark(guard: &Guard, within: Duration) {
    let dark = async {
        while guard.state() != AccountState::Dark {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    timeout(within + Duration::from_millis(10), dark).await.expect("the account is dark");
}

struct Twin(Arc<MemoryStore>, Arc<Guard>);

impl Fixture for Twin {
    fn origin(&self) -> Arc<dyn Origin> {
        Arc::clone(&self.1) as Arc<dyn Origin>
    }

    fn put<'a>(&'a self, object: &'a ObjectName, content: Bytes) -> BoxFuture<'a, ()> {
        async move { self.0.put(object, content) }.boxed()
    }

    fn remove<'a>(&'a self, object: &'a ObjectName) -> BoxFuture<'a, ()> {
        async move { self.0.remove(object) }.boxed()
    }
}

#[tokio::test]
async fn a_guarded_account_keeps_the_contracts() {
    let store = MemoryStore::new();
    let guarded = guard(&store, AccountBounds::default());
    dataproxy_cache::conformance::origin(&Twin(Arc::clone(&store), Arc::clone(&guarded))).await;
    let put = |name: &str, content: &[u8]| store.put(&ObjectName::new(name), content.to_vec());
    conformance::list(&*guarded, put).await;
    assert_eq!(guarded.in_flight(), (512, 0), "every place is given back");
}

#[tokio::test(start_paused = true)]
async fn a_dark_account_is_asked_by_one_probe_at_a_time_until_it_answers() {
    let (store, guard) = stored();
    darken(&store, &guard).await;
    store.origin().heal();
    store.origin().always(Fault::Mute);
    let before = store.origin().requests();
    for _ in 0..600 {
        assert_eq!(read(&guard).await, Err(OriginErrorKind::Unavailable), "at once, with no request");
        let error = OriginError::new(OriginErrorKind::Unavailable, "x");
        assert_eq!(guard.retry(&error), Retry::Counted);
        advance(SECOND / 10).await;
    }
    let probes = store.origin().requests() - before;
    assert!((3..=12).contains(&probes), "{probes} probes in a minute of silence");
    store.origin().heal();
    timeout(20 * SECOND, async {
        while guard.state() == AccountState::Dark {
            tokio::time::sleep(SECOND / 10).await;
        }
    })
    .await
    .expect("a probe finds it well");
    assert_eq!(read(&guard).await, Ok(10_000));
}

#[tokio::test(start_paused = true)]
async fn an_account_that_says_nothing_turns_dark_though_every_caller_gives_up() {
    let (store, guard) = stored();
    store.origin().always(Fault::Mute);
    for _ in 0..4 {
        assert!(timeout(SILENCE / 2, read(&guard)).await.is_err(), "a caller in a hurry blames nobody");
    }
    for _ in 0..5 {
        assert_eq!(guard.state(), AccountState::Healthy);
        assert!(timeout(SILENCE, read(&guard)).await.is_err());
    }
    until_dark(&guard, SILENCE).await;
    assert_eq!(guard.in_flight().1, 0);
}

#[tokio::test(start_paused = true)]
async fn a_body_that_falls_silent_counts_and_one_that_is_left_does_not() {
    let (store, guard) = stored();
    for _ in 0..5 {
        let mut left = guard.get(&object(), 0..10_000, None).await.expect("an answer");
        left.body.next().await.expect("a piece").expect("bytes");
        advance(10 * SECOND).await;
    }
    assert_eq!(guard.in_flight().0, 8, "the reader was slow, not the account");
    store.origin().always(Fault::Stall { after_bytes: 0 });
    for _ in 0..5 {
        let mut silent = guard.get(&object(), 0..10_000, None).await.expect("an answer");
        assert!(timeout(SILENCE, silent.body.next()).await.is_err());
    }
    assert_eq!(guard.limit.now().0, 4, "it counts as timed out");
}

#[tokio::test(start_paused = true)]
async fn an_object_that_cannot_be_read_makes_no_account_dark() {
    for fault in [Fault::Refuse(OriginErrorKind::Unavailable), Fault::Mute] {
        let (store, guard) = stored();
        let damaged = ["c/damaged", "c/team-a/docker/registry/v2/blobs/x/data"].map(ObjectName::new);
        let name = |asked: &ObjectName| asked.as_str().contains("dataproxy-reach");
        store.origin().script(move |asked| !name(&asked.object) && asked.object != object(), None, fault);
        for object in damaged.iter().cycle().take(60) {
            assert!(!timeout(SILENCE, guard.get(object, 0..1, None)).await.is_ok_and(|read| read.is_ok()));
            advance(SECOND / 2).await;
            assert_eq!(guard.state(), AccountState::Healthy);
        }
        assert_eq!(read(&guard).await, Ok(10_000));
        let probes = store.origin().asked().into_iter().filter(|asked| name(&asked.object)).count();
        assert!((3..=15).contains(&probes), "{probes} probes for 60 failures");
    }
}

#[tokio::test(start_paused = true)]
async fn a_dark_account_with_a_damaged_object_is_found_well() {
    let (store, guard) = stored();
    darken(&store, &guard).await;
    store.origin().heal();
    // What darkened it stays as it is.
    store.origin().script(
        |asked| asked.object == object(),
        None,
        Fault::Refuse(OriginErrorKind::Unavailable),
    );
    timeout(SECOND, async {
        while guard.state() == AccountState::Dark {
            tokio::time::sleep(SECOND / 100).await;
        }
    })
    .await
    .expect("a probe finds it well");
}

#[test]
fn a_probe_is_for_a_name_that_nobody_writes_beside_what_failed() {
    for (object, absent) in [
        ("c/docker/registry/v2/blobs/x/data", "c/docker/registry/v2/dataproxy-reach"),
        (
            "c//team/docker/registry/v2/repositories/docker/registry/v2/x",
            "c//team/docker/registry/v2/dataproxy-reach",
        ),
        ("c/object", "c/docker/registry/v2/dataproxy-reach"),
        ("c", "c/docker/registry/v2/dataproxy-reach"),
    ] {
        assert_eq!(absent_beside(&ObjectName::new(object)).as_str(), absent);
    }
}

#[tokio::test]
async fn an_account_is_never_asked_for_a_version_of_a_placement_with_copies() {
    let (store, guard) = stored();
    let read = guard.get(&object(), 0..1, Some(&ETag::new("one!10000!v1"))).await;
    assert_eq!(read.expect_err("not its own").kind, OriginErrorKind::Changed);
    assert_eq!(store.origin().requests(), 0);
    for own in ["\"0x8DC!\"", "a!b!c", "!5!x"] {
        let read = guard.get(&object(), 0..1, Some(&ETag::new(own))).await;
        assert_eq!(read.expect_err("another version").kind, OriginErrorKind::Changed);
    }
    assert_eq!(store.origin().requests(), 3, "what an account may say itself is for it to judge");
}

#[tokio::test(start_paused = true)]
async fn a_throttled_account_is_asked_less_and_what_it_cannot_take_fails_in_bounded_time() {
    let (store, guard) = stored();
    store.origin().next(Fault::Refuse(OriginErrorKind::Throttled(None)));
    assert_eq!(read(&guard).await, Err(OriginErrorKind::Throttled(None)));
    assert_eq!((guard.in_flight(), guard.state()), ((4, 0), AccountState::Throttled));
    let gate = Gate::new();
    store.origin().always(Fault::HoldAnswer(gate.clone()));
    let before = store.origin().requests();
    let reads: Vec<_> = (0..10)
        .map(|_| {
            let guard = Arc::clone(&guard);
            tokio::spawn(async move { read(&guard).await })
        })
        .collect();
    gate.arrived(4).await;
    advance(limit::WAIT_MAX).await;
    while reads.iter().filter(|read| read.is_finished()).count() < 6 {
        tokio::task::yield_now().await;
    }
    assert_eq!(store.origin().requests() - before, 4, "no more than four at once");
    gate.open();
    let mut outcomes = Vec::new();
    for read in reads {
        outcomes.push(read.await.expect("ended"));
    }
    assert_eq!(outcomes.iter().filter(|outcome| **outcome == Ok(10_000)).count(), 4);
    assert_eq!(
        outcomes.iter().filter(|outcome| matches!(outcome, Err(OriginErrorKind::Throttled(_)))).count(),
        6
    );
}

#[tokio::test(start_paused = true)]
async fn retries_of_an_account_are_bounded_in_sum() {
    let (store, guard) = stored();
    store.origin().always(Fault::Refuse(OriginErrorKind::Protocol));
    let (mut first, started) = (0, Instant::now());
    while started.elapsed() < 20 * SECOND {
        first += 1;
        for _ in 0..4 {
            let Err(kind) = read(&guard).await else { panic!("it answers") };
            if guard.retry(&OriginError::new(kind, "x")) == Retry::Later {
                break;
            }
        }
        advance(SECOND / 100).await;
    }
    let extra = store.origin().requests() - first;
    assert!(extra <= first / 5 + 10 * 21, "{extra} more than the {first} asked for");
    assert!(extra >= first / 5 + 10 * 19, "{extra} more than the {first} asked for: less than allowed");
}

#[tokio::test(start_paused = true)]
async fn what_an_account_does_is_shown() {
    let recorder = PrometheusBuilder::new().build_recorder();
    let handle = recorder.handle();
    let _local = metrics::set_default_local_recorder(&recorder);
    let store = MemoryStore::new();
    store.put(&object(), pattern(10_000));
    let bounds = AccountBounds { max_in_flight: 8, egress_limit: Some(1_000_000), request_limit: Some(100) };
    let guard = guard(&store, bounds);
    show_zeroes(&guard);
    advance(SECOND).await;
    for _ in 0..3 {
        assert_eq!(read(&guard).await, Ok(10_000));
    }
    store.origin().next(Fault::Refuse(OriginErrorKind::Throttled(None)));
    assert!(read(&guard).await.is_err());
    assert!(guard.get(&ObjectName::new("c/none"), 0..1, None).await.is_err());
    drop(guard.get(&object(), 0..10, None).await.expect("an answer"));
    guard.show();
    let text = handle.render();
    for line in [
        "dataproxy_account_requests_total{account=\"one\",outcome=\"ok\"} 3",
        "dataproxy_account_requests_total{account=\"one\",outcome=\"throttled\"} 1",
        "dataproxy_account_requests_total{account=\"one\",outcome=\"not_found\"} 1",
        "dataproxy_account_requests_total{account=\"one\",outcome=\"abandoned\"} 1",
        "dataproxy_account_requests_total{account=\"one\",outcome=\"timeout\"} 0",
        "dataproxy_account_refusals_total{account=\"one\",reason=\"dark\"} 0",
        "dataproxy_account_retries_total{account=\"one\",outcome=\"denied\"} 0",
        "dataproxy_account_bytes_total{account=\"one\"} 30000",
        "dataproxy_account_in_flight{account=\"one\"} 0",
        "dataproxy_account_in_flight_limit{account=\"one\"} 4",
        "dataproxy_account_state{account=\"one\",state=\"throttled\"} 1",
        "dataproxy_account_state{account=\"one\",state=\"dark\"} 0",
        "dataproxy_account_request_headroom{account=\"one\",window=\"10s\"} 97",
        "dataproxy_account_egress_headroom_bytes{account=\"one\",window=\"60s\"} 985000",
    ] {
        assert!(text.lines().any(|found| found == line), "no {line} in\n{text}");
    }
}
