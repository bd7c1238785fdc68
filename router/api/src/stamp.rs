//! Stamps: deployment units inside a region.

use serde::{Deserialize, Serialize};

use crate::{AccountName, Node, StampName};

/// What a stamp takes on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StampState {
    /// Serves its registries and may get more.
    #[default]
    Active,
    /// Serves its registries and gets no more.
    Cordoned,
    /// Its registries are being moved away.
    Draining,
    /// Serves nothing and never will: its name stays taken, so that old records keep their meaning.
    Retired,
}

impl StampState {
    /// The stable word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Cordoned => "cordoned",
            Self::Draining => "draining",
            Self::Retired => "retired",
        }
    }
}

/// One stamp of the region.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stamp {
    /// Its name.
    pub name: StampName,
    /// Its nodes.
    pub nodes: Vec<Node>,
    /// Its storage accounts: the stamp that has the capacity and gets the blame. Empty where that is not stated.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub accounts: Vec<AccountName>,
    /// What it takes on.
    #[serde(default, skip_serializing_if = "StampState::is_active")]
    pub state: StampState,
}

impl StampState {
    fn is_active(&self) -> bool {
        *self == Self::Active
    }
}

impl Stamp {
    /// A stamp without nodes and accounts.
    pub fn new(name: StampName) -> Self {
        Self { name, nodes: Vec::new(), accounts: Vec::new(), state: StampState::Active }
    }
}
