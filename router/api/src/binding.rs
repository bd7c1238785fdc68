//! Which stamp serves a registry, and which account holds its bytes.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{Placement, RegistryHost, RegistryName, StampName};

/// Version of one binding: only grows, never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Epoch(pub u64);

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Where a binding is in its life, as the store holds it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// Served by its home stamp, nothing under way.
    #[default]
    Stable,
    /// The destination of a move gets ready.
    Preparing,
    /// The home stamp has changed; the source ends its running work.
    Draining,
    /// The source is empty but still answers late arrivals.
    Observing,
}

/// Who may pull without a token.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PullPolicy {
    /// Nobody: every pull is refused for as long as no token is shown.
    #[default]
    Denied,
    /// Anybody may pull every repository.
    Anonymous,
}

/// How a registry's blobs reach its clients.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Delivery {
    /// Through a node.
    #[default]
    Stream,
    /// By a redirect to a signed URL of the storage account, where the node's configuration says that clients can
    /// reach that account; through a node elsewhere.
    Redirect,
}

/// A registry's binding to its home stamp.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Binding {
    /// The registry.
    pub registry: RegistryName,
    /// The stamp that serves it now.
    pub home_stamp: StampName,
    /// Version of this binding.
    pub epoch: Epoch,
    /// Where it is in its life.
    #[serde(default)]
    pub phase: Phase,
    /// The stamp that it is to move to, while that gets ready.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub destination: Option<StampName>,
    /// The stamp that served it before, until the move is final: it still serves who comes late, and can take it back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<StampName>,
    /// Where its bytes lie.
    pub placement: Placement,
    /// Who may pull without a token.
    #[serde(default)]
    pub pull: PullPolicy,
    /// How its blobs reach clients.
    #[serde(default)]
    pub delivery: Delivery,
    /// Further names by which clients know the registry, such as `docker.io`, in `Host` and `?ns=`. Each stands for
    /// itself alone, and without a port for every port.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub hosts: Vec<RegistryHost>,
}

impl Binding {
    /// A binding that is stable from its first epoch on, for nobody to pull without a token.
    pub fn new(registry: RegistryName, home_stamp: StampName, placement: Placement) -> Self {
        Self {
            registry,
            home_stamp,
            epoch: Epoch(1),
            phase: Phase::Stable,
            destination: None,
            source: None,
            placement,
            pull: PullPolicy::default(),
            delivery: Delivery::default(),
            hosts: Vec::new(),
        }
    }
}
