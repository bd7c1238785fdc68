//! The chunked transfer coding (RFC 9112, 7.1), as a machine that is fed whatever arrives.

use super::Fault;

/// A size line longer than this is no size line.
const LINE_BYTES: u16 = 4096;

/// All trailers together.
const TRAILER_BYTES: u32 = 64 * 1024;

/// Where in the coding the next byte lies.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Chunked {
    /// In a chunk's size: its value so far, and its digits.
    Size { value: u64, digits: u8 },
    /// After the size, in an extension or before the line feed.
    Extension { value: u64, seen: u16 },
    /// In a chunk's bytes.
    Bytes { left: u64 },
    /// After a chunk's bytes: its line end.
    End,
    /// As `End`, after the carriage return.
    EndFeed,
    /// In a trailer's line, `blank` while nothing of it came.
    Trailer { blank: bool, seen: u32 },
    /// After the last byte.
    Done,
}

impl Chunked {
    pub(crate) fn new() -> Self {
        Self::Size { value: 0, digits: 0 }
    }

    /// Takes framing bytes from the front of `input` up to the next bytes of a chunk, or the end.
    ///
    /// Returns how many were framing. Afterwards it stands in `Bytes`, in `Done`, or `input` is used up.
    pub(crate) fn frame(&mut self, input: &[u8]) -> Result<usize, Fault> {
        for (at, &byte) in input.iter().enumerate() {
            if matches!(self, Self::Bytes { .. } | Self::Done) {
                return Ok(at);
            }
            *self = self.next(byte)?;
        }
        Ok(input.len())
    }

    /// Bytes of the present chunk that are still to come.
    pub(crate) fn left(&self) -> u64 {
        match self {
            Self::Bytes { left } => *left,
            _ => 0,
        }
    }

    /// `count` bytes of the present chunk came; at most [`Self::left`].
    pub(crate) fn took(&mut self, count: u64) {
        if let Self::Bytes { left } = self {
            *left = left.saturating_sub(count);
            if *left == 0 {
                *self = Self::End;
            }
        }
    }

    fn next(self, byte: u8) -> Result<Self, Fault> {
        Ok(match (self, byte) {
            (Self::Size { value, digits }, b'0'..=b'9' | b'a'..=b'f' | b'A'..=b'F') => {
                if digits == 16 {
                    return Err(Fault::protocol("a chunk's size is beyond 64 bits"));
                }
                let digit = (byte as char).to_digit(16).unwrap_or_default();
                Self::Size { value: value << 4 | u64::from(digit), digits: digits + 1 }
            }
            (Self::Size { value, digits: 1.. }, b'\n') => Self::after_size(value),
            (Self::Size { value, digits: 1.. }, b'\r' | b';' | b' ' | b'\t') => {
                Self::Extension { value, seen: 0 }
            }
            (Self::Extension { value, .. }, b'\n') => Self::after_size(value),
            (Self::Extension { seen, .. }, _) if seen >= LINE_BYTES => {
                return Err(Fault::protocol("a chunk's size line has no end"));
            }
            (Self::Extension { value, seen }, _) => Self::Extension { value, seen: seen + 1 },
            (Self::End, b'\r') => Self::EndFeed,
            (Self::End | Self::EndFeed, b'\n') => Self::new(),
            (Self::Trailer { blank: true, .. }, b'\n') => Self::Done,
            (Self::Trailer { seen, .. }, _) if seen >= TRAILER_BYTES => {
                return Err(Fault::protocol("the trailers have no end"));
            }
            (Self::Trailer { seen, .. }, b'\n') => Self::Trailer { blank: true, seen: seen + 1 },
            (Self::Trailer { blank, seen }, b'\r') => Self::Trailer { blank, seen: seen + 1 },
            (Self::Trailer { seen, .. }, _) => Self::Trailer { blank: false, seen: seen + 1 },
            (Self::Size { .. } | Self::End | Self::EndFeed, _) => {
                return Err(Fault::protocol(format!(
                    "the chunked coding is broken: {:?} where a chunk begins or ends",
                    byte.escape_ascii().to_string()
                )));
            }
            (state @ (Self::Bytes { .. } | Self::Done), _) => state,
        })
    }

    fn after_size(value: u64) -> Self {
        match value {
            0 => Self::Trailer { blank: true, seen: 0 },
            left => Self::Bytes { left },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decode(pieces: &[&[u8]]) -> Result<(Vec<u8>, usize, Chunked), String> {
        let (mut state, mut body, mut extra) = (Chunked::new(), Vec::new(), 0);
        for piece in pieces {
            let mut rest = *piece;
            while !rest.is_empty() {
                rest = &rest[state.frame(rest).map_err(|fault| fault.what.to_string())?..];
                let count = rest.len().min(state.left() as usize);
                body.extend_from_slice(&rest[..count]);
                state.took(count as u64);
                rest = &rest[count..];
                if state == Chunked::Done {
                    extra += rest.len();
                    rest = &[];
                }
            }
        }
        Ok((body, extra, state))
    }

    #[test]
    fn a_chunked_body_reads_the_same_however_its_bytes_are_cut() {
        let coded = b"4;name=\"value\"\r\nWiki\r\n5 \r\npedia\r\n0000b\r\n\r\n in\r\n\r\nok\r\n0\r\nTrailer: x\r\n\r\nrest";
        for size in 1..coded.len() {
            let pieces: Vec<&[u8]> = coded.chunks(size).collect();
            let (body, extra, state) = decode(&pieces).expect("valid");
            assert_eq!(body, b"Wikipedia\r\n in\r\n\r\nok", "by {size}");
            assert_eq!((extra, state), (4, Chunked::Done), "by {size}");
        }
    }

    #[test]
    fn what_is_no_chunk_is_refused_and_what_is_cut_is_not_done() {
        for coded in [&b"\r\n"[..], b"x", b"4\r\nWikiX", b"4\r\nWiki\rX", b"11111111111111111\r\n"] {
            assert!(decode(&[coded]).is_err(), "{}", coded.escape_ascii());
        }
        assert!(decode(&[b"4;", &[b'x'; 5000]]).is_err());
        for cut in [&b"4\r\nWik"[..], b"4\r\nWiki\r\n", b"4\r\nWiki\r\n0\r\n"] {
            assert_ne!(decode(&[cut]).expect("valid so far").2, Chunked::Done, "{}", cut.escape_ascii());
        }
    }
}
