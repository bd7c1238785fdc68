//! What is due by itself: nodes that came, changed or fell silent, the next step of every move, what has had its time.
//!
//! Level-triggered: each pass looks at what is, not at what has happened, so that nothing is lost by a crash, a missed
//! message or a change of the leader. Only the leader writes, and the store compares its fence with every write.

mod plans;

use std::sync::Arc;
use std::time::Duration;

use dataproxy_router_api::NodeState;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::command::{Command, Occasion, RestartVerb, Verb};
use crate::control::{Control, ControlError};
use crate::fleet::{Fleet, SILENCE};
use crate::leader::{LEADER, Standing};
use crate::metrics;
use crate::migration::{Ends, Progress, UnixMillis, progress};
use crate::restart::{self, Step};
use crate::state::State;
use crate::store::{Compare, Key};

/// Longest time between two passes.
const EVERY: Duration = Duration::from_millis(250);
/// Steps of one pass: what nodes say has its turn between them.
const STEPS: usize = 32;
/// Time between two sweeps.
const SWEEP_EVERY: Duration = Duration::from_secs(60);
/// How long a router that has just begun to lead waits before it believes that a node which it has not heard is gone.
const HEARING: Duration = Duration::from_secs(10);

pub use plans::{Guard, PlanSight, Unmeasured};

/// What this router is to the others, and its fence for as long as it leads.
pub type Lead = watch::Receiver<Standing>;

/// What every write of a leader compares; none if this router does not lead.
pub(crate) fn fence(standing: &Standing) -> Option<Compare> {
    match standing {
        Standing::Following { .. } => None,
        Standing::Leading(fence) => Some(Compare::Version { key: Key::new(LEADER), is: fence.revision() }),
    }
}

/// Does what is due whenever this router leads. Runs until it is dropped, which may be at any point.
pub async fn reconcile(
    control: Arc<Control>,
    fleet: Arc<Fleet>,
    guard: Arc<dyn Guard>,
    mut lead: Lead,
    clock: fn() -> UnixMillis,
) {
    let mut revisions = control.revisions();
    loop {
        let leads = |standing: &Standing| matches!(standing, Standing::Leading(_));
        let Ok(term) = lead.wait_for(leads).await.map(|standing| standing.clone()) else { return };
        let fence = fence(&term);
        let mut pass = Pass { since: Instant::now(), swept: None };
        metrics::led();
        control.pass(pass.since);
        while *lead.borrow_and_update() == term {
            let began = Instant::now();
            let due = pass.due(&control.state(), &fleet, guard.as_ref(), Instant::now(), clock());
            for command in due {
                if *lead.borrow() != term {
                    break;
                }
                carry_out(&control, &command, fence.as_ref(), clock()).await;
            }
            metrics::passed(began.elapsed());
            control.pass(Instant::now());
            tokio::select! {
                () = tokio::time::sleep(EVERY) => {}
                () = fleet.news() => {}
                changed = revisions.changed() => if changed.is_err() { return },
                changed = lead.changed() => if changed.is_err() { return },
            }
        }
    }
}

async fn carry_out(control: &Control, command: &Command, fence: Option<&Compare>, now: UnixMillis) {
    let occasion = Occasion { actor: "router".into(), reason: "it is due".into(), now };
    match control.execute(command, &occasion, fence).await {
        Ok(done) if done.decision.is_nothing() => {}
        Ok(done) => tracing::info!(revision = %done.revision, "{}", done.decision.done),
        // A node tells again in a second; to log each time would fill disks.
        Err(ControlError::Refused(refusal)) => {
            tracing::debug!(rule = refusal.rule, "{refusal}");
            if let Some(pause) = plans::refused(command, &refusal.message) {
                Box::pin(carry_out(control, &pause, fence, now)).await;
            }
        }
        Err(error) => tracing::warn!(%error, "what is due has to wait"),
    }
}

/// What one term of a leader remembers from pass to pass: nothing that would be missed.
#[derive(Debug)]
pub struct Pass {
    /// When the term began.
    pub since: Instant,
    /// When it last swept.
    pub swept: Option<Instant>,
}

impl Pass {
    /// What is due now.
    pub fn due(
        &mut self,
        state: &State,
        fleet: &Fleet,
        guard: &dyn Guard,
        now: Instant,
        wall: UnixMillis,
    ) -> Vec<Command> {
        let mut due = changed(state, fleet, now);
        due.extend(self.silent(state, fleet, now));
        if self.hears(state, fleet, now) {
            due.extend(steps(state, fleet, now, wall));
            due.extend(restarts(state, fleet, now, wall));
            due.extend(PlanSight { state, fleet, guard, now, wall }.steps());
        }
        if self.swept.is_none_or(|swept| now.duration_since(swept) >= SWEEP_EVERY) {
            self.swept = Some(now);
            due.push(Command::Sweep);
        }
        due
    }

    /// Whether enough is heard to judge by: every node that is sent anything; or, after a while, any.
    fn hears(&self, state: &State, fleet: &Fleet, now: Instant) -> bool {
        let mut nodes = state.nodes().map(|record| &record.value.node).peekable();
        if now.duration_since(self.since) < HEARING {
            return nodes.all(|node| !node.in_rotation() || fleet.is_live(&node.name, now));
        }
        nodes.peek().is_none() || nodes.any(|node| fleet.is_live(&node.name, now))
    }

    /// Nodes that have fallen silent. If none reports, it is this router that hears nothing.
    fn silent(&self, state: &State, fleet: &Fleet, now: Instant) -> Vec<Command> {
        let heard = fleet.all();
        let hears = heard.iter().any(|heard| now.duration_since(heard.at) < SILENCE);
        if !hears || now.duration_since(self.since) < HEARING {
            return Vec::new();
        }
        state
            .nodes()
            .map(|record| &record.value.node)
            .filter(|node| node.state != NodeState::Gone && !fleet.is_live(&node.name, now))
            .map(|node| Command::Silent { name: node.name.clone() })
            .collect()
    }
}

/// Nodes of which the store knows something else than they say.
fn changed(state: &State, fleet: &Fleet, now: Instant) -> Vec<Command> {
    let news = |heard: &crate::fleet::Heard| {
        let report = &heard.report;
        let known = state.node(report.name()).map(|record| &record.value);
        let is_known = known.is_some_and(|known| {
            let node = &known.node;
            let said = &report.node;
            known.incarnation == report.incarnation
                && known.stamp == report.stamp
                && known.version == report.version
                && (node.address, node.admin, node.role, node.state)
                    == (said.address, said.admin, said.role, said.state)
        });
        !is_known && now.duration_since(heard.at) < SILENCE
    };
    let heard = fleet.all().into_iter().filter(news);
    heard.map(|heard| Command::Reported(Box::new(heard.report))).collect()
}

/// The next step of every restart that can take one.
fn restarts(state: &State, fleet: &Fleet, now: Instant, wall: UnixMillis) -> Vec<Command> {
    let under_way = state.restarts().map(|restart| &restart.value).filter(|restart| restart.is_under_way());
    under_way
        .filter_map(|restart| {
            let stamp = &restart.stamp;
            let moving = state.moving_at(stamp).map(|migration| migration.id.as_str());
            match restart::next(restart, &fleet.turns(state, stamp, now), moving, wall) {
                Step::Waits(_) => None,
                step => Some(Command::SteerRestart { stamp: stamp.clone(), verb: RestartVerb::Step(step) }),
            }
        })
        .collect()
}

/// The next step of every move that can take one.
fn steps(state: &State, fleet: &Fleet, now: Instant, wall: UnixMillis) -> Vec<Command> {
    let step = |migration: &crate::migration::Migration| {
        let binding = state.binding(&migration.registry)?;
        let seen = |stamp| fleet.seen(state, stamp, &migration.registry, now);
        let (source, destination) = (seen(&migration.from), seen(&migration.to));
        let takes = state.stamp_record(&migration.to).map(|stamp| stamp.value.state).unwrap_or_default();
        let ends = Ends { source: &source, destination: &destination, takes };
        match progress(migration, &binding.value, binding.version, ends, wall) {
            Progress::Waits(_) => None,
            step => Some(Command::Steer { id: migration.id.clone(), verb: Verb::Step(step) }),
        }
    };
    state.moving().filter_map(|migration| step(&migration.value)).take(STEPS).collect()
}
