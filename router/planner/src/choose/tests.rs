//! Goals, and what is planned for them.

use super::*;
use crate::predict;
use crate::signal::Status;
use crate::testing::{Model, NOW, Uses, fleet, many};
use crate::{LastMove, PhaseKind, StampKind};
use dataproxy_router_api::{RegistryName, StampName, StampState};

/// A hot stamp with a few large registries and many small ones.
fn hot(name: &'static str, lean: f64) -> Model {
    let mut registries = many(&format!("ten-{name}"), 25, 200.0, 0.0085);
    registries.push(Uses::new(&format!("big-{name}1"), 60.0, 0.0085));
    registries.push(Uses::new(&format!("big-{name}2"), 40.0, 0.0085));
    Model { name, nodes: 12, registries, lean }
}

/// A stamp that does little.
fn cool(name: &'static str) -> Model {
    Model { name, nodes: 12, registries: many(&format!("ten-{name}"), 20, 60.0, 0.008), lean: 0.0 }
}

fn registry(name: &str) -> RegistryName {
    name.parse().unwrap()
}

fn stamp(name: &str) -> StampName {
    name.parse().unwrap()
}

fn planned(fleet: &Fleet, goal: &Goal) -> Plan {
    plan(fleet, &Policy::default(), goal, 1).unwrap()
}

fn change(fleet: &mut Fleet, name: &str, with: impl FnOnce(&mut crate::Registry)) {
    with(fleet.registries.iter_mut().find(|one| one.name.as_str() == name).unwrap());
}

fn p95(plan: &Plan, name: &str) -> f64 {
    let before = plan.before.iter().find(|before| before.stamp.as_str() == name).unwrap();
    before.signal.as_ref().unwrap().p95
}

#[test]
fn a_hot_stamp_gives_what_brings_it_to_the_goal_to_a_cool_one() {
    let fleet = fleet(&[hot("a", 0.0), cool("b"), cool("c")], [1, 0]);
    let plan = planned(&fleet, &Goal::Balance);
    assert!(p95(&plan, "a") > 0.4, "{}", p95(&plan, "a"));
    assert!(!plan.moves.is_empty() && plan.refusals.is_empty(), "{plan:#?}");
    let policy = Policy::default();
    for prediction in &plan.predictions {
        let limit = if prediction.stamp.as_str() == "a" { policy.goal + 0.02 } else { policy.destination };
        assert!(prediction.after.hi <= limit, "{prediction:?}");
        assert!(
            prediction.after.lo <= prediction.after.median && prediction.after.median <= prediction.after.hi
        );
    }
    // Everything at home there is either moved or rejected for every destination.
    let a = stamp("a");
    for known in fleet.registries.iter().filter(|one| one.home_stamp == a) {
        for to in ["b", "c"] {
            let moved = plan.moves.iter().any(|one| one.registry == known.name && one.to == stamp(to));
            let rejected = plan.rejected.iter().any(|one| {
                one.registries.contains(&known.name) && one.to.as_ref().is_none_or(|at| *at == stamp(to))
            });
            assert!(moved != rejected, "{} to {to}", known.name);
        }
    }
}

#[test]
fn the_same_input_gives_the_same_plan_hash_and_all() {
    let fleet = fleet(&[hot("a", 0.0), cool("b")], [2, 0]);
    let (one, other) = (planned(&fleet, &Goal::Balance), planned(&fleet, &Goal::Balance));
    assert_eq!(one, other);
    assert_eq!(one.hash, one.expected_hash());
    let reread: Fleet = serde_json::from_str(&serde_json::to_string(&fleet).unwrap()).unwrap();
    assert_eq!(planned(&reread, &Goal::Balance).hash, one.hash);
    let other = plan(&fleet, &Policy { hot: 0.41, ..Policy::default() }, &Goal::Balance, 1).unwrap();
    assert_ne!(other.inputs_digest, one.inputs_digest);
}

#[test]
fn a_fleet_that_is_cool_is_left_alone_though_it_had_a_spike() {
    let mut fleet = fleet(&[cool("a"), cool("b")], [3, 0]);
    fleet.stamps[0].pools[0].nodes[3].bins[400].as_mut().unwrap().busy = 0.96;
    for goal in [Goal::Balance, Goal::Relieve { stamp: stamp("a"), to: Vec::new(), p95: None }] {
        let plan = planned(&fleet, &goal);
        assert!(plan.moves.is_empty() && plan.rejected.is_empty());
        let [Recommendation::DoNothing { why }] = &plan.recommendations[..] else { panic!("{plan:#?}") };
        assert!(why.contains("96.0 %") && why.contains("spike"), "{why}");
    }
}

#[test]
fn a_stamp_is_hot_only_once_it_was_for_three_of_five_windows() {
    let mut fleet = fleet(&[hot("a", 0.0), cool("b")], [1, 0]);
    fleet.stamps[0].pools[0].past_p95 = vec![0.5, 0.5, 0.5, 0.2, 0.2, 0.5, 0.2];
    let calm = planned(&fleet, &Goal::Balance);
    let [Recommendation::DoNothing { why }] = &calm.recommendations[..] else { panic!("{calm:#?}") };
    assert!(why.contains("not been above"), "{why}");
    fleet.stamps[0].pools[0].past_p95 = vec![0.5, 0.5, 0.2, 0.2];
    assert!(!planned(&fleet, &Goal::Balance).moves.is_empty());
}

#[test]
fn what_would_only_move_the_problem_is_isolated_instead() {
    // One registry is most of the stamp, and the others are nearly as hot.
    let mut whale = Model { name: "a", nodes: 12, registries: many("ten-a", 25, 60.0, 0.0085), lean: 0.0 };
    whale.registries.push(Uses::new("whale-1", 260.0, 0.0085));
    let mut warm = cool("b");
    warm.registries = many("ten-b", 25, 180.0, 0.008);
    let fleet = fleet(&[whale, warm], [4, 0]);
    let plan = planned(&fleet, &Goal::Balance);
    assert!(plan.moves.is_empty(), "{:#?}", plan.moves);
    let [Recommendation::Isolate { registries, pools, .. }] = &plan.recommendations[..] else {
        panic!("{:#?}", plan.recommendations)
    };
    assert_eq!(registries, &[registry("whale-1")]);
    assert!(pools[0].nodes >= 8 && pools[0].node_lost <= 0.4, "{pools:?}");
    assert!(
        plan.rejected
            .iter()
            .any(|one| one.code == Code::TooHot && one.registries.contains(&registry("whale-1")))
    );
}

#[test]
fn neighbours_of_what_is_to_be_isolated_stay() {
    // Its neighbours could go, and would help by some points.
    let mut whale = Model { name: "a", nodes: 12, registries: many("ten-a", 25, 130.0, 0.0085), lean: 0.0 };
    whale.registries.push(Uses::new("whale-1", 280.0, 0.0085));
    let fleet = fleet(&[whale, cool("b")], [4, 0]);
    let plan = planned(&fleet, &Goal::Balance);
    assert!(plan.moves.is_empty(), "{:#?}", plan.moves);
    let [Recommendation::Isolate { registries, .. }] = &plan.recommendations[..] else {
        panic!("{:#?}", plan.recommendations)
    };
    assert_eq!(registries, &[registry("whale-1")]);
    let stays = plan.rejected.iter().find(|one| one.registries.contains(&registry("ten-a00"))).unwrap();
    assert!(stays.code == Code::NotNeeded && stays.words.contains("whale-1"), "{stays:?}");
    assert!(plan.notes.iter().any(|note| note.contains("until whale-1 is isolated")), "{:?}", plan.notes);
}

#[test]
fn a_node_that_gets_more_than_its_part_is_no_reason_to_move_anything() {
    let mut leaning = cool("a");
    leaning.registries = many("ten-a", 25, 130.0, 0.0085);
    leaning.lean = 2.0;
    let plan = planned(&fleet(&[leaning, cool("b")], [5, 0]), &Goal::Balance);
    assert!(p95(&plan, "a") > 0.4, "{}", p95(&plan, "a"));
    assert!(plan.moves.is_empty());
    let [Recommendation::SpreadConnections { p95: even, .. }] = &plan.recommendations[..] else {
        panic!("{:#?}", plan.recommendations)
    };
    assert!(*even < 0.34, "{even}");
}

#[test]
fn where_every_stamp_is_hot_capacity_is_missing() {
    let plan = planned(&fleet(&[hot("a", 0.0), hot("b", 0.0)], [6, 0]), &Goal::Balance);
    assert!(plan.moves.is_empty());
    let [Recommendation::AddCapacity { stamps, pools, .. }] = &plan.recommendations[..] else {
        panic!("{:#?}", plan.recommendations)
    };
    assert_eq!(stamps.len(), 2);
    assert!(pools.iter().all(|pool| pool.nodes > 12), "{pools:?}");
}

#[test]
fn what_only_has_to_wait_needs_no_nodes() {
    let base = fleet(&[hot("a", 0.0), cool("b")], [1, 0]);
    assert!(!planned(&base, &Goal::Balance).moves.is_empty());
    let rest = |fleet: &mut Fleet, ago: u64, from: &str| {
        let last = LastMove { at: NOW - ago, from: stamp(from) };
        let here = fleet.registries.iter_mut().filter(|one| one.home_stamp.as_str() == "a");
        here.for_each(|one| one.last_move = Some(last.clone()));
    };
    let day = 86_400;
    type Case = (&'static str, Box<dyn Fn(&mut Fleet)>);
    let cases: Vec<Case> = vec![
        ("look again in 6 days", Box::new(move |fleet| rest(fleet, day, "c"))),
        ("look again in 4 days", Box::new(move |fleet| rest(fleet, 10 * day, "b"))),
        (
            "look again in 12 h",
            Box::new(move |fleet| {
                change(fleet, "ten-b03", |one| {
                    one.last_move = Some(LastMove { at: NOW - day / 2, from: stamp("a") });
                })
            }),
        ),
        (
            "once b is no longer held (incident 7)",
            Box::new(|fleet| {
                fleet.stamps[1].held = Some("incident 7".into());
            }),
        ),
    ];
    for (when, spoil) in cases {
        let mut fleet = base.clone();
        spoil(&mut fleet);
        let plan = planned(&fleet, &Goal::Balance);
        assert!(plan.moves.is_empty(), "{when}");
        let [Recommendation::DoNothing { why }] = &plan.recommendations[..] else {
            panic!("{when}: {:#?}", plan.recommendations)
        };
        assert!(why.contains(when), "{why}");
    }
    // Where there is no room either, resting is not what is lacking.
    let mut full = fleet(&[hot("a", 0.0), hot("b", 0.0)], [6, 0]);
    rest(&mut full, day, "c");
    let plan = planned(&full, &Goal::Relieve { stamp: stamp("a"), to: Vec::new(), p95: None });
    assert!(matches!(plan.recommendations[..], [Recommendation::AddCapacity { .. }]), "{plan:#?}");
}

#[test]
fn a_hot_pool_without_a_whole_signal_is_named_with_what_is_missing() {
    let mut fleet = fleet(&[hot("a", 0.0), cool("b")], [1, 0]);
    fleet.stamps[0].pools[0].nodes[2].bins[300..350].fill(None);
    let plan = planned(&fleet, &Goal::Balance);
    assert!(plan.moves.is_empty());
    let [Recommendation::DoNothing { why }] = &plan.recommendations[..] else { panic!("{plan:#?}") };
    assert!(why.contains("a all") && why.contains("670 of 720"), "{why}");
    assert!(!why.contains("long enough"), "{why}");
}

#[test]
fn a_silent_hot_node_moves_nothing() {
    let mut fleet = fleet(&[hot("a", 0.0), cool("b")], [1, 0]);
    fleet.stamps[0].pools[0].nodes[2].bins[300..350].fill(None);
    let plan = planned(&fleet, &Goal::Relieve { stamp: stamp("a"), to: Vec::new(), p95: None });
    assert_eq!(plan.refusals[0].code, Code::NoSignal, "{plan:#?}");
    assert!(plan.refusals[0].words.contains("670 of 720"), "{:?}", plan.refusals);
    assert!(plan.moves.is_empty() && !plan.refusals[0].remedy.is_empty());
    let signal = plan.before[0].signal.as_ref().unwrap();
    assert!(matches!(signal.status, Status::Insufficient { .. }));
    // A destination without a signal gets nothing.
    fleet.stamps.swap(0, 1);
    let goal = Goal::Move { registries: vec![registry("ten-b00")], to: stamp("a") };
    assert_eq!(planned(&fleet, &goal).refusals[0].code, Code::NoSignal);
}

#[test]
fn figures_that_are_none_are_refused_by_name() {
    let mut fleet = fleet(&[hot("a", 0.0), cool("b")], [1, 0]);
    fleet.stamps[0].pools[0].nodes[2].bins[300].as_mut().unwrap().busy = 4.0;
    let goal = Goal::Relieve { stamp: stamp("a"), to: Vec::new(), p95: None };
    let refusals = planned(&fleet, &goal).refusals;
    assert!(
        refusals[0].words.contains("node a-02, bin") && refusals[0].words.contains("busy is 4"),
        "{refusals:?}"
    );
    change(&mut fleet, "ten-a00", |one| one.mean_flows = f64::NAN);
    let error = plan(&fleet, &Policy::default(), &goal, 1).unwrap_err();
    assert_eq!(error.to_string(), "registry ten-a00: mean_flows is NaN; it has to be 0 or more");
}

#[test]
fn each_rule_keeps_a_registry_where_it_is() {
    let base = fleet(&[hot("a", 0.0), cool("b")], [1, 0]);
    let goal = Goal::Move { registries: vec![registry("big-a1")], to: stamp("b") };
    assert_eq!(planned(&base, &goal).moves.len(), 1);
    let moved = |at, from: &str| Some(LastMove { at, from: stamp(from) });
    let day = 86_400;
    type Case = (Code, Box<dyn Fn(&mut Fleet)>);
    let cases: Vec<Case> = vec![
        (Code::Pinned, Box::new(|fleet| change(fleet, "big-a1", |one| one.pinned = Some("by alice".into())))),
        (
            Code::KeepApart,
            Box::new(|fleet| change(fleet, "ten-b03", |one| one.keep_apart = vec![registry("big-a1")])),
        ),
        (
            Code::Cooldown,
            Box::new(move |fleet| change(fleet, "big-a1", |one| one.last_move = moved(NOW - 6 * day, "c"))),
        ),
        (
            Code::MoveBack,
            Box::new(move |fleet| change(fleet, "big-a1", |one| one.last_move = moved(NOW - 13 * day, "b"))),
        ),
        (
            Code::PairCooldown,
            Box::new(move |fleet| change(fleet, "ten-a03", |one| one.last_move = moved(NOW - day / 2, "b"))),
        ),
        (Code::SourceHeld, Box::new(|fleet| fleet.stamps[0].held = Some("rollout".into()))),
        (Code::DestinationHeld, Box::new(|fleet| fleet.stamps[1].held = Some("incident".into()))),
        (Code::NotActive, Box::new(|fleet| fleet.stamps[1].state = StampState::Cordoned)),
        (Code::StorageEgress, Box::new(|fleet| fleet.accounts[0].egress_bytes_per_second = Some(5e8))),
        (
            Code::PoolsDiffer,
            Box::new(|fleet| fleet.stamps[1].pools[0].role = dataproxy_router_api::Role::Dataproxy),
        ),
        (
            Code::NodeLost,
            Box::new(|fleet| {
                let pool = &mut fleet.stamps[1].pools[0];
                pool.nodes.truncate(1);
                pool.shares.iter_mut().for_each(|share| share.busy.truncate(1));
                // One node that does nearly nothing, and is the only one.
                pool.nodes[0].cores = 2000.0;
            }),
        ),
        (
            Code::TooHot,
            Box::new(|fleet| {
                let pool = &mut fleet.stamps[1].pools[0];
                pool.nodes.truncate(2);
                pool.shares.iter_mut().for_each(|share| share.busy.truncate(2));
            }),
        ),
    ];
    for (code, spoil) in cases {
        let mut fleet = base.clone();
        spoil(&mut fleet);
        let plan = planned(&fleet, &goal);
        assert!(plan.moves.is_empty() && plan.phases.is_empty(), "{code:?}");
        assert_eq!(plan.refusals.first().map(|one| one.code), Some(code), "{:#?}", plan.refusals);
        assert!(!plan.refusals[0].words.is_empty() && !plan.refusals[0].remedy.is_empty());
    }
}

#[test]
fn a_tenant_leaves_in_phases_idle_then_medium_then_each_large_one() {
    let mut a = Model { name: "a", nodes: 12, registries: many("ten-a", 25, 130.0, 0.0085), lean: 0.0 };
    let shares = [0.42, 0.28, 0.17, 0.097, 0.012, 0.009, 0.008];
    for (at, share) in shares.into_iter().enumerate() {
        a.registries.push(Uses::new(&format!("customer-{at}"), 110.0 * share, 0.0085));
    }
    for at in 0..35 {
        a.registries.push(Uses::new(&format!("customer-idle{at:02}"), 0.01, 0.0085));
    }
    let iso = Model { name: "iso-1", nodes: 12, registries: Vec::new(), lean: 0.0 };
    let mut fleet = fleet(&[a, cool("b"), iso], [7, 0]);
    change(&mut fleet, "customer-3", |one| one.pinned = Some("by alice until the audit is over".into()));
    let goal = Goal::Isolate { tenant: "customer".into(), from: vec![stamp("a")], to: stamp("iso-1") };
    let plan = planned(&fleet, &goal);
    assert_eq!(fleet.stamps[2].kind, StampKind::Isolation);
    let kinds: Vec<_> = plan.phases.iter().map(|phase| (phase.kind, phase.registries.len())).collect();
    let expected = [(PhaseKind::Idle, 30), (PhaseKind::Idle, 5), (PhaseKind::Medium, 3)]
        .into_iter()
        .chain([(PhaseKind::Large, 1); 3]);
    assert_eq!(kinds, expected.collect::<Vec<_>>(), "{:#?}", plan.refusals);
    let large: Vec<_> = plan.phases[3..].iter().map(|phase| phase.registries[0].as_str()).collect();
    assert_eq!(large, ["customer-2", "customer-1", "customer-0"]);
    let hours: Vec<_> = plan.phases.iter().map(|phase| phase.observe_seconds / 3600).collect();
    assert_eq!(hours, [24, 24, 24, 48, 48, 48]);
    assert!(plan.rejected.iter().any(|one| one.code == Code::Pinned && one.words.contains("alice")));
    // Phase by phase the source gets cooler and the destination hotter.
    let after = |phase: &crate::Phase, name: &str| {
        phase.predictions.iter().find(|one| one.stamp.as_str() == name).unwrap().after.median
    };
    for pair in plan.phases.windows(2) {
        assert!(after(&pair[1], "a") <= after(&pair[0], "a") + 1e-6);
        assert!(after(&pair[1], "iso-1") >= after(&pair[0], "iso-1") - 0.003);
    }
    assert!(plan.phases.iter().any(|phase| !phase.warnings.is_empty()), "an empty stamp has proven nothing");
    assert!(plan.notes.iter().any(|note| note.contains("astore")), "{:?}", plan.notes);
}

#[test]
fn an_unmeasured_registry_is_never_taken_to_be_nothing() {
    let mut fleet = fleet(&[hot("a", 0.0), cool("b")], [1, 0]);
    let pool = &mut fleet.stamps[0].pools[0];
    pool.shares.retain(|share| share.registry.as_str() != "ten-a24");
    change(&mut fleet, "ten-a24", |one| one.measured = false);
    let moves = [(registry("ten-a24"), stamp("b"))];
    let predictions = predict(&fleet, &Policy::default(), &moves, 1).unwrap();
    let b = predictions.iter().find(|one| one.stamp.as_str() == "b").unwrap();
    // Nine of ten of a's registries cause less than this.
    assert!(b.avg_after > b.avg_before + 0.005, "{b:?}");
    let a = predictions.iter().find(|one| one.stamp.as_str() == "a").unwrap();
    assert!((a.avg_after - a.avg_before).abs() < 1e-6, "nothing is promised for what is not known: {a:?}");
    let plan = planned(&fleet, &Goal::Balance);
    assert!(
        plan.rejected
            .iter()
            .any(|one| one.code == Code::Unmeasured && one.registries == [registry("ten-a24")])
    );
}
