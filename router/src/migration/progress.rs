//! The next step of a move, from what is known of the nodes of both ends.

use std::time::Duration;

use dataproxy_router_api::{Binding, NodeName, Reach, RegistryReport, Revision, StampState};

use super::{Migration, MigrationState, UnixMillis};

/// A node of one end, as it last told of itself.
#[derive(Clone, Debug)]
pub struct Seen {
    /// Its name.
    pub name: NodeName,
    /// Whether it reports.
    pub is_live: bool,
    /// Whether new traffic is sent to it.
    pub in_rotation: bool,
    /// The revision that it works from.
    pub revision: Revision,
    /// What it does for the registry; absent if it is at rest.
    pub registry: Option<RegistryReport>,
}

/// What to do with a move now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Progress {
    /// Nothing yet; these are the words for what is awaited.
    Waits(String),
    /// Bind the registry to the destination.
    Switch,
    /// The source is quiet; or its time is up, with what was left.
    Drained {
        /// What still ran, if the time was up.
        left: Option<String>,
    },
    /// Make it final.
    Finish,
    /// Give it up, before the switch.
    Abort(String),
}

/// What is known of both ends of a move.
#[derive(Clone, Copy, Debug)]
pub struct Ends<'s> {
    /// The nodes of the source.
    pub source: &'s [Seen],
    /// The nodes of the destination.
    pub destination: &'s [Seen],
    /// What the destination takes on.
    pub takes: StampState,
}

/// The next step. `bound_at` is the revision at which the binding was last written.
pub fn progress(
    migration: &Migration,
    binding: &Binding,
    bound_at: Revision,
    ends: Ends<'_>,
    now: UnixMillis,
) -> Progress {
    if let Some(reason) = &migration.paused {
        return Progress::Waits(format!("paused: {reason}"));
    }
    match migration.state {
        MigrationState::Preparing => prepared(migration, bound_at, ends, now),
        MigrationState::Draining => drained(migration, binding, bound_at, ends.source, now),
        MigrationState::Observing => observed(migration, now),
        ended => Progress::Waits(format!("nothing: it is {}", ended.as_str())),
    }
}

fn prepared(migration: &Migration, bound_at: Revision, ends: Ends<'_>, now: UnixMillis) -> Progress {
    let awaited = match not_ready(migration, bound_at, ends) {
        None => return Progress::Switch,
        Some(awaited) => awaited,
    };
    let limit = migration.terms.prepare_seconds;
    if now.since(migration.began) >= Duration::from_secs(limit) {
        return Progress::Abort(format!("after {limit} s still: {awaited}"));
    }
    Progress::Waits(awaited)
}

/// What keeps the destination from serving, if anything does.
fn not_ready(migration: &Migration, bound_at: Revision, ends: Ends<'_>) -> Option<String> {
    if ends.takes != StampState::Active {
        return Some(format!("stamp {} is {} and gets no registry", migration.to, ends.takes.as_str()));
    }
    let mut serving = ends.destination.iter().filter(|node| node.in_rotation).peekable();
    if serving.peek().is_none() {
        return Some(format!("stamp {} has no node that is ready", migration.to));
    }
    serving.find_map(|node| {
        let name = &node.name;
        if !node.is_live {
            // It is out of rotation in a moment, or heard again.
            return Some(format!("node {name} does not report"));
        }
        if node.revision < bound_at {
            return Some(format!("node {name} works from revision {}, not yet {bound_at}", node.revision));
        }
        match node.registry.as_ref().and_then(|report| report.reach.as_ref()) {
            Some(Reach::Readable) => None,
            Some(Reach::Unreadable { why }) => Some(format!("node {name} cannot read the placement: {why}")),
            None => Some(format!("node {name} has not yet tried to read the placement")),
        }
    })
}

fn drained(
    migration: &Migration,
    binding: &Binding,
    bound_at: Revision,
    source: &[Seen],
    now: UnixMillis,
) -> Progress {
    let began = migration.switched.unwrap_or(migration.began);
    let awaited = source
        .iter()
        .filter(|node| node.is_live || node.in_rotation)
        .find_map(|node| not_quiet(migration, binding, bound_at, node, now.since(began)));
    match awaited {
        None => Progress::Drained { left: None },
        Some(awaited) if now.since(began) >= Duration::from_secs(migration.terms.drain_seconds) => {
            Progress::Drained { left: Some(awaited) }
        }
        Some(awaited) => Progress::Waits(awaited),
    }
}

/// What keeps a node of the source from being quiet, if anything does.
fn not_quiet(
    migration: &Migration,
    binding: &Binding,
    bound_at: Revision,
    node: &Seen,
    since: Duration,
) -> Option<String> {
    let name = &node.name;
    if !node.is_live {
        return Some(format!("node {name} does not report"));
    }
    if node.revision < bound_at {
        return Some(format!("node {name} works from revision {}, not yet {bound_at}", node.revision));
    }
    let needed = Duration::from_secs(migration.terms.quiet_seconds);
    let report = node.registry.as_ref().filter(|report| report.epoch >= binding.epoch);
    if let Some(report) = report.filter(|report| report.in_flight > 0) {
        let RegistryReport { in_flight, oldest_seconds, .. } = report;
        return Some(format!(
            "node {name} has {in_flight} requests running, the oldest for {oldest_seconds} s"
        ));
    }
    let quiet = report.and_then(|report| report.quiet_ms).map_or(since, Duration::from_millis);
    (quiet < needed).then(|| {
        let (quiet, needed) = (quiet.as_secs(), needed.as_secs());
        format!("node {name} has been quiet for {quiet} s of {needed}")
    })
}

fn observed(migration: &Migration, now: UnixMillis) -> Progress {
    let began = migration.drained.unwrap_or(migration.began);
    let needed = Duration::from_secs(migration.terms.observe_seconds);
    match needed.saturating_sub(now.since(began)) {
        Duration::ZERO => Progress::Finish,
        left => Progress::Waits(format!("observing for another {} s", left.as_secs().max(1))),
    }
}

#[cfg(test)]
mod tests {
    use dataproxy_router_api::{Epoch, Phase, Placement, ServingState};

    use super::*;
    use crate::migration::Terms;

    fn ends<'s>(source: &'s [Seen], destination: &'s [Seen]) -> Ends<'s> {
        Ends { source, destination, takes: StampState::Active }
    }

    const BOUND_AT: Revision = Revision(10);

    fn moving(state: MigrationState) -> (Migration, Binding) {
        let (a, b) = ("a".parse().unwrap(), "b".parse().unwrap());
        let migration = Migration {
            id: "contoso.1".into(),
            registry: "contoso".parse().unwrap(),
            from: a,
            to: b,
            state,
            began_at_epoch: Epoch(1),
            switched_to_epoch: Some(Epoch(2)),
            terms: Terms { prepare_seconds: 60, quiet_seconds: 30, drain_seconds: 900, observe_seconds: 600 },
            paused: None,
            takes_back: None,
            began: UnixMillis(1_000_000),
            switched: Some(UnixMillis(1_000_000)),
            drained: Some(UnixMillis(1_000_000)),
            ended: None,
            story: Vec::new(),
        };
        let placement = Placement::new("a1".parse().unwrap(), "contoso");
        let binding = Binding {
            epoch: Epoch(2),
            source: Some(migration.from.clone()),
            phase: Phase::Draining,
            ..Binding::new(migration.registry.clone(), migration.to.clone(), placement)
        };
        (migration, binding)
    }

    fn report(reach: Option<Reach>, in_flight: u64, quiet_ms: Option<u64>) -> RegistryReport {
        RegistryReport {
            registry: "contoso".parse().unwrap(),
            epoch: Epoch(2),
            serving: ServingState::Draining,
            in_flight,
            oldest_seconds: 7,
            begun: 0,
            quiet_ms,
            reach,
        }
    }

    fn node(name: &str, revision: u64, registry: Option<RegistryReport>) -> Seen {
        let name = name.parse().unwrap();
        Seen { name, is_live: true, in_rotation: true, revision: Revision(revision), registry }
    }

    fn readable() -> Option<RegistryReport> {
        Some(report(Some(Reach::Readable), 0, None))
    }

    fn at(seconds: u64) -> UnixMillis {
        UnixMillis(1_000_000 + seconds * 1000)
    }

    #[track_caller]
    fn waits(progress: &Progress, words: &str) {
        assert!(matches!(progress, Progress::Waits(why) if why.contains(words)), "{words}: {progress:?}");
    }

    #[test]
    fn a_registry_is_bound_to_the_destination_once_all_its_ready_nodes_have_the_binding_and_read_its_storage()
    {
        let (migration, binding) = moving(MigrationState::Preparing);
        let step = |nodes: &[Seen]| progress(&migration, &binding, BOUND_AT, ends(&[], nodes), at(1));
        waits(&step(&[]), "stamp b has no node that is ready");
        waits(&step(&[node("b1", 9, readable())]), "b1 works from revision 9, not yet 10");
        waits(&step(&[node("b1", 10, None)]), "b1 has not yet tried");
        let unreadable = Reach::Unreadable { why: "403".into() };
        let bad = node("b2", 10, Some(report(Some(unreadable), 0, None)));
        waits(&step(&[node("b1", 10, readable()), bad.clone()]), "b2 cannot read the placement: 403");
        assert_eq!(step(&[node("b1", 11, readable())]), Progress::Switch);
        // Who is silent is waited for until it counts as gone, and who is not sent anything is not.
        let silent = Seen { is_live: false, ..bad.clone() };
        waits(&step(&[node("b1", 10, readable()), silent.clone()]), "b2 does not report");
        let gone = Seen { in_rotation: false, ..silent };
        let cordoned = Seen { in_rotation: false, ..bad };
        assert_eq!(step(&[node("b1", 10, readable()), gone.clone(), cordoned]), Progress::Switch);
        waits(&step(&[gone]), "no node that is ready");
    }

    #[test]
    fn a_destination_that_was_cordoned_meanwhile_is_told_and_ends_the_move_in_time() {
        let (migration, binding) = moving(MigrationState::Preparing);
        let nodes = [node("b1", 10, readable())];
        let cordoned = Ends { takes: StampState::Cordoned, ..ends(&[], &nodes) };
        let step = |now| progress(&migration, &binding, BOUND_AT, cordoned, now);
        waits(&step(at(1)), "stamp b is cordoned and gets no registry");
        assert!(matches!(step(at(60)), Progress::Abort(why) if why.contains("cordoned")));
    }

    #[test]
    fn a_destination_that_does_not_get_ready_in_time_ends_the_move_before_the_switch() {
        let (migration, binding) = moving(MigrationState::Preparing);
        let step = |now| progress(&migration, &binding, BOUND_AT, ends(&[], &[node("b1", 9, None)]), now);
        waits(&step(at(59)), "revision 9");
        assert!(matches!(step(at(60)), Progress::Abort(why) if why.contains("after 60 s still: node b1")));
    }

    #[test]
    fn the_source_is_drained_when_nothing_runs_there_and_nothing_has_begun_for_a_while() {
        let (migration, binding) = moving(MigrationState::Draining);
        let step = |nodes: &[Seen], now| progress(&migration, &binding, BOUND_AT, ends(nodes, &[]), now);
        let busy = node("a1", 10, Some(report(None, 3, Some(60_000))));
        waits(&step(std::slice::from_ref(&busy), at(40)), "a1 has 3 requests running, the oldest for 7 s");
        waits(&step(&[node("a1", 10, Some(report(None, 0, Some(29_999))))], at(40)), "quiet for 29 s of 30");
        waits(&step(&[node("a1", 10, None)], at(29)), "quiet for 29 s of 30");
        waits(&step(&[node("a1", 9, None)], at(40)), "not yet 10");
        let quiet = [node("a1", 10, Some(report(None, 0, Some(30_000)))), node("a2", 10, None)];
        assert_eq!(step(&quiet, at(40)), Progress::Drained { left: None });
        let left = step(std::slice::from_ref(&busy), at(900));
        assert!(
            matches!(&left, Progress::Drained { left: Some(why) } if why.contains("3 requests")),
            "{left:?}"
        );
        // A dead stamp keeps nobody waiting, once it is known to be dead.
        let silent = Seen { is_live: false, ..busy };
        waits(&step(std::slice::from_ref(&silent), at(40)), "a1 does not report");
        let gone = Seen { in_rotation: false, ..silent };
        assert_eq!(step(&[gone], at(0)), Progress::Drained { left: None });
    }

    #[test]
    fn a_report_of_the_epoch_before_says_nothing_of_this_drain() {
        let (migration, binding) = moving(MigrationState::Draining);
        let old = RegistryReport { epoch: Epoch(1), ..report(None, 5, Some(90_000)) };
        let step = progress(&migration, &binding, BOUND_AT, ends(&[node("a1", 10, Some(old))], &[]), at(3));
        waits(&step, "quiet for 3 s of 30");
    }

    #[test]
    fn a_move_is_final_when_it_has_been_observed_for_long_enough_whatever_a_clock_does() {
        let (migration, binding) = moving(MigrationState::Observing);
        let step = |now| progress(&migration, &binding, BOUND_AT, ends(&[], &[]), now);
        waits(&step(at(599)), "another 1 s");
        assert_eq!(step(at(600)), Progress::Finish);
        waits(&step(UnixMillis(0)), "another 600 s");
    }

    #[test]
    fn a_move_that_is_paused_takes_no_step() {
        let (mut migration, binding) = moving(MigrationState::Observing);
        migration.paused = Some("too many errors".into());
        waits(
            &progress(&migration, &binding, BOUND_AT, ends(&[], &[]), at(9_999)),
            "paused: too many errors",
        );
    }
}
