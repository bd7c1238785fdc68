//! A body that outlives its node: what is missing comes from another one, and the client sees nothing.
//!
//! That takes a response that says which bytes of which version it carries: a strong `ETag` (RFC 9110, 8.8.1)
//! and a known length. The rest is asked for as a range of the very same version; an answer that is not exactly
//! that is not used. Nodes give a manifest only whole: of a small answer that is the whole of the very same version,
//! what the client has already is skipped.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf, Bytes};
use futures_util::stream;
use http::header::{self, HeaderMap, HeaderValue};
use http::{Method, StatusCode, response};
use http_body_util::{BodyExt, StreamBody};
use hyper::body::{Frame, Incoming};
use metrics::counter;
use tokio::time::{Instant, timeout};

use super::{Forwarder, Wish};
use crate::blob::REST_OF_WHOLE;
use crate::body::{Body, BodyError};
use crate::manifest::MANIFEST_MAX;

/// Which bytes of which version a response carries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Extent {
    /// Offset of the next byte to deliver.
    next: u64,
    /// Offset after the last one.
    end: u64,
    /// Size of the whole, as `Content-Range` states it.
    size: u64,
    /// Whether the response carries the content as a whole, with nothing that says it is a part.
    whole: bool,
    etag: HeaderValue,
}

impl Extent {
    /// The extent of a response to `method`; `None` if its body could not be gone on with elsewhere.
    pub(super) fn of(method: &Method, head: &response::Parts) -> Option<Self> {
        if method != Method::GET || head.headers.contains_key(header::CONTENT_ENCODING) {
            return None;
        }
        let etag = head.headers.get(header::ETAG)?.clone();
        if etag.as_bytes().first() != Some(&b'"') {
            return None;
        }
        let length: u64 = head.headers.get(header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok()?;
        let (first, size) = match head.status {
            StatusCode::OK => (0, length),
            StatusCode::PARTIAL_CONTENT => {
                let (first, last, size) = content_range(&head.headers)?;
                (last - first + 1 == length).then_some((first, size))?
            }
            _ => return None,
        };
        let whole = head.status == StatusCode::OK;
        (length > 0).then_some(Self { next: first, end: first + length, size, whole, etag })
    }

    /// The headers that ask for the rest, and for nothing else.
    fn request(&self) -> Option<HeaderMap> {
        let range = format!("bytes={}-{}", self.next, self.end - 1);
        let mut headers = HeaderMap::new();
        headers.insert(header::RANGE, HeaderValue::from_str(&range).ok()?);
        headers.insert(header::IF_MATCH, self.etag.clone());
        headers.insert(header::IF_RANGE, self.etag.clone());
        if self.whole {
            headers.insert(REST_OF_WHOLE, HeaderValue::from_static("1"));
        }
        Some(headers)
    }

    /// How many bytes of a response come before the rest; `None` if it is not the rest of the very same version.
    fn before_rest(&self, head: &response::Parts) -> Option<u64> {
        if head.headers.get(header::ETAG) != Some(&self.etag) {
            return None;
        }
        match head.status {
            StatusCode::PARTIAL_CONTENT => {
                (content_range(&head.headers)? == (self.next, self.end - 1, self.size)).then_some(0)
            }
            // Bounded, as what is skipped was read in vain.
            StatusCode::OK if self.end == self.size && self.size <= MANIFEST_MAX => {
                let whole = Self::of(&Method::GET, head)?;
                (whole.size == self.size).then_some(self.next)
            }
            _ => None,
        }
    }
}

/// First and last offset and the size of `Content-Range: bytes a-b/size` (RFC 9110, 14.4).
fn content_range(headers: &HeaderMap) -> Option<(u64, u64, u64)> {
    let text = headers.get(header::CONTENT_RANGE)?.to_str().ok()?.strip_prefix("bytes ")?;
    let (range, size) = text.split_once('/')?;
    let (first, last) = range.split_once('-')?;
    let (first, last, size) = (first.parse().ok()?, last.parse().ok()?, size.parse().ok()?);
    (first <= last && last < size).then_some((first, last, size))
}

/// A body of `extent`, begun at `node`.
pub(super) fn body(
    forwarder: Arc<Forwarder>,
    wish: Wish,
    node: SocketAddr,
    extent: Extent,
    body: Incoming,
) -> Body {
    let resuming = Resuming { forwarder, wish, node, extent, body, skip: 0, fruitless: 0, wrong: Vec::new() };
    Body::stream(StreamBody::new(stream::unfold(Some(resuming), |resuming| async {
        let mut resuming = resuming?;
        match resuming.piece().await {
            Ok(Some(piece)) => Some((Ok(Frame::data(piece)), Some(resuming))),
            Ok(None) => None,
            Err(error) => Some((Err(error), None)),
        }
    })))
}

/// A body that ends, short, when the node is silent for too long.
pub(super) fn bounded(body: Incoming, idle: Duration) -> Body {
    Body::stream(StreamBody::new(stream::unfold(Some(body), move |body| async move {
        let mut body = body?;
        match timeout(idle, body.frame()).await {
            Ok(None) => None,
            Ok(Some(Ok(frame))) => Some((Ok(frame), Some(body))),
            Ok(Some(Err(error))) => Some((Err(error.into()), None)),
            Err(_) => Some((Err("the node went silent".into()), None)),
        }
    })))
}

struct Resuming {
    forwarder: Arc<Forwarder>,
    wish: Wish,
    node: SocketAddr,
    extent: Extent,
    body: Incoming,
    /// Bytes of `body` still to come that the client has already.
    skip: u64,
    /// Times that a node was lost since the last byte came.
    fruitless: u32,
    /// Nodes that have answered with something else than the rest.
    wrong: Vec<SocketAddr>,
}

impl Resuming {
    /// The next bytes; `None` once all are delivered.
    async fn piece(&mut self) -> Result<Option<Bytes>, BodyError> {
        while self.extent.next < self.extent.end {
            let reason = match timeout(self.forwarder.settings.body_idle_timeout, self.body.frame()).await {
                Ok(Some(Ok(frame))) => match frame.into_data() {
                    Ok(mut data) => {
                        let skipped = self.skip.min(data.len() as u64);
                        data.advance(skipped as usize);
                        self.skip -= skipped;
                        if data.is_empty() {
                            continue;
                        }
                        self.extent.next += data.len() as u64;
                        self.fruitless = 0;
                        return Ok(Some(data));
                    }
                    // Trailers say nothing about the bytes.
                    Err(_) => continue,
                },
                Ok(Some(Err(_)) | None) => "lost",
                Err(_) => "silent",
            };
            self.resume(reason).await?;
        }
        Ok(None)
    }

    async fn resume(&mut self, reason: &'static str) -> Result<(), BodyError> {
        let lost = self.node;
        loop {
            self.fruitless += 1;
            if self.fruitless > self.forwarder.settings.resumes {
                return Err(self.give_up("no node could go on with the body"));
            }
            let Some(range) = self.extent.request() else {
                return Err(self.give_up("the rest cannot be asked for"));
            };
            // The lost node comes last: it may have been started again while what it had sent was on its way.
            let last = (self.fruitless == 1).then_some(lost);
            let deadline = self.forwarder.deadline(Instant::now());
            let opened = self.forwarder.open(&self.wish, Some(&range), &self.wrong, last, deadline).await;
            let (node, response) = match opened {
                Ok(opened) => opened,
                Err(_) => return Err(self.give_up("no node is ready to go on with the body")),
            };
            let (head, body) = response.into_parts();
            if let Some(skip) = self.extent.before_rest(&head) {
                tracing::info!(%lost, %node, reason, at = self.extent.next, "body goes on at another node");
                counter!("dataproxy_front_resumes_total", "outcome" => "resumed").increment(1);
                (self.node, self.body, self.skip) = (node, body, skip);
                return Ok(());
            }
            tracing::warn!(%node, status = head.status.as_u16(), "node answered with something else than the rest");
            self.wrong.push(node);
        }
    }

    fn give_up(&self, why: &'static str) -> BodyError {
        counter!("dataproxy_front_resumes_total", "outcome" => "gave_up").increment(1);
        tracing::warn!(lost = %self.node, at = self.extent.next, end = self.extent.end, why, "body cut short");
        why.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn extent(method: Method, status: u16, headers: &[(&str, &str)]) -> Option<Extent> {
        let mut response = http::Response::builder().status(status);
        for (name, value) in headers {
            response = response.header(*name, *value);
        }
        Extent::of(&method, &response.body(()).unwrap().into_parts().0)
    }

    #[test]
    fn only_a_response_that_says_which_bytes_of_which_version_it_has_is_resumed() {
        let whole = [("etag", "\"x\""), ("content-length", "10")];
        let whole = extent(Method::GET, 200, &whole).unwrap();
        assert_eq!((whole.next, whole.end, whole.size), (0, 10, 10));
        let part = [("etag", "\"x\""), ("content-length", "4"), ("content-range", "bytes 6-9/10")];
        let part = extent(Method::GET, 206, &part).unwrap();
        assert_eq!((part.next, part.end, part.size), (6, 10, 10));
        assert_eq!(part.request().unwrap()[header::RANGE], "bytes=6-9");
        let marked = |extent: &Extent| extent.request().unwrap().contains_key(REST_OF_WHOLE);
        assert!(marked(&whole) && !marked(&part), "only the rest of a whole is held back as a whole is");
        for (method, status, headers) in [
            (Method::HEAD, 200, &[("etag", "\"x\""), ("content-length", "10")][..]),
            (Method::GET, 404, &[("etag", "\"x\""), ("content-length", "10")]),
            (Method::GET, 200, &[("etag", "W/\"x\""), ("content-length", "10")]),
            (Method::GET, 200, &[("content-length", "10")]),
            (Method::GET, 200, &[("etag", "\"x\"")]),
            (Method::GET, 200, &[("etag", "\"x\""), ("content-length", "10"), ("content-encoding", "gzip")]),
            (Method::GET, 206, &[("etag", "\"x\""), ("content-length", "4")]),
            (
                Method::GET,
                206,
                &[("etag", "\"x\""), ("content-length", "5"), ("content-range", "bytes 6-9/10")],
            ),
            (
                Method::GET,
                206,
                &[("etag", "\"x\""), ("content-length", "4"), ("content-range", "bytes 9-6/10")],
            ),
            (
                Method::GET,
                206,
                &[("etag", "\"x\""), ("content-length", "4"), ("content-range", "bytes 6-9/*")],
            ),
        ] {
            assert_eq!(extent(method, status, headers), None, "{status} {headers:?}");
        }
    }

    #[test]
    fn the_whole_of_the_same_version_has_the_rest_in_it_if_it_is_small() {
        let answer = |status: u16, etag: &str, length: u64| {
            let response = http::Response::builder().status(status);
            let response = response.header("etag", etag).header("content-length", length);
            response.body(()).unwrap().into_parts().0
        };
        let extent = |size: u64, end: u64| {
            let etag = HeaderValue::from_static("\"x\"");
            Extent { next: 4, end, size, whole: end == size, etag }
        };
        assert_eq!(extent(10, 10).before_rest(&answer(200, "\"x\"", 10)), Some(4));
        assert_eq!(
            extent(MANIFEST_MAX, MANIFEST_MAX).before_rest(&answer(200, "\"x\"", MANIFEST_MAX)),
            Some(4)
        );
        let large = MANIFEST_MAX + 1;
        for (extent, answer) in [
            (extent(10, 10), answer(200, "\"y\"", 10)),
            (extent(10, 10), answer(200, "\"x\"", 11)),
            (extent(10, 10), answer(200, "\"x\"", 6)),
            (extent(10, 8), answer(200, "\"x\"", 10)),
            (extent(10, 10), answer(206, "\"x\"", 10)),
            (extent(10, 10), answer(404, "\"x\"", 10)),
            (extent(large, large), answer(200, "\"x\"", large)),
        ] {
            assert_eq!(extent.before_rest(&answer), None, "{extent:?} {answer:?}");
        }
    }
}
