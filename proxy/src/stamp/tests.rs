//! What the nodes of a stamp do when one of them misbehaves.

mod node;

use bytes::Bytes;
use dataproxy_cache::fakes::{Fault, Gate};
use dataproxy_cache::{CacheError, Scope, Wanted};
use futures_util::StreamExt;
use futures_util::future::join_all;
use http::{Request, StatusCode};
use http_body_util::BodyExt;

use super::owner::STRETCH;
use super::*;
use crate::layout::{Laid, Layout};
use crate::lifecycle::State;
use crate::store::Store;
use crate::store::memory::MemoryStore;
use node::{Act, MIB, Node, Options, PATIENCE, SIZE, content, digest, eventually, key, keys, nodes};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cold_blob_costs_storage_once_for_all_nodes_of_a_stamp() {
    // Who loses patience goes to storage, which is another test's matter.
    let nodes = nodes(4, Options { patience: Duration::from_secs(20), ..Options::default() }).await;
    join_all(nodes.iter().map(Node::check)).await;
    let (mut origin, mut lent) = (0, 0);
    for node in &nodes {
        let stats = node.cache.stats();
        println!("{} of storage, {} lent, {} stretches", stats.origin_bytes, stats.lent_bytes, node.owned());
        origin += stats.origin_bytes;
        lent += stats.lent_bytes;
    }
    let sent = nodes[0].store.origin().sent_bytes();
    println!("{sent} bytes of storage for {SIZE}");
    // Of nodes that open it at the same moment, on a machine that is slow enough, each may wait for another and so be told
    // to ask storage: a stretch each, but for the one whose stretch that is.
    let twice = (nodes.len() as u64 - 1) * STRETCH;
    assert!((SIZE..=SIZE + twice).contains(&sent), "storage is read {sent} bytes for {SIZE}");
    assert!((SIZE..=sent).contains(&origin), "{origin} is not what storage sent");
    assert!((4 * SIZE..=4 * SIZE + twice).contains(&(origin + lent)), "{lent} lent besides {origin}");
    // Each has all of it now.
    let before: Vec<_> = nodes.iter().map(Node::asked).collect();
    join_all(nodes.iter().map(Node::check)).await;
    assert_eq!(before, nodes.iter().map(Node::asked).collect::<Vec<_>>(), "what is kept is asked of nobody");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nodes_that_wait_for_each_other_both_go_on() {
    // One read at a time: both are soon used by one that waits for the other node.
    let options = Options { fetch_parallel: 1, patience: Duration::from_secs(5), ..Options::default() };
    let nodes = nodes(2, options).await;
    assert!(nodes.iter().all(|node| node.owned() >= 2), "both own some");
    let half = SIZE / 2 / MIB * MIB;
    let begun = std::time::Instant::now();
    let (first, second) = tokio::join!(
        nodes[0].try_read(Wanted::Closed { first: 0, last: half - 1 }),
        nodes[1].try_read(Wanted::Closed { first: half, last: SIZE - 1 }),
    );
    assert!([first.expect("it ends well"), second.expect("it ends well")].concat() == content());
    println!("{:?}; {} bytes of storage", begun.elapsed(), nodes[0].store.origin().sent_bytes());
    assert!(begun.elapsed() < Duration::from_secs(4), "somebody lost patience");
    let stats = nodes.iter().map(|node| node.cache.stats().lent_bytes).sum::<u64>();
    assert!(stats > 0, "nothing was lent");
    // Where both opened at the same moment, each by the other, one stretch of each may have been begun there too.
    assert!(nodes[0].store.origin().sent_bytes() <= SIZE + 2 * STRETCH);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_says_nothing_costs_its_patience_once_and_is_asked_again_when_it_answers() {
    let nodes = nodes(2, Options::default()).await;
    assert!(nodes[1].owned() >= 2);
    nodes[1].act(Act::Mute);
    let begun = std::time::Instant::now();
    nodes[0].check().await;
    let detour = begun.elapsed();
    println!("{detour:?} with {} questions to a mute node", nodes[1].asked());
    assert!(detour >= PATIENCE, "it was never asked");
    assert!(detour < PATIENCE * 4, "the detour is bounded");
    assert_eq!(nodes[0].cache.stats().lent_bytes, 0);
    let name = "n1".parse().expect("a name");
    assert!(nodes[0].stamp.away.is_away(&name));
    nodes[1].act(Act::Serve);
    eventually("it is asked again", || !nodes[0].stamp.away.is_away(&name)).await;
    nodes[0].cache.purge(&Scope::new("contoso"), None).await.expect("purged");
    nodes[0].check().await;
    assert!(nodes[0].cache.stats().lent_bytes > 0, "it lends again");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_stalls_or_breaks_off_is_gone_on_from_at_the_exact_byte() {
    for act in [Act::StallAfter(3 * MIB), Act::BreakAfter(3 * MIB), Act::BreakAfter(1), Act::StallAfter(0)] {
        let nodes = nodes(2, Options::default()).await;
        assert!(nodes[1].owned() >= 2);
        nodes[1].act(act.clone());
        let begun = std::time::Instant::now();
        nodes[0].check().await;
        let stats = nodes[0].cache.stats();
        println!(
            "{act:?}: {:?}, {} lent, {} retries",
            begun.elapsed(),
            stats.lent_bytes,
            stats.origin_retries
        );
        assert_eq!(stats.lent_bytes + stats.origin_bytes, SIZE, "{act:?}: a byte came twice");
        assert_eq!(stats.origin_retries, 0, "{act:?}: storage has not failed");
        assert!(begun.elapsed() < PATIENCE * 4, "{act:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn wrong_bytes_of_a_node_fail_one_pull_and_the_next_one_reads_storage() {
    let nodes = nodes(2, Options { shared: false, ..Options::default() }).await;
    assert!(nodes[1].owned() >= 1);
    let mut wrong = content().to_vec();
    let at = (0..SIZE.div_ceil(STRETCH)).map(|number| number * STRETCH + 77).find(|offset| {
        nodes[0].stamp.owner(&nodes[0].stamp.bindings.current(), &Stretch::at(&key(), *offset)).is_some()
    });
    wrong[at.expect("n1 owns some") as usize] ^= 1;
    // Of the same version, as it would be with a damaged memory or a liar.
    let object = Layout::new("contoso").blob(&digest());
    nodes[1].store.remove(&object);
    let fresh = MemoryStore::new();
    fresh.put(&object, wrong);
    let version = fresh.origin().get(&object, 0..1, None).await.expect("there").etag;
    assert_eq!(version, nodes[0].store.origin().get(&object, 0..1, None).await.expect("there").etag);
    let lying = Laid::over(fresh as Arc<dyn Store>);
    // The cache of the second node gets the wrong content by the way of its own account.
    let source = Arc::clone(lying.store().expect("storage")) as Arc<dyn Origin>;
    let source = Source { origin: source, object };
    let mut reader = nodes[1]
        .cache
        .read(&key(), &source, Wanted::Closed { first: 0, last: SIZE - 2 })
        .await
        .expect("ranges are served before they are verified");
    while let Some(piece) = reader.next().await {
        piece.expect("a piece");
    }
    drop(reader);

    let error = nodes[0].try_read(Wanted::Whole).await.expect_err("the digest does not agree");
    assert!(matches!(error, CacheError::Mismatch(_)), "{error}");
    assert!(nodes[0].cache.stats().lent_bytes > 0, "nothing was lent");
    let lent = nodes[0].cache.stats().lent_bytes;
    nodes[0].check().await;
    assert_eq!(nodes[0].cache.stats().lent_bytes, lent, "what was refuted is read from storage alone");
    assert_eq!(nodes[0].cache.stats().mismatches, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_has_another_version_of_the_same_content_fails_no_pull() {
    let nodes = nodes(2, Options { shared: false, ..Options::default() }).await;
    assert!(nodes.iter().all(|node| node.owned() >= 2));
    // Where it lay before, it had another version.
    nodes[1].store.put(&Layout::new("contoso").blob(&digest()), content());
    let from_start = Wanted::Closed { first: 0, last: SIZE - 2 };
    nodes[1].try_read(from_start).await.expect("it ends well");
    // One of the two opens what the other owns.
    join_all(nodes.iter().map(Node::check)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_without_the_key_gets_nothing_and_is_believed_nothing() {
    let nodes = nodes(2, Options { key: |me| ["k", "o"][me], ..Options::default() }).await;
    assert!(nodes.iter().all(|node| node.owned() >= 1));
    // Neither accepts the other's signature.
    join_all(nodes.iter().map(Node::check)).await;
    for node in &nodes {
        assert_eq!((node.cache.stats().lent_bytes, node.cache.stats().origin_bytes), (0, SIZE));
        assert!(node.asked() > 0, "it was never asked");
    }
    // Whoever asks without a signature, or with that of another question, reads nothing.
    let table = nodes[0].stamp.bindings.current();
    let address = table.stamp(&"a".parse().expect("a name")).expect("listed").nodes[0].address;
    let path = format!("http://{address}{PATH}contoso/{}", digest());
    let question = |first| Question::Read {
        registry: "contoso".parse().expect("a name"),
        digest: digest(),
        first,
        last: STRETCH - 1,
    };
    let [from, to]: [NodeName; 2] = ["n1", "n0"].map(|name| name.parse().expect("a name"));
    let stamp = "a".parse().expect("a name");
    let ends = proof::Ends { stamp: &stamp, from: &from, to: &to };
    let now = crate::process::now_seconds() as u64;
    let good = proof::sign(&keys("k"), ends, &question(0), now).expect("signed").0;
    let other = proof::sign(&keys("k"), ends, &question(1), now).expect("signed").0;
    let old = proof::sign(&keys("k"), ends, &question(0), now - 120).expect("signed").0;
    let client: hyper_util::client::legacy::Client<_, http_body_util::Empty<Bytes>> =
        hyper_util::client::legacy::Client::builder(hyper_util::rt::TokioExecutor::new()).build_http();
    for (signature, status) in [
        (None, StatusCode::FORBIDDEN),
        (Some(other), StatusCode::FORBIDDEN),
        (Some(old), StatusCode::FORBIDDEN),
        (Some(good), StatusCode::PARTIAL_CONTENT),
    ] {
        let mut request = Request::get(&path).header("range", format!("bytes=0-{}", STRETCH - 1));
        if let Some(signature) = signature {
            request = request.header("authorization", signature);
        }
        let answer = client
            .request(request.body(http_body_util::Empty::new()).expect("a request"))
            .await
            .expect("answered");
        assert_eq!(answer.status(), status);
        let body = answer.into_body().collect().await.expect("a body").to_bytes();
        assert_eq!(body.len() as u64, if status == StatusCode::FORBIDDEN { 0 } else { STRETCH });
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_read_across_the_border_of_two_owners_waits_for_neither() {
    let nodes = nodes(2, Options::default()).await;
    let table = nodes[0].stamp.bindings.current();
    let other_owns =
        |number: u64| nodes[0].stamp.owner(&table, &Stretch::at(&key(), number * STRETCH)).is_some();
    let border = (0..SIZE / STRETCH - 1).find(|number| other_owns(*number) && !other_owns(number + 1));
    let first = border.expect("they alternate somewhere") * STRETCH + STRETCH / 2;
    let wanted = Wanted::Closed { first, last: first + STRETCH - 1 };
    let expected = content().slice(first as usize..(first + STRETCH) as usize);
    assert!(nodes[0].try_read(wanted).await.expect("it ends well") == expected, "wrong bytes");
    assert_eq!(nodes[1].asked(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_without_its_proof_is_not_read() {
    let nodes = nodes(2, Options::default()).await;
    assert!(nodes[1].owned() >= 1);
    nodes[1].act(Act::Forge);
    nodes[0].check().await;
    assert!(nodes[1].asked() > 0);
    assert_eq!(nodes[0].cache.stats().lent_bytes, 0);
    assert!(nodes[0].stamp.away.is_away(&"n1".parse().expect("a name")));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_gone_node_owned_is_read_once_by_the_next_in_order() {
    let nodes = nodes(4, Options::default()).await;
    assert!(nodes[3].owned() >= 1);
    let gone = nodes[3].owned();
    nodes[3].server.abort();
    eventually("the port is closed", || nodes[3].server.is_finished()).await;
    join_all(nodes[..3].iter().map(Node::check)).await;
    let sent = nodes[0].store.origin().sent_bytes();
    println!("{sent} bytes of storage for {SIZE}, {gone} stretches were of a node that is gone");
    // Without the next in order, each of the three would have read those stretches.
    assert!(
        (SIZE..=SIZE + 2 * STRETCH).contains(&sent) && gone >= 2,
        "the next in order takes its place at once"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_is_out_of_rotation_is_asked_nothing_and_owns_nothing() {
    use dataproxy_router_api::{Intent, NodeState};
    for (state, intent) in [
        (NodeState::Gone, Intent::Serve),
        (NodeState::Draining, Intent::Serve),
        (NodeState::Joining, Intent::Serve),
        (NodeState::Ready, Intent::Cordon),
    ] {
        let nodes = nodes(3, Options::default()).await;
        assert!(nodes[2].owned() >= 1);
        for node in &nodes {
            let mut snapshot = node.stamp.bindings.current().snapshot().clone();
            snapshot.revision.0 += 1;
            (snapshot.stamps[0].nodes[2].state, snapshot.stamps[0].nodes[2].intent) = (state, intent);
            node.stamp.bindings.replace(crate::bindings::Table::new(snapshot)).expect("newer");
        }
        join_all(nodes[..2].iter().map(Node::check)).await;
        assert_eq!(nodes[2].asked(), 0, "{state:?} {intent:?}");
        assert!(nodes[0].asked() + nodes[1].asked() > 0);
        // It serves its own clients by what the others have.
        nodes[2].check().await;
        assert!(nodes[2].cache.stats().lent_bytes > 0);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_drains_or_has_no_place_lends_nothing_and_fails_nobody() {
    let nodes = nodes(2, Options { max_reads: 0, ..Options::default() }).await;
    join_all(nodes.iter().map(Node::check)).await;
    assert!(nodes.iter().all(|node| node.cache.stats().lent_bytes == 0 && node.asked() > 0));
    assert!(!nodes[0].stamp.away.is_away(&"n1".parse().expect("a name")), "who is busy is not away");

    let nodes = self::nodes(2, Options::default()).await;
    nodes[1].life.advance(State::Draining);
    nodes[0].check().await;
    assert!(nodes[1].asked() > 0 && nodes[0].cache.stats().lent_bytes == 0);
    assert!(nodes[0].stamp.away.is_away(&"n1".parse().expect("a name")));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_is_asked_for_what_another_owns_reads_storage_and_asks_nobody() {
    // The first knows the second alone; the second knows all three, and that the third owns some.
    let nodes = nodes(3, Options { knows: |me, other| me != 0 || other < 2, ..Options::default() }).await;
    nodes[0].check().await;
    assert!(nodes[0].cache.stats().lent_bytes > 0, "nothing was lent");
    assert_eq!(nodes[2].asked(), 0, "a question went on to a third node");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_read_that_is_left_stops_at_the_node_that_was_asked_too() {
    let options = Options { patience: Duration::from_secs(5), max_reads: 64, ..Options::default() };
    let nodes = nodes(2, options).await;
    assert!(nodes[1].owned() >= 1);
    let gate = Gate::new();
    nodes[0].store.origin().always(Fault::Hold { after_bytes: MIB, gate: gate.clone() });
    {
        let read = nodes[0].try_read(Wanted::Whole);
        let mut read = std::pin::pin!(read);
        tokio::select! {
            _ = &mut read => panic!("it cannot end"),
            () = eventually("the other node reads", || nodes[1].stamp.places.available_permits() < 64) => {}
        }
    }
    eventually("all places are free", || nodes[1].stamp.places.available_permits() == 64).await;
    eventually("no fill runs", || nodes.iter().all(|node| node.cache.stats().fills_running == 0)).await;
    gate.open();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_account_makes_no_node_away() {
    let nodes = nodes(2, Options { patience: Duration::from_secs(1), ..Options::default() }).await;
    let gate = Gate::new();
    nodes[0].store.origin().always(Fault::HoldAnswer(gate.clone()));
    let (both, ()) = tokio::join!(join_all(nodes.iter().map(Node::check)), async {
        // Longer than the patience of whoever asks.
        tokio::time::sleep(Duration::from_millis(1500)).await;
        gate.open();
    });
    assert_eq!(both.len(), 2);
    for (node, other) in [(0, "n1"), (1, "n0")] {
        assert!(!nodes[node].stamp.away.is_away(&other.parse().expect("a name")), "n{node}");
    }
}
