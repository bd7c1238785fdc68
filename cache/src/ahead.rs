//! A fetch ahead of any read: a fill that nobody reads yet, one ranged read at a time, for as long as somebody holds it.
//!
//! Whoever reads the blob meanwhile joins that fill, which then fetches as for any reader.

use std::future::poll_fn;
use std::sync::Arc;

use crate::blob::Blob;
use crate::fill::{self, AheadMark, Attachment, Demand, Joined};
use crate::tiers::Tiers;
use crate::{BlobKey, Cache, CacheError, Source, Wanted};

/// What came of the wish to have a blob fetched ahead.
#[derive(Debug)]
pub enum FetchAhead {
    /// The disk tier has all of it.
    Held,
    /// A fill of it runs already.
    Running,
    /// It could not be kept: there is no disk tier, or that is full, in trouble, or too small.
    Unkept,
    /// It is being fetched.
    Begun(Ahead),
}

/// A blob that is being fetched ahead. Dropped, it is fetched no further than its readers want it.
#[derive(Debug)]
pub struct Ahead {
    size: u64,
    attachment: Attachment,
    _mark: AheadMark,
}

impl Ahead {
    /// The blob's size in bytes.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Waits until the fetch ends; whether the blob is whole and verified then. May be dropped and called again.
    ///
    /// # Errors
    /// [`CacheError`]: what a reader of it would have been told.
    pub async fn ended(&self) -> Result<bool, CacheError> {
        poll_fn(|context| self.attachment.poll_ended(context)).await
    }
}

/// A demand for nothing: what holds the fill is its mark.
fn nothing_of(blob: &Blob) -> Demand {
    Demand::nothing(blob.size())
}

impl Cache {
    /// Begins to fetch a whole blob that somebody is likely to read soon. Returns once its size is known. Dropping the
    /// future ends the fetch, unless somebody reads the blob.
    ///
    /// # Errors
    /// [`CacheError`]
    pub async fn fetch_ahead(&self, key: &BlobKey, source: &Source) -> Result<FetchAhead, CacheError> {
        let found = self.find(key).await;
        let tiers = self.tiers();
        if tiers.is_closing() {
            return Err(CacheError::Abandoned);
        }
        if tiers.disk.as_ref().is_none_or(|disk| disk.bypass().is_some()) {
            return Ok(FetchAhead::Unkept);
        }
        match found {
            Some(blob) if blob.is_complete() => Ok(FetchAhead::Held),
            Some(blob) if tiers.bypass(&blob).is_some() => Ok(FetchAhead::Unkept),
            Some(blob) => go_on(tiers, &blob, source),
            None => begin(tiers, key, source).await,
        }
    }
}

fn go_on(tiers: &Arc<Tiers>, blob: &Arc<Blob>, source: &Source) -> Result<FetchAhead, CacheError> {
    let (_, joined) = tiers.fills.attach(tiers, blob, nothing_of(blob))?;
    let Joined::New(fill, attachment) = joined else { return Ok(FetchAhead::Running) };
    let mark = fill.mark_ahead();
    fill::start(tiers, fill, source);
    Ok(FetchAhead::Begun(Ahead { size: blob.size(), attachment, _mark: mark }))
}

async fn begin(tiers: &Arc<Tiers>, key: &BlobKey, source: &Source) -> Result<FetchAhead, CacheError> {
    let Joined::New(fill, opener) = tiers.fills.enter(key, Wanted::Whole) else {
        return Ok(FetchAhead::Running);
    };
    let mark = fill.mark_ahead();
    fill::start(tiers, fill, source);
    let blob = opener.opened().await?;
    if opener.bypass().is_some() {
        return Ok(FetchAhead::Unkept);
    }
    // A small blob may have come already.
    match opener.attach(nothing_of(&blob)) {
        Some(attachment) => Ok(FetchAhead::Begun(Ahead { size: blob.size(), attachment, _mark: mark })),
        None => Ok(FetchAhead::Held),
    }
}
