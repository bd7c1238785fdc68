//! An answer before it is bound to a connection: status, headers, and what its body will be.
//!
//! HEAD is answered by making the GET's answer and keeping its body back, so the two cannot differ.

use bytes::Bytes;
use dataproxy_cache::BlobReader;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode, Version, header, request};
use serde::Serialize;

use crate::body::Body;
use crate::refusal::Refusal;

/// `Docker-Content-Digest`: the digest of what is served.
pub const CONTENT_DIGEST: HeaderName = HeaderName::from_static("docker-content-digest");
/// `Docker-Distribution-API-Version`: older clients look for it.
pub const API_VERSION: HeaderName = HeaderName::from_static("docker-distribution-api-version");
/// `OCI-Namespace`: the `ns` that the answer is for.
pub const OCI_NAMESPACE: HeaderName = HeaderName::from_static("oci-namespace");
/// `OCI-Filters-Applied`: which filters a list of referrers went through.
pub const OCI_FILTERS_APPLIED: HeaderName = HeaderName::from_static("oci-filters-applied");
/// `X-Request-Id`: what a user quotes and an operator searches for.
pub const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// `Cache-Control` of content named by its digest. Not `public`: a pull may need a token one day.
pub const IMMUTABLE: HeaderValue = HeaderValue::from_static("max-age=31536000, immutable");

/// Room for the headers of most answers, so that their map is made once.
const HEADERS: usize = 12;

/// What an answer's body is made of.
pub enum Payload {
    /// Nothing, and no `Content-Length` either: a 304.
    None,
    /// Bytes at hand.
    Bytes(Bytes),
    /// A blob's bytes as they come.
    Blob(Box<BlobReader>),
    /// The body that a GET would have had: this many bytes, none of them sent.
    Withheld(u64),
}

impl Payload {
    /// The length that the answer announces in bytes.
    pub fn length(&self) -> Option<u64> {
        match self {
            Self::None => None,
            Self::Bytes(bytes) => Some(bytes.len() as u64),
            Self::Blob(reader) => Some(reader.range().end.saturating_sub(reader.range().start)),
            Self::Withheld(length) => Some(*length),
        }
    }
}

/// What of a request, besides its content, every answer to it depends on.
#[derive(Clone, Debug)]
pub struct Manner {
    method: Method,
    version: Version,
    has_content: bool,
}

impl Manner {
    /// The manner of a request that `has_content`.
    pub fn of(parts: &request::Parts, has_content: bool) -> Self {
        Self { method: parts.method.clone(), version: parts.version, has_content }
    }
}

/// An answer.
pub struct Answer {
    /// Its status.
    pub status: StatusCode,
    /// Its headers but `Content-Length`.
    pub headers: HeaderMap,
    /// Its body.
    pub payload: Payload,
}

impl Answer {
    /// An answer without headers of its own.
    pub fn new(status: StatusCode, payload: Payload) -> Self {
        Self { status, headers: HeaderMap::with_capacity(HEADERS), payload }
    }

    /// JSON of this media type.
    pub fn json(status: StatusCode, media_type: &'static str, value: &impl Serialize) -> Self {
        // Plain data: it has no map with keys that are not text, which is all that could fail.
        let json = serde_json::to_vec(value).unwrap_or_default();
        Self::new(status, Payload::Bytes(json.into()))
            .with(header::CONTENT_TYPE, HeaderValue::from_static(media_type))
    }

    /// Body bytes that are sent.
    pub fn sends(&self) -> u64 {
        match self.payload {
            Payload::None | Payload::Withheld(_) => 0,
            Payload::Bytes(_) | Payload::Blob(_) => self.payload.length().unwrap_or(0),
        }
    }

    /// Adds a header.
    #[must_use]
    pub fn with(mut self, name: HeaderName, value: impl Into<HeaderValue>) -> Self {
        self.headers.insert(name, value.into());
        self
    }

    /// Adds a header made of text; text that cannot be in a header is left out.
    #[must_use]
    pub fn with_text(mut self, name: HeaderName, value: impl AsRef<str>) -> Self {
        if let Ok(value) = HeaderValue::from_str(value.as_ref()) {
            self.headers.insert(name, value);
        }
        self
    }

    /// The same answer to HEAD.
    #[must_use]
    pub fn without_body(mut self) -> Self {
        if let Some(length) = self.payload.length() {
            self.payload = Payload::Withheld(length);
        }
        self
    }

    /// Tells the client that the connection ends after this answer. HTTP/2 has no such header.
    #[must_use]
    pub fn closing(self, version: Version) -> Self {
        if version < Version::HTTP_2 {
            self.with(header::CONNECTION, HeaderValue::from_static("close"))
        } else {
            self
        }
    }

    /// The answer as it leaves, whoever made it: without its body to HEAD, closing after content that nobody has read
    /// and that must not be taken for the next request, and with the headers that all answers have.
    #[must_use]
    pub fn finished(mut self, manner: &Manner, namespace: Option<&str>, request_id: &str) -> Self {
        if manner.method == Method::HEAD {
            self = self.without_body();
        }
        if manner.has_content {
            self = self.closing(manner.version);
        }
        if let Some(namespace) = namespace {
            self = self.with_text(OCI_NAMESPACE, namespace);
        }
        self.with(API_VERSION, HeaderValue::from_static("registry/2.0")).with_text(REQUEST_ID, request_id)
    }

    /// The HTTP response, with what `body` makes of the payload.
    pub fn into_response(self, body: impl FnOnce(Payload) -> Body) -> Response<Body> {
        let Self { status, mut headers, payload } = self;
        if let Some(length) = payload.length() {
            headers.insert(header::CONTENT_LENGTH, length.into());
        }
        let mut response = Response::new(body(payload));
        *response.status_mut() = status;
        *response.headers_mut() = headers;
        response
    }
}

#[derive(Serialize)]
struct Errors {
    errors: [ErrorEntry; 1],
}

#[derive(Serialize)]
struct ErrorEntry {
    code: &'static str,
    message: String,
}

/// OCI distribution-spec 1.1, "Error codes".
impl From<&Refusal> for Answer {
    fn from(refusal: &Refusal) -> Self {
        let errors = Errors { errors: [ErrorEntry { code: refusal.code(), message: refusal.to_string() }] };
        let mut answer = Self::json(refusal.status(), "application/json", &errors);
        match refusal {
            Refusal::MethodUnsupported => {
                answer = answer.with(header::ALLOW, HeaderValue::from_static("GET, HEAD"));
            }
            Refusal::RangeNotSatisfiable { size } => {
                answer = answer.with_text(header::CONTENT_RANGE, format!("bytes */{size}"));
            }
            _ => {}
        }
        match refusal.retry_after() {
            // Whole seconds, rounded up: to come back early is to be refused again.
            Some(wait) => answer.with(header::RETRY_AFTER, wait.as_millis().div_ceil(1000) as u64),
            None => answer,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn body(answer: &Answer) -> serde_json::Value {
        let Payload::Bytes(bytes) = &answer.payload else { panic!("no bytes") };
        serde_json::from_slice(bytes).expect("JSON")
    }

    #[test]
    fn a_refusal_is_an_oci_error_document() {
        let answer = Answer::from(&Refusal::BlobUnknown);
        assert_eq!(answer.headers[header::CONTENT_TYPE], "application/json");
        assert_eq!(
            body(&answer),
            serde_json::json!({"errors": [{"code": "BLOB_UNKNOWN", "message": "the repository has no such blob"}]})
        );
    }

    #[test]
    fn refusals_carry_the_headers_that_http_asks_for() {
        assert_eq!(Answer::from(&Refusal::MethodUnsupported).headers[header::ALLOW], "GET, HEAD");
        let range = Answer::from(&Refusal::RangeNotSatisfiable { size: 7 });
        assert_eq!(range.headers[header::CONTENT_RANGE], "bytes */7");
        let throttled = Answer::from(&Refusal::StorageThrottled(Some(Duration::from_millis(1500))));
        assert_eq!(throttled.headers[header::RETRY_AFTER], "2");
    }

    #[test]
    fn the_answer_to_head_announces_the_length_and_sends_nothing() {
        let get = Answer::json(StatusCode::OK, "application/json", &serde_json::json!({"a": 1}));
        let head =
            Answer::json(StatusCode::OK, "application/json", &serde_json::json!({"a": 1})).without_body();
        let length = get.payload.length();
        assert_eq!(head.payload.length(), length);
        let head = head.into_response(|_| Body::Empty);
        assert_eq!(head.headers()[header::CONTENT_LENGTH], "7");
    }
}
