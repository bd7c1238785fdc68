//! The restart of a stamp, node after node, under its traffic: how far it is, and what comes next. Pure: the store, the
//! nodes and the clock are the caller's.
//!
//! ```text
//! each node:  Waiting ─ drain is asked ─► Draining ─ its process has ended ─► Away ─ a new one is ready, and knows
//!                                                                                    that it is ─► Back
//! the whole:  Running ─ all are back ─► Done;  or ─ abort ─► Aborted: nodes that drain come back, no other is asked
//! ```
//!
//! The router only asks for drains. What starts a node again is its supervisor: systemd, Kubernetes, `region`.

mod next;

use std::time::Duration;

use dataproxy_router_api::{Incarnation, NodeName, StampName};
use serde::{Deserialize, Serialize};

use crate::migration::{Entry, UnixMillis};

pub use next::{Seen, Step, next, only_one};

/// Where the restart of a stamp is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RestartState {
    /// Nodes take their turns.
    Running,
    /// Every node has a new process.
    Done,
    /// It was given up; nodes that had their turn keep their new process.
    Aborted,
}

impl RestartState {
    /// Whether nothing more will come of it.
    pub fn has_ended(self) -> bool {
        self != Self::Running
    }

    /// The stable word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Done => "done",
            Self::Aborted => "aborted",
        }
    }
}

/// Where one node is in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Turn {
    /// It serves, and its turn is to come.
    Waiting,
    /// It ends its pulls.
    Draining,
    /// Its process has ended, and the next one is not ready.
    Away,
    /// Its new process serves.
    Back,
}

/// One node of a restart.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeTurn {
    /// Its name.
    pub name: NodeName,
    /// The process that is to end.
    pub before: Incarnation,
    /// Where it is.
    pub turn: Turn,
    /// Since when; its time begins anew when a pause ends.
    pub since: UnixMillis,
}

/// How a stamp is restarted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct RestartTerms {
    /// Nodes that may be out of rotation at a time, for whatever reason.
    pub max_unavailable: u32,
    /// How long a node's running pulls may take before they are cut, in seconds.
    pub deadline_seconds: u32,
    /// How long a node may take from the end of its process until it serves again before the restart pauses, in seconds.
    pub back_seconds: u32,
    /// How long a node serves again before the next one drains, in seconds: clients have to find it, so no less than
    /// the TTL of DNS.
    pub settle_seconds: u32,
}

impl Default for RestartTerms {
    fn default() -> Self {
        Self { max_unavailable: 1, deadline_seconds: 1800, back_seconds: 300, settle_seconds: 10 }
    }
}

impl RestartTerms {
    /// How long a drain may take in all: a node cuts at the deadline and ends half a minute later at the latest.
    fn drain(&self) -> Duration {
        Duration::from_secs(u64::from(self.deadline_seconds) + 120)
    }
}

/// The restart of a stamp. There is one at most; the last one is kept until the next.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Restart {
    /// The stamp.
    pub stamp: StampName,
    /// Its number among the stamp's restarts.
    pub number: u64,
    /// Where it is.
    pub state: RestartState,
    /// How it is done.
    pub terms: RestartTerms,
    /// Why no further step is taken, if somebody has stopped it or a node did not come back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub paused: Option<String>,
    /// The nodes in the order of their turns.
    pub nodes: Vec<NodeTurn>,
    /// When it began.
    pub began: UnixMillis,
    /// When it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended: Option<UnixMillis>,
    /// What has come about, oldest first.
    pub story: Vec<Entry>,
}

impl Restart {
    /// Whether it goes on by itself.
    pub fn is_under_way(&self) -> bool {
        self.state == RestartState::Running && self.paused.is_none()
    }

    /// Adds to the story.
    pub fn tell(&mut self, at: UnixMillis, what: impl Into<String>) {
        self.story.push(Entry { at, what: what.into() });
    }
}
