//! The head of an answer.

use std::str;

use super::Fault;

/// The most that a head may take, its lines together.
pub(super) const HEAD_BYTES: usize = 64 * 1024;

const FIELDS: usize = 96;

/// A head, while its bytes are at hand.
#[derive(Debug)]
pub(crate) struct Head<'a> {
    /// The status, from 100 to 999.
    pub(crate) status: u16,
    /// The length that it announces; absent for chunked bodies and those that end with the connection.
    pub(crate) length: Option<u64>,
    fields: &'a [httparse::Header<'a>],
}

/// How a body ends (RFC 9112, 6.3).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Ends {
    AfterBytes(u64),
    Chunked,
    WithConnection,
}

/// `Content-Range` of a 206 (RFC 9110, 14.4).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct ContentRange {
    /// Its first byte.
    pub(crate) first: u64,
    /// Its last byte.
    pub(crate) last: u64,
    /// Bytes of the whole, where they are known.
    pub(crate) total: Option<u64>,
}

impl Head<'_> {
    /// The first field of this name, as text; absent where it is none.
    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        self.all(name).next()
    }

    /// Every field of this name, in order.
    pub(crate) fn all(&self, name: &str) -> impl Iterator<Item = &str> {
        self.fields
            .iter()
            .filter(move |field| field.name.eq_ignore_ascii_case(name))
            .filter_map(|field| str::from_utf8(field.value).ok())
            .map(str::trim)
    }

    /// What range it is; absent where it does not say, or not in a form that is one.
    pub(crate) fn content_range(&self) -> Option<ContentRange> {
        let (span, total) = self.field("content-range")?.strip_prefix("bytes ")?.split_once('/')?;
        let (first, last) = span.split_once('-')?;
        let total = match total {
            "*" => None,
            total => Some(decimal(total)?),
        };
        let range = ContentRange { first: decimal(first)?, last: decimal(last)?, total };
        (range.first <= range.last && range.total.is_none_or(|total| range.last < total)).then_some(range)
    }
}

/// What a head says of the connection and its body.
#[derive(Clone, Copy, Debug)]
pub(super) struct Manner {
    pub(super) status: u16,
    pub(super) ends: Ends,
    pub(super) keeps_alive: bool,
}

/// Reads a head from the front of `bytes` and shows it; `None` while it is not whole. The count is of its bytes.
pub(super) fn read<R>(
    bytes: &[u8],
    bodiless: bool,
    show: impl FnOnce(&Head<'_>, Manner) -> R,
) -> Result<Option<(usize, R)>, Fault> {
    let mut fields = [httparse::EMPTY_HEADER; FIELDS];
    let mut response = httparse::Response::new(&mut fields);
    let count = match response.parse(bytes) {
        Ok(httparse::Status::Complete(count)) => count,
        Ok(httparse::Status::Partial) => return Ok(None),
        Err(error) => return Err(Fault::protocol(format!("the answer's head is broken: {error}"))),
    };
    let status = response.code.unwrap_or_default();
    let fields = &*response.headers;
    let (mut length, mut chunked) = (None, false);
    let (mut closes, mut keeps) = (false, response.version == Some(1));
    for field in fields {
        if field.name.eq_ignore_ascii_case("content-length") {
            let value = str::from_utf8(field.value).ok().and_then(|value| decimal(value.trim()));
            match (value, length) {
                (None, _) => return Err(Fault::protocol("its Content-Length is no number")),
                (Some(one), Some(other)) if one != other => {
                    return Err(Fault::protocol(format!("it has two Content-Lengths, {other} and {one}")));
                }
                (Some(value), _) => length = Some(value),
            }
        } else if field.name.eq_ignore_ascii_case("transfer-encoding") {
            if !field.value.eq_ignore_ascii_case(b"chunked") {
                return Err(Fault::protocol("its Transfer-Encoding is not chunked"));
            }
            chunked = true;
        } else if field.name.eq_ignore_ascii_case("connection") {
            let says = |token: &str| {
                field
                    .value
                    .split(|byte| *byte == b',')
                    .any(|one| one.trim_ascii().eq_ignore_ascii_case(token.as_bytes()))
            };
            closes |= says("close");
            keeps |= says("keep-alive");
        }
    }
    // The transfer coding overrides a length (RFC 9112, 6.3).
    let length = if chunked { None } else { length };
    let ends = match length {
        _ if bodiless || matches!(status, 100..=199 | 204 | 304) => Ends::AfterBytes(0),
        _ if chunked => Ends::Chunked,
        Some(length) => Ends::AfterBytes(length),
        None => Ends::WithConnection,
    };
    let manner = Manner { status, ends, keeps_alive: keeps && !closes && ends != Ends::WithConnection };
    Ok(Some((count, show(&Head { status, length, fields }, manner))))
}

/// Digits and nothing else: no sign, no space.
fn decimal(text: &str) -> Option<u64> {
    if text.bytes().all(|byte| byte.is_ascii_digit()) { text.parse().ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manner(head: &str, bodiless: bool) -> Result<(Ends, bool), String> {
        match read(head.as_bytes(), bodiless, |_, manner| (manner.ends, manner.keeps_alive)) {
            Ok(Some((count, manner))) => {
                assert_eq!(count, head.len());
                Ok(manner)
            }
            Ok(None) => Err("partial".to_owned()),
            Err(fault) => Err(fault.what.into_owned()),
        }
    }

    #[test]
    fn a_head_says_how_its_body_ends_and_whether_the_connection_goes_on() {
        for (head, bodiless, expected) in [
            ("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", false, (Ends::AfterBytes(5), true)),
            (
                "HTTP/1.1 200 OK\r\ncontent-length: 5\r\nConnection: x, Close\r\n\r\n",
                false,
                (Ends::AfterBytes(5), false),
            ),
            (
                "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\nConnection: keep-alive\r\n\r\n",
                false,
                (Ends::AfterBytes(5), false),
            ),
            (
                "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: Chunked\r\n\r\n",
                false,
                (Ends::Chunked, true),
            ),
            ("HTTP/1.1 200 OK\r\n\r\n", false, (Ends::WithConnection, false)),
            ("HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\n", false, (Ends::AfterBytes(5), false)),
            (
                "HTTP/1.0 200 OK\r\nContent-Length: 5\r\nConnection: keep-alive\r\n\r\n",
                false,
                (Ends::AfterBytes(5), true),
            ),
            ("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", true, (Ends::AfterBytes(0), true)),
            ("HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n", false, (Ends::AfterBytes(0), true)),
            ("HTTP/1.1 204 No Content\r\n\r\n", false, (Ends::AfterBytes(0), true)),
        ] {
            assert_eq!(manner(head, bodiless), Ok(expected), "{head}");
        }
    }

    #[test]
    fn a_head_that_contradicts_itself_is_refused() {
        for head in [
            "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: +5\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999\r\n\r\n",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n",
            "<html>\r\n\r\n",
        ] {
            assert!(manner(head, false).is_err_and(|error| error != "partial"), "{head}");
        }
        assert_eq!(manner("HTTP/1.1 200 OK\r\nContent-Le", false), Err("partial".to_owned()));
    }

    #[test]
    fn a_content_range_is_read_strictly() {
        for (value, expected) in [
            ("bytes 0-4/10", Some((0, 4, Some(10)))),
            ("bytes 5-9/*", Some((5, 9, None))),
            ("bytes 5-4/10", None),
            ("bytes 0-10/10", None),
            ("bytes */10", None),
            ("bytes -4/10", None),
            ("bytes 0-+4/10", None),
            ("items 0-4/10", None),
        ] {
            let head = format!("HTTP/1.1 206 Partial Content\r\nContent-Range: {value}\r\n\r\n");
            let (_, range) =
                read(head.as_bytes(), false, |head, _| head.content_range()).expect("valid").expect("whole");
            assert_eq!(range.map(|range| (range.first, range.last, range.total)), expected, "{value}");
        }
    }
}
