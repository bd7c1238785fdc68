//! What people are shown: what is kept, with what nodes report of it now.

use dataproxy_router_api::{
    Binding, NodeReport, Phase, RegistryName, Revision, ServingState, StampName, StampState,
};
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use crate::command::changes_since;
use crate::execution::{Advance, Execution, ExecutionState, Gate, PhaseState, Sight, Verdict, advance};
use crate::fleet::{Fleet, acknowledged};
use crate::migration::{Ends, Migration, Progress, Seen, UnixMillis, progress};
use crate::reconcile::PlanSight;
use crate::record::{NodeRecord, PolicyRecord};
use crate::restart::{self, Restart, RestartTerms, Step};
use crate::state::{State, Versioned};

/// A stamp, summed up.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StampView {
    /// Its name.
    pub name: StampName,
    /// What it takes on.
    pub state: StampState,
    /// Its storage accounts.
    pub accounts: Vec<String>,
    /// Nodes that new traffic is sent to.
    pub nodes_in_rotation: usize,
    /// All its nodes.
    pub nodes: usize,
    /// Registries that it serves.
    pub registries: usize,
    /// Moves that lead to it and have not ended.
    pub coming: usize,
    /// Moves that lead away and have not ended.
    pub leaving: usize,
}

/// A node, with what it last told.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NodeView {
    /// What is kept of it.
    #[serde(flatten)]
    pub record: NodeRecord,
    /// Whether new traffic is sent to it.
    pub in_rotation: bool,
    /// The revision that it works from, as far as this router has heard.
    pub serves_revision: Option<Revision>,
    /// Requests that run there.
    pub in_flight: Option<u64>,
    /// How long ago it last reported to this router, in milliseconds.
    pub heard_ms_ago: Option<u64>,
}

/// A registry, with its move if it has one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RegistryView {
    /// Its binding.
    #[serde(flatten)]
    pub binding: Binding,
    /// The revision of the binding's last change.
    pub bound_at: Revision,
    /// The move that has not ended.
    pub migration: Option<String>,
    /// The stamp whose account holds its bytes, which a move does not change.
    pub storage_of: Option<StampName>,
}

/// A move, with what it waits for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MigrationView {
    /// What is kept of it.
    #[serde(flatten)]
    pub migration: Migration,
    /// What it waits for, or its next step.
    pub next: String,
    /// Time from its beginning to the switch, in milliseconds.
    pub to_switch_ms: Option<u64>,
    /// Time from the switch to a quiet source, in milliseconds.
    pub to_drained_ms: Option<u64>,
    /// What still goes on at the source, node by node.
    pub source: Vec<EndView>,
    /// What goes on at the destination, node by node.
    pub destination: Vec<EndView>,
    /// Where the bytes lie, since a move leaves them there.
    pub storage: String,
}

/// The restart of a stamp, with what it waits for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RestartView {
    /// What is kept of it.
    #[serde(flatten)]
    pub restart: Restart,
    /// What it waits for, or its next step.
    pub next: String,
}

/// One node of one end of a move.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EndView {
    /// Its name.
    pub node: String,
    /// Whether it reports.
    pub is_live: bool,
    /// The revision that it works from.
    pub revision: Revision,
    /// What it does for the registry.
    pub serving: ServingState,
    /// Requests of the registry that run there.
    pub in_flight: u64,
    /// Requests that began there since it had the binding: at the source, those that came late.
    pub begun: u64,
}

/// A plan, with what it waits for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PlanView {
    /// Where it is.
    #[serde(flatten)]
    pub execution: Execution,
    /// What it waits for, or its next step.
    pub next: String,
    /// What has changed since it was made, if it has not begun: with any, it cannot be approved or applied.
    pub changes: Vec<String>,
    /// What its guard says of the phase that is watched now.
    pub gate: Option<Gate>,
    /// The plan itself, where one plan was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plan: Option<serde_json::Value>,
}

/// A plan; `whole` with all that the planner said.
pub fn plan(sight: &PlanSight<'_>, execution: &Execution, whole: bool) -> PlanView {
    let next = match advance(execution, sight, sight.wall) {
        Advance::Waits(why) => why,
        Advance::Begin(registry) => format!("begins to move {registry}"),
        Advance::Observe => "the phase is watched".into(),
        Advance::Pass(_) => "the phase passes".into(),
        Advance::Pause(why) => format!("pauses: {why}"),
        Advance::TakePhaseBack(gate) => format!("takes the phase back: {}", gate.words(Verdict::Fail)),
        Advance::TakeBack(registry) => format!("takes {registry} back"),
        Advance::IsBack => "all is back".into(),
        Advance::Expire => "expires".into(),
    };
    let waits = matches!(execution.state, ExecutionState::Proposed | ExecutionState::Approved);
    let watched = execution.current().filter(|at| {
        let phase = execution.phases.get(*at);
        execution.state.is_under_way() && phase.is_some_and(|phase| phase.state == PhaseState::Observing)
    });
    let kept = || sight.state.plan(&execution.id).map(|plan| plan.value.plan.clone());
    PlanView {
        next,
        changes: if waits { changes_since(sight.state, execution) } else { Vec::new() },
        gate: watched.map(|at| sight.gate(execution, at)),
        plan: whole.then(kept).flatten(),
        execution: execution.clone(),
    }
}

/// The rules, with the usual ones where none were set.
pub fn policy(state: &State) -> PolicyRecord {
    let mut policy = state.policy().cloned().unwrap_or_default();
    let usual = serde_json::to_value(dataproxy_planner::Policy::default());
    if let Ok(serde_json::Value::Object(usual)) = usual {
        for (name, value) in usual {
            policy.planning.entry(name).or_insert(value);
        }
    }
    policy
}

/// The stamps.
pub fn stamps(state: &State) -> Vec<StampView> {
    state
        .stamps()
        .map(|stamp| {
            let stamp = &stamp.value;
            let nodes: Vec<&NodeRecord> = state.nodes_of(&stamp.name).map(|record| &record.value).collect();
            StampView {
                name: stamp.name.clone(),
                state: stamp.state,
                accounts: stamp.accounts.iter().map(ToString::to_string).collect(),
                nodes_in_rotation: nodes.iter().filter(|record| record.node.in_rotation()).count(),
                nodes: nodes.len(),
                registries: state.bindings().filter(|binding| binding.value.home_stamp == stamp.name).count(),
                coming: state.moving().filter(|migration| migration.value.to == stamp.name).count(),
                leaving: state.moving().filter(|migration| migration.value.from == stamp.name).count(),
            }
        })
        .collect()
}

/// A node.
pub fn node(state: &State, record: &NodeRecord, fleet: &Fleet, now: Instant) -> NodeView {
    let heard = fleet.of(&record.node.name);
    let report: Option<&NodeReport> = heard.as_ref().map(|heard| &heard.report);
    NodeView {
        in_rotation: record.node.in_rotation(),
        serves_revision: report.map(|report| acknowledged(report, state)),
        in_flight: report.map(|report| report.in_flight),
        heard_ms_ago: heard
            .as_ref()
            .map(|heard| u64::try_from(now.duration_since(heard.at).as_millis()).unwrap_or(u64::MAX)),
        record: record.clone(),
    }
}

/// A registry.
pub fn registry(state: &State, binding: &Versioned<Binding>) -> RegistryView {
    RegistryView {
        bound_at: binding.version,
        migration: state.move_of(&binding.value.registry).map(|migration| migration.value.id.clone()),
        storage_of: state.owner(&binding.value.placement.account).cloned(),
        binding: binding.value.clone(),
    }
}

/// A move.
pub fn migration(
    state: &State,
    fleet: &Fleet,
    of: &Migration,
    now: Instant,
    wall: UnixMillis,
) -> MigrationView {
    let seen = |stamp: &StampName| fleet.seen(state, stamp, &of.registry, now);
    let (source, destination) = (seen(&of.from), seen(&of.to));
    let binding = state.binding(&of.registry);
    let takes = state.stamp_record(&of.to).map(|stamp| stamp.value.state).unwrap_or_default();
    let ends = Ends { source: &source, destination: &destination, takes };
    let next = match binding {
        None => "nothing: the registry is gone".to_owned(),
        Some(binding) => match progress(of, &binding.value, binding.version, ends, wall) {
            Progress::Waits(why) => why,
            Progress::Switch => "the switch".into(),
            Progress::Drained { .. } => "the source is drained".into(),
            Progress::Finish => "the end".into(),
            Progress::Abort(why) => format!("to be given up: {why}"),
        },
    };
    let millis =
        |from: UnixMillis, to: UnixMillis| u64::try_from(to.since(from).as_millis()).unwrap_or(u64::MAX);
    let end = |nodes: &[Seen], stamp: &StampName| {
        nodes.iter().map(|node| end(node, binding.map(|binding| &binding.value), stamp)).collect()
    };
    MigrationView {
        next,
        to_switch_ms: of.switched.map(|switched| millis(of.began, switched)),
        to_drained_ms: of.switched.zip(of.drained).map(|(switched, drained)| millis(switched, drained)),
        source: end(&source, &of.from),
        destination: end(&destination, &of.to),
        storage: storage(state, &of.registry),
        migration: of.clone(),
    }
}

/// The restart of a stamp.
pub fn restart(state: &State, fleet: &Fleet, of: &Restart, now: Instant, wall: UnixMillis) -> RestartView {
    let moving = state.moving_at(&of.stamp).map(|migration| migration.id.as_str());
    let next = match restart::next(of, &fleet.turns(state, &of.stamp, now), moving, wall) {
        Step::Waits(why) => why,
        Step::Drain(node) => format!("node {node} drains"),
        Step::Left(node) => format!("node {node} has ended"),
        Step::Back { how, .. } => how,
        Step::Pause(why) => format!("to be paused: {why}"),
        Step::Finish => "the end".into(),
    };
    RestartView { restart: of.clone(), next }
}

/// What a restart of a stamp would do, step by step.
pub fn restart_steps(state: &State, stamp: &StampName, terms: &RestartTerms) -> Vec<String> {
    let nodes = state.nodes_of(stamp).filter(|record| record.value.node.in_rotation());
    let RestartTerms { max_unavailable, deadline_seconds, back_seconds, settle_seconds } = terms;
    let mut steps: Vec<String> = nodes
        .map(|record| {
            let name = &record.value.node.name;
            format!(
                "{name}: drains within {deadline_seconds} s, ends, is started again by its supervisor within {back_seconds} s"
            )
        })
        .collect();
    steps.push(format!(
        "at most {max_unavailable} out of rotation at a time; each serves for {settle_seconds} s before the next drains"
    ));
    steps
}

fn end(node: &Seen, binding: Option<&Binding>, stamp: &StampName) -> EndView {
    let report = node.registry.as_ref();
    let derived = binding.map_or(ServingState::Absent, |binding| ServingState::of(binding, stamp));
    EndView {
        node: node.name.to_string(),
        is_live: node.is_live,
        revision: node.revision,
        serving: report.map_or(derived, |report| report.serving),
        in_flight: report.map_or(0, |report| report.in_flight),
        begun: report.map_or(0, |report| report.begun),
    }
}

/// Where a registry's bytes lie, in words.
pub fn storage(state: &State, registry: &RegistryName) -> String {
    let Some(binding) = state.binding(registry) else { return String::new() };
    let account = &binding.value.placement.account;
    match state.owner(account) {
        Some(stamp) => format!(
            "its bytes stay in account {account} of stamp {stamp}: a move changes who serves, and copies nothing"
        ),
        None => format!("its bytes stay in account {account}: a move changes who serves, and copies nothing"),
    }
}

/// What a move of a registry would do, step by step.
pub fn steps(state: &State, registry: &RegistryName, to: &StampName) -> Vec<String> {
    let Some(binding) = state.binding(registry).map(|binding| &binding.value) else { return Vec::new() };
    let from = &binding.home_stamp;
    if binding.phase != Phase::Stable || from == to {
        return Vec::new();
    }
    let names = |stamp: &StampName| {
        let ready = state.nodes_of(stamp).filter(|record| record.value.node.in_rotation());
        let names: Vec<&str> = ready.map(|record| record.value.node.name.as_str()).collect();
        match names.as_slice() {
            [] => format!("the nodes of stamp {stamp}, of which none is ready now,"),
            names => format!("{} of stamp {stamp}", names.join(", ")),
        }
    };
    vec![
        format!("prepare: {} take the binding and read account {}", names(to), binding.placement.account),
        format!(
            "switch: stamp {to} serves, epoch {} becomes {}; DNS follows",
            binding.epoch,
            binding.epoch.0 + 1
        ),
        format!("drain: {} end their running work; nothing is cut", names(from)),
        format!("observe: stamp {from} serves who comes late, and can take it back"),
        storage(state, registry),
    ]
}
