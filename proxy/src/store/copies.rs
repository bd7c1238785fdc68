//! A registry's own account and the accounts that hold copies of its content, as one [`Store`].
//!
//! The first is asked first. While it does not answer (it is dark, throttled, silent or refuses this node) the copies
//! are asked in their order. That is no retry of the account that failed: its budget is not asked, and what a copy can
//! take is for the copy's own guard to say. Only asking all of them again is a retry.
//!
//! **Absence** is only ever the first account's word. A copy may lag behind, so what it does not have is an outage here,
//! and so is a listing of nothing. What a copy *has* counts: a link that it holds is a link that was pushed.
//!
//! **Versions.** Each answer's version names its account and the object's size, and a pinned read goes to that account
//! alone: what one account says of its versions means nothing at another. But content lies under its digest, which is
//! checked before its end is delivered. So when the account of a pinned read of *content* does not answer, the read goes
//! on at a copy that has an object of the same size, still under the version that it began with. Within one read a
//! copy's own version is pinned as well.

use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use dataproxy_cache::{ETag, ObjectName, Origin, OriginError, OriginErrorKind, OriginRead, Retry};
use dataproxy_router_api::{AccountName, Location};
use futures_util::future::BoxFuture;
use metrics::counter;
use tokio::time::timeout;

use super::{Listing, SignedUrl, Store};
use crate::layout::{CONTENT, Layout};

/// How long an account may be silent before a copy is asked: longer than [`SILENCE`](super::guard::SILENCE), so that it
/// counts, and less than the shortest patience of a link, so that a copy has time for its answer.
pub(crate) const PATIENCE: Duration = Duration::from_millis(1200);
/// Between the parts of a version: account, size, the account's own version.
const SEPARATOR: char = '!';

/// One account of a placement.
#[derive(Clone, Debug)]
struct Holder {
    account: AccountName,
    /// What names in this account begin with.
    root: String,
    store: Arc<dyn Store>,
}

/// A placement's accounts. One for each pull: it remembers which versions of the pull's objects it has seen.
#[derive(Debug)]
pub struct Copies {
    /// The root of the names that callers use.
    root: String,
    /// Those that this node can read, in the order in which they are asked.
    holders: Vec<Holder>,
    /// Whether the first of them is the placement's own, whose word on absence counts.
    has_own: bool,
    /// The one that the last outage, or the last answer, is of.
    last: AtomicUsize,
    seen: Mutex<Vec<(usize, ObjectName, ETag)>>,
}

impl Copies {
    /// The accounts of a placement that this node can read, each with its place; `root` is that of the placement's
    /// own place, and `has_own` whether the first of them is that.
    pub fn new(own: &Location, readable: Vec<(Location, Arc<dyn Store>)>, has_own: bool) -> Self {
        let root = |place: &Location| Layout::new(&place.container).below_prefix(&place.prefix).root();
        let holder = |(place, store): (Location, Arc<dyn Store>)| Holder {
            root: root(&place),
            account: place.account,
            store,
        };
        Self {
            root: root(own),
            holders: readable.into_iter().map(holder).collect(),
            has_own,
            last: AtomicUsize::new(0),
            seen: Mutex::default(),
        }
    }

    fn is_own(&self, at: usize) -> bool {
        self.has_own && at == 0
    }

    /// The holders with their numbers, `first` before the others, and whether more come after each.
    fn in_order(&self, first: usize) -> impl Iterator<Item = (usize, &Holder, bool)> {
        let count = self.holders.len();
        let numbers = std::iter::once(first).chain((0..count).filter(move |at| *at != first));
        let holders = numbers.filter_map(|at| Some((at, self.holders.get(at)?)));
        holders.enumerate().map(move |(position, (at, holder))| (at, holder, position + 1 < count))
    }

    /// Asks one holder; one that others stand behind has [`PATIENCE`] to begin its answer.
    async fn ask<T>(
        &self,
        has_more: bool,
        asked: impl Future<Output = Result<T, OriginError>>,
    ) -> Result<T, OriginError> {
        if !has_more {
            return asked.await;
        }
        timeout(PATIENCE, asked).await.unwrap_or_else(|_| {
            let message = format!("no answer for {} ms, and there are copies", PATIENCE.as_millis());
            Err(OriginError::new(OriginErrorKind::Timeout, message))
        })
    }

    fn seen(&self, at: usize, object: &ObjectName) -> Option<ETag> {
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.iter().find(|(holder, name, _)| *holder == at && name == object).map(|(_, _, etag)| etag.clone())
    }

    /// Takes note of who answered, and with which version.
    fn answered(&self, at: usize, asked_first: usize, object: &ObjectName, etag: &ETag) {
        self.last.store(at, Relaxed);
        self.went_to(at, asked_first);
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.retain(|(holder, name, _)| *holder != at || name != object);
        seen.push((at, object.clone(), etag.clone()));
    }

    fn went_to(&self, at: usize, asked_first: usize) {
        if at == asked_first {
            return;
        }
        if let (Some(from), Some(to)) = (self.holders.get(asked_first), self.holders.get(at)) {
            let (from, to) = (from.account.to_string(), to.account.to_string());
            counter!("dataproxy_account_failovers_total", "account" => from, "to" => to).increment(1);
        }
    }

    /// The holder, the size and the account's own version that a version names. One that names none is of a time
    /// before there were copies.
    fn parse(&self, pin: &ETag) -> Option<(usize, u64, ETag)> {
        let (account, size, etag) = parts(pin)?;
        let at = self.holders.iter().position(|holder| holder.account.as_str() == account)?;
        Some((at, size, ETag::new(etag)))
    }

    /// Takes note of an outage; the first of one read is what its caller hears of, and whose budget a retry is of.
    fn failed(&self, at: usize, error: OriginError, outage: &mut Option<OriginError>) {
        if outage.is_none() {
            self.last.store(at, Relaxed);
            *outage = Some(error);
        }
    }

    /// Whether an object has its digest for a name, so that its bytes are the same wherever they are.
    fn is_content(&self, object: &ObjectName) -> bool {
        object.as_str().strip_prefix(&self.root).is_some_and(|rest| rest.starts_with(CONTENT))
    }

    async fn open(&self, object: &ObjectName, range: Range<u64>) -> Result<OriginRead, OriginError> {
        let mut outage = None;
        for (at, holder, has_more) in self.in_order(0) {
            let name = holder.name(&self.root, object);
            match self.ask(has_more, holder.store.get(&name, range.clone(), None)).await {
                Ok(mut read) => {
                    self.answered(at, 0, object, &read.etag);
                    read.etag = holder.version(&read);
                    return Ok(read);
                }
                Err(error) if error.kind == OriginErrorKind::NotFound && !self.is_own(at) => {}
                Err(error) if is_outage(error.kind) => self.failed(at, error, &mut outage),
                Err(error) => {
                    self.last.store(at, Relaxed);
                    return Err(error);
                }
            }
        }
        Err(outage.unwrap_or_else(cannot_be_known))
    }

    async fn go_on(
        &self,
        object: &ObjectName,
        range: Range<u64>,
        pin: &ETag,
    ) -> Result<OriginRead, OriginError> {
        let Some((first, size, etag)) = self.parse(pin) else {
            let message = "the version is of no account of the placement";
            return Err(OriginError::new(OriginErrorKind::Changed, message));
        };
        let mut outage = None;
        for (at, holder, has_more) in self.in_order(first) {
            let name = holder.name(&self.root, object);
            let known = if at == first { Some(etag.clone()) } else { self.seen(at, object) };
            match self.ask(has_more, holder.store.get(&name, range.clone(), known.as_ref())).await {
                Ok(read) if at != first && size != read.size => {
                    let account = holder.account.as_str();
                    tracing::warn!(
                        account,
                        ?object,
                        size = read.size,
                        "a copy has another size and is not used"
                    );
                }
                Ok(mut read) => {
                    self.answered(at, first, object, &read.etag);
                    read.etag = pin.clone();
                    return Ok(read);
                }
                Err(error) if is_outage(error.kind) && self.is_content(object) => {
                    self.failed(at, error, &mut outage);
                }
                Err(error) if at == first => {
                    self.last.store(at, Relaxed);
                    return Err(error);
                }
                // What a copy says of its own versions, or that it lacks the object, means nothing for this read.
                Err(_) => {}
            }
        }
        Err(outage.unwrap_or_else(cannot_be_known))
    }
}

impl Holder {
    /// The name here of an object that is known under another root.
    fn name(&self, root: &str, object: &ObjectName) -> ObjectName {
        match object.as_str().strip_prefix(root) {
            Some(rest) if self.root != root => ObjectName::new(format!("{}{rest}", self.root)),
            _ => object.clone(),
        }
    }

    fn version(&self, read: &OriginRead) -> ETag {
        let (account, size, etag) = (&self.account, read.size, read.etag.as_str());
        ETag::new(format!("{account}{SEPARATOR}{size}{SEPARATOR}{etag}"))
    }
}

/// What a version of a placement with copies says: account, size, the account's own version.
fn parts(version: &ETag) -> Option<(&str, u64, &str)> {
    let mut parts = version.as_str().splitn(3, SEPARATOR);
    let (account, size, etag) = (parts.next()?, parts.next()?, parts.next()?);
    Some((account, size.parse().ok()?, etag))
}

/// Whether a version is one of a placement with copies, and so no account's own.
pub(super) fn is_version(version: &ETag) -> bool {
    parts(version).is_some_and(|(account, ..)| account.parse::<AccountName>().is_ok())
}

fn is_outage(kind: OriginErrorKind) -> bool {
    matches!(
        kind,
        OriginErrorKind::Unavailable
            | OriginErrorKind::Timeout
            | OriginErrorKind::Throttled(_)
            | OriginErrorKind::Denied
    )
}

fn cannot_be_known() -> OriginError {
    let message =
        "only a copy could be asked and it has no such object; the placement's own account may have it";
    OriginError::new(OriginErrorKind::Unavailable, message)
}

impl Origin for Copies {
    fn get<'a>(
        &'a self,
        object: &'a ObjectName,
        range: Range<u64>,
        pin: Option<&'a ETag>,
    ) -> BoxFuture<'a, Result<OriginRead, OriginError>> {
        match pin {
            Some(pin) => Box::pin(self.go_on(object, range, pin)),
            None => Box::pin(self.open(object, range)),
        }
    }

    /// Out of the budget of the account whose outage the error is.
    fn retry(&self, error: &OriginError) -> Retry {
        let last = self.holders.get(self.last.load(Relaxed));
        last.map_or(Retry::Counted, |holder| holder.store.retry(error))
    }
}

impl Store for Copies {
    fn list<'a>(
        &'a self,
        prefix: &'a ObjectName,
        after: Option<&'a str>,
        limit: usize,
    ) -> BoxFuture<'a, Result<Listing, OriginError>> {
        Box::pin(async move {
            let mut outage = None;
            for (at, holder, has_more) in self.in_order(0) {
                let name = holder.name(&self.root, prefix);
                match self.ask(has_more, holder.store.list(&name, after, limit)).await {
                    Ok(listing) if self.is_own(at) || !listing.folders.is_empty() => {
                        self.went_to(at, 0);
                        return Ok(listing);
                    }
                    Ok(_) => {}
                    Err(error) if error.kind == OriginErrorKind::NotFound && !self.is_own(at) => {}
                    Err(error) if is_outage(error.kind) => self.failed(at, error, &mut outage),
                    Err(error) => {
                        self.last.store(at, Relaxed);
                        return Err(error);
                    }
                }
            }
            Err(outage.unwrap_or_else(cannot_be_known))
        })
    }

    /// A URL of the placement's own account, which alone is sure to have the object.
    fn sign<'a>(
        &'a self,
        object: &'a ObjectName,
        valid: Duration,
    ) -> BoxFuture<'a, Result<Option<SignedUrl>, OriginError>> {
        match self.holders.first().filter(|_| self.has_own) {
            Some(own) => own.store.sign(object, valid),
            None => Box::pin(std::future::ready(Ok(None))),
        }
    }
}

#[cfg(test)]
mod tests;
