//! Server processes that are started here, and that are ended with all that they started, whatever happens.

use std::fs::File;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use super::congestion::Cubic;
use super::{PeersError, place};
use crate::cost::Tree;

/// Servers of a cold machine take their time.
const START: Duration = Duration::from_secs(20);
/// After which a server that was asked to end is killed.
const END: Duration = Duration::from_secs(5);
const POLL: Duration = Duration::from_millis(20);

/// What is to be started.
#[derive(Debug)]
pub(super) struct Start {
    pub(super) name: String,
    pub(super) program: PathBuf,
    pub(super) arguments: Vec<String>,
    pub(super) folder: PathBuf,
    /// Open when it is ready.
    pub(super) ports: Vec<u16>,
}

/// Where it is to run.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bound {
    pub(super) core: usize,
    pub(super) nice: i32,
}

/// Every process that was started, and what else has to be undone. Copies are the same; ended with the last one, or by
/// [`Started::end`], after which nothing is started any more.
#[derive(Clone, Debug, Default)]
pub(crate) struct Started(Arc<Mutex<Undo>>);

#[derive(Debug, Default)]
struct Undo {
    processes: Vec<Process>,
    cubic: Option<Cubic>,
    ended: bool,
}

#[derive(Debug)]
struct Process {
    child: Child,
    tree: Tree,
}

impl Started {
    /// Starts a server and waits until its ports are open; gives its number.
    ///
    /// # Errors
    /// If it cannot be started, or ends or opens no port within 20 s; with the end of its log. It does not run then.
    pub(super) fn start(&self, start: &Start, bound: Bound) -> Result<u32, PeersError> {
        let log = start.folder.join("log");
        let failed = |problem: String| PeersError::Start { name: start.name.clone(), problem };
        let output = File::create(&log).and_then(|file| Ok((file.try_clone()?, file)));
        let (out, err) = output.map_err(|error| failed(format!("{}: {error}", log.display())))?;
        let mut command = Command::new(&start.program);
        command.args(&start.arguments).current_dir(&start.folder);
        command.stdin(Stdio::null()).stdout(out).stderr(err);
        // A group of its own: Ctrl-C reaches this process alone, which then ends them in order.
        command.process_group(0);
        let mut child = spawn(command, bound)
            .map_err(|error| failed(format!("{} cannot be run: {error}", start.program.display())))?;
        let pid = child.id();
        let tree = match Tree::of(&[pid]) {
            Ok(tree) => tree,
            Err(error) => {
                let _ = child.kill();
                let _ = child.wait();
                return Err(failed(format!("it ended at once ({error}); {}", last_lines(&log))));
            }
        };
        // Known before it is waited for, so that it is ended whatever happens meanwhile.
        self.keep(Process { child, tree }).map_err(|()| failed("the run was broken off".to_owned()))?;
        let until = Instant::now() + START;
        for &port in &start.ports {
            while !open(port) {
                if let Some(status) = self.status(pid) {
                    return Err(failed(format!("it ended with {status}; {}", last_lines(&log))));
                }
                if Instant::now() >= until {
                    return Err(failed(format!("port {port} did not open; {}", last_lines(&log))));
                }
                std::thread::park_timeout(POLL);
            }
        }
        Ok(pid)
    }

    /// Ends all, with all that they started, and puts the congestion control back. Takes at most some seconds.
    pub(crate) fn end(&self) {
        self.lock().end();
    }

    /// Keeps the change until the end.
    pub(super) fn put_back_at_the_end(&self, cubic: Cubic) {
        let mut undo = self.lock();
        // After the end it is dropped at once, which puts back.
        if !undo.ended {
            undo.cubic = Some(cubic);
        }
    }

    /// After the end, the process is ended instead.
    fn keep(&self, process: Process) -> Result<(), ()> {
        let mut undo = self.lock();
        undo.processes.push(process);
        if undo.ended {
            undo.end();
            return Err(());
        }
        Ok(())
    }

    fn status(&self, pid: u32) -> Option<String> {
        let mut undo = self.lock();
        let process = undo.processes.iter_mut().find(|process| process.child.id() == pid)?;
        match process.child.try_wait() {
            Ok(status) => status.map(|status| status.to_string()),
            Err(error) => Some(error.to_string()),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Undo> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Undo {
    fn end(&mut self) {
        self.ended = true;
        for process in &mut self.processes {
            // Its children are known from now on, even if it leaves them behind.
            let _ = process.tree.look();
            tell(process.child.id(), Signal::TERM, &mut process.child);
        }
        let until = Instant::now() + END;
        for mut process in self.processes.drain(..) {
            while matches!(process.child.try_wait(), Ok(None)) && Instant::now() < until {
                std::thread::park_timeout(POLL);
            }
            let _ = process.child.kill();
            let _ = process.child.wait();
            end_descendants(&mut process.tree);
        }
        self.cubic = None;
    }
}

impl Drop for Undo {
    fn drop(&mut self) {
        self.end();
    }
}

/// A process that has been waited for has no number any more; the look at its status keeps a stranger safe.
fn tell(pid: u32, signal: Signal, child: &mut Child) {
    if matches!(child.try_wait(), Ok(None))
        && let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw)
    {
        let _ = kill_process(pid, signal);
    }
}

/// Kills what is left of a tree whose root has ended. It is told from strangers by when it started.
fn end_descendants(tree: &mut Tree) {
    for _ in 0..10 {
        if !tree.look().is_ok_and(|seen| seen.processes > 0) {
            return;
        }
        for pid in tree.pids() {
            if let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) {
                let _ = kill_process(pid, Signal::KILL);
            }
        }
        std::thread::park_timeout(POLL);
    }
}

/// Core and priority are those of the thread that starts a process, so this one starts nothing else.
fn spawn(mut command: Command, bound: Bound) -> io::Result<Child> {
    std::thread::scope(|scope| {
        let thread = scope.spawn(move || {
            place::bind(bound.core)?;
            // Said once by the caller, who has tried it on itself.
            let _ = place::nice(bound.nice);
            command.spawn()
        });
        thread.join().unwrap_or_else(|_| Err(io::Error::other("the thread that starts it broke off")))
    })
}

fn open(port: u16) -> bool {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    TcpStream::connect_timeout(&address, Duration::from_millis(500)).is_ok()
}

fn last_lines(log: &Path) -> String {
    let text = std::fs::read(log).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let lines: Vec<&str> = text.lines().rev().take(4).collect();
    if lines.is_empty() {
        return format!("it said nothing in {}", log.display());
    }
    lines.into_iter().rev().collect::<Vec<_>>().join(" | ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cost::Tree;

    fn start(folder: &Path, script: &str, ports: Vec<u16>) -> Start {
        Start {
            name: "shell".to_owned(),
            program: PathBuf::from("/bin/sh"),
            arguments: vec!["-c".to_owned(), script.to_owned()],
            folder: folder.to_owned(),
            ports,
        }
    }

    fn bound() -> Bound {
        let places = place::Places::of_this_process().expect("Linux");
        Bound { core: places.server, nice: 0 }
    }

    fn runs(pid: u32) -> bool {
        // A zombie that nobody of ours has to wait for does not run.
        std::fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| !stat.contains(") Z "))
    }

    #[test]
    fn all_that_was_started_ends_even_what_ignores_the_request_or_left_its_parent() {
        let dir = tempfile::TempDir::new().expect("a folder");
        let started = Started::default();
        let script =
            "trap '' TERM; (trap '' TERM; sleep 1000) & echo ready >ready; while :; do sleep 1000; done";
        let pid = started.start(&start(dir.path(), script, vec![]), bound()).expect("started");
        while !dir.path().join("ready").exists() {
            std::thread::park_timeout(POLL);
        }
        let mut tree = Tree::of(&[pid]).expect("it runs");
        while tree.look().expect("readable").processes < 3 {
            std::thread::park_timeout(POLL);
        }
        let pids = tree.pids();
        drop(started);
        let left: Vec<u32> = pids.into_iter().filter(|pid| runs(*pid)).collect();
        assert!(left.is_empty(), "{left:?} of {pid} still run");
    }

    #[test]
    fn a_server_that_ends_at_its_start_is_named_with_its_last_words() {
        let dir = tempfile::TempDir::new().expect("a folder");
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("bound").port();
        drop(listener);
        let words = start(dir.path(), "echo the address is in use; exit 3", vec![port]);
        let error = Started::default().start(&words, bound()).expect_err("it ended").to_string();
        assert!(error.contains("shell") && error.contains("in use"), "{error}");
        let missing = Start { program: "/no/such".into(), ..start(dir.path(), "", vec![]) };
        let error = Started::default().start(&missing, bound()).expect_err("missing").to_string();
        assert!(error.contains("/no/such"), "{error}");
    }
}
