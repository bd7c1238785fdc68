//! A repository's tags, page by page. A page is read once for all who ask for it within `tag_ttl`.

use std::sync::Arc;
use std::time::Duration;

use dataproxy_cache::OriginError;
use dataproxy_router_api::{Place, RegistryName};
use futures_util::{FutureExt, StreamExt, TryStreamExt, stream};
use http::{StatusCode, header};
use serde::Serialize;
use tokio::time::{Instant, timeout};

use crate::content::{Freshness, LIST_PATIENCE, attempt, names_a_digest};
use crate::name::{Repository, Tag};
use crate::paging::Asked;
use crate::refusal::Refusal;
use crate::resolve::ResolvedStamp;
use crate::respond::Answer;

/// Most tags of a page, and how many a caller gets who does not say.
pub(crate) const PAGE_MAX: usize = 1000;
/// Most folders looked at for a page; folders without a current link are left over from tags that are gone.
const FOLDERS_MAX: usize = 4 * PAGE_MAX;
/// Links looked at at once.
const AT_ONCE: usize = 16;
/// How long storage has for one page. Clients wait 30 s for headers.
const PAGE_PATIENCE: Duration = Duration::from_secs(15);
/// Memory for pages, in bytes.
const MEMORY_BYTES: u64 = 8 << 20;

/// A page of a repository's tags, wherever its registry is bound.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct PageKey {
    registry: RegistryName,
    place: Place,
    repository: Repository,
    size: usize,
    last: Option<Tag>,
}

#[derive(Debug, Default)]
struct Page {
    tags: Vec<Tag>,
    /// The tag after which the next page begins.
    next: Option<Tag>,
}

impl Page {
    fn weight(&self) -> usize {
        512 + self.tags.iter().map(|tag| tag.as_str().len() + 48).sum::<usize>()
    }
}

#[derive(Clone, Debug)]
struct Entry {
    page: Result<Arc<Page>, Refusal>,
    ask_after: Instant,
}

/// The pages of all repositories.
#[derive(Debug)]
pub(crate) struct Tags {
    pages: moka::future::Cache<PageKey, Entry>,
    freshness: Freshness,
}

#[derive(Serialize)]
struct TagList<'a> {
    name: &'a str,
    tags: &'a [Tag],
}

impl Serialize for Tag {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl Tags {
    /// Nothing read yet.
    pub(crate) fn new(freshness: Freshness) -> Self {
        let weight = |entry: &Entry| entry.page.as_ref().map_or(512, |page| page.weight());
        let pages = moka::future::Cache::builder()
            .max_capacity(MEMORY_BYTES)
            .weigher(move |_, entry| u32::try_from(weight(entry)).unwrap_or(u32::MAX))
            .build();
        Self { pages, freshness }
    }

    /// Answers with at most `n` tags after `last`. `name` is the repository's name as the caller knows it.
    ///
    /// # Errors
    /// [`Refusal::RepositoryUnknown`], or a storage refusal.
    pub(crate) async fn answer(
        &self,
        at: &ResolvedStamp<'_>,
        name: &str,
        n: Option<usize>,
        last: Option<&Tag>,
        asked: Asked<'_>,
    ) -> Result<Answer, Refusal> {
        let size = n.unwrap_or(PAGE_MAX).min(PAGE_MAX);
        let page = self.page(at, size, last).await?;
        let answer = Answer::json(StatusCode::OK, "application/json", &TagList { name, tags: &page.tags });
        Ok(match &page.next {
            Some(last) => {
                let link = asked.next(&[("n", size.to_string()), ("last", last.to_string())]);
                answer.with_text(header::LINK, link)
            }
            None => answer,
        })
    }

    /// A page, asked of storage at most once at a time. A caller that goes away leaves the asking to the next one
    /// that waits.
    async fn page(
        &self,
        at: &ResolvedStamp<'_>,
        size: usize,
        last: Option<&Tag>,
    ) -> Result<Arc<Page>, Refusal> {
        let key = PageKey {
            registry: at.binding().registry.clone(),
            place: at.binding().placement.own(),
            repository: at.repository().clone(),
            size,
            last: last.cloned(),
        };
        let ask = async {
            let read = timeout(PAGE_PATIENCE, read(at, size, last)).await;
            let page = read.unwrap_or(Err(Refusal::StorageTimeout)).map(Arc::new);
            let keep = match &page {
                Ok(_) => self.freshness.tag_ttl,
                Err(Refusal::RepositoryUnknown) => self.freshness.negative_ttl,
                // Those who waited together fail together; whoever comes next asks again.
                Err(_) => Duration::ZERO,
            };
            let now = Instant::now();
            Entry { page, ask_after: now.checked_add(keep).unwrap_or(now) }
        };
        let is_old = |entry: &Entry| entry.ask_after <= Instant::now();
        self.pages.entry(key).or_insert_with_if(ask, is_old).await.into_value().page
    }
}

async fn read(at: &ResolvedStamp<'_>, size: usize, last: Option<&Tag>) -> Result<Page, Refusal> {
    let (tags, next) = if size == 0 { (Vec::new(), None) } else { tags(at, size, last).await? };
    if tags.is_empty() && next.is_none() && !exists(at).await? {
        return Err(Refusal::RepositoryUnknown);
    }
    Ok(Page { tags, next })
}

/// A page of tags, and the tag after which the next one begins.
async fn tags(
    at: &ResolvedStamp<'_>,
    page: usize,
    last: Option<&Tag>,
) -> Result<(Vec<Tag>, Option<Tag>), Refusal> {
    let prefix = at.layout().tags(at.repository());
    let mut after = last.map(|tag| tag.as_str().to_owned());
    let mut tags: Vec<Tag> = Vec::new();
    let (mut seen, mut reached, mut more) = (0, None, true);
    // One more than the page, to know whether there is a next one.
    while more && tags.len() <= page && seen < FOLDERS_MAX {
        let limit = page + 1 - tags.len();
        let listing =
            attempt(&**at.store(), LIST_PATIENCE, || at.store().list(&prefix, after.as_deref(), limit));
        let listing =
            listing.await.map_err(|error| Refusal::of_origin(&error, Refusal::RepositoryUnknown))?;
        more = listing.more && !listing.folders.is_empty();
        seen += listing.folders.len();
        after = listing.folders.last().cloned().or(after);
        let folders: Vec<Tag> = listing.folders.iter().filter_map(|folder| folder.parse().ok()).collect();
        reached = folders.last().cloned().or(reached);
        let live: Vec<Option<Tag>> = stream::iter(folders)
            .map(|tag| if_current(at, tag).boxed())
            .buffered(AT_ONCE)
            .try_collect()
            .await
            .map_err(|error: OriginError| Refusal::of_origin(&error, Refusal::RepositoryUnknown))?;
        tags.extend(live.into_iter().flatten());
    }
    let next = if tags.len() > page {
        tags.truncate(page);
        tags.last().cloned()
    } else if more {
        reached
    } else {
        None
    };
    Ok((tags, next))
}

async fn if_current(at: &ResolvedStamp<'_>, tag: Tag) -> Result<Option<Tag>, OriginError> {
    let link = at.layout().tag_link(at.repository(), &tag);
    let current =
        attempt(&**at.store(), LIST_PATIENCE, || names_a_digest(&**at.store(), &link).boxed()).await?;
    Ok(current.then_some(tag))
}

/// Whether anything was ever pushed: the layout's own folders begin with `_`, those of deeper repositories do not.
async fn exists(at: &ResolvedStamp<'_>) -> Result<bool, Refusal> {
    const JUST_BEFORE: &str = "^";
    let folder = at.layout().repository(at.repository());
    let listing =
        attempt(&**at.store(), LIST_PATIENCE, || at.store().list(&folder, Some(JUST_BEFORE), 1)).await;
    let listing = listing.map_err(|error| Refusal::of_origin(&error, Refusal::RepositoryUnknown))?;
    Ok(listing.folders.first().is_some_and(|folder| folder.starts_with('_')))
}
