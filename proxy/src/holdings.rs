//! The seam to a registry's content: what each of its repositories owns, and where the bytes of that are.
//!
//! Two make it: [`Laid`](crate::layout::Laid), the CNCF layout over a storage account, and
//! [`Upstream`](crate::upstream::Upstream), another registry that is asked. Everything before it (permit, binding) and
//! everything after it (cache, stream) is the same for both.

use std::fmt;
use std::sync::Arc;

use dataproxy_cache::{Digest, OriginError, Retry, Source};
use dataproxy_router_api::Prefix;
use futures_util::future::BoxFuture;

use crate::name::{Repository, Tag};
use crate::refusal::Refusal;
use crate::store::Store;

/// A repository, and where its registry lies in the account.
#[derive(Clone, Copy, Debug)]
pub struct Place<'p> {
    /// The container; empty for an account that has none.
    pub container: &'p str,
    /// What comes before the layout in names; empty for an account that has no containers.
    pub prefix: &'p Prefix,
    /// The repository.
    pub repository: &'p Repository,
}

/// What a repository may own.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Claim {
    /// A layer or a config.
    Blob(Digest),
    /// A manifest.
    Manifest(Digest),
    /// A tag, which means a manifest.
    Tag(Tag),
}

/// What the account says of a claim.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    /// It is there: the claim's own digest, or what the tag means.
    Digest(Digest),
    /// It is not there.
    Absent,
    /// Something is there that names no digest: half-written, or damaged.
    Unreadable,
}

/// Some of a repository's tags, in byte order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TagPage {
    /// The tags.
    pub tags: Vec<Tag>,
    /// The tag after which the next page begins, if there is one.
    pub next: Option<Tag>,
}

/// How the account tells which manifests refer to a digest.
pub enum Referring<'h> {
    /// It keeps lists of them.
    Listed(&'h dyn ReferrersLists),
    /// It can only list all manifests of a repository; what each refers to is for the reader to find.
    Walked(&'h dyn ManifestList),
}

/// Part of a list that may be too long to read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Partial<T> {
    /// What was read.
    pub items: Vec<T>,
    /// Whether anything was left out.
    pub more: bool,
}

/// The content of the registries that lie in one account.
///
/// Dropping a future stops the asking without harm. Callers bound the time and try again; an absence and an outage
/// never look alike.
pub trait Holdings: fmt::Debug + Send + Sync + 'static {
    /// Whether a placement here names a container.
    fn has_containers(&self) -> bool;

    /// What a caller is told where the account refuses this node.
    fn denied(&self) -> Refusal {
        Refusal::StorageDenied
    }

    /// What a repository owns under `claim`, by one question to the account.
    ///
    /// # Errors
    /// [`OriginError`], never one of absence.
    fn find<'a>(&'a self, place: Place<'a>, claim: &'a Claim) -> BoxFuture<'a, Result<Found, OriginError>>;

    /// Where the bytes of a blob are that the repository owns.
    fn blob(self: Arc<Self>, place: Place<'_>, digest: &Digest) -> Source;

    /// Where the bytes of a manifest are that the repository owns.
    fn manifest(self: Arc<Self>, place: Place<'_>, digest: &Digest) -> Source;

    /// At most `size` tags after `last`; `None` if there is no such repository.
    ///
    /// # Errors
    /// [`OriginError`]
    fn tags<'a>(
        &'a self,
        place: Place<'a>,
        size: usize,
        last: Option<&'a Tag>,
    ) -> BoxFuture<'a, Result<Option<TagPage>, OriginError>>;

    /// How it tells what refers to what.
    fn referring(&self) -> Referring<'_>;

    /// The storage account, if it is one: there may be copies of it, and URLs that clients read it by.
    fn store(&self) -> Option<&Arc<dyn Store>> {
        None
    }

    /// Whether a question that ended with this transient error may be asked again, as
    /// [`Origin::retry`](dataproxy_cache::Origin::retry).
    fn retry(&self, error: &OriginError) -> Retry {
        self.store().map_or(Retry::Counted, |store| store.retry(error))
    }
}

/// An account that keeps lists of referrers.
pub trait ReferrersLists: Sync {
    /// The descriptors, as JSON text each, of the manifests that refer to `subject`; none if the account has no such
    /// lists.
    ///
    /// # Errors
    /// [`OriginError`]
    fn referrers<'a>(
        &'a self,
        place: Place<'a>,
        subject: &'a Digest,
    ) -> BoxFuture<'a, Result<Partial<Box<serde_json::value::RawValue>>, OriginError>>;
}

/// An account that can list the manifests of a repository.
pub trait ManifestList: Sync {
    /// Their digests, at most `limit`.
    ///
    /// # Errors
    /// [`OriginError`]
    fn manifests<'a>(
        &'a self,
        place: Place<'a>,
        limit: usize,
    ) -> BoxFuture<'a, Result<Partial<Digest>, OriginError>>;
}
