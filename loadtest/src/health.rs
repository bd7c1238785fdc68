//! Whether this process could have been what limited the run: its threads' CPU, its timers, its sockets, its neighbours.

mod proc;
mod verdict;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::report::{Client, Summary};
pub(crate) use verdict::{FlowSeen, Seen};

/// A thread that used more of a core in some second had no room left in it.
const FULL: f64 = 0.9;
/// The length of the stretches that [`FULL`] is asked of.
const STRETCH: Duration = Duration::from_secs(1);

/// Looks at this process while it pulls, from the end of the warm-up on.
#[derive(Debug)]
pub(crate) struct Health {
    begun: Instant,
    last: Instant,
    /// CPU of all of this process until then, seconds.
    own: f64,
    /// Busy time of all CPUs until then, seconds.
    machine: f64,
    threads: BTreeMap<i32, Thread>,
    /// Files that are open without any connection.
    files_before: u64,
    most_files: u64,
}

/// One pulling thread.
#[derive(Clone, Copy, Debug)]
struct Thread {
    first: f64,
    last: f64,
    stretch_begun: Instant,
    stretch_first: f64,
    stretches: u32,
    full: u32,
}

impl Health {
    /// Begins. `files_before`: how many files this process has open that are no connections.
    pub(crate) fn begin(now: Instant, threads: impl IntoIterator<Item = i32>, files_before: u64) -> Self {
        let threads = threads.into_iter().map(|id| {
            let cpu = proc::thread_cpu(id).unwrap_or_default();
            let thread = Thread {
                first: cpu,
                last: cpu,
                stretch_begun: now,
                stretch_first: cpu,
                stretches: 0,
                full: 0,
            };
            (id, thread)
        });
        Self {
            begun: now,
            last: now,
            own: proc::own_cpu().unwrap_or_default(),
            machine: proc::machine_cpu().unwrap_or_default(),
            threads: threads.collect(),
            files_before,
            most_files: 0,
        }
    }

    /// Looks again; several times a second, and last before the threads end.
    pub(crate) fn look(&mut self, now: Instant) {
        self.last = now;
        self.most_files = self.most_files.max(proc::open_files().unwrap_or_default());
        for (id, thread) in &mut self.threads {
            let Some(cpu) = proc::thread_cpu(*id) else { continue };
            thread.last = cpu;
            let stretch = now.saturating_duration_since(thread.stretch_begun);
            if stretch >= STRETCH {
                thread.stretches += 1;
                thread.full += u32::from((cpu - thread.stretch_first) / stretch.as_secs_f64() >= FULL);
                thread.stretch_begun = now;
                thread.stretch_first = cpu;
            }
        }
    }

    /// Ends. `servers`: seconds of CPU that the watched servers used since the begin.
    pub(crate) fn end(mut self, now: Instant, servers: f64, timer_lag: Summary, seen: &Seen) -> Client {
        let cpu = proc::own_cpu().unwrap_or_default() - self.own;
        let machine = proc::machine_cpu().unwrap_or_default() - self.machine;
        self.most_files = self.most_files.max(proc::open_files().unwrap_or_default());
        let seconds = now.saturating_duration_since(self.begun).as_secs_f64().max(f64::EPSILON);
        let looked = self.last.saturating_duration_since(self.begun).as_secs_f64().max(f64::EPSILON);
        let share = |thread: &Thread| (thread.last - thread.first) / looked;
        let shares = self.threads.values().map(share);
        let mut client = Client {
            cpu,
            busiest_thread: shares.fold(0.0, f64::max),
            timer_lag,
            peak_connections: self.most_files.saturating_sub(self.files_before),
            // Ticks are rounded for each account by itself.
            other_cores: ((machine - cpu - servers) / seconds).max(0.0),
            bottlenecks: Vec::new(),
        };
        let full = self.threads.values().max_by_key(|thread| thread.full);
        let full = full.map_or((0, 0), |thread| (thread.full, thread.stretches));
        client.bottlenecks = verdict::bottlenecks(&client, full, machine / seconds, self.most_files, seen);
        client
    }
}

/// The files that this process has open.
pub(crate) fn open_files() -> u64 {
    proc::open_files().unwrap_or_default()
}

/// Lets this process open as many files as it may, and gives how many that is.
pub(crate) fn raise_file_limit() -> u64 {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let now = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: now.maximum, maximum: now.maximum };
    let limit = if setrlimit(Resource::Nofile, raised).is_ok() { now.maximum } else { now.current };
    limit.unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_that_is_busy_is_found_and_one_that_waits_is_not() {
        let health = std::thread::scope(|scope| {
            let (tell, told) = std::sync::mpsc::channel();
            let (end, ended) = std::sync::mpsc::channel::<()>();
            scope.spawn(move || {
                tell.send(rustix::thread::gettid().as_raw_nonzero().get()).expect("heard");
                ended.recv().ok();
            });
            let idle = told.recv().expect("told");
            let own = rustix::thread::gettid().as_raw_nonzero().get();
            let mut health = Health::begin(Instant::now(), [own, idle], 0);
            let mut sum = 0_u64;
            // Until the kernel has charged this thread some ticks, however little of a core it gets.
            while health.threads[&own].last - health.threads[&own].first < 0.1 {
                for step in 0..1_000_000_u64 {
                    sum = std::hint::black_box(sum.wrapping_mul(31).wrapping_add(step));
                }
                health.look(Instant::now());
            }
            drop(end);
            let idle = health.threads[&idle];
            assert!(idle.last - idle.first <= 0.02, "{idle:?}");
            health
        });
        let client = health.end(Instant::now(), 0.0, Summary::default(), &Seen::default());
        assert!(client.cpu >= 0.08 && client.busiest_thread > 0.0, "{client:?}");
        assert!(client.peak_connections > 0, "{client:?}");
    }

    #[test]
    fn as_many_files_may_be_open_as_the_hard_limit_says() {
        let limit = raise_file_limit();
        assert!(limit >= open_files(), "{limit}");
        assert_eq!(raise_file_limit(), limit);
    }
}
