//! The task of a fill: fetches by need, hands blocks to the tiers, hashes them in order, and ends.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use dataproxy_cpu::{carried, carried_work};
use futures_util::StreamExt;
use futures_util::stream::SelectAll;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::ending::End;
use super::jobs::{Job, Keep, Part, hash, keep, lent, on_disk, open_file};
use super::opening::{Begun, Opened, open};
use super::plan::Wait;
use super::saving::PERSIST_EVERY;
use super::supply::{Flight, Flights};
use super::{Fill, FillStatus, State, Window, wake_all};
use crate::blob::Blob;
use crate::disk::BlobFile;
use crate::fetch::Event;
use crate::tiers::Tiers;
use crate::verify::Prefix;
use crate::{Bypass, CacheError, Source};

/// Blocks hashed by one job at most: a long hop pays, but a verdict should not wait behind it.
const HASH_BATCH: u32 = 8;

/// Starts the task of a fill.
pub(crate) fn start(tiers: &Arc<Tiers>, fill: Arc<Fill>, source: &Source) {
    let end = End::new(tiers, fill);
    tiers.runtime.spawn(carried(run(end, source.clone())));
}

async fn run(end: End, source: Source) {
    let known = end.fill.blob();
    let opened = match known {
        Some(blob) => Ok(Opened { blob, begun: None }),
        None => open(&end.tiers, &end.fill, &source).await,
    };
    let opened = match opened {
        Ok(opened) => opened,
        Err(error) => return end.fail(&error),
    };
    let mut engine = Engine::new(&end, opened.blob, source);
    engine.begin(opened.begun);
    engine.run(&end).await;
}

pub(super) struct Engine {
    pub(super) tiers: Arc<Tiers>,
    pub(super) fill: Arc<Fill>,
    pub(super) blob: Arc<Blob>,
    pub(super) source: Source,
    pub(super) file: Option<Arc<BlobFile>>,
    /// The file is being opened; blocks wait for it in memory.
    pub(super) opening: bool,
    pub(super) events: Flights,
    pub(super) flights: HashMap<u64, Flight>,
    pub(super) next_flight: u64,
    pub(super) jobs: JoinSet<Job>,
    /// Whole blocks that the tiers are yet to take.
    pub(super) arrived: VecDeque<u32>,
    /// The running hash, unless a job has it or there is nothing to verify.
    pub(super) prefix: Option<Prefix>,
    /// Blocks before this one are hashed or being hashed.
    pub(super) hashed: u32,
    /// Something changed that may let a read start or a block go.
    pub(super) replan: bool,
    pub(super) unsaved: u32,
    /// Window bytes as last told to the counters.
    pub(super) counted: u64,
}

impl Engine {
    fn new(end: &End, blob: Arc<Blob>, source: Source) -> Self {
        let prefix = (!blob.verified()).then(|| blob.take_prefix());
        Self {
            tiers: Arc::clone(&end.tiers),
            fill: Arc::clone(&end.fill),
            source,
            file: None,
            opening: false,
            events: SelectAll::new(),
            flights: HashMap::new(),
            next_flight: 0,
            jobs: JoinSet::new(),
            arrived: VecDeque::new(),
            hashed: prefix.as_ref().map_or(0, Prefix::next),
            prefix,
            blob,
            replan: true,
            unsaved: 0,
            counted: 0,
        }
    }

    /// Tells the openers, takes over the read that is under way, and opens the file.
    fn begin(&mut self, begun: Option<Begun>) {
        let mut state = self.fill.state();
        if state.blob.is_none() {
            state.bypass = self.tiers.bypass(&self.blob);
            state.blob = Some(Arc::clone(&self.blob));
            state.window = Some(Window::new(self.blob.blocks));
            state.status = FillStatus::Filling;
            state.answered = true;
        }
        let detached = state.detached;
        let disk = self.tiers.disk.as_ref().filter(|_| state.bypass.is_none() && self.blob.size() > 0);
        if let Some(disk) = disk {
            self.opening = true;
            let work = open_file(Arc::clone(disk), Arc::clone(&self.blob), detached);
            on_disk(&mut self.jobs, &self.tiers, work, Job::FileOpened(None));
        }
        // Without a disk, and for what it cannot hold, memory alone knows the blob.
        if !detached && (disk.is_none() || self.tiers.is_small(&self.blob)) {
            self.tiers.memory.keep(&self.blob);
        }
        if let Some(begun) = begun {
            let blocks = self.blob.blocks.touching(&begun.range);
            if let Some(window) = &mut state.window {
                window.reserve(blocks.clone());
            }
            drop(state);
            self.fly(blocks, false, begun.events);
        } else {
            drop(state);
        }
        self.fill.opened.send_replace(Some(Ok(Arc::clone(&self.blob))));
    }

    async fn run(&mut self, end: &End) {
        loop {
            let verdict = self.drive().await;
            self.stop_flights(|_| true);
            self.events.clear();
            while let Some(job) = self.jobs.join_next().await {
                // A late failure changes nothing: what is not kept is not listed.
                let _late = job.map(|job| self.on_job(job));
                self.keep_arrived();
            }
            match verdict {
                Ok(status) => {
                    self.persist().await;
                    if end.succeed(status, |state| state.has_readers() || state.openers > 0) {
                        break;
                    }
                    self.replan = true;
                }
                Err(error) => {
                    self.give_up(&error).await;
                    end.fail(&error);
                    break;
                }
            }
        }
        if let Some(prefix) = self.prefix.take() {
            self.blob.put_prefix(prefix);
        }
        let held = self.fill.state().window.as_ref().map_or(0, Window::bytes);
        self.tiers.counters.fill_bytes.add(held);
        self.tiers.counters.fill_bytes.sub(self.counted);
    }

    /// Works until the fill is over or nobody wants more of it.
    async fn drive(&mut self) -> Result<FillStatus, CacheError> {
        let mut closing = self.tiers.closing();
        loop {
            self.keep_arrived();
            self.hash_on()?;
            if self.replan {
                self.replan = false;
                self.fetch_on();
            }
            self.count_bytes();
            if let Some(status) = self.finished() {
                return Ok(status);
            }
            if self.flights.is_empty() && self.jobs.is_empty() {
                self.save();
            }
            let lingers = self.lingers_until();
            tokio::select! {
                Some((flight, event)) = self.events.next(), if !self.events.is_empty() => {
                    self.on_event(flight, event)?;
                }
                Some(job) = self.jobs.join_next(), if !self.jobs.is_empty() => {
                    let job = job.map_err(|error| CacheError::Internal(error.to_string().into()))?;
                    self.on_job(job)?;
                }
                () = self.fill.wake.notified() => {
                    self.stop_unwanted();
                    self.replan = true;
                }
                () = until(lingers) => {
                    self.stop_unwanted();
                    self.replan = true;
                }
                _ = closing.changed() => {}
            }
        }
    }

    /// Whether blocks reach the disk.
    pub(super) fn is_keeping(&self, state: &State) -> bool {
        state.bypass.is_none() && (self.opening || self.file.is_some())
    }

    /// Whether blocks can be had from the disk.
    pub(super) fn is_reading(&self, state: &State) -> bool {
        !state.without_disk && self.file.is_some()
    }

    /// Whether they can, as far as is known while the file is opened.
    pub(super) fn may_read(&self, state: &State) -> bool {
        !state.without_disk && (self.opening || self.file.is_some())
    }

    fn finished(&self) -> Option<FillStatus> {
        if self.tiers.is_closing() {
            return Some(FillStatus::Abandoned);
        }
        let state = self.fill.state();
        if !self.jobs.is_empty() || !self.arrived.is_empty() {
            return None;
        }
        let deserted = !state.has_readers() && state.openers == 0;
        if self.blob.verified() && self.flights.is_empty() {
            let kept = self.is_keeping(&state);
            if (kept && self.blob.is_full()) || (!kept && deserted) {
                return Some(FillStatus::Complete);
            }
        }
        let done = deserted && self.flights.is_empty() && !self.goes_on(&state) && !self.is_verifying(&state);
        done.then_some(FillStatus::Partial)
    }

    fn on_event(&mut self, flight: u64, event: Event) -> Result<(), CacheError> {
        match event {
            Event::Answered { .. } => {
                let mut state = self.fill.state();
                if !std::mem::replace(&mut state.answered, true) {
                    let wakers = state.wakers(|_| true);
                    drop(state);
                    wake_all(wakers);
                }
            }
            // A stopped read may have had a piece on its way; its blocks may be another's by now.
            Event::Piece { offset, bytes } if self.flights.contains_key(&flight) => {
                let touched = self.blob.blocks.touching(&(offset..offset + bytes.len() as u64));
                let mut state = self.fill.state();
                let whole =
                    state.window.as_mut().map(|window| window.push(offset, bytes)).unwrap_or_default();
                let blocks = self.blob.blocks;
                let wakers = state.wakers(|reader| {
                    reader.wait == Some(Wait::Bytes) && touched.contains(&blocks.of(reader.position))
                });
                drop(state);
                wake_all(wakers);
                if !whole.is_empty() {
                    self.arrived.extend(whole);
                    self.stop_unwanted();
                }
            }
            Event::Piece { .. } => {}
            Event::Done => {
                self.flights.remove(&flight);
                self.replan = true;
            }
            Event::Failed(error) => return Err(error.into()),
        }
        Ok(())
    }

    /// Gives whole blocks to the tiers.
    fn keep_arrived(&mut self) {
        if self.opening {
            return;
        }
        while let Some(block) = self.arrived.pop_front() {
            let mut state = self.fill.state();
            let Some(pieces) = state.window.as_mut().and_then(|window| window.lend(block)) else { continue };
            let file = self.file.clone().filter(|_| self.is_keeping(&state));
            let in_memory = !state.detached && (file.is_none() || self.tiers.is_small(&self.blob));
            drop(state);
            let work = Keep { blob: Arc::clone(&self.blob), block, pieces, file, in_memory };
            self.jobs.spawn_on(carried(keep(Arc::clone(&self.tiers), work)), &self.tiers.runtime);
        }
    }

    /// Hashes the next blocks, if they are there, and judges when all are hashed.
    fn hash_on(&mut self) -> Result<(), CacheError> {
        let Some(prefix) = self.prefix.take_if(|_| !self.blob.verified()) else { return Ok(()) };
        let count = self.blob.blocks.count();
        if prefix.next() == count {
            prefix.finish(&self.blob.key.digest).map_err(|mismatch| {
                self.tiers.counters.mismatches.add(1);
                tracing::warn!(blob = %self.blob.key, found = %mismatch.found, "the origin's content is wrong");
                self.source.origin.refuted(&self.source.object);
                CacheError::Mismatch(mismatch)
            })?;
            self.blob.set_verified();
            self.unsaved += 1;
            let wakers = self.fill.state().wakers(|_| true);
            wake_all(wakers);
            self.replan = true;
            return Ok(());
        }
        let mut state = self.fill.state();
        if self.is_verifying(&state) {
            let next = prefix.next();
            let mut batch = Vec::new();
            let reads = self.is_reading(&state);
            for block in next..count.min(next + HASH_BATCH) {
                let lent = state.window.as_mut().and_then(|window| window.lend(block));
                let part = match lent {
                    Some(pieces) => Part::Lent(pieces),
                    None if reads && self.blob.has(block) => Part::OnDisk,
                    None => match self.tiers.memory.get(&self.blob, block) {
                        Some(bytes) => Part::Kept(bytes),
                        None => break,
                    },
                };
                batch.push(part);
            }
            if !batch.is_empty() {
                self.hashed = next + batch.len() as u32;
                let disk = self.tiers.disk.clone().zip(self.file.clone());
                let instead = batch.iter().any(|part| matches!(part, Part::OnDisk)).then(|| {
                    let lent = lent(&prefix, &batch);
                    Job::Hashed { prefix: prefix.clone(), lent, disk_failed: true }
                });
                let work = hash(Arc::clone(&self.blob), disk, prefix, batch);
                match instead {
                    Some(instead) => on_disk(&mut self.jobs, &self.tiers, work, instead),
                    None => drop(self.jobs.spawn_blocking_on(carried_work(work), &self.tiers.runtime)),
                }
                return Ok(());
            }
        }
        self.prefix = Some(prefix);
        Ok(())
    }

    fn on_job(&mut self, job: Job) -> Result<(), CacheError> {
        self.replan = true;
        match job {
            Job::FileOpened(file) => {
                self.opening = false;
                self.file = file;
                let mut state = self.fill.state();
                if self.file.is_none() {
                    state.bypass = Some(Bypass::DiskError);
                    if !state.detached {
                        self.tiers.memory.keep(&self.blob);
                    }
                }
            }
            Job::Kept { block, same, refused } => {
                if !same {
                    // The version is the same and the content is not: nothing here can be relied on.
                    return Err(CacheError::Changed);
                }
                let checked = self.blob.verified();
                let mut state = self.fill.state();
                if let Some(window) = &mut state.window {
                    window.give_back(block, true, checked);
                }
                if let Some(reason) = refused {
                    state.bypass = Some(reason);
                } else if self.file.is_some() {
                    self.unsaved += 1;
                }
                let wakers = state.wakers(|reader| reader.demand.verified);
                drop(state);
                wake_all(wakers);
                if self.unsaved >= PERSIST_EVERY {
                    self.save();
                }
            }
            Job::Hashed { prefix, lent, disk_failed } => {
                self.hashed = prefix.next();
                let mut state = self.fill.state();
                if disk_failed {
                    state.leave_disk();
                    self.file = None;
                }
                if let Some(window) = &mut state.window {
                    for block in lent {
                        window.give_back(block, false, block < self.hashed);
                    }
                }
                self.prefix = Some(prefix);
            }
            Job::Persisted => {}
        }
        Ok(())
    }

    fn count_bytes(&mut self) {
        let held = self.fill.state().window.as_ref().map_or(0, Window::bytes);
        let counters = &self.tiers.counters;
        counters.fill_bytes.add(held);
        counters.fill_bytes.sub(self.counted);
        counters.fill_bytes_peak.raise(held);
        self.counted = held;
    }
}

/// Resolves at this moment, or never.
async fn until(moment: Option<Instant>) {
    match moment {
        Some(moment) => tokio::time::sleep_until(moment).await,
        None => std::future::pending().await,
    }
}
