use dataproxy_router_api::{Node, NodeState, Placement, Role, StampState};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::*;
use crate::migration::{MigrationState, Terms, UnixMillis};
use crate::record::node_key;

fn stamp(name: &str, accounts: &[&str]) -> Record {
    Record::Stamp(StampRecord {
        name: name.parse().unwrap(),
        accounts: accounts.iter().map(|account| account.parse().unwrap()).collect(),
        state: StampState::Active,
    })
}

fn node(name: &str, stamp: &str, state: NodeState) -> Record {
    let address = "127.0.1.1:5000".parse().unwrap();
    let node = Node { state, ..Node::new(name.parse().unwrap(), address, address, Role::All) };
    Record::Node(NodeRecord {
        stamp: stamp.parse().unwrap(),
        node,
        incarnation: Default::default(),
        version: String::new(),
    })
}

fn binding(registry: &str, home: &str) -> Record {
    let placement = Placement::new("a1".parse().unwrap(), registry);
    Record::Binding(Binding::new(registry.parse().unwrap(), home.parse().unwrap(), placement))
}

fn purge(registry: &str) -> Record {
    let purge = Purge::of(registry.parse().unwrap(), Revision(0));
    Record::Purge(PurgeRecord { purge, at: UnixMillis(0) })
}

fn migration(id: &str, state: MigrationState) -> Migration {
    Migration {
        id: id.to_owned(),
        registry: id.split('.').next().unwrap().parse().unwrap(),
        from: "a".parse().unwrap(),
        to: "b".parse().unwrap(),
        state,
        began_at_epoch: dataproxy_router_api::Epoch(1),
        switched_to_epoch: None,
        terms: Terms::default(),
        paused: None,
        takes_back: None,
        began: UnixMillis(0),
        switched: None,
        drained: None,
        ended: None,
        story: Vec::new(),
    }
}

fn put(record: Record) -> Written {
    Written::Put(Box::new(record))
}

fn key(write: &Written) -> String {
    match write {
        Written::Put(record) => record.key(),
        Written::Gone(key) => key.clone(),
    }
}

/// Some write: of few names, so that they meet.
fn any(random: &mut StdRng) -> Written {
    let one = |names: &[&'static str], random: &mut StdRng| names[random.random_range(0..names.len())];
    let stamp_name = one(&["a", "b", "c"], random);
    let registry = one(&["contoso", "fabrikam", "tailspin"], random);
    let node_name = one(&["n1", "n2", "n3"], random);
    match random.random_range(0..8) {
        0 => put(stamp(stamp_name, &[])),
        1 => put(node(node_name, stamp_name, NodeState::Ready)),
        2 => put(node(node_name, stamp_name, NodeState::Gone)),
        3 => put(binding(registry, stamp_name)),
        4 => put(purge(registry)),
        5 => Written::Gone(stamp(stamp_name, &[]).key()),
        6 => Written::Gone(node_key(node_name)),
        _ => Written::Gone(binding(registry, "a").key()),
    }
}

#[test]
fn who_is_told_of_changes_knows_what_who_reads_the_whole_knows() {
    for seed in 0..200 {
        let mut random = StdRng::seed_from_u64(seed);
        let mut state = State::new("local".parse().unwrap());
        let mut told = state.snapshot();
        for revision in 1..40 {
            // A commit writes a key once.
            let writes: BTreeMap<String, Written> = (0..random.random_range(1..4))
                .map(|_| any(&mut random))
                .map(|write| (key(&write), write))
                .collect();
            let change = state.apply(Revision(revision), writes.into_values().collect());
            told = change.apply(&told).unwrap();
            // A purge that a later one replaces stays with who was told of both: to forget twice does no harm.
            let mut whole = state.snapshot();
            told.purges.retain(|purge| whole.purges.contains(purge));
            whole.sort();
            assert_eq!(told, whole, "seed {seed}, revision {revision}");
        }
    }
}

#[test]
fn a_change_names_what_it_touches_and_no_more() {
    let mut state = State::new("local".parse().unwrap());
    let first = vec![stamp("a", &["a1"]), stamp("b", &[]), node("n1", "a", NodeState::Ready)];
    state.apply(Revision(1), first.into_iter().map(|record| Written::Put(Box::new(record))).collect());
    let moved = state.apply(Revision(2), vec![put(node("n1", "b", NodeState::Ready))]);
    let names: Vec<&str> = moved.stamps.iter().map(|stamp| stamp.name.as_str()).collect();
    assert_eq!(names, ["a", "b"], "the stamp that lost it and the stamp that got it");
    assert_eq!(moved.stamps[0].nodes, []);
    assert_eq!(state.owner(&"a1".parse().unwrap()).map(StampName::as_str), Some("a"));
    assert_eq!(state.version("stamps/a"), Some(Revision(1)));
    assert_eq!(state.version("nodes/n1"), Some(Revision(2)));
}

#[test]
fn the_moves_of_a_registry_are_told_apart_from_those_of_a_longer_name() {
    let mut state = State::new("local".parse().unwrap());
    for (id, ended) in [("con.9", true), ("con.10", false), ("con-2.44", false), ("con2.1", false)] {
        let at = if ended { MigrationState::Done } else { MigrationState::Draining };
        state.apply(Revision(1), vec![put(Record::Migration(migration(id, at)))]);
    }
    let of = |registry: &str| registry.parse::<RegistryName>().unwrap();
    let ids = |found: Option<&Versioned<Migration>>| found.map(|migration| migration.value.id.clone());
    assert_eq!(ids(state.last_move_of(&of("con"))).as_deref(), Some("con.10"));
    assert_eq!(ids(state.move_of(&of("con"))).as_deref(), Some("con.10"));
    assert_eq!(ids(state.last_move_of(&of("con-2"))).as_deref(), Some("con-2.44"));
    assert_eq!(state.moving().count(), 3);
    let ended = Record::Migration(migration("con.10", MigrationState::Aborted));
    state.apply(Revision(2), vec![put(ended)]);
    assert!(state.move_of(&of("con")).is_none());
}
