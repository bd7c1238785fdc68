use std::collections::BTreeMap;

use dataproxy_router_api::Incarnation;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::super::tests::{World, moving, report, steer};
use super::super::{Command, Verb, Wish};
use super::*;
use crate::restart::{Seen, next};

fn begin(max_unavailable: u32) -> Command {
    let terms = RestartTerms { max_unavailable, ..RestartTerms::default() };
    Command::Restart { stamp: "a".parse().unwrap(), terms }
}

fn verb(verb: RestartVerb) -> Command {
    Command::SteerRestart { stamp: "a".parse().unwrap(), verb }
}

fn reports(world: &mut World, node: &str, process: u64, state: NodeState) {
    let mut report = report(node, "a", process);
    report.node.state = state;
    world.done(Command::Reported(Box::new(report)));
}

/// Stamp `a` with this many nodes, `a-1` and on.
fn with_nodes(count: usize) -> World {
    let mut world = World::new();
    for number in 2..=count {
        reports(&mut world, &format!("a-{number}"), 1, NodeState::Ready);
    }
    world
}

fn node(name: &str, wish: Wish) -> Command {
    Command::Node { name: name.parse().unwrap(), wish }
}

#[test]
fn a_restart_that_would_leave_nobody_to_serve_or_could_never_end_is_refused() {
    with_nodes(1).refused(begin(1), "max-unavailable", "has 1 nodes in rotation");
    let mut world = with_nodes(3);
    world.refused(begin(0), "max-unavailable", "1 and more are right");
    world.refused(begin(3), "max-unavailable", "at most 2 is right");
    world.done(node("a-2", Wish::Cordon));
    world.refused(begin(1), "node-in-rotation", "node a-2 of stamp a is cordoned");
    world.done(node("a-2", Wish::Uncordon));
    world.done(moving("b"));
    world.refused(begin(1), "moving", "contoso moves from a to b (contoso.1)");
    world.done(steer("contoso.1", Verb::Abort));
    world.done(Command::Silent { name: "a-3".parse().unwrap() });
    world.refused(begin(1), "node-gone", "a-3 of stamp a is gone");
    world.done(Command::ForgetNode { name: "a-3".parse().unwrap() });
    let nowhere = Command::Restart { stamp: "z".parse().unwrap(), terms: RestartTerms::default() };
    world.refused(nowhere, "stamp", "there is no stamp z");
    let begun = world.done(begin(1));
    assert_eq!(begun.done, "restarts stamp a: a-1, a-2, with at most 1 out of rotation at a time");
    assert!(world.done(begin(1)).is_nothing(), "what is asked twice is done once");
}

#[test]
fn no_registry_moves_to_a_stamp_that_restarts_and_any_may_leave_it() {
    let mut world = with_nodes(2);
    world.done(begin(1));
    world.done(moving("b"));
    world.done(steer("contoso.1", Verb::Step(crate::migration::Progress::Switch)));
    world.done(steer("contoso.1", Verb::Step(crate::migration::Progress::Drained { left: None })));
    world.done(steer("contoso.1", Verb::Finish));
    world.refused(moving("a"), "restarting", "stamp a is being restarted");
    world.done(verb(RestartVerb::Abort));
    world.done(moving("a"));
}

#[test]
fn a_drain_of_a_restart_is_asked_of_the_process_that_was_there_when_it_began() {
    let mut world = with_nodes(2);
    world.done(begin(1));
    let first: NodeName = "a-1".parse().unwrap();
    let drain = verb(RestartVerb::Step(Step::Drain(first.clone())));
    world.done(drain.clone());
    let intent = world.state.node(&first).unwrap().value.node.intent;
    assert_eq!(intent, Intent::Drain { incarnation: Incarnation(1), deadline_seconds: 1800 });
    world.refused(drain, "restart-state", "is not where the step was made for");
    // The process after it is asked for nothing.
    reports(&mut world, "a-1", 2, NodeState::Ready);
    assert!(world.state.node(&first).unwrap().value.node.in_rotation());
    world.refused(verb(RestartVerb::Step(Step::Finish)), "restart-state", "");
}

#[test]
fn an_abort_asks_no_further_node_and_a_pause_gives_who_is_out_its_whole_time_again() {
    let mut world = with_nodes(2);
    world.done(begin(1));
    world.done(verb(RestartVerb::Step(Step::Drain("a-1".parse().unwrap()))));
    world.done(verb(RestartVerb::Step(Step::Pause("a-1 is late".into()))));
    let of = |world: &World| world.state.restart(&"a".parse().unwrap()).unwrap().value.clone();
    assert_eq!(of(&world).paused.as_deref(), Some("a-1 is late"));
    world.now.0 += 5_000_000;
    world.done(verb(RestartVerb::Resume));
    let resumed = of(&world);
    assert_eq!((resumed.paused, resumed.nodes[0].since), (None, world.now));
    world.done(verb(RestartVerb::Abort));
    assert_eq!(of(&world).state, RestartState::Aborted);
    assert!(world.done(verb(RestartVerb::Step(Step::Finish))).is_nothing());
    world.refused(verb(RestartVerb::Resume), "restart-state", "is aborted; begin another");
    // The next one is another.
    reports(&mut world, "a-1", 2, NodeState::Ready);
    world.done(begin(1));
    assert_eq!(of(&world).number, 2);
}

/// Nodes that die, are slow, are forgotten to acknowledge: a restart takes no more out than it may, and ends.
#[test]
fn whatever_nodes_do_a_restart_takes_no_more_out_than_it_may_and_comes_to_its_end() {
    let seeds = std::env::var("DATAPROXY_SEEDS").ok().and_then(|text| text.parse().ok()).unwrap_or(300);
    for seed in 0..seeds {
        println!("seed {seed}");
        story(seed);
    }
}

fn story(seed: u64) {
    let mut random = StdRng::seed_from_u64(seed);
    let count = random.random_range(2..=6);
    let mut world = with_nodes(count);
    let stamp: StampName = "a".parse().unwrap();
    let max = random.random_range(1..count);
    world.done(begin(u32::try_from(max).unwrap()));
    let mut processes: BTreeMap<String, u64> = (1..=count).map(|number| (format!("a-{number}"), 1)).collect();
    for tick in 0..5_000_u64 {
        world.now.0 += 1000;
        for (name, process) in &mut processes {
            let record = world.state.node(&name.parse::<NodeName>().unwrap()).unwrap().value.clone();
            let is_calm = tick > 500;
            match record.node.state {
                NodeState::Ready if record.node.intent != Intent::Serve && random.random_ratio(1, 3) => {
                    reports(&mut world, name, *process, NodeState::Draining);
                }
                NodeState::Ready if !is_calm && random.random_ratio(1, 200) => {
                    world.done(Command::Silent { name: name.parse().unwrap() });
                }
                NodeState::Draining if random.random_ratio(1, 10) => {
                    world.done(Command::Silent { name: name.parse().unwrap() });
                }
                NodeState::Gone if random.random_ratio(1, if is_calm { 5 } else { 60 }) => {
                    *process += 1;
                    reports(&mut world, name, *process, NodeState::Joining);
                }
                NodeState::Joining if random.random_ratio(1, 5) => {
                    reports(&mut world, name, *process, NodeState::Ready);
                }
                _ => {}
            }
        }
        let restart = world.state.restart(&stamp).unwrap().value.clone();
        if restart.state.has_ended() {
            let began_with = |turn: &NodeTurn| processes[turn.name.as_str()] > turn.before.0;
            assert!(restart.nodes.iter().all(began_with), "a node was left out: {restart:?}");
            return;
        }
        if restart.paused.is_some() {
            assert!(restart.story.last().unwrap().what.contains("node a-"), "it says which: {restart:?}");
            world.done(verb(RestartVerb::Resume));
        }
        let seen: Vec<Seen> = world
            .state
            .nodes_of(&stamp)
            .map(|record| Seen {
                name: record.value.node.name.clone(),
                role: record.value.node.role,
                incarnation: record.value.incarnation,
                state: record.value.node.state,
                intent: record.value.node.intent,
                is_live: record.value.node.state != NodeState::Gone,
                acknowledges: random.random_ratio(2, 3),
            })
            .collect();
        let step = next(&world.state.restart(&stamp).unwrap().value, &seen, None, world.now);
        let drains = matches!(step, Step::Drain(_));
        world.done(verb(RestartVerb::Step(step)));
        let out = world.state.nodes_of(&stamp).filter(|record| !record.value.node.in_rotation()).count();
        assert!(!drains || (out <= max && out < count), "{out} of {count} are out, and {max} may be");
    }
    panic!("it never ended: {:?}", world.state.restart(&stamp));
}
