//! Who refers to what in a repository: the account's own list of a subject, or a walk over the repository's manifests.
//! Either is shared by all who ask within its time.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use dataproxy_cache::{BlobKey, Digest, Retry};
use dataproxy_router_api::{Location, RegistryName};
use futures_util::{FutureExt, StreamExt, TryStreamExt, stream};
use tokio::time::Instant;

use super::descriptor::{Descriptor, described, referrer};
use crate::attempt::attempt;
use crate::content::Content;
use crate::holdings::{ManifestList, ReferrersLists, Referring};
use crate::manifest::Manifests;
use crate::name::{Reference, Repository};
use crate::purge::Subject;
use crate::refusal::Refusal;
use crate::resolve::ResolvedStamp;

/// Most manifests of a repository that are looked at.
const MANIFESTS_MAX: usize = 5000;
/// Longest walk, less than `pull::ANSWER_MAX`. What it has read is remembered, so that the next one comes further.
const WALK_MAX: Duration = Duration::from_secs(8);
/// Manifests looked at at once.
const AT_ONCE: usize = 16;
/// Memory for walks and for what is remembered of manifests, in bytes each.
const MEMORY_BYTES: u64 = 8 << 20;

/// A repository, wherever its registry is bound; and the subject, where the account keeps a list for each.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct WalkKey {
    registry: RegistryName,
    location: Location,
    repository: Repository,
    subject: Option<Digest>,
}

/// What a manifest refers to and how it is listed; `None` if it refers to nothing.
type Fact = Option<(Digest, Arc<Descriptor>)>;

/// The referrers of a repository, by subject.
#[derive(Debug, Default)]
pub(super) struct Walk {
    by_subject: HashMap<Digest, Vec<Arc<Descriptor>>>,
    partial: bool,
}

impl Walk {
    /// Those of a subject.
    pub(super) fn of(&self, subject: &Digest) -> Vec<Arc<Descriptor>> {
        self.by_subject.get(subject).cloned().unwrap_or_default()
    }

    /// Whether manifests were left out.
    pub(super) fn is_partial(&self) -> bool {
        self.partial
    }

    fn weight(&self) -> usize {
        256 + self.by_subject.values().flatten().map(|descriptor| descriptor.weight() + 128).sum::<usize>()
    }
}

#[derive(Clone, Debug)]
struct Entry {
    walk: Result<Arc<Walk>, Refusal>,
    ask_after: Instant,
}

/// Walks made, and what they have learnt of each manifest for good.
#[derive(Debug)]
pub(super) struct Walks {
    walks: moka::future::Cache<WalkKey, Entry>,
    facts: moka::sync::Cache<BlobKey, Fact>,
}

impl Walks {
    pub(super) fn new() -> Self {
        let weight = |weight: usize| u32::try_from(weight).unwrap_or(u32::MAX);
        Self {
            walks: moka::future::Cache::builder()
                .max_capacity(MEMORY_BYTES)
                .weigher(move |_, entry: &Entry| {
                    weight(entry.walk.as_ref().map_or(256, |walk| walk.weight()))
                })
                .support_invalidation_closures()
                .build(),
            facts: moka::sync::Cache::builder()
                .max_capacity(MEMORY_BYTES)
                .weigher(move |_, fact: &Fact| {
                    weight(256 + fact.as_ref().map_or(0, |(_, descriptor)| descriptor.weight()))
                })
                .build(),
        }
    }

    /// Forgets the walks of what a purge names.
    pub(super) fn forget(&self, subject: &Subject) {
        let subject = subject.clone();
        let is_meant = move |key: &WalkKey, _: &Entry| {
            key.registry == subject.purge.registry && subject.covers(&key.repository)
        };
        // It only fails without support for it, which the cache was made with.
        let _ = self.walks.invalidate_entries_if(is_meant);
    }

    /// What is known of `subject` in a permitted repository, at most `tag_ttl` old.
    pub(super) async fn of(
        &self,
        content: &Content,
        manifests: &Manifests,
        at: &ResolvedStamp<'_>,
        subject: &Digest,
    ) -> Result<Arc<Walk>, Refusal> {
        let referring = at.holdings().referring();
        let key = WalkKey {
            registry: at.binding().registry.clone(),
            location: at.binding().placement.own(),
            repository: at.repository().clone(),
            subject: matches!(referring, Referring::Listed(_)).then(|| subject.clone()),
        };
        let walk = async {
            let walk = match referring {
                Referring::Listed(lists) => listed(lists, at, subject).await,
                Referring::Walked(list) => self.walk(list, content, manifests, at).await,
            };
            let walk = walk.map(Arc::new);
            // Those who waited together fail together; whoever comes next walks again.
            let keep = if walk.is_ok() { content.freshness().tag_ttl } else { Duration::ZERO };
            Entry { walk, ask_after: Instant::now() + keep }
        };
        let is_old = |entry: &Entry| entry.ask_after <= Instant::now();
        self.walks.entry(key).or_insert_with_if(walk, is_old).await.into_value().walk
    }

    async fn walk(
        &self,
        list: &dyn ManifestList,
        content: &Content,
        manifests: &Manifests,
        at: &ResolvedStamp<'_>,
    ) -> Result<Walk, Refusal> {
        let until = Instant::now() + WALK_MAX;
        let revisions = list.manifests(at.place(), MANIFESTS_MAX).await;
        let revisions = revisions.map_err(|error| Refusal::of_origin(&error, Refusal::RepositoryUnknown))?;
        let mut partial = revisions.more;
        let facts = stream::iter(revisions.items)
            .map(|digest| self.fact_until(until, content, manifests, at, digest).boxed())
            .buffered(AT_ONCE);
        let facts: Vec<Option<Fact>> = facts.try_collect().await?;
        let mut by_subject: HashMap<Digest, Vec<Arc<Descriptor>>> = HashMap::new();
        for fact in facts {
            match fact {
                Some(Some((subject, descriptor))) => by_subject.entry(subject).or_default().push(descriptor),
                Some(None) => {}
                None => partial = true,
            }
        }
        Ok(Walk { by_subject, partial })
    }

    /// `None` when the time is over.
    async fn fact_until(
        &self,
        until: Instant,
        content: &Content,
        manifests: &Manifests,
        at: &ResolvedStamp<'_>,
        digest: Digest,
    ) -> Result<Option<Fact>, Refusal> {
        if Instant::now() >= until {
            return Ok(None);
        }
        self.fact(content, manifests, at, digest).await.map(Some)
    }

    /// The link is checked each time, as a manifest can be deleted; what it says is read once, as it cannot change.
    async fn fact(
        &self,
        content: &Content,
        manifests: &Manifests,
        at: &ResolvedStamp<'_>,
        digest: Digest,
    ) -> Result<Fact, Refusal> {
        let read = async {
            let owned = content.manifest(at, &Reference::Digest(digest.clone())).await?;
            if let Some(fact) = self.facts.get(owned.key()) {
                return Ok(fact);
            }
            let (bytes, _) = manifests.read(&owned).await?;
            let fact = referrer(&digest, &bytes).map(|(subject, found)| (subject, Arc::new(found)));
            self.facts.insert(owned.key().clone(), fact.clone());
            Ok(fact)
        };
        match read.await {
            // A manifest that cannot be served refers to nothing; it does not hide the others.
            Err(Refusal::ManifestUnknown | Refusal::ManifestTooLarge { .. } | Refusal::StorageDamaged) => {
                Ok(None)
            }
            settled => settled,
        }
    }
}

/// What the account itself lists of a subject.
async fn listed(
    lists: &dyn ReferrersLists,
    at: &ResolvedStamp<'_>,
    subject: &Digest,
) -> Result<Walk, Refusal> {
    let found = attempt(WALK_MAX, |_| Retry::Counted, || lists.referrers(at.place(), subject)).await;
    let found = found.map_err(|error| Refusal::of_origin(&error, Refusal::RepositoryUnknown))?;
    let descriptors = found.items.iter().filter_map(|json| described(json)).map(Arc::new).collect();
    Ok(Walk { by_subject: HashMap::from([(subject.clone(), descriptors)]), partial: found.more })
}
