//! A forwarded body, accounted to its end.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Frame, SizeHint};

use crate::account::Account;
use crate::body::{Body, BodyError};

/// A body whose account is closed with it.
pub(super) struct Delivery {
    body: Body,
    account: Account,
}

/// A body that says what of it was sent.
pub(super) fn accounted(body: Body, account: Account) -> Body {
    match body {
        Body::Empty => Body::Empty,
        body => Body::stream(Delivery { body, account }),
    }
}

impl http_body::Body for Delivery {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(cx));
        match &frame {
            Some(Ok(frame)) => self.account.sent(frame.data_ref().map_or(0, Bytes::len) as u64),
            Some(Err(error)) => self.account.failed(error),
            None => {}
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
