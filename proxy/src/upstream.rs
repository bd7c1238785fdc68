//! Another registry as the place where a registry's content lies: pull-through.
//!
//! It is asked as any client asks it (OCI distribution-spec 1.1): HEAD for what a tag means and for whether a repository
//! has a digest, ranged GETs for content that the cache does not have. HEAD comes first and content goes by its digest,
//! since some registries count each GET of a manifest as a pull: none is made of what the cache has.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use dataproxy_cache::{
    Algorithm, Digest, ETag, ObjectName, Origin, OriginError, OriginErrorKind, OriginRead, Source,
};
use dataproxy_router_api::AccountName;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use serde_json::value::RawValue;

use crate::holdings::{Claim, Found, Holdings, Partial, Place, ReferrersLists, Referring, TagPage};
use crate::manifest::MANIFEST_MAX;
use crate::media_type::sniff;
use crate::name::{Repository, Tag};
use crate::refusal::Refusal;
use crate::respond::CONTENT_DIGEST;

mod challenge;
mod connect;
mod failure;
mod lists;
mod network;
mod proof;
mod read;
mod settings;
mod token;
mod wire;

use failure::{collect, failure, is_html};
use proof::Proof;
use read::MANIFEST_TYPES;
pub use settings::{Login, PasswordFrom, Settings, SetupError, Url};
use token::Tokens;
use wire::{Answer, Ask, Lead, Wire};

/// How long an answer about a tag counts for the manifest that it means, and a manifest that had to be fetched to learn
/// its digest is kept at hand.
const AT_HAND: Duration = Duration::from_secs(2);
/// Memory for manifests at hand, in bytes.
const AT_HAND_BYTES: u64 = 16 << 20;
/// How long a redirect is remembered, less than what any registry signs for; and memory for redirects, in bytes: they
/// are as long as an upstream makes them.
const LEAD_LIFE: Duration = Duration::from_secs(60);
const LEADS_BYTES: u64 = 8 << 20;
/// Least of a blob that can be asked for.
const FIRST_BYTE: HeaderValue = HeaderValue::from_static("bytes=0-0");

/// One upstream registry.
#[derive(Debug)]
pub struct Upstream {
    wire: Wire,
    tokens: Tokens,
    prefix: Option<Repository>,
    /// Manifests that a tag's answer has just shown to be there, with their bytes if those came along.
    shown: moka::sync::Cache<ObjectName, Option<Bytes>>,
    /// Where reads of an object were redirected to.
    leads: moka::sync::Cache<ObjectName, Lead>,
}

impl Upstream {
    /// Reads what the settings name. Asks nothing of anybody yet.
    ///
    /// # Errors
    /// [`SetupError`]
    pub fn open(name: &AccountName, settings: &Settings) -> Result<Self, SetupError> {
        let basic = settings.credentials.as_ref().map(Login::basic).transpose()?;
        let tls = dataproxy_outbound::client_config(settings.ca_file.as_deref(), settings.url.is_tls())?;
        if basic.is_some() && !settings.url.is_tls() {
            tracing::warn!(account = %name, url = %settings.url, "name and password go over the network as they are; use https");
        }
        let shown = moka::sync::Cache::builder()
            .time_to_live(AT_HAND)
            .max_capacity(AT_HAND_BYTES)
            .weigher(|name: &ObjectName, bytes: &Option<Bytes>| {
                let length = name.as_str().len() + bytes.as_ref().map_or(0, Bytes::len) + 256;
                u32::try_from(length).unwrap_or(u32::MAX)
            })
            .build();
        let leads = moka::sync::Cache::builder()
            .time_to_live(LEAD_LIFE)
            .max_capacity(LEADS_BYTES)
            .weigher(|name: &ObjectName, lead: &Lead| {
                u32::try_from(name.as_str().len() + lead.size() + 256).unwrap_or(u32::MAX)
            })
            .build();
        Ok(Self {
            wire: Wire::new(name.as_str(), settings.url.clone(), tls),
            tokens: Tokens::new(basic),
            prefix: settings.repository_prefix.clone(),
            shown,
            leads,
        })
    }

    /// The repository's name there.
    fn repository(&self, place: Place<'_>) -> String {
        match &self.prefix {
            Some(prefix) => format!("{prefix}/{}", place.repository),
            None => place.repository.to_string(),
        }
    }

    /// The answer to one question, redirects followed, with whatever the upstream wants to be shown. An answer of 401
    /// is asked again once, with something else to show.
    ///
    /// # Errors
    /// [`OriginError`] if there is no answer; [`OriginErrorKind::Denied`] if it stays with 401.
    async fn ask(&self, ask: Ask) -> Result<Answer, OriginError> {
        let shown = self.tokens.current(&self.wire, &ask.repository).await?;
        let answer = self.wire.follow(&ask, shown.as_ref()).await?;
        if answer.status() != StatusCode::UNAUTHORIZED || !answer.is_home {
            return Ok(answer);
        }
        let challenge = challenge::best(answer.response.headers());
        drop(answer);
        let other = self.tokens.answer(&self.wire, &ask.repository, challenge, shown.as_ref()).await?;
        self.wire.follow(&ask, Some(&other)).await
    }

    /// HEAD of a manifest, where the upstream knows HEAD; GET where it does not.
    async fn look(&self, path: String, repository: String) -> Result<Answer, OriginError> {
        let headers = HeaderMap::from_iter([(header::ACCEPT, MANIFEST_TYPES)]);
        let ask = Ask { method: Method::HEAD, path, repository, kind: "manifest", headers, pin: None };
        let answer = self.ask(ask.clone()).await?;
        if answer.status() != StatusCode::METHOD_NOT_ALLOWED {
            return Ok(answer);
        }
        self.ask(Ask { method: Method::GET, ..ask }).await
    }

    async fn blob_of(&self, repository: String, digest: &Digest) -> Result<Found, OriginError> {
        let object = ObjectName::new(format!("{repository}/blobs/{digest}"));
        let path = format!("/v2/{}", object.as_str());
        let (method, headers) = (Method::HEAD, HeaderMap::new());
        let by_head = Ask { method, path, repository, kind: "blob", headers, pin: None };
        let answer = self.ask(by_head.clone()).await?;
        match Proof::of(&answer, digest)? {
            Proof::Yes => return Ok(Found::Digest(digest.clone())),
            Proof::Refusal => return absent_or(answer).await,
            Proof::Unclear => drop(answer),
        }
        // The registry is asked anew, as what it signs for one method is not good for the other.
        let headers = HeaderMap::from_iter([(header::RANGE, FIRST_BYTE)]);
        let answer = self.ask(Ask { method: Method::GET, headers, ..by_head }).await?;
        match Proof::of(&answer, digest)? {
            Proof::Yes => {
                self.remember(&object, &answer);
                // A blob that comes whole is not waited for.
                if answer.status() != StatusCode::OK {
                    wire::read_rest(answer.response).await;
                }
                Ok(Found::Digest(digest.clone()))
            }
            Proof::Unclear if answer.status().is_success() => {
                Err(proof::something_else("nothing that shows it to be a blob"))
            }
            Proof::Unclear | Proof::Refusal => absent_or(answer).await,
        }
    }

    async fn manifest_of(&self, repository: String, digest: &Digest) -> Result<Found, OriginError> {
        let object = manifest_object(&repository, digest);
        if self.shown.contains_key(&object) {
            return Ok(Found::Digest(digest.clone()));
        }
        let path = format!("/v2/{}", object.as_str());
        let answer = self.look(path.clone(), repository.clone()).await?;
        if answer.status() != StatusCode::OK {
            return absent_or(answer).await;
        }
        if is_html(&answer) {
            return Err(no_manifest("a page for people"));
        }
        if !proof::says(&answer, digest)? && !answer.is_registrys(digest) {
            // No registry's word, so the bytes have to speak.
            let bytes = self.fetch(path, &repository).await?;
            if Digest::of(digest.algorithm(), &bytes) != *digest {
                return Err(no_manifest("one with another digest"));
            }
            self.shown.insert(object, Some(bytes));
        }
        Ok(Found::Digest(digest.clone()))
    }

    /// Keeps where the upstream has led to for an object's content, for the reads that follow.
    fn remember(&self, object: &ObjectName, answer: &Answer) {
        // What the upstream leads to at its own host may want to be shown something, which no lead is.
        if let Some(lead) = answer.lead.clone().filter(|_| !answer.is_home) {
            self.leads.insert(object.clone(), lead);
        }
    }

    async fn tagged(&self, repository: String, tag: &Tag) -> Result<Found, OriginError> {
        let path = format!("/v2/{repository}/manifests/{tag}");
        let answer = self.look(path.clone(), repository.clone()).await?;
        if answer.status() != StatusCode::OK {
            return absent_or(answer).await;
        }
        if is_html(&answer) {
            return Err(no_manifest("a page for people"));
        }
        let told = answer.response.headers().get(CONTENT_DIGEST).cloned();
        let (digest, bytes) = match told {
            Some(told) => {
                let digest = told.to_str().ok().and_then(|told| told.parse().ok());
                (digest.ok_or_else(|| no_manifest("a Docker-Content-Digest that is none"))?, None)
            }
            // Its digest is what its bytes hash to: they have to be fetched, and are kept for the read that follows.
            None => {
                let bytes = self.fetch(path, &repository).await?;
                (Digest::of(Algorithm::Sha256, &bytes), Some(bytes))
            }
        };
        self.shown.insert(manifest_object(&repository, &digest), bytes);
        Ok(Found::Digest(digest))
    }

    async fn fetch(&self, path: String, repository: &str) -> Result<Bytes, OriginError> {
        let headers = HeaderMap::from_iter([(header::ACCEPT, MANIFEST_TYPES)]);
        let (method, repository) = (Method::GET, repository.to_owned());
        let ask = Ask { method, path, repository, kind: "manifest", headers, pin: None };
        let answer = self.ask(ask).await?;
        if answer.status() != StatusCode::OK {
            return Err(failure(answer).await);
        }
        let bytes = collect(answer.response.into_body(), MANIFEST_MAX as usize).await?;
        // Whatever these bytes are, their digest agrees with them: that they are a manifest is all there is to check.
        sniff(&bytes).map_err(no_manifest)?;
        Ok(bytes)
    }

    /// The bytes of a manifest that had to be fetched a moment ago.
    fn at_hand(&self, object: &ObjectName) -> Option<Bytes> {
        self.shown.get(object).flatten()
    }

    /// Path and query of a URL of the upstream's own; `None` if it is of another host.
    fn own_path(&self, named: &str) -> Option<String> {
        let base = self.wire.home("/v2/").ok()?;
        let uri = self.wire.resolve(named, &base).ok()?;
        let is_own = uri.authority() == base.authority() && uri.scheme() == base.scheme();
        uri.path_and_query().filter(|_| is_own).map(|path| path.as_str().to_owned())
    }
}

fn manifest_object(repository: &str, digest: &Digest) -> ObjectName {
    ObjectName::new(format!("{repository}/manifests/{digest}"))
}

fn no_manifest(what: &str) -> OriginError {
    OriginError::new(
        OriginErrorKind::Protocol,
        format!("the upstream answered something else than a manifest: {what}"),
    )
}

async fn absent_or(answer: Answer) -> Result<Found, OriginError> {
    let error = failure(answer).await;
    if error.kind == OriginErrorKind::NotFound { Ok(Found::Absent) } else { Err(error) }
}

impl Origin for Upstream {
    fn get<'a>(
        &'a self,
        object: &'a ObjectName,
        range: Range<u64>,
        pin: Option<&'a ETag>,
    ) -> BoxFuture<'a, Result<OriginRead, OriginError>> {
        read::read(self, object, range, pin).boxed()
    }
}

impl Holdings for Upstream {
    fn has_containers(&self) -> bool {
        false
    }

    fn denied(&self) -> Refusal {
        Refusal::UpstreamDenied
    }

    fn find<'a>(&'a self, place: Place<'a>, claim: &'a Claim) -> BoxFuture<'a, Result<Found, OriginError>> {
        let repository = self.repository(place);
        match claim {
            Claim::Blob(digest) => self.blob_of(repository, digest).boxed(),
            Claim::Manifest(digest) => self.manifest_of(repository, digest).boxed(),
            Claim::Tag(tag) => self.tagged(repository, tag).boxed(),
        }
    }

    fn blob(self: Arc<Self>, place: Place<'_>, digest: &Digest) -> Source {
        let object = ObjectName::new(format!("{}/blobs/{digest}", self.repository(place)));
        Source { origin: self, object }
    }

    fn manifest(self: Arc<Self>, place: Place<'_>, digest: &Digest) -> Source {
        let object = manifest_object(&self.repository(place), digest);
        Source { origin: self, object }
    }

    fn tags<'a>(
        &'a self,
        place: Place<'a>,
        size: usize,
        last: Option<&'a Tag>,
    ) -> BoxFuture<'a, Result<Option<TagPage>, OriginError>> {
        async move { lists::tags(self, &self.repository(place), size, last).await }.boxed()
    }

    fn referring(&self) -> Referring<'_> {
        Referring::Listed(self)
    }
}

impl ReferrersLists for Upstream {
    fn referrers<'a>(
        &'a self,
        place: Place<'a>,
        subject: &'a Digest,
    ) -> BoxFuture<'a, Result<Partial<Box<RawValue>>, OriginError>> {
        async move { lists::referrers(self, &self.repository(place), subject).await }.boxed()
    }
}

#[cfg(test)]
mod tests;
