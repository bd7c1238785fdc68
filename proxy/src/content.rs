//! What a repository owns: the stage between a permitted, resolved pull and any look-up of bytes.
//!
//! Digests are worth nothing by themselves: an account holds each content once, and the links of a repository are
//! the only thing that says what is its own. [`OwnedBlob`] and [`OwnedManifest`] are made here alone, after the link
//! was read, here or by the node of the stamp that asks; cache and storage are asked with nothing else. A repository that does not own a digest gets the same
//! answer, by the same single read, as for a digest that nobody has.

use std::sync::Arc;
use std::time::Duration;

use dataproxy_cache::{BlobKey, Digest, Origin, Scope, Source};
use dataproxy_router_api::{Binding, Placement};

use crate::holdings::{Claim, Holdings};
use crate::layout::Layout;
use crate::name::{Reference, Repository, Tag};
use crate::purge::Subject;
use crate::refusal::Refusal;
use crate::resolve::ResolvedStamp;
use crate::stamp::Vouched;

mod freshness;
mod link;

pub use freshness::Freshness;
use link::{LinkKey, Links};

/// A blob that the permitted repository owns.
#[derive(Clone, Debug)]
pub struct OwnedBlob {
    key: BlobKey,
    source: Source,
}

/// A manifest that the permitted repository owns.
#[derive(Clone, Debug)]
pub struct OwnedManifest {
    key: BlobKey,
    source: Source,
    stale: Option<Duration>,
}

impl OwnedBlob {
    /// The key that the cache knows it by.
    pub fn key(&self) -> &BlobKey {
        &self.key
    }

    /// Where its bytes are.
    pub fn source(&self) -> &Source {
        &self.source
    }

    /// The same blob, its bytes by another way to where they are.
    pub(crate) fn through(self, way: impl FnOnce(&BlobKey, Source) -> Source) -> Self {
        let source = way(&self.key, self.source);
        Self { key: self.key, source }
    }

    /// A blob that another node of the stamp has found to be its caller's own; `None` if the account is not storage.
    pub(crate) fn vouched(
        _: &Vouched,
        binding: &Binding,
        holdings: &dyn Holdings,
        digest: &Digest,
    ) -> Option<Self> {
        let Placement { container, prefix, .. } = &binding.placement;
        let origin = Arc::clone(holdings.store()?) as Arc<dyn Origin>;
        let object = Layout::new(container).below_prefix(prefix).blob(digest);
        let key = BlobKey { scope: Scope::new(binding.registry.as_str()), digest: digest.clone() };
        Some(Self { key, source: Source { origin, object } })
    }
}

impl OwnedManifest {
    /// The key that the cache knows it by.
    pub fn key(&self) -> &BlobKey {
        &self.key
    }

    /// Where its bytes are.
    pub fn source(&self) -> &Source {
        &self.source
    }

    /// Its digest.
    pub fn digest(&self) -> &Digest {
        &self.key.digest
    }

    /// How old the tag's meaning is, where storage could not be asked for a newer one.
    pub fn stale(&self) -> Option<Duration> {
        self.stale
    }
}

/// The links of all repositories, cached for as long as [`Freshness`] says.
#[derive(Debug)]
pub struct Content {
    freshness: Freshness,
    links: Links,
}

impl Content {
    /// An empty one.
    pub fn new(freshness: Freshness) -> Self {
        Self { freshness, links: Links::new() }
    }

    /// Forgets the links that a purge names.
    pub(crate) fn forget(&self, subject: &Subject) {
        let Some(location) = subject.location.clone() else { return };
        let subject = subject.clone();
        self.links.forget(move |key| {
            let of_digest = match (&subject.digest, &key.claim) {
                (None, _) => true,
                (Some(digest), Claim::Blob(claimed) | Claim::Manifest(claimed)) => claimed == digest,
                // What a tag means is asked for every few seconds anyway.
                (Some(_), Claim::Tag(_)) => true,
            };
            key.location == location && subject.covers(&key.repository) && of_digest
        });
    }

    /// How old what it says may be.
    pub fn freshness(&self) -> Freshness {
        self.freshness
    }

    /// The blob `digest`, if the repository owns it.
    ///
    /// # Errors
    /// [`Refusal::BlobUnknown`] if it does not; a storage refusal if that cannot be known.
    pub async fn blob(&self, at: &ResolvedStamp<'_>, digest: &Digest) -> Result<OwnedBlob, Refusal> {
        let cover = self.freshness.stale_link;
        self.owned(at, Claim::Blob(digest.clone()), digest, cover, Refusal::BlobUnknown).await?;
        let source = Arc::clone(at.holdings()).blob(at.place(), digest);
        Ok(OwnedBlob { key: blob_key(at, digest), source })
    }

    /// The manifest that `reference` means, if the repository owns it.
    ///
    /// # Errors
    /// [`Refusal::ManifestUnknown`] if it does not; a storage refusal if that cannot be known.
    pub async fn manifest(
        &self,
        at: &ResolvedStamp<'_>,
        reference: &Reference,
    ) -> Result<OwnedManifest, Refusal> {
        let (digest, stale) = match reference {
            Reference::Digest(digest) => (digest.clone(), None),
            Reference::Tag(tag) => self.tagged(at, tag).await?,
        };
        // A tag of the repository that is covered would be of no use without the link to its manifest.
        let cover = if stale.is_some() { self.freshness.stale_tag } else { self.freshness.stale_link };
        self.owned(at, Claim::Manifest(digest.clone()), &digest, cover, Refusal::ManifestUnknown).await?;
        let source = Arc::clone(at.holdings()).manifest(at.place(), &digest);
        Ok(OwnedManifest { key: blob_key(at, &digest), source, stale })
    }

    async fn tagged(&self, at: &ResolvedStamp<'_>, tag: &Tag) -> Result<(Digest, Option<Duration>), Refusal> {
        let (key, cover) = (link_key(at, Claim::Tag(tag.clone())), self.freshness.stale_tag);
        let link = self.links.read(key, &**at.holdings(), cover, &self.freshness).await;
        let link = link.map_err(|error| Refusal::of_origin(&error, Refusal::ManifestUnknown))?;
        Ok((link.digest.ok_or(Refusal::ManifestUnknown)?, link.stale))
    }

    /// A link that names another digest than its own is of old cross-repository mounts; it owns nothing.
    async fn owned(
        &self,
        at: &ResolvedStamp<'_>,
        claim: Claim,
        digest: &Digest,
        cover: Duration,
        absent: Refusal,
    ) -> Result<(), Refusal> {
        let key = link_key(at, claim);
        match self.links.read(key, &**at.holdings(), cover, &self.freshness).await {
            Ok(link) if link.digest.as_ref() == Some(digest) => Ok(()),
            Ok(_) => Err(absent),
            Err(error) => Err(Refusal::of_origin(&error, absent)),
        }
    }
}

fn link_key(at: &ResolvedStamp<'_>, claim: Claim) -> LinkKey {
    LinkKey { location: at.binding().placement.own(), repository: Repository::clone(at.repository()), claim }
}

fn blob_key(at: &ResolvedStamp<'_>, digest: &Digest) -> BlobKey {
    BlobKey { scope: Scope::new(at.binding().registry.as_str()), digest: digest.clone() }
}
