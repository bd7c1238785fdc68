//! An answer that is not what was asked for is refused before the SDK acts on it.
//!
//! Given a shorter range than it asked for, the SDK would ask for the rest by itself; one call must be one request.
//! So this policy, the last before the transport, compares each answer to a ranged read with its request.

use std::ops::Range;
use std::sync::Arc;

use async_trait::async_trait;
use azure_core::http::headers::Headers;
use azure_core::http::policies::{Policy, PolicyResult};
use azure_core::http::{AsyncRawResponse, Context, Request, StatusCode};
use dataproxy_cache::{OriginError, OriginErrorKind};

use crate::credential::forward;
use crate::failure::carried;

/// See the module.
#[derive(Debug)]
pub(crate) struct AsAskedPolicy;

#[async_trait]
impl Policy for AsAskedPolicy {
    async fn send(&self, context: &Context, request: &mut Request, next: &[Arc<dyn Policy>]) -> PolicyResult {
        let asked = request.headers().get_optional_str(&"range".into()).map(str::to_owned);
        let answer = forward(context, request, next).await?;
        match asked {
            Some(asked) if answer.status().is_success() => {
                if let Some(size) = nothing(answer.headers()) {
                    return Ok(past_the_end(size));
                }
                check(&asked, answer.status().into(), answer.headers())
                    .map_err(|message| carried(OriginError::new(OriginErrorKind::Protocol, message)))?;
                Ok(answer)
            }
            _ => Ok(answer),
        }
    }
}

/// The size of a blob of which Azurite has sent nothing. It answers a range that starts exactly at the end so, and one
/// of the first byte of an empty blob: `bytes 5000-4999/5000`, `bytes 0--1/0`. Storage itself says 416.
fn nothing(headers: &Headers) -> Option<u64> {
    let text = headers.get_optional_str(&"content-range".into())?;
    let (range, size) = text.strip_prefix("bytes ")?.split_once('/')?;
    let size: u64 = size.parse().ok()?;
    (range == format!("{size}-{}", i128::from(size) - 1)).then_some(size)
}

/// What storage says of a range that starts at or past the end (RFC 9110, 15.5.17).
fn past_the_end(size: u64) -> AsyncRawResponse {
    let mut headers = Headers::new();
    headers.insert("content-range", format!("bytes */{size}"));
    headers.insert("x-ms-error-code", "InvalidRange");
    AsyncRawResponse::from_bytes(StatusCode::RequestedRangeNotSatisfiable, headers, "")
}

/// Whether a successful answer is the one to a request for the range `asked` (`bytes=first-last`).
fn check(asked: &str, status: u16, headers: &Headers) -> Result<(), String> {
    let header = |name: &'static str| headers.get_optional_str(&name.into());
    if let Some(encoding) = header("content-encoding").filter(|encoding| *encoding != "identity") {
        return Err(format!("the content is encoded ({encoding}); a blob comes as it is stored"));
    }
    if header("etag").is_none_or(str::is_empty) {
        return Err("the answer names no version (ETag)".to_owned());
    }
    let told = header("content-range").ok_or_else(|| {
        let kind = header("content-type").unwrap_or("no type");
        format!("{asked} was asked for, and {status} with content of {kind} and no Content-Range came")
    })?;
    let (range, size) = content_range(told).ok_or_else(|| format!("{told:?} is not a Content-Range"))?;
    let wanted = asked.strip_prefix("bytes=").and_then(first_last).ok_or("the request has no range")?;
    if status != 206 || range != (wanted.start..wanted.end.min(size)) || range.is_empty() {
        return Err(format!("{asked} was asked for, and {status} with {told} came"));
    }
    match header("content-length").map(str::parse::<u64>) {
        Some(Ok(length)) if length != range.end - range.start => {
            Err(format!("{told} was announced with a Content-Length of {length}"))
        }
        _ => Ok(()),
    }
}

/// Reads `bytes first-last/size` (RFC 9110, 14.4).
pub(crate) fn content_range(text: &str) -> Option<(Range<u64>, u64)> {
    let (range, size) = text.strip_prefix("bytes ")?.split_once('/')?;
    let (range, size) = (first_last(range)?, size.parse().ok()?);
    (range.end <= size).then_some((range, size))
}

fn first_last(text: &str) -> Option<Range<u64>> {
    let (first, last) = text.split_once('-')?;
    let (first, last): (u64, u64) = (first.parse().ok()?, last.parse().ok()?);
    (first <= last).then_some(first..last.checked_add(1)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checked(status: u16, headers: &[(&'static str, &str)]) -> Result<(), String> {
        let mut all = Headers::new();
        for (name, value) in headers {
            all.insert(*name, (*value).to_owned());
        }
        check("bytes=10-19", status, &all)
    }

    #[test]
    fn an_answer_is_the_range_that_was_asked_for_cut_at_the_blobs_end() {
        for (told, length) in [("bytes 10-19/100", "10"), ("bytes 10-19/20", "10"), ("bytes 10-14/15", "5")] {
            let headers = [("etag", "\"1\""), ("content-range", told), ("content-length", length)];
            assert_eq!(checked(206, &headers), Ok(()), "{told}");
            assert_eq!(checked(206, &headers[..2]), Ok(()), "{told}, in chunks");
        }
    }

    #[test]
    fn any_other_answer_is_refused_with_what_came() {
        let good = ("content-range", "bytes 10-19/100");
        let etag = ("etag", "\"1\"");
        for (headers, why) in [
            (vec![good], "ETag"),
            (vec![good, ("etag", "")], "ETag"),
            (vec![good, etag, ("content-encoding", "gzip")], "encoded (gzip)"),
            (vec![good, etag, ("content-length", "11")], "Content-Length of 11"),
            (vec![etag, ("content-type", "text/html")], "text/html"),
            (vec![etag, ("content-range", "bytes 10-18/100")], "bytes 10-18/100 came"),
            (vec![etag, ("content-range", "bytes 11-19/100")], "bytes 11-19/100 came"),
            (vec![etag, ("content-range", "bytes 0-19/100")], "bytes 0-19/100 came"),
            (vec![etag, ("content-range", "bytes 10-20/100")], "bytes 10-20/100 came"),
            (vec![etag, ("content-range", "bytes 10-19/*")], "not a Content-Range"),
            (vec![etag, ("content-range", "bytes 10-19/5")], "not a Content-Range"),
            (vec![etag, ("content-range", "bytes 19-10/100")], "not a Content-Range"),
            (vec![etag, ("content-range", "items 10-19/100")], "not a Content-Range"),
        ] {
            let refused = checked(206, &headers).expect_err(why);
            assert!(refused.contains(why), "{refused}");
        }
        assert!(checked(200, &[etag, good]).is_err());
        let nothing = |told: &str| {
            let mut headers = Headers::new();
            headers.insert("content-range", told.to_owned());
            super::nothing(&headers)
        };
        assert_eq!((nothing("bytes 20-19/20"), nothing("bytes 0--1/0")), (Some(20), Some(0)));
        assert_eq!(
            (nothing("bytes 19-19/20"), nothing("bytes 10-9/20"), nothing("bytes */20")),
            (None, None, None)
        );
        assert_eq!(content_range("bytes 0-18446744073709551615/18446744073709551615"), None);
    }
}
