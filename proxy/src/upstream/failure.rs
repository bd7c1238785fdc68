//! What an upstream's refusal means. Absence and outage never look alike.

use std::time::Duration;

use bytes::Bytes;
use dataproxy_cache::{OriginError, OriginErrorKind};
use http::{StatusCode, header};
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use serde::Deserialize;
use tokio::time::timeout;

use super::wire::Answer;

/// What is read of a refusal's body, in bytes, and for how long: it is for the log alone.
const WORDS_MAX: usize = 16 << 10;
const WORDS_PATIENCE: Duration = Duration::from_millis(500);

/// The error for an answer that is none of those which the caller understands.
pub(super) async fn failure(answer: Answer) -> OriginError {
    let (status, kind) = (answer.status(), kind(&answer));
    let who = if answer.is_home { String::new() } else { format!("{}: ", answer.from) };
    let words = timeout(WORDS_PATIENCE, words(answer.response.into_body())).await;
    let words = words.ok().flatten().map(|words| format!(": {words}")).unwrap_or_default();
    OriginError::new(kind, format!("{who}the upstream answered {status}{words}"))
}

fn kind(answer: &Answer) -> OriginErrorKind {
    match answer.status() {
        // A page for people is no registry's word: something in between has answered.
        StatusCode::NOT_FOUND | StatusCode::GONE if is_html(answer) => OriginErrorKind::Protocol,
        StatusCode::NOT_FOUND | StatusCode::GONE => OriginErrorKind::NotFound,
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => OriginErrorKind::Denied,
        StatusCode::TOO_MANY_REQUESTS => OriginErrorKind::Throttled(retry_after(answer)),
        StatusCode::PRECONDITION_FAILED => OriginErrorKind::Changed,
        StatusCode::REQUEST_TIMEOUT => OriginErrorKind::Unavailable,
        status if status.is_server_error() => OriginErrorKind::Unavailable,
        _ => OriginErrorKind::Protocol,
    }
}

/// Whether the answer is a page for people.
pub(super) fn is_html(answer: &Answer) -> bool {
    let is =
        |kind: &str| kind.trim_start().get(..9).is_some_and(|kind| kind.eq_ignore_ascii_case("text/html"));
    answer.header(header::CONTENT_TYPE).is_some_and(is)
}

/// Seconds; a date is not read, as the two clocks may differ.
fn retry_after(answer: &Answer) -> Option<Duration> {
    answer.header(header::RETRY_AFTER)?.trim().parse().ok().map(Duration::from_secs)
}

#[derive(Deserialize)]
struct Errors {
    errors: Vec<Word>,
}

#[derive(Deserialize)]
struct Word {
    code: String,
    #[serde(default)]
    message: Option<String>,
}

/// The first code and message of an OCI error body.
async fn words(body: Incoming) -> Option<String> {
    let body = collect(body, WORDS_MAX).await.ok()?;
    let Errors { errors } = serde_json::from_slice(&body).ok()?;
    let Word { code, message } = errors.into_iter().next()?;
    let text = format!("{code} {}", message.unwrap_or_default());
    Some(text.chars().filter(|c| !c.is_control()).take(200).collect::<String>().trim_end().to_owned())
}

/// A whole body of at most so many bytes.
///
/// # Errors
/// [`OriginErrorKind::Protocol`] if there are more, [`OriginErrorKind::Unavailable`] if it breaks off.
pub(super) async fn collect(body: Incoming, most: usize) -> Result<Bytes, OriginError> {
    match Limited::new(body, most).collect().await {
        Ok(whole) => Ok(whole.to_bytes()),
        Err(error) if error.is::<http_body_util::LengthLimitError>() => {
            let message = format!("the upstream sent more than {most} bytes");
            Err(OriginError::new(OriginErrorKind::Protocol, message))
        }
        Err(error) => {
            Err(OriginError::new(OriginErrorKind::Unavailable, format!("the body broke off: {error}")))
        }
    }
}
