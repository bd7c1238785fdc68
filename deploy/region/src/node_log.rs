//! What a node says, in a file that does not grow without end.
//!
//! The node writes into a pipe; a thread of its own here writes that to the file, and begins a new file when one is
//! full. The thread reads to the pipe's end, which comes when the node has ended, so the last lines of a panic are
//! there. A file that cannot be written costs lines, never the reading: a node is not held up by a full disk. If the
//! region itself is killed, the pipe breaks and the nodes end on their own account.

use std::fs::{self, File};
use std::io::{self, PipeReader, Read, Write};
use std::path::{Path, PathBuf};
use std::thread::JoinHandle;

/// Size from which a log is put aside, in bytes. There are two of them for each node.
const LOG_MAX: u64 = 16 << 20;
/// Bytes that a node can be ahead of the file, beyond the system's own 64 KiB.
const PIPE_BYTES: usize = 1 << 20;
/// Bytes read at once.
const READ_BYTES: usize = 64 << 10;

/// Writes what comes out of `pipe` to the log at `path`, until the last writer has gone.
///
/// # Errors
/// The log cannot be opened, or the system gives no thread.
pub(crate) fn keep(pipe: PipeReader, path: &Path) -> io::Result<JoinHandle<()>> {
    let mut log = Log::open(path, LOG_MAX)?;
    // A smaller pipe than this serves as well; the system may limit what one user has of them.
    let _ = rustix::pipe::fcntl_setpipe_size(&pipe, PIPE_BYTES);
    std::thread::Builder::new().name("node-log".to_owned()).spawn(move || copy(pipe, &mut log))
}

fn copy(mut pipe: PipeReader, log: &mut Log) {
    let mut piece = vec![0; READ_BYTES];
    loop {
        match pipe.read(&mut piece) {
            Ok(0) => return,
            Ok(length) => {
                // Not written is lost, as a full disk's log lines are; the next ones may fit again.
                let _ = log.write(piece.get(..length).unwrap_or_default());
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(_) => return,
        }
    }
}

/// A log, and the one before it under the same name with `.1`.
struct Log {
    path: PathBuf,
    file: File,
    size: u64,
    max: u64,
}

impl Log {
    fn open(path: &Path, max: u64) -> io::Result<Self> {
        let file = File::options().create(true).append(true).open(path)?;
        let size = file.metadata()?.len();
        Ok(Self { path: path.to_owned(), file, size, max })
    }

    /// Appends; a log that is full is put aside at the end of a line.
    fn write(&mut self, text: &[u8]) -> io::Result<()> {
        let full = self.size + text.len() as u64 >= self.max;
        let line_end = text.iter().rposition(|byte| *byte == b'\n').map(|at| at + 1);
        match line_end.filter(|_| full) {
            None => self.append(text),
            Some(end) => {
                let (lines, rest) = text.split_at(end);
                // A failure to put it aside must not lose what comes next.
                let written = self.append(lines).and_then(|()| self.turn());
                self.append(rest).and(written)
            }
        }
    }

    fn append(&mut self, text: &[u8]) -> io::Result<()> {
        self.file.write_all(text)?;
        self.size += text.len() as u64;
        Ok(())
    }

    fn turn(&mut self) -> io::Result<()> {
        fs::rename(&self.path, self.path.with_extension("log.1"))?;
        *self = Self::open(&self.path, self.max)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_is_put_aside_when_it_is_full_and_no_line_is_lost_between_the_two() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("a1.log");
        let mut log = Log::open(&path, 100).expect("opened");
        let all: String = (0..40).map(|n| format!("line {n}\n")).collect();
        // Pieces as a pipe gives them, which end anywhere.
        for piece in all.as_bytes().chunks(7) {
            log.write(piece).expect("written");
        }
        let read = |path: &Path| fs::read_to_string(path).expect("there");
        let (before, now) = (read(&path.with_extension("log.1")), read(&path));
        assert!(before.ends_with('\n') && before.len() < 110 && now.len() < 110, "{before:?} {now:?}");
        assert!(all.ends_with(&(before + &now)));
    }

    #[test]
    fn all_that_was_said_before_the_end_is_in_the_log() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("a1.log");
        let (reader, mut writer) = io::pipe().expect("a pipe");
        let kept = keep(reader, &path).expect("kept");
        let said = "x".repeat(300_000) + "\nthe last line, without an end";
        writer.write_all(said.as_bytes()).expect("said");
        drop(writer);
        kept.join().expect("no panic");
        assert_eq!(fs::read_to_string(&path).expect("there"), said);
    }
}
