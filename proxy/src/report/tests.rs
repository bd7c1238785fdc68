//! What is told of which registry, to whom, and how soon.

use std::time::Duration;

use axum::http::StatusCode;
use dataproxy_router_api::{Epoch, Revision, Snapshot};

use super::*;
use crate::routers::scripted::{ScriptedRouter, eventually, snapshot};

/// A snapshot with a registry in each of the states that stamp `a` may have.
fn moving(revision: u64) -> Snapshot {
    let more = |registry: &str, home: &str, more: &str| {
        let json = format!(
            r#"{{"registry": "{registry}", "home_stamp": "{home}", "epoch": {revision}{more}, "placement": {{"account": "one", "container": "{registry}"}}}}"#
        );
        serde_json::from_str::<Binding>(&json).expect(&json)
    };
    let bindings = vec![
        more("home", "a", ""),
        more("came", "a", r#", "phase": "observing", "source": "b""#),
        more("comes", "b", r#", "phase": "preparing", "destination": "a""#),
        more("goes", "b", r#", "phase": "draining", "source": "a""#),
        more("gone", "b", r#", "phase": "observing", "source": "a""#),
        more("strange", "b", ""),
    ];
    let snapshot = Snapshot { bindings, ..snapshot(revision, "a") };
    snapshot.validate().expect("a snapshot");
    snapshot
}

fn found(reach: &'static [(&str, Reach)]) -> impl Fn(&Binding) -> Option<Reach> {
    move |binding| {
        reach.iter().find(|(name, _)| *name == binding.registry.as_str()).map(|(_, reach)| reach.clone())
    }
}

fn named(reports: &[RegistryReport]) -> Vec<(&str, ServingState)> {
    reports.iter().map(|report| (report.registry.as_str(), report.serving)).collect()
}

#[tokio::test(start_paused = true)]
async fn what_has_work_or_news_is_told_and_what_is_at_rest_is_not() {
    use ServingState::{Absent, Bound, Draining, Late, Warming};
    let bindings = Bindings::new(Table::new(moving(3)));
    let stamp = "a".parse().expect("a name");
    let table = bindings.current();
    assert_eq!(named(&registries(&table, &stamp, |_| None)), [("comes", Warming)]);
    let reach = found(&[("came", Reach::Readable), ("comes", Reach::Readable)]);
    let told = registries(&table, &stamp, &reach);
    assert_eq!(named(&told), [("came", Bound), ("comes", Warming)]);
    assert!(told.iter().all(|report| report.reach == Some(Reach::Readable)));

    let flights: Vec<_> = table.standings().map(|(_, standing)| standing.begin()).collect();
    tokio::time::advance(Duration::from_secs(7)).await;
    let told = registries(&table, &stamp, |_| None);
    assert_eq!(
        named(&told),
        [
            ("home", Bound),
            ("came", Bound),
            ("comes", Warming),
            ("goes", Draining),
            ("gone", Late),
            ("strange", Absent)
        ]
    );
    for report in &told {
        let counts = (report.in_flight, report.oldest_seconds, report.begun, report.quiet_ms);
        assert_eq!(counts, (1, 7, 1, Some(7000)), "{}", report.registry);
        assert_eq!(report.epoch, Epoch(3));
    }
    drop(flights);
    assert_eq!(
        named(&registries(&table, &stamp, |_| None)),
        [("comes", Warming), ("goes", Draining), ("gone", Late), ("strange", Absent)]
    );
    tokio::time::advance(LATELY).await;
    let told = registries(&table, &stamp, |_| None);
    assert_eq!(named(&told), [("comes", Warming), ("goes", Draining)]);
    assert_eq!(told[1].quiet_ms, Some(67_000), "how long is long enough is for the router to say");
    // Another epoch begins anew.
    bindings.replace(Table::new(moving(4))).expect("newer");
    assert_eq!(named(&registries(&bindings.current(), &stamp, |_| None)), [("comes", Warming)]);
}

fn reporter(bindings: &Arc<Bindings>, life: &Lifecycle) -> Reporter {
    let address = "127.0.1.1:5000".parse().expect("an address");
    let admin = "127.0.1.1:9100".parse().expect("an address");
    let identity = Identity {
        region: "local".parse().expect("a name"),
        stamp: "a".parse().expect("a name"),
        node: Node::new("a1".parse().expect("a name"), address, admin, dataproxy_router_api::Role::All),
        incarnation: incarnation(),
    };
    Reporter::new(identity, Arc::clone(bindings), Arc::default(), life.clone(), Arc::default())
}

#[tokio::test]
async fn every_router_is_told_at_once_of_a_change_and_one_that_is_away_keeps_nobody_waiting() {
    let (first, mut second) = (ScriptedRouter::start().await, ScriptedRouter::start().await);
    // Only what changes makes it report again within the test.
    for router in [&first, &second] {
        router.wants_again_after(Duration::from_secs(3600));
    }
    let (bindings, life) = (Arc::new(Bindings::new(Table::new(snapshot(3, "a")))), Lifecycle::default());
    let reporter = reporter(&bindings, &life);
    let incarnation = reporter.identity.incarnation;
    assert!((1..1 << 53).contains(&incarnation.0));
    let routers = ScriptedRouter::routers(&[&first, &second]);
    let task = tokio::spawn(async move { send(&reporter, &routers).await });
    for router in [&first, &second] {
        eventually("joining", || !router.reports().is_empty()).await;
        let report = router.reports().remove(0);
        assert_eq!((report.name().as_str(), report.state()), ("a1", NodeState::Joining));
        assert_eq!((report.revision, report.incarnation), (Revision(3), incarnation));
    }
    life.advance(State::Ready);
    for router in [&first, &second] {
        eventually("ready", || router.reports().last().is_some_and(|last| last.state() == NodeState::Ready))
            .await;
    }
    second.stops().await;
    bindings.replace(Table::new(snapshot(4, "a"))).expect("newer");
    eventually("revision 4", || first.reports().last().is_some_and(|last| last.revision == Revision(4)))
        .await;
    second.starts_again().await;
    eventually("told again", || second.reports().last().is_some_and(|last| last.revision == Revision(4)))
        .await;
    life.advance(State::Draining);
    eventually("draining", || first.reports().last().is_some_and(|last| last.state() == NodeState::Draining))
        .await;
    let sequences: Vec<u64> = first.reports().iter().map(|report| report.sequence).collect();
    assert!(sequences.is_sorted_by(|one, next| one < next), "{sequences:?}");
    task.abort();
}

#[tokio::test]
async fn a_router_that_refuses_is_told_again_and_taken_at_its_word_how_soon() {
    let router = ScriptedRouter::start().await;
    router.wants_again_after(Duration::from_millis(100));
    router.refuses(Some((StatusCode::CONFLICT, r#"{"error": "node a1 is of stamp b", "rule": "stamp"}"#)));
    let (bindings, life) = (Arc::new(Bindings::new(Table::new(snapshot(3, "a")))), Lifecycle::default());
    let reporter = reporter(&bindings, &life);
    let routers = ScriptedRouter::routers(&[&router]);
    let refused = send::ask(&reporter, &routers, &router.url(), None).await.expect_err("refused");
    assert_eq!(refused, "it answers 409 Conflict: node a1 is of stamp b");
    let sending = Arc::clone(&routers);
    let task = tokio::spawn(async move { send(&reporter, &sending).await });
    eventually("told", || router.reports().len() >= 2).await;
    router.refuses(None);
    let told = router.reports().len();
    eventually("told ten times more", || router.reports().len() >= told + 10).await;
    task.abort();
}
