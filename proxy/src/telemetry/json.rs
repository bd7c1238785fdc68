//! Events as lines of JSON.
//!
//! `{"timestamp":…,"level":…,"message":…,FIELDS…,"target":…}`, the fields in the order of the event, as
//! `tracing_subscriber`'s flattened JSON has them; absent ones are left out. Written straight into a buffer that its
//! thread keeps: the general formatter made up a quarter of the cost of a small pull.

use std::cell::RefCell;
use std::fmt::{self, Write as _};
use std::io::Write as _;

use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::{FormatTime, SystemTime};
use tracing_subscriber::layer::Context;

thread_local! {
    static LINE: RefCell<Vec<u8>> = RefCell::new(Vec::with_capacity(super::LINE_BYTES));
}

/// A layer that hands every event to `append` as a line, its end included.
pub(super) struct Json<F> {
    append: F,
}

impl<F: Fn(&[u8])> Json<F> {
    pub(super) fn new(append: F) -> Self {
        Self { append }
    }
}

impl<S: Subscriber, F: Fn(&[u8]) + 'static> Layer<S> for Json<F> {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        // An event that a line's own formatting makes, or that comes as its thread ends, has a buffer of its own.
        let own = LINE.try_with(|line| {
            let Ok(mut line) = line.try_borrow_mut() else { return false };
            line.clear();
            format(&mut line, event);
            (self.append)(&line);
            true
        });
        if own != Ok(true) {
            let mut line = Vec::new();
            format(&mut line, event);
            (self.append)(&line);
        }
    }
}

fn format(line: &mut Vec<u8>, event: &Event<'_>) {
    line.extend_from_slice(b"{\"timestamp\":\"");
    // Writing to a vector does not fail, here and below.
    let _ = SystemTime.format_time(&mut Writer::new(&mut Raw(line)));
    line.extend_from_slice(b"\",\"level\":\"");
    line.extend_from_slice(event.metadata().level().as_str().as_bytes());
    line.push(b'"');
    event.record(&mut Fields(line));
    line.extend_from_slice(b",\"target\":");
    string(line, event.metadata().target());
    line.extend_from_slice(b"}\n");
}

fn string(line: &mut Vec<u8>, text: &str) {
    if is_plain(text) {
        line.push(b'"');
        line.extend_from_slice(text.as_bytes());
        line.push(b'"');
    } else {
        let _ = serde_json::to_writer(line, text);
    }
}

/// Whether the text needs no escapes. Looks at every byte, which is done many at a time, where to stop at the first
/// is not.
fn is_plain(text: &str) -> bool {
    text.bytes().fold(true, |plain, byte| plain & (byte >= b' ') & (byte != b'"') & (byte != b'\\'))
}

/// Bytes taken as they are.
struct Raw<'a>(&'a mut Vec<u8>);

impl fmt::Write for Raw<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.0.extend_from_slice(text.as_bytes());
        Ok(())
    }
}

struct Fields<'a>(&'a mut Vec<u8>);

impl Fields<'_> {
    fn name(&mut self, field: &Field) {
        // Names are words of a source, never a client's: there is nothing in them to escape.
        self.0.extend_from_slice(b",\"");
        self.0.extend_from_slice(field.name().as_bytes());
        self.0.extend_from_slice(b"\":");
    }
}

impl Visit for Fields<'_> {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.name(field);
        string(self.0, value);
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.name(field);
        self.0.extend_from_slice(if value { b"true" } else { b"false" });
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.name(field);
        let _ = write!(self.0, "{value}");
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.name(field);
        let _ = write!(self.0, "{value}");
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.name(field);
        // Not every number is one in JSON.
        let _ = serde_json::to_writer(&mut *self.0, &value);
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.name(field);
        self.0.push(b'"');
        let _ = write!(Escaped(self.0), "{value:?}");
        self.0.push(b'"');
    }
}

/// Text inside a JSON string.
struct Escaped<'a>(&'a mut Vec<u8>);

impl fmt::Write for Escaped<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        if is_plain(text) {
            self.0.extend_from_slice(text.as_bytes());
            return Ok(());
        }
        let begin = self.0.len();
        string(self.0, text);
        // The quotes belong to the whole, not to this part.
        self.0.pop();
        self.0.remove(begin);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use serde_json::Value;
    use tracing_subscriber::layer::SubscriberExt;

    use super::*;

    fn lines(events: impl FnOnce()) -> Vec<String> {
        let seen = Arc::new(Mutex::new(Vec::new()));
        let taken = seen.clone();
        let layer = Json::new(move |line: &[u8]| {
            taken.lock().unwrap().push(String::from_utf8(line.to_vec()).unwrap());
        });
        tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), events);
        Arc::try_unwrap(seen).unwrap().into_inner().unwrap()
    }

    #[test]
    fn an_event_is_one_line_of_json_with_its_fields_as_what_they_are() {
        let lines = lines(|| {
            let absent: Option<&str> = None;
            tracing::info!(target: "access", text = "a", late = true, count = 7_u64, less = -1_i64, ms = 0.25, absent, "request");
            tracing::warn!(nan = f64::NAN, shown = ?["x"], "no {}", "answer");
        });
        assert!(lines.iter().all(|line| line.ends_with("}\n") && line.matches('\n').count() == 1));
        let first: Value = serde_json::from_str(&lines[0]).unwrap();
        let time = first["timestamp"].as_str().unwrap();
        assert!(time.len() >= 20 && time.ends_with('Z') && time.contains('T'), "{time}");
        assert_eq!(
            lines[0].split_once("\"level\"").unwrap().1,
            ":\"INFO\",\"message\":\"request\",\"text\":\"a\",\"late\":true,\"count\":7,\"less\":-1,\"ms\":0.25,\"target\":\"access\"}\n"
        );
        let second: Value = serde_json::from_str(&lines[1]).unwrap();
        assert_eq!((&second["nan"], &second["shown"]), (&Value::Null, &Value::from("[\"x\"]")));
        assert_eq!((&second["message"], &second["level"]), (&Value::from("no answer"), &Value::from("WARN")));
    }

    #[test]
    fn whatever_a_client_sends_stays_inside_its_string() {
        let hostile = "\"},\n{\"level\":\"ERROR\\ \u{1} \u{7f} é \u{2028} 🦀";
        let lines = lines(|| {
            tracing::info!(text = hostile, shown = %hostile, "{hostile}");
        });
        assert_eq!(lines.len(), 1);
        assert_eq!(lines[0].matches('\n').count(), 1);
        let line: Value = serde_json::from_str(&lines[0]).unwrap();
        for field in ["text", "shown", "message"] {
            assert_eq!(line[field], hostile, "{field}");
        }
    }
}
