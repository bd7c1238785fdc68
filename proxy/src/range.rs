//! One byte range (RFC 9110, section 14), as clients resume and as they fetch in pieces.
//!
//! A server may answer any range with the whole content, so what is not understood (another unit, a malformed
//! value, several ranges, several headers) is ignored. Two kinds are refused instead: a range that cannot have a
//! byte of any blob, and one that ends before it begins, which section 14.2 lets a server refuse and the OCI
//! conformance suite expects refused.

use dataproxy_cache::Wanted;
use http::{HeaderMap, header};

/// What the `Range` of a request asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ranged {
    /// Everything: there is no range, or none that is understood.
    Whole,
    /// A part, if the blob reaches that far.
    Part(Wanted),
    /// A part that no blob has.
    Unsatisfiable,
}

impl Ranged {
    /// Reads the `Range` of a request.
    pub(crate) fn of(headers: &HeaderMap) -> Self {
        let mut values = headers.get_all(header::RANGE).iter();
        match (values.next().and_then(|value| value.to_str().ok()), values.next()) {
            (Some(value), None) => parse(value),
            _ => Self::Whole,
        }
    }
}

/// Whether a range still means something of a blob of zero bytes. It has no part to send, but clients put
/// `bytes=0-` on any request, and an empty layer must not fail their pull: they get the empty whole.
pub(crate) fn covers_empty(wanted: Wanted) -> bool {
    match wanted {
        Wanted::Whole | Wanted::From(0) | Wanted::Closed { first: 0, .. } | Wanted::Suffix(1..) => true,
        Wanted::From(_)
        | Wanted::RestOfWhole(_)
        | Wanted::Closed { .. }
        | Wanted::Owed { .. }
        | Wanted::Suffix(0) => false,
    }
}

fn parse(value: &str) -> Ranged {
    let Some((unit, set)) = value.split_once('=') else { return Ranged::Whole };
    if !unit.eq_ignore_ascii_case("bytes") {
        return Ranged::Whole;
    }
    // RFC 9110, 5.6.1: empty elements of a list count for nothing.
    let mut specs = set.split(',').map(|spec| spec.trim_matches([' ', '\t'])).filter(|spec| !spec.is_empty());
    match (specs.next().map(|spec| spec.split_once('-')), specs.next()) {
        (Some(Some((first, last))), None) => part(first, last),
        _ => Ranged::Whole,
    }
}

fn part(first: &str, last: &str) -> Ranged {
    let (Some(first), Some(last)) = (Offset::parse(first), Offset::parse(last)) else { return Ranged::Whole };
    match (first, last) {
        (Offset::Absent, Offset::Absent) => Ranged::Whole,
        (Offset::Absent, Offset::At(0)) | (Offset::Beyond, _) => Ranged::Unsatisfiable,
        (Offset::Absent, last) => Ranged::Part(Wanted::Suffix(last.saturated())),
        (Offset::At(first), Offset::Absent) => Ranged::Part(Wanted::From(first)),
        (Offset::At(first), last) => match last.saturated() {
            last if last < first => Ranged::Unsatisfiable,
            last => Ranged::Part(Wanted::Closed { first, last }),
        },
    }
}

/// One side of a range.
#[derive(Clone, Copy)]
enum Offset {
    Absent,
    At(u64),
    /// Larger than any offset there can be.
    Beyond,
}

impl Offset {
    /// `None` if the text is no number.
    fn parse(text: &str) -> Option<Self> {
        match text {
            "" => Some(Self::Absent),
            _ if !text.bytes().all(|b| b.is_ascii_digit()) => None,
            _ => Some(text.parse().map_or(Self::Beyond, Self::At)),
        }
    }

    fn saturated(self) -> u64 {
        match self {
            Self::At(offset) => offset,
            Self::Absent | Self::Beyond => u64::MAX,
        }
    }
}

#[cfg(test)]
mod tests;
