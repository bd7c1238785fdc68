//! A forwarded body, accounted to its end.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::{Response, header};
use http_body::{Frame, SizeHint};

use crate::account::Account;
use crate::body::{Body, BodyError};

/// A body whose account is closed with it.
pub(crate) struct Delivery {
    body: Body,
    account: Account,
}

/// A forwarded response, or one in its place, that says what of it was sent.
pub(crate) fn accounted_response(response: Response<Body>, mut account: Account) -> Response<Body> {
    let (head, body) = response.into_parts();
    let length = || head.headers.get(header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok();
    let announced = match body {
        Body::Empty => 0,
        _ => length().or(http_body::Body::size_hint(&body).exact()).unwrap_or(0),
    };
    account.answered(head.status, announced);
    Response::from_parts(head, accounted(body, account))
}

/// A body that says what of it was sent.
fn accounted(body: Body, account: Account) -> Body {
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
