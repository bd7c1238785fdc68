use dataproxy_router_api::{Binding, Epoch, Placement, PullPolicy, RegistryName};

use super::*;
use crate::audit::{Excerpt, of_day};
use crate::command::RegistrySpec;
use crate::migration::{Terms, UnixMillis};
use crate::publish::Next;
use crate::store::memory::{Fault, MemoryStore};

const NOW: UnixMillis = UnixMillis(1_700_000_000_000);

fn because(reason: &str) -> Occasion {
    Occasion { actor: "ada".into(), reason: reason.into(), now: NOW }
}

fn stamp(name: &str) -> Command {
    Command::PutStamp {
        name: name.parse().unwrap(),
        accounts: Some(vec![format!("{name}1").parse().unwrap()]),
        state: None,
    }
}

fn registry(name: &str) -> Command {
    Command::PutRegistry {
        registry: name.parse().unwrap(),
        spec: RegistrySpec {
            home_stamp: "a".parse().unwrap(),
            placement: Placement::new("a1".parse().unwrap(), name),
            pull: PullPolicy::Anonymous,
            delivery: Default::default(),
            hosts: Vec::new(),
        },
        if_epoch: None,
    }
}

fn moving(name: &str) -> Command {
    Command::Move {
        registry: name.parse().unwrap(),
        to: "b".parse().unwrap(),
        if_epoch: None,
        terms: Terms::default(),
    }
}

/// A router over a store, which follows it.
async fn router(store: Arc<dyn Store>) -> Arc<Control> {
    let control = Control::open(store, "local".parse().unwrap()).await.unwrap();
    let following = Arc::clone(&control);
    tokio::spawn(async move { following.follow().await });
    control
}

async fn set_up(control: &Control) {
    for command in [stamp("a"), stamp("b"), registry("contoso")] {
        control.execute(&command, &because("to begin with"), None).await.unwrap();
    }
}

fn binding(control: &Control, registry: &str) -> Binding {
    let name: RegistryName = registry.parse().unwrap();
    control.state().binding(&name).unwrap().value.clone()
}

#[tokio::test]
async fn two_routers_over_one_store_see_and_publish_the_same() {
    let store = MemoryStore::new();
    let one = router(store.another()).await;
    let other = router(store.another()).await;
    set_up(&one).await;
    let begun = other.state().revision();
    let done = other.execute(&moving("contoso"), &because("it is hot"), None).await.unwrap();
    assert_eq!(done.decision.migration.as_deref(), Some("contoso.1"));
    one.followed(done.revision).await.unwrap();
    assert_eq!(one.state().snapshot(), other.state().snapshot());
    assert!(begun <= done.revision);
    let told = one.publisher().after(dataproxy_router_api::Point::default());
    assert!(
        matches!(&told, Next::Changes(changes, at) if changes.len() == 4 && *at == done.revision),
        "{told:?}"
    );
}

#[tokio::test]
async fn of_two_operators_who_ask_at_once_each_is_served_or_told_why_not_and_nothing_is_lost() {
    let store = MemoryStore::new();
    let routers = [router(store.another()).await, router(store.another()).await];
    set_up(&routers[0]).await;
    let asked = (0..40).map(|number| {
        let control = Arc::clone(&routers[number % 2]);
        async move { control.execute(&registry(&format!("r{number}")), &because("more"), None).await }
    });
    for done in futures_util::future::join_all(asked).await {
        // Where everybody writes the end of one audit, the slowest may have to be told to try again.
        if let Err(error) = done {
            assert!(matches!(error, ControlError::Busy), "{error}");
        }
    }
    let audit = of_day(store.as_ref(), NOW).await.unwrap();
    assert_eq!(audit.broken, Vec::<String>::new());
    let bound = routers[0].state().bindings().count();
    assert_eq!(audit.lines.len(), bound + 2, "each change has its line");
    assert!(audit.lines.iter().all(|line| line.actor == "ada"));
}

#[tokio::test]
async fn a_request_whose_answer_was_lost_is_done_once_however_often_it_is_asked() {
    for fault in [Fault::LostOnTheWayBack, Fault::LostOnTheWay, Fault::Unavailable] {
        let store = MemoryStore::new();
        let mine = store.another();
        let control = router(mine.clone()).await;
        set_up(&control).await;
        mine.fail(fault, 1);
        let lost = control.execute(&moving("contoso"), &because("it is hot"), None).await;
        let may_have_happened = match lost.unwrap_err() {
            ControlError::Store(error) => error.kind.may_have_happened(),
            other => panic!("{other}"),
        };
        assert_eq!(may_have_happened, fault != Fault::Unavailable);
        mine.heal();
        let done = control.execute(&moving("contoso"), &because("again"), None).await.unwrap();
        assert_eq!(done.decision.migration.as_deref(), Some("contoso.1"));
        let latest = store.list("").await.unwrap().revision;
        control.followed(latest).await.unwrap();
        assert_eq!(control.state().migrations().count(), 1, "{fault:?}");
        assert_eq!(binding(&control, "contoso").epoch, Epoch(1));
    }
}

#[tokio::test]
async fn who_does_not_lead_any_more_writes_nothing() {
    let store = MemoryStore::new();
    let control = router(store.another()).await;
    set_up(&control).await;
    let before = store.list("").await.unwrap();
    let fence = Compare::Version { key: Key::new("leader"), is: Revision(99) };
    let refused = control.execute(&moving("contoso"), &because("it is hot"), Some(&fence)).await;
    assert!(matches!(refused, Err(ControlError::NotLeading)), "{refused:?}");
    assert_eq!(store.list("").await.unwrap(), before);
}

#[tokio::test]
async fn a_router_that_missed_changes_reads_everything_anew_and_says_so_to_its_nodes() {
    let store = MemoryStore::new();
    let one = router(store.another()).await;
    set_up(&one).await;
    let late = Control::open(store.another(), "local".parse().unwrap()).await.unwrap();
    let seen = late.state().point();
    let done = one.execute(&moving("contoso"), &because("it is hot"), None).await.unwrap();
    store.compact();
    let following = Arc::clone(&late);
    tokio::spawn(async move { following.follow().await });
    late.followed(done.revision).await.unwrap();
    assert_eq!(late.state().snapshot(), one.state().snapshot());
    assert_eq!(late.publisher().after(seen), Next::Whole);
}

#[tokio::test]
async fn a_line_of_the_audit_that_is_changed_or_taken_out_shows() {
    let store = MemoryStore::new();
    let control = router(store.another()).await;
    set_up(&control).await;
    let Excerpt { lines, broken } = of_day(store.as_ref(), NOW).await.unwrap();
    assert_eq!((lines.len(), broken.len()), (3, 0));
    assert_eq!(lines[2].done, "bound registry contoso: home a, epoch 1");
    assert_eq!(lines[2].wrote, ["registries/contoso"]);
    let entries = store.list("audit/").await.unwrap().entries;
    let key = |at: usize| entries[at].key.clone();
    let forged = String::from_utf8(entries[1].value.to_vec()).unwrap().replace("ada", "eve");
    store.commit(&Commit::new().put(key(1), forged)).await.unwrap();
    let broken = of_day(store.as_ref(), NOW).await.unwrap().broken;
    assert_eq!(broken, ["line 2 is not what it was when line 3 was written"]);
    store.commit(&Commit::new().delete(key(1))).await.unwrap();
    let broken = of_day(store.as_ref(), NOW).await.unwrap().broken;
    assert_eq!(broken, ["between lines 1 and 3 some are missing"]);
}

#[tokio::test]
async fn a_record_of_a_later_version_keeps_a_router_from_starting_and_a_running_one_from_nothing() {
    let store = MemoryStore::new();
    let control = router(store.another()).await;
    set_up(&control).await;
    let before = binding(&control, "contoso");
    let odd = Commit::new().put(Key::new("registries/contoso"), r#"{"shape":"new"}"#);
    let Outcome::Committed { revision } = store.commit(&odd).await.unwrap() else { panic!("no conflict") };
    control.followed(revision).await.unwrap();
    assert_eq!(binding(&control, "contoso"), before);
    let error = Control::open(store.another(), "local".parse().unwrap()).await.unwrap_err();
    assert!(error.to_string().contains("the record registries/contoso cannot be read"), "{error}");
}
