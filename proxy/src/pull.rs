//! The conductor: one pull, from the parsed request to the body, in the only order that the types allow.
//!
//! | step | file | takes → gives | refuses with |
//! |---|---|---|---|
//! | parse | `request.rs` | HTTP → `Request` | 400, 404, 405, 413, 414 |
//! | identify | `identify.rs` | `Request` + bindings → `Identified` | 404 |
//! | permit | `permit.rs`, `redirect.rs` (signed URLs) | `Identified` → `Permit` | 403 |
//! | resolve | `resolve.rs` | `Permit` → `ResolvedStamp` | 503; at another stamp than the home, `late.rs` forwards |
//! | ownership | `content.rs` | `ResolvedStamp` + digest → `OwnedBlob` | 404, 502, 503, 504 |
//! | redirect | `redirect.rs` | `OwnedBlob` → 307, where blobs are not streamed | never |
//! | cache | `blob.rs`, `manifest.rs` | `OwnedBlob` → `Answer` | 404, 412, 416, 502, 503, 504 |
//! | stream | `stream.rs` | `Answer` → body | cuts the connection |
//! | account | `account.rs` | everything → one record, on drop | never |

use std::sync::Arc;
use std::time::Duration;

use dataproxy_cache::{Cache, Digest};
use dataproxy_cpu::carried;
use dataproxy_router_api::{Delivery, NodeName, StampName};
use futures_util::future::BoxFuture;
use http::{HeaderMap, Response, StatusCode, header, request};
use tokio::time::{Instant, timeout};

use crate::account::{Account, Observer};
use crate::bindings::Bindings;
use crate::body::Body;
use crate::content::{Content, Freshness, OwnedBlob};
use crate::identify::{Identified, Tenancy, identify};
use crate::late::{Arrival, Late};
use crate::manifest::Manifests;
use crate::name::Repository;
use crate::paging::Asked;
use crate::permit::{self, Caller};
use crate::prefetch::{Ahead, Prefetch};
use crate::process::now_seconds;
use crate::redirect::{Redirects, Subject};
use crate::referrers::{Referrers, Wanted};
use crate::refusal::Refusal;
use crate::request::{Request, Target, Verb};
use crate::resolve::{ResolvedStamp, Stores, is_late, resolve};
use crate::respond::{Answer, Manner};
use crate::stamp::StampCache;
use crate::stream::Taker;
use crate::tags::Tags;
use crate::{blob, forward, purge, stream, via};

/// Longest time to an answer's headers: every small read of storage that it takes fits in. A front door waits longer
/// for a node, so that it is the node that says what is slow, and clients (30 s) wait longer than both.
pub const ANSWER_MAX: Duration = Duration::from_secs(12);

/// What a [`Puller`] is made of.
pub struct PullerParts {
    /// The bindings, as they are pushed.
    pub bindings: Arc<Bindings>,
    /// The tiers and the fills.
    pub cache: Cache,
    /// The storage accounts that this node can read.
    pub stores: Stores,
    /// How registries are told apart.
    pub tenancy: Tenancy,
    /// This node's stamp; `None` if it belongs to none.
    pub stamp: Option<StampName>,
    /// This node's name.
    pub node: NodeName,
    /// How old an answer may be.
    pub freshness: Freshness,
    /// Which blobs are answered by a redirect.
    pub redirects: Redirects,
    /// The other nodes of the stamp, if what they have is asked for before storage.
    pub stamp_cache: Option<Arc<StampCache>>,
    /// What is done about registries whose home is another stamp.
    pub late: Late,
    /// Which layers are fetched ahead of their clients; `None` if none are.
    pub ahead: Option<Ahead>,
    /// Who sees every record, besides the log and the metrics.
    pub observer: Option<Observer>,
}

/// Serves pulls.
pub struct Puller {
    bindings: Arc<Bindings>,
    cache: Cache,
    stores: Stores,
    tenancy: Tenancy,
    stamp: Option<StampName>,
    node: NodeName,
    content: Content,
    manifests: Manifests,
    referrers: Referrers,
    tags: Tags,
    redirects: Redirects,
    stamp_cache: Option<Arc<StampCache>>,
    late: Late,
    prefetch: Option<Arc<Prefetch>>,
    observer: Option<Observer>,
}

impl Puller {
    /// A puller of these parts. Asks nothing of anybody yet.
    pub fn new(parts: PullerParts) -> Self {
        let PullerParts { bindings, cache, stores, tenancy, stamp, node, freshness, .. } = parts;
        let (redirects, stamp_cache) = (parts.redirects, parts.stamp_cache);
        let (late, observer) = (parts.late, parts.observer);
        let prefetch = parts.ahead.map(|ahead| Arc::new(Prefetch::new(cache.clone(), ahead)));
        let (content, manifests) = (Content::new(freshness), Manifests::new(cache.clone()));
        let (referrers, tags) = (Referrers::new(), Tags::new(freshness));
        Self {
            bindings,
            cache,
            stores,
            tenancy,
            stamp,
            node,
            content,
            manifests,
            referrers,
            tags,
            redirects,
            stamp_cache,
            late,
            prefetch,
            observer,
        }
    }

    /// Forgets what it remembers of what a purge names; the cache is not touched.
    pub(crate) fn forget(&self, subject: &purge::Subject) {
        self.content.forget(subject);
        self.tags.forget(subject);
        self.referrers.forget(subject);
    }

    /// Serves one request. The peer is taken from the request's [`Peer`](crate::peer::Peer) extension.
    ///
    /// Every request gets an answer. Dropping the future or the response's body ends the pull without harm to
    /// others, and is accounted as aborted.
    pub async fn serve<B: http_body::Body>(self: Arc<Self>, request: http::Request<B>) -> Response<Body> {
        let (parts, content) = request.into_parts();
        let has_content = !content.is_end_stream();
        drop(content);
        let mut account = Account::open(&parts, self.node.clone(), self.observer.clone());
        let (mut arrival, began) = (None, Instant::now());
        let pulled = timeout(ANSWER_MAX, self.pull(&parts, has_content, &mut account, &mut arrival)).await;
        let pulled = pulled.unwrap_or(Err(Refusal::StorageTimeout));
        match arrival {
            None => respond(pulled, &Manner::of(&parts, has_content), Taker::of(&parts), account),
            // In a box: most registries are at home.
            Some(arrival) => {
                Box::pin(self.arrived(pulled, arrival, (parts, began), has_content, account)).await
            }
        }
    }

    /// The response to a pull of a registry whose home is another stamp.
    async fn arrived(
        &self,
        pulled: Result<Answer, Refusal>,
        arrival: Box<Arrival>,
        (parts, began): (request::Parts, Instant),
        has_content: bool,
        mut account: Account,
    ) -> Response<Body> {
        let manner = Manner::of(&parts, has_content);
        let mut response = match pulled {
            Ok(answer) => respond(Ok(answer), &manner, Taker::of(&parts), account),
            Err(refusal) => {
                let forwarded = self.late.forward(&arrival, refusal, parts.clone(), began, &mut account);
                match forwarded.await {
                    Ok(response) => forward::accounted_response(response, account),
                    Err(refusal) => respond(Err(refusal), &manner, Taker::of(&parts), account),
                }
            }
        };
        self.late.close(&arrival, &parts, &mut response);
        response
    }

    async fn pull(
        self: &Arc<Self>,
        parts: &request::Parts,
        has_content: bool,
        account: &mut Account,
        arrival: &mut Option<Box<Arrival>>,
    ) -> Result<Answer, Refusal> {
        let request = Request::parse(parts, has_content)?;
        account.asked(&request);
        if via::is_ours(&parts.headers) {
            return Err(Refusal::UpstreamIsSelf);
        }
        // Taken once: whatever is decided meanwhile, this pull ends as it began.
        let table = self.bindings.current();
        let Some(identified) = identify(&request, &self.tenancy, &table)? else { return Ok(ping()) };
        account.identified(&request, &identified);
        let Some(repository) = &identified.repository else { return Ok(ping()) };
        let (binding, standing) = (identified.binding, table.standing(&identified.binding.registry));
        if let Some(standing) = standing {
            account.flies(standing.begin());
        }
        if let Some(stamp) = &self.stamp {
            *arrival = Arrival::of(binding, standing, stamp, &request.target, &parts.headers).map(Box::new);
            if is_late(binding, stamp) {
                account.late(binding);
            }
        }
        let permit = permit::grant(self.caller(&request, &identified, repository)?, &identified, repository)?;
        let at = resolve(permit, &self.stores, self.stamp.as_ref())?;
        account.resolved(&at);
        let answer = self.answer(&request, &at, parts, account).await;
        answer.map_err(|refusal| match refusal {
            Refusal::StorageDenied => at.holdings().denied(),
            refusal => refusal,
        })
    }

    /// Who asks: a URL that was signed for this blob stands in place of a token.
    fn caller(
        &self,
        request: &Request,
        identified: &Identified<'_>,
        repository: &Repository,
    ) -> Result<Caller, Refusal> {
        let (Some(claim), Target::Blob { digest, .. }) = (&request.claim, &request.target) else {
            return Ok(Caller::Anonymous);
        };
        let subject = Subject { registry: &identified.binding.registry, repository, digest };
        let keys =
            self.redirects.keys.as_ref().ok_or(Refusal::UrlRefused("this node has no key to check it"))?;
        Ok(Caller::Signed(keys.verify(&subject, claim, now_seconds() as u64)?))
    }

    async fn answer(
        self: &Arc<Self>,
        request: &Request,
        at: &ResolvedStamp<'_>,
        parts: &request::Parts,
        account: &mut Account,
    ) -> Result<Answer, Refusal> {
        let headers: &HeaderMap = &parts.headers;
        let asked = Asked { path: parts.uri.path(), namespace: request.namespace.as_deref() };
        // What is not a blob is in a box: the state of a pull is moved a few times, and most pulls are of blobs.
        match &request.target {
            Target::Ping => Ok(ping()),
            Target::Manifest { reference, .. } => {
                let (content, prefetch) = (&self.content, self.prefetch.as_deref());
                Box::pin(self.manifests.answer(content, at, reference, headers, prefetch, account)).await
            }
            Target::Blob { digest, .. } => {
                let owned = self.content.blob(at, digest).await?;
                if request.verb == Verb::Get && at.binding().delivery == Delivery::Redirect {
                    let redirect = self.redirects.answer(at, &owned, request.claim.is_some(), headers);
                    if let Some((answer, destination)) = Box::pin(redirect).await {
                        account.redirected(destination);
                        return Ok(answer);
                    }
                }
                let owned = match request.verb {
                    Verb::Get => self.streamed(at, owned, parts, account),
                    // The size alone is one byte of storage and is not kept.
                    Verb::Head => owned,
                };
                blob::answer(&self.cache, &owned, request.verb, headers, account).await
            }
            Target::Tags { name, n, last } => {
                Box::pin(self.tags.answer(at, name.as_str(), *n, last.as_ref(), asked)).await
            }
            Target::Referrers { digest, artifact_type, last, .. } => {
                let wanted =
                    Wanted { subject: digest, artifact_type: artifact_type.as_deref(), last: last.as_ref() };
                Box::pin(self.referrers.answer(&self.content, &self.manifests, at, wanted, asked)).await
            }
        }
    }

    /// A blob that is about to be streamed: from the stamp, and with the layers after it on their way.
    fn streamed(
        self: &Arc<Self>,
        at: &ResolvedStamp<'_>,
        owned: OwnedBlob,
        parts: &request::Parts,
        account: &mut Account,
    ) -> OwnedBlob {
        self.prefetch(at, &owned, parts, account);
        match &self.stamp_cache {
            Some(stamp) => stamp.over(at, owned),
            None => owned,
        }
    }

    /// Has the other layers of the blob's image fetched ahead, if its manifest was pulled here.
    fn prefetch(
        self: &Arc<Self>,
        at: &ResolvedStamp<'_>,
        owned: &OwnedBlob,
        parts: &request::Parts,
        account: &mut Account,
    ) {
        // What has moved away is not fetched ahead.
        let Some(prefetch) = self.prefetch.as_ref().filter(|_| !at.is_late()) else { return };
        let Some((pulling, first)) = prefetch.asked(owned.key(), at.repository()) else { return };
        account.pulls(pulling);
        if let Some(image) = first {
            let (puller, prefetch, parts) =
                (Arc::clone(self), Arc::clone(prefetch), Arc::new(address(parts)));
            let own = move |digest| {
                let (puller, parts) = (Arc::clone(&puller), Arc::clone(&parts));
                Box::pin(async move { puller.owned(&parts, &digest).await.ok() }) as BoxFuture<'static, _>
            };
            tokio::spawn(carried(async move { prefetch.run(image, Box::new(own)).await }));
        }
    }

    /// Another blob, in the name of who has sent this request for one: by the same steps as theirs.
    async fn owned(&self, parts: &request::Parts, digest: &Digest) -> Result<OwnedBlob, Refusal> {
        let request = Request::parse(parts, false)?;
        let table = self.bindings.current();
        let identified = identify(&request, &self.tenancy, &table)?.ok_or(Refusal::BlobUnknown)?;
        let repository = identified.repository.as_ref().ok_or(Refusal::BlobUnknown)?;
        let permit = permit::grant(self.caller(&request, &identified, repository)?, &identified, repository)?;
        let at = resolve(permit, &self.stores, self.stamp.as_ref())?;
        let owned = self.content.blob(&at, digest).await?;
        Ok(match &self.stamp_cache {
            Some(stamp) => stamp.over(&at, owned),
            None => owned,
        })
    }
}

/// What a request asks for, without what belongs to its connection.
fn address(parts: &request::Parts) -> request::Parts {
    let (mut address, ()) = http::Request::new(()).into_parts();
    address.method = parts.method.clone();
    address.uri = parts.uri.clone();
    address.version = parts.version;
    if let Some(host) = parts.headers.get(header::HOST) {
        address.headers.insert(header::HOST, host.clone());
    }
    address
}

/// The response to an answer of this node's own, or to its refusal.
fn respond(
    pulled: Result<Answer, Refusal>,
    manner: &Manner,
    taker: Taker,
    mut account: Account,
) -> Response<Body> {
    let answer = pulled.unwrap_or_else(|refusal| {
        account.refused(&refusal);
        Answer::from(&refusal)
    });
    let answer = answer.finished(manner, account.namespace(), account.request_id());
    account.answered(answer.status, answer.sends());
    answer.into_response(|payload| stream::body(payload, taker, account))
}

/// `/v2/`: yes, this is a registry.
fn ping() -> Answer {
    Answer::json(StatusCode::OK, "application/json", &serde_json::Map::new())
}
