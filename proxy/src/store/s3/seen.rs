//! What the server said, besides what the library makes of it.
//!
//! It rides in the request's extensions, so that it belongs to that request alone.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use dataproxy_cache::{OriginError, OriginErrorKind};
use http::{HeaderMap, StatusCode, header};
use object_store::client::HttpErrorKind;

/// The largest error document that is read for its code.
pub(super) const ERROR_MAX: usize = 16 << 10;

/// The slot of one request. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub(super) struct Seen(Arc<Mutex<What>>);

#[derive(Clone, Debug, Default)]
enum What {
    /// The request did not get as far as a server.
    #[default]
    Nothing,
    /// The server answered.
    Answer { status: StatusCode, size: Option<u64>, retry_after: Option<Duration>, request_id: String },
    /// The way to it failed.
    Failure(HttpErrorKind),
}

impl Seen {
    /// Keeps what an answer's head says.
    pub(super) fn answer(&self, status: StatusCode, headers: &HeaderMap) {
        let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
        let range = text(header::CONTENT_RANGE.as_str());
        self.set(What::Answer {
            status,
            size: range.and_then(|range| range.rsplit_once('/')?.1.parse().ok()),
            retry_after: text(header::RETRY_AFTER.as_str())
                .and_then(|seconds| seconds.parse().ok())
                .map(Duration::from_secs),
            request_id: text("x-amz-request-id").unwrap_or("none").chars().take(80).collect(),
        });
    }

    /// Keeps how the way to the server failed.
    pub(super) fn failure(&self, kind: HttpErrorKind) {
        self.set(What::Failure(kind));
    }

    fn set(&self, what: What) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = what;
    }

    fn get(&self) -> What {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Whether a range was refused because the object has no bytes at all.
    pub(super) fn is_empty_object(&self, error: &object_store::Error) -> bool {
        self.error("", error).kind == OriginErrorKind::RangeInvalid(0)
    }

    /// What a failed read or listing of `name` means.
    pub(super) fn error(&self, name: &str, error: &object_store::Error) -> OriginError {
        let document = innermost(error);
        let code = element(&document, "Code").map(str::to_owned);
        let (kind, said) = match self.get() {
            What::Answer { status, size, retry_after, request_id } => (
                // Some servers say the size in the document alone.
                of_answer(
                    status,
                    code.as_deref(),
                    size.or_else(|| element(&document, "ActualObjectSize")?.parse().ok()),
                    retry_after,
                ),
                format!(
                    "HTTP {}, code {}, request {request_id}",
                    status.as_u16(),
                    code.as_deref().unwrap_or("none")
                ),
            ),
            What::Failure(HttpErrorKind::Timeout) => (OriginErrorKind::Timeout, document),
            What::Failure(_) => (OriginErrorKind::Unavailable, document),
            // Asked nobody: there is no credential to sign with, or none that can be had now.
            What::Nothing => (OriginErrorKind::Unavailable, format!("not asked: {document}")),
        };
        OriginError::new(kind, format!("{name}: {said}"))
    }
}

/// Absence and outage never look alike: a bucket that is not there is no object that is not there.
fn of_answer(
    status: StatusCode,
    code: Option<&str>,
    size: Option<u64>,
    retry_after: Option<Duration>,
) -> OriginErrorKind {
    match (status, code) {
        (StatusCode::NOT_FOUND, Some("NoSuchBucket")) => OriginErrorKind::Denied,
        (StatusCode::NOT_FOUND, _) => OriginErrorKind::NotFound,
        (StatusCode::PRECONDITION_FAILED, _) => OriginErrorKind::Changed,
        (StatusCode::RANGE_NOT_SATISFIABLE, _) => {
            size.map_or(OriginErrorKind::Protocol, OriginErrorKind::RangeInvalid)
        }
        // A clock that is off or a credential that has run out is refused as any other credential is.
        (StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN, _) => OriginErrorKind::Denied,
        (StatusCode::SERVICE_UNAVAILABLE, Some("SlowDown" | "ServiceUnavailable"))
        | (StatusCode::TOO_MANY_REQUESTS, _) => OriginErrorKind::Throttled(retry_after),
        (StatusCode::REQUEST_TIMEOUT | StatusCode::GATEWAY_TIMEOUT, _) => OriginErrorKind::Timeout,
        (status, _) if status.is_server_error() => OriginErrorKind::Unavailable,
        // A success that the library could not use, a redirect to another region, or another refusal.
        _ => OriginErrorKind::Protocol,
    }
}

/// The text of an element of an error document, if it is a plain word.
fn element<'d>(document: &'d str, name: &str) -> Option<&'d str> {
    let (_, rest) = document.split_once(&format!("<{name}>"))?;
    let (text, _) = rest.split_once("</")?;
    let plain = !text.is_empty() && text.len() <= 64 && text.bytes().all(|b| b.is_ascii_alphanumeric());
    plain.then_some(text)
}

fn innermost(error: &object_store::Error) -> String {
    let mut error: &dyn std::error::Error = error;
    while let Some(source) = error.source() {
        error = source;
    }
    error.to_string().chars().take(ERROR_MAX).collect()
}
