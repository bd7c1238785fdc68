//! Closed ranges at random places of a blob, as lazy pulls (stargz, nydus, overlaybd) read it while a container runs.
//!
//! Nothing of a range can be compared with the blob's digest. Checked are its status, its `Content-Range` and its length.

use super::Blob;
use super::body::{Body, Span};
use crate::kept::Kept;
use crate::outcome::{Failure, Outcome};
use crate::places::Places;
use crate::plan::Ranges;
use crate::request::{Method, Request};
use crate::session::Session;

/// Reads the ranges one after the other. The first failure ends them.
pub(crate) async fn ranges(
    session: &Session<'_>,
    blob: &Blob<'_>,
    ranges: Ranges,
    places: &Places,
) -> Result<Outcome, Failure> {
    let size = match blob.size {
        Some(size) => size,
        None => size(session, blob, places).await?,
    };
    if size == 0 {
        return Ok(Outcome::Ok);
    }
    for _ in 0..ranges.count {
        let (first, last) = places.next(size, ranges.size);
        let request = Request {
            accept: blob.accept,
            range: Some((first, Some(last))),
            rate: blob.rate,
            ..Request::new(Method::Get, &blob.path)
        };
        let mut body = Body::new(session.seen, Span::Part { first, last }, Some(size), None);
        let asked = session.ask(&request, &mut body).await;
        body.end(session, &blob.path, asked).map_err(|stopped| stopped.failure)?;
    }
    Ok(Outcome::Ok)
}

/// Without a manifest a HEAD tells the size, once for each blob and puller.
async fn size(session: &Session<'_>, blob: &Blob<'_>, places: &Places) -> Result<u64, Failure> {
    if let Some(size) = places.size(session.registry, &blob.path) {
        return Ok(size);
    }
    let mut kept = Kept::uncounted();
    session.ask(&Request::new(Method::Head, &blob.path), &mut kept).await?;
    let fail = |outcome, status, what: &str| session.failed(outcome, status, Method::Head, &blob.path, what);
    match (kept.status, kept.length) {
        (200, Some(size)) => {
            places.remember(session.registry, &blob.path, size);
            Ok(size)
        }
        (200, None) => {
            Err(fail(Outcome::Protocol, None, "it does not say how long it is, so no range can be chosen"))
        }
        (status, _) => Err(fail(Outcome::Status, Some(status), &kept.problem())),
    }
}
