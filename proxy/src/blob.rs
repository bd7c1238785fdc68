//! Blobs: whole or a part, never encoded, never in another order.

use dataproxy_cache::{Cache, CacheError, Digest, Wanted};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};

use crate::account::Account;
use crate::content::OwnedBlob;
use crate::precondition::{digest_in, etag, not_modified, range_applies};
use crate::range::{Ranged, covers_empty};
use crate::refusal::Refusal;
use crate::request::Verb;
use crate::respond::{Answer, CONTENT_DIGEST, IMMUTABLE, Payload};

/// Says that a range is the rest of a response that began as a whole at another node: its end waits for the digest
/// as the end of a whole does, or a front door would make a whole of what a node had cut short as damaged.
pub(crate) const REST_OF_WHOLE: HeaderName = HeaderName::from_static("dataproxy-rest-of-whole");

/// Answers a GET or HEAD.
///
/// HEAD asks for the size alone and starts no fill; RFC 9110, 14.2 gives `Range` a meaning in GET only.
///
/// # Errors
/// [`Refusal`]
pub(crate) async fn answer(
    cache: &Cache,
    owned: &OwnedBlob,
    verb: Verb,
    headers: &HeaderMap,
    account: &mut Account,
) -> Result<Answer, Refusal> {
    let etag = etag(&owned.key().digest);
    let answer = match content_of(cache, owned, verb, headers, &etag, account).await {
        Ok(answer) => answer.with(header::CACHE_CONTROL, IMMUTABLE),
        // Refused for how it was asked for: what there is to ask for is said all the same.
        Err(refusal @ (Refusal::PreconditionFailed | Refusal::RangeNotSatisfiable { .. })) => {
            account.refused(&refusal);
            Answer::from(&refusal)
        }
        Err(refusal) => return Err(refusal),
    };
    Ok(answer
        .with(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"))
        .with_text(CONTENT_DIGEST, digest_in(&etag))
        .with_text(header::ETAG, etag))
}

fn ranged(headers: &HeaderMap) -> Ranged {
    match Ranged::of(headers) {
        Ranged::Part(Wanted::From(first) | Wanted::Closed { first, .. })
            if headers.contains_key(REST_OF_WHOLE) =>
        {
            Ranged::Part(Wanted::RestOfWhole(first))
        }
        ranged => ranged,
    }
}

async fn content_of(
    cache: &Cache,
    owned: &OwnedBlob,
    verb: Verb,
    headers: &HeaderMap,
    etag: &str,
    account: &mut Account,
) -> Result<Answer, Refusal> {
    if not_modified(headers, etag)? {
        return Ok(Answer::new(StatusCode::NOT_MODIFIED, Payload::None));
    }
    let answer = match verb {
        Verb::Head => Answer::new(StatusCode::OK, Payload::Withheld(Box::pin(size(cache, owned)).await?)),
        Verb::Get if range_applies(headers, etag) => {
            account.ranged(headers);
            part(cache, owned, ranged(headers)).await?
        }
        Verb::Get => read(cache, owned, Wanted::Whole).await?,
    };
    Ok(answer.with(header::CONTENT_TYPE, HeaderValue::from_static("application/octet-stream")))
}

async fn part(cache: &Cache, owned: &OwnedBlob, ranged: Ranged) -> Result<Answer, Refusal> {
    match ranged {
        Ranged::Whole => read(cache, owned, Wanted::Whole).await,
        Ranged::Unsatisfiable => {
            Err(Refusal::RangeNotSatisfiable { size: Box::pin(size(cache, owned)).await? })
        }
        Ranged::Part(wanted) => match read(cache, owned, wanted).await {
            Err(Refusal::RangeNotSatisfiable { size: 0 }) if covers_empty(wanted) => {
                read(cache, owned, Wanted::Whole).await
            }
            answer => answer,
        },
    }
}

async fn read(cache: &Cache, owned: &OwnedBlob, wanted: Wanted) -> Result<Answer, Refusal> {
    let reader =
        cache.read(owned.key(), owned.source(), wanted).await.map_err(|error| refusal(owned, &error))?;
    let (size, range) = (present(owned, reader.size())?, reader.range());
    let payload = Payload::Blob(Box::new(reader));
    Ok(match wanted {
        Wanted::Whole => Answer::new(StatusCode::OK, payload),
        _ => Answer::new(StatusCode::PARTIAL_CONTENT, payload).with_text(
            header::CONTENT_RANGE,
            format!("bytes {}-{}/{size}", range.start, range.end.saturating_sub(1)),
        ),
    })
}

async fn size(cache: &Cache, owned: &OwnedBlob) -> Result<u64, Refusal> {
    let size = cache.size(owned.key(), owned.source()).await.map_err(|error| refusal(owned, &error))?;
    present(owned, size)
}

/// Content of zero bytes under the digest of something else is content that has gone.
fn present(owned: &OwnedBlob, size: u64) -> Result<u64, Refusal> {
    let digest = &owned.key().digest;
    if size == 0 && *digest != Digest::of(digest.algorithm(), b"") {
        Err(Refusal::BlobUnknown)
    } else {
        Ok(size)
    }
}

fn refusal(owned: &OwnedBlob, error: &CacheError) -> Refusal {
    if !matches!(error, CacheError::RangeNotSatisfiable { .. }) {
        tracing::warn!(key = %owned.key(), %error, "a blob cannot be read");
    }
    match (error, Refusal::of_cache(error, Refusal::BlobUnknown)) {
        // A range of content that has gone is not a wrong range.
        (CacheError::RangeNotSatisfiable { size: 0 }, refusal) => present(owned, 0).err().unwrap_or(refusal),
        (_, refusal) => refusal,
    }
}
