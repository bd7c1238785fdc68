//! Whether an answer shows that a registry has a blob in a repository.
//!
//! A registry's own word is enough. Where it redirects to is not: what stands before a registry redirects to its login
//! page, for every repository that there is or is not. So what it leads to has to look like the content.

use dataproxy_cache::{Digest, OriginError, OriginErrorKind};
use http::{StatusCode, header};

use super::failure::is_html;
use super::read::{content_range, unsatisfied};
use super::wire::Answer;
use crate::respond::CONTENT_DIGEST;

/// What an answer shows.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Proof {
    /// The blob is there.
    Yes,
    /// Another question may be answered better: what is signed for GET may not be asked by HEAD, and not every storage
    /// tells by HEAD what it has.
    Unclear,
    /// It is a refusal, which says for itself what it means.
    Refusal,
}

impl Proof {
    /// Reads an answer about the blob with this digest.
    ///
    /// # Errors
    /// [`OriginErrorKind::Protocol`] if the answer is of something else.
    pub(super) fn of(answer: &Answer, digest: &Digest) -> Result<Self, OriginError> {
        let is_registrys = answer.is_registrys(digest);
        let status = answer.status();
        if status == StatusCode::RANGE_NOT_SATISFIABLE {
            let size = answer.header(header::CONTENT_RANGE).and_then(unsatisfied);
            return Ok(if size == Some(0) { Self::Yes } else { Self::Refusal });
        }
        if !status.is_success() {
            let may_get = if is_registrys {
                status == StatusCode::METHOD_NOT_ALLOWED
            } else {
                status.is_client_error() && status != StatusCode::TOO_MANY_REQUESTS
            };
            return Ok(if may_get { Self::Unclear } else { Self::Refusal });
        }
        if is_html(answer) {
            return Err(something_else("a page for people"));
        }
        if says(answer, digest)? || is_registrys || is_content(answer) {
            return Ok(Self::Yes);
        }
        Ok(Self::Unclear)
    }
}

/// Whether the answer names this very digest. Content has several, so one of another algorithm says nothing.
///
/// # Errors
/// [`OriginErrorKind::Protocol`] if it names another.
pub(super) fn says(answer: &Answer, digest: &Digest) -> Result<bool, OriginError> {
    let Some(told) = answer.response.headers().get(CONTENT_DIGEST) else { return Ok(false) };
    let told = told.to_str().ok().and_then(|told| told.parse::<Digest>().ok());
    let told = told.ok_or_else(|| something_else("a Docker-Content-Digest that is none"))?;
    if told.algorithm() == digest.algorithm() && told != *digest {
        return Err(something_else("content with another digest"));
    }
    Ok(told == *digest)
}

/// Whether a storage that knows nothing of digests answers as one that has an object: it has parts, or no type.
fn is_content(answer: &Answer) -> bool {
    if answer.status() == StatusCode::PARTIAL_CONTENT {
        return answer.header(header::CONTENT_RANGE).and_then(content_range).is_some();
    }
    let is = |name, wanted: &str| {
        answer.header(name).is_some_and(|value| value.trim().eq_ignore_ascii_case(wanted))
    };
    answer.status() == StatusCode::OK
        && (is(header::ACCEPT_RANGES, "bytes")
            || is(header::CONTENT_TYPE, "application/octet-stream")
            || is(header::CONTENT_TYPE, "binary/octet-stream"))
}

/// The error for an answer that shows nothing of a blob.
pub(super) fn something_else(what: &str) -> OriginError {
    OriginError::new(
        OriginErrorKind::Protocol,
        format!("asked for content, the upstream answered something else: {what}"),
    )
}
