//! A payload as the body of a response: its exact length announced, its account with it to the end.
//!
//! A body that fails, stalls or comes short ends with an error, so that the connection closes before
//! `Content-Length` bytes have left it. Never with a clean end: clients resume from a short body and trust a whole one.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use dataproxy_cache::{BlobReader, CacheError, Piece};
use http::request;
use http_body::{Frame, SizeHint};
use tokio::time::{Instant, Sleep};

use crate::account::Account;
use crate::body::{Body, BodyError};
use crate::pace::Pace;
use crate::respond::Payload;
use crate::stand_in::StandIns;

/// Shortest limit of a piece that is sent from its file, in bytes: shorter ones are copied.
const LEAST_IN_FILE: u64 = 128 << 10;
/// Longest silence of a body while its client is ready to read. docker waits for ever, so somebody has to give up.
pub(crate) const SILENCE_MAX: Duration = Duration::from_secs(60);

/// Why a body ended before its time.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StreamError {
    /// The content failed.
    #[error(transparent)]
    Content(#[from] CacheError),
    /// Nothing came for too long.
    #[error("no byte came for {SILENCE_MAX:?}")]
    Silent,
    /// The content ended early.
    #[error("the content ended {0} bytes early")]
    Short(u64),
    /// The content is in a file, and the connection sends none.
    #[error("the content is a place in a file, where bytes were asked for")]
    Unasked,
    /// The content did not end where it should.
    #[error("the content goes on past its end")]
    Long,
}

enum Content {
    Bytes(Bytes),
    Blob(Box<BlobReader>),
}

struct Delivery {
    content: Content,
    left: u64,
    silence: Option<Pin<Box<Sleep>>>,
    /// Whether `silence` runs for the wait that is on now.
    waiting: bool,
    taker: Taker,
    account: Account,
}

/// What is known of the connection that takes a body.
#[derive(Default)]
pub(crate) struct Taker {
    /// How fast its client takes what it is sent, if it is to be served no more at a time than it takes.
    pace: Option<Arc<Pace>>,
    /// Where what stands in for bytes of a file is sent in their place.
    stand_ins: Option<StandIns>,
}

impl Taker {
    /// The connection of a request.
    pub(crate) fn of(parts: &request::Parts) -> Self {
        let pace = parts.extensions.get::<Arc<Pace>>().map(Arc::clone);
        Self { pace, stand_ins: parts.extensions.get::<StandIns>().cloned() }
    }
}

/// The body of a payload, as `taker` is to have it: in pieces as its client takes them, and perhaps of bytes that are none
/// of the payload's but stand in for them. `account` is closed with it.
pub(crate) fn body(payload: Payload, taker: Taker, account: Account) -> Body {
    let left = match payload.length() {
        None | Some(0) => return Body::Empty,
        Some(length) => length,
    };
    let content = match payload {
        Payload::None | Payload::Withheld(_) => return Body::Empty,
        Payload::Bytes(bytes) => Content::Bytes(bytes),
        Payload::Blob(reader) => Content::Blob(reader),
    };
    Body::stream(Delivery { content, left, silence: None, waiting: false, taker, account })
}

impl Delivery {
    /// The next piece, `None` where the content has ended.
    fn poll_content(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Bytes>, StreamError>> {
        let next = match &mut self.content {
            Content::Bytes(bytes) => return Poll::Ready(Ok(Some(std::mem::take(bytes)))),
            Content::Blob(reader) => {
                let Taker { pace, stand_ins } = &self.taker;
                let ready_bytes = pace.as_ref().and_then(|pace| pace.ready_bytes());
                reader.limit_pieces(ready_bytes);
                // A slow client's piece is short in a file too: what is in the page cache now may not be in a minute.
                let most = stand_ins.as_ref().map_or(0, StandIns::most);
                let most = ready_bytes.map_or(most, |bytes| most.min(bytes.max(LEAST_IN_FILE)));
                reader.poll_piece(cx, most)
            }
        };
        match next {
            Poll::Ready(piece) => {
                self.waiting = false;
                let piece = piece.transpose().map_err(StreamError::Content);
                Poll::Ready(piece.and_then(|piece| self.in_memory(piece)))
            }
            Poll::Pending => {
                self.taker.stand_ins.iter().for_each(StandIns::pause);
                self.poll_silence(cx).map(|()| Err(StreamError::Silent))
            }
        }
    }

    /// A piece as hyper takes it.
    fn in_memory(&self, piece: Option<Piece>) -> Result<Option<Bytes>, StreamError> {
        match (piece, &self.taker.stand_ins) {
            (None, _) => Ok(None),
            (Some(Piece::Bytes(bytes)), stand_ins) => {
                stand_ins.iter().for_each(StandIns::pause);
                Ok(Some(bytes))
            }
            (Some(Piece::InFile(piece)), stand_ins) => {
                let goes_on = self.left > piece.length() as u64;
                let bytes = stand_ins.as_ref().and_then(|stand_ins| stand_ins.put(piece, goes_on));
                bytes.map(Some).ok_or(StreamError::Unasked)
            }
        }
    }

    fn poll_silence(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let silence = self.silence.get_or_insert_with(|| Box::pin(tokio::time::sleep(SILENCE_MAX)));
        if !self.waiting {
            silence.as_mut().reset(Instant::now() + SILENCE_MAX);
            self.waiting = true;
        }
        silence.as_mut().poll(cx)
    }
}

/// A piece as it is sent, and the bytes that are left to send after it.
fn count(piece: Option<Bytes>, left: u64) -> Result<(Bytes, u64), StreamError> {
    let piece = piece.ok_or(StreamError::Short(left))?;
    let left = left.checked_sub(piece.len() as u64).ok_or(StreamError::Long)?;
    Ok((piece, left))
}

impl http_body::Body for Delivery {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        if self.left == 0 {
            return Poll::Ready(None);
        }
        let piece = std::task::ready!(self.poll_content(cx)).and_then(|piece| count(piece, self.left));
        Poll::Ready(Some(match piece {
            Ok((piece, left)) => {
                let sent = std::mem::replace(&mut self.left, left) - left;
                self.account.sent(sent);
                Ok(Frame::data(piece))
            }
            Err(error) => {
                self.account.failed(&error);
                Err(error.into())
            }
        }))
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}

impl Drop for Delivery {
    fn drop(&mut self) {
        if let Content::Blob(reader) = &self.content {
            self.account.served(reader.outcome());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_that_ends_early_or_late_is_an_error_and_never_an_end() {
        let piece = || Some(Bytes::from_static(b"four"));
        assert!(matches!(count(piece(), 10), Ok((_, 6))));
        assert!(matches!(count(piece(), 4), Ok((_, 0))));
        assert!(matches!(count(None, 6), Err(StreamError::Short(6))));
        assert!(matches!(count(piece(), 3), Err(StreamError::Long)));
    }
}
