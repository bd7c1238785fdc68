//! Lines of a terminal that are drawn anew.

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::lines;
use crate::snapshot::{Live, Snapshot};

/// A bar, and lines of text below it; each is cut at the terminal's width.
pub(super) struct Terminal {
    all: MultiProgress,
    bar: ProgressBar,
    lines: Vec<ProgressBar>,
}

impl Terminal {
    /// On standard error.
    pub(super) fn new() -> Self {
        Self::on(ProgressDrawTarget::stderr())
    }

    fn on(target: ProgressDrawTarget) -> Self {
        let all = MultiProgress::with_draw_target(target);
        let bar = all.add(ProgressBar::no_length());
        bar.set_style(style("{prefix} [{bar:30}] {wide_msg}").progress_chars("=> "));
        Self { all, bar, lines: Vec::new() }
    }
}

/// The style of a template; the plain one, should a template ever be wrong.
fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}

impl Live for Terminal {
    fn show(&mut self, now: &Snapshot) {
        let (done, of) = lines::progress(now);
        self.bar.set_prefix(lines::clean(&now.title));
        self.bar.set_length(of);
        self.bar.set_position(done);
        self.bar.set_message(lines::stage(now));
        let view = lines::view(now);
        while self.lines.len() > view.len() {
            if let Some(line) = self.lines.pop() {
                self.all.remove(&line);
            }
        }
        while self.lines.len() < view.len() {
            let line = self.all.add(ProgressBar::no_length());
            line.set_style(style("{wide_msg}"));
            self.lines.push(line);
        }
        for (line, text) in self.lines.iter().zip(view) {
            line.set_message(text);
        }
    }

    fn end(&mut self) {
        // A terminal that is gone needs no clearing.
        let _ = self.all.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::live::lines::tests::at;
    use crate::snapshot::Stage;

    #[test]
    fn there_are_as_many_lines_as_there_is_to_say_and_they_say_what_is_now() {
        let mut terminal = Terminal::on(ProgressDrawTarget::hidden());
        terminal.show(&at(72));
        let texts = |terminal: &Terminal| terminal.lines.iter().map(ProgressBar::message).collect::<Vec<_>>();
        assert_eq!(texts(&terminal), lines::view(&at(72)));
        let calm = Snapshot { notes: Vec::new(), events: Vec::new(), stage: Stage::Ending, ..at(320) };
        terminal.show(&calm);
        assert_eq!(texts(&terminal), lines::view(&calm));
        assert_eq!((terminal.bar.position(), terminal.bar.length()), (300_000, Some(300_000)));
        terminal.end();
    }
}
