//! The thread that reads the counters.

use std::io;
use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use dataproxy_cpu::{Counters, Measured, Meter, Reading, Source, SourceError, Times};
use dataproxy_router_api::{Intent, NodeBin, NodeName};

use super::Minutes;
use super::shares::Shares;
use crate::bindings::{Bindings, Table};
use crate::config::Cpu;
use crate::lifecycle::{Lifecycle, State};

/// Time between two readings, whatever the bin.
const EVERY: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(1));

/// Why nothing is measured.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// There is nothing to read.
    #[error("cpu.scope: {0}")]
    Source(#[from] SourceError),
    /// The system gives no thread.
    #[error("the system gives no thread: {0}")]
    Thread(#[from] io::Error),
}

/// What the thread works with.
#[derive(Clone, Debug)]
pub struct Parts {
    /// What is measured, and in which bins.
    pub cpu: Cpu,
    /// The node.
    pub node: NodeName,
    /// For whom it works.
    pub bindings: Arc<Bindings>,
    /// Whether it serves.
    pub life: Lifecycle,
    /// Where bins are kept.
    pub minutes: Arc<Minutes>,
}

/// The thread. Dropping it ends the thread and waits for it; the bin that has not ended is lost.
#[derive(Debug)]
pub struct Follower {
    end: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

/// Starts to measure.
///
/// # Errors
/// [`StartError`]
pub fn start(parts: Parts) -> Result<Follower, StartError> {
    dataproxy_cpu::measure_one_in(parts.cpu.sample);
    let source = Source::open(parts.cpu.wanted())?;
    let (end, ended) = channel();
    let thread = std::thread::Builder::new().name("cpu".to_owned()).spawn(move || {
        let mut measuring = Measuring::new(parts, source);
        while ended.recv_timeout(measuring.pause()) == Err(RecvTimeoutError::Timeout) {
            measuring.look();
        }
    })?;
    Ok(Follower { end: Some(end), thread: Some(thread) })
}

impl Drop for Follower {
    fn drop(&mut self) {
        self.end = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

struct Measuring {
    parts: Parts,
    source: Source,
    meter: Meter,
    every: Duration,
    shares: Shares,
    /// When the shares were taken last.
    shared_at: Duration,
    sequence: u64,
    /// What binds, as it was told.
    told: Option<(u32, f64)>,
    is_broken: bool,
}

impl Measuring {
    fn new(parts: Parts, source: Source) -> Self {
        let bin = parts.cpu.bin;
        let every = (bin / 60).clamp(EVERY.0, EVERY.1);
        let (meter, shared_at) = (Meter::new(bin, every), Times::now().running);
        let mut measuring = Self {
            parts,
            source,
            meter,
            every,
            shares: Shares::default(),
            shared_at,
            sequence: 0,
            told: None,
            is_broken: false,
        };
        measuring.look();
        measuring
    }

    /// Until the next reading: at a multiple of the step or at the edge of a bin.
    fn pause(&self) -> Duration {
        let wall = Times::now().wall;
        let until = |step: Duration| {
            let (wall, step) = (wall.as_nanos(), step.as_nanos().max(1));
            Duration::from_nanos(u64::try_from(step - wall % step).unwrap_or(u64::MAX))
        };
        until(self.every).min(until(self.parts.cpu.bin))
    }

    fn look(&mut self) {
        let counters = match self.source.read() {
            Ok(counters) => counters,
            Err(error) => {
                if !std::mem::replace(&mut self.is_broken, true) {
                    tracing::error!(%error, "CPU time cannot be read; minutes are missing until it can");
                }
                return;
            }
        };
        self.is_broken = false;
        self.tell(&counters);
        let table = self.parts.bindings.current();
        let in_rotation = self.in_rotation(&table);
        let times = Times::now();
        if let Some(measured) = self.meter.take(Reading { times, counters, in_rotation }) {
            let bin = self.bin(measured, &table, times.running);
            self.parts.minutes.keep(bin);
        }
    }

    /// As routers decide it: the node is ready and nobody has asked for anything else.
    fn in_rotation(&self, table: &Table) -> bool {
        let asked = table.node(&self.parts.node).map(|node| node.intent);
        self.parts.life.state() == State::Ready && asked.is_none_or(|intent| intent == Intent::Serve)
    }

    fn bin(&mut self, measured: Measured, table: &Table, now: Duration) -> NodeBin {
        let totals = table.standings().filter_map(|(binding, standing)| {
            standing.total().map(|total| (binding.registry.clone(), total))
        });
        let elapsed = now.saturating_sub(std::mem::replace(&mut self.shared_at, now));
        let shared = self.shares.take(totals, elapsed, measured.busy, self.parts.cpu.top_registries);
        self.sequence += 1;
        NodeBin {
            sequence: self.sequence,
            number: measured.number,
            bin_seconds: u32::try_from(self.parts.cpu.bin.as_secs()).unwrap_or(u32::MAX),
            busy_seconds: measured.busy,
            steal_seconds: measured.steal,
            cores: measured.cores,
            observed_seconds: measured.observed,
            in_rotation_seconds: measured.in_rotation,
            scope: measured.scope.as_str().to_owned(),
            suspect: measured.suspicions.iter().map(|why| why.as_str().to_owned()).collect(),
            registries: shared.most,
            other: shared.other,
        }
    }

    /// Says which limit binds, whenever that is another.
    fn tell(&mut self, counters: &Counters) {
        let binds = (counters.counter, counters.cores);
        if self.told != Some(binds) {
            self.told = Some(binds);
            let limit = self.source.describe(counters);
            let (scope, cores) = (counters.scope.as_str(), counters.cores);
            let bin_seconds = self.parts.cpu.bin.as_secs();
            let scaled = bin_seconds != 60;
            tracing::info!(scope, cores, limit, bin_seconds, scaled, "CPU time is measured of this limit");
        }
    }
}
