//! What nodes are to forget.

use serde::{Deserialize, Serialize};

use crate::{RegistryName, Revision};

/// A registry, repository or blob that every node drops from its cache. It says nothing about storage: what is still
/// there is read anew.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Purge {
    /// When it was asked for. A node that has seen this revision has done it.
    pub revision: Revision,
    /// The registry.
    pub registry: RegistryName,
    /// The repository, if not all of them are meant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub repository: Option<String>,
    /// The blob or manifest, if not all of them are meant: `sha256:…` or `sha512:…`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<String>,
}

impl Purge {
    /// All of a registry.
    pub fn of(registry: RegistryName, revision: Revision) -> Self {
        Self { revision, registry, repository: None, digest: None }
    }
}
