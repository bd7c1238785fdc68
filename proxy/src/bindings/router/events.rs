//! A stream of server-sent events (WHATWG HTML, 9.2.6), cut where it may be.

/// The longest event that is read, in bytes: a snapshot of a quarter of a million registries.
const EVENT_MAX: usize = 128 << 20;

/// One event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Event {
    /// What it is.
    pub(super) name: String,
    /// What it says.
    pub(super) data: Vec<u8>,
}

/// Longer than any event that could be meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an event of more than {EVENT_MAX} bytes")]
pub(super) struct TooLong;

/// The events of a stream, from its pieces. Comments count for nothing here; that they come is a sign of life.
#[derive(Debug, Default)]
pub(super) struct Events {
    line: Vec<u8>,
    after_cr: bool,
    name: String,
    data: Option<Vec<u8>>,
}

impl Events {
    /// The events that `piece` completes.
    ///
    /// # Errors
    /// [`TooLong`]
    pub(super) fn take(&mut self, piece: &[u8]) -> Result<Vec<Event>, TooLong> {
        let mut events = Vec::new();
        let mut rest = piece;
        while let Some(at) = rest.iter().position(|byte| matches!(byte, b'\r' | b'\n')) {
            let (line, end) = rest.split_at(at);
            let is_rest_of_crlf =
                std::mem::take(&mut self.after_cr) && line.is_empty() && end.first() == Some(&b'\n');
            if !is_rest_of_crlf {
                self.after_cr = end.first() == Some(&b'\r');
                self.extend(line)?;
                events.extend(self.line());
            }
            rest = end.get(1..).unwrap_or_default();
        }
        self.after_cr &= rest.is_empty();
        self.extend(rest)?;
        Ok(events)
    }

    fn extend(&mut self, piece: &[u8]) -> Result<(), TooLong> {
        let length = self.line.len() + piece.len() + self.data.as_ref().map_or(0, Vec::len);
        if length > EVENT_MAX {
            return Err(TooLong);
        }
        self.line.extend_from_slice(piece);
        Ok(())
    }

    /// Takes in a line that is complete; the event, if that was its last.
    fn line(&mut self) -> Option<Event> {
        let line = std::mem::take(&mut self.line);
        if line.is_empty() {
            let name = std::mem::take(&mut self.name);
            return self.data.take().map(|data| Event { name, data });
        }
        let colon = line.iter().position(|byte| *byte == b':').unwrap_or(line.len());
        let (field, value) = line.split_at(colon);
        let value = value.strip_prefix(b":").unwrap_or(value);
        let value = value.strip_prefix(b" ").unwrap_or(value);
        match field {
            b"event" => self.name = String::from_utf8_lossy(value).into_owned(),
            b"data" => match &mut self.data {
                Some(data) => {
                    data.push(b'\n');
                    data.extend_from_slice(value);
                }
                None => self.data = Some(value.to_owned()),
            },
            // A comment, an id, which the data has as well, or something newer.
            _ => {}
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STREAM: &str = ": hello\r\n\r\nevent: snapshot\nid: 3\ndata: {\"a\":\ndata:  1}\n\n:\n\nretry: 5\n\revent:change\r\rdata\n\nevent: change\rdata:x\r\n\r\ndata: cut off";

    #[test]
    fn events_are_the_same_wherever_the_stream_is_cut() {
        let event =
            |name: &str, data: &str| Event { name: name.to_owned(), data: data.as_bytes().to_owned() };
        let expected = [event("snapshot", "{\"a\":\n 1}"), event("", ""), event("change", "x")];
        for size in 1..=STREAM.len() {
            let mut events = Events::default();
            let found: Vec<Event> =
                STREAM.as_bytes().chunks(size).flat_map(|piece| events.take(piece).expect("short")).collect();
            assert_eq!(found, expected, "in pieces of {size}");
        }
    }

    #[test]
    fn a_line_without_end_is_given_up() {
        let mut events = Events::default();
        let piece = vec![b'x'; 64 << 20];
        for _ in 0..2 {
            assert_eq!(events.take(&piece), Ok(Vec::new()));
        }
        assert_eq!(events.take(b"x"), Err(TooLong));
    }
}
