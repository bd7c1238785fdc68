//! What nodes used, minute by minute, and for whom: as each told this router, kept for fourteen days.
//!
//! Each router keeps its own, since nodes report to all. What is kept is small: some 20 bytes a bin in memory, and in the
//! file some 15 bytes more for each registry that used anything. A bin is told once: who sends it again is told that it
//! is there.

mod check;
mod code;
mod file;
mod row;

use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use dataproxy_router_api::{Incarnation, NodeBin, NodeName, NodeReport, Role, StampName};
use serde::{Deserialize, Serialize};

pub use check::Refused;
pub use file::FileError;
pub use row::{Row, Rows};

use crate::migration::UnixMillis;
use file::MinutesFile;

/// Bins of a node that are kept: fourteen days of minutes, or as many that are shorter.
pub const KEPT: u64 = 14 * 24 * 60;
/// Processes of a node of which it is known what they have told.
const PROCESSES: usize = 8;

/// Where a node was when it reported last.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    /// Its stamp.
    pub stamp: StampName,
    /// Its role: with the stamp, its pool.
    pub role: Role,
    /// Its version.
    pub version: String,
}

/// What nodes used.
#[derive(Debug)]
pub struct Minutes {
    file: MinutesFile,
    nodes: Mutex<BTreeMap<NodeName, Held>>,
}

/// What is held of a node in memory.
#[derive(Debug)]
struct Held {
    place: Place,
    rows: Rows,
    /// The last bin of each process, by its sequence; the newest process last.
    told: Vec<(Incarnation, u64)>,
    /// What was refused last, and of which bin.
    refused: Option<(u64, String)>,
}

/// A node, as it is held.
#[derive(Clone, Debug)]
pub struct NodeRows {
    /// Its name.
    pub name: NodeName,
    /// Where it was.
    pub place: Place,
    /// Its bins.
    pub rows: Rows,
    /// The last bin that was refused, and why.
    pub refused: Option<(u64, String)>,
}

/// What became of a report's bins.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Taken {
    /// The last bin of the process that is here, or was refused for good.
    pub sequence: u64,
    /// Those that were refused, by sequence, with the reason.
    pub refused: Vec<(u64, String)>,
}

impl Minutes {
    /// Opens the file at `path`, or makes it. Blocks.
    ///
    /// # Errors
    /// [`FileError`]
    pub fn open(path: &Path) -> Result<Self, FileError> {
        Self::of(MinutesFile::open(path)?)
    }

    /// Keeps them in memory alone: they end with the process.
    ///
    /// # Errors
    /// [`FileError`]
    pub fn in_memory() -> Result<Self, FileError> {
        Self::of(MinutesFile::in_memory()?)
    }

    fn of(file: MinutesFile) -> Result<Self, FileError> {
        let mut nodes = BTreeMap::new();
        for (name, place) in file.places()? {
            nodes.insert(name, Held { place, rows: Rows::default(), told: Vec::new(), refused: None });
        }
        file.each(|name, key, bin| {
            if let Some(held) = nodes.get_mut(name) {
                held.rows.add(bin, KEPT);
                held.has_told(Incarnation(key.incarnation), key.sequence);
            }
        })?;
        // Who has told nothing for as long as is kept is not kept either.
        let newest = nodes.values().map(Held::ends).max().unwrap_or(0);
        let past = |held: &Held| newest.saturating_sub(held.ends()) > KEPT * u64::from(held.rows.bin_seconds);
        for (name, _) in nodes.extract_if(.., |_, held| past(held)) {
            file.forget(&name)?;
        }
        Ok(Self { file, nodes: Mutex::new(nodes) })
    }

    /// The last bin that is here of a process, by its sequence; 0 if none is.
    pub fn told(&self, node: &NodeName, process: Incarnation) -> u64 {
        self.nodes().get(node).map_or(0, |held| held.of(process))
    }

    /// Takes in the bins of a report, which came at `now`. What is wrong is refused with the reason, what is doubtful is
    /// marked; either is not asked for again. Blocks, as it writes to the file.
    ///
    /// # Errors
    /// [`FileError`]: nothing was taken.
    pub fn take(&self, report: &NodeReport, now: UnixMillis) -> Result<Taken, FileError> {
        let (name, process) = (report.name(), report.incarnation);
        let mut taken = Taken { sequence: self.told(name, process), refused: Vec::new() };
        let mut sound: Vec<NodeBin> = Vec::new();
        for bin in &report.bins {
            if bin.sequence <= taken.sequence {
                // It was told before.
                continue;
            }
            taken.sequence = bin.sequence;
            match check::check(bin, report.time_ms, now) {
                Ok(doubts) => {
                    let mut bin = bin.clone();
                    bin.suspect.extend(doubts.into_iter().map(str::to_owned));
                    sound.push(bin);
                }
                Err(refused) => taken.refused.push((bin.sequence, refused.to_string())),
            }
        }
        if report.bins.is_empty() {
            return Ok(taken);
        }
        let place =
            Place { stamp: report.stamp.clone(), role: report.node.role, version: report.version.clone() };
        self.file.write(name, &place, process, &sound)?;
        let mut nodes = self.nodes();
        let held = nodes.entry(name.clone()).or_insert_with(|| Held {
            place: place.clone(),
            rows: Rows::default(),
            told: Vec::new(),
            refused: None,
        });
        held.place = place;
        for bin in &sound {
            held.rows.add(bin, KEPT);
        }
        if let Some((sequence, why)) = taken.refused.last() {
            let number = report.bins.iter().find(|bin| bin.sequence == *sequence).map_or(0, |bin| bin.number);
            held.refused = Some((number, why.clone()));
        }
        held.has_told(process, taken.sequence);
        Ok(taken)
    }

    /// Every node that has ever told anything, as of now.
    pub fn all(&self) -> Vec<NodeRows> {
        let nodes = self.nodes();
        let of = |(name, held): (&NodeName, &Held)| NodeRows {
            name: name.clone(),
            place: held.place.clone(),
            rows: held.rows.clone(),
            refused: held.refused.clone(),
        };
        nodes.iter().map(of).collect()
    }

    /// Shows `see` a node's bins of this length with these numbers, whoever used them, in order. Blocks.
    ///
    /// # Errors
    /// [`FileError`]
    pub fn bins(
        &self,
        node: &NodeName,
        bin_seconds: u32,
        numbers: std::ops::Range<u64>,
        mut see: impl FnMut(NodeBin),
    ) -> Result<(), FileError> {
        self.file.range(node, bin_seconds, numbers, |_, bin| see(bin))
    }

    fn nodes(&self) -> MutexGuard<'_, BTreeMap<NodeName, Held>> {
        self.nodes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Held {
    /// The end of its last bin, in seconds since 1970.
    fn ends(&self) -> u64 {
        self.rows.numbers().end.saturating_mul(u64::from(self.rows.bin_seconds))
    }

    fn of(&self, process: Incarnation) -> u64 {
        self.told.iter().find(|(of, _)| *of == process).map_or(0, |(_, sequence)| *sequence)
    }

    fn has_told(&mut self, process: Incarnation, sequence: u64) {
        let sequence = sequence.max(self.of(process));
        self.told.retain(|(of, _)| *of != process);
        self.told.push((process, sequence));
        if self.told.len() > PROCESSES {
            self.told.remove(0);
        }
    }
}

/// Registries by number, and numbers by registry.
type Numbers = HashMap<String, u32>;

#[cfg(test)]
mod tests;
