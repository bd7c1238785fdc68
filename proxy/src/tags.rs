//! A repository's tags, page by page. A page is read once for all who ask for it within `tag_ttl`.

use std::sync::Arc;
use std::time::Duration;

use dataproxy_router_api::{Location, RegistryName};
use http::{StatusCode, header};
use serde::Serialize;
use tokio::time::{Instant, timeout};

use crate::content::Freshness;
use crate::holdings::TagPage;
use crate::name::{Repository, Tag};
use crate::paging::Asked;
use crate::purge::Subject;
use crate::refusal::Refusal;
use crate::resolve::ResolvedStamp;
use crate::respond::Answer;

/// Most tags of a page, and how many a caller gets who does not say.
pub(crate) const PAGE_MAX: usize = 1000;
/// How long storage has for one page. Clients wait 30 s for headers.
const PAGE_PATIENCE: Duration = Duration::from_secs(15);
/// Memory for pages, in bytes.
const MEMORY_BYTES: u64 = 8 << 20;

/// A page of a repository's tags, wherever its registry is bound.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct PageKey {
    registry: RegistryName,
    location: Location,
    repository: Repository,
    size: usize,
    last: Option<Tag>,
}

#[derive(Clone, Debug)]
struct Entry {
    page: Result<Arc<TagPage>, Refusal>,
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
        let weight = |entry: &Entry| entry.page.as_ref().map_or(512, |page| self::weight(page));
        let pages = moka::future::Cache::builder()
            .max_capacity(MEMORY_BYTES)
            .weigher(move |_, entry| u32::try_from(weight(entry)).unwrap_or(u32::MAX))
            .support_invalidation_closures()
            .build();
        Self { pages, freshness }
    }

    /// Forgets the pages of what a purge names.
    pub(crate) fn forget(&self, subject: &Subject) {
        let subject = subject.clone();
        let is_meant = move |key: &PageKey, _: &Entry| {
            key.registry == subject.purge.registry && subject.covers(&key.repository)
        };
        // It only fails without support for it, which the cache was made with.
        let _ = self.pages.invalidate_entries_if(is_meant);
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
    ) -> Result<Arc<TagPage>, Refusal> {
        let key = PageKey {
            registry: at.binding().registry.clone(),
            location: at.binding().placement.own(),
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

async fn read(at: &ResolvedStamp<'_>, size: usize, last: Option<&Tag>) -> Result<TagPage, Refusal> {
    let page = at.holdings().tags(at.place(), size, last).await;
    page.map_err(|error| Refusal::of_origin(&error, Refusal::RepositoryUnknown))?
        .ok_or(Refusal::RepositoryUnknown)
}

fn weight(page: &TagPage) -> usize {
    512 + page.tags.iter().map(|tag| tag.as_str().len() + 48).sum::<usize>()
}
