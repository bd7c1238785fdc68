//! Ranged reads of an upstream's blobs and manifests, as fills ask for them.
//!
//! An object's name is its path below `/v2/`: `library/app/blobs/sha256:…`. A manifest is asked for whole, as no registry
//! serves parts of one. A blob is asked for by range. An upstream that sends all of a blob all the same is read from its
//! start and what comes before the range is thrown away, up to [`SKIP_MAX`]: beyond that a blob cannot be had from it.
//!
//! What a read is pinned to: the strong `ETag` and the host that gave it, else the digest in the object's name. Another
//! host has other ETags for the same content, so where a redirect leads elsewhere than the last time there is nothing to
//! compare, and the digest alone judges.

use std::ops::Range;
use std::time::Duration;

use bytes::Bytes;
use dataproxy_cache::{ETag, ObjectName, OriginError, OriginErrorKind, OriginRead};
use futures_util::stream::{self, BoxStream, Stream, StreamExt};
use http::uri::Authority;
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use http_body_util::BodyDataStream;
use tokio::time::timeout;

use super::Upstream;
use super::failure::{collect, failure};
use super::wire::{Answer, Ask};
use crate::manifest::MANIFEST_MAX;

/// Most that is thrown away to get to a range, in bytes.
pub(super) const SKIP_MAX: u64 = 64 << 20;
/// How long a host that an earlier read was led to has for an answer's head, before the upstream is asked again.
const LEAD_PATIENCE: Duration = Duration::from_millis(2500);
/// From here on a range's end is left open: servers read offsets as signed numbers.
const END_MAX: u64 = 1 << 62;

/// What every client in use understands, and anything else rather than nothing.
pub(super) const MANIFEST_TYPES: HeaderValue = HeaderValue::from_static(
    "application/vnd.oci.image.index.v1+json, application/vnd.oci.image.manifest.v1+json, \
     application/vnd.docker.distribution.manifest.list.v2+json, \
     application/vnd.docker.distribution.manifest.v2+json, */*",
);

type Pieces = BoxStream<'static, Result<Bytes, OriginError>>;

/// An object's name, taken apart.
struct Object<'o> {
    repository: &'o str,
    is_manifest: bool,
    digest: &'o str,
}

impl<'o> Object<'o> {
    fn of(name: &'o ObjectName) -> Option<Self> {
        let mut parts = name.as_str().rsplitn(3, '/');
        let (digest, kind, repository) = (parts.next()?, parts.next()?, parts.next()?);
        let is_manifest = match kind {
            "manifests" => true,
            "blobs" => false,
            _ => return None,
        };
        Some(Self { repository, is_manifest, digest })
    }
}

/// Reads `range` of `object`.
///
/// # Errors
/// [`OriginError`]
pub(super) async fn read(
    upstream: &Upstream,
    object: &ObjectName,
    range: Range<u64>,
    pin: Option<&ETag>,
) -> Result<OriginRead, OriginError> {
    let of = Object::of(object).ok_or_else(|| protocol("no such kind of object"))?;
    if of.is_manifest
        && let Some(bytes) = upstream.at_hand(object)
    {
        let version = pin.cloned().unwrap_or_else(|| version_of_digest(of.digest));
        return cut(bytes.len() as u64, version, range, once(bytes));
    }
    let mut headers = HeaderMap::new();
    if of.is_manifest {
        headers.insert(header::ACCEPT, MANIFEST_TYPES);
    } else {
        headers.insert(header::RANGE, range_header(&range)?);
    }
    let answer = answer(
        upstream,
        object,
        Ask {
            method: Method::GET,
            path: format!("/v2/{}", object.as_str()),
            repository: of.repository.to_owned(),
            kind: if of.is_manifest { "manifest" } else { "blob" },
            headers,
            pin: pin.and_then(host_and_etag),
        },
    )
    .await?;
    let version = version(&answer, of.digest, pin)?;
    match answer.status() {
        StatusCode::PARTIAL_CONTENT => {
            is_identity(&answer)?;
            part(answer, version)
        }
        StatusCode::OK => {
            is_identity(&answer)?;
            whole(answer, version, range).await
        }
        StatusCode::RANGE_NOT_SATISFIABLE => {
            let size = answer.header(header::CONTENT_RANGE).and_then(unsatisfied);
            match size {
                Some(0) if range.start == 0 => cut(0, version, range, once(Bytes::new())),
                Some(size) => Err(OriginError::new(OriginErrorKind::RangeInvalid(size), "416")),
                None => Err(protocol("the upstream answered 416 without a size")),
            }
        }
        _ => Err(failure(answer).await),
    }
}

/// The answer of where the last read of the object was led to, if that still serves it; else the upstream's own. So a
/// registry is not asked again for each range.
async fn answer(upstream: &Upstream, object: &ObjectName, ask: Ask) -> Result<Answer, OriginError> {
    if let Some(lead) = upstream.leads.get(object) {
        let unproved = Unproved { upstream, object, is_good: false };
        let answer = timeout(LEAD_PATIENCE, upstream.wire.follow_lead(&ask, lead)).await;
        // What was signed may be over, or its host away or silent: the upstream knows more.
        if let Ok(Ok(answer)) = answer
            && serves(answer.status())
        {
            unproved.keep();
            return Ok(answer);
        }
    }
    let answer = upstream.ask(ask).await?;
    if serves(answer.status()) {
        upstream.remember(object, &answer);
    }
    Ok(answer)
}

/// A lead that is tried. It is forgotten unless it turns out to be good, also if nobody waits for that any longer:
/// whoever asks next would be as unlucky.
struct Unproved<'r> {
    upstream: &'r Upstream,
    object: &'r ObjectName,
    is_good: bool,
}

impl Unproved<'_> {
    fn keep(mut self) {
        self.is_good = true;
    }
}

impl Drop for Unproved<'_> {
    fn drop(&mut self) {
        if !self.is_good {
            self.upstream.leads.invalidate(self.object);
        }
    }
}

fn serves(status: StatusCode) -> bool {
    matches!(status, StatusCode::OK | StatusCode::PARTIAL_CONTENT | StatusCode::RANGE_NOT_SATISFIABLE)
}

fn protocol(message: &str) -> OriginError {
    OriginError::new(OriginErrorKind::Protocol, message)
}

fn range_header(range: &Range<u64>) -> Result<HeaderValue, OriginError> {
    let (start, last) = (range.start, range.end.saturating_sub(1));
    let text = if range.end > END_MAX { format!("bytes={start}-") } else { format!("bytes={start}-{last}") };
    HeaderValue::try_from(text).map_err(|_| protocol("a range that is no header"))
}

/// Encoded content is not what the digest is of.
fn is_identity(answer: &Answer) -> Result<(), OriginError> {
    match answer.header(header::CONTENT_ENCODING) {
        None | Some("" | "identity") => Ok(()),
        Some(_) => Err(protocol("the upstream encodes content that was asked for as it is")),
    }
}

fn version_of_digest(digest: &str) -> ETag {
    ETag::new(digest)
}

fn host_and_etag(pin: &ETag) -> Option<(String, HeaderValue)> {
    let (host, etag) = pin.as_str().split_once(' ')?;
    Some((host.to_owned(), HeaderValue::from_str(etag).ok()?))
}

/// What the answer is a version of, and whether that is the pinned one.
fn version(answer: &Answer, digest: &str, pin: Option<&ETag>) -> Result<ETag, OriginError> {
    let etag = answer.header(header::ETAG).filter(|etag| etag.starts_with('"') && etag.len() > 2);
    let found = etag.map(|etag| ETag::new(format!("{} {etag}", answer.from)));
    let Some(pin) = pin else { return Ok(found.unwrap_or_else(|| version_of_digest(digest))) };
    let is_comparable = |from: &Authority| host_and_etag(pin).is_some_and(|(host, _)| *from == host.as_str());
    match found {
        Some(found) if found != *pin && is_comparable(&answer.from) => {
            Err(OriginError::new(OriginErrorKind::Changed, "the upstream sent another version"))
        }
        _ => Ok(pin.clone()),
    }
}

/// `bytes */5000`
pub(super) fn unsatisfied(text: &str) -> Option<u64> {
    text.trim().strip_prefix("bytes")?.trim_start().strip_prefix("*/")?.parse().ok()
}

/// `bytes 0-499/5000`
pub(super) fn content_range(text: &str) -> Option<(Range<u64>, u64)> {
    let (range, size) = text.trim().strip_prefix("bytes")?.trim_start().split_once('/')?;
    let (first, last) = range.split_once('-')?;
    let (first, last, size): (u64, u64, u64) = (first.parse().ok()?, last.parse().ok()?, size.parse().ok()?);
    (first <= last && last < size).then_some((first..last + 1, size))
}

/// A 206, as it says; the caller compares it with what was asked.
fn part(answer: Answer, etag: ETag) -> Result<OriginRead, OriginError> {
    let told = answer.header(header::CONTENT_RANGE).and_then(content_range);
    let (range, size) =
        told.ok_or_else(|| protocol("the upstream answered 206 without a range and a size"))?;
    Ok(OriginRead { size, etag, range, body: pieces(answer).boxed(), lent: false })
}

/// A 200: everything, of which the range is taken.
async fn whole(answer: Answer, etag: ETag, range: Range<u64>) -> Result<OriginRead, OriginError> {
    let length = answer.header(header::CONTENT_LENGTH).and_then(|length| length.trim().parse().ok());
    match length {
        Some(size) => cut(size, etag, range, pieces(answer).boxed()),
        // Without a length the size is known when all is here, which is for small content alone.
        None => {
            let bytes = collect(answer.response.into_body(), MANIFEST_MAX as usize).await?;
            cut(bytes.len() as u64, etag, range, once(bytes))
        }
    }
}

fn cut(size: u64, etag: ETag, range: Range<u64>, body: Pieces) -> Result<OriginRead, OriginError> {
    if range.start >= size && !(size == 0 && range.start == 0) {
        return Err(OriginError::new(OriginErrorKind::RangeInvalid(size), "the range starts past the end"));
    }
    if range.start > SKIP_MAX {
        tracing::warn!(?range, "an upstream serves no ranges; a blob of this size cannot be had from it");
        let message = format!("the upstream serves no ranges, and the range starts past {SKIP_MAX} bytes");
        return Err(OriginError::new(OriginErrorKind::Protocol, message));
    }
    let range = range.start..range.end.min(size);
    let body = window(body, range.clone()).boxed();
    Ok(OriginRead { size, etag, range, body, lent: false })
}

fn once(bytes: Bytes) -> Pieces {
    stream::iter([Ok(bytes)]).boxed()
}

fn pieces(answer: Answer) -> impl Stream<Item = Result<Bytes, OriginError>> + Send + 'static {
    BodyDataStream::new(answer.response.into_body()).map(|piece| {
        piece.map_err(|error| {
            OriginError::new(OriginErrorKind::Unavailable, format!("the body broke off: {error}"))
        })
    })
}

/// The bytes of `range` of a body that begins at 0; what follows is not waited for.
fn window(
    body: Pieces,
    range: Range<u64>,
) -> impl Stream<Item = Result<Bytes, OriginError>> + Send + 'static {
    let start = (Some(body), range.start, range.end.saturating_sub(range.start));
    stream::unfold(start, |(body, mut skip, left)| async move {
        let mut body = body.filter(|_| left > 0)?;
        loop {
            let mut piece = match body.next().await? {
                Ok(piece) => piece,
                Err(error) => return Some((Err(error), (None, 0, 0))),
            };
            let here = skip.min(piece.len() as u64);
            skip -= here;
            let mut kept = piece.split_off(here as usize);
            if !kept.is_empty() {
                kept.truncate(usize::try_from(left).unwrap_or(usize::MAX));
                let left = left - kept.len() as u64;
                return Some((Ok(kept), (Some(body), 0, left)));
            }
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_range_with_a_size_is_one() {
        assert_eq!(content_range("bytes 0-499/5000"), Some((0..500, 5000)));
        assert_eq!(content_range("bytes 4999-4999/5000"), Some((4999..5000, 5000)));
        for bad in
            ["", "bytes 0-499/*", "bytes 500-499/5000", "bytes 0-5000/5000", "items 0-1/2", "bytes */5"]
        {
            assert_eq!(content_range(bad), None, "{bad}");
        }
        assert_eq!(unsatisfied("bytes */5000"), Some(5000));
        assert_eq!(unsatisfied("bytes 0-1/2"), None);
    }

    #[test]
    fn a_range_to_the_end_of_everything_is_left_open() {
        assert_eq!(range_header(&(0..10)).expect("valid"), "bytes=0-9");
        assert_eq!(range_header(&(7..u64::MAX)).expect("valid"), "bytes=7-");
    }

    #[tokio::test]
    async fn a_window_is_exact_however_the_body_is_cut() {
        let all: Vec<u8> = (0..100).collect();
        for size in [1, 7, 100] {
            for range in [0..100, 0..1, 13..14, 13..60, 99..100] {
                let pieces: Vec<_> =
                    all.chunks(size).map(|piece| Ok(Bytes::copy_from_slice(piece))).collect();
                let found: Vec<_> = window(stream::iter(pieces).boxed(), range.clone()).collect().await;
                let found: Vec<u8> = found.into_iter().flat_map(|piece| piece.expect("no error")).collect();
                assert_eq!(found, all[range.start as usize..range.end as usize], "{range:?} in {size}");
            }
        }
    }
}
