//! A repository's tags, as folders tell them.

use dataproxy_cache::OriginError;
use futures_util::{FutureExt, StreamExt, TryStreamExt, stream};

use super::Layout;
use super::laid::LIST_PATIENCE;
use super::link_file::read_settled;
use crate::attempt::attempt;
use crate::holdings::{Found, Place, TagPage};
use crate::name::Tag;
use crate::store::Store;

/// Most folders looked at for a page, in pages; those without a current link are left over from tags that are gone.
const FOLDERS_MAX: usize = 4000;
/// Links looked at at once.
const AT_ONCE: usize = 16;

/// A page of tags; `None` if nothing was ever pushed into the repository.
///
/// # Errors
/// Storage's own.
pub(super) async fn page(
    store: &dyn Store,
    place: Place<'_>,
    size: usize,
    last: Option<&Tag>,
) -> Result<Option<TagPage>, OriginError> {
    let page = if size == 0 { TagPage::default() } else { tags(store, place, size, last).await? };
    if page.tags.is_empty() && page.next.is_none() && !exists(store, place).await? {
        return Ok(None);
    }
    Ok(Some(page))
}

async fn tags(
    store: &dyn Store,
    place: Place<'_>,
    page: usize,
    last: Option<&Tag>,
) -> Result<TagPage, OriginError> {
    let prefix = Layout::of(place).tags(place.repository);
    let mut after = last.map(|tag| tag.as_str().to_owned());
    let mut tags: Vec<Tag> = Vec::new();
    let (mut seen, mut reached, mut more) = (0, None, true);
    // One more than the page, to know whether there is a next one.
    while more && tags.len() <= page && seen < FOLDERS_MAX {
        let limit = page + 1 - tags.len();
        let listing = attempt(
            LIST_PATIENCE,
            |error| store.retry(error),
            || store.list(&prefix, after.as_deref(), limit),
        )
        .await?;
        more = listing.more && !listing.folders.is_empty();
        seen += listing.folders.len();
        after = listing.folders.last().cloned().or(after);
        let folders: Vec<Tag> = listing.folders.iter().filter_map(|folder| folder.parse().ok()).collect();
        reached = folders.last().cloned().or(reached);
        let live: Vec<Option<Tag>> = stream::iter(folders)
            .map(|tag| if_current(store, place, tag).boxed())
            .buffered(AT_ONCE)
            .try_collect()
            .await?;
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
    Ok(TagPage { tags, next })
}

async fn if_current(store: &dyn Store, place: Place<'_>, tag: Tag) -> Result<Option<Tag>, OriginError> {
    let link = Layout::of(place).tag_link(place.repository, &tag);
    let found =
        attempt(LIST_PATIENCE, |error| store.retry(error), || read_settled(store, &link).boxed()).await?;
    Ok(matches!(found, Found::Digest(_)).then_some(tag))
}

/// Whether anything was ever pushed: the layout's own folders begin with `_`, those of deeper repositories do not.
async fn exists(store: &dyn Store, place: Place<'_>) -> Result<bool, OriginError> {
    const JUST_BEFORE: &str = "^";
    let folder = Layout::of(place).repository(place.repository);
    let listing =
        attempt(LIST_PATIENCE, |error| store.retry(error), || store.list(&folder, Some(JUST_BEFORE), 1))
            .await?;
    Ok(listing.folders.first().is_some_and(|folder| folder.starts_with('_')))
}
