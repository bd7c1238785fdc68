use std::cell::RefCell;
use std::collections::BTreeMap;

use super::*;
use crate::execution::{
    Approval, Execution, ExecutionPhase, ExecutionState, PhaseState, PlannedMove, Reading,
};
use crate::migration::Terms;

const START: u64 = 1_000_000;

fn at(seconds: u64) -> UnixMillis {
    UnixMillis(START + seconds * 1000)
}

fn planned(registry: &str) -> PlannedMove {
    PlannedMove {
        registry: registry.parse().unwrap(),
        from: "a".parse().unwrap(),
        to: "b".parse().unwrap(),
        epoch: Epoch(3),
        migration: None,
        taken_back_by: None,
    }
}

fn phase(registries: &[&str]) -> ExecutionPhase {
    ExecutionPhase {
        name: "a phase".into(),
        moves: registries.iter().map(|registry| planned(registry)).collect(),
        observe_seconds: 3600,
        state: PhaseState::Waiting,
        observed_since: None,
        gate: Gate::default(),
    }
}

fn execution(phases: Vec<ExecutionPhase>) -> Execution {
    Execution {
        id: "p-1".into(),
        hash: "abc".into(),
        state: ExecutionState::Running,
        proposed_by: "alice".into(),
        proposed: at(0),
        expires: at(600),
        approvals_needed: 1,
        approvals: Vec::new(),
        phases,
        until_phase: None,
        paused: None,
        back_to: None,
        story: Vec::new(),
    }
}

fn migration(id: &str, state: MigrationState) -> Migration {
    let registry = id.split('.').next().unwrap();
    let switched = !matches!(state, MigrationState::Preparing | MigrationState::Aborted);
    let mut migration = Migration {
        id: id.into(),
        registry: registry.parse().unwrap(),
        from: "a".parse().unwrap(),
        to: "b".parse().unwrap(),
        state,
        began_at_epoch: Epoch(3),
        switched_to_epoch: None,
        terms: Terms::default(),
        paused: None,
        takes_back: None,
        began: at(0),
        switched: switched.then_some(at(1)),
        drained: None,
        ended: None,
        story: Vec::new(),
    };
    migration.tell(at(2), "its last word");
    migration
}

/// What a test lets the router know.
struct Known {
    migrations: BTreeMap<String, Migration>,
    home: (StampName, Epoch),
    other: Option<String>,
    held: Option<String>,
    verdict: Option<Verdict>,
    is_early: bool,
    asked: RefCell<Vec<usize>>,
}

impl Known {
    fn new() -> Self {
        Self {
            migrations: BTreeMap::new(),
            home: ("a".parse().unwrap(), Epoch(3)),
            other: None,
            held: None,
            verdict: None,
            is_early: false,
            asked: RefCell::default(),
        }
    }

    fn with(mut self, id: &str, state: MigrationState) -> Self {
        self.migrations.insert(id.into(), migration(id, state));
        self
    }
}

impl Sight for Known {
    fn migration(&self, id: &str) -> Option<&Migration> {
        self.migrations.get(id)
    }

    fn last_move(&self, registry: &RegistryName) -> Option<&Migration> {
        self.migrations
            .values()
            .filter(|migration| migration.registry == *registry)
            .max_by_key(|last| last.number())
    }

    fn bound(&self, registry: &RegistryName) -> Option<(&StampName, Epoch)> {
        (registry.as_str() != "gone").then_some((&self.home.0, self.home.1))
    }

    fn in_the_way(&self, _: &PlannedMove) -> Option<String> {
        self.other.clone()
    }

    fn held(&self) -> Option<String> {
        self.held.clone()
    }

    fn gate(&self, _: &Execution, phase: usize) -> Gate {
        self.asked.borrow_mut().push(phase);
        let reading = |verdict| Reading {
            check: "p95".into(),
            verdict,
            seen: "42 %".into(),
            is_early: self.is_early,
            figures: None,
        };
        Gate { readings: self.verdict.map(reading).into_iter().collect() }
    }
}

#[track_caller]
fn waits(step: &Advance, words: &str) {
    assert!(matches!(step, Advance::Waits(why) if why.contains(words)), "{words}: {step:?}");
}

#[track_caller]
fn pauses(step: &Advance, words: &str) {
    assert!(matches!(step, Advance::Pause(why) if why.contains(words)), "{words}: {step:?}");
}

#[test]
fn registries_of_a_phase_are_moved_one_after_the_other_each_once_the_one_before_is_drained() {
    let mut execution = execution(vec![phase(&["r1", "r2"])]);
    let step = |execution: &Execution, known: Known| advance(execution, &known, at(1));
    assert_eq!(step(&execution, Known::new()), Advance::Begin("r1".parse().unwrap()));
    execution.phases[0].moves[0].migration = Some("r1.1".into());
    for state in [MigrationState::Preparing, MigrationState::Draining] {
        waits(&step(&execution, Known::new().with("r1.1", state)), state.as_str());
    }
    for state in [MigrationState::Observing, MigrationState::Done] {
        let next = step(&execution, Known::new().with("r1.1", state));
        assert_eq!(next, Advance::Begin("r2".parse().unwrap()));
    }
    execution.phases[0].moves[1].migration = Some("r2.5".into());
    let both = Known::new().with("r1.1", MigrationState::Observing).with("r2.5", MigrationState::Observing);
    assert_eq!(step(&execution, both), Advance::Observe);
}

#[test]
fn no_move_begins_under_a_freeze_or_beside_another_move_of_the_same_stamps() {
    let execution = execution(vec![phase(&["r1"])]);
    let frozen = Known { held: Some("frozen by alice: BF".into()), ..Known::new() };
    waits(&advance(&execution, &frozen, at(1)), "frozen by alice");
    let busy = Known { other: Some("move r9.4 is under way at a or b".into()), ..Known::new() };
    waits(&advance(&execution, &busy, at(1)), "r9.4 is under way at a or b");
}

#[test]
fn a_registry_that_is_not_where_the_plan_found_it_pauses_the_plan() {
    let moved = Known { home: ("c".parse().unwrap(), Epoch(4)), ..Known::new() };
    pauses(&advance(&execution(vec![phase(&["r1"])]), &moved, at(1)), "is with c at epoch 4; plan anew");
    let rebound = Known { home: ("a".parse().unwrap(), Epoch(5)), ..Known::new() };
    pauses(&advance(&execution(vec![phase(&["r1"])]), &rebound, at(1)), "is with a at epoch 5");
    pauses(&advance(&execution(vec![phase(&["gone"])]), &Known::new(), at(1)), "gone is no more");
}

#[test]
fn a_move_that_is_given_up_pauses_the_plan_and_says_why() {
    let mut execution = execution(vec![phase(&["r1", "r2"])]);
    execution.phases[0].moves[0].migration = Some("r1.1".into());
    for state in [MigrationState::Aborted, MigrationState::RolledBack] {
        let step = advance(&execution, &Known::new().with("r1.1", state), at(1));
        pauses(&step, "its last word");
    }
    pauses(&advance(&execution, &Known::new(), at(1)), "not known any more");
}

/// A plan whose first phase is watched since `at(0)`.
fn watched() -> Execution {
    let mut first = phase(&["r1"]);
    first.moves[0].migration = Some("r1.1".into());
    (first.state, first.observed_since) = (PhaseState::Observing, Some(at(0)));
    execution(vec![first, phase(&["r2"])])
}

fn seen(verdict: Option<Verdict>) -> Known {
    Known { verdict, ..Known::new().with("r1.1", MigrationState::Observing) }
}

#[test]
fn a_phase_passes_once_it_was_watched_for_its_whole_time_and_the_guard_agrees() {
    let execution = watched();
    waits(&advance(&execution, &seen(Some(Verdict::Pass)), at(3599)), "observing for another 1 s");
    let passed = advance(&execution, &seen(Some(Verdict::Pass)), at(3600));
    assert!(matches!(passed, Advance::Pass(_)), "{passed:?}");
    // A clock that was set back makes it longer, never shorter.
    waits(&advance(&execution, &seen(Some(Verdict::Pass)), UnixMillis(0)), "another 3600 s");
}

#[test]
fn a_guard_that_fails_takes_the_phase_back_at_once_and_one_that_cannot_tell_pauses_at_the_end() {
    let execution = watched();
    let failed = advance(&execution, &seen(Some(Verdict::Fail)), at(10));
    assert!(matches!(failed, Advance::TakePhaseBack(_)), "{failed:?}");
    for unknown in [Some(Verdict::Inconclusive), None] {
        waits(&advance(&execution, &seen(unknown), at(10)), "observing");
        pauses(&advance(&execution, &seen(unknown), at(3600)), "the guard cannot tell");
    }
}

#[test]
fn a_peak_window_that_is_not_over_is_waited_for_and_not_for_ever() {
    let execution = watched();
    let early = || Known { is_early: true, ..seen(Some(Verdict::Inconclusive)) };
    waits(&advance(&execution, &early(), at(3600)), "observing: p95");
    waits(&advance(&execution, &early(), at(7199)), "observing: p95");
    pauses(&advance(&execution, &early(), at(7200)), "the guard cannot tell");
}

#[test]
fn a_registry_that_an_operator_took_back_pauses_the_plan() {
    let taken = Known::new().with("r1.1", MigrationState::RolledBack);
    pauses(&advance(&watched(), &taken, at(10)), "r1 was taken back");
}

#[test]
fn a_plan_goes_no_further_than_the_phase_that_was_asked_for() {
    let mut execution = watched();
    execution.phases[0].state = PhaseState::Passed;
    assert_eq!(advance(&execution, &Known::new(), at(1)), Advance::Begin("r2".parse().unwrap()));
    execution.until_phase = Some(1);
    pauses(&advance(&execution, &Known::new(), at(1)), "asked to go no further");
}

#[test]
fn a_plan_is_taken_back_registry_by_registry_the_last_one_first() {
    let mut execution = watched();
    execution.phases[1].moves[0].migration = Some("r2.1".into());
    execution.state = ExecutionState::RollingBack;
    let at_b = || Known { home: ("b".parse().unwrap(), Epoch(4)), ..Known::new() };
    let known = || at_b().with("r1.1", MigrationState::Done).with("r2.1", MigrationState::Draining);
    assert_eq!(advance(&execution, &known(), at(1)), Advance::TakeBack("r2".parse().unwrap()));
    execution.back_to = Some(2);
    let home = || Known { home: ("a".parse().unwrap(), Epoch(6)), ..known() };
    assert_eq!(advance(&execution, &home(), at(1)), Advance::IsBack);
    execution.back_to = None;
    assert_eq!(advance(&execution, &home(), at(1)), Advance::IsBack, "whichever way they went home");
    execution.phases[1].moves[0].migration = None;
    assert_eq!(advance(&execution, &known(), at(1)), Advance::TakeBack("r1".parse().unwrap()));
    let mut coming = known().with("r1.2", MigrationState::Preparing);
    coming.migrations.get_mut("r1.2").unwrap().to = "a".parse().unwrap();
    waits(&advance(&execution, &coming, at(1)), "r1.2 is preparing");
    let elsewhere = Known { home: ("c".parse().unwrap(), Epoch(6)), ..known() };
    pauses(&advance(&execution, &elsewhere, at(1)), "gone on from b to c; move it by hand");
    let leaving = known().with("r1.2", MigrationState::Preparing);
    pauses(&advance(&execution, &leaving, at(1)), "is moving to b (r1.2)");
}

#[test]
fn a_plan_that_nobody_applies_in_time_expires_and_an_approval_of_another_hash_is_none() {
    let mut execution = execution(vec![phase(&["r1"])]);
    for state in [ExecutionState::Proposed, ExecutionState::Approved] {
        execution.state = state;
        assert_eq!(advance(&execution, &Known::new(), at(600)), Advance::Expire);
    }
    execution.state = ExecutionState::Proposed;
    let approval = Approval { actor: "bob".into(), at: at(1), hash: "other".into(), reason: String::new() };
    execution.approvals = vec![approval.clone()];
    assert!(!execution.is_approved());
    waits(&advance(&execution, &Known::new(), at(1)), "0 of 1 approvals");
    execution.approvals.push(Approval { hash: "abc".into(), ..approval });
    assert!(execution.is_approved());
}
