//! Shows a run while it runs, on standard error: lines that are redrawn on a terminal, a plain line every five seconds where
//! there is none, so that a log of CI stays short.

mod lines;
mod plain;
mod terminal;

use std::io::{self, IsTerminal as _};

use crate::snapshot::Live;
use plain::Plain;
use terminal::Terminal;

/// What fits standard error; nothing if `quiet`.
pub fn live(quiet: bool) -> Option<Box<dyn Live + Send>> {
    if quiet {
        None
    } else if io::stderr().is_terminal() {
        Some(Box::new(Terminal::new()))
    } else {
        Some(Box::new(Plain::new(io::stderr())))
    }
}
