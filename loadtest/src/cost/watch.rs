//! Watches servers and nodes for the time of a run.

use std::io;
use std::str::FromStr;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::node::Reader;
use super::scrape::{ScrapeError, Source};
use super::server::Local;
use super::tree::{Tree, TreeError};
use crate::report::{Node, Server};

/// Distance of points in a series.
const EVERY: Duration = Duration::from_secs(1);
/// How often the memory of known processes is looked at.
const MEMORY_EVERY: Duration = Duration::from_millis(50);

/// A local server: `NAME=PID` or `NAME=PID,PID`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Watched {
    /// What it is called in the report.
    pub name: String,
    /// Its processes; their descendants are found.
    pub pids: Vec<u32>,
}

/// A text that names no server.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error(
    "{0:?} names no server: give NAME=PID, or NAME=PID,PID where it has several that do not descend from one"
)]
pub struct WatchedError(String);

/// Why servers and nodes cannot be watched.
#[derive(Debug, thiserror::Error)]
pub enum WatchError {
    /// A server.
    #[error("{name}: {error}")]
    Server {
        /// Its name.
        name: String,
        /// What is wrong.
        error: TreeError,
    },
    /// A node's address.
    #[error(transparent)]
    Node(#[from] ScrapeError),
    /// No thread to watch from, or `/proc` became unreadable.
    #[error("servers cannot be watched: {0}")]
    System(#[from] io::Error),
}

impl FromStr for Watched {
    type Err = WatchedError;

    fn from_str(text: &str) -> Result<Self, WatchedError> {
        let wrong = || WatchedError(text.to_owned());
        let (name, pids) = text.split_once('=').ok_or_else(wrong)?;
        let pids: Vec<u32> =
            pids.split(',').map(str::parse).collect::<Result<_, _>>().map_err(|_| wrong())?;
        if name.is_empty() || pids.contains(&0) {
            return Err(wrong());
        }
        Ok(Self { name: name.to_owned(), pids })
    }
}

/// Servers and nodes that are being watched. Dropped, it stops without a report.
#[derive(Debug)]
pub struct Watch {
    begun: Instant,
    servers: Arc<Mutex<Vec<Local>>>,
    stop: Sender<()>,
    sampler: JoinHandle<()>,
    nodes: Vec<Reader>,
}

impl Watch {
    /// Begins: a point for each second from now on; `begun` is the start of the run, from which times count.
    ///
    /// # Errors
    /// If a process does not run, or an address is none. A node that does not answer is no error: its misses are counted.
    pub fn start(begun: Instant, servers: &[Watched], metrics: &[String]) -> Result<Self, WatchError> {
        let mut locals = Vec::with_capacity(servers.len());
        for server in servers {
            let tree = Tree::of(&server.pids)
                .map_err(|error| WatchError::Server { name: server.name.clone(), error })?;
            locals.push(Local::new(server.name.clone(), tree));
        }
        let sources = metrics.iter().map(|text| text.parse()).collect::<Result<Vec<Source>, _>>()?;
        let servers = Arc::new(Mutex::new(locals));
        let (stop, stopped) = channel();
        let sampled = Arc::clone(&servers);
        let sampler = std::thread::Builder::new()
            .name("cost".to_owned())
            .spawn(move || sample(&sampled, begun, &stopped))?;
        let nodes =
            sources.into_iter().map(|source| Reader::start(source, begun)).collect::<Result<_, _>>()?;
        Ok(Self { begun, servers, stop, sampler, nodes })
    }

    /// The end of the warm-up: what was used until now does not count. Reads local servers now, in a few milliseconds; nodes as
    /// soon as they answer.
    ///
    /// # Errors
    /// If `/proc` cannot be read.
    pub fn mark(&self) -> Result<(), WatchError> {
        self.nodes.iter().for_each(Reader::mark);
        let at = self.begun.elapsed().as_secs_f64();
        lock(&self.servers).iter_mut().try_for_each(|server| server.mark(at))?;
        Ok(())
    }

    /// The end of the run: reads local servers at once and nodes within a second. `bytes` and `requests` are those since
    /// [`Watch::mark`].
    ///
    /// # Errors
    /// If `/proc` cannot be read.
    pub fn stop(self, bytes: u64, requests: u64) -> Result<(Vec<Server>, Vec<Node>), WatchError> {
        let at = self.begun.elapsed().as_secs_f64();
        let locals = std::mem::take(&mut *lock(&self.servers));
        let servers =
            locals.into_iter().map(|server| server.finish(at, bytes, requests)).collect::<Result<_, _>>()?;
        drop(self.stop);
        // It only looks; a panic of it is no reason to lose what was read here.
        let _ = self.sampler.join();
        let nodes = self.nodes.into_iter().filter_map(Reader::stop).collect();
        Ok((servers, nodes))
    }
}

fn sample(servers: &Mutex<Vec<Local>>, begun: Instant, stopped: &Receiver<()>) {
    let mut next = Instant::now();
    while let Err(RecvTimeoutError::Timeout) = stopped.recv_timeout(MEMORY_EVERY) {
        let mut servers = lock(servers);
        if Instant::now() < next {
            servers.iter_mut().for_each(Local::look_at_memory);
            continue;
        }
        next += EVERY;
        for server in servers.iter_mut() {
            // What cannot be read now is a longer step in the series; `stop` tells of a /proc that stays away.
            let _ = server.look(begun.elapsed().as_secs_f64());
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::super::shell::{BURN, Shell};
    use super::*;

    #[test]
    fn a_server_is_read_by_name_and_numbers_and_else_refused_with_the_form() {
        let watched: Watched = "nginx=12,13".parse().expect("valid");
        assert_eq!(watched, Watched { name: "nginx".to_owned(), pids: vec![12, 13] });
        for text in ["nginx", "nginx=", "=12", "nginx=12,", "nginx=x", "nginx=0"] {
            let error = text.parse::<Watched>().expect_err(text).to_string();
            assert!(error.contains("NAME=PID"), "{error}");
        }
    }

    #[test]
    fn what_was_used_before_the_mark_is_in_the_series_and_not_in_the_cost() {
        let mut shell = Shell::start();
        let watched = Watched { name: "shell".to_owned(), pids: vec![shell.pid()] };
        let watch = Watch::start(Instant::now(), &[watched], &[]).expect("it runs");
        shell.run(BURN);
        watch.mark().expect("readable");
        let (servers, nodes) = watch.stop(0, 0).expect("readable");
        assert_eq!((servers.len(), nodes.len()), (1, 0));
        let server = &servers[0];
        assert!(server.cores.iter().any(|point| point.value > 0.1), "{:?}", server.cores);
        assert!(server.user + server.system <= 0.02, "{server:?}");
        assert!(server.peak_rss > 0);
        assert_eq!((server.per_gib, server.per_request), (None, None));
    }

    #[test]
    fn cost_is_by_gib_and_by_request_of_what_was_used_after_the_mark() {
        let mut shell = Shell::start();
        let watched = Watched { name: "shell".to_owned(), pids: vec![shell.pid()] };
        let watch = Watch::start(Instant::now(), &[watched], &[]).expect("it runs");
        watch.mark().expect("readable");
        let before = shell.own();
        shell.run(&format!("{BURN}; {BURN}"));
        let burnt = shell.own() - before;
        let (servers, _) = watch.stop(2 << 30, 1000).expect("readable");
        let cpu = servers[0].user + servers[0].system;
        assert!((cpu - burnt).abs() <= 0.05 && burnt > 0.1, "found {cpu} s, the kernel charged {burnt} s");
        assert_eq!(servers[0].per_gib, Some(cpu / 2.0));
        assert!(servers[0].seconds >= burnt && servers[0].seconds < 60.0, "{}", servers[0].seconds);
        assert_eq!(servers[0].per_request, Some(cpu / 1000.0));
    }

    #[test]
    fn a_process_that_does_not_run_is_named_with_its_server() {
        let gone = Watched { name: "nginx".to_owned(), pids: vec![u32::MAX] };
        let error = Watch::start(Instant::now(), &[gone], &[]).expect_err("none").to_string();
        assert!(error.starts_with("nginx: there is no process"), "{error}");
    }
}
