//! What is let go of by time alone.

use std::time::Duration;

use dataproxy_router_api::{Binding, Phase};

use super::{Decision, plans};
use crate::migration::{MigrationState, UnixMillis};
use crate::record::{Record, migration_key};
use crate::state::State;

/// How long a source serves who comes late after a move is final; after it, its nodes pass them on.
const LATE: Duration = Duration::from_secs(24 * 3600);
/// How long a node may be away and still be told what to forget.
const PURGES: Duration = Duration::from_secs(24 * 3600);
/// How long a move or restart that has ended can be looked up. A registry's last move stays.
const MIGRATIONS: Duration = Duration::from_secs(30 * 24 * 3600);
/// How long a plan that has ended can be looked up.
const PLANS: Duration = Duration::from_secs(90 * 24 * 3600);
/// Records of one sweep, well below what a commit takes; the next one goes on.
const AT_ONCE: usize = 32;

pub(super) fn sweep(state: &State, now: UnixMillis) -> Decision {
    let old = |since: UnixMillis, limit: Duration| now.since(since) >= limit;
    let released = state
        .bindings()
        .map(|binding| &binding.value)
        .filter(|binding| binding.source.is_some() && binding.phase == Phase::Stable)
        .filter(|binding| {
            let last = state.last_move_of(&binding.registry).map(|last| &last.value);
            last.is_none_or(|last| {
                last.state == MigrationState::Done && last.ended.is_some_and(|ended| old(ended, LATE))
            })
        })
        .map(|binding| Record::Binding(Binding { source: None, ..binding.clone() }));
    let puts: Vec<Record> = released.take(AT_ONCE).collect();
    let purges = state
        .purges()
        .filter(|record| old(record.value.at, PURGES))
        .map(|record| Record::Purge(record.value.clone()).key());
    let moves = state
        .migrations()
        .map(|migration| &migration.value)
        .filter(|migration| migration.ended.is_some_and(|ended| old(ended, MIGRATIONS)))
        .filter(|migration| {
            state.last_move_of(&migration.registry).is_some_and(|last| last.value.id != migration.id)
        })
        .map(|migration| migration_key(&migration.id));
    let restarts = state
        .restarts()
        .map(|restart| &restart.value)
        .filter(|restart| restart.ended.is_some_and(|ended| old(ended, MIGRATIONS)))
        .map(|restart| Record::Restart(restart.clone()).key());
    let plans = plans::old(state, |ended| old(ended, PLANS));
    let deletes: Vec<String> = purges.chain(moves).chain(restarts).chain(plans).take(AT_ONCE).collect();
    let done = format!("let go of {} sources and {} old records", puts.len(), deletes.len());
    Decision { puts, deletes, done, ..Decision::default() }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{World, moving, steer};
    use crate::command::{Command, Verb};
    use crate::migration::Progress;

    #[test]
    fn a_source_passes_late_pulls_on_a_day_after_the_move_is_final_and_not_before() {
        let mut world = World::new();
        world.done(moving("b"));
        world.step("contoso.1", Progress::Switch);
        world.now.0 += 3 * 24 * 3600 * 1000;
        assert!(world.done(Command::Sweep).is_nothing(), "a move that runs keeps its source");
        world.step("contoso.1", Progress::Drained { left: None });
        world.done(steer("contoso.1", Verb::Finish));
        world.now.0 += 24 * 3600 * 1000 - 1;
        assert!(world.done(Command::Sweep).is_nothing());
        world.now.0 += 1;
        world.done(Command::Sweep);
        let binding = world.binding("contoso");
        assert_eq!((binding.source, binding.home_stamp.as_str()), (None, "b"));
        assert!(world.done(Command::Sweep).is_nothing());
    }

    #[test]
    fn old_purges_and_moves_go_and_the_last_move_of_a_registry_stays() {
        let mut world = World::new();
        let registry = "contoso".parse().unwrap();
        world.done(Command::Purge { registry, repository: None, digest: None });
        for (id, to) in [("contoso.1", "b"), ("contoso.2", "b")] {
            world.done(moving(to));
            world.done(steer(id, Verb::Abort));
        }
        world.now.0 += 31 * 24 * 3600 * 1000;
        world.done(Command::Sweep);
        assert_eq!(world.state.purges().count(), 0);
        let left: Vec<&str> = world.state.migrations().map(|migration| migration.value.id.as_str()).collect();
        assert_eq!(left, ["contoso.2"]);
    }
}
