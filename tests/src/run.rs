//! Commands that end by themselves, within a limit.

use std::ffi::OsStr;
use std::fmt;
use std::process::{ExitStatus, Stdio};
use std::time::{Duration, Instant};

use tokio::process::Command;

/// What a command printed and how long it took.
#[derive(Clone, Debug)]
pub struct Ran {
    /// Its standard output.
    pub stdout: String,
    /// Its standard error.
    pub stderr: String,
    /// Wall-clock time from start to end.
    pub took: Duration,
}

/// A command that failed, could not start or took too long.
#[derive(Clone, Debug)]
pub struct Failed {
    /// The command line.
    pub command: String,
    /// How it ended; `None` if it never started or was ended for being too slow.
    pub status: Option<ExitStatus>,
    /// What it printed, or why it did not run.
    pub output: String,
}

impl fmt::Display for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` failed ({:?}): {}", self.command, self.status, self.output.trim())
    }
}

impl std::error::Error for Failed {}

/// Runs a command to its end, or ends it after `limit`.
///
/// # Errors
/// [`Failed`] if it does not exit with 0 in time.
pub async fn run<A: AsRef<OsStr>>(program: &str, args: &[A], limit: Duration) -> Result<Ran, Failed> {
    let mut line = program.to_owned();
    for arg in args {
        line.push(' ');
        line.push_str(&arg.as_ref().to_string_lossy());
    }
    let failed = |status, output: String| Failed {
        command: line.clone(),
        status,
        output: tail(&output, 8000).to_owned(),
    };
    let begun = Instant::now();
    let child = Command::new(program).args(args).stdin(Stdio::null()).kill_on_drop(true).output();
    let output = match tokio::time::timeout(limit, child).await {
        Err(_) => return Err(failed(None, format!("ended for taking longer than {limit:?}"))),
        Ok(Err(error)) => return Err(failed(None, error.to_string())),
        Ok(Ok(output)) => output,
    };
    let stdout = String::from_utf8_lossy(&output.stdout).into_owned();
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    if output.status.success() {
        Ok(Ran { stdout, stderr, took: begun.elapsed() })
    } else {
        Err(failed(Some(output.status), format!("{stderr}\n{stdout}")))
    }
}

/// Runs a command that has to succeed within `limit`.
///
/// # Panics
/// If it does not.
pub async fn must_run<A: AsRef<OsStr>>(program: &str, args: &[A], limit: Duration) -> Ran {
    run(program, args, limit).await.unwrap_or_else(|failed| panic!("{failed}"))
}

/// The last `bytes` of a text, at a character's boundary.
pub fn tail(text: &str, bytes: usize) -> &str {
    let mut at = text.len().saturating_sub(bytes);
    while !text.is_char_boundary(at) {
        at += 1;
    }
    &text[at..]
}
