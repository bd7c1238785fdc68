//! The zone as a list, for a cloud's DNS that is to answer instead: written to a file that an updater such as
//! ExternalDNS or a script reads.
//!
//! Each set has the epoch of its binding, and the list the revision of its snapshot. Neither ever goes back within a
//! history of the store: a router that is behind, or whose store was put back by other means than `router restore`,
//! refuses to write.

use std::collections::BTreeMap;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use dataproxy_router_api::{Epoch, History, Point, RegistryName, Revision, Snapshot};
use serde::{Deserialize, Serialize};

use super::pool::{Endpoint, Pool};
use super::zone::Zone;

/// One name and type with all its values.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecordSet {
    /// The absolute name, without the final dot.
    pub name: String,
    /// `A` or `AAAA`.
    #[serde(rename = "type")]
    pub kind: String,
    /// How long it is valid, in seconds.
    pub ttl: u32,
    /// The addresses.
    pub values: Vec<String>,
    /// The registry.
    pub registry: RegistryName,
    /// The epoch of its binding. Whoever applies this refuses an older one than it has.
    pub epoch: Epoch,
}

/// Every set of a zone, in the order of names.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecordSets {
    /// The zone, without the final dot.
    pub zone: String,
    /// The history that the revision is of.
    #[serde(default, skip_serializing_if = "History::is_first")]
    pub history: History,
    /// The snapshot's revision.
    pub revision: Revision,
    /// The sets. A name that is absent is to be deleted, after all others are written.
    pub sets: Vec<RecordSet>,
}

/// Why the list was not written.
#[derive(Debug, thiserror::Error)]
pub enum RecordSetsError {
    /// What is there is newer.
    #[error("{} has {what}, newer than {ours}: this router is behind, or its state was put back", path.display())]
    Older {
        /// The file.
        path: PathBuf,
        /// What it has.
        what: String,
        /// What was to be written.
        ours: String,
    },
    /// What is there is something else.
    #[error("{} is not a list of record sets of zone {zone}: {reason}; name another file", path.display())]
    Foreign {
        /// The file.
        path: PathBuf,
        /// The zone.
        zone: String,
        /// What was found.
        reason: String,
    },
    /// It cannot be written.
    #[error("{} cannot be written: {error}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
}

impl RecordSets {
    /// The sets of a snapshot.
    pub fn new(zone: &Zone, snapshot: &Snapshot) -> Self {
        let region = snapshot.region.as_str();
        let mut sets = Vec::new();
        for binding in &snapshot.bindings {
            let Some(stamp) = snapshot.stamp(&binding.home_stamp) else { continue };
            let registry = binding.registry.as_str();
            for (labels, endpoint) in [
                (&[registry][..], Endpoint::Registry),
                (&[registry, region, "geo"], Endpoint::Registry),
                (&[registry, region, "data"], Endpoint::Data),
            ] {
                let Some(name) = zone.below(labels) else { continue };
                let pool = Pool::of(stamp, endpoint);
                let v4 = pool.v4.iter().map(ToString::to_string).collect();
                let v6 = pool.v6.iter().map(ToString::to_string).collect();
                for (kind, values) in [("A", v4), ("AAAA", v6)] {
                    let values: Vec<String> = values;
                    if !values.is_empty() {
                        sets.push(RecordSet {
                            name: dotless(&name),
                            kind: kind.to_owned(),
                            ttl: zone.ttl,
                            values,
                            registry: binding.registry.clone(),
                            epoch: binding.epoch,
                        });
                    }
                }
            }
        }
        sets.sort_by(|one, other| (&one.name, &one.kind).cmp(&(&other.name, &other.kind)));
        Self { zone: dotless(&zone.name), history: snapshot.history, revision: snapshot.revision, sets }
    }

    /// Puts the list in the place of the file at `path`, whole or not at all, unless that is newer. Whether
    /// the file has changed: the same list is not written again. Blocks.
    ///
    /// # Errors
    /// [`RecordSetsError`]; the file is then as it was.
    pub fn write(&self, path: &Path) -> Result<bool, RecordSetsError> {
        let io = |error| RecordSetsError::Io { path: path.to_owned(), error };
        match std::fs::read(path) {
            Ok(found) => {
                let foreign = |reason: String| RecordSetsError::Foreign {
                    path: path.to_owned(),
                    zone: self.zone.clone(),
                    reason,
                };
                let found: Self =
                    serde_json::from_slice(&found).map_err(|error| foreign(error.to_string()))?;
                if found.zone != self.zone {
                    return Err(foreign(format!("it is of zone {}", found.zone)));
                }
                if found == *self {
                    return Ok(false);
                }
                self.is_no_older_than(&found, path)?;
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(io(error)),
        }
        self.replace(path).map_err(io)?;
        Ok(true)
    }

    fn is_no_older_than(&self, found: &Self, path: &Path) -> Result<(), RecordSetsError> {
        let older =
            |what: String, ours: String| Err(RecordSetsError::Older { path: path.to_owned(), what, ours });
        if found.point() > self.point() {
            return older(format!("revision {}", found.point()), self.point().to_string());
        }
        // What was restored from a backup has the epochs of that.
        if found.history < self.history {
            return Ok(());
        }
        let ours = self.epochs();
        for (registry, epoch) in found.epochs() {
            if let Some(our_epoch) = ours.get(registry).filter(|our_epoch| **our_epoch < epoch) {
                return older(format!("epoch {epoch} of {registry}"), our_epoch.to_string());
            }
        }
        Ok(())
    }

    fn point(&self) -> Point {
        Point { history: self.history, revision: self.revision }
    }

    fn epochs(&self) -> BTreeMap<&RegistryName, Epoch> {
        self.sets.iter().map(|set| (&set.registry, set.epoch)).collect()
    }

    fn replace(&self, path: &Path) -> io::Result<()> {
        let mut beside = path.as_os_str().to_owned();
        beside.push(".new");
        let mut file = std::fs::File::create(&beside)?;
        let mut text = serde_json::to_vec_pretty(self)?;
        text.push(b'\n');
        file.write_all(&text)?;
        file.sync_all()?;
        std::fs::rename(&beside, path)
    }
}

fn dotless(name: &hickory_proto::rr::Name) -> String {
    name.to_ascii().trim_end_matches('.').to_owned()
}

#[cfg(test)]
#[path = "record_sets/tests.rs"]
mod tests;
