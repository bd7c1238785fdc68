//! Moves: begun, led on step by step, paused, given up, taken back.

use dataproxy_router_api::{Binding, Epoch, Phase, RegistryName, StampName};

use super::{Decision, Occasion, Refusal, Verb, fenced, registries, rules, stamps};
use crate::migration::{Migration, MigrationState, Progress, Terms, UnixMillis};
use crate::record::{FREEZE, Record, pin_key, registry_key};
use crate::state::State;

pub(super) fn begin(
    state: &State,
    registry: &RegistryName,
    to: &StampName,
    if_epoch: Option<Epoch>,
    terms: Terms,
    occasion: &Occasion,
) -> Result<Decision, Refusal> {
    let binding = &registries::known(state, registry)?.value;
    if let Some(running) = state.move_of(registry).map(|running| &running.value) {
        if running.to == *to {
            return Ok(
                Decision::nothing(format!("registry {registry} moves to {to} already")).about(&running.id)
            );
        }
        return Err(Refusal::conflict(
            "moving",
            format!(
                "registry {registry} is moving to {} ({}); finish, abort or roll back that first",
                running.to, running.id
            ),
        ));
    }
    fenced(registry, if_epoch, binding.epoch)?;
    if binding.home_stamp == *to {
        return Ok(Decision::nothing(format!("registry {registry} is bound to {to} already")));
    }
    rules::may_move(state, registry, occasion.now)?;
    let rests_on = stamps::takes_registries(state, to)?;
    if state.restart(to).is_some_and(|restart| restart.value.is_under_way()) {
        return Err(Refusal::conflict(
            "restarting",
            format!(
                "stamp {to} is being restarted, and its nodes come and go; wait for its end (stampctl stamp restart {to} --watch), or abort it"
            ),
        ));
    }
    let number = state.last_move_of(registry).map_or(0, |last| last.value.number()) + 1;
    let mut migration = Migration {
        id: format!("{registry}.{number}"),
        registry: registry.clone(),
        from: binding.home_stamp.clone(),
        to: to.clone(),
        state: MigrationState::Preparing,
        began_at_epoch: binding.epoch,
        switched_to_epoch: None,
        terms,
        paused: None,
        takes_back: None,
        began: occasion.now,
        switched: None,
        drained: None,
        ended: None,
        story: Vec::new(),
    };
    migration.tell(occasion.now, told(&format!("{} begins", occasion.actor), &occasion.reason));
    // A source that could still take it back from an earlier move cannot any more: it would not be the last.
    let binding =
        Binding { source: None, ..registries::rebound(binding, Phase::Preparing, Some(to.clone())) };
    let done = format!("moves registry {registry} from {} to {to}", migration.from);
    let decision = Decision::put(Record::Binding(binding), done).resting_on(rests_on).about(&migration.id);
    // A freeze or a pin that comes at the same time is not missed.
    let decision = decision.resting_on(FREEZE.to_owned()).resting_on(pin_key(registry));
    Ok(with(decision, migration))
}

/// A line of a move's story, with the reason if one was given.
fn told(what: &str, why: &str) -> String {
    if why.is_empty() { what.to_owned() } else { format!("{what}: {why}") }
}

fn with(mut decision: Decision, migration: Migration) -> Decision {
    decision.puts.push(Record::Migration(migration));
    decision
}

pub(super) fn steer(state: &State, id: &str, verb: &Verb, occasion: &Occasion) -> Result<Decision, Refusal> {
    let Some(migration) = state.migration(id).map(|migration| &migration.value) else {
        return Err(Refusal::not_found(
            "migration",
            format!("there is no migration {id}; stampctl migration ls shows those there are"),
        ));
    };
    let binding = &registries::known(state, &migration.registry)?.value;
    let decision = match verb {
        Verb::Pause => pause(migration, occasion),
        Verb::Resume => resume(migration, occasion),
        Verb::Abort => abort(migration, binding, &occasion.reason, occasion.now),
        Verb::Rollback => rollback(state, migration, binding, occasion),
        Verb::Finish => match migration.state {
            MigrationState::Done => Ok(Decision::nothing(format!("migration {id} is done already"))),
            MigrationState::Observing => Ok(finish(migration, binding, occasion.now)),
            at => Err(wrong_state(migration, at, "finished", "once it is observing")),
        },
        Verb::Step(step) => take(state, migration, binding, step, occasion.now),
    };
    decision.map(|decision| decision.resting_on(registry_key(&migration.registry)).about(id))
}

fn wrong_state(migration: &Migration, at: MigrationState, verb: &str, when: &str) -> Refusal {
    let Migration { id, .. } = migration;
    Refusal::conflict(
        "migration-state",
        format!("migration {id} is {}; it can be {verb} {when}", at.as_str()),
    )
}

fn pause(migration: &Migration, occasion: &Occasion) -> Result<Decision, Refusal> {
    let id = &migration.id;
    if migration.state.has_ended() {
        return Err(wrong_state(migration, migration.state, "paused", "while it runs"));
    }
    if migration.paused.is_some() {
        return Ok(Decision::nothing(format!("migration {id} is paused already")));
    }
    let mut paused = migration.clone();
    paused.paused = Some(occasion.reason.clone());
    paused.tell(occasion.now, told(&format!("{} pauses", occasion.actor), &occasion.reason));
    Ok(Decision::put(Record::Migration(paused), format!("paused migration {id}")))
}

fn resume(migration: &Migration, occasion: &Occasion) -> Result<Decision, Refusal> {
    let id = &migration.id;
    if migration.paused.is_none() {
        return Ok(Decision::nothing(format!("migration {id} is not paused")));
    }
    let mut resumed = migration.clone();
    resumed.paused = None;
    resumed.tell(occasion.now, told(&format!("{} resumes", occasion.actor), &occasion.reason));
    Ok(Decision::put(Record::Migration(resumed), format!("resumed migration {id}")))
}

fn abort(migration: &Migration, binding: &Binding, why: &str, now: UnixMillis) -> Result<Decision, Refusal> {
    let id = &migration.id;
    match migration.state {
        MigrationState::Aborted => {
            return Ok(Decision::nothing(format!("migration {id} is aborted already")));
        }
        MigrationState::Preparing => {}
        at => return Err(wrong_state(migration, at, "aborted", "before the switch; after it, roll it back")),
    }
    let mut aborted = migration.clone();
    (aborted.state, aborted.ended, aborted.paused) = (MigrationState::Aborted, Some(now), None);
    aborted.tell(now, told("aborted", why));
    let decision = Decision::put(
        Record::Binding(registries::rebound(binding, Phase::Stable, None)),
        format!("aborted migration {id}"),
    );
    Ok(with(decision, aborted))
}

/// The binding after a switch: one epoch on, served by the other stamp.
fn switched(binding: &Binding, home: &StampName, source: &StampName) -> Binding {
    Binding {
        home_stamp: home.clone(),
        source: Some(source.clone()),
        destination: None,
        phase: Phase::Draining,
        epoch: Epoch(binding.epoch.0 + 1),
        ..binding.clone()
    }
}

fn rollback(
    state: &State,
    migration: &Migration,
    binding: &Binding,
    occasion: &Occasion,
) -> Result<Decision, Refusal> {
    let id = &migration.id;
    match migration.state {
        MigrationState::RolledBack => {
            return Ok(Decision::nothing(format!("migration {id} is rolled back already")));
        }
        MigrationState::Preparing => return abort(migration, binding, &occasion.reason, occasion.now),
        MigrationState::Draining | MigrationState::Observing => {}
        at => {
            return Err(wrong_state(
                migration,
                at,
                "rolled back",
                "before it ends; after that, move the registry back",
            ));
        }
    }
    if !state.nodes_of(&migration.from).any(|record| record.value.node.in_rotation()) {
        return Err(Refusal::conflict(
            "source-ready",
            format!(
                "stamp {} has no node that is ready, so that nobody could serve registry {}",
                migration.from, migration.registry
            ),
        ));
    }
    let now = occasion.now;
    let mut rolled_back = migration.clone();
    (rolled_back.state, rolled_back.ended, rolled_back.paused) =
        (MigrationState::RolledBack, Some(now), None);
    rolled_back.tell(now, told(&format!("{} rolls back", occasion.actor), &occasion.reason));
    let binding = switched(binding, &migration.from, &migration.to);
    let mut back = Migration {
        id: format!("{}.{}", migration.registry, migration.number() + 1),
        from: migration.to.clone(),
        to: migration.from.clone(),
        state: MigrationState::Draining,
        began_at_epoch: Epoch(binding.epoch.0 - 1),
        switched_to_epoch: Some(binding.epoch),
        takes_back: Some(id.clone()),
        began: now,
        switched: Some(now),
        drained: None,
        story: Vec::new(),
        paused: None,
        ..migration.clone()
    };
    back.tell(now, format!("takes back {id}: {} serves again, epoch {}", back.to, binding.epoch));
    let done =
        format!("rolled back migration {id}: registry {} is with {} again", migration.registry, back.to);
    Ok(with(with(Decision::put(Record::Binding(binding), done), rolled_back), back))
}

fn finish(migration: &Migration, binding: &Binding, now: UnixMillis) -> Decision {
    let mut done = migration.clone();
    (done.state, done.ended, done.paused) = (MigrationState::Done, Some(now), None);
    done.tell(now, "final");
    let binding = registries::rebound(binding, Phase::Stable, None);
    with(Decision::put(Record::Binding(binding), format!("finished migration {}", migration.id)), done)
}

fn take(
    state: &State,
    migration: &Migration,
    binding: &Binding,
    step: &Progress,
    now: UnixMillis,
) -> Result<Decision, Refusal> {
    let id = &migration.id;
    if migration.paused.is_some() {
        return Ok(Decision::nothing(format!("migration {id} is paused")));
    }
    let stale =
        || wrong_state(migration, migration.state, "led on", "from the state that the step was made for");
    match (step, migration.state) {
        (Progress::Waits(_), _) => Ok(Decision::nothing(format!("migration {id} waits"))),
        (Progress::Abort(why), MigrationState::Preparing) => abort(migration, binding, why, now),
        (Progress::Switch, MigrationState::Preparing) => {
            // A stamp that was cordoned meanwhile gets nothing.
            let rests_on = stamps::takes_registries(state, &migration.to)?;
            let binding = switched(binding, &migration.to, &migration.from);
            let mut next = migration.clone();
            (next.state, next.switched) = (MigrationState::Draining, Some(now));
            next.switched_to_epoch = Some(binding.epoch);
            next.tell(now, format!("switched: {} serves, epoch {}", migration.to, binding.epoch));
            let done = format!(
                "switched registry {} to {}, epoch {}",
                migration.registry, migration.to, binding.epoch
            );
            Ok(with(Decision::put(Record::Binding(binding), done), next).resting_on(rests_on))
        }
        (Progress::Drained { left }, MigrationState::Draining) => {
            let mut next = migration.clone();
            (next.state, next.drained) = (MigrationState::Observing, Some(now));
            next.tell(
                now,
                match left {
                    None => format!("{} is quiet", migration.from),
                    Some(left) => {
                        format!("{} is not quiet in time, and goes on by itself: {left}", migration.from)
                    }
                },
            );
            let binding = registries::rebound(binding, Phase::Observing, None);
            let done = format!("drained registry {} from {}", migration.registry, migration.from);
            Ok(with(Decision::put(Record::Binding(binding), done), next))
        }
        (Progress::Finish, MigrationState::Observing) => Ok(finish(migration, binding, now)),
        _ => Err(stale()),
    }
}
