//! What runs is counted and told, and nothing of it stays behind.

use bytes::Bytes;

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
    running.exchange().hands(&Bytes::from_static(&[0; 25]));
    busy.connection.wrote(25);
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
    first.exchange().hands(&Bytes::from_static(&[0; 100]));
    entry.connection.wrote(100);
    tokio::time::advance(std::time::Duration::from_secs(10)).await;
    let second = entry.connection.begin();
    let [oldest] = &table.remaining(1)[..] else { panic!("one") };
    assert_eq!((oldest.about.as_ref(), oldest.sent, oldest.length), (Some(&subject), 100, 400));
    assert_eq!(oldest.eta_seconds().map(f64::round), Some(30.0));
    let all = table.remaining(10);
    assert_eq!((all.len(), all[1].about.as_ref(), all[1].eta_seconds()), (2, None, None));
    drop((first, second));
    entry.connection.flushed();
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
    drop(running);
    assert!(entry.connection.is_busy(), "its last bytes have yet to be flushed");
    tokio::time::advance(std::time::Duration::from_secs(1)).await;
    entry.connection.flushed();
    let since = entry.connection.idle_since().unwrap() - began.unwrap();
    assert_eq!(since.as_secs(), 2);
}

#[test]
fn what_runs_when_a_connection_is_cut_knows_it() {
    let entry = Arc::<Connections>::default().enter(peer());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let _guard = runtime.enter();
    let (ended, running) = (entry.connection.begin(), entry.connection.begin());
    let (told, fates) = std::sync::mpsc::channel();
    for exchange in [ended.exchange(), running.exchange()] {
        assert!(exchange.owe(Box::new(Told(told.clone()))).is_none());
    }
    drop(ended);
    entry.connection.flushed();
    assert_eq!(fates.try_recv(), Ok(Fate { taken: None, cut: false }));
    assert_eq!(entry.connection.cut(), 1);
    drop(running);
    entry.connection.is_over();
    entry.connection.settle();
    assert_eq!(fates.try_recv(), Ok(Fate { taken: Some(0), cut: true }));
}

/// Who is told what becomes of a response.
struct Told(std::sync::mpsc::Sender<Fate>);

impl Settle for Told {
    fn settle(self: Box<Self>, fate: Fate) {
        self.0.send(fate).unwrap();
    }
}

#[tokio::test]
async fn a_response_is_told_of_once_its_socket_has_all_or_with_what_that_took() {
    const HEAD: &[u8] = b"HTTP/1.1 200 OK\r\n\r\n";
    let (told, fates) = std::sync::mpsc::channel();
    // Whether it is TLS, what the socket takes after the head, and what of the body that was.
    for (sealed, written, taken) in [(false, 60, Some(60)), (false, 100, None), (true, 60, Some(38))] {
        let table = Arc::<Connections>::default();
        let entry = table.enter(peer());
        let connection = &entry.connection;
        if sealed {
            connection.is_sealed();
        }
        let running = connection.begin();
        running.exchange().announces(100);
        assert!(running.exchange().owe(Box::new(Told(told.clone()))).is_none());
        connection.writes(HEAD);
        running.exchange().hands(&Bytes::from_static(&[0; 100]));
        connection.wrote(HEAD.len() + written);
        drop(running);
        assert!(fates.try_recv().is_err(), "hyper has all, and the socket may not");
        assert_eq!(table.count().bytes_left, 100 - taken.unwrap_or(100));
        if taken.is_none() {
            connection.flushed();
        }
        drop(entry);
        assert_eq!(fates.try_recv(), Ok(Fate { taken, cut: false }));
    }
}

#[tokio::test]
async fn a_body_that_does_not_know_its_length_is_as_long_as_its_head_says() {
    let body = || {
        let frames =
            futures_util::stream::pending::<Result<http_body::Frame<Bytes>, crate::body::BodyError>>();
        crate::body::Body::stream(http_body_util::StreamBody::new(frames))
    };
    let table = Arc::<Connections>::default();
    let entry = table.enter(peer());
    for (announced, left) in [(Some(700), 700), (None, 0)] {
        let tracked = Tracked::new(body(), announced, entry.connection.begin());
        assert_eq!(table.count().bytes_left, left);
        drop(tracked);
        entry.connection.flushed();
    }
}
