//! The layout over a storage account: links say what a repository owns, folders what it has.

use std::sync::Arc;
use std::time::Duration;

use dataproxy_cache::{Algorithm, Digest, Origin, OriginError, Source};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;

use super::link_file::read_settled;
use super::{Layout, tag_folders};
use crate::attempt::attempt;
use crate::holdings::{Claim, Found, Holdings, ManifestList, Partial, Place, Referring, TagPage};
use crate::name::Tag;
use crate::store::Store;

/// How long storage has for one step of a listing. Clients wait 30 s for headers.
pub(super) const LIST_PATIENCE: Duration = Duration::from_secs(10);
/// Folders listed at once.
const FOLDERS: usize = 1000;

/// A storage account whose registries lie in the layout of CNCF distribution, each in a container of its own.
#[derive(Debug)]
pub struct Laid {
    store: Arc<dyn Store>,
}

impl Laid {
    /// The layout over this account.
    pub fn over(store: Arc<dyn Store>) -> Arc<dyn Holdings> {
        Arc::new(Self { store })
    }

    fn bytes(&self, place: Place<'_>, digest: &Digest) -> Source {
        let origin = Arc::clone(&self.store) as Arc<dyn Origin>;
        Source { origin, object: Layout::of(place).blob(digest) }
    }
}

impl Holdings for Laid {
    fn has_containers(&self) -> bool {
        true
    }

    fn find<'a>(&'a self, place: Place<'a>, claim: &'a Claim) -> BoxFuture<'a, Result<Found, OriginError>> {
        let layout = Layout::of(place);
        let link = match claim {
            Claim::Blob(digest) => layout.layer_link(place.repository, digest),
            Claim::Manifest(digest) => layout.revision_link(place.repository, digest),
            Claim::Tag(tag) => layout.tag_link(place.repository, tag),
        };
        async move { read_settled(&*self.store, &link).await }.boxed()
    }

    fn blob(self: Arc<Self>, place: Place<'_>, digest: &Digest) -> Source {
        self.bytes(place, digest)
    }

    fn manifest(self: Arc<Self>, place: Place<'_>, digest: &Digest) -> Source {
        self.bytes(place, digest)
    }

    fn tags<'a>(
        &'a self,
        place: Place<'a>,
        size: usize,
        last: Option<&'a Tag>,
    ) -> BoxFuture<'a, Result<Option<TagPage>, OriginError>> {
        tag_folders::page(&*self.store, place, size, last).boxed()
    }

    fn referring(&self) -> Referring<'_> {
        Referring::Walked(self)
    }

    fn store(&self) -> Option<&Arc<dyn Store>> {
        Some(&self.store)
    }
}

impl ManifestList for Laid {
    fn manifests<'a>(
        &'a self,
        place: Place<'a>,
        limit: usize,
    ) -> BoxFuture<'a, Result<Partial<Digest>, OriginError>> {
        revisions(&*self.store, place, limit).boxed()
    }
}

async fn revisions(
    store: &dyn Store,
    place: Place<'_>,
    limit: usize,
) -> Result<Partial<Digest>, OriginError> {
    let mut items: Vec<Digest> = Vec::new();
    for algorithm in [Algorithm::Sha256, Algorithm::Sha512] {
        let folder = Layout::of(place).revisions(place.repository, algorithm);
        let mut after: Option<String> = None;
        loop {
            let listing = attempt(
                LIST_PATIENCE,
                |error| store.retry(error),
                || store.list(&folder, after.as_deref(), FOLDERS),
            )
            .await?;
            let digests =
                listing.folders.iter().filter_map(|hex| format!("{}:{hex}", algorithm.name()).parse().ok());
            items.extend(digests);
            if items.len() > limit {
                items.truncate(limit);
                return Ok(Partial { items, more: true });
            }
            after = listing.folders.into_iter().next_back();
            if !listing.more || after.is_none() {
                break;
            }
        }
    }
    Ok(Partial { items, more: false })
}
