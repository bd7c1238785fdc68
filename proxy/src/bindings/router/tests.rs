//! A scripted router, and one that is behind, lies or is away: the bindings never go backwards and are never lost.

use dataproxy_router_api::{History, Phase, Purge};

use std::time::Instant;

use super::*;
use crate::routers::scripted::{ScriptedRouter, eventually, snapshot};

/// Long enough for a loaded machine to give a sign of life in.
const IMPATIENT: Patience = Patience { silence: Duration::from_secs(1), behind: Duration::from_millis(200) };

struct Follower {
    feed: Arc<RouterFeed>,
    task: tokio::task::JoinHandle<()>,
}

impl Follower {
    fn start(routers: &[&ScriptedRouter], folder: &tempfile::TempDir) -> Self {
        Self::with(PATIENCE, routers, folder)
    }

    fn impatient(routers: &[&ScriptedRouter], folder: &tempfile::TempDir) -> Self {
        Self::with(IMPATIENT, routers, folder)
    }

    fn with(patience: Patience, routers: &[&ScriptedRouter], folder: &tempfile::TempDir) -> Self {
        let routers = ScriptedRouter::routers(routers);
        let path = folder.path().join("state/snapshot.json");
        let feed = RouterFeed::open(routers, "local".parse().unwrap(), path).unwrap();
        let feed = Arc::new(RouterFeed { patience, ..feed });
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
    follower.feed.purged().send_replace(Point::first(Revision(4)));
    eventually("what is purged is saved", || {
        let saved = saved::read(&follower.feed.path, &"local".parse().unwrap()).unwrap();
        saved.is_some_and(|saved| saved.purged == Point::first(Revision(4)))
    })
    .await;
    follower.saved().await;
    router.stops().await;

    let follower = Follower::start(&[&router], &folder);
    follower.feed.available().await;
    assert_eq!((follower.revision(), follower.feed.following().origin), (5, Origin::Disk));
    assert_eq!(*follower.feed.purged().borrow(), Point::first(Revision(4)));
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

#[tokio::test]
async fn a_stream_that_is_silent_for_too_long_is_left() {
    let (router, folder) = (ScriptedRouter::start().await, folder());
    router.has(&snapshot(5, "a"));
    let follower = Follower::impatient(&[&router], &folder);
    follower.has(5).await;
    let begun = Instant::now();
    // A sign of life now and then keeps it.
    while begun.elapsed() < IMPATIENT.silence * 3 {
        tokio::time::sleep(IMPATIENT.silence / 20).await;
        router.says(":\n\n");
    }
    assert_eq!(router.watches().len(), 1);
    follower.says("it said nothing for 1 s").await;
    eventually("asked again", || router.watches().len() == 2).await;
    assert_eq!(follower.revision(), 5);
}

#[tokio::test]
async fn a_router_that_lives_and_tells_nothing_is_left_by_who_has_nothing() {
    let (mute, good, folder) = (ScriptedRouter::start().await, ScriptedRouter::start().await, folder());
    good.has(&snapshot(5, "a"));
    let speaking = async {
        loop {
            mute.says(":\n\n");
            tokio::time::sleep(IMPATIENT.silence / 20).await;
        }
    };
    let following = async {
        // Whichever comes first.
        for _ in 0..4 {
            let folder = tempfile::tempdir_in(folder.path()).unwrap();
            Follower::impatient(&[&mute, &good], &folder).has(5).await;
        }
    };
    tokio::select! {
        () = following => {}
        () = speaking => {}
    }
    assert!(!mute.watches().is_empty() || good.watches().len() == 4);
}

#[tokio::test]
async fn a_router_that_lives_and_is_cut_off_from_the_others_is_left_for_one_that_knows_more() {
    let (cut_off, good, folder) = (ScriptedRouter::start().await, ScriptedRouter::start().await, folder());
    for router in [&cut_off, &good] {
        router.has(&snapshot(5, "a"));
    }
    let follower = Follower::impatient(&[&cut_off, &good], &folder);
    follower.has(5).await;
    // It begins with either, and is on the one that is cut off in the end.
    while follower.feed.following().router != Some(cut_off.url()) {
        good.cuts();
        tokio::time::sleep(Duration::from_millis(20)).await;
        cut_off.says(":\n\n");
    }
    good.changes(&snapshot(7, "b"));
    follower.feed.routers.heard(Point::first(Revision(7)));
    let begun = Instant::now();
    while follower.revision() != 7 {
        assert!(begun.elapsed() < Duration::from_secs(10), "still with the one that is cut off");
        tokio::time::sleep(Duration::from_millis(20)).await;
        cut_off.says(":\n\n");
    }
}

#[tokio::test]
async fn a_store_that_was_restored_is_taken_though_its_revisions_are_low_and_never_left_for_the_one_before() {
    let (old, restored, folder) = (ScriptedRouter::start().await, ScriptedRouter::start().await, folder());
    old.has(&snapshot(10, "a"));
    let follower = Follower::impatient(&[&old], &folder);
    follower.has(10).await;
    follower.feed.purged().send_replace(Point::first(Revision(9)));
    eventually("what is purged is saved", || {
        let saved = saved::read(&follower.feed.path, &"local".parse().unwrap()).unwrap();
        saved.is_some_and(|saved| saved.purged == Point::first(Revision(9)))
    })
    .await;
    follower.saved().await;
    // The backup was older than the last move: its epoch is lower, too.
    let mut whole = Snapshot { history: History(7), ..snapshot(2, "b") };
    whole.bindings[0].epoch.0 = 1;
    restored.has(&whole);
    let follower = Follower::impatient(&[&old, &restored], &folder);
    follower.has(2).await;
    // The old router goes on telling; nothing of it is taken any more.
    old.changes(&snapshot(11, "a"));
    let mut next = whole.clone();
    (next.revision, next.bindings[0].epoch) = (Revision(3), dataproxy_router_api::Epoch(2));
    restored.changes(&next);
    follower.has(3).await;
    assert_eq!(follower.feed.bindings().current().snapshot(), &next);
    let told =
        || follower.feed.following().error.is_some_and(|why| why.contains("older than 3 of history 7"));
    let mut refused = false;
    while !refused {
        refused = told();
        let router = if follower.feed.following().router == Some(restored.url()) { &restored } else { &old };
        router.cuts();
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(follower.feed.bindings().current().snapshot(), &next);
    eventually("it says what it has", || restored.watches().iter().any(|query| query == "after=3&history=7"))
        .await;
}
