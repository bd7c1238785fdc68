//! One local server while it is watched.

use std::io;

use super::tree::{Cpu, Seen, Tree};
use crate::report::{Point, Server};

const GIB: f64 = (1_u64 << 30) as f64;
/// Fewer bytes say nothing of the cost of a GiB: the rest of the work would drown them.
const ENOUGH_BYTES: u64 = 16 << 20;

#[derive(Debug)]
pub(super) struct Local {
    name: String,
    tree: Tree,
    marked: Cpu,
    marked_at: f64,
    last: Option<(f64, f64)>,
    peak: u64,
    cores: Vec<Point>,
}

impl Local {
    pub(super) fn new(name: String, tree: Tree) -> Self {
        Self { name, tree, marked: Cpu::default(), marked_at: 0.0, last: None, peak: 0, cores: Vec::new() }
    }

    /// Looks at the tree and adds a point to the series.
    pub(super) fn look(&mut self, at: f64) -> io::Result<Seen> {
        let seen = self.tree.look()?;
        self.peak = self.peak.max(seen.resident);
        let total = seen.cpu.total();
        if let Some((then, before)) = self.last.replace((at, total))
            && at > then
        {
            self.cores.push(Point { at, value: (total - before) / (at - then) });
        }
        Ok(seen)
    }

    /// What was used until now does not count.
    pub(super) fn mark(&mut self, at: f64) -> io::Result<()> {
        self.marked = self.look(at)?.cpu;
        self.marked_at = at;
        // A peak before the mark is of the warm-up.
        self.peak = self.tree.resident();
        Ok(())
    }

    /// Whether the memory is at a new peak. Cheap.
    pub(super) fn look_at_memory(&mut self) {
        self.peak = self.peak.max(self.tree.resident());
    }

    pub(super) fn finish(mut self, at: f64, bytes: u64, requests: u64) -> io::Result<Server> {
        let cpu = self.look(at)?.cpu.since(self.marked);
        Ok(Server {
            name: self.name,
            user: cpu.user,
            system: cpu.system,
            seconds: at - self.marked_at,
            per_gib: (bytes >= ENOUGH_BYTES).then(|| cpu.total() / (bytes as f64 / GIB)),
            per_request: (requests > 0).then(|| cpu.total() / requests as f64),
            peak_rss: self.peak,
            cores: self.cores,
        })
    }
}
