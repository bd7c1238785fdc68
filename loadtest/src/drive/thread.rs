//! A pulling thread: one runtime, and all flows on it.

use std::rc::Rc;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::time::{Duration, Instant};

use rustix::thread::{CpuSet, sched_setaffinity};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::Semaphore;
use tokio::task::{JoinSet, LocalSet};

use super::alarm::Alarm;
use super::flow::Pump;
use super::seam::MakePull;
use super::stop::Stop;
use super::{FlowWork, Settings};
use crate::schedule::Timing;
use crate::tally::{Distribution, Frame, Tally};

/// How long pulls may take beyond their own limit before they are given up, so that a run always ends.
const GRACE: Duration = Duration::from_secs(10);
/// Between two looks at how late the timer is.
const LAG_EVERY: Duration = Duration::from_millis(10);

/// What all threads of a run have.
pub(super) struct Shared<'a> {
    pub(super) flows: &'a [FlowWork],
    /// The number of the next pull of each flow, for closed loops.
    pub(super) next: &'a [Arc<AtomicU64>],
    pub(super) settings: &'a Settings,
    pub(super) stop: &'a Stop,
    pub(super) held_back: &'a Arc<AtomicU64>,
}

/// What a thread is told when all are ready.
pub(super) struct Start {
    pub(super) frame: Frame,
    /// One for each flow.
    pub(super) tallies: Vec<Arc<Tally>>,
    pub(super) timer_lag: Arc<Mutex<Distribution>>,
}

/// A runtime of one thread.
pub(super) fn runtime() -> std::io::Result<Runtime> {
    Builder::new_current_thread().enable_all().build()
}

/// The body of the `index`-th thread: gets ready, says so or why not, waits for its start, and pulls.
pub(super) fn run<M: MakePull>(
    index: usize,
    shared: &Shared<'_>,
    maker: &M,
    ready: &mpsc::Sender<Result<i32, String>>,
    start: &mpsc::Receiver<Start>,
    alive: tokio::sync::mpsc::Sender<()>,
) {
    let made = set_up(index, shared, maker);
    let said = match &made {
        Ok(_) => Ok(rustix::thread::gettid().as_raw_nonzero().get()),
        Err(error) => Err(error.clone()),
    };
    let heard = ready.send(said).is_ok();
    if let (Ok((runtime, pullers)), true) = (made, heard)
        && let Ok(start) = start.recv()
    {
        let local = LocalSet::new();
        local.block_on(&runtime, pull(index, shared, pullers, start));
    }
    drop(alive);
}

fn set_up<M: MakePull>(
    index: usize,
    shared: &Shared<'_>,
    maker: &M,
) -> Result<(Runtime, Vec<M::Pull>), String> {
    let pins = &shared.settings.pins;
    if let Some(core) = pins.get(index % pins.len().max(1)) {
        let mut set = CpuSet::new();
        if *core >= CpuSet::MAX_CPU {
            return Err(format!("there is no CPU {core} to bind a thread to"));
        }
        set.set(*core);
        sched_setaffinity(None, &set)
            .map_err(|error| format!("cannot bind a thread to CPU {core}: {error}"))?;
    }
    let runtime = runtime().map_err(|error| format!("it has no runtime: {error}"))?;
    let inside = runtime.enter();
    let pullers = (0..shared.flows.len()).map(|flow| maker.make(flow, index)).collect::<Result<_, _>>()?;
    drop(inside);
    Ok((runtime, pullers))
}

/// Starts the pulls of all flows and waits for their ends. What still runs when the run is stopped is dropped.
async fn pull<P: super::Pull + 'static>(index: usize, shared: &Shared<'_>, pullers: Vec<P>, start: Start) {
    let Settings { threads, most_under_way, .. } = *shared.settings;
    let most = most_under_way.div_ceil(threads).clamp(1, Semaphore::MAX_PERMITS);
    let most = u32::try_from(most).unwrap_or(u32::MAX);
    let slots = Arc::new(Semaphore::new(most as usize));
    tokio::task::spawn_local(watch_lag(start.frame.counts_from(), start.timer_lag));
    let mut pumps = JoinSet::new();
    for (((puller, tally), flow), next) in
        pullers.into_iter().zip(start.tallies).zip(shared.flows).zip(shared.next)
    {
        let pump = Rc::new(Pump {
            puller,
            tally,
            workload: flow.workload.clone(),
            stop: shared.stop.clone(),
            start: start.frame.start,
            slots: Arc::clone(&slots),
            held_back: Arc::clone(shared.held_back),
        });
        match &flow.timing {
            Timing::Open(schedule) => {
                pumps.spawn_local(pump.open(schedule.clone(), index as u64, threads as u64));
            }
            Timing::Closed(closed) => {
                let own = (0..closed.pullers as usize).filter(|puller| puller % threads == index);
                for _ in own {
                    let Some(slot) = pump.slot().await else { return };
                    let puller = Rc::clone(&pump).closed(*closed, Arc::clone(next));
                    let stop = shared.stop.clone();
                    tokio::task::spawn_local(async move {
                        no_timer(&stop, puller.await);
                        drop(slot);
                    });
                }
            }
        }
    }
    while let Some(pump) = pumps.join_next().await {
        match pump {
            Ok(ended) => no_timer(shared.stop, ended),
            Err(error) => shared.stop.ask(format!("a fault of loadtest: {error}")),
        }
    }
    // Open loops have started all that they will; closed ones hold their slots to their end.
    let longest = shared.flows.iter().map(|flow| flow.timeout).max().unwrap_or_default();
    let given_up = start.frame.end().max(Instant::now()) + longest + GRACE;
    tokio::select! {
        _ = slots.acquire_many(most) => {}
        () = shared.stop.asked() => {}
        () = tokio::time::sleep_until(given_up.into()) => {
            shared.stop.ask(format!("pulls went on for {} s beyond their own limit", GRACE.as_secs()));
        }
    }
}

fn no_timer(stop: &Stop, ended: std::io::Result<()>) {
    if let Err(error) = ended {
        stop.ask(format!("a pulling thread has no timer: {error}"));
    }
}

/// Asks the timer to wake it again and again from `from` on, and counts how late it does.
async fn watch_lag(from: Instant, lag: Arc<Mutex<Distribution>>) {
    let Ok(alarm) = Alarm::new() else { return };
    let mut at = from;
    loop {
        if alarm.until(at).await.is_err() {
            return;
        }
        let now = Instant::now();
        lag.lock().unwrap_or_else(PoisonError::into_inner).record(now.saturating_duration_since(at));
        // A time that was missed wholly is not asked for.
        at = now + LAG_EVERY;
    }
}
