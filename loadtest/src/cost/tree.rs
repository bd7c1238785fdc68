//! CPU and memory of processes and all that descend from them, while children come and go.
//!
//! A process that ended and was waited for has left its time in its parent's account of children, where it is counted. One
//! that nobody of the tree waits for (its parent has gone, or ignores its children) would take its time with it: what was
//! last seen of it is kept. Time that a process used and took away between two looks is lost, so look often.

use std::collections::{BTreeMap, BTreeSet};
use std::io;

use super::process::{self, Identity, Stat, Ticks};

/// Seconds of CPU.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Cpu {
    /// In user code.
    pub user: f64,
    /// In the kernel.
    pub system: f64,
}

/// What a look at a tree has found.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Seen {
    /// CPU since the tree was first looked at; never falls.
    pub cpu: Cpu,
    /// Resident memory now, bytes; pages that processes share count for each.
    pub resident: u64,
    /// Processes that run.
    pub processes: usize,
}

/// Some processes and all their descendants.
#[derive(Debug)]
pub struct Tree {
    known: BTreeMap<Identity, Stat>,
    /// Of processes that took their time with them.
    banked: Ticks,
    /// What was used before the first look.
    before: Ticks,
    /// Ticks since the boot at the first look.
    begun: u64,
    scale: Scale,
}

/// Why a tree cannot be watched.
#[derive(Debug, thiserror::Error)]
pub enum TreeError {
    /// There is no such process.
    #[error("there is no process {0}; give the number of one that runs, as ps and pgrep show it")]
    NoProcess(u32),
    /// `/proc` cannot be read.
    #[error("/proc, which tells the CPU of processes, cannot be read: {0}")]
    Proc(#[from] io::Error),
}

#[derive(Clone, Copy, Debug)]
struct Scale {
    ticks_per_second: f64,
    page: u64,
}

impl Cpu {
    /// Both together.
    pub fn total(self) -> f64 {
        self.user + self.system
    }

    /// What came since `earlier`.
    pub fn since(self, earlier: Self) -> Self {
        Self { user: self.user - earlier.user, system: self.system - earlier.system }
    }
}

impl Tree {
    /// The tree below `roots`, as it is now.
    ///
    /// # Errors
    /// If one of them does not run, or `/proc` cannot be read.
    pub fn of(roots: &[u32]) -> Result<Self, TreeError> {
        let mut known = BTreeMap::new();
        for &root in roots {
            let stat = process::read(root)?.ok_or(TreeError::NoProcess(root))?;
            known.insert(stat.identity, stat);
        }
        let scale = Scale {
            ticks_per_second: rustix::param::clock_ticks_per_second() as f64,
            page: rustix::param::page_size() as u64,
        };
        let mut tree = Self { known, banked: Ticks::default(), before: Ticks::default(), begun: 0, scale };
        tree.begun = uptime(scale)?;
        let now = process::all()?;
        // What is there already has a past of its own.
        tree.known = descendants(&tree.known, &now);
        tree.before = sum(tree.known.values().map(Stat::total));
        Ok(tree)
    }

    /// Looks at every process of the machine for new ones of the tree. Some 5 µs for each.
    ///
    /// # Errors
    /// If `/proc` cannot be read. A tree that has ended is no error: it uses nothing more.
    pub fn look(&mut self) -> io::Result<Seen> {
        let now = process::all()?;
        self.take_in(&now);
        Ok(self.seen())
    }

    /// The resident bytes of the processes that are known, without a look for new ones.
    pub fn resident(&self) -> u64 {
        let pages = self.known.keys().filter_map(|identity| {
            let stat = process::read(identity.pid).ok()??;
            (stat.identity == *identity).then_some(stat.resident_pages)
        });
        pages.sum::<u64>() * self.scale.page
    }

    /// The processes that are known, children after their parents as far as numbers tell.
    pub fn pids(&self) -> Vec<u32> {
        self.known.keys().map(|identity| identity.pid).collect()
    }

    fn take_in(&mut self, now: &[Stat]) {
        let next = descendants(&self.known, now);
        for (identity, stat) in &next {
            if !self.known.contains_key(identity) && identity.started < self.begun {
                // Adopted from elsewhere, with a past that is not of this tree.
                self.before = self.before.plus(stat.total());
            }
        }
        self.banked = self.banked.plus(self.taken_away(&next));
        self.known = next;
    }

    /// The time of processes that have ended and that no process of the tree has in its account.
    fn taken_away(&self, next: &BTreeMap<Identity, Stat>) -> Ticks {
        let by_pid: BTreeMap<u32, &Stat> =
            self.known.iter().map(|(identity, stat)| (identity.pid, stat)).collect();
        let mut orphaned = Ticks::default();
        let mut due: BTreeMap<Identity, Ticks> = BTreeMap::new();
        for (identity, stat) in &self.known {
            if next.contains_key(identity) {
                continue;
            }
            match heir(stat, &by_pid, next) {
                Some(heir) => {
                    let sum = due.entry(heir).or_default();
                    *sum = sum.plus(stat.total());
                }
                None => orphaned = orphaned.plus(stat.total()),
            }
        }
        let missing = due.iter().map(|(heir, due)| {
            let waited = |stats: &BTreeMap<Identity, Stat>| {
                stats.get(heir).map_or(Ticks::default(), |stat| stat.waited)
            };
            due.less(waited(next).less(waited(&self.known)))
        });
        orphaned.plus(sum(missing))
    }

    fn seen(&self) -> Seen {
        let used = sum(self.known.values().map(Stat::total)).plus(self.banked).less(self.before);
        let pages: u64 = self.known.values().map(|stat| stat.resident_pages).sum();
        Seen {
            cpu: Cpu {
                user: used.user as f64 / self.scale.ticks_per_second,
                system: used.system as f64 / self.scale.ticks_per_second,
            },
            resident: pages * self.scale.page,
            processes: self.known.len(),
        }
    }
}

/// Of `known` those that still run, and of all others those whose parent is one of the tree.
fn descendants(known: &BTreeMap<Identity, Stat>, now: &[Stat]) -> BTreeMap<Identity, Stat> {
    let mut tree = BTreeMap::new();
    let mut children: BTreeMap<u32, Vec<&Stat>> = BTreeMap::new();
    let mut todo: Vec<&Stat> = Vec::new();
    for stat in now {
        children.entry(stat.parent).or_default().push(stat);
        if known.contains_key(&stat.identity) {
            todo.push(stat);
        }
    }
    while let Some(stat) = todo.pop() {
        if tree.insert(stat.identity, *stat).is_none() {
            todo.extend(children.get(&stat.identity.pid).into_iter().flatten());
        }
    }
    tree
}

/// The nearest ancestor that still runs: whose account of children has the time, if each was waited for.
fn heir(ended: &Stat, by_pid: &BTreeMap<u32, &Stat>, next: &BTreeMap<Identity, Stat>) -> Option<Identity> {
    let mut passed = BTreeSet::from([ended.identity]);
    let mut parent = by_pid.get(&ended.parent)?;
    while !next.contains_key(&parent.identity) {
        if !passed.insert(parent.identity) {
            return None;
        }
        parent = by_pid.get(&parent.parent)?;
    }
    Some(parent.identity)
}

fn sum(all: impl Iterator<Item = Ticks>) -> Ticks {
    all.fold(Ticks::default(), Ticks::plus)
}

fn uptime(scale: Scale) -> io::Result<u64> {
    let text = std::fs::read_to_string("/proc/uptime")?;
    let seconds: f64 = text.split(' ').next().and_then(|text| text.parse().ok()).unwrap_or_default();
    Ok((seconds * scale.ticks_per_second) as u64)
}

#[cfg(test)]
mod tests;
