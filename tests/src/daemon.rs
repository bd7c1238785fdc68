//! Servers under test: started with a log, ended with the test whatever becomes of it.

use std::ffi::OsStr;
use std::fmt;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use crate::run::tail;

const READY_LIMIT: Duration = Duration::from_secs(30);
const STOP_LIMIT: Duration = Duration::from_secs(15);

/// A running server. Dropping it asks it to end, and makes it end if it does not.
#[derive(Debug)]
pub struct Daemon {
    name: String,
    child: Option<Child>,
    pid: u32,
    log: PathBuf,
}

impl Daemon {
    /// Starts `program`, its output appended to `log`. It gets SIGTERM should this process die.
    ///
    /// # Panics
    /// If it cannot be started.
    pub fn start<A: AsRef<OsStr>>(name: &str, log: &Path, program: &str, args: &[A]) -> Self {
        let file = File::options().create(true).append(true).open(log).expect("the log can be opened");
        let child = Command::new("setpriv")
            .args(["--pdeathsig", "TERM", "--", program])
            .args(args)
            .stdin(Stdio::null())
            .stdout(file.try_clone().expect("the log can be shared"))
            .stderr(file)
            .spawn()
            .unwrap_or_else(|error| panic!("{name} ({program}) cannot be started: {error}"));
        let pid = child.id();
        Self { name: name.to_owned(), child: Some(child), pid, log: log.to_owned() }
    }

    /// Its process.
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// All that it has printed.
    pub fn log(&self) -> String {
        fs::read(&self.log).map(|log| String::from_utf8_lossy(&log).into_owned()).unwrap_or_default()
    }

    /// Tries `attempt` until it succeeds: the server is ready.
    ///
    /// # Panics
    /// If it ends by itself before, or is not ready after 30 s; with the end of its log.
    pub async fn wait_until_ready<E: fmt::Display>(&mut self, attempt: impl AsyncFn() -> Result<(), E>) {
        let begun = Instant::now();
        while let Err(why) = attempt().await {
            let ended = self.child.as_mut().map(Child::try_wait);
            if !matches!(ended, Some(Ok(None))) || begun.elapsed() > READY_LIMIT {
                panic!("{} is not ready ({ended:?}): {why}\n{}", self.name, tail(&self.log(), 4000));
            }
            tokio::time::sleep(Duration::from_millis(25)).await;
        }
    }

    /// Ends it as a crash would: SIGKILL, nothing said.
    pub fn kill_9(&mut self) {
        if let Some(mut child) = self.child.take() {
            // Fails only where it has ended already.
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// Waits until it has ended by itself; gives how.
    ///
    /// # Panics
    /// If it has not within `limit`, with the end of its log.
    pub fn ended(&mut self, limit: Duration) -> ExitStatus {
        let begun = Instant::now();
        let mut child = self.child.take().expect("it was not waited for before");
        loop {
            if let Some(status) = child.try_wait().expect("a child can be waited for") {
                return status;
            }
            if begun.elapsed() > limit {
                self.child = Some(child);
                panic!("{} has not ended within {limit:?}\n{}", self.name, tail(&self.log(), 4000));
            }
            std::thread::park_timeout(Duration::from_millis(2));
        }
    }

    /// Asks it to end (SIGTERM) and waits; after a grace of 15 s it is killed. `None` if it had ended before.
    pub fn stop(&mut self) -> Option<ExitStatus> {
        let mut child = self.child.take()?;
        signal(self.pid, "TERM");
        let (ended, wait) = mpsc::channel();
        let waiter = std::thread::spawn(move || {
            let status = child.wait();
            // The receiver is gone only if this thread's answer no longer matters.
            let _ = ended.send(());
            status
        });
        if wait.recv_timeout(STOP_LIMIT).is_err() {
            eprintln!("{} did not end {:?} after SIGTERM; killing it", self.name, STOP_LIMIT);
            signal(self.pid, "KILL");
        }
        waiter.join().expect("the waiter does not panic").ok()
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Sends a signal to a process that the test started.
pub fn signal(pid: u32, name: &str) {
    let sent = Command::new("sh").arg("-c").arg(format!("kill -{name} {pid}")).stderr(Stdio::null()).status();
    assert!(sent.is_ok(), "sh cannot be run: {sent:?}");
}
