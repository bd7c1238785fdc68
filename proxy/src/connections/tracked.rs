//! A response's body, with the request that it answers running until it is dropped.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body as _, Frame, SizeHint};

use super::Running;
use crate::body::{Body, BodyError};

/// A body that is counted as it is sent.
pub(crate) struct Tracked {
    body: Body,
    running: Running,
}

impl Tracked {
    /// `body`, which answers what is `running`.
    pub(crate) fn new(body: Body, running: Running) -> Self {
        running.exchange.announces(body.size_hint().exact().unwrap_or(0));
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
            self.running.exchange.sends(bytes);
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
