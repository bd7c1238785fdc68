//! The file: bins by node and number, names of registries by their own numbers. Redb keeps it whole when the process dies
//! in the middle of a write.

use std::collections::HashMap;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use dataproxy_router_api::{Incarnation, NodeBin, NodeName, RegistryName};
use redb::backends::InMemoryBackend;
use redb::{Database, ReadableDatabase, ReadableTable, TableDefinition};

use super::{KEPT, Numbers, Place, code};

/// Node, length, number, process, sequence.
type BinKey = (&'static str, u32, u64, u64, u64);

const BINS: TableDefinition<BinKey, &[u8]> = TableDefinition::new("bins");
const PLACES: TableDefinition<&str, &[u8]> = TableDefinition::new("places");
const REGISTRIES: TableDefinition<u32, &str> = TableDefinition::new("registries");

/// What the file may keep in memory, in bytes.
const CACHE: usize = 16 << 20;

/// Why the file cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("what nodes used cannot be kept{}: {reason}", path.as_ref().map(|path| format!(" in {}", path.display())).unwrap_or_default())]
pub struct FileError {
    path: Option<PathBuf>,
    reason: String,
}

/// What names a bin beside its node.
#[derive(Clone, Copy, Debug)]
pub(super) struct Key {
    pub(super) bin_seconds: u32,
    pub(super) number: u64,
    pub(super) incarnation: u64,
    pub(super) sequence: u64,
}

#[derive(Debug)]
pub(super) struct MinutesFile {
    path: Option<PathBuf>,
    database: Database,
    names: Mutex<Names>,
}

#[derive(Debug, Default)]
struct Names {
    numbers: Numbers,
    names: HashMap<u32, RegistryName>,
}

impl MinutesFile {
    pub(super) fn open(path: &Path) -> Result<Self, FileError> {
        let database = Database::builder().set_cache_size(CACHE).create(path);
        Self::new(Some(path.to_owned()), database)
    }

    pub(super) fn in_memory() -> Result<Self, FileError> {
        Self::new(None, Database::builder().set_cache_size(CACHE).create_with_backend(InMemoryBackend::new()))
    }

    fn new(
        path: Option<PathBuf>,
        database: Result<Database, redb::DatabaseError>,
    ) -> Result<Self, FileError> {
        let failed =
            |error: &dyn std::fmt::Display| FileError { path: path.clone(), reason: error.to_string() };
        let database = database.map_err(|error| failed(&error))?;
        let prepare = || {
            let transaction = database.begin_write()?;
            transaction.open_table(BINS)?;
            transaction.open_table(PLACES)?;
            let mut names = Names::default();
            for entry in transaction.open_table(REGISTRIES)?.iter()? {
                let (number, name) = entry?;
                if let Ok(name) = name.value().parse::<RegistryName>() {
                    names.numbers.insert(name.to_string(), number.value());
                    names.names.insert(number.value(), name);
                }
            }
            transaction.commit()?;
            Ok::<_, redb::Error>(names)
        };
        let names = prepare().map_err(|error| failed(&error))?;
        Ok(Self { path, database, names: Mutex::new(names) })
    }

    fn failed(&self, error: &dyn std::fmt::Display) -> FileError {
        FileError { path: self.path.clone(), reason: error.to_string() }
    }

    fn names(&self) -> MutexGuard<'_, Names> {
        self.names.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes bins of one process, and lets go of those that are past. All or nothing.
    pub(super) fn write(
        &self,
        node: &NodeName,
        place: &Place,
        process: Incarnation,
        bins: &[NodeBin],
    ) -> Result<(), FileError> {
        let write = || {
            let transaction = self.database.begin_write()?;
            {
                let mut places = transaction.open_table(PLACES)?;
                let json = serde_json::to_vec(place).unwrap_or_default();
                places.insert(node.as_str(), json.as_slice())?;
                let mut table = transaction.open_table(BINS)?;
                let mut registries = transaction.open_table(REGISTRIES)?;
                for bin in bins {
                    let mut added = Vec::new();
                    let bytes = code::encode(bin, |registry| self.number_of(registry, &mut added));
                    for (number, registry) in added {
                        if registries.get(number)?.is_none() {
                            registries.insert(number, registry.as_str())?;
                        }
                    }
                    let key = (node.as_str(), bin.bin_seconds, bin.number, process.0, bin.sequence);
                    table.insert(key, bytes.as_slice())?;
                    let past = bin.number.saturating_sub(KEPT);
                    let old = (node.as_str(), bin.bin_seconds, 0, 0, 0)
                        ..(node.as_str(), bin.bin_seconds, past, 0, 0);
                    table.retain_in(old, |_, _| false)?;
                }
            }
            transaction.commit()?;
            Ok::<_, redb::Error>(())
        };
        write().map_err(|error| self.failed(&error))
    }

    fn number_of(&self, registry: &RegistryName, added: &mut Vec<(u32, RegistryName)>) -> u32 {
        let mut names = self.names();
        if let Some(number) = names.numbers.get(registry.as_str()) {
            // The write that should have told of it may have failed.
            added.push((*number, registry.clone()));
            return *number;
        }
        let number = u32::try_from(names.numbers.len()).unwrap_or(u32::MAX);
        names.numbers.insert(registry.to_string(), number);
        names.names.insert(number, registry.clone());
        added.push((number, registry.clone()));
        number
    }

    /// Where each node was.
    pub(super) fn places(&self) -> Result<Vec<(NodeName, Place)>, FileError> {
        let read = || {
            let transaction = self.database.begin_read()?;
            let table = transaction.open_table(PLACES)?;
            let mut all = Vec::new();
            for entry in table.iter()? {
                let (name, place) = entry?;
                let place = serde_json::from_slice(place.value()).ok();
                all.extend(name.value().parse::<NodeName>().ok().zip(place));
            }
            Ok::<_, redb::Error>(all)
        };
        read().map_err(|error| self.failed(&error))
    }

    /// Shows every bin of every node.
    pub(super) fn each(&self, mut see: impl FnMut(&NodeName, &Key, &NodeBin)) -> Result<(), FileError> {
        for (node, _) in self.places()? {
            // Its own lengths, each in order: a node seldom has two.
            let end = (node.as_str(), u32::MAX, u64::MAX, u64::MAX, u64::MAX);
            self.show((node.as_str(), 0, 0, 0, 0), end, |key, bin| see(&node, key, &bin))?;
        }
        Ok(())
    }

    /// Shows a node's bins of one length.
    pub(super) fn range(
        &self,
        node: &NodeName,
        bin_seconds: u32,
        numbers: Range<u64>,
        see: impl FnMut(&Key, NodeBin),
    ) -> Result<(), FileError> {
        let at = |number| (node.as_str(), bin_seconds, number, 0, 0);
        self.show(at(numbers.start), at(numbers.end), see)
    }

    fn show(
        &self,
        begin: (&str, u32, u64, u64, u64),
        end: (&str, u32, u64, u64, u64),
        mut see: impl FnMut(&Key, NodeBin),
    ) -> Result<(), FileError> {
        let mut read = || {
            let transaction = self.database.begin_read()?;
            let table = transaction.open_table(BINS)?;
            for entry in table.range(begin..end)? {
                let (key, bytes) = entry?;
                let (_, bin_seconds, number, incarnation, sequence) = key.value();
                let key = Key { bin_seconds, number, incarnation, sequence };
                let names = self.names();
                let bin = code::decode(&key, bytes.value(), |number| names.names.get(&number).cloned());
                drop(names);
                if let Some(bin) = bin {
                    see(&key, bin);
                }
            }
            Ok::<_, redb::Error>(())
        };
        read().map_err(|error| self.failed(&error))
    }

    pub(super) fn forget(&self, node: &NodeName) -> Result<(), FileError> {
        let write = || {
            let transaction = self.database.begin_write()?;
            {
                transaction.open_table(PLACES)?.remove(node.as_str())?;
                let mut table = transaction.open_table(BINS)?;
                let begin = (node.as_str(), 0, 0, 0, 0);
                let end = (node.as_str(), u32::MAX, u64::MAX, u64::MAX, u64::MAX);
                table.retain_in(begin..=end, |_, _| false)?;
            }
            transaction.commit()?;
            Ok::<_, redb::Error>(())
        };
        write().map_err(|error| self.failed(&error))
    }
}
