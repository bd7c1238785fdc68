use dataproxy_router_api::{Epoch, RegistryName, StampName};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tokio::time::Instant;

use super::*;
use crate::command::tests::{World, registry};
use crate::command::{Command, Verb};
use crate::execution::{Autonomy, ExecutionPolicy, PlannedMove, Reading, Verdict, advance};
use crate::fleet::Fleet;
use crate::migration::{Progress, Terms};
use crate::reconcile::{Guard, PlanSight};
use crate::record::PolicyRecord;

#[derive(Clone, Copy, Debug)]
struct Says(Option<Verdict>);

impl Guard for Says {
    fn readings(&self, _: &State, _: &Execution, _: usize) -> Vec<Reading> {
        let reading = |verdict| Reading {
            check: "p95".into(),
            verdict,
            seen: "41 %".into(),
            is_early: false,
            figures: None,
        };
        self.0.map(reading).into_iter().collect()
    }
}

/// Registries `r1` to `r4` at stamp a, and a plan that moves them to b: two, then one, then one.
fn world() -> World {
    let mut world = World::new();
    for name in ["r1", "r2", "r3", "r4"] {
        world.done(registry(name, "a"));
    }
    world
}

fn proposal(hash: &str) -> Proposal {
    let phase = |names: &[&str]| ProposedPhase {
        name: "phase".into(),
        moves: names
            .iter()
            .map(|name| (name.parse().unwrap(), "a".parse().unwrap(), "b".parse().unwrap()))
            .collect(),
        observe_seconds: 60,
    };
    Proposal {
        id: format!("p-{hash}"),
        hash: hash.into(),
        plan: serde_json::json!({ "goal": "less" }),
        phases: vec![phase(&["r1", "r2"]), phase(&["r3"]), phase(&["r4"])],
        expires: UnixMillis(u64::MAX),
    }
}

fn plan(verb: PlanVerb) -> Command {
    Command::Plan { id: "p-h".into(), verb }
}

fn approve() -> Command {
    plan(PlanVerb::Approve { hash: "h".into() })
}

fn apply() -> Command {
    plan(PlanVerb::Apply { hash: "h".into(), until_phase: None })
}

fn running() -> World {
    let mut world = world();
    world.done(policy(|policy| policy.autonomy = Autonomy::Execute));
    for command in [Command::Propose(Box::new(proposal("h"))), approve(), apply()] {
        world.done(command);
    }
    world
}

fn policy(change: impl Fn(&mut ExecutionPolicy)) -> Command {
    let mut execution = ExecutionPolicy::default();
    change(&mut execution);
    Command::PutPolicy(Box::new(PolicyRecord { execution, ..PolicyRecord::default() }))
}

fn execution(world: &World) -> &Execution {
    &world.state.execution("p-h").unwrap().value
}

fn home(world: &World, registry: &str) -> StampName {
    world.binding(registry).home_stamp
}

/// Takes one step of the plan, or of its move: as the leader would. Whether there was one.
fn lead(world: &mut World, guard: Option<Verdict>) -> bool {
    let moving = world.state.moving().map(|migration| migration.value.clone()).collect::<Vec<_>>();
    for migration in moving {
        let step = match migration.state {
            MigrationState::Preparing => Progress::Switch,
            MigrationState::Draining => Progress::Drained { left: None },
            _ => continue,
        };
        world.step(&migration.id, step);
        return true;
    }
    let step = {
        let fleet = Fleet::default();
        let guard = Says(guard);
        let sight = PlanSight {
            state: &world.state,
            fleet: &fleet,
            guard: &guard,
            now: Instant::now(),
            wall: world.now,
        };
        advance(execution(world), &Led(&sight), world.now)
    };
    if matches!(step, Advance::Waits(_)) {
        return false;
    }
    world.done(plan(PlanVerb::Step(step)));
    true
}

/// A sight without the reports of nodes, of which a world has none.
struct Led<'s>(&'s PlanSight<'s>);

impl crate::execution::Sight for Led<'_> {
    fn migration(&self, id: &str) -> Option<&crate::migration::Migration> {
        self.0.migration(id)
    }
    fn last_move(&self, registry: &RegistryName) -> Option<&crate::migration::Migration> {
        self.0.last_move(registry)
    }
    fn bound(&self, registry: &RegistryName) -> Option<(&StampName, Epoch)> {
        self.0.bound(registry)
    }
    fn in_the_way(&self, planned: &PlannedMove) -> Option<String> {
        self.0.in_the_way(planned)
    }
    fn held(&self) -> Option<String> {
        self.0.held()
    }
    fn gate(&self, execution: &Execution, phase: usize) -> Gate {
        Gate { readings: self.0.guard.readings(self.0.state, execution, phase) }
    }
}

fn lead_on(world: &mut World, guard: Option<Verdict>) {
    for _ in 0..100 {
        if !lead(world, guard) {
            return;
        }
    }
    panic!("it does not come to rest: {:?}", execution(world));
}

#[test]
fn a_plan_that_is_approved_and_applied_moves_its_registries_phase_by_phase_and_is_done() {
    let mut world = running();
    lead_on(&mut world, Some(Verdict::Pass));
    assert_eq!([home(&world, "r1"), home(&world, "r2")].map(|home| home.to_string()), ["b", "b"]);
    assert_eq!(home(&world, "r3").as_str(), "a", "the next phase waits for the first one's observation");
    for _ in 0..3 {
        world.now.0 += 60_000;
        lead_on(&mut world, Some(Verdict::Pass));
    }
    assert_eq!(execution(&world).state, ExecutionState::Done);
    for name in ["r1", "r2", "r3", "r4"] {
        assert_eq!((home(&world, name).as_str(), world.binding(name).epoch), ("b", Epoch(2)));
    }
    assert_eq!(world.state.moving().count(), 0, "its moves are final");
}

#[test]
fn in_review_a_plan_pauses_after_each_phase_until_somebody_lets_it_go_on() {
    let mut world = world();
    for command in [Command::Propose(Box::new(proposal("h"))), approve(), apply()] {
        world.done(command);
    }
    for registry in ["r3", "r4"] {
        lead_on(&mut world, Some(Verdict::Pass));
        world.now.0 += 60_000;
        lead_on(&mut world, Some(Verdict::Pass));
        let execution = execution(&world);
        assert_eq!(execution.state, ExecutionState::Paused, "{execution:?}");
        assert!(execution.paused.as_deref().unwrap().contains("asked to go no further"));
        assert_eq!(home(&world, registry).as_str(), "a");
        world.done(plan(PlanVerb::Resume { until_phase: None }));
    }
    lead_on(&mut world, Some(Verdict::Pass));
    world.now.0 += 60_000;
    lead_on(&mut world, Some(Verdict::Pass));
    assert_eq!(execution(&world).state, ExecutionState::Done);
}

#[test]
fn a_phase_whose_guard_fails_is_taken_back_and_the_phases_before_it_stay() {
    let mut world = running();
    lead_on(&mut world, Some(Verdict::Pass));
    world.now.0 += 60_000;
    lead_on(&mut world, Some(Verdict::Pass));
    assert_eq!(home(&world, "r3").as_str(), "b");
    lead_on(&mut world, Some(Verdict::Fail));
    assert_eq!(execution(&world).state, ExecutionState::Paused);
    assert_eq!([home(&world, "r1"), home(&world, "r3")].map(|home| home.to_string()), ["b", "a"]);
    assert!(execution(&world).story.iter().any(|entry| entry.what.contains("p95: 41 %")));
    world.done(plan(PlanVerb::Rollback { from_phase: None }));
    lead_on(&mut world, None);
    assert_eq!(execution(&world).state, ExecutionState::RolledBack);
    for name in ["r1", "r2", "r3", "r4"] {
        assert_eq!(home(&world, name).as_str(), "a", "{name}");
    }
}

#[test]
fn a_guard_that_cannot_tell_pauses_the_plan_until_somebody_lets_the_phase_pass() {
    let mut world = running();
    lead_on(&mut world, None);
    world.now.0 += 60_000;
    lead_on(&mut world, None);
    assert_eq!(execution(&world).state, ExecutionState::Paused);
    assert!(execution(&world).paused.as_deref().unwrap().contains("cannot tell"));
    world.done(plan(PlanVerb::Promote));
    lead_on(&mut world, None);
    assert_eq!(home(&world, "r3").as_str(), "b");
}

#[test]
fn a_plan_needs_its_approvals_for_its_own_hash_and_before_it_expires() {
    let mut world = world();
    world.done(policy(|policy| (policy.approvals, policy.proposer_may_approve) = (2, false)));
    world.done(Command::Propose(Box::new(proposal("h"))));
    world.refused(apply(), "approval", "0 of 2 approvals");
    world.refused(plan(PlanVerb::Approve { hash: "x".into() }), "plan-hash", "has the hash h");
    world.refused(approve(), "own-plan", "somebody else");
    for actor in ["bob", "bob", "eve"] {
        world.actor = actor.into();
        world.done(approve());
    }
    assert_eq!((execution(&world).approvals.len(), execution(&world).state), (2, ExecutionState::Approved));
    world.refused(plan(PlanVerb::Apply { hash: "x".into(), until_phase: None }), "plan-hash", "look again");
    world.refused(plan(PlanVerb::Apply { hash: "h".into(), until_phase: Some(4) }), "phase", "phases 1 to 3");
    world.now.0 += 6 * 3600 * 1000;
    world.refused(apply(), "expired", "plan anew");
    assert!(lead(&mut world, None));
    assert_eq!(execution(&world).state, ExecutionState::Expired);
}

#[test]
fn a_stale_plan_is_refused_with_what_has_changed() {
    let mut world = world();
    world.done(Command::Propose(Box::new(proposal("h"))));
    world.done(Command::Pin { registry: "r2".parse().unwrap(), stays: true });
    world.refused(approve(), "stale", "registry r2 was pinned by ada: because");
    world.done(Command::Pin { registry: "r2".parse().unwrap(), stays: false });
    world.done(approve());
    let to_b = Command::Move {
        registry: "r1".parse().unwrap(),
        to: "b".parse().unwrap(),
        if_epoch: None,
        terms: Terms::default(),
    };
    let id = world.done(to_b).migration.unwrap();
    world.step(&id, Progress::Switch);
    world.refused(apply(), "stale", "registry r1: a at epoch 1 → b at epoch 2");
    world.refused(Command::Propose(Box::new(proposal("h2"))), "stale", "r1 is with b and not with a");
}

#[test]
fn one_plan_runs_at_a_time_and_the_same_plan_is_handed_in_once() {
    let mut world = running();
    assert!(world.done(Command::Propose(Box::new(proposal("h")))).is_nothing());
    let mut other = proposal("h2");
    other.phases.remove(0);
    assert_eq!(world.done(Command::Propose(Box::new(other))).migration.as_deref(), Some("p-h2"));
    let second = |verb| Command::Plan { id: "p-h2".into(), verb };
    world.done(second(PlanVerb::Approve { hash: "h2".into() }));
    world.refused(
        second(PlanVerb::Apply { hash: "h2".into(), until_phase: None }),
        "one-plan",
        "plan p-h is running",
    );
}

#[test]
fn nothing_moves_while_frozen_and_what_moved_can_still_be_watched() {
    let mut world = running();
    world.done(Command::Freeze { holds: true, until: None });
    lead_on(&mut world, None);
    assert_eq!(home(&world, "r1").as_str(), "a");
    let contoso = crate::command::tests::moving("b");
    world.refused(contoso, "freeze", "frozen by ada: because");
    world.done(Command::Freeze { holds: false, until: None });
    lead_on(&mut world, None);
    assert_eq!(home(&world, "r1").as_str(), "b");
    world.done(Command::Freeze { holds: true, until: None });
    world.now.0 += 60_000;
    lead_on(&mut world, Some(Verdict::Pass));
    assert_eq!(execution(&world).phases[0].state, PhaseState::Passed);
    assert_eq!(home(&world, "r3").as_str(), "a");
}

#[test]
fn an_aborted_plan_gives_up_the_move_that_has_not_switched_and_leaves_the_others() {
    let mut world = running();
    let begin = |name: &str| plan(PlanVerb::Step(Advance::Begin(name.parse().unwrap())));
    world.done(begin("r1"));
    world.step("r1.1", Progress::Switch);
    world.step("r1.1", Progress::Drained { left: None });
    world.done(begin("r2"));
    world.done(plan(PlanVerb::Abort));
    let state = |id: &str| world.state.migration(id).unwrap().value.state;
    assert_eq!([state("r1.1"), state("r2.1")], [MigrationState::Observing, MigrationState::Aborted]);
    assert_eq!(execution(&world).state, ExecutionState::Aborted);
}

/// 2,000 plans, with operators who pause, abort, roll back, promote and move by hand in between.
#[test]
fn whatever_operators_do_a_plan_leaves_every_registry_bound_once_and_a_rollback_brings_all_of_its_own_home() {
    let mut rolled_back = 0;
    for seed in 0..2_000 {
        let mut random = StdRng::seed_from_u64(seed);
        let mut world = running();
        for _ in 0..random.random_range(1..40) {
            let verdict = [None, Some(Verdict::Pass), Some(Verdict::Fail)][random.random_range(0..3)];
            if random.random_bool(0.7) {
                lead(&mut world, verdict);
                continue;
            }
            world.now.0 += random.random_range(0..90_000);
            let registry = ["r1", "r2", "r3", "r4"][random.random_range(0..4)];
            let last = world.state.last_move_of(&registry.parse().unwrap()).map(|last| last.value.id.clone());
            let by_hand = |verb| last.map(|id| Command::Steer { id, verb });
            let command = match random.random_range(0..8) {
                0 => Some(plan(PlanVerb::Pause)),
                1 => Some(plan(PlanVerb::Resume { until_phase: None })),
                2 => Some(plan(PlanVerb::Promote)),
                3 => Some(plan(PlanVerb::Rollback { from_phase: Some(random.random_range(1..4)) })),
                4 => Some(plan(PlanVerb::Abort)),
                5 => by_hand(Verb::Rollback),
                6 => by_hand(Verb::Finish),
                _ => Some(plan(PlanVerb::Extend { seconds: 5 })),
            };
            if let Some(command) = command.filter(|command| world.decide(command).is_ok()) {
                world.done(command);
            }
        }
        // Once it is rolled back, what is moved by hand afterwards is no more of its business.
        let is_over = execution(&world).state == ExecutionState::RolledBack;
        if !is_over && world.decide(&plan(PlanVerb::Rollback { from_phase: None })).is_ok() {
            world.done(plan(PlanVerb::Rollback { from_phase: None }));
            lead_on(&mut world, None);
            let execution = execution(&world);
            // What somebody else is moving is theirs to say.
            if execution.paused.as_deref().is_some_and(|why| why.contains("by hand")) {
                continue;
            }
            rolled_back += 1;
            assert_eq!(execution.state, ExecutionState::RolledBack, "seed {seed}: {execution:?}");
            for name in ["r1", "r2", "r3", "r4"] {
                assert_eq!(home(&world, name).as_str(), "a", "seed {seed}: {name}: {execution:?}");
            }
        }
    }
    println!("{rolled_back} of 2000 plans were applied and rolled back");
    assert!(rolled_back > 500, "{rolled_back}");
}
