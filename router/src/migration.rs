//! A move of one registry: what it has come to, and what may come next. Pure: the store, the nodes and the clock are
//! the caller's.
//!
//! ```text
//!                    every ready node of the destination
//!  move ─► Preparing ── has it, and reads the storage ──► Draining ── the source is quiet ──► Observing ──► Done
//!              │                 = the switch                 │   (nothing is ever cut)           │ time is up
//!              └─ abort, time is up ─► Aborted                └────────── rollback ───────────────┘
//!                                                       = a move back, at once: RolledBack
//! ```

mod progress;

use std::time::Duration;

use dataproxy_router_api::{Epoch, RegistryName, StampName};
use serde::{Deserialize, Serialize};

pub use progress::{Ends, Progress, Seen, progress};

/// A time, in milliseconds since 1970 (UTC).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct UnixMillis(pub u64);

impl UnixMillis {
    /// How long ago `earlier` was; nothing if a clock was set back between.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0))
    }
}

/// Where a move is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MigrationState {
    /// The destination gets ready; the source serves.
    Preparing,
    /// The destination serves; the source ends its running work.
    Draining,
    /// The source is quiet, serves who comes late, and can take the registry back.
    Observing,
    /// It is final.
    Done,
    /// It was given up before the switch.
    Aborted,
    /// The registry was taken back, by a move of its own.
    RolledBack,
}

impl MigrationState {
    /// Whether nothing more will come of it.
    pub fn has_ended(self) -> bool {
        matches!(self, Self::Done | Self::Aborted | Self::RolledBack)
    }

    /// The stable word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Preparing => "preparing",
            Self::Draining => "draining",
            Self::Observing => "observing",
            Self::Done => "done",
            Self::Aborted => "aborted",
            Self::RolledBack => "rolled_back",
        }
    }
}

/// The times of a move, in seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Terms {
    /// How long the destination may take to get ready before the move is given up.
    pub prepare_seconds: u64,
    /// How long no request may have begun at the source for it to count as quiet.
    pub quiet_seconds: u64,
    /// How long the source may take to get quiet before the move goes on all the same. Nothing is cut then either.
    pub drain_seconds: u64,
    /// How long the source can take the registry back.
    pub observe_seconds: u64,
}

impl Default for Terms {
    fn default() -> Self {
        Self { prepare_seconds: 120, quiet_seconds: 30, drain_seconds: 900, observe_seconds: 86_400 }
    }
}

/// One entry of a move's story.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// When.
    pub at: UnixMillis,
    /// What came about.
    pub what: String,
}

/// A move of one registry from one stamp to another.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Migration {
    /// `<registry>.<number>`.
    pub id: String,
    /// The registry.
    pub registry: RegistryName,
    /// The stamp that it leaves.
    pub from: StampName,
    /// The stamp that it goes to.
    pub to: StampName,
    /// Where the move is.
    pub state: MigrationState,
    /// The binding's epoch when it began.
    pub began_at_epoch: Epoch,
    /// The binding's epoch since the switch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub switched_to_epoch: Option<Epoch>,
    /// Its times.
    pub terms: Terms,
    /// Whether somebody has stopped it, and why: it takes no step of its own until it is resumed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub paused: Option<String>,
    /// The move that this one takes back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub takes_back: Option<String>,
    /// When it began.
    pub began: UnixMillis,
    /// When the destination began to serve.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub switched: Option<UnixMillis>,
    /// When the source was quiet, or its time was up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub drained: Option<UnixMillis>,
    /// When it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended: Option<UnixMillis>,
    /// What has come about, oldest first.
    pub story: Vec<Entry>,
}

impl Migration {
    /// Its number among the registry's moves.
    pub fn number(&self) -> u64 {
        self.id.rsplit('.').next().and_then(|number| number.parse().ok()).unwrap_or(0)
    }

    /// Adds to the story.
    pub fn tell(&mut self, at: UnixMillis, what: impl Into<String>) {
        self.story.push(Entry { at, what: what.into() });
    }
}
