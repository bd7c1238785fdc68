//! A response's body, with the request that it answers being handed over until it is dropped.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body as _, Frame, SizeHint};

use super::Running;
use crate::body::{Body, BodyError};

/// A body that is counted as it is handed over.
pub(crate) struct Tracked {
    // Dropped first: its account is to be there when the request is over.
    body: Body,
    running: Running,
}

impl Tracked {
    /// `body`, which answers what is `running`, and is as long as `announced` if it does not know better.
    pub(crate) fn new(body: Body, announced: Option<u64>, running: Running) -> Self {
        running.exchange.announces(body.size_hint().exact().or(announced).unwrap_or(0));
        Self { body, running }
    }
}

impl http_body::Body for Tracked {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let frame = Pin::new(&mut self.body).poll_frame(cx);
        if let Poll::Ready(Some(Ok(frame))) = &frame
            && let Some(bytes) = frame.data_ref()
        {
            self.running.exchange.hands(bytes);
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
