//! What runs is counted and told, and nothing of it stays behind.

use super::*;

fn peer() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 40_000))
}

#[tokio::test(start_paused = true)]
async fn connections_are_counted_by_what_they_do_and_forgotten_when_they_end() {
    let table = Arc::<Connections>::default();
    let (idle, busy, over) = (table.enter(peer()), table.enter(peer()), table.enter(peer()));
    let running = busy.connection.begin();
    running.exchange().announces(100);
    running.exchange().sends(&Bytes::from_static(&[0; 25]));
    over.connection.is_over();
    tokio::time::advance(std::time::Duration::from_secs(3)).await;
    let counts = table.count();
    let expected = Counts {
        busy: 1,
        idle: 1,
        ending: 1,
        responses: 1,
        bytes_left: 75,
        oldest_seconds: counts.oldest_seconds,
    };
    assert_eq!(counts, expected);
    assert_eq!(counts.oldest_seconds.round(), 3.0);
    drop((idle, busy, over, running));
    assert_eq!(table.count(), Counts::default());
}

#[tokio::test(start_paused = true)]
async fn the_oldest_responses_are_told_with_how_far_they_are_and_when_they_end() {
    let table = Arc::<Connections>::default();
    let entry = table.enter(peer());
    let first = entry.connection.begin();
    let subject = Subject {
        registry: "contoso".parse().unwrap(),
        repository: None,
        reference: Some("sha256:00".to_owned()),
    };
    first.exchange().is_about(subject.clone());
    first.exchange().announces(400);
    first.exchange().sends(&Bytes::from_static(&[0; 100]));
    tokio::time::advance(std::time::Duration::from_secs(10)).await;
    let second = entry.connection.begin();
    let [oldest] = &table.remaining(1)[..] else { panic!("one") };
    assert_eq!((oldest.about.as_ref(), oldest.sent, oldest.length), (Some(&subject), 100, 400));
    assert_eq!(oldest.eta_seconds().map(f64::round), Some(30.0));
    let all = table.remaining(10);
    assert_eq!((all.len(), all[1].about.as_ref(), all[1].eta_seconds()), (2, None, None));
    drop((first, second));
    assert!(table.remaining(10).is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_connection_is_idle_from_the_end_of_its_last_request_and_bytes_count_from_its_beginning() {
    let entry = Arc::<Connections>::default().enter(peer());
    let began = entry.connection.idle_since();
    entry.connection.wrote(10);
    tokio::time::advance(std::time::Duration::from_secs(1)).await;
    let running = entry.connection.begin();
    assert!(entry.connection.is_busy() && entry.connection.idle_since().is_none());
    entry.connection.wrote(7);
    assert_eq!(entry.connection.written_since_request(), 7);
    tokio::time::advance(std::time::Duration::from_secs(1)).await;
    drop(running);
    let since = entry.connection.idle_since().unwrap() - began.unwrap();
    assert_eq!(since.as_secs(), 2);
}

#[test]
fn what_runs_when_a_connection_is_cut_knows_it() {
    let entry = Arc::<Connections>::default().enter(peer());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let _guard = runtime.enter();
    let (ended, running) = (entry.connection.begin(), entry.connection.begin());
    let was = Arc::clone(ended.exchange());
    drop(ended);
    assert_eq!(entry.connection.cut(), 1);
    assert!(running.exchange().was_cut() && !was.was_cut());
}
