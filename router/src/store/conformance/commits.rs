//! Commits: all or nothing, compares, revisions.

use std::sync::Arc;

use super::super::{MAX_COMMIT_BYTES, MAX_KEY_BYTES, MAX_OPERATIONS};
use super::{
    Commit, Outcome, Revision, Store, StoreErrorKind, conflict, get, key, list, make, put, refused, value,
    within,
};

pub(super) async fn all(store: &Arc<dyn Store>) {
    let one = &**store;
    within("compares", a_commit_is_made_only_if_every_compare_holds(one)).await;
    within("all or nothing", writes_of_one_commit_have_one_revision(one)).await;
    within("versions", a_version_never_comes_back(one)).await;
    within("nothing", a_commit_that_changes_nothing_has_no_revision_of_its_own(one)).await;
    within("refusals", what_no_store_can_take_is_refused_by_all(one)).await;
    within("largest", the_largest_commit_is_made(one)).await;
    within("no lost update", of_two_commits_on_one_version_one_is_made(store)).await;
}

async fn a_commit_is_made_only_if_every_compare_holds(store: &dyn Store) {
    let (a, b) = (key("compare/a"), key("compare/b"));
    let first = make(store, Commit::new().if_absent(a.clone()).put(a.clone(), "1")).await;
    let before = list(store, "").await;
    let at = [
        Commit::new().if_absent(a.clone()),
        Commit::new().if_present(b.clone()),
        Commit::new().if_version(a.clone(), Revision(first.0 - 1)),
        Commit::new().if_version(a.clone(), Revision(first.0 + 1)),
        Commit::new().if_version(b.clone(), first),
        Commit::new().if_version(b.clone(), Revision(0)),
        Commit::new().if_version(a.clone(), first).if_absent(b.clone()).if_present(b.clone()),
    ];
    for compares in at {
        let revision =
            conflict(store, compares.put(a.clone(), "2").put(b.clone(), "2").delete(key("read/a"))).await;
        assert_eq!(revision, before.revision);
    }
    assert_eq!(list(store, "").await, before, "a conflict changes nothing");
    let holds = Commit::new().if_version(a.clone(), first).if_present(a.clone()).if_absent(b.clone());
    let second = make(store, holds.delete(a.clone()).put(b.clone(), "3")).await;
    assert!(second > first);
    assert_eq!(
        (value(store, "compare/a").await, get(store, "compare/b").await.map(|b| b.version)),
        (None, Some(second))
    );
}

async fn writes_of_one_commit_have_one_revision(store: &dyn Store) {
    let revision = make(store, Commit::new().put(key("one/a"), "1").put(key("one/b"), "1")).await;
    let listing = list(store, "one/").await;
    assert!(listing.entries.iter().all(|entry| entry.version == revision), "{listing:?}");
    assert_eq!(listing.revision, revision);
}

async fn a_version_never_comes_back(store: &dyn Store) {
    let first = put(store, "again/a", "1").await;
    make(store, Commit::new().delete(key("again/a"))).await;
    let second = put(store, "again/a", "1").await;
    assert!(second.0 > first.0 + 1, "the delete has a revision of its own: {first}, {second}");
    conflict(store, Commit::new().if_version(key("again/a"), first).put(key("again/a"), "2")).await;
}

async fn a_commit_that_changes_nothing_has_no_revision_of_its_own(store: &dyn Store) {
    let before = put(store, "nothing/a", "1").await;
    for commit in [
        Commit::new(),
        Commit::new().if_version(key("nothing/a"), before),
        Commit::new().delete(key("nothing/absent")),
    ] {
        assert_eq!(store.commit(&commit).await, Ok(Outcome::Committed { revision: before }), "{commit:?}");
    }
    let after = put(store, "nothing/a", "1").await;
    assert_eq!(after.0, before.0 + 1, "the same value again is a change");
}

async fn what_no_store_can_take_is_refused_by_all(store: &dyn Store) {
    let before = list(store, "").await;
    let (a, long) = (key("refused/a"), "x".repeat(MAX_KEY_BYTES + 1));
    let many = (0..=MAX_OPERATIONS).fold((Commit::new(), Commit::new()), |(compares, writes), number| {
        let name = key(&format!("refused/{number}"));
        (compares.if_absent(name.clone()), writes.put(name, ""))
    });
    for commit in [
        Commit::new().put(key(""), "1"),
        Commit::new().if_absent(key("")),
        Commit::new().put(key(&long), "1"),
        Commit::new().put(a.clone(), "1").delete(a.clone()),
        Commit::new().put(a.clone(), "1").put(a.clone(), "1"),
        Commit::new().put(a.clone(), vec![b'x'; MAX_COMMIT_BYTES]),
        many.0.put(a.clone(), "1"),
        many.1,
    ] {
        refused(store, commit, StoreErrorKind::Invalid).await;
    }
    assert_eq!(list(store, "").await, before, "what is refused changes nothing");
}

async fn the_largest_commit_is_made(store: &dyn Store) {
    let long = format!("largest/{}", "k".repeat(MAX_KEY_BYTES - "largest/".len()));
    let value = vec![b'x'; MAX_COMMIT_BYTES - MAX_KEY_BYTES];
    make(store, Commit::new().put(key(&long), value.clone())).await;
    assert_eq!(get(store, &long).await.expect("it was put").value, value);
    make(store, Commit::new().delete(key(&long))).await;

    let names = || (0..MAX_OPERATIONS).map(|number| key(&format!("largest/{number}")));
    let absent = names().fold(Commit::new(), Commit::if_absent);
    make(store, names().fold(absent, |commit, name| commit.put(name, "1"))).await;
    let present = names().fold(Commit::new(), Commit::if_present);
    make(store, names().fold(present, Commit::delete)).await;
    assert!(list(store, "largest/").await.entries.is_empty());
}

async fn of_two_commits_on_one_version_one_is_made(store: &Arc<dyn Store>) {
    const TASKS: u64 = 4;
    const STEPS: u64 = 10;
    put(&**store, "counter", "0").await;
    let tasks: Vec<_> = (0..TASKS)
        .map(|_| {
            let store = Arc::clone(store);
            tokio::spawn(async move {
                for _ in 0..STEPS {
                    while !count_one(&*store).await {}
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.expect("a task counts");
    }
    assert_eq!(value(&**store, "counter").await.expect("it was put"), (TASKS * STEPS).to_string());
}

/// Whether nobody else counted in between.
async fn count_one(store: &dyn Store) -> bool {
    let entry = get(store, "counter").await.expect("it was put");
    let count: u64 = str::from_utf8(&entry.value).expect("digits").parse().expect("digits");
    let commit =
        Commit::new().if_version(entry.key.clone(), entry.version).put(entry.key, (count + 1).to_string());
    matches!(store.commit(&commit).await.expect("judged"), Outcome::Committed { .. })
}
