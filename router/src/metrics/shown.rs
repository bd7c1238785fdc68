//! Gauges that are read off the state at a scrape.

use std::collections::BTreeMap;

use dataproxy_router_api::{NodeState, Phase, StampState};
use metrics::gauge;
use tokio::time::Instant;

use crate::fleet::{Fleet, acknowledged};
use crate::leader::Standing;
use crate::state::State;

const PHASES: [&str; 4] = ["stable", "preparing", "draining", "observing"];
const MOVES: [&str; 7] = ["preparing", "draining", "observing", "done", "aborted", "rolled_back", "paused"];
const RESTARTS: [&str; 4] = ["running", "done", "aborted", "paused"];

/// Shows what is known now; what nodes are told was told last at `told`.
pub fn show(state: &State, fleet: &Fleet, standing: &Standing, passed: Option<Instant>) {
    gauge!("router_revision").set(state.revision().0 as f64);
    gauge!("router_history").set(state.history().0 as f64);
    let leads = matches!(standing, Standing::Leading(_));
    gauge!("router_leads").set(if leads { 1.0 } else { 0.0 });
    let age = passed.filter(|_| leads).map_or(0.0, |at| at.elapsed().as_secs_f64());
    gauge!("router_reconcile_age_seconds").set(age);
    let stamps = state.stamps().map(|stamp| stamp.value.state.as_str());
    count("router_stamps", "state", &STAMPS.map(StampState::as_str), stamps);
    let nodes = state.nodes().map(|record| record.value.node.state.as_str());
    count("router_nodes", "state", &NODES.map(NodeState::as_str), nodes);
    let serving = state.nodes().filter(|record| record.value.node.in_rotation()).count();
    gauge!("router_nodes_in_rotation").set(serving as f64);
    let now = Instant::now();
    let behind = fleet.all().into_iter().filter(|heard| {
        fleet.is_live(heard.report.name(), now) && acknowledged(&heard.report, state) < state.revision()
    });
    gauge!("router_nodes_behind").set(behind.count() as f64);
    count("router_bindings", "phase", &PHASES, state.bindings().map(|binding| phase(binding.value.phase)));
    let moves = state.migrations().map(|of| match &of.value {
        of if of.paused.is_some() => "paused",
        of => of.state.as_str(),
    });
    count("router_migrations", "state", &MOVES, moves);
    let restarts = state.restarts().map(|of| match &of.value {
        of if of.paused.is_some() => "paused",
        of => of.state.as_str(),
    });
    count("router_restarts", "state", &RESTARTS, restarts);
    let (resident, anonymous) = memory();
    gauge!("router_resident_bytes").set(resident as f64);
    gauge!("router_anonymous_bytes").set(anonymous as f64);
}

const STAMPS: [StampState; 4] =
    [StampState::Active, StampState::Cordoned, StampState::Draining, StampState::Retired];
const NODES: [NodeState; 4] = [NodeState::Joining, NodeState::Ready, NodeState::Draining, NodeState::Gone];

fn phase(phase: Phase) -> &'static str {
    match phase {
        Phase::Stable => "stable",
        Phase::Preparing => "preparing",
        Phase::Draining => "draining",
        Phase::Observing => "observing",
    }
}

fn count(
    name: &'static str,
    label: &'static str,
    words: &[&'static str],
    found: impl Iterator<Item = &'static str>,
) {
    let mut counts: BTreeMap<&str, u32> = words.iter().map(|word| (*word, 0)).collect();
    for word in found {
        *counts.entry(word).or_default() += 1;
    }
    for (word, count) in counts {
        gauge!(name, label => word.to_owned()).set(f64::from(count));
    }
}

/// Resident memory and that of it which no file backs, in bytes; 0 where the system does not say.
fn memory() -> (u64, u64) {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let of = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok()).unwrap_or(0) * 1024
    };
    (of("VmRSS:"), of("RssAnon:"))
}
