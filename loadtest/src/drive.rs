//! Makes pulls at their times, on threads of its own.
//!
//! Each thread is a runtime of its own with connections of its own, and takes the pulls of each flow whose number is its
//! own. An open loop starts a pull at its intended time however many still run; only at a stated bound of pulls under way
//! does it wait, says so, and still counts their latency from the intended start.
//!
//! ```text
//! drive ─► thread 0..N: flow 0..M ─► pump: schedule ─► alarm ─► pull ─► tally
//!                                                                  └─ seam: Pull, scripted in tests
//! ```

mod alarm;
mod flow;
mod seam;
mod stop;
mod thread;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::time::{Duration, Instant};

use crate::schedule::Timing;
use crate::tally::{Distribution, Frame, Tally, TallyError};
use crate::workload::Workload;
pub(crate) use seam::{MakePull, Pull};
pub(crate) use stop::Stop;

/// How long after the threads are ready the run starts, so that none of them is late for it.
const HEAD_START: Duration = Duration::from_millis(20);

/// One flow, ready to be driven.
#[derive(Debug)]
pub(crate) struct FlowWork {
    /// Its name in the plan.
    pub(crate) name: String,
    pub(crate) timing: Timing,
    pub(crate) workload: Workload,
    /// How long one of its pulls may take.
    pub(crate) timeout: Duration,
}

/// How it is driven.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    /// Threads that pull; at least one.
    pub(crate) threads: usize,
    /// The CPUs that they are bound to, one after the other; empty: to none.
    pub(crate) pins: Vec<usize>,
    /// The most pulls under way, over all threads.
    pub(crate) most_under_way: usize,
    pub(crate) warm_up: Duration,
    pub(crate) duration: Duration,
}

/// A run while it runs.
#[derive(Debug)]
pub(crate) struct Running {
    pub(crate) frame: Frame,
    /// For each flow the tallies of its threads.
    pub(crate) tallies: Vec<Vec<Arc<Tally>>>,
    pub(crate) threads: Vec<PullingThread>,
    pub(crate) stop: Stop,
    /// Files that were open before there was any pull or timer.
    pub(crate) files_before: u64,
    /// Pulls that had to wait at the bound of pulls under way.
    pub(crate) held_back: Arc<AtomicU64>,
    alive: tokio::sync::mpsc::Receiver<()>,
}

/// A thread that pulls.
#[derive(Debug)]
pub(crate) struct PullingThread {
    /// Its id in the kernel.
    pub(crate) id: i32,
    /// How late its timer was, asked a hundred times a second after the warm-up.
    pub(crate) timer_lag: Arc<Mutex<Distribution>>,
}

/// A run that could not be driven.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DriveError {
    #[error("cannot start a pulling thread: {0}")]
    Thread(std::io::Error),
    #[error("a pulling thread cannot begin: {0}")]
    Setup(String),
    #[error("a pulling thread broke off; this is a fault of loadtest")]
    Panicked,
    #[error(transparent)]
    Tally(#[from] TallyError),
}

impl Running {
    /// Resolves when all threads have ended. Can be dropped and called again.
    pub(crate) async fn ended(&mut self) {
        while self.alive.recv().await.is_some() {}
    }

    /// How many pulls had to wait at the bound.
    pub(crate) fn held_back(&self) -> u64 {
        self.held_back.load(Ordering::Relaxed)
    }
}

/// Drives `flows` to their end, or until `stop` is asked, and gives what `meanwhile` gives, which runs beside the threads
/// and has to wait for [`Running::ended`].
///
/// # Errors
///
/// If a thread, its runtime or a puller cannot be made, before any pull; or if a thread panicked.
pub(crate) fn drive<M: MakePull, T>(
    flows: &[FlowWork],
    maker: &M,
    settings: &Settings,
    stop: &Stop,
    meanwhile: impl AsyncFnOnce(Running) -> T,
) -> Result<T, DriveError> {
    let runtime = thread::runtime().map_err(DriveError::Thread)?;
    let (alive, watched) = tokio::sync::mpsc::channel(1);
    let held_back = Arc::new(AtomicU64::new(0));
    let next: Vec<Arc<AtomicU64>> = flows.iter().map(|_| Arc::default()).collect();
    let shared = thread::Shared { flows, next: &next, settings, stop, held_back: &held_back };
    std::thread::scope(|scope| {
        let (ready, readied) = mpsc::channel();
        let mut threads = Vec::new();
        for index in 0..settings.threads {
            let (start, started) = mpsc::channel();
            let (shared, ready, alive) = (&shared, ready.clone(), alive.clone());
            let body = move || thread::run(index, shared, maker, &ready, &started, alive);
            let builder = std::thread::Builder::new().name(format!("pull-{index}"));
            let thread = builder.spawn_scoped(scope, body).map_err(DriveError::Thread)?;
            threads.push((start, thread));
        }
        drop((ready, alive));
        // A return before the start drops the senders of it, which ends the threads.
        let mut pulling = Vec::new();
        for _ in 0..settings.threads {
            let id = readied.recv().map_err(|_| DriveError::Panicked)?.map_err(DriveError::Setup)?;
            pulling.push(PullingThread { id, timer_lag: Arc::new(Mutex::new(Distribution::new()?)) });
        }
        let longest = flows.iter().map(|flow| flow.timeout).max().unwrap_or_default();
        let frame = Frame::new(Instant::now() + HEAD_START, settings.warm_up, settings.duration, longest);
        let files_before = crate::health::open_files();
        let mut tallies: Vec<Vec<Arc<Tally>>> = flows.iter().map(|_| Vec::new()).collect();
        for ((start, _), PullingThread { timer_lag, .. }) in threads.iter().zip(&pulling) {
            let mut own = Vec::new();
            for of_flow in &mut tallies {
                let tally = Arc::new(Tally::new(frame)?);
                own.push(Arc::clone(&tally));
                of_flow.push(tally);
            }
            let start_of_thread = thread::Start { frame, tallies: own, timer_lag: Arc::clone(timer_lag) };
            start.send(start_of_thread).map_err(|_| DriveError::Panicked)?;
        }
        let running = Running {
            frame,
            tallies,
            threads: pulling,
            stop: stop.clone(),
            files_before,
            held_back: Arc::clone(&held_back),
            alive: watched,
        };
        let result = runtime.block_on(meanwhile(running));
        for (_, thread) in threads {
            thread.join().map_err(|_| DriveError::Panicked)?;
        }
        Ok(result)
    })
}

#[cfg(test)]
pub(crate) mod scripted;
#[cfg(test)]
mod tests;
