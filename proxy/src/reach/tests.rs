use dataproxy_cache::fakes::Fault;
use metrics_exporter_prometheus::PrometheusBuilder;
use serde_json::json;

use super::*;
use crate::bindings::Table;
use crate::layout::Laid;
use crate::store::local::LocalFolder;
use crate::store::memory::MemoryStore;

fn snapshot(revision: u64, placements: &[(&str, serde_json::Value)]) -> Snapshot {
    let bindings: Vec<_> = placements
        .iter()
        .map(|(registry, placement)| {
            json!({"registry": registry, "home_stamp": "a", "epoch": 1, "placement": placement})
        })
        .collect();
    let snapshot = json!({
        "revision": revision, "region": "west", "stamps": [{"name": "a", "nodes": []}], "bindings": bindings,
    });
    serde_json::from_value(snapshot).expect("a snapshot")
}

fn at(account: &str, container: &str) -> serde_json::Value {
    json!({"account": account, "container": container})
}

fn stores(accounts: &[(&str, &Arc<MemoryStore>)]) -> Stores {
    let laid = |store: &Arc<MemoryStore>| Laid::over(Arc::clone(store) as Arc<dyn Store>) as _;
    accounts.iter().map(|(name, store)| (name.parse().expect("a name"), laid(store))).collect()
}

fn filled(container: &str) -> Arc<MemoryStore> {
    let store = MemoryStore::new();
    store.put(&ObjectName::new(format!("{container}/docker/registry/v2/blobs/x/data")), "x");
    store
}

fn place(account: &str, container: &str) -> Location {
    serde_json::from_value(at(account, container)).expect("a place")
}

#[tokio::test(start_paused = true)]
async fn every_place_of_every_binding_is_tried_and_told_with_what_would_be_right() {
    let (good, throttled, denied, silent) = (filled("c"), filled("c"), filled("c"), filled("c"));
    throttled.origin().always(Fault::Refuse(OriginErrorKind::Throttled(None)));
    denied.origin().always(Fault::Refuse(OriginErrorKind::Denied));
    silent.origin().always(Fault::Mute);
    let unlisted = filled("c");
    unlisted.fail_listings(Some(OriginErrorKind::Denied));
    let stores = stores(&[
        ("good", &good),
        ("busy", &throttled),
        ("denied", &denied),
        ("silent", &silent),
        ("unlisted", &unlisted),
    ]);
    let copied = json!({"account": "silent", "container": "c", "copies": [at("good", "c")]});
    let snapshot = snapshot(
        1,
        &[
            ("good", at("good", "c")),
            ("empty", at("good", "other")),
            ("busy", at("busy", "c")),
            ("denied", at("denied", "c")),
            ("silent", at("silent", "c")),
            ("copied", copied),
            ("unlisted", at("unlisted", "c")),
            ("lost", at("elsewhere", "c")),
        ],
    );
    let mut reach = Reach::default();
    reach.look(&snapshot, &stores).await;
    for (account, container, finding) in [
        ("good", "c", Finding::Reachable),
        ("good", "other", Finding::Empty),
        ("busy", "c", Finding::Throttled),
        ("denied", "c", Finding::Denied),
        ("silent", "c", Finding::Dark),
        ("unlisted", "c", Finding::Unlisted),
        ("elsewhere", "c", Finding::NotConfigured),
    ] {
        assert_eq!(
            reach.at(&place(account, container)).expect("a look").finding,
            finding,
            "{account}:{container}"
        );
    }
    let unserved: Vec<&str> = reach.unserved(&snapshot).iter().map(|name| name.as_str()).collect();
    assert_eq!(unserved, ["denied", "silent", "lost"], "a copy serves");
    let table = reach.table(&snapshot);
    let line = |of: &str| table.lines().find(|line| line.starts_with(of)).expect(of).to_owned();
    assert!(line("denied").ends_with(Finding::Denied.remedy()), "{table}");
    assert!(line("silent").contains("dark"), "{table}");
    assert!(
        table.contains("good (copy)") && table.ends_with("this node cannot serve: denied, silent, lost\n"),
        "{table}"
    );
}

#[tokio::test(start_paused = true)]
async fn only_what_is_new_or_not_well_is_tried_again() {
    let (good, bad) = (filled("c"), filled("c"));
    bad.origin().always(Fault::Refuse(OriginErrorKind::Unavailable));
    let stores = stores(&[("good", &good), ("bad", &bad)]);
    let first = snapshot(1, &[("one", at("good", "c")), ("two", at("bad", "c"))]);
    let mut reach = Reach::default();
    reach.look(&first, &stores).await;
    assert_eq!((good.origin().requests(), bad.origin().requests()), (1, 1));
    reach.look(&first, &stores).await;
    assert_eq!((good.origin().requests(), bad.origin().requests()), (1, 2));
    bad.origin().heal();
    let second =
        snapshot(2, &[("one", at("good", "c")), ("two", at("bad", "c")), ("three", at("good", "d"))]);
    reach.look(&second, &stores).await;
    assert_eq!((good.origin().requests(), bad.origin().requests()), (2, 3));
    assert!(reach.unserved(&second).is_empty());
    assert!(reach.table(&second).ends_with("this node can serve every registry\n"));
    // What serves all the same is looked at until it is well.
    bad.fail_listings(Some(OriginErrorKind::Denied));
    good.origin().next(Fault::Refuse(OriginErrorKind::Throttled(None)));
    reach.look_at_all(&second, &stores).await;
    let findings =
        |reach: &Reach| -> BTreeSet<Finding> { reach.looks.values().map(|look| look.finding).collect() };
    assert!(findings(&reach).is_superset(&[Finding::Throttled, Finding::Unlisted].into()), "{reach:?}");
    bad.fail_listings(None);
    reach.look(&second, &stores).await;
    assert_eq!(findings(&reach), [Finding::Reachable, Finding::Empty].into());
}

#[tokio::test(start_paused = true)]
async fn an_account_that_is_not_well_is_not_asked_more_often_as_bindings_change() {
    let (good, bad) = (filled("c"), filled("c"));
    bad.origin().always(Fault::Refuse(OriginErrorKind::Denied));
    let stores = stores(&[("good", &good), ("bad", &bad)]);
    let table = |revision: u64| {
        let place = format!("c{revision}");
        Table::new(snapshot(revision, &[("one", at("good", &place)), ("two", at("bad", "c"))]))
    };
    let bindings = Arc::new(Bindings::new(table(1)));
    let following = tokio::spawn(follow(Arc::clone(&bindings), stores));
    for revision in 2..=25 {
        sleep(INTERVAL * 2).await;
        bindings.replace(table(revision)).expect("newer");
    }
    sleep(INTERVAL * 2).await;
    assert_eq!(
        (good.origin().requests(), bad.origin().requests()),
        (25, 1),
        "each new place, and no other again"
    );
    sleep(AGAIN_AFTER).await;
    assert_eq!((good.origin().requests(), bad.origin().requests()), (25, 2));
    following.abort();
}

#[tokio::test(start_paused = true)]
async fn what_was_well_is_tried_again_in_the_end() {
    let (good, busy) = (filled("c"), filled("c"));
    busy.origin().next(Fault::Refuse(OriginErrorKind::Throttled(None)));
    let stores = stores(&[("good", &good), ("busy", &busy)]);
    let table = Table::new(snapshot(1, &[("one", at("good", "c")), ("two", at("busy", "c"))]));
    let started = Instant::now();
    let following = tokio::spawn(follow(Arc::new(Bindings::new(table)), stores));
    for (until, looks) in
        [(30, (1, 1)), (90, (1, 2)), (570, (1, 2)), (630, (2, 3)), (1170, (2, 3)), (1230, (3, 4))]
    {
        let now = Duration::from_secs(until);
        while Instant::now() < started + now {
            sleep(INTERVAL).await;
        }
        assert_eq!((good.origin().requests(), busy.origin().requests()), looks, "after {now:?}");
    }
    following.abort();
}

#[tokio::test]
async fn an_account_that_no_binding_names_any_more_is_shown_with_no_place() {
    let recorder = PrometheusBuilder::new().build_recorder();
    let handle = recorder.handle();
    let _local = metrics::set_default_local_recorder(&recorder);
    let (old, new) = (filled("c"), filled("c"));
    let stores = stores(&[("old", &old), ("new", &new)]);
    let mut reach = Reach::default();
    for (revision, account, counts) in [(1, "old", [1, 0]), (2, "new", [0, 1]), (3, "old", [1, 0])] {
        let snapshot = snapshot(revision, &[("one", at(account, "c"))]);
        reach.look(&snapshot, &stores).await;
        reach.show(&snapshot);
        let text = handle.render();
        for (account, count) in ["old", "new"].into_iter().zip(counts) {
            let line = format!("dataproxy_placements{{account=\"{account}\",finding=\"reachable\"}} {count}");
            let is_shown = text.lines().any(|found| found == line);
            assert!(is_shown || (count == 0 && revision == 1), "no {line} in\n{text}");
        }
    }
}

#[tokio::test]
async fn a_folder_is_told_apart_by_what_lies_in_it_and_refuses_what_it_cannot_have() {
    let dir = tempfile::tempdir().expect("a folder");
    std::fs::create_dir_all(dir.path().join("c/docker/registry/v2/blobs")).expect("made");
    let folder = Arc::new(LocalFolder::open(dir.path()).expect("opened"));
    let stores = Stores::from([("one".parse().expect("a name"), Laid::over(folder) as _)]);
    let rooted = json!({"account": "one", "container": "c", "prefix": "/"});
    let snapshot = snapshot(1, &[("good", at("one", "c")), ("none", at("one", "d")), ("rooted", rooted)]);
    let mut reach = Reach::default();
    reach.look(&snapshot, &stores).await;
    let table = reach.table(&snapshot);
    for (registry, finding) in [("good", "reachable"), ("none", "empty"), ("rooted", "unusable")] {
        let line = table.lines().find(|line| line.starts_with(registry)).expect(registry);
        assert!(line.contains(finding), "{table}");
    }
    assert!(table.contains("a folder has no name for a leading slash"), "{table}");
}

#[test]
fn a_missing_container_is_told_from_a_refusal_by_what_storage_says() {
    let error = |kind, message: &str| OriginError::new(kind, message);
    for (message, expected) in [
        (
            "c/x: 404 ContainerNotFound; the placement names a container that is not there",
            Finding::NoContainer,
        ),
        ("x: 404 NoSuchBucket", Finding::NoContainer),
        ("x: 403 AuthorizationFailure", Finding::Denied),
    ] {
        assert_eq!(finding(&error(OriginErrorKind::Denied, message)), expected);
    }
}
