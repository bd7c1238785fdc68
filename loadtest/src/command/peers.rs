//! `loadtest peers`: servers side by side.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, ValueEnum};
use tokio::signal::unix::{SignalKind, signal};

use crate::peers::{self, Amount, Comparison, External, Kind, Scheme, Settings, Started, Work};
use crate::seed;

/// Gives servers the same warm work in turn on this machine, and tells the CPU that each used for a GiB and for a request:
/// nginx, Varnish, Apache Traffic Server, docker-registry and dataproxy, each with one worker bound to one core, the load
/// bound to another. Servers are started on free ports of loopback with configurations of their own, and ended. Needs no root;
/// with it, priorities are raised.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Only these servers
    #[arg(long, value_delimiter = ',', value_name = "NAME,…")]
    only: Vec<Kind>,
    /// Also a server that runs already and serves the content of --folder: what comes before sha256:<hex> in its URLs, and its
    /// process; may be repeated
    #[arg(long, value_name = "NAME=URL,PID", requires = "folder")]
    external: Vec<External>,
    /// Only servers of --external
    #[arg(long, requires = "external", conflicts_with = "only")]
    external_only: bool,
    /// Only writes the content into --folder, for a server of --external to serve: DIR/www as files, DIR/accounts/lab/lab in the
    /// layout of the CNCF distribution
    #[arg(long, requires = "folder", conflicts_with_all = ["external", "only"])]
    content_only: bool,
    /// dataproxy's program; by default the one beside this
    #[arg(long, value_name = "PATH")]
    dataproxy: Option<PathBuf>,
    /// Leaves out servers that are not installed
    #[arg(long)]
    skip_missing: bool,
    /// Only this work: c1, c8 and c64 ask for large blobs over so many connections, small for small ones over 64, range for
    /// 1 MiB ranges over 8
    #[arg(long, value_delimiter = ',', value_name = "WORK,…")]
    work: Vec<Work>,
    /// Measurements of each, taken in turn
    #[arg(long, value_name = "COUNT", default_value_t = 7, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
    /// Seconds of each measurement
    #[arg(long, value_name = "SECONDS", default_value_t = 2.0, value_parser = seconds)]
    seconds: f64,
    /// Also over TLS 1.3 with AES-128-GCM
    #[arg(long, conflicts_with = "only_tls")]
    tls: bool,
    /// Over TLS alone
    #[arg(long)]
    only_tls: bool,
    /// Large blobs: their number
    #[arg(long, value_name = "COUNT", default_value_t = 16, value_parser = clap::value_parser!(u16).range(1..=63))]
    large: u16,
    /// Large blobs: their size
    #[arg(long, value_name = "SIZE", default_value = "64MiB", value_parser = layer_size)]
    large_size: u64,
    /// Small blobs: their size; there are 64
    #[arg(long, value_name = "SIZE", default_value = "16KiB", value_parser = layer_size)]
    small_size: u64,
    /// Where content, configurations and logs lie, and stay; by default a folder that is removed at the end
    #[arg(long, value_name = "DIR")]
    folder: Option<PathBuf>,
    /// Puts loopback under this congestion control for the time of the run, and back; needs root
    #[arg(long, value_name = "NAME")]
    set_congestion: Option<Control>,
    /// Measures although loopback paces (BBR), which triples the cost
    #[arg(long)]
    allow_pacing: bool,
    /// Measures although other processes use the machine
    #[arg(long)]
    allow_noise: bool,
    /// Writes the figures of every round here
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Writes one page with the tables here
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
    /// Writes the tables here; by default to the terminal
    #[arg(long, value_name = "FILE")]
    markdown: Option<PathBuf>,
}

/// What loopback may be put under.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Control {
    /// Linux's usual one; does not pace.
    Cubic,
}

pub(crate) fn run(options: &Options) -> ExitCode {
    let (folder, _removed_at_the_end) = match folder(options) {
        Ok(folder) => folder,
        Err(error) => return refuse(&error, 2),
    };
    let settings = settings(options, &folder);
    if options.content_only {
        return match peers::write_content(&settings) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => refuse(&error.to_string(), error.exit_code()),
        };
    }
    let started = Started::default();
    let stop = match on_signals(&started, options.folder.is_none().then(|| folder.clone())) {
        Ok(stop) => stop,
        Err(error) => return refuse(&format!("signals cannot be waited for: {error}"), 3),
    };
    let compared = peers::run(&settings, &started, &mut |step| eprintln!("{step}"));
    started.end();
    stop.unless_signalled();
    match compared {
        Ok(comparison) => match write(options, &comparison) {
            Ok(()) if comparison.failed() > 0 => {
                refuse(&format!("{} requests failed; see the last column", comparison.failed()), 1)
            }
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => refuse(&error, 2),
        },
        Err(error) => refuse(&error.to_string(), error.exit_code()),
    }
}

fn refuse(message: &str, code: u8) -> ExitCode {
    eprintln!("loadtest peers: {message}");
    ExitCode::from(code)
}

fn settings(options: &Options, folder: &Path) -> Settings {
    let kinds = match options.only.as_slice() {
        _ if options.external_only => Vec::new(),
        [] => Kind::ALL.to_vec(),
        only => in_order(only),
    };
    let schemes: &[Scheme] = match (options.tls, options.only_tls) {
        (_, true) => &[Scheme::Tls],
        (true, false) => &[Scheme::Plain, Scheme::Tls],
        (false, false) => &[Scheme::Plain],
    };
    Settings {
        kinds,
        externals: options.external.clone(),
        dataproxy: options.dataproxy.clone().unwrap_or_else(beside_this),
        skip_missing: options.skip_missing,
        schemes: schemes.to_vec(),
        works: if options.work.is_empty() { Work::ALL.to_vec() } else { in_order(&options.work) },
        rounds: options.rounds,
        duration: Duration::from_secs_f64(options.seconds),
        amount: Amount {
            large: options.large.into(),
            large_size: options.large_size,
            small: 64,
            small_size: options.small_size,
        },
        folder: folder.to_owned(),
        set_cubic: options.set_congestion.is_some(),
        allow_pacing: options.allow_pacing,
        wait_for_quiet: !options.allow_noise,
        nice: -15,
    }
}

fn in_order<T: Copy + Ord>(named: &[T]) -> Vec<T> {
    let mut named = named.to_vec();
    named.sort_unstable();
    named.dedup();
    named
}

fn beside_this() -> PathBuf {
    let this = std::env::current_exe().unwrap_or_default();
    this.with_file_name("dataproxy")
}

/// The folder of `--folder` by its whole path, or one that is removed when the second value is dropped.
fn folder(options: &Options) -> Result<(PathBuf, Option<tempfile::TempDir>), String> {
    match &options.folder {
        Some(folder) => {
            let made = fs::create_dir_all(folder).and_then(|()| fs::canonicalize(folder));
            made.map(|folder| (folder, None)).map_err(|error| format!("{}: {error}", folder.display()))
        }
        None => {
            let made = tempfile::TempDir::with_prefix("loadtest-peers.");
            let made = made.map_err(|error| format!("no folder can be made for the content: {error}"))?;
            Ok((made.path().to_owned(), Some(made)))
        }
    }
}

/// Waits for signals.
struct Signals {
    over: tokio::sync::oneshot::Sender<()>,
    thread: std::thread::JoinHandle<()>,
}

impl Signals {
    /// Goes on if no signal came. If one did, the servers were ended by it, and what failed for that is not to be told: the
    /// other thread ends this process.
    fn unless_signalled(self) {
        drop(self.over);
        let _ = self.thread.join();
    }
}

/// On Ctrl-C or a request to end: ends the servers, removes the folder, and ends this process as the signal would have.
fn on_signals(started: &Started, folder: Option<PathBuf>) -> io::Result<Signals> {
    let (over, mut dropped) = tokio::sync::oneshot::channel();
    let started = started.clone();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
    let guard = runtime.enter();
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    drop(guard);
    let thread = std::thread::Builder::new().name("signals".to_owned()).spawn(move || {
        let code = runtime.block_on(async {
            tokio::select! {
                _ = interrupt.recv() => Some(130),
                _ = terminate.recv() => Some(143),
                _ = &mut dropped => None,
            }
        });
        if let Some(code) = code {
            eprintln!("loadtest peers: ending the servers");
            started.end();
            if let Some(folder) = folder {
                let _ = fs::remove_dir_all(folder);
            }
            std::process::exit(code);
        }
    })?;
    Ok(Signals { over, thread })
}

fn write(options: &Options, comparison: &Comparison) -> Result<(), String> {
    let to = |path: &Path, text: &str| {
        fs::write(path, text).map_err(|error| format!("{}: {error}", path.display()))
    };
    if let Some(path) = &options.json {
        let text = serde_json::to_string_pretty(comparison).map_err(|error| error.to_string())?;
        to(path, &text)?;
    }
    if let Some(path) = &options.html {
        to(path, &peers::html(comparison))?;
    }
    let text = peers::markdown(comparison);
    match &options.markdown {
        Some(path) => to(path, &text),
        // A closed pipe is not worth a word.
        None => {
            let _ = io::stdout().write_all(text.as_bytes());
            Ok(())
        }
    }
}

fn seconds(text: &str) -> Result<f64, String> {
    let seconds: f64 =
        text.parse().map_err(|_| "a number of seconds is wanted, such as 2 or 0.5".to_owned())?;
    if (0.1..=600.0).contains(&seconds) {
        Ok(seconds)
    } else {
        Err("0.1 to 600 seconds can be measured; CPU is counted in ticks of 10 ms".to_owned())
    }
}

fn layer_size(text: &str) -> Result<u64, String> {
    let size = seed::parse_size(text).map_err(|error| error.to_string())?;
    if size < seed::SMALLEST {
        return Err(format!("a blob has at least {} bytes", seed::SMALLEST));
    }
    Ok(size)
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        options: Options,
    }

    fn parse(arguments: &[&str]) -> Result<Settings, String> {
        let line =
            Line::try_parse_from(["peers"].iter().chain(arguments)).map_err(|error| error.to_string())?;
        Ok(settings(&line.options, Path::new("/folder")))
    }

    #[test]
    fn everything_is_compared_unless_less_is_named() {
        let all = parse(&[]).expect("valid");
        assert_eq!((all.kinds, all.works), (Kind::ALL.to_vec(), Work::ALL.to_vec()));
        assert_eq!((all.schemes, all.rounds, all.amount), (vec![Scheme::Plain], 7, Amount::default()));
        let some = parse(&["--only", "varnish,nginx", "--work", "small,c1", "--tls"]).expect("valid");
        assert_eq!(some.kinds, [Kind::Nginx, Kind::Varnish]);
        assert_eq!(some.works, [Work::C1, Work::Small]);
        assert_eq!(some.schemes, [Scheme::Plain, Scheme::Tls]);
        let mine = ["--folder", "x", "--external", "mine=http://127.0.0.1:1,2", "--external-only"];
        let beside = parse(&mine[..4]).expect("valid");
        assert_eq!((beside.kinds, beside.externals.len()), (Kind::ALL.to_vec(), 1));
        let alone = parse(&mine).expect("valid");
        assert_eq!((alone.kinds, alone.externals.len()), (vec![], 1));
    }

    #[test]
    fn options_that_cannot_be_are_refused_with_those_that_can() {
        for (arguments, expected) in [
            (["--only", "apache"], "docker-registry"),
            (["--work", "c2"], "c64"),
            (["--rounds", "0"], "not in"),
            (["--seconds", "0.01"], "0.1 to 600"),
            (["--large-size", "64MB"], "64MiB"),
            (["--small-size", "1KiB"], "2048"),
            (["--set-congestion", "bbr"], "cubic"),
            (["--external", "mine"], "NAME=URL,PID"),
            (["--external", "mine=http://127.0.0.1:1,2"], "--folder"),
        ] {
            let error = parse(&arguments).expect_err("refused");
            assert!(error.contains(expected), "{arguments:?}: {error}");
        }
    }
}
