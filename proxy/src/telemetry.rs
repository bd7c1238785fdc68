//! Logs: one line an event, text or JSON, on standard error. Access lines have the target `access`.
//!
//! A line is formatted where it arises and written by a thread of its own (`lines.rs`), so a reader that stalls stalls
//! no pull. What does not fit then is dropped and counted. JSON is written by `json.rs`, since it is a part of every pull.

mod json;
mod lines;

use std::io::{self, Write};

use metrics::counter;
use tracing_subscriber::Layer;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use crate::config::{Log, LogFormat};
use json::Json;
pub use lines::Guard;
use lines::Lines;

/// Bytes that a line has room for before it grows: an access line has about 700.
const LINE_BYTES: usize = 1 << 10;

/// Starts logging for the whole process. Lines are written until the guard is dropped, which waits
/// for them for at most half a second.
///
/// # Errors
/// The level is not one (the configuration checks it first), there is no thread, or the process logs already.
pub fn init(log: &Log) -> Result<Guard, String> {
    let (lines, guard) = Lines::open(io::stderr()).map_err(|error| error.to_string())?;
    let targets: Targets = log.level.parse().map_err(|error| format!("log.level: {error}"))?;
    let layer = match log.format {
        LogFormat::Text => tracing_subscriber::fmt::layer().with_writer(Text(lines)).with_ansi(false).boxed(),
        LogFormat::Json => Json::new(move |line| append(&lines, line)).boxed(),
    };
    let subscriber = tracing_subscriber::registry().with(layer).with(targets);
    subscriber.try_init().map_err(|error| error.to_string())?;
    Ok(guard)
}

fn append(lines: &Lines, line: &[u8]) {
    if !line.is_empty() && !lines.append(line) {
        counter!("dataproxy_log_lines_dropped_total").increment(1);
    }
}

/// Makes a buffer for each line of text.
struct Text(Lines);

impl<'a> MakeWriter<'a> for Text {
    type Writer = Line<'a>;

    fn make_writer(&'a self) -> Line<'a> {
        Line { lines: &self.0, text: Vec::with_capacity(LINE_BYTES) }
    }
}

/// One line, appended when it is complete.
struct Line<'a> {
    lines: &'a Lines,
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
        append(self.lines, &self.text);
    }
}
