//! A real process to watch, for tests: a shell that does as it is told.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

/// Some tenths of a second of CPU.
pub(super) const BURN: &str = "i=0; while [ $i -lt 400000 ]; do i=$((i+1)); done";

pub(super) struct Shell {
    child: Child,
    to: ChildStdin,
    from: BufReader<ChildStdout>,
}

impl Shell {
    pub(super) fn start() -> Self {
        let mut child = Command::new("sh")
            .args(["-c", "while read line; do eval \"$line\"; echo done; done"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("a shell");
        let to = child.stdin.take().expect("a pipe");
        let from = BufReader::new(child.stdout.take().expect("a pipe"));
        Self { child, to, from }
    }

    pub(super) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Does what the line says, to its end; gives what it said.
    pub(super) fn run(&mut self, line: &str) -> String {
        self.tell(line);
        self.hear("done")
    }

    pub(super) fn tell(&mut self, line: &str) {
        writeln!(self.to, "{line}").expect("it reads");
    }

    /// All that it says, up to a line that is `last`.
    pub(super) fn hear(&mut self, last: &str) -> String {
        let mut said = String::new();
        while said.lines().last() != Some(last) {
            assert_ne!(self.from.read_line(&mut said).expect("text"), 0, "the shell has ended: {said}");
        }
        said
    }

    /// User and system seconds of its children, as its `times` has them from times(2).
    pub(super) fn children(&mut self) -> f64 {
        self.times(1)
    }

    /// The same of itself.
    pub(super) fn own(&mut self) -> f64 {
        self.times(0)
    }

    fn times(&mut self, line: usize) -> f64 {
        let said = self.run("times");
        let line = said.lines().nth(line).expect("two lines");
        let seconds = line.split_whitespace().map(|text| {
            let (minutes, seconds) = text.trim_end_matches('s').split_once('m').expect("0m0.00s");
            minutes.parse::<f64>().expect("a number") * 60.0 + seconds.parse::<f64>().expect("a number")
        });
        seconds.sum()
    }
}

impl Drop for Shell {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
