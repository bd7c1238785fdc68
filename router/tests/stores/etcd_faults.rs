//! Members of a real cluster that are killed, paused, stopped and started again, under commits and watches.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use dataproxy_router::store::etcd::EtcdStore;
use dataproxy_router::store::{
    Commit, Entry, Key, KeyChange, Outcome, Revision, Store as _, StoreErrorKind, Watch,
};
use futures_util::StreamExt;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

use crate::etcd_server::Etcd;

const LIMIT: Duration = Duration::from_secs(40);

/// Counts up one key, each step by a commit that compares, whatever happens.
struct Counter {
    made: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
    task: JoinHandle<(u64, Duration)>,
}

impl Counter {
    fn start(store: EtcdStore) -> Self {
        let (made, stop) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
        let task = tokio::spawn(count(store, Arc::clone(&made), Arc::clone(&stop)));
        Self { made, stop, task }
    }

    /// Waits for so many more steps.
    async fn steps(&self, more: u64) {
        let target = self.made.load(Ordering::SeqCst) + more;
        let reached = async {
            while self.made.load(Ordering::SeqCst) < target {
                sleep(Duration::from_millis(10)).await;
            }
        };
        timeout(LIMIT, reached).await.expect("commits go on");
    }

    /// The steps that were made, and the longest that one took.
    async fn end(self) -> (u64, Duration) {
        self.stop.store(true, Ordering::SeqCst);
        self.task.await.expect("it counts")
    }
}

async fn read(store: &EtcdStore) -> Option<Entry> {
    loop {
        match store.get(&Key::new("counter")).await {
            Ok(entry) => return entry,
            Err(error) => assert!(error.kind.is_transient(), "{error}"),
        }
    }
}

async fn count(store: EtcdStore, made: Arc<AtomicU64>, stop: Arc<AtomicBool>) -> (u64, Duration) {
    let key = || Key::new("counter");
    let (mut number, mut version, mut slowest) = (0_u64, None, Duration::ZERO);
    while !stop.load(Ordering::SeqCst) {
        let begun = Instant::now();
        let commit = match version {
            None => Commit::new().if_absent(key()),
            Some(version) => Commit::new().if_version(key(), version),
        };
        let commit = commit.put(key(), (number + 1).to_string());
        loop {
            match store.commit(&commit).await {
                Ok(Outcome::Committed { revision }) => version = Some(revision),
                Ok(other) => panic!("nobody else writes: {other:?}"),
                Err(error) if error.kind == StoreErrorKind::Unavailable => continue,
                Err(error) if error.kind == StoreErrorKind::Unknown => {
                    let Some(entry) = read(&store).await else { continue };
                    if entry.value != (number + 1).to_string() {
                        assert_eq!(entry.value, number.to_string(), "a step was lost");
                        continue;
                    }
                    version = Some(entry.version);
                }
                Err(error) => panic!("{error}"),
            }
            break;
        }
        number += 1;
        slowest = slowest.max(begun.elapsed());
        made.store(number, Ordering::SeqCst);
    }
    (number, slowest)
}

/// Follows the counter up to `last`: every step, once, in order.
async fn follow(watch: &mut Watch, last: u64) {
    let mut revision = Revision(0);
    for expected in 1..=last {
        let batch = timeout(LIMIT, watch.next()).await.expect("the watch goes on");
        let batch = batch.expect("the watch goes on").unwrap_or_else(|error| panic!("{error}"));
        assert!(batch.revision > revision);
        revision = batch.revision;
        let [KeyChange::Put(entry)] = &batch.changes[..] else { panic!("{batch:?}") };
        assert_eq!(entry.value, expected.to_string(), "a gap or a repeat");
    }
}

async fn follower(store: &EtcdStore) -> Watch {
    let after = store.list("").await.expect("listed").revision;
    let mut watch = store.watch("counter", after);
    // Begins the stream.
    assert!(timeout(Duration::from_millis(200), watch.next()).await.is_err());
    watch
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn commits_and_watches_go_on_when_the_leader_of_three_is_killed() {
    let mut etcd = Etcd::start(3).await;
    let mut watch = follower(&etcd.store()).await;
    let counter = Counter::start(etcd.store());
    counter.steps(20).await;
    let leader = etcd.leader().await;
    etcd.members[leader].kill();
    counter.steps(20).await;
    etcd.members[leader].start();
    counter.steps(20).await;
    let (steps, slowest) = counter.end().await;
    println!("{steps} steps, the slowest {slowest:?}");
    follow(&mut watch, steps).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn commits_and_watches_go_on_when_each_member_in_turn_is_paused() {
    let etcd = Etcd::start(3).await;
    let mut watch = follower(&etcd.store()).await;
    let counter = Counter::start(etcd.store());
    for member in &etcd.members {
        counter.steps(5).await;
        member.pause();
        counter.steps(5).await;
        member.resume();
    }
    let (steps, slowest) = counter.end().await;
    println!("{steps} steps, the slowest {slowest:?}");
    follow(&mut watch, steps).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_watch_at_a_paused_member_goes_on_at_another_without_gap_or_repeat() {
    let etcd = Etcd::start(3).await;
    let paused = etcd.leader().await;
    let other = (paused + 1) % 3;
    let mut watches = Vec::new();
    // Which endpoint is the first is drawn, so that nearly surely some begin at the one to be paused.
    for _ in 0..12 {
        watches.push(follower(&etcd.store_of(&[paused, other])).await);
    }
    etcd.members[paused].pause();
    let counter = Counter::start(etcd.store());
    counter.steps(10).await;
    let (steps, _) = counter.end().await;
    let begun = Instant::now();
    for watch in &mut watches {
        follow(watch, steps).await;
    }
    println!("all watches are told after {:?}", begun.elapsed());
    etcd.members[paused].resume();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_watch_goes_on_without_gap_or_repeat_when_etcd_is_stopped_and_started() {
    let mut etcd = Etcd::start(1).await;
    let mut watch = follower(&etcd.store()).await;
    let counter = Counter::start(etcd.store());
    for _ in 0..2 {
        counter.steps(10).await;
        etcd.members[0].kill();
        sleep(Duration::from_millis(300)).await;
        etcd.members[0].start();
    }
    counter.steps(10).await;
    let (steps, slowest) = counter.end().await;
    println!("{steps} steps, the slowest {slowest:?}");
    follow(&mut watch, steps).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_watch_that_was_cut_before_a_compaction_is_told_to_list_again() {
    let mut etcd = Etcd::start(1).await;
    let store = etcd.store();
    let mut watch = follower(&etcd.store()).await;
    etcd.members[0].kill();
    etcd.members[0].start();
    etcd.wait(&store).await;
    for number in 0..3 {
        store.commit(&Commit::new().put(Key::new("counter"), number.to_string())).await.expect("committed");
    }
    etcd.compact(&store).await;
    let end = timeout(LIMIT, watch.next()).await.expect("told").expect("an end").expect_err("compacted");
    assert_eq!(end.kind, StoreErrorKind::Compacted, "{end}");
    assert!(watch.next().await.is_none());
    let listing = store.list("").await.expect("listed");
    let mut again = store.watch("", listing.revision);
    store.commit(&Commit::new().delete(Key::new("counter"))).await.expect("committed");
    let batch = timeout(LIMIT, again.next()).await.expect("told").expect("a batch").expect("a batch");
    assert_eq!(batch.changes, [KeyChange::Deleted(Key::new("counter"))]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_without_a_quorum_neither_reads_nor_commits() {
    let mut etcd = Etcd::start(3).await;
    let store = etcd.store_of(&[0]);
    store.commit(&Commit::new().put(Key::new("a"), "1")).await.expect("committed");
    etcd.members[1].kill();
    etcd.members[2].kill();
    let error = store.get(&Key::new("a")).await.expect_err("a read needs a quorum");
    assert_eq!(error.kind, StoreErrorKind::Unavailable, "{error}");
    let error = store.commit(&Commit::new().put(Key::new("a"), "2")).await.expect_err("so does a commit");
    assert_eq!(error.kind, StoreErrorKind::Unknown, "it may yet be made: {error}");
}
