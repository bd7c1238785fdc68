//! What is done to the servers while they are pulled from: the plan's commands, at their times, by `sh -c`.
//!
//! Each command is a process group of its own, which is killed as a whole when the command takes longer than
//! [`LONGEST`] or the run is stopped. The end of what it prints is kept for the report of a failure.

use std::process::Stdio;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::process::Command;
use tokio::task::JoinSet;

use crate::plan::Event;
use crate::report::EventReport;
use crate::snapshot::{EventSnapshot, EventState};

/// A command that takes longer is killed and has failed.
pub(crate) const LONGEST: Duration = Duration::from_secs(600);
/// Bytes kept of the end of what a command prints.
const KEPT: usize = 2048;
/// How long output is waited for after a command has ended: a process that it left behind may hold its output open.
const LAST_WORDS: Duration = Duration::from_millis(500);

/// The events of a run. Dropped, it kills what runs.
#[derive(Debug)]
pub(crate) struct Events {
    start: Instant,
    planned: Vec<Event>,
    seen: Arc<Mutex<Vec<Option<EventSnapshot>>>>,
    running: JoinSet<(usize, EventReport)>,
}

impl Events {
    /// Begins to wait for the times of `events`, which count from `start`. Needs a runtime.
    pub(crate) fn begin(events: &[Event], start: Instant) -> Self {
        let seen = Arc::new(Mutex::new(vec![None; events.len()]));
        let mut running = JoinSet::new();
        for (place, event) in events.iter().cloned().enumerate() {
            let seen = Arc::clone(&seen);
            running.spawn(async move {
                tokio::time::sleep_until((start + event.at).into()).await;
                let begun = Instant::now();
                let at = begun.saturating_duration_since(start);
                note(&seen, place, &event.name, at, EventState::Running);
                let failure = run(&event.run, LONGEST).await.err();
                let state = failure.clone().map_or(EventState::Done, EventState::Failed);
                note(&seen, place, &event.name, at, state);
                let took = begun.elapsed().as_secs_f64();
                (place, EventReport { name: event.name, at: at.as_secs_f64(), took, failure })
            });
        }
        Self { start, planned: events.to_vec(), seen, running }
    }

    /// Those that have begun, oldest first.
    pub(crate) fn snapshot(&self) -> Vec<EventSnapshot> {
        let mut begun: Vec<EventSnapshot> = lock(&self.seen).iter().flatten().cloned().collect();
        begun.sort_by_key(|event| event.at);
        begun
    }

    /// Waits for all to end, unless `stopped` resolves before, and says in the plan's order what came of them.
    pub(crate) async fn end(mut self, stopped: impl Future<Output = ()>) -> Vec<EventReport> {
        let mut ended: Vec<Option<EventReport>> = self.planned.iter().map(|_| None).collect();
        let mut stopped = std::pin::pin!(stopped);
        loop {
            tokio::select! {
                biased;
                event = self.running.join_next() => match event {
                    None => break,
                    Some(Ok((place, report))) => {
                        if let Some(slot) = ended.get_mut(place) {
                            *slot = Some(report);
                        }
                    }
                    Some(Err(_)) => {}
                },
                () = &mut stopped => break,
            }
        }
        self.running.shutdown().await;
        let seen = lock(&self.seen).clone();
        let now = self.start.elapsed();
        let each = self.planned.into_iter().zip(ended).zip(seen);
        each.map(|((planned, ended), seen)| {
            ended.unwrap_or_else(|| {
                let (at, took, failure) = match seen {
                    Some(seen) => (seen.at, now.saturating_sub(seen.at), "the run was stopped while it ran"),
                    None => (planned.at, Duration::ZERO, "the run was stopped before its time"),
                };
                EventReport {
                    name: planned.name,
                    at: at.as_secs_f64(),
                    took: took.as_secs_f64(),
                    failure: Some(failure.to_owned()),
                }
            })
        })
        .collect()
    }
}

fn note(seen: &Mutex<Vec<Option<EventSnapshot>>>, place: usize, name: &str, at: Duration, state: EventState) {
    if let Some(slot) = lock(seen).get_mut(place) {
        *slot = Some(EventSnapshot { name: name.to_owned(), at, state });
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Kills a process group when it is dropped.
struct Group(Option<Pid>);

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(group) = self.0 {
            // It may have ended by itself.
            let _ = kill_process_group(group, Signal::KILL);
        }
    }
}

/// Runs one command to its end; on failure says in a sentence what went wrong.
async fn run(command: &str, longest: Duration) -> Result<(), String> {
    let mut child = Command::new("sh")
        .args(["-c", command])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .kill_on_drop(true)
        .spawn()
        .map_err(|error| format!("sh could not be started: {error}"))?;
    let id = child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
    let mut group = Group(id);
    let kept = Arc::new(Mutex::new(Vec::new()));
    let mut reading = JoinSet::new();
    if let Some(output) = child.stdout.take() {
        reading.spawn(keep(output, Arc::clone(&kept)));
    }
    if let Some(output) = child.stderr.take() {
        reading.spawn(keep(output, Arc::clone(&kept)));
    }
    let ended = tokio::time::timeout(longest, child.wait()).await;
    // What it printed last may still be on its way; what a process that it left behind prints is not waited for.
    let _ = tokio::time::timeout(LAST_WORDS, async { while reading.join_next().await.is_some() {} }).await;
    let printed = || {
        let kept = lock(&kept);
        match String::from_utf8_lossy(&kept).trim() {
            "" => "it printed nothing".to_owned(),
            text => format!("it printed: {text}"),
        }
    };
    match ended {
        Ok(Ok(status)) => {
            // What it left to run in the background is meant to go on.
            group.0 = None;
            if status.success() { Ok(()) } else { Err(format!("it ended with {status}; {}", printed())) }
        }
        Ok(Err(error)) => Err(format!("its end is not known: {error}")),
        Err(_) => {
            Err(format!("it still ran after {} s and was killed; {}", longest.as_secs_f64(), printed()))
        }
    }
}

/// Reads to the end and keeps the last of it.
async fn keep(mut output: impl AsyncRead + Unpin, kept: Arc<Mutex<Vec<u8>>>) {
    let mut buffer = [0; 1024];
    while let Ok(count) = output.read(&mut buffer).await {
        if count == 0 {
            return;
        }
        let mut kept = lock(&kept);
        kept.extend(buffer.iter().take(count));
        let excess = kept.len().saturating_sub(KEPT);
        kept.drain(..excess);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(name: &str, milliseconds: u64, run: &str) -> Event {
        Event { at: Duration::from_millis(milliseconds), name: name.to_owned(), run: run.to_owned() }
    }

    #[tokio::test]
    async fn commands_run_at_their_times_and_say_how_they_ended() {
        let planned = [
            event("late", 60, "true"),
            event("broken", 20, "echo out; echo why >&2; exit 3"),
            event("now", 0, "true"),
        ];
        let start = Instant::now();
        let events = Events::begin(&planned, start).end(std::future::pending()).await;
        assert_eq!(
            events.iter().map(|event| event.name.as_str()).collect::<Vec<_>>(),
            ["late", "broken", "now"]
        );
        for (event, planned) in events.iter().zip(&planned) {
            assert!(event.at >= planned.at.as_secs_f64(), "{event:?}");
        }
        assert_eq!((events[0].failure.as_ref(), events[2].failure.as_ref()), (None, None));
        let failure = events[1].failure.as_ref().expect("it failed");
        for said in ["exit status: 3", "out", "why"] {
            assert!(failure.contains(said), "{failure}");
        }
    }

    #[tokio::test]
    async fn a_command_that_goes_on_too_long_is_killed_with_all_that_it_started() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("pid");
        let command = format!("sleep 1000 & echo $! > {}; echo waiting; wait", file.display());
        let failure = run(&command, Duration::from_millis(300)).await.expect_err("too long");
        assert!(failure.contains("still ran after 0.3 s") && failure.contains("waiting"), "{failure}");
        let pid = std::fs::read_to_string(&file).expect("written").trim().to_owned();
        // It is gone, or a zombie until its parent looks.
        let gone = async {
            loop {
                match std::fs::read_to_string(format!("/proc/{pid}/stat")) {
                    Ok(stat) if !stat.contains(") Z") => tokio::time::sleep(Duration::from_millis(5)).await,
                    _ => return,
                }
            }
        };
        tokio::time::timeout(Duration::from_secs(20), gone).await.expect("killed");
    }

    #[tokio::test]
    async fn what_a_command_leaves_in_the_background_goes_on_and_is_not_waited_for() {
        let begun = Instant::now();
        run("sleep 20 & true", LONGEST).await.expect("done");
        assert!(begun.elapsed() < Duration::from_secs(15));
    }

    #[tokio::test]
    async fn a_run_that_is_stopped_says_so_of_events_that_run_and_of_those_that_never_did() {
        let events = Events::begin(
            &[event("runs", 0, "sleep 1000"), event("never", 1_000_000, "true")],
            Instant::now(),
        );
        let running = async {
            while events.snapshot().is_empty() {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(20), running).await.expect("begun");
        assert_eq!(events.snapshot()[0].state, EventState::Running);
        let reports = events.end(std::future::ready(())).await;
        let failure = |place: usize| reports[place].failure.clone().expect("failed");
        assert!(failure(0).contains("while it ran"), "{}", failure(0));
        assert!(failure(1).contains("before its time"), "{}", failure(1));
    }

    #[tokio::test]
    async fn only_the_end_of_a_long_output_is_kept() {
        let command = "i=0; while [ $i -lt 2000 ]; do echo line $i; i=$((i+1)); done; exit 1";
        let failure = run(command, LONGEST).await.expect_err("failed");
        assert!(failure.contains("line 1999") && failure.len() < KEPT + 200, "{}", failure.len());
    }
}
