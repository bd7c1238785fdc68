//! Candidates over the store in memory, in time that the test owns, and over a file.

use std::sync::Arc;
use std::time::Duration;

use dataproxy_router::leader::{Candidate, Fence, Standing, Term};
use dataproxy_router::store::embedded::EmbeddedStore;
use dataproxy_router::store::memory::{Fault, MemoryStore};
use dataproxy_router::store::{Commit, Key, Outcome, Store};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout};

const TERM: Term = Term { lease: Duration::from_secs(6) };

async fn leading(standing: &mut watch::Receiver<Standing>) -> Fence {
    let standing = standing.wait_for(|standing| matches!(standing, Standing::Leading(_)));
    match *timeout(Duration::from_secs(60), standing).await.expect("it leads in time").expect("it stands") {
        Standing::Leading(fence) => fence,
        Standing::Following { .. } => unreachable!(),
    }
}

async fn following(standing: &mut watch::Receiver<Standing>, leader: Option<&str>) {
    let expected = Standing::Following { leader: leader.map(ToOwned::to_owned) };
    let told = timeout(Duration::from_secs(60), standing.wait_for(|standing| *standing == expected)).await;
    told.expect("it is told in time").expect("it stands");
}

fn stand(store: &Arc<MemoryStore>, name: &str) -> Candidate {
    Candidate::stand(Arc::clone(store) as Arc<dyn Store>, name.to_owned(), TERM)
}

async fn write(store: &dyn Store, fence: Fence) -> bool {
    let commit = fence.guard(Commit::new().put(Key::new("written"), "x"));
    matches!(store.commit(&commit).await.expect("judged"), Outcome::Committed { .. })
}

#[tokio::test(start_paused = true)]
async fn one_leads_the_others_know_it_and_one_of_them_follows_at_once_when_it_resigns() {
    let store = MemoryStore::new();
    let first = stand(&store, "one");
    let fence = leading(&mut first.standing()).await;
    let second = stand(&store.another(), "two");
    following(&mut second.standing(), Some("one")).await;
    assert!(write(&*store, fence).await);
    let begun = Instant::now();
    first.resign().await;
    let next = leading(&mut second.standing()).await;
    assert!(begun.elapsed() < Duration::from_millis(10), "after {:?}", begun.elapsed());
    assert!(next > fence);
    assert!(!write(&*store, fence).await, "who has resigned writes no more");
    assert!(write(&*store, next).await);
}

#[tokio::test(start_paused = true)]
async fn a_leader_that_is_cut_off_knows_it_before_another_leads() {
    let store = MemoryStore::new();
    let first = stand(&store, "one");
    let fence = leading(&mut first.standing()).await;
    let other = store.another();
    let second = stand(&other, "two");
    following(&mut second.standing(), Some("one")).await;
    sleep(Duration::from_secs(100)).await;
    assert_eq!(*first.standing().borrow(), Standing::Leading(fence), "it leads for as long as it lives");
    store.fail(Fault::Unavailable, usize::MAX);
    let cut = Instant::now();
    let mut told = first.standing();
    following(&mut told, None).await;
    assert!(cut.elapsed() <= TERM.lease, "told after {:?}", cut.elapsed());
    assert!(matches!(*second.standing().borrow(), Standing::Following { .. }), "nobody else leads yet");
    let next = leading(&mut second.standing()).await;
    assert!(cut.elapsed() <= TERM.lease + Duration::from_millis(10), "after {:?}", cut.elapsed());
    store.heal();
    following(&mut told, Some("two")).await;
    assert!(!write(&*store, fence).await, "a stale fence writes nothing");
    assert!(write(&*store, next).await);
}

#[tokio::test(start_paused = true)]
async fn a_leader_whose_key_is_deleted_is_told_at_once() {
    let store = MemoryStore::new();
    let first = stand(&store, "one");
    let mut standing = first.standing();
    let fence = leading(&mut standing).await;
    let begun = Instant::now();
    store.commit(&Commit::new().delete(Key::new("leader"))).await.expect("deleted");
    standing.changed().await.expect("told");
    let again = leading(&mut standing).await;
    assert!(again > fence && begun.elapsed() < Duration::from_millis(10), "{:?}", begun.elapsed());
    assert!(!write(&*store, fence).await);
}

#[tokio::test(start_paused = true)]
async fn an_election_whose_answer_is_lost_is_won_or_lost_as_the_store_says() {
    for fault in [Fault::LostOnTheWay, Fault::LostOnTheWayBack] {
        let store = MemoryStore::new();
        store.fail(fault, 2);
        let candidate = stand(&store, "one");
        let fence = leading(&mut candidate.standing()).await;
        assert!(write(&*store, fence).await, "{fault:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn never_do_two_lead_whatever_is_cut_and_for_how_long() {
    let seed = std::env::var("DATAPROXY_SEED").ok().and_then(|seed| seed.parse().ok());
    for seed in seed.map_or_else(|| (0..20).map(|_| rand::random()).collect(), |seed| vec![seed]) {
        println!("DATAPROXY_SEED={seed}");
        let mut random = StdRng::seed_from_u64(seed);
        let store = MemoryStore::new();
        let ways: Vec<_> = (0..3).map(|_| store.another()).collect();
        let candidates: Vec<_> =
            ways.iter().enumerate().map(|(at, way)| stand(way, &at.to_string())).collect();
        let mut last: Option<Fence> = None;
        let mut elections = 0;
        for _ in 0..20_000 {
            sleep(Duration::from_millis(10)).await;
            let leaders: Vec<_> = candidates
                .iter()
                .filter_map(|candidate| match *candidate.standing().borrow() {
                    Standing::Leading(fence) => Some(fence),
                    Standing::Following { .. } => None,
                })
                .collect();
            assert!(leaders.len() <= 1, "seed {seed}: {leaders:?} lead at once");
            if let [fence] = leaders[..]
                && last != Some(fence)
            {
                assert!(last.is_none_or(|last| last < fence), "seed {seed}: {fence:?} after {last:?}");
                (last, elections) = (Some(fence), elections + 1);
            }
            if random.random_range(0..300_u32) == 0 {
                let fault = [Fault::Unavailable, Fault::LostOnTheWay, Fault::LostOnTheWayBack];
                let way = &ways[random.random_range(0..ways.len())];
                match random.random_range(0..3_u32) {
                    0 => way.heal(),
                    _ => way.fail(fault[random.random_range(0..3)], usize::MAX),
                }
            }
        }
        assert!(elections > 1, "seed {seed}: nothing happened");
    }
}

#[tokio::test]
async fn a_router_with_a_file_of_its_own_leads_and_its_fence_grows_with_each_start() {
    let dir = tempfile::tempdir().expect("a folder");
    let mut fences = Vec::new();
    for _ in 0..3 {
        let store: Arc<dyn Store> = Arc::new(EmbeddedStore::open(&dir.path().join("store")).expect("opened"));
        let candidate = Candidate::stand(Arc::clone(&store), "alone".into(), TERM);
        let fence = leading(&mut candidate.standing()).await;
        assert!(write(&*store, fence).await);
        for old in &fences {
            assert!(!write(&*store, *old).await);
        }
        fences.push(fence);
        // Not resigned: as after a crash.
        drop(candidate);
        let released = async {
            while Arc::strong_count(&store) > 1 {
                tokio::task::yield_now().await;
            }
        };
        timeout(Duration::from_secs(10), released).await.expect("the candidate has ended");
    }
    assert!(fences.is_sorted() && fences[0] < fences[1] && fences[1] < fences[2], "{fences:?}");
}
