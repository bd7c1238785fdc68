//! The manifests that refer to a digest: signatures, SBOMs and the like (OCI distribution-spec 1.1, "Listing Referrers").
//!
//! The storage layout has no such list, so it is made by walking the repository's manifests and reading whose
//! `subject` is which; it then serves all subjects of the repository for `tag_ttl`. An upstream registry is asked for
//! its own list of the one subject. What clients have written into the fallback tag `<algorithm>-<hex>` counts as well. An unknown repository has no referrers: the specification
//! wants an empty list, not a 404.

use std::sync::Arc;

use dataproxy_cache::Digest;
use http::{HeaderValue, StatusCode, header};
use serde::Serialize;
use serde_json::value::RawValue;

use crate::content::Content;
use crate::manifest::Manifests;
use crate::media_type::OCI_INDEX;
use crate::name::{Reference, Tag};
use crate::paging::Asked;
use crate::purge::Subject;
use crate::refusal::Refusal;
use crate::resolve::ResolvedStamp;
use crate::respond::{Answer, OCI_FILTERS_APPLIED};

mod descriptor;
mod walk;

use descriptor::Descriptor;
use walk::Walks;

/// Most descriptors of a page.
const PAGE_MAX: usize = 1000;
/// Most bytes of a page's descriptors: with the rest of the index below the 4 MiB that clients read.
const PAGE_BYTES: usize = 4_000_000;

/// The referrers of all repositories, walked when they are asked for.
#[derive(Debug)]
pub(crate) struct Referrers {
    walks: Walks,
}

impl Default for Referrers {
    fn default() -> Self {
        Self::new()
    }
}

/// What is asked for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wanted<'r> {
    /// The digest referred to.
    pub(crate) subject: &'r Digest,
    /// Only those of this type.
    pub(crate) artifact_type: Option<&'r str>,
    /// Only those after this one.
    pub(crate) last: Option<&'r Digest>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Index {
    schema_version: u8,
    media_type: &'static str,
    manifests: Vec<Box<RawValue>>,
}

impl Referrers {
    /// Nothing walked yet.
    pub(crate) fn new() -> Self {
        Self { walks: Walks::new() }
    }

    /// Forgets what refers to what in what a purge names.
    pub(crate) fn forget(&self, subject: &Subject) {
        self.walks.forget(subject);
    }

    /// Answers a GET.
    ///
    /// # Errors
    /// A storage refusal: an outage is never an empty list.
    pub(crate) async fn answer(
        &self,
        content: &Content,
        manifests: &Manifests,
        at: &ResolvedStamp<'_>,
        wanted: Wanted<'_>,
        asked: Asked<'_>,
    ) -> Result<Answer, Refusal> {
        let walk = self.walks.of(content, manifests, at, wanted.subject).await?;
        let mut found = walk.of(wanted.subject);
        found.extend(in_fallback_tag(content, manifests, at, wanted.subject).await?);
        found.retain(|referrer| wanted.artifact_type.is_none_or(|kind| referrer.is_of_type(kind)));
        found.sort_by(|a, b| a.digest().cmp(b.digest()));
        found.dedup_by(|a, b| a.digest() == b.digest());
        found.retain(|referrer| wanted.last.is_none_or(|last| referrer.digest() > last));
        let (page, next) = page(&found);
        let index = Index { schema_version: 2, media_type: OCI_INDEX, manifests: page };
        let mut answer = Answer::json(StatusCode::OK, OCI_INDEX, &index);
        if let Some(last) = next {
            let mut parameters = vec![("last", last.to_string())];
            parameters.extend(wanted.artifact_type.map(|kind| ("artifactType", kind.to_owned())));
            answer = answer.with_text(header::LINK, asked.next(&parameters));
        }
        if wanted.artifact_type.is_some() {
            answer = answer.with(OCI_FILTERS_APPLIED, HeaderValue::from_static("artifactType"));
        }
        if walk.is_partial() {
            const PARTIAL: HeaderValue = HeaderValue::from_static(
                "299 - \"the repository has too many manifests to look at all of them\"",
            );
            answer = answer.with(header::WARNING, PARTIAL);
        }
        Ok(answer)
    }
}

/// As many descriptors as fit a page, and the last of them if more follow.
fn page(found: &[Arc<Descriptor>]) -> (Vec<Box<RawValue>>, Option<Digest>) {
    let (mut page, mut bytes) = (Vec::new(), 0);
    for (count, referrer) in found.iter().enumerate() {
        let json = referrer.to_json();
        bytes += json.get().len() + 1;
        if count > 0 && (count >= PAGE_MAX || bytes > PAGE_BYTES) {
            return (page, found.get(count - 1).map(|last| last.digest().clone()));
        }
        page.push(json);
    }
    (page, None)
}

/// What clients without a referrers API to push to have listed under `<algorithm>-<hex>`.
async fn in_fallback_tag(
    content: &Content,
    manifests: &Manifests,
    at: &ResolvedStamp<'_>,
    subject: &Digest,
) -> Result<Vec<Arc<Descriptor>>, Refusal> {
    let hex = subject.hex();
    let tag = format!("{}-{}", subject.algorithm().name(), hex.get(..64).unwrap_or(&hex));
    let Ok(tag) = tag.parse::<Tag>() else { return Ok(Vec::new()) };
    let read = async {
        let owned = content.manifest(at, &Reference::Tag(tag)).await?;
        manifests.read(&owned).await
    };
    match read.await {
        Ok((bytes, _)) => Ok(descriptor::listed_in(&bytes)),
        Err(Refusal::ManifestUnknown | Refusal::ManifestTooLarge { .. }) => Ok(Vec::new()),
        Err(refusal) => Err(refusal),
    }
}
