//! Every plan that is made passes; every plan that is changed does not, and for the right reason.

use super::*;
use crate::chance::Chance;
use crate::testing::{Model, NOW, Uses, fleet, many};
use crate::{Interval, LastMove, PhaseKind, plan};

fn random_fleet(seed: u64) -> Fleet {
    let mut chance = Chance::of(&[seed, 5]);
    let mut between = |low: f64, high: f64| low + (high - low) * chance.part();
    let names = ["a", "b", "c", "iso-1"];
    let mut stamps = Vec::new();
    for name in names {
        let nodes = between(6.0, 14.0) as usize;
        let count = if name == "iso-1" { 0 } else { between(8.0, 30.0) as usize };
        let flows = if name == "a" { between(120.0, 330.0) } else { between(20.0, 160.0) };
        let mut registries = many(&format!("ten-{name}"), count, flows, 0.0085 * nodes as f64 / 12.0);
        if name == "a" {
            registries.push(Uses::new("customer-1", between(5.0, 60.0), 0.008));
            registries.push(Uses::new("customer-2", between(1.0, 20.0), 0.008));
            registries.push(Uses::new("customer-idle", 0.02, 0.008));
        }
        stamps.push(Model { name, nodes, registries, lean: if between(0.0, 1.0) < 0.1 { 1.0 } else { 0.0 } });
    }
    let mut fleet = fleet(&stamps, [seed, 0]);
    for at in 0..fleet.registries.len() {
        let registry = &mut fleet.registries[at];
        let dice = between(0.0, 1.0);
        if dice < 0.05 {
            registry.pinned = Some("by bob".into());
        } else if dice < 0.10 {
            let ago = between(0.0, 20.0 * 86_400.0) as u64;
            registry.last_move = Some(LastMove { at: NOW - ago, from: names[at % 4].parse().unwrap() });
        } else if dice < 0.13 && registry.name.as_str() != "ten-a00" {
            registry.keep_apart = vec!["ten-a00".parse().unwrap()];
        }
    }
    for stamp in &mut fleet.stamps {
        let dice = between(0.0, 1.0);
        stamp.held = (dice < 0.04).then(|| "rollout".into());
        for bin in 0..(between(0.0, 60.0) as usize) {
            let silent = between(0.0, 1.0) < 0.2;
            if silent {
                stamp.pools[0].nodes[0].bins[bin * 10] = None;
            }
        }
    }
    fleet
}

fn goals() -> [Goal; 4] {
    let name = |name: &str| name.parse().unwrap();
    [
        Goal::Balance,
        Goal::Relieve { stamp: name("a"), to: vec![name("b"), name("c")], p95: Some(0.3) },
        Goal::Isolate { tenant: "customer".into(), from: Vec::new(), to: name("iso-1") },
        Goal::Move { registries: vec!["customer-2".parse().unwrap()], to: name("b") },
    ]
}

#[test]
fn every_plan_for_random_fleets_passes() {
    let policy = Policy::default();
    let (mut moved, mut plans) = (0, 0);
    for seed in 0..6 {
        let fleet = random_fleet(seed);
        for goal in goals() {
            let plan = plan(&fleet, &policy, &goal, seed).unwrap();
            let violations = check(&fleet, &policy, &plan);
            assert!(violations.is_empty(), "seed {seed}, {goal:?}: {violations:#?}\n{plan:#?}");
            plans += 1;
            moved += usize::from(!plan.moves.is_empty());
        }
    }
    println!("{moved} of {plans} plans move something");
    assert!(moved * 3 > plans, "{moved} of {plans} plans move something: too few to show anything");
}

fn isolation() -> (Fleet, Plan) {
    let mut registries = many("ten-a", 20, 130.0, 0.0085);
    for (at, flows) in [40.0, 20.0, 1.5, 1.0, 0.8].into_iter().enumerate() {
        registries.push(Uses::new(&format!("customer-{at}"), flows, 0.0085));
    }
    registries.push(Uses::new("customer-idle1", 0.02, 0.0085));
    registries.push(Uses::new("customer-idle2", 0.01, 0.0085));
    let a = Model { name: "a", nodes: 12, registries, lean: 0.0 };
    let iso = Model { name: "iso-1", nodes: 10, registries: Vec::new(), lean: 0.0 };
    let b = Model { name: "b", nodes: 10, registries: many("ten-b", 10, 50.0, 0.008), lean: 0.0 };
    let fleet = fleet(&[a, b, iso], [3, 0]);
    let goal = Goal::Isolate { tenant: "customer".into(), from: Vec::new(), to: "iso-1".parse().unwrap() };
    let plan = plan(&fleet, &Policy::default(), &goal, 3).unwrap();
    assert_eq!(plan.phases.len(), 4, "{plan:#?}");
    assert_eq!(check(&fleet, &Policy::default(), &plan), []);
    (fleet, plan)
}

/// What is found in a plan that was changed and sealed again, so that its hash does not give it away.
fn found(fleet: &Fleet, plan: &Plan, with: impl FnOnce(&mut Plan)) -> Vec<Promise> {
    let mut plan = plan.clone();
    with(&mut plan);
    let plan = plan.seal();
    check(fleet, &Policy::default(), &plan).into_iter().map(|violation| violation.promise).collect()
}

#[test]
fn an_edited_plan_is_refused_by_its_hash() {
    let (fleet, plan) = isolation();
    let edits: [fn(&mut Plan); 4] = [
        |plan| plan.moves[0].to = "b".parse().unwrap(),
        |plan| plan.phases[0].observe_seconds = 1,
        |plan| plan.expires += 1,
        |plan| plan.id = "p-000000000000".into(),
    ];
    for edit in edits {
        let mut plan = plan.clone();
        edit(&mut plan);
        let violations = check(&fleet, &Policy::default(), &plan);
        assert_eq!(violations[0].promise, Promise::Unedited, "{violations:?}");
    }
}

#[test]
fn a_stale_plan_is_refused() {
    let (mut fleet, plan) = isolation();
    let later = Policy { hot: 0.41, ..Policy::default() };
    let violations = check(&fleet, &later, &plan);
    assert_eq!(violations[0].promise, Promise::Fresh);
    fleet.revision.0 += 1;
    let violations = check(&fleet, &Policy::default(), &plan);
    assert!(violations[0].to_string().contains("revision 18231, this is 18232"), "{violations:?}");
}

#[test]
fn a_forged_plan_is_refused_for_what_is_wrong_with_it() {
    let (fleet, plan) = isolation();
    type Forgery = (Promise, Box<dyn Fn(&mut Plan)>);
    let forgeries: Vec<Forgery> = vec![
        (Promise::Moves, Box::new(|plan| plan.moves[0].registry = "ten-a00".parse().unwrap())),
        (Promise::Moves, Box::new(|plan| plan.moves[0].to = "b".parse().unwrap())),
        (Promise::Moves, Box::new(|plan| plan.moves[0].to = "nowhere".parse().unwrap())),
        (Promise::Moves, Box::new(|plan| plan.moves[0].from = "b".parse().unwrap())),
        (Promise::Moves, Box::new(|plan| plan.moves.push(plan.moves[0].clone()))),
        (Promise::Phases, Box::new(|plan| plan.phases.swap(0, 3))),
        (Promise::Phases, Box::new(|plan| plan.phases[3].observe_seconds = 86_400)),
        (Promise::Phases, Box::new(|plan| drop(plan.phases.pop()))),
        (Promise::Phases, Box::new(|plan| plan.phases[1].kind = PhaseKind::Idle)),
        (
            Promise::Phases,
            Box::new(|plan| {
                let last = plan.phases.pop().unwrap();
                let before = plan.phases.last_mut().unwrap();
                before.registries.extend(last.registries);
            }),
        ),
        (
            Promise::Figures,
            Box::new(|plan| {
                let after = Interval { median: 0.05, lo: 0.04, hi: 0.06 };
                plan.predictions.iter_mut().for_each(|one| one.after = after);
            }),
        ),
        (Promise::Figures, Box::new(|plan| plan.before[0].signal.as_mut().unwrap().p95 = 0.9)),
        (Promise::Figures, Box::new(|plan| drop(plan.predictions.pop()))),
        (Promise::Figures, Box::new(|plan| plan.moves[4].share = 0.001)),
        (
            Promise::Rules,
            Box::new(|plan| {
                plan.predictions
                    .iter_mut()
                    .filter(|one| one.stamp.as_str() == "iso-1")
                    .for_each(|one| one.after.hi = 0.46);
            }),
        ),
        (
            Promise::Rules,
            Box::new(|plan| {
                plan.predictions
                    .iter_mut()
                    .filter(|one| one.stamp.as_str() == "iso-1")
                    .for_each(|one| one.node_lost = 0.8);
            }),
        ),
        (Promise::Complete, Box::new(|plan| plan.rejected.clear())),
    ];
    for (at, (promise, forge)) in forgeries.into_iter().enumerate() {
        let found = found(&fleet, &plan, forge);
        assert!(found.contains(&promise), "forgery {at}: {promise:?} is not in {found:?}");
    }
    assert_eq!(found(&fleet, &plan, |_| ()), []);
}

#[test]
fn a_plan_that_a_rule_has_come_to_forbid_is_refused() {
    let (base, plan) = isolation();
    type Change = Box<dyn Fn(&mut Fleet)>;
    let changes: Vec<Change> = vec![
        Box::new(|fleet| fleet.registries.iter_mut().for_each(|one| one.pinned = Some("now".into()))),
        Box::new(|fleet| fleet.stamps[0].held = Some("incident".into())),
        Box::new(|fleet| fleet.stamps[2].state = dataproxy_router_api::StampState::Cordoned),
        Box::new(|fleet| fleet.stamps[2].pools[0].nodes[0].bins[..100].fill(None)),
        Box::new(|fleet| fleet.accounts[0].egress_bytes_per_second = Some(1e8)),
        Box::new(|fleet| {
            fleet.registries[0].last_move = Some(LastMove { at: NOW - 5, from: "iso-1".parse().unwrap() })
        }),
    ];
    for (at, change) in changes.into_iter().enumerate() {
        let mut fleet = base.clone();
        change(&mut fleet);
        let violations = check(&fleet, &Policy::default(), &plan);
        assert!(violations.iter().any(|one| one.promise == Promise::Rules), "change {at}: {violations:#?}");
    }
}
