//! What stands before a storage account: it bounds what is asked of it, notices when it does not answer, and counts.
//!
//! One [`Guard`] an account, and nothing shared between two of them: whoever waits for one account holds up nobody who
//! asks another. A request passes `health` (a dark account is not asked), then `limit` (a place among those under way,
//! kept until its body ends), then `budget` (which says how many retries there may be, see [`Origin::retry`]).
//!
//! Probes are for a name that no registry writes, which an account has only to deny. So one object that cannot be read
//! makes no account dark, and none keeps it so.
//!
//! How a request counts is known at its end: a body that breaks counts as broken, one that its reader leaves counts as
//! answered, and a request that its caller gave up after [`SILENCE`] without a word as timed out.

use std::fmt;
use std::ops::Range;
use std::pin::Pin;
use std::sync::{Arc, Weak};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use dataproxy_cache::{ETag, ObjectName, Origin, OriginError, OriginErrorKind, OriginRead, Retry};
use dataproxy_router_api::{AccountName, Prefix};
use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use futures_util::stream::{BoxStream, Stream};
use tokio::time::{Instant, sleep, timeout};

use super::{Listing, SignedUrl, Store, copies};

mod budget;
mod health;
mod limit;
mod rate;
mod tell;

use budget::Budget;
pub use health::AccountState;
use health::{Health, is_answer, probe_wait};
use limit::{Limit, Place};
use rate::Rate;
use tell::Counts;
pub use tell::show_zeroes;

/// How long an account must have said nothing for a request that is given up to count as timed out. Less than the
/// shortest time that callers allow for an answer (1.2 s, where there are copies), or it would never be seen.
pub const SILENCE: Duration = Duration::from_secs(1);
/// How long a probe waits.
const PROBE_MAX: Duration = Duration::from_secs(5);
/// What every name that a registry writes has in it, after its root.
const LAID: &str = "docker/registry/v2";
/// A name that no registry writes, after a root.
pub(crate) const ABSENT: &str = "docker/registry/v2/dataproxy-reach";

/// What an account is asked at most, and what its owner says that it can give.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AccountBounds {
    /// Requests under way at once, bodies included; as far as the limit ever goes. Default 512.
    pub max_in_flight: usize,
    /// Bytes a second that the account gives to all who ask it, where that is stated.
    pub egress_limit: Option<u64>,
    /// Requests a second that it answers, where that is stated.
    pub request_limit: Option<u64>,
}

impl Default for AccountBounds {
    fn default() -> Self {
        Self { max_in_flight: 512, egress_limit: None, request_limit: None }
    }
}

impl Eq for AccountBounds {}

/// A storage account with its guard.
pub struct Guard {
    name: AccountName,
    store: Arc<dyn Store>,
    bounds: AccountBounds,
    health: Health,
    limit: Arc<Limit>,
    budget: Budget,
    requests: Rate,
    egress: Rate,
    counts: Counts,
    me: Weak<Self>,
}

impl fmt::Debug for Guard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Guard")
            .field("account", &self.name)
            .field("state", &self.state())
            .finish_non_exhaustive()
    }
}

impl Guard {
    /// Guards `store`, which is the account of this name.
    pub fn new(name: AccountName, store: Arc<dyn Store>, bounds: AccountBounds) -> Arc<Self> {
        Arc::new_cyclic(|me| Self {
            counts: Counts::of(&name),
            name,
            store,
            bounds,
            health: Health::new(),
            limit: Limit::new(bounds.max_in_flight),
            budget: Budget::new(),
            requests: Rate::new(),
            egress: Rate::new(),
            me: me.clone(),
        })
    }

    /// The account.
    pub fn name(&self) -> &AccountName {
        &self.name
    }

    /// What the account is like now.
    pub fn state(&self) -> AccountState {
        self.health.state()
    }

    /// How many requests may be under way now, and how many are.
    pub fn in_flight(&self) -> (usize, usize) {
        self.limit.now()
    }

    /// Lets a request through, or says why not.
    async fn begin(&self, object: &ObjectName) -> Result<Request, OriginError> {
        self.pass_if_alive()?;
        let Some(place) = self.limit.place().await else {
            self.counts.busy.increment(1);
            let (limit, _) = self.limit.now();
            let message = format!("account {}: all {limit} places are taken, and none came free", self.name);
            return Err(OriginError::new(OriginErrorKind::Throttled(None), message));
        };
        // It may have turned dark while this one waited.
        self.pass_if_alive()?;
        let Some(guard) = self.me.upgrade() else {
            return Err(OriginError::new(OriginErrorKind::Unavailable, "the node is shutting down"));
        };
        self.budget.sent();
        self.requests.add(1);
        Ok(Request {
            guard,
            object: object.clone(),
            _place: place,
            waiting: Some(Instant::now()),
            heard: false,
            over: false,
        })
    }

    fn pass_if_alive(&self) -> Result<(), OriginError> {
        let Some(last) = self.health.darkness() else { return Ok(()) };
        self.counts.dark.increment(1);
        let message = format!("account {} is dark and not asked; it last said: {last}", self.name);
        Err(OriginError::new(OriginErrorKind::Unavailable, message))
    }

    fn answered(&self) {
        if self.health.answered() {
            tracing::info!(account = %self.name, "the storage account answers again");
        }
    }

    fn failed(&self, object: &ObjectName, error: &OriginError, since: Instant) {
        if is_answer(error.kind) && !error.kind.is_throttled() {
            self.answered();
            self.limit.coped();
        }
        if error.kind.is_throttled() || error.kind == OriginErrorKind::Timeout {
            self.limit.overloaded();
        }
        if self.health.failed(object, error, since) {
            if self.state() == AccountState::Dark {
                self.tell_dark(error);
            }
            tokio::spawn(watch(self.me.clone(), absent_beside(object)));
        }
    }

    fn tell_dark(&self, error: &OriginError) {
        tracing::warn!(account = %self.name, %error, "the storage account does not answer; it is dark");
    }

    /// Asks the account past all bounds, for one name; what it failed with, if that is no answer.
    async fn probe(&self, name: &ObjectName, within: Duration) -> Result<(), OriginError> {
        self.requests.add(1);
        let asked = timeout(within, self.store.get(name, 0..1, None)).await;
        let outcome = asked.unwrap_or_else(|_| {
            let message = format!("a probe had no answer for {within:?}");
            Err(OriginError::new(OriginErrorKind::Timeout, message))
        });
        self.counts.ended(outcome.as_ref().map_or_else(|error| error.kind.as_str(), |_| "ok"));
        match outcome {
            Err(error) if !is_answer(error.kind) => Err(error),
            _ => Ok(()),
        }
    }
}

/// Asks an account that looks dark, and one that is dark until it answers, one request at a time. Ends with the guard.
async fn watch(guard: Weak<Guard>, name: ObjectName) {
    if let Some(guard) = guard.upgrade().filter(|guard| guard.state() != AccountState::Dark) {
        let Err(error) = guard.probe(&name, SILENCE).await else { return guard.answered() };
        if !guard.health.convict(&error) {
            return;
        }
        guard.tell_dark(&error);
    }
    for number in 0.. {
        sleep(probe_wait(number)).await;
        let Some(guard) = guard.upgrade() else { return };
        if guard.state() != AccountState::Dark {
            return;
        }
        if guard.probe(&name, PROBE_MAX).await.is_ok() {
            return guard.answered();
        }
    }
}

/// A name that no registry writes, where `object` lies.
fn absent_beside(object: &ObjectName) -> ObjectName {
    let name = object.as_str();
    let root = match (name.split_once(LAID), name.split_once('/')) {
        (Some((root, _)), _) => root.to_owned(),
        (None, Some((container, _))) => format!("{container}/"),
        (None, None) => format!("{name}/"),
    };
    ObjectName::new(format!("{root}{ABSENT}"))
}

impl Origin for Guard {
    fn get<'a>(
        &'a self,
        object: &'a ObjectName,
        range: Range<u64>,
        pin: Option<&'a ETag>,
    ) -> BoxFuture<'a, Result<OriginRead, OriginError>> {
        Box::pin(async move {
            // An account would be asked for a version that is not of its making.
            if pin.is_some_and(copies::is_version) {
                let message = "the version is of a placement that had copies";
                return Err(OriginError::new(OriginErrorKind::Changed, message));
            }
            let mut request = self.begin(object).await?;
            match self.store.get(object, range, pin).await {
                Ok(OriginRead { size, etag, range, body, lent }) => {
                    request.waiting = None;
                    let body = Watched { body, request }.boxed();
                    Ok(OriginRead { size, etag, range, body, lent })
                }
                Err(error) => {
                    request.failed(&error);
                    Err(error)
                }
            }
        })
    }

    fn retry(&self, error: &OriginError) -> Retry {
        // A retry at a dark account costs it nothing: the guard answers it.
        if self.health.darkness().is_some() {
            return Retry::Counted;
        }
        let allowed = self.budget.take(self.requests.within(budget::LIFE));
        let counter = if allowed { &self.counts.retried } else { &self.counts.not_retried };
        counter.increment(1);
        match allowed {
            true if error.kind.is_throttled() => Retry::Uncounted,
            true => Retry::Counted,
            false => {
                tracing::debug!(account = %self.name, %error, "not tried again yet: the account's retry budget is spent");
                Retry::Later
            }
        }
    }
}

impl Store for Guard {
    fn list<'a>(
        &'a self,
        prefix: &'a ObjectName,
        after: Option<&'a str>,
        limit: usize,
    ) -> BoxFuture<'a, Result<Listing, OriginError>> {
        Box::pin(async move {
            let mut request = self.begin(prefix).await?;
            let listing = self.store.list(prefix, after, limit).await;
            match &listing {
                Ok(_) => request.ended(),
                Err(error) => request.failed(error),
            }
            listing
        })
    }

    /// Fails while the account is dark: a client that is sent there would get nothing.
    fn sign<'a>(
        &'a self,
        object: &'a ObjectName,
        valid: Duration,
    ) -> BoxFuture<'a, Result<Option<SignedUrl>, OriginError>> {
        Box::pin(async move {
            self.pass_if_alive()?;
            self.store.sign(object, valid).await
        })
    }

    fn refuses(&self, prefix: &Prefix) -> Option<&'static str> {
        self.store.refuses(prefix)
    }
}

/// A request under way. Dropping it tells how it ended, if nothing else has.
struct Request {
    guard: Arc<Guard>,
    object: ObjectName,
    _place: Place,
    /// Since when the account owes a word.
    waiting: Option<Instant>,
    /// Whether any of the body has come.
    heard: bool,
    over: bool,
}

impl Request {
    fn received(&mut self, bytes: u64) {
        self.waiting = None;
        if !std::mem::replace(&mut self.heard, true) {
            self.guard.answered();
            self.guard.limit.coped();
        }
        self.guard.egress.add(bytes);
        self.guard.counts.bytes.increment(bytes);
    }

    fn ended(&mut self) {
        if !std::mem::replace(&mut self.over, true) {
            self.received(0);
            self.guard.counts.ended("ok");
        }
    }

    fn failed(&mut self, error: &OriginError) {
        if !std::mem::replace(&mut self.over, true) {
            self.guard.counts.ended(error.kind.as_str());
            let now = Instant::now();
            let is_silence = error.kind == OriginErrorKind::Timeout;
            let since = self.waiting.filter(|_| is_silence).unwrap_or(now);
            self.guard.failed(&self.object, error, since);
        }
    }
}

impl Drop for Request {
    fn drop(&mut self) {
        if self.over {
            return;
        }
        if self.waiting.is_some_and(|since| since.elapsed() >= SILENCE) {
            let message =
                format!("nothing came for {} ms, and the request was given up", SILENCE.as_millis());
            self.failed(&OriginError::new(OriginErrorKind::Timeout, message));
        } else {
            self.guard.counts.ended(if self.heard { "ok" } else { "abandoned" });
        }
    }
}

/// A body whose request is told what comes of it.
struct Watched {
    body: BoxStream<'static, Result<Bytes, OriginError>>,
    request: Request,
}

impl Stream for Watched {
    type Item = Result<Bytes, OriginError>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let polled = self.body.poll_next_unpin(context);
        let request = &mut self.request;
        match &polled {
            Poll::Pending => {
                request.waiting.get_or_insert_with(Instant::now);
            }
            Poll::Ready(Some(Ok(bytes))) => request.received(bytes.len() as u64),
            Poll::Ready(Some(Err(error))) => request.failed(error),
            Poll::Ready(None) => request.ended(),
        }
        polled
    }
}

#[cfg(test)]
mod tests;
