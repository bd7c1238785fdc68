//! A plan that is carried out: reviewed, applied phase after phase, observed, taken back. Pure: the store, the nodes,
//! the measurements and the clock are the caller's.
//!
//! ```text
//!  proposed ─ approve ─► approved ─ apply ─► running ── every phase has passed ──► done
//!     │ reject              │ time is up       │  ▲ resume
//!     ▼                     ▼                  ▼  │
//!  rejected              expired             paused ── abort ─► aborted: what was switched stays and ends by itself
//!                                              │
//!                                              └─ rollback ─► rolling_back ─► rolled_back
//!
//!  a phase:  moving ── all its registries are switched and drained ──► observing ── its time is up ──► passed
//!               │ a move is given up: the plan pauses                      │ the guard fails: the phase is taken
//!               ▼                                                          │ back, and the plan pauses
//!            paused                                                        └ it cannot tell: the plan pauses
//! ```

mod advance;
mod guard;
mod judge;
mod ledger;
mod policy;

use dataproxy_router_api::{Epoch, RegistryName, StampName};
use serde::{Deserialize, Serialize};

pub use advance::{Advance, Sight, advance};
pub use guard::{Figures, Gate, Reading, Verdict};
pub use judge::{Case, judge, window_since};
pub use ledger::{Autonomy, Entry as LedgerEntry, Ledger, until_phase};
pub use policy::{ExecutionPolicy, NoWindow, Window};

use crate::migration::{Entry, UnixMillis};

/// Where a plan is on its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ExecutionState {
    /// It waits for approval.
    Proposed,
    /// Enough people have agreed to it, and nobody has applied it.
    Approved,
    /// Somebody was against it.
    Rejected,
    /// It was not applied in time: what it predicts is old.
    Expired,
    /// It takes its steps.
    Running,
    /// It takes no step until somebody resumes, aborts or takes it back.
    Paused,
    /// Its moves are taken back, the last one first.
    RollingBack,
    /// Every phase has passed.
    Done,
    /// It was stopped. What was switched stays where it is.
    Aborted,
    /// All that it moved is where it was.
    RolledBack,
}

impl ExecutionState {
    /// The stable word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Proposed => "proposed",
            Self::Approved => "approved",
            Self::Rejected => "rejected",
            Self::Expired => "expired",
            Self::Running => "running",
            Self::Paused => "paused",
            Self::RollingBack => "rolling_back",
            Self::Done => "done",
            Self::Aborted => "aborted",
            Self::RolledBack => "rolled_back",
        }
    }

    /// Whether nothing more will come of it.
    pub fn has_ended(self) -> bool {
        matches!(self, Self::Rejected | Self::Expired | Self::Done | Self::Aborted | Self::RolledBack)
    }

    /// Whether registries may be between two stamps because of it.
    pub fn is_under_way(self) -> bool {
        matches!(self, Self::Running | Self::Paused | Self::RollingBack)
    }
}

/// One registry's move as it is planned.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlannedMove {
    /// The registry.
    pub registry: RegistryName,
    /// Its home when the plan was made.
    pub from: StampName,
    /// Where it goes.
    pub to: StampName,
    /// Its epoch when the plan was made: bound anew since, the plan is stale for it.
    pub epoch: Epoch,
    /// The migration that carries it out, once it has begun.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub migration: Option<String>,
    /// The migration that takes it back, if one was needed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub taken_back_by: Option<String>,
}

/// Where a phase is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PhaseState {
    /// Its turn has not come.
    #[default]
    Waiting,
    /// Its registries are being moved.
    Moving,
    /// All of them are with their new stamps, and what comes of it is watched.
    Observing,
    /// Its guard agreed for the whole time.
    Passed,
    /// It was taken back.
    TakenBack,
}

/// A phase: registries that are moved one after the other, then watched together.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ExecutionPhase {
    /// What it is, as `idle tail`.
    pub name: String,
    /// Its moves, in their order.
    pub moves: Vec<PlannedMove>,
    /// How long it is watched.
    pub observe_seconds: u64,
    /// Where it is.
    #[serde(default)]
    pub state: PhaseState,
    /// When its observation began.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_since: Option<UnixMillis>,
    /// What its guard last said.
    #[serde(default)]
    pub gate: Gate,
}

/// Somebody's word on a plan. It is bound to the plan's hash: a plan that was edited has none.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Approval {
    /// Whose.
    pub actor: String,
    /// When.
    pub at: UnixMillis,
    /// The plan's hash, as it was agreed to.
    pub hash: String,
    /// Why.
    #[serde(default)]
    pub reason: String,
}

/// A plan on its way.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Execution {
    /// The plan's id.
    pub id: String,
    /// The plan's hash.
    pub hash: String,
    /// Where it is.
    pub state: ExecutionState,
    /// Who proposed it.
    pub proposed_by: String,
    /// When.
    pub proposed: UnixMillis,
    /// Until when it may be approved and applied.
    pub expires: UnixMillis,
    /// How many people have to agree.
    pub approvals_needed: u32,
    /// Who has.
    #[serde(default)]
    pub approvals: Vec<Approval>,
    /// Its phases, in their order.
    pub phases: Vec<ExecutionPhase>,
    /// The last phase that is to be carried out before it pauses, counted from 1; all if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until_phase: Option<usize>,
    /// Why it is paused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub paused: Option<String>,
    /// The first phase that is being taken back, counted from 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub back_to: Option<usize>,
    /// What has come about, oldest first.
    #[serde(default)]
    pub story: Vec<Entry>,
}

impl Execution {
    /// The phase whose turn it is, counted from 0; none once all have passed.
    pub fn current(&self) -> Option<usize> {
        self.phases.iter().position(|phase| phase.state != PhaseState::Passed)
    }

    /// Adds to the story.
    pub fn tell(&mut self, at: UnixMillis, what: impl Into<String>) {
        self.story.push(Entry { at, what: what.into() });
    }

    /// The move of a registry.
    pub fn move_of(&mut self, registry: &RegistryName) -> Option<&mut PlannedMove> {
        self.phases
            .iter_mut()
            .flat_map(|phase| &mut phase.moves)
            .find(|planned| planned.registry == *registry)
    }

    /// Whether enough people have agreed to this plan as it is.
    pub fn is_approved(&self) -> bool {
        let agreed = self.approvals.iter().filter(|approval| approval.hash == self.hash);
        agreed.count() >= self.approvals_needed as usize
    }
}
