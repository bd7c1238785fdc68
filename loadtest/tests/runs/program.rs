//! The program, as a person starts it.

use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;

/// A run that runs.
pub(crate) struct Program {
    child: Child,
    folder: TempDir,
}

/// What it wrote; null if nothing.
#[derive(Debug)]
pub(crate) struct Report(Value);

impl Program {
    pub(crate) fn pull(subject: &str, arguments: &[&str]) -> Self {
        Self::start(Command::new(env!("CARGO_BIN_EXE_loadtest")), subject, arguments)
    }

    /// As `pull`, and it may open so many files.
    pub(crate) fn pull_with_files(files: u32, subject: &str, arguments: &[&str]) -> Self {
        let mut command = Command::new("sh");
        let script = format!("ulimit -n {files} && exec \"$0\" \"$@\"");
        command.args(["-c", &script, env!("CARGO_BIN_EXE_loadtest")]);
        Self::start(command, subject, arguments)
    }

    fn start(mut command: Command, subject: &str, arguments: &[&str]) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let child = command
            .args(["pull", subject, "--quiet", "--json"])
            .arg(folder.path().join("run.json"))
            .args(arguments)
            .stdin(Stdio::null())
            .spawn()
            .expect("it starts");
        Self { child, folder }
    }

    fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    pub(crate) fn interrupt(&self) {
        kill_process(self.pid(), Signal::INT).expect("it runs");
    }

    /// Sends signals until it has ended, and gives its exit code.
    pub(crate) fn interrupt_until_gone(mut self) -> i32 {
        loop {
            if let Some(status) = self.child.try_wait().expect("a child") {
                return status.code().expect("not killed");
            }
            // A zombie takes signals too.
            kill_process(self.pid(), Signal::INT).expect("it is there");
            std::thread::yield_now();
        }
    }

    /// Waits for its end.
    pub(crate) fn ended(mut self) -> (i32, Report) {
        let status = self.child.wait().expect("a child");
        let text = std::fs::read_to_string(self.folder.path().join("run.json")).unwrap_or_default();
        let report = if text.is_empty() { Value::Null } else { serde_json::from_str(&text).expect("JSON") };
        (status.code().expect("not killed"), Report(report))
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // Not after a test that failed either. One that has ended is no error.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Report {
    pub(crate) fn flow(&self) -> &Value {
        &self.0["flows"][0]
    }

    pub(crate) fn pulls(&self, outcome: &str) -> u64 {
        self.flow()["pulls"][outcome].as_u64().unwrap_or_default()
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.flow()["bytes"].as_object().expect("bytes").values().filter_map(Value::as_u64).sum()
    }

    pub(crate) fn number(&self, name: &str) -> u64 {
        self.flow()[name].as_u64().expect("a number")
    }

    pub(crate) fn text(&self, name: &str) -> &str {
        self.0[name].as_str().unwrap_or_default()
    }

    /// Why the client may have been the limit.
    pub(crate) fn bottlenecks(&self) -> String {
        self.0["client"]["bottlenecks"].to_string()
    }

    /// The worst lag of the program's own timers, seconds.
    pub(crate) fn timer_lag(&self) -> f64 {
        self.0["client"]["timer_lag"]["max"].as_f64().expect("a number")
    }
}
