use std::collections::BTreeMap;

use dataproxy_router_api::{
    Binding, Incarnation, Intent, Node, NodeState, Phase, Revision, Role, ServingState,
};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::*;
use crate::migration::{MigrationState, Progress};
use crate::state::Written;

/// A state that decisions are carried out on at once, as the store would.
pub(super) struct World {
    pub(super) state: State,
    pub(super) now: UnixMillis,
    pub(super) actor: String,
}

impl World {
    pub(super) fn new() -> Self {
        let mut world = Self {
            state: State::new("local".parse().unwrap()),
            now: UnixMillis(1_000_000),
            actor: "ada".into(),
        };
        for (stamp, account) in [("a", "a1"), ("b", "b1")] {
            world.done(Command::PutStamp {
                name: stamp.parse().unwrap(),
                accounts: Some(vec![account.parse().unwrap()]),
                state: None,
            });
            world.done(Command::Reported(Box::new(report(&format!("{stamp}-1"), stamp, 1))));
        }
        world.done(registry("contoso", "a"));
        world
    }

    pub(super) fn decide(&self, command: &Command) -> Result<Decision, Refusal> {
        let occasion = Occasion { actor: self.actor.clone(), reason: "because".into(), now: self.now };
        decide(&self.state, command, &occasion)
    }

    pub(super) fn done(&mut self, command: Command) -> Decision {
        let decision = self.decide(&command).unwrap_or_else(|refusal| panic!("{command:?}: {refusal}"));
        let keys: Vec<String> =
            decision.puts.iter().map(Record::key).chain(decision.deletes.clone()).collect();
        let once: std::collections::BTreeSet<&String> = keys.iter().collect();
        assert_eq!(once.len(), keys.len(), "a commit writes a key once: {keys:?}");
        if !decision.is_nothing() {
            let puts = decision.puts.iter().cloned().map(|record| Written::Put(Box::new(record)));
            let writes = puts.chain(decision.deletes.iter().cloned().map(Written::Gone)).collect();
            self.state.apply(Revision(self.state.revision().0 + 1), writes);
            self.state.snapshot().validate().unwrap_or_else(|error| panic!("{command:?}: {error}"));
        }
        decision
    }

    #[track_caller]
    pub(super) fn refused(&self, command: Command, rule: &str, words: &str) {
        let refusal = self.decide(&command).expect_err("refused");
        assert_eq!(refusal.rule, rule, "{refusal}");
        assert!(refusal.message.contains(words), "{refusal}");
    }

    pub(super) fn binding(&self, registry: &str) -> Binding {
        self.state.binding(&registry.parse().unwrap()).unwrap().value.clone()
    }

    pub(super) fn step(&mut self, id: &str, step: Progress) {
        self.done(Command::Steer { id: id.into(), verb: Verb::Step(step) });
    }

    fn at(&self, id: &str) -> MigrationState {
        self.state.migration(id).unwrap().value.state
    }
}

pub(super) fn report(node: &str, stamp: &str, process: u64) -> NodeReport {
    // Each name has ports of its own.
    let number = node.bytes().fold(0, |number, byte| (number * 31 + u16::from(byte)) % 2003);
    let at = |port| std::net::SocketAddr::from(([127, 0, 1, 1], port + number));
    NodeReport {
        region: "local".parse().unwrap(),
        stamp: stamp.parse().unwrap(),
        node: Node::new(node.parse().unwrap(), at(5000), at(9100), Role::All),
        incarnation: Incarnation(process),
        version: "0.1.0".into(),
        sequence: 1,
        history: dataproxy_router_api::History::default(),
        revision: Revision(1),
        in_flight: 0,
        registries: Vec::new(),
        time_ms: None,
        bins: Vec::new(),
    }
}

pub(super) fn registry(name: &str, home: &str) -> Command {
    Command::PutRegistry {
        registry: name.parse().unwrap(),
        spec: RegistrySpec {
            home_stamp: home.parse().unwrap(),
            placement: Placement::new("a1".parse().unwrap(), name),
            pull: PullPolicy::Anonymous,
            delivery: Delivery::Stream,
            hosts: Vec::new(),
        },
        if_epoch: None,
    }
}

pub(super) fn moving(to: &str) -> Command {
    Command::Move {
        registry: "contoso".parse().unwrap(),
        to: to.parse().unwrap(),
        if_epoch: None,
        terms: Terms::default(),
    }
}

pub(super) fn steer(id: &str, verb: Verb) -> Command {
    Command::Steer { id: id.into(), verb }
}

fn put_stamp(name: &str, accounts: &[&str], state: StampState) -> Command {
    let accounts = accounts.iter().map(|account| account.parse().unwrap()).collect();
    Command::PutStamp { name: name.parse().unwrap(), accounts: Some(accounts), state: Some(state) }
}

#[test]
fn a_move_goes_through_its_phases_and_raises_the_epoch_once() {
    let mut world = World::new();
    let begun = world.done(moving("b"));
    assert_eq!(begun.migration.as_deref(), Some("contoso.1"));
    let binding = world.binding("contoso");
    assert_eq!((binding.phase, binding.epoch), (Phase::Preparing, Epoch(1)));
    assert_eq!(ServingState::of(&binding, &"b".parse().unwrap()), ServingState::Warming);
    world.step("contoso.1", Progress::Switch);
    let binding = world.binding("contoso");
    assert_eq!((binding.phase, binding.epoch), (Phase::Draining, Epoch(2)));
    assert_eq!(binding.home_stamp.as_str(), "b");
    assert_eq!(ServingState::of(&binding, &"a".parse().unwrap()), ServingState::Draining);
    world.step("contoso.1", Progress::Drained { left: None });
    assert_eq!(world.binding("contoso").phase, Phase::Observing);
    world.step("contoso.1", Progress::Finish);
    let binding = world.binding("contoso");
    assert_eq!((binding.phase, binding.epoch), (Phase::Stable, Epoch(2)));
    // Whoever comes late is still served for a while.
    assert_eq!(ServingState::of(&binding, &"a".parse().unwrap()), ServingState::Late);
    assert_eq!(world.at("contoso.1"), MigrationState::Done);
    // The next one has a name of its own.
    assert_eq!(world.done(moving("a")).migration.as_deref(), Some("contoso.2"));
}

#[test]
fn what_is_asked_twice_is_done_once() {
    let mut world = World::new();
    world.done(moving("b"));
    let again = world.done(moving("b"));
    assert!(again.is_nothing() && again.migration.as_deref() == Some("contoso.1"), "{again:?}");
    world.step("contoso.1", Progress::Switch);
    world.done(steer("contoso.1", Verb::Rollback));
    assert!(world.done(steer("contoso.1", Verb::Rollback)).is_nothing());
    for command in [
        registry("contoso", "a"),
        put_stamp("a", &["a1"], StampState::Active),
        Command::Reported(Box::new(report("a-1", "a", 1))),
        Command::RemoveRegistry { registry: "nobody".parse().unwrap(), if_epoch: None },
        Command::ForgetNode { name: "nobody".parse().unwrap() },
        Command::Node { name: "a-1".parse().unwrap(), wish: Wish::Uncordon },
    ] {
        assert!(world.decide(&command).unwrap().is_nothing(), "{command:?}");
    }
}

#[test]
fn a_rollback_is_a_move_forward_to_a_higher_epoch_from_any_state_before_the_end() {
    let mut world = World::new();
    world.done(moving("b"));
    world.done(steer("contoso.1", Verb::Rollback));
    assert_eq!(world.at("contoso.1"), MigrationState::Aborted);
    let binding = world.binding("contoso");
    assert_eq!((binding.phase, binding.epoch, binding.destination), (Phase::Stable, Epoch(1), None));

    for (id, back, epoch, steps) in [
        ("contoso.2", "contoso.3", 3, vec![Progress::Switch]),
        ("contoso.4", "contoso.5", 5, vec![Progress::Switch, Progress::Drained { left: None }]),
    ] {
        assert_eq!(world.done(moving("b")).migration.as_deref(), Some(id));
        steps.into_iter().for_each(|step| world.step(id, step));
        world.done(steer(id, Verb::Rollback));
        let binding = world.binding("contoso");
        assert_eq!((binding.home_stamp.as_str(), binding.epoch), ("a", Epoch(epoch)));
        assert_eq!((world.at(id), world.at(back)), (MigrationState::RolledBack, MigrationState::Draining));
        assert_eq!(world.state.migration(back).unwrap().value.takes_back.as_deref(), Some(id));
        world.step(back, Progress::Drained { left: None });
        world.step(back, Progress::Finish);
    }
    world.refused(steer("contoso.5", Verb::Rollback), "migration-state", "move the registry back");
}

#[test]
fn nobody_is_taken_back_to_a_stamp_without_a_ready_node() {
    let mut world = World::new();
    world.done(moving("b"));
    world.step("contoso.1", Progress::Switch);
    world.done(Command::Silent { name: "a-1".parse().unwrap() });
    world.refused(steer("contoso.1", Verb::Rollback), "source-ready", "stamp a has no node that is ready");
}

#[test]
fn a_step_that_was_made_for_another_state_is_refused() {
    let mut world = World::new();
    world.done(moving("b"));
    for step in [Progress::Drained { left: None }, Progress::Finish] {
        world.refused(steer("contoso.1", Verb::Step(step)), "migration-state", "is preparing");
    }
    world.step("contoso.1", Progress::Switch);
    world.refused(steer("contoso.1", Verb::Step(Progress::Switch)), "migration-state", "is draining");
    world.refused(steer("contoso.1", Verb::Abort), "migration-state", "after it, roll it back");
    world.refused(steer("contoso.1", Verb::Finish), "migration-state", "once it is observing");
    world.refused(steer("contoso.9", Verb::Pause), "migration", "there is no migration contoso.9");
}

#[test]
fn a_stamp_that_is_cordoned_gets_no_registry_not_even_one_that_is_on_its_way() {
    let mut world = World::new();
    world.done(moving("b"));
    world.done(put_stamp("b", &["b1"], StampState::Cordoned));
    world.refused(steer("contoso.1", Verb::Step(Progress::Switch)), "stamp-active", "stamp b is cordoned");
    world.done(steer("contoso.1", Verb::Abort));
    world.refused(moving("b"), "stamp-active", "stampctl stamp uncordon b");
    world.refused(moving("c"), "stamp", "there is no stamp c; there are: a, b");
    world.refused(registry("fabrikam", "b"), "stamp-active", "cordoned");
}

#[test]
fn who_has_seen_another_epoch_is_told_to_look_again() {
    let mut world = World::new();
    let at = |epoch| Command::Move {
        registry: "contoso".parse().unwrap(),
        to: "b".parse().unwrap(),
        if_epoch: Some(Epoch(epoch)),
        terms: Terms::default(),
    };
    world.refused(at(7), "epoch", "has epoch 1, and the request is for epoch 7");
    let remove = Command::RemoveRegistry { registry: "contoso".parse().unwrap(), if_epoch: Some(Epoch(0)) };
    world.refused(remove, "epoch", "look again");
    world.done(at(1));
    world.refused(
        Command::Move {
            registry: "contoso".parse().unwrap(),
            to: "a".parse().unwrap(),
            if_epoch: None,
            terms: Terms::default(),
        },
        "moving",
        "contoso.1",
    );
    let remove = Command::RemoveRegistry { registry: "contoso".parse().unwrap(), if_epoch: None };
    world.refused(remove, "moving", "finish, abort or roll back");
}

#[test]
fn a_registry_that_is_bound_again_begins_above_its_last_epoch() {
    let mut world = World::new();
    let remove = || Command::RemoveRegistry { registry: "contoso".parse().unwrap(), if_epoch: None };
    for epoch in [1, 2, 3] {
        assert_eq!(world.binding("contoso").epoch, Epoch(epoch));
        world.done(remove());
        assert!(world.done(remove()).is_nothing());
        world.done(registry("contoso", "a"));
    }
}

#[test]
fn a_machine_that_took_the_place_of_one_that_is_gone_is_taken_in() {
    let mut world = World::new();
    let old = report("a-1", "a", 1);
    let replacement = Node { name: "a-3".parse().unwrap(), ..old.node.clone() };
    let joins = Command::Reported(Box::new(NodeReport { node: replacement, ..report("a-3", "a", 1) }));
    world.refused(joins.clone(), "address", "an address of node a-1");
    world.done(Command::Silent { name: "a-1".parse().unwrap() });
    world.done(joins);
    assert!(world.state.node(&"a-1".parse().unwrap()).is_none());
    let one = Node { admin: old.node.address, ..old.node.clone() };
    world.refused(
        Command::Reported(Box::new(NodeReport { node: one, ..old })),
        "address",
        "each listener has its own",
    );
}

#[test]
fn accounts_are_listed_once_one_is() {
    let mut world = World::new();
    let mut bare = State::new("local".parse().unwrap());
    std::mem::swap(&mut world.state, &mut bare);
    world.done(put_stamp("a", &[], StampState::Active));
    world.done(put_stamp("b", &[], StampState::Active));
    world.done(registry("contoso", "a"));
    world.refused(
        put_stamp("b", &["b1"], StampState::Active),
        "accounts",
        "account a1, which no stamp lists",
    );
    world.done(put_stamp("a", &["a1"], StampState::Active));
    world.done(put_stamp("b", &["b1"], StampState::Active));
}

#[test]
fn a_registry_changes_its_home_by_a_move_alone() {
    let mut world = World::new();
    world.refused(registry("contoso", "b"), "home-by-move", "stampctl registry move contoso --to b");
    let Command::PutRegistry { registry: name, mut spec, .. } = registry("contoso", "a") else {
        unreachable!()
    };
    spec.pull = PullPolicy::Denied;
    world.done(Command::PutRegistry { registry: name, spec: spec.clone(), if_epoch: Some(Epoch(1)) });
    let binding = world.binding("contoso");
    assert_eq!((binding.pull, binding.epoch), (PullPolicy::Denied, Epoch(2)));
    // A name means one registry, and a placement an account that is there.
    spec.hosts = vec!["docker.io".parse().unwrap()];
    world.done(Command::PutRegistry { registry: "one".parse().unwrap(), spec: spec.clone(), if_epoch: None });
    let two = Command::PutRegistry { registry: "two".parse().unwrap(), spec: spec.clone(), if_epoch: None };
    world.refused(two, "host-once", "docker.io");
    (spec.hosts, spec.placement) = (Vec::new(), Placement::new("nowhere".parse().unwrap(), "c"));
    let two = Command::PutRegistry { registry: "two".parse().unwrap(), spec, if_epoch: None };
    world.refused(two, "binding", "account nowhere, which no stamp lists");
}

#[test]
fn an_account_belongs_to_one_stamp_for_as_long_as_it_holds_bytes() {
    let world = World::new();
    world.refused(put_stamp("b", &["a1"], StampState::Active), "account-owner", "account a1 is of stamp a");
    world.refused(put_stamp("a", &[], StampState::Active), "account-in-use", "the bytes of registry contoso");
    world.refused(put_stamp("c", &["x", "x"], StampState::Active), "account-once", "listed twice");
    world.refused(put_stamp("a", &["a1"], StampState::Retired), "stamp-in-use", "registry contoso is bound");
}

#[test]
fn a_retired_stamp_stays_retired() {
    let mut world = World::new();
    world.done(put_stamp("b", &["b1"], StampState::Retired));
    world.refused(put_stamp("b", &["b1"], StampState::Active), "stamp-retired", "which is final");
}

#[test]
fn a_drain_is_asked_of_one_process_and_the_next_one_serves() {
    let mut world = World::new();
    let name: NodeName = "a-1".parse().unwrap();
    world.done(Command::Node { name: name.clone(), wish: Wish::Drain { deadline_seconds: 60 } });
    let intent = |world: &World| world.state.node(&name).unwrap().value.node.intent;
    let drain = Intent::Drain { incarnation: Incarnation(1), deadline_seconds: 60 };
    assert_eq!(intent(&world), drain);
    // The same process goes on reporting, and is meant until it has gone.
    let draining = Node { state: NodeState::Draining, ..report("a-1", "a", 1).node };
    world.done(Command::Reported(Box::new(NodeReport { node: draining, ..report("a-1", "a", 1) })));
    assert_eq!(intent(&world), drain);
    world.done(Command::Silent { name: name.clone() });
    let again = Command::Node { name: name.clone(), wish: Wish::Drain { deadline_seconds: 9 } };
    world.refused(again, "node-gone", "does not report");
    world.done(Command::Reported(Box::new(report("a-1", "a", 2))));
    assert_eq!(intent(&world), Intent::Serve);
    // A cordon is asked of the node, whichever process it is.
    world.done(Command::Node { name: name.clone(), wish: Wish::Cordon });
    world.done(Command::Reported(Box::new(report("a-1", "a", 3))));
    assert_eq!(intent(&world), Intent::Cordon);
    world.refused(Command::ForgetNode { name }, "node-reports", "stampctl node drain a-1");
}

#[test]
fn a_report_that_does_not_belong_here_is_refused_with_the_reason() {
    let world = World::new();
    let other = NodeReport { region: "mars".parse().unwrap(), ..report("x", "a", 1) };
    world.refused(Command::Reported(Box::new(other)), "region", "of region mars");
    world.refused(Command::Reported(Box::new(report("x", "c", 1))), "stamp", "stampctl stamp create c");
    let taken = Node { name: "x".parse().unwrap(), ..report("a-1", "a", 1).node };
    let twin = NodeReport { node: taken, ..report("x", "b", 1) };
    world.refused(Command::Reported(Box::new(twin)), "address", "an address of node a-1");
}

#[test]
fn only_what_can_be_named_can_be_purged() {
    let mut world = World::new();
    let purge = |registry: &str, repository: Option<&str>, digest: Option<&str>| Command::Purge {
        registry: registry.parse().unwrap(),
        repository: repository.map(str::to_owned),
        digest: digest.map(str::to_owned),
    };
    world.refused(purge("nobody", None, None), "registry", "there is no registry nobody");
    world.refused(purge("contoso", Some("../x"), None), "repository", "path segments");
    world.refused(purge("contoso", Some("Team"), None), "repository", "a-z");
    world.refused(purge("contoso", None, Some("sha256:12")), "digest", "64 hex digits");
    let digest = format!("sha256:{}", "ab".repeat(32));
    world.done(purge("contoso", Some("team/app"), Some(&digest)));
    world.done(purge("contoso", None, None));
    let again = world.done(purge("contoso", None, None));
    assert!(!again.is_nothing(), "to purge again is to purge what came since");
    let purges = world.state.snapshot().purges;
    assert_eq!(purges.len(), 2);
    assert_eq!(purges.last().map(|purge| purge.revision), Some(world.state.revision()));
}

/// Whatever is asked in whatever order, by however many, the promises of a binding hold.
#[test]
fn no_order_of_requests_lets_an_epoch_go_back_or_a_registry_move_twice_at_once() {
    for seed in 0..300 {
        let mut random = StdRng::seed_from_u64(seed);
        let mut world = World::new();
        world.done(registry("fabrikam", "b"));
        let mut epochs: BTreeMap<String, u64> = BTreeMap::new();
        for _ in 0..120 {
            world.now.0 += random.random_range(0..5_000);
            let command = any(&world, &mut random);
            if world.decide(&command).is_ok() {
                world.done(command.clone());
            }
            world.state.snapshot().validate().unwrap_or_else(|error| panic!("seed {seed}: {error}"));
            for binding in world.state.bindings().map(|binding| &binding.value) {
                let name = binding.registry.as_str();
                let before = epochs.insert(name.to_owned(), binding.epoch.0);
                assert!(
                    before.unwrap_or(0) <= binding.epoch.0,
                    "seed {seed}: {name} went back, by {command:?}"
                );
                let moves =
                    world.state.moving().filter(|migration| migration.value.registry == binding.registry);
                let moves: Vec<MigrationState> = moves.map(|migration| migration.value.state).collect();
                let phase = match moves.as_slice() {
                    [] => Phase::Stable,
                    [MigrationState::Preparing] => Phase::Preparing,
                    [MigrationState::Draining] => Phase::Draining,
                    [MigrationState::Observing] => Phase::Observing,
                    more => panic!("seed {seed}: {name} moves at once: {more:?}"),
                };
                assert_eq!(binding.phase, phase, "seed {seed}: {name}");
            }
        }
    }
}

fn any(world: &World, random: &mut StdRng) -> Command {
    let registry_name = ["contoso", "fabrikam"][random.random_range(0..2)];
    let stamp = ["a", "b"][random.random_range(0..2)];
    let moves: Vec<String> = world.state.migrations().map(|migration| migration.value.id.clone()).collect();
    let id = match moves.len() {
        0 => "contoso.1".to_owned(),
        some => moves[random.random_range(0..some)].clone(),
    };
    let verb = |random: &mut StdRng| match random.random_range(0..9) {
        0 => Verb::Pause,
        1 => Verb::Resume,
        2 => Verb::Abort,
        3 => Verb::Rollback,
        4 => Verb::Finish,
        5 => Verb::Step(Progress::Abort("too late".into())),
        6 => Verb::Step(Progress::Finish),
        7 => Verb::Step(Progress::Drained { left: None }),
        _ => Verb::Step(Progress::Switch),
    };
    match random.random_range(0..10) {
        0..=2 => Command::Move {
            registry: registry_name.parse().unwrap(),
            to: stamp.parse().unwrap(),
            if_epoch: None,
            terms: Terms::default(),
        },
        3..=6 => steer(&id, verb(random)),
        7 => put_stamp(
            stamp,
            &[if stamp == "a" { "a1" } else { "b1" }],
            [StampState::Active, StampState::Cordoned][random.random_range(0..2)],
        ),
        8 => registry(registry_name, stamp),
        _ => Command::Silent { name: format!("{stamp}-1").parse().unwrap() },
    }
}
