//! Which limit binds, how many cores it allows, and what is used of them.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::thread::{CpuSet, sched_getaffinity};
use serde::{Deserialize, Serialize};

use crate::cgroup::Groups;
use crate::clock::process_time;
use crate::stat::{self, Busy};

/// What is to be measured.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum Wanted {
    /// The limit that allows least: a control group's quota, else the processors that may be used.
    #[default]
    Auto,
    /// The processors that may be used, whoever uses them.
    Host,
    /// The control group of the process, and those above it.
    Cgroup,
    /// The process alone, of so many cores.
    Process {
        /// How many.
        cores: f64,
    },
}

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Scope {
    /// The processors that the process may use, with all that runs there.
    Host,
    /// A control group.
    Cgroup,
    /// The process.
    Process,
}

impl Scope {
    /// The stable word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Host => "host",
            Self::Cgroup => "cgroup",
            Self::Process => "process",
        }
    }
}

/// One look at the counters.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Counters {
    /// What was used, since some beginning.
    pub busy: Duration,
    /// What a hypervisor gave to others meanwhile; part of `busy`.
    pub steal: Duration,
    /// Cores that the limit allows.
    pub cores: f64,
    /// What is measured.
    pub scope: Scope,
    /// Which counter it is: the difference of two that are not the same means nothing.
    pub counter: u32,
}

/// Why nothing can be measured.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// The machine's counters cannot be had.
    #[error("{} tells of none of the processors that this process may use", path.display())]
    Stat {
        /// Where they should be.
        path: PathBuf,
    },
    /// There is no control group that counts.
    #[error("no control group counts this process's CPU time; the scopes host and process do without")]
    NoGroup,
    /// A number of cores that cannot be.
    #[error("{0} cores; more than 0 and at most 4096 are allowed")]
    Cores(f64),
}

/// Reads the counters of the limit that binds.
#[derive(Debug)]
pub struct Source {
    root: PathBuf,
    wanted: Wanted,
    groups: Option<Groups>,
    /// The processors that the process may use; all if absent.
    allowed: Option<BTreeSet<u32>>,
    ticks_per_second: u64,
}

impl Source {
    /// A source of this machine's counters, for the processors that the calling thread may use. Reads them once.
    ///
    /// # Errors
    /// [`SourceError`]
    pub fn open(wanted: Wanted) -> Result<Self, SourceError> {
        Self::below(Path::new("/"), wanted, affinity())
    }

    /// The same, of the files below `root`.
    pub(crate) fn below(
        root: &Path,
        wanted: Wanted,
        allowed: Option<BTreeSet<u32>>,
    ) -> Result<Self, SourceError> {
        let groups = Groups::of_process(root);
        if wanted == Wanted::Cgroup && groups.is_none() {
            return Err(SourceError::NoGroup);
        }
        if let Wanted::Process { cores } = wanted
            && !(cores > 0.0 && cores <= 4096.0)
        {
            return Err(SourceError::Cores(cores));
        }
        let ticks_per_second = rustix::param::clock_ticks_per_second();
        let source = Self { root: root.to_owned(), wanted, groups, allowed, ticks_per_second };
        source.read()?;
        Ok(source)
    }

    /// Looks at the counters now. A quota that was changed holds from the next look.
    ///
    /// # Errors
    /// [`SourceError`]
    pub fn read(&self) -> Result<Counters, SourceError> {
        match self.wanted {
            Wanted::Process { cores } => Ok(Counters {
                busy: process_time(),
                steal: Duration::ZERO,
                cores,
                scope: Scope::Process,
                counter: 0,
            }),
            Wanted::Host => Ok(host(self.machine()?)),
            Wanted::Cgroup => self.group(self.machine()?).ok_or(SourceError::NoGroup),
            Wanted::Auto => {
                let machine = self.machine()?;
                let quota = self.groups.as_ref().and_then(Groups::quota);
                let binds = quota.is_some_and(|quota| quota.cores < f64::from(machine.processors));
                let group = if binds { self.group(machine) } else { None };
                Ok(group.unwrap_or_else(|| host(machine)))
            }
        }
    }

    fn machine(&self) -> Result<Busy, SourceError> {
        let path = self.root.join("proc/stat");
        let text = fs::read_to_string(&path).unwrap_or_default();
        let counts = |number| self.allowed.as_ref().is_none_or(|allowed| allowed.contains(&number));
        stat::busy(&text, self.ticks_per_second, counts).ok_or(SourceError::Stat { path })
    }

    /// The group whose quota binds, or the innermost where none has one.
    fn group(&self, machine: Busy) -> Option<Counters> {
        let groups = self.groups.as_ref()?;
        let quota = groups.quota();
        let level = quota.as_ref().map_or(0, |quota| quota.level);
        let processors = f64::from(machine.processors);
        Some(Counters {
            busy: groups.used(level)?,
            steal: Duration::ZERO,
            cores: quota.map_or(processors, |quota| quota.cores.min(processors)),
            scope: Scope::Cgroup,
            counter: 1 + u32::try_from(level).unwrap_or(u32::MAX - 1),
        })
    }

    /// What `counters` are of, for people.
    pub fn describe(&self, counters: &Counters) -> String {
        let cores = counters.cores;
        match (counters.scope, &self.groups) {
            (Scope::Process, _) => format!("this process, of {cores} cores as stated"),
            (Scope::Cgroup, Some(groups)) => {
                let level = counters.counter.saturating_sub(1) as usize;
                format!("control group {}, which allows {cores} cores", groups.name(level))
            }
            _ => format!("the {cores} processors that this process may use, whoever uses them"),
        }
    }
}

fn host(machine: Busy) -> Counters {
    Counters {
        busy: machine.busy,
        steal: machine.steal,
        cores: f64::from(machine.processors),
        scope: Scope::Host,
        counter: 0,
    }
}

/// The processors that the calling thread may use: its cpuset's, or fewer.
fn affinity() -> Option<BTreeSet<u32>> {
    let set = sched_getaffinity(None).ok()?;
    let allowed = (0..CpuSet::MAX_CPU).filter(|number| set.is_set(*number));
    Some(allowed.filter_map(|number| u32::try_from(number).ok()).collect())
}

#[cfg(test)]
mod tests;
