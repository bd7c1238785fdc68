//! A scripted router, and one that is behind, lies or is away: the bindings never go backwards and are never lost.

use dataproxy_router_api::{Phase, Purge};

use super::*;
use crate::routers::scripted::{ScriptedRouter, eventually, snapshot};

struct Follower {
    feed: Arc<RouterFeed>,
    task: tokio::task::JoinHandle<()>,
}

impl Follower {
    fn start(routers: &[&ScriptedRouter], folder: &tempfile::TempDir) -> Self {
        let routers = ScriptedRouter::routers(routers);
        let path = folder.path().join("state/snapshot.json");
        let feed = Arc::new(RouterFeed::open(routers, "local".parse().unwrap(), path).unwrap());
        let following = Arc::clone(&feed);
        Self { feed, task: tokio::spawn(async move { following.follow().await }) }
    }

    fn revision(&self) -> u64 {
        self.feed.bindings().current().snapshot().revision.0
    }

    async fn has(&self, revision: u64) {
        eventually(&format!("revision {revision}"), || self.revision() == revision).await;
    }

    async fn says(&self, words: &str) {
        let said = || self.feed.following().error.is_some_and(|error| error.contains(words));
        eventually(words, said).await;
    }

    /// Ends as by kill -9, once its snapshot is on disk.
    async fn saved(self) {
        let region = "local".parse().unwrap();
        let is_saved = || {
            let saved = saved::read(&self.feed.path, &region).unwrap();
            saved.is_some_and(|saved| saved.table.snapshot() == self.feed.bindings().current().snapshot())
        };
        eventually("saved", is_saved).await;
        self.task.abort();
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn folder() -> tempfile::TempDir {
    tempfile::tempdir().unwrap()
}

#[tokio::test]
async fn a_node_takes_the_whole_and_then_each_change_and_goes_on_after_a_lost_stream() {
    let (router, folder) = (ScriptedRouter::start().await, folder());
    router.has(&snapshot(5, "a"));
    let follower = Follower::start(&[&router], &folder);
    follower.feed.available().await;
    follower.has(5).await;
    assert_eq!(router.watches(), [""], "the first stream of a process begins with the whole");
    router.changes(&snapshot(7, "b"));
    follower.has(7).await;
    let table = follower.feed.bindings().current();
    assert_eq!(table.binding("contoso").unwrap().home_stamp.as_str(), "b");
    router.cuts();
    eventually("asked again", || router.watches().len() == 2).await;
    assert_eq!(router.watches()[1], "after=7");
    router.changes(&snapshot(9, "a"));
    follower.has(9).await;
    // What was missed meanwhile and is too old for the router to tell one by one comes as the whole.
    router.has(&snapshot(20, "b"));
    router.cuts();
    follower.has(20).await;
    let following = follower.feed.following();
    assert_eq!((following.origin, following.router), (Origin::Router, Some(router.url())));
}

#[tokio::test]
async fn a_first_start_waits_for_a_router_and_says_so() {
    let (mut router, folder) = (ScriptedRouter::start().await, folder());
    router.has(&snapshot(5, "a"));
    router.stops().await;
    let follower = Follower::start(&[&router], &folder);
    follower.says("cannot be reached").await;
    assert_eq!(follower.feed.following().origin, Origin::Nowhere);
    let waits = tokio::time::timeout(Duration::from_millis(100), follower.feed.available()).await;
    assert!(waits.is_err(), "there is nothing to work from");
    router.starts_again().await;
    follower.feed.available().await;
    assert_eq!(follower.revision(), 5);
}

#[tokio::test]
async fn a_node_starts_from_disk_while_no_router_answers_and_follows_the_first_that_does() {
    let (mut router, folder) = (ScriptedRouter::start().await, folder());
    router.has(&snapshot(5, "a"));
    let follower = Follower::start(&[&router], &folder);
    follower.has(5).await;
    follower.feed.purged().send_replace(Revision(4));
    eventually("what is purged is saved", || {
        let saved = saved::read(&follower.feed.path, &"local".parse().unwrap()).unwrap();
        saved.is_some_and(|saved| saved.purged == Revision(4))
    })
    .await;
    follower.saved().await;
    router.stops().await;

    let follower = Follower::start(&[&router], &folder);
    follower.feed.available().await;
    assert_eq!((follower.revision(), follower.feed.following().origin), (5, Origin::Disk));
    assert_eq!(*follower.feed.purged().borrow(), Revision(4));
    follower.says("cannot be reached").await;
    assert_eq!(follower.revision(), 5, "it works from what it has for as long as it takes");
    router.has(&snapshot(6, "b"));
    router.starts_again().await;
    follower.has(6).await;
    assert_eq!(follower.feed.following().origin, Origin::Router);
    assert_eq!(follower.feed.following().error, None);
}

#[tokio::test]
async fn a_router_that_is_behind_or_contradicts_itself_is_left_for_another_one() {
    let (good, other, folder) = (ScriptedRouter::start().await, ScriptedRouter::start().await, folder());
    good.has(&snapshot(10, "a"));
    let mut back = snapshot(11, "b");
    back.bindings[0].epoch.0 = 3;
    let mut astray = snapshot(12, "a");
    astray.bindings[0].phase = Phase::Preparing;
    let elsewhere = Snapshot { region: "east".parse().unwrap(), ..snapshot(13, "a") };
    for (bad, words) in [
        (snapshot(9, "b"), "revision 9 is older than 10"),
        (back, "contoso has epoch 3, older than 10"),
        (astray, "revision 12 contradicts itself"),
        (elsewhere, "it is of region east"),
    ] {
        let folder = tempfile::tempdir_in(folder.path()).unwrap();
        other.has(&snapshot(10, "a"));
        let follower = Follower::start(&[&good, &other], &folder);
        follower.has(10).await;
        other.has(&bad);
        // Whichever is followed is lost, until the other one was asked.
        let mut told = false;
        while !told {
            let watches = || good.watches().len() + other.watches().len();
            let before = watches();
            good.cuts();
            other.cuts();
            eventually("one of them is asked", || {
                told |= follower.feed.following().error.is_some_and(|error| error.contains(words));
                told || watches() > before
            })
            .await;
        }
        eventually("the good one is followed", || follower.feed.following().router == Some(good.url())).await;
        assert_eq!(follower.feed.bindings().current().snapshot(), &snapshot(10, "a"), "{words}");
    }
}

#[tokio::test]
async fn a_change_of_another_revision_has_the_whole_asked_for() {
    let (router, folder) = (ScriptedRouter::start().await, folder());
    router.has(&snapshot(5, "a"));
    let follower = Follower::start(&[&router], &folder);
    follower.has(5).await;
    // Revision 8 is missed.
    router.has(&snapshot(8, "a"));
    router.changes(&snapshot(9, "b"));
    follower.has(9).await;
    assert!(router.watches().len() >= 2);
    // One that is known is no news, and an event or a field of a later version neither.
    router.says("event: hello\ndata: {}\n\n");
    router.says("event: change\ndata: {\"base\": 8, \"revision\": 9}\n\n");
    let mut next = serde_json::to_value(Snapshot { revision: Revision(10), ..snapshot(9, "b") }).unwrap();
    next["of_a_later_version"] = serde_json::json!({"any": 1});
    let watches = router.watches().len();
    router.says(&format!("event: snapshot\ndata: {next}\n\n"));
    follower.has(10).await;
    assert_eq!(router.watches().len(), watches, "the stream is the same");
}

#[tokio::test]
async fn what_was_saved_by_another_version_is_completed_without_a_new_revision() {
    let (router, folder) = (ScriptedRouter::start().await, folder());
    let bare = snapshot(5, "a");
    router.has(&bare);
    let follower = Follower::start(&[&router], &folder);
    follower.has(5).await;
    follower.saved().await;
    // The version before knew no purges.
    let purges = vec![Purge::of("contoso".parse().unwrap(), Revision(4))];
    let full = Snapshot { purges, ..bare };
    router.has(&full);
    let follower = Follower::start(&[&router], &folder);
    eventually("complete", || follower.feed.bindings().current().snapshot() == &full).await;
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_is_silent_for_15_seconds_is_left() {
    let (silent, folder) = (ScriptedRouter::start().await, folder());
    silent.has(&snapshot(5, "a"));
    let follower = Follower::start(&[&silent], &folder);
    let begun = tokio::time::Instant::now();
    follower.has(5).await;
    // A sign of life now and then keeps it.
    for _ in 0..3 {
        tokio::time::sleep(Duration::from_secs(10)).await;
        silent.says(":\n\n");
    }
    assert_eq!(silent.watches().len(), 1);
    while silent.watches().len() == 1 {
        tokio::time::sleep(Duration::from_millis(100)).await;
        assert!(begun.elapsed() < Duration::from_secs(60));
    }
    assert!(begun.elapsed() >= Duration::from_secs(44), "{:?}", begun.elapsed());
}
