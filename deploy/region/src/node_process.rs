//! A node, or another process of the region: how it is started, and what it does on the other side of that.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::process::{ExitCode, Stdio};
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::process::{Child, ChildStdin, Command};

use crate::error::RegionError;
use crate::node_log;

/// Exit code of a node whose region is gone. Nobody is left to see it but a log or a trace.
const ORPHANED: i32 = 75;
/// For the last lines of a node that has ended to reach its log.
const LOG_GRACE: Duration = Duration::from_secs(2);
/// How much of a log a message shows.
const TAIL_BYTES: u64 = 4096;
const TAIL_LINES: usize = 12;

/// A node that runs, and the pipe whose end tells it that the region is gone, even by a kill that nobody catches.
/// Waiting for a child closes its standard input, so the pipe is kept apart from it.
pub(crate) struct Running {
    pub(crate) child: Child,
    log: JoinHandle<()>,
    _life: Option<ChildStdin>,
}

impl Running {
    /// Waits until all that an ended node has said is in its log.
    pub(crate) async fn logged(self) {
        let written = tokio::task::spawn_blocking(move || self.log.join());
        // A process that has inherited the pipe keeps it open; what it says is not waited for.
        let _ = tokio::time::timeout(LOG_GRACE, written).await;
    }
}

/// Starts a process, in a process group of its own so that a Ctrl-C in the terminal reaches the region alone, which
/// then ends its processes in order. What it says goes to the log at `path`.
pub(crate) fn start(mut command: Command, path: &Path) -> Result<Running, RegionError> {
    let pipe = |error| RegionError::System { what: "pipe", error };
    let (said, out) = io::pipe().map_err(pipe)?;
    let errors = out.try_clone().map_err(pipe)?;
    let log = node_log::keep(said, path).map_err(|error| RegionError::file(path, error))?;
    let mut child = command
        .process_group(0)
        .stdout(out)
        .stderr(errors)
        .kill_on_drop(true)
        .spawn()
        .map_err(|error| RegionError::System { what: "process", error })?;
    Ok(Running { _life: child.stdin.take(), log, child })
}

/// The command that runs a part of the region, `node` or `control`: this binary again.
pub(crate) fn command(part: &str, settings: &Path) -> Result<Command, RegionError> {
    let binary = std::env::current_exe()
        .map_err(|error| RegionError::System { what: "path of this program", error })?;
    let mut command = Command::new(binary);
    command.arg(part).arg("--config").arg(settings).stdin(Stdio::piped());
    Ok(command)
}

/// Is a node until it ends, or until the region does.
pub(crate) fn node(config: PathBuf) -> ExitCode {
    bound_to_region(|| dataproxy(vec!["serve".into(), "--config".into(), config.into()]))
}

/// Is a router until it ends, or until the region does.
pub(crate) fn router(config: PathBuf) -> ExitCode {
    let arguments = ["router".into(), "serve".into(), "--config".into(), OsString::from(config)];
    bound_to_region(|| dataproxy_router::main_with_args(arguments))
}

fn bound_to_region(run: impl FnOnce() -> ExitCode) -> ExitCode {
    let watch = std::thread::Builder::new().name("region-watch".to_owned()).spawn(|| {
        let _ = io::copy(&mut io::stdin(), &mut io::sink());
        // The log was the region's too: to say so is to fail, and must not keep the node from ending.
        let _ = writeln!(io::stderr(), "the region is gone; this process ends with it");
        std::process::exit(ORPHANED);
    });
    if let Err(error) = watch {
        eprintln!("region: the system gives no thread: {error}");
        return ExitCode::FAILURE;
    }
    run()
}

/// Runs a node's own command line.
pub(crate) fn dataproxy(arguments: Vec<OsString>) -> ExitCode {
    dataproxy::main_with_args(std::iter::once("dataproxy".into()).chain(arguments))
}

/// The end of a log, for a message.
pub(crate) fn tail(path: &Path) -> String {
    let read = || {
        let mut file = File::open(path)?;
        let length = file.metadata()?.len();
        file.seek(SeekFrom::Start(length.saturating_sub(TAIL_BYTES)))?;
        let mut end = Vec::new();
        file.read_to_end(&mut end)?;
        Ok::<_, io::Error>(end)
    };
    let end = match read() {
        Ok(end) => String::from_utf8_lossy(&end).into_owned(),
        Err(error) => return format!("(cannot be read: {error})"),
    };
    let lines: Vec<&str> = end.lines().collect();
    let shown = lines.get(lines.len().saturating_sub(TAIL_LINES)..).unwrap_or_default();
    if shown.is_empty() { "(empty)".to_owned() } else { shown.join("\n") }
}
