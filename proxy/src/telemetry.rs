//! Logs: one line an event, text or JSON, on standard error. Access lines have the target `access`.
//!
//! A line is formatted where it arises and written by a thread of its own, so a reader that stalls stalls no
//! pull. What does not fit in the queue then is dropped and counted.

use std::io::{self, Write};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::time::{Duration, Instant};

use metrics::counter;
use tracing_subscriber::Layer;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use crate::config::{Log, LogFormat};

/// Lines that wait to be written.
const QUEUE: usize = 8192;
/// Bytes written at once, if so many wait.
const BATCH_BYTES: usize = 64 << 10;
/// Bytes that a line has room for before it grows: an access line has about 700.
const LINE_BYTES: usize = 1 << 10;
/// How long the end of the process waits for lines that nobody reads.
const LAST_WAIT: Duration = Duration::from_millis(500);

/// Starts logging for the whole process. Lines are written until the guard is dropped, which waits
/// for them for at most half a second.
///
/// # Errors
/// The level is not one (the configuration checks it first), there is no thread, or the process logs already.
pub fn init(log: &Log) -> Result<Guard, String> {
    let (queue, guard) = Queue::open(io::stderr()).map_err(|error| error.to_string())?;
    let targets: Targets = log.level.parse().map_err(|error| format!("log.level: {error}"))?;
    let layer = tracing_subscriber::fmt::layer().with_writer(queue).with_ansi(false);
    let layer = match log.format {
        LogFormat::Text => layer.boxed(),
        LogFormat::Json => {
            layer.json().flatten_event(true).with_current_span(false).with_span_list(false).boxed()
        }
    };
    let subscriber = tracing_subscriber::registry().with(layer.with_filter(targets));
    subscriber.try_init().map_err(|error| error.to_string())?;
    Ok(guard)
}

/// Ends the writing thread once all lines are out, or leaves it if nobody reads them.
#[derive(Debug)]
pub struct Guard {
    end: SyncSender<Option<Vec<u8>>>,
    /// Closed by the thread as it ends.
    ended: Receiver<()>,
}

impl Drop for Guard {
    fn drop(&mut self) {
        // A full pipe that nobody reads must not keep the process alive: what it does not take in time is lost.
        let deadline = Instant::now() + LAST_WAIT;
        while let Err(TrySendError::Full(_)) = self.end.try_send(None) {
            let ended = self.ended.recv_timeout(LAST_WAIT / 50) != Err(RecvTimeoutError::Timeout);
            if ended || Instant::now() >= deadline {
                return;
            }
        }
        let _ = self.ended.recv_timeout(deadline.saturating_duration_since(Instant::now()));
    }
}

/// Hands lines to the writing thread.
#[derive(Clone, Debug)]
struct Queue {
    lines: SyncSender<Option<Vec<u8>>>,
}

impl Queue {
    fn open(out: impl Write + Send + 'static) -> io::Result<(Self, Guard)> {
        let (lines, waiting) = sync_channel(QUEUE);
        let (ending, ended) = sync_channel(0);
        std::thread::Builder::new().name("log".to_owned()).spawn(move || {
            write(&waiting, out);
            drop(ending);
        })?;
        let guard = Guard { end: lines.clone(), ended };
        Ok((Self { lines }, guard))
    }
}

fn write(waiting: &Receiver<Option<Vec<u8>>>, mut out: impl Write) {
    let mut batch = Vec::with_capacity(BATCH_BYTES);
    // There is nowhere to report a log that cannot be written.
    while let Ok(Some(line)) = waiting.recv() {
        batch.extend_from_slice(&line);
        // What waits already goes out in the same write: under load a system call a line would be the cost.
        while batch.len() < BATCH_BYTES {
            match waiting.try_recv() {
                Ok(Some(line)) => batch.extend_from_slice(&line),
                Ok(None) => {
                    let _ = out.write_all(&batch).and_then(|()| out.flush());
                    return;
                }
                Err(_) => break,
            }
        }
        let _ = out.write_all(&batch);
        batch.clear();
    }
    let _ = out.flush();
}

impl<'a> MakeWriter<'a> for Queue {
    type Writer = Line<'a>;

    fn make_writer(&'a self) -> Line<'a> {
        Line { queue: self, text: Vec::with_capacity(LINE_BYTES) }
    }
}

/// One line, sent when it is complete.
struct Line<'a> {
    queue: &'a Queue,
    text: Vec<u8>,
}

impl Write for Line<'_> {
    fn write(&mut self, part: &[u8]) -> io::Result<usize> {
        self.text.extend_from_slice(part);
        Ok(part.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for Line<'_> {
    fn drop(&mut self) {
        let text = std::mem::take(&mut self.text);
        if !text.is_empty() && self.queue.lines.try_send(Some(text)).is_err() {
            counter!("dataproxy_log_lines_dropped_total").increment(1);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Condvar, Mutex};

    use super::*;

    #[derive(Default)]
    struct Gate {
        open: bool,
        read: Vec<u8>,
    }

    /// A reader that takes nothing until it is let go.
    #[derive(Clone, Default)]
    struct Stalled(Arc<(Mutex<Gate>, Condvar)>);

    impl Write for Stalled {
        fn write(&mut self, part: &[u8]) -> io::Result<usize> {
            let (state, wake) = &*self.0;
            let mut state = wake.wait_while(state.lock().unwrap(), |gate| !gate.open).unwrap();
            state.read.extend_from_slice(part);
            Ok(part.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_reader_that_stalls_does_not_stall_who_logs() {
        let reader = Stalled::default();
        let (queue, guard) = Queue::open(reader.clone()).unwrap();
        for number in 0..2 * QUEUE {
            writeln!(queue.make_writer(), "line {number}").unwrap();
        }
        let (state, wake) = &*reader.0;
        state.lock().unwrap().open = true;
        wake.notify_all();
        drop(guard);
        let written = state.lock().unwrap().read.clone();
        let lines = String::from_utf8(written).unwrap();
        assert!(lines.starts_with("line 0\nline 1\n"));
        let count = lines.lines().count();
        // The queue, and what the writer had taken of it before it stalled.
        let most = QUEUE + BATCH_BYTES / "line 0\n".len() + 1;
        assert!((QUEUE..=most).contains(&count), "{count} lines of a queue of {QUEUE}");
    }

    #[test]
    fn a_reader_that_never_reads_does_not_keep_the_process_alive() {
        let (queue, guard) = Queue::open(Stalled::default()).unwrap();
        for number in 0..4 * QUEUE {
            writeln!(queue.make_writer(), "line {number}").unwrap();
        }
        let (dropped, done) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            drop(guard);
            let _ = dropped.send(());
        });
        done.recv_timeout(LAST_WAIT * 20).expect("the guard lets go");
    }

    #[test]
    fn lines_that_wait_are_written_together() {
        /// Counts writes; the first one waits until it is let go.
        #[derive(Clone, Default)]
        struct Counted(Stalled, Arc<Mutex<usize>>);

        impl Write for Counted {
            fn write(&mut self, part: &[u8]) -> io::Result<usize> {
                *self.1.lock().unwrap() += 1;
                self.0.write(part)
            }

            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }

        let reader = Counted::default();
        let (queue, guard) = Queue::open(reader.clone()).unwrap();
        for _ in 0..1000 {
            writeln!(queue.make_writer(), "{}", "x".repeat(99)).unwrap();
        }
        let (state, wake) = &*reader.0.0;
        state.lock().unwrap().open = true;
        wake.notify_all();
        drop(guard);
        assert_eq!(state.lock().unwrap().read.len(), 100_000);
        let writes = *reader.1.lock().unwrap();
        assert!(writes <= 4, "{writes} writes");
    }
}
