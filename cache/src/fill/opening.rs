//! The first request of a cold read: it is for the first wanted byte, and its answer tells size and version.

use std::ops::Range;
use std::sync::Arc;

use futures_util::StreamExt;
use futures_util::stream::BoxStream;

use super::Fill;
use crate::blob::Blob;
use crate::fetch::{Event, Fetch};
use crate::tiers::Tiers;
use crate::{CacheError, Digest, OriginErrorKind, Source, Wanted};

/// A blob whose size is known, and the read that told it and goes on.
pub(super) struct Opened {
    pub(super) blob: Arc<Blob>,
    pub(super) begun: Option<Begun>,
}

/// A ranged read that has been answered and whose bytes are to come.
pub(super) struct Begun {
    pub(super) range: Range<u64>,
    pub(super) events: BoxStream<'static, Event>,
}

/// What to ask for first, in whole blocks. `None` if that depends on the size.
fn first_range(wanted: Wanted, block: u64, most: u64) -> Option<Range<u64>> {
    let (first, last) = match wanted {
        Wanted::Whole => (0, u64::MAX),
        Wanted::From(first) | Wanted::RestOfWhole(first) => (first, u64::MAX),
        Wanted::Closed { first, last } | Wanted::Owed { first, last } => (first, last),
        Wanted::Suffix(_) => return None,
    };
    let start = first - first % block;
    let end = last.max(first).saturating_sub(last.max(first) % block).saturating_add(block);
    Some(start..end.min(start.saturating_add(most)))
}

/// Asks the origin, until somebody's size is known or nobody wants it any more.
///
/// # Errors
/// What every reader that waits is told.
pub(super) async fn open(tiers: &Tiers, fill: &Fill, source: &Source) -> Result<Opened, CacheError> {
    let config = &tiers.config;
    let probe = 0..1;
    let first = first_range(fill.first, config.block_bytes, config.fetch_range_bytes);
    for range in [first, Some(probe.clone())].into_iter().flatten() {
        let fetch = Fetch::new(source, range.clone(), None, config, &tiers.counters);
        let mut events = fetch.events().boxed();
        let event = tokio::select! {
            event = events.next() => event,
            () = unwanted(tiers, fill) => return Err(CacheError::Abandoned),
        };
        match event {
            Some(Event::Answered { size, etag }) => {
                let blob = tiers.new_blob(&fill.key, size, etag)?;
                if size == 0 {
                    return empty(blob);
                }
                let range = range.start..range.end.min(size);
                let begun = (range != probe).then_some(Begun { range, events });
                return Ok(Opened { blob, begun });
            }
            // Past the end for the one who asked first; the others may want what is there.
            Some(Event::Failed(error)) if matches!(error.kind, OriginErrorKind::RangeInvalid(_)) => {}
            Some(Event::Failed(error)) => return Err(error.into()),
            _ => break,
        }
    }
    Err(CacheError::Internal("the origin gave neither an answer nor an error".into()))
}

/// An object of zero bytes: the content of the empty blob, and absence for any other (protocol: storage layout).
fn empty(blob: Arc<Blob>) -> Result<Opened, CacheError> {
    if Digest::of(blob.key.digest.algorithm(), b"") != blob.key.digest {
        return Err(CacheError::NotFound);
    }
    blob.set_verified();
    Ok(Opened { blob, begun: None })
}

async fn unwanted(tiers: &Tiers, fill: &Fill) {
    let mut closing = tiers.closing();
    loop {
        if fill.state().openers == 0 || tiers.is_closing() {
            return;
        }
        tokio::select! {
            () = fill.wake.notified() => {}
            _ = closing.changed() => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_request_holds_the_first_wanted_byte_and_whole_blocks() {
        let first = |wanted| first_range(wanted, 100, 400);
        assert_eq!(first(Wanted::Whole), Some(0..400));
        assert_eq!(first(Wanted::From(250)), Some(200..600));
        assert_eq!(first(Wanted::Closed { first: 250, last: 250 }), Some(200..300));
        assert_eq!(first(Wanted::Closed { first: 250, last: 300 }), Some(200..400));
        assert_eq!(first(Wanted::Closed { first: 0, last: u64::MAX }), Some(0..400));
        assert_eq!(first(Wanted::Closed { first: 5, last: 1 }), Some(0..100));
        assert_eq!(first(Wanted::Suffix(1)), None);
        let top = first(Wanted::From(u64::MAX)).expect("a range");
        assert!(top.start < top.end, "{top:?}");
    }
}
