//! Lines on their way out: many threads append, one thread writes.
//!
//! Appending copies the line into a buffer under a lock that nobody holds for long, and wakes the writer only for the
//! first line after a pause: a wake-up a line cost more than a small pull. The writer then takes what has gathered every
//! [`LINGER`], or sooner when a [`BATCH_BYTES`] has.

use std::io::{self, Write};
use std::sync::mpsc::{Receiver, sync_channel};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Bytes of lines that wait to be written; what is beyond is dropped, and counted by who appends.
const PENDING_MAX: usize = 8 << 20;
/// The writer is woken before its time if so many bytes wait.
const BATCH_BYTES: usize = 256 << 10;
/// Longest time that a line waits for others to go out with it.
const LINGER: Duration = Duration::from_millis(50);
/// How long the end of the process waits for lines that nobody reads.
const LAST_WAIT: Duration = Duration::from_millis(500);

/// What waits.
#[derive(Debug, Default)]
struct Pending {
    lines: Vec<u8>,
    /// Whether the writer waits for a first line, and has to be woken for it.
    asleep: bool,
    ended: bool,
}

#[derive(Debug, Default)]
struct Shared {
    pending: Mutex<Pending>,
    changed: Condvar,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Pending> {
        // A buffer of whole lines is as good after a panic elsewhere as before.
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Takes lines. Clones append to the same buffer.
#[derive(Clone, Debug)]
pub(crate) struct Lines(Arc<Shared>);

/// Writes the last lines when it is dropped, or leaves them if nobody reads for half a second.
#[derive(Debug)]
pub struct Guard {
    shared: Arc<Shared>,
    /// Closed by the writer as it ends.
    ended: Receiver<()>,
}

impl Lines {
    /// Starts the writer.
    ///
    /// # Errors
    /// There is no thread.
    pub(crate) fn open(out: impl Write + Send + 'static) -> io::Result<(Self, Guard)> {
        let shared = Arc::<Shared>::default();
        let (ending, ended) = sync_channel(0);
        let theirs = shared.clone();
        std::thread::Builder::new().name("log".to_owned()).spawn(move || {
            write(&theirs, out);
            drop(ending);
        })?;
        Ok((Self(shared.clone()), Guard { shared, ended }))
    }

    /// Appends a line, its end included. False if too many wait already: it is dropped. Never waits for the writer.
    pub(crate) fn append(&self, line: &[u8]) -> bool {
        let mut pending = self.0.lock();
        if pending.lines.len().saturating_add(line.len()) > PENDING_MAX {
            return false;
        }
        let before = pending.lines.len();
        pending.lines.extend_from_slice(line);
        let full = before < BATCH_BYTES && pending.lines.len() >= BATCH_BYTES;
        let wake = full || std::mem::take(&mut pending.asleep);
        drop(pending);
        if wake {
            self.0.changed.notify_one();
        }
        true
    }
}

fn write(shared: &Shared, mut out: impl Write) {
    let mut batch = Vec::new();
    loop {
        let ended = take(shared, &mut batch);
        // There is nowhere to report a log that cannot be written.
        let _ = out.write_all(&batch).and_then(|()| out.flush());
        batch.clear();
        // A burst is not worth its memory for ever.
        batch.shrink_to(2 * BATCH_BYTES);
        if ended {
            return;
        }
    }
}

/// Waits for lines and for their company, and takes them all into the empty `batch`. True at the end.
fn take(shared: &Shared, batch: &mut Vec<u8>) -> bool {
    let mut pending = shared.lock();
    pending.asleep = true;
    pending = shared
        .changed
        .wait_while(pending, |pending| pending.lines.is_empty() && !pending.ended)
        .unwrap_or_else(PoisonError::into_inner);
    pending.asleep = false;
    pending = shared
        .changed
        .wait_timeout_while(pending, LINGER, |pending| pending.lines.len() < BATCH_BYTES && !pending.ended)
        .unwrap_or_else(PoisonError::into_inner)
        .0;
    std::mem::swap(&mut pending.lines, batch);
    pending.ended
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.shared.lock().ended = true;
        self.shared.changed.notify_one();
        // A full pipe that nobody reads must not keep the process alive: what it does not take in time is lost.
        let _ = self.ended.recv_timeout(LAST_WAIT);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Default)]
    struct Gate {
        open: bool,
        writes: usize,
        read: Vec<u8>,
    }

    /// A reader that takes nothing until it is let go.
    #[derive(Clone, Default)]
    struct Stalled(Arc<(Mutex<Gate>, Condvar)>);

    impl Stalled {
        fn open(&self) {
            self.0.0.lock().unwrap().open = true;
            self.0.1.notify_all();
        }
    }

    impl Write for Stalled {
        fn write(&mut self, part: &[u8]) -> io::Result<usize> {
            let (state, wake) = &*self.0;
            let mut state = wake.wait_while(state.lock().unwrap(), |gate| !gate.open).unwrap();
            state.writes += 1;
            state.read.extend_from_slice(part);
            Ok(part.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_reader_that_stalls_does_not_stall_who_logs_and_what_is_kept_is_whole_lines() {
        let reader = Stalled::default();
        let (lines, guard) = Lines::open(reader.clone()).unwrap();
        let line = format!("{}\n", "x".repeat(999));
        let appended = (0..4 * PENDING_MAX / line.len()).filter(|_| lines.append(line.as_bytes())).count();
        assert!(
            appended >= PENDING_MAX / line.len() && appended < 3 * PENDING_MAX / line.len(),
            "{appended}"
        );
        reader.open();
        drop(guard);
        let written = String::from_utf8(reader.0.0.lock().unwrap().read.clone()).unwrap();
        assert_eq!(written, line.repeat(appended));
    }

    #[test]
    fn a_reader_that_never_reads_does_not_keep_the_process_alive() {
        let (lines, guard) = Lines::open(Stalled::default()).unwrap();
        while lines.append(&[b'x'; 1 << 16]) {}
        let (dropped, done) = sync_channel(1);
        std::thread::spawn(move || {
            drop(guard);
            let _ = dropped.send(());
        });
        done.recv_timeout(LAST_WAIT * 20).expect("the guard lets go");
    }

    #[test]
    fn lines_that_wait_are_written_together() {
        let reader = Stalled::default();
        let (lines, guard) = Lines::open(reader.clone()).unwrap();
        for _ in 0..1000 {
            assert!(lines.append(format!("{}\n", "x".repeat(99)).as_bytes()));
        }
        reader.open();
        drop(guard);
        let gate = reader.0.0.lock().unwrap();
        assert_eq!(gate.read.len(), 100_000);
        assert!(gate.writes <= 4, "{} writes", gate.writes);
    }

    #[test]
    fn a_lone_line_goes_out_without_another_after_it() {
        let reader = Stalled::default();
        reader.open();
        let (lines, _guard) = Lines::open(reader.clone()).unwrap();
        for expected in 1..=3 {
            assert!(lines.append(b"lone\n"));
            let (state, _) = &*reader.0;
            let begun = std::time::Instant::now();
            while state.lock().unwrap().read.len() < expected * 5 {
                assert!(begun.elapsed() < Duration::from_secs(20), "line {expected} waits");
                std::thread::yield_now();
            }
        }
    }
}
