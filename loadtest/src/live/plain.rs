//! One line every five seconds of the run, and one where it begins to do something else.

use std::io::Write;
use std::time::Duration;

use super::lines;
use crate::snapshot::{Live, Snapshot, Stage};

/// Between two lines.
const EVERY: Duration = Duration::from_secs(5);

/// Writes lines.
pub(super) struct Plain<W> {
    to: W,
    last: Option<(Stage, Duration)>,
}

impl<W: Write> Plain<W> {
    pub(super) fn new(to: W) -> Self {
        Self { to, last: None }
    }
}

impl<W: Write> Live for Plain<W> {
    fn show(&mut self, now: &Snapshot) {
        let due = match self.last {
            None => true,
            Some((stage, at)) => stage != now.stage || now.elapsed.saturating_sub(at) >= EVERY,
        };
        if due {
            self.last = Some((now.stage, now.elapsed));
            // Who does not read it misses nothing of the run.
            let _ = writeln!(self.to, "{}", lines::one(now));
        }
    }

    fn end(&mut self) {
        let _ = self.to.flush();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::live::lines::tests::at;

    #[test]
    fn a_line_is_written_every_five_seconds_and_at_every_change() {
        let mut plain = Plain::new(Vec::new());
        for quarter in 0..=80 {
            let now = Snapshot { elapsed: Duration::from_millis(quarter * 250), ..at(quarter / 4) };
            plain.show(&now);
        }
        plain.end();
        let written = String::from_utf8(plain.to).expect("text");
        let begins: Vec<&str> = written.lines().filter_map(|line| line.split(';').next()).collect();
        assert_eq!(
            begins,
            [
                "warm-up 0:00 of 0:10",
                "warm-up 0:05 of 0:10",
                "measuring 0:00 of 5:00",
                "measuring 0:05 of 5:00",
                "measuring 0:10 of 5:00"
            ]
        );
    }
}
