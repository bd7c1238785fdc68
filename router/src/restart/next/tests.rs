use super::*;
use crate::restart::RestartTerms;

fn at(seconds: u64) -> UnixMillis {
    UnixMillis(1_000_000 + seconds * 1000)
}

fn restart(turns: &[(&str, Turn, u64)]) -> Restart {
    let turn = |(name, turn, since): &(&str, Turn, u64)| NodeTurn {
        name: name.parse().unwrap(),
        before: Incarnation(1),
        turn: *turn,
        since: at(*since),
    };
    Restart {
        stamp: "a".parse().unwrap(),
        number: 1,
        state: RestartState::Running,
        terms: RestartTerms { deadline_seconds: 60, back_seconds: 100, ..RestartTerms::default() },
        paused: None,
        nodes: turns.iter().map(turn).collect(),
        began: at(0),
        ended: None,
        story: Vec::new(),
    }
}

/// A node that serves, as its process of this number.
fn serving(name: &str, process: u64) -> Seen {
    Seen {
        name: name.parse().unwrap(),
        role: Role::All,
        incarnation: Incarnation(process),
        state: NodeState::Ready,
        intent: Intent::Serve,
        is_live: true,
        acknowledges: true,
    }
}

fn draining(name: &str) -> Seen {
    let intent = Intent::Drain { incarnation: Incarnation(1), deadline_seconds: 60 };
    Seen { intent, state: NodeState::Draining, ..serving(name, 1) }
}

fn gone(name: &str) -> Seen {
    Seen { state: NodeState::Gone, is_live: false, ..draining(name) }
}

fn name(name: &str) -> NodeName {
    name.parse().unwrap()
}

#[track_caller]
fn waits(step: &Step, words: &str) {
    assert!(matches!(step, Step::Waits(why) if why.contains(words)), "{words}: {step:?}");
}

#[track_caller]
fn pauses(step: &Step, words: &str) {
    assert!(matches!(step, Step::Pause(why) if why.contains(words)), "{words}: {step:?}");
}

#[test]
fn nodes_drain_in_turn_and_the_next_one_waits_until_the_one_before_serves_and_clients_have_found_it() {
    use Turn::{Away, Back, Draining, Waiting};
    let both = [serving("a1", 1), serving("a2", 1)];
    let begun = restart(&[("a1", Waiting, 0), ("a2", Waiting, 0)]);
    assert_eq!(next(&begun, &both, None, at(1)), Step::Drain(name("a1")));

    let drains = restart(&[("a1", Draining, 1), ("a2", Waiting, 0)]);
    waits(&next(&drains, &[draining("a1"), serving("a2", 1)], None, at(9)), "node a1 drains, for 8 s");
    // Its end shows by silence, or by the process after it.
    for after in [gone("a1"), Seen { state: NodeState::Joining, ..serving("a1", 2) }] {
        assert_eq!(next(&drains, &[after, serving("a2", 1)], None, at(9)), Step::Left(name("a1")));
    }

    let away = restart(&[("a1", Away, 9), ("a2", Waiting, 0)]);
    waits(&next(&away, &[gone("a1"), serving("a2", 1)], None, at(12)), "a1 is not started again, 3 s after");
    let joins = Seen { state: NodeState::Joining, ..serving("a1", 2) };
    waits(&next(&away, &[joins, serving("a2", 1)], None, at(12)), "a1 is joining");
    let unknowing = Seen { acknowledges: false, ..serving("a1", 2) };
    waits(&next(&away, &[unknowing, serving("a2", 1)], None, at(12)), "does not yet work from the revision");
    let serves = [serving("a1", 2), serving("a2", 1)];
    assert!(matches!(next(&away, &serves, None, at(12)), Step::Back { node, .. } if node == name("a1")));

    let back = restart(&[("a1", Back, 12), ("a2", Waiting, 0)]);
    waits(&next(&back, &serves, None, at(21)), "node a1 serves for 10 s before");
    assert_eq!(next(&back, &serves, None, at(22)), Step::Drain(name("a2")));
    let done = restart(&[("a1", Back, 12), ("a2", Back, 40)]);
    assert_eq!(next(&done, &[serving("a1", 2), serving("a2", 2)], None, at(40)), Step::Finish);
}

#[test]
fn a_node_that_does_not_end_or_does_not_come_back_in_time_pauses_the_restart_and_is_named() {
    let drains = restart(&[("a1", Turn::Draining, 0), ("a2", Turn::Waiting, 0)]);
    let nodes = [draining("a1"), serving("a2", 1)];
    waits(&next(&drains, &nodes, None, at(179)), "drains");
    pauses(&next(&drains, &nodes, None, at(180)), "node a1 has not ended within 180 s");
    let away = restart(&[("a1", Turn::Away, 0), ("a2", Turn::Waiting, 0)]);
    let nodes = [gone("a1"), serving("a2", 1)];
    waits(&next(&away, &nodes, None, at(99)), "not started again");
    pauses(
        &next(&away, &nodes, None, at(100)),
        "a1 does not serve again within 100 s: it is not started again",
    );
    let kept = [serving("a1", 1), serving("a2", 1)];
    pauses(&next(&drains, &kept, None, at(3)), "a1 was told to stay while it drained");
    let paused = Restart { paused: Some("look".into()), ..away };
    waits(&next(&paused, &nodes, None, at(200)), "paused: look");
}

#[test]
fn no_node_drains_beyond_what_may_be_out_nor_while_a_registry_moves() {
    let begun = restart(&[("a1", Turn::Waiting, 0), ("a2", Turn::Waiting, 0), ("a3", Turn::Waiting, 0)]);
    let three = |third: Seen| [serving("a1", 1), serving("a2", 1), third];
    waits(&next(&begun, &three(serving("a3", 1)), Some("contoso.4"), at(1)), "move contoso.4 has to end");
    // Whatever takes a node out of rotation counts.
    let cordoned = Seen { intent: Intent::Cordon, ..serving("a3", 1) };
    for out in [cordoned.clone(), gone("a3"), Seen { is_live: false, ..serving("a3", 1) }] {
        waits(&next(&begun, &three(out), None, at(1)), "a3 is out of rotation already");
    }
    let first = [Seen { intent: Intent::Cordon, ..serving("a1", 1) }, serving("a2", 1), serving("a3", 1)];
    waits(&next(&begun, &first, None, at(1)), "node a1 is cordoned; it has its turn once it is in rotation");
    let two = Restart { terms: RestartTerms { max_unavailable: 2, ..begun.terms }, ..begun.clone() };
    assert_eq!(next(&two, &three(cordoned), None, at(1)), Step::Drain(name("a1")));
    // Two at a time: the second drains beside the first.
    let beside = restart(&[("a1", Turn::Draining, 0), ("a2", Turn::Waiting, 0), ("a3", Turn::Waiting, 0)]);
    let beside = Restart { terms: two.terms, ..beside };
    let nodes = [draining("a1"), serving("a2", 1), serving("a3", 1)];
    assert_eq!(next(&beside, &nodes, None, at(1)), Step::Drain(name("a2")));
}

#[test]
fn the_last_node_that_serves_manifests_or_blobs_is_never_asked_to_drain() {
    let begun = restart(&[("a1", Turn::Waiting, 0)]);
    let begun = Restart { terms: RestartTerms { max_unavailable: 3, ..begun.terms }, ..begun };
    let with = |role, other| {
        [Seen { role, ..serving("a1", 1) }, Seen { role: other, ..serving("a2", 1) }, gone("a3")]
    };
    let only = |role, other| next(&begun, &with(role, other), None, at(1));
    waits(&only(Role::Registry, Role::Dataproxy), "only one in rotation that serves manifests");
    waits(&only(Role::Dataproxy, Role::Registry), "only one in rotation that serves blobs");
    waits(&only(Role::All, Role::Registry), "only one in rotation that serves blobs");
    assert_eq!(only(Role::Registry, Role::All), Step::Drain(name("a1")));
}

#[test]
fn a_node_that_started_again_by_itself_has_had_its_turn_and_one_that_was_forgotten_needs_none() {
    let begun = restart(&[("a1", Turn::Waiting, 0)]);
    assert_eq!(next(&begun, &[serving("a1", 2)], None, at(1)), Step::Left(name("a1")));
    assert!(matches!(next(&begun, &[], None, at(1)), Step::Back { how, .. } if how.contains("forgotten")));
}
