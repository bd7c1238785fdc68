//! Bindings from a watched JSON file: a good one is in force within a second, a bad one changes nothing.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use arc_swap::ArcSwapOption;
use dataproxy_router_api::{RegionName, Snapshot, SnapshotError};
use metrics::{counter, gauge};

use super::{Bindings, Refused, Table};
use crate::lifecycle::Lifecycle;
use crate::watch::FileWatch;

/// A bindings file that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// It cannot be read.
    #[error("{}: the bindings file cannot be read: {error}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        error: std::io::Error,
    },
    /// It is not the JSON of a snapshot.
    #[error("{}:{line}:{column}: {reason}", path.display())]
    Parse {
        /// The file.
        path: PathBuf,
        /// Line, from 1.
        line: usize,
        /// Column, from 1.
        column: usize,
        /// What is wrong there.
        reason: String,
    },
    /// It has a field that a snapshot has not: in a file that people write, a name that is misspelt.
    #[error("{}: {field}: there is no such field; correct its name or leave it out", path.display())]
    Unknown {
        /// The file.
        path: PathBuf,
        /// Where it is in the file, such as `bindings.0.epohc`.
        field: String,
    },
    /// It contradicts itself.
    #[error("{}: {error}", path.display())]
    Invalid {
        /// The file.
        path: PathBuf,
        /// The contradiction.
        error: SnapshotError,
    },
    /// It is another region's.
    #[error("{}: these are the bindings of region {found}; this node is of region {node}", path.display())]
    Region {
        /// The file.
        path: PathBuf,
        /// The file's region.
        found: RegionName,
        /// The node's region.
        node: RegionName,
    },
    /// It does not follow what is in force.
    #[error("{}: {error}", path.display())]
    Refused {
        /// The file.
        path: PathBuf,
        /// Why.
        error: Refused,
    },
}

/// Reads and checks a bindings file.
///
/// # Errors
/// [`FileError`]
pub fn load(path: &Path, region: &RegionName) -> Result<Table, FileError> {
    let path = || path.to_owned();
    let text = std::fs::read_to_string(path()).map_err(|error| FileError::Read { path: path(), error })?;
    let mut unknown = None;
    let mut json = serde_json::Deserializer::from_str(&text);
    let parsed: Result<Snapshot, _> = serde_ignored::deserialize(&mut json, |field| {
        unknown.get_or_insert_with(|| field.to_string());
    });
    let parsed = parsed.and_then(|snapshot| json.end().map(|()| snapshot));
    // A name that is misspelt comes before what is missed because of it.
    if let Some(field) = unknown {
        return Err(FileError::Unknown { path: path(), field });
    }
    let snapshot = parsed.map_err(|error| FileError::Parse {
        path: path(),
        line: error.line(),
        column: error.column(),
        reason: reason(&error),
    })?;
    snapshot.validate().map_err(|error| FileError::Invalid { path: path(), error })?;
    if snapshot.region != *region {
        return Err(FileError::Region { path: path(), found: snapshot.region, node: region.clone() });
    }
    Ok(Table::new(snapshot))
}

/// The parser's words without the place, which is told apart.
fn reason(error: &serde_json::Error) -> String {
    let text = error.to_string();
    let place = format!(" at line {} column {}", error.line(), error.column());
    text.strip_suffix(&place).unwrap_or(&text).to_owned()
}

/// A watched bindings file.
#[derive(Debug)]
pub struct BindingsFile {
    path: PathBuf,
    region: RegionName,
    bindings: Arc<Bindings>,
    error: ArcSwapOption<String>,
}

impl BindingsFile {
    /// Loads the first table.
    ///
    /// # Errors
    /// [`FileError`]: a node does not start without bindings.
    pub fn open(path: PathBuf, region: RegionName) -> Result<Self, FileError> {
        let table = load(&path, &region)?;
        gauge!("dataproxy_bindings_revision").set(table.snapshot().revision.0 as f64);
        Ok(Self { path, region, bindings: Arc::new(Bindings::new(table)), error: ArcSwapOption::empty() })
    }

    /// The bindings that the file feeds.
    pub fn bindings(&self) -> &Arc<Bindings> {
        &self.bindings
    }

    /// Why the file as it is now is not in force, if it is not.
    pub fn error(&self) -> Option<Arc<String>> {
        self.error.load_full()
    }

    /// Follows the file for as long as it is polled. Safe to drop at any point.
    pub async fn follow(&self, life: &Lifecycle) {
        let mut watch = FileWatch::new(vec![self.path.clone()], life.reloads());
        // What changed between the first load and here has no version to differ from.
        loop {
            self.refresh().await;
            watch.changed().await;
        }
    }

    async fn refresh(&self) {
        let (path, region) = (self.path.clone(), self.region.clone());
        let loaded = tokio::task::spawn_blocking(move || load(&path, &region)).await;
        let Ok(loaded) = loaded else { return };
        match loaded.and_then(|table| self.replace(table)) {
            Ok(()) => self.error.store(None),
            Err(error) => {
                counter!("dataproxy_bindings_file_errors_total").increment(1);
                tracing::error!(%error, "bindings file refused; the bindings in force stay");
                self.error.store(Some(Arc::new(error.to_string())));
            }
        }
    }

    fn replace(&self, table: Table) -> Result<(), FileError> {
        let in_force = self.bindings.current();
        if in_force.snapshot() == table.snapshot() {
            return Ok(());
        }
        let revision = table.snapshot().revision;
        let (registries, stamps) = (table.snapshot().bindings.len(), table.snapshot().stamps.len());
        self.bindings
            .replace(table)
            .map_err(|error| FileError::Refused { path: self.path.clone(), error })?;
        gauge!("dataproxy_bindings_revision").set(revision.0 as f64);
        counter!("dataproxy_bindings_changes_total").increment(1);
        tracing::info!(%revision, registries, stamps, "bindings in force");
        Ok(())
    }
}

#[cfg(test)]
mod tests;
