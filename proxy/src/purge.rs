//! Forgets what nodes are told to forget: a registry, a repository or a blob.
//!
//! | named | links, tags, lists of | blobs and manifests |
//! |---|---|---|
//! | a registry | all its repositories | all of them |
//! | a repository | this one | stay: which of them are its own alone is not known, and without a link that is read anew nobody is served any |
//! | a digest, with or without a repository | the links to it | this one |
//!
//! What is in storage still is read anew when it is asked for.

use std::sync::Arc;

use dataproxy_cache::{Cache, CacheError, Digest, DigestError, Scope};
use dataproxy_router_api::{Location, Point, Purge};
use metrics::counter;
use tokio::sync::watch;

use crate::bindings::Bindings;
use crate::name::{Repository, RepositoryError};
use crate::pull::Puller;

/// A purge that can be done.
#[derive(Clone, Debug)]
pub(crate) struct Subject {
    /// Where the registry lies now; none if it is bound no more, and then no link of it is ever looked up.
    pub(crate) location: Option<Location>,
    pub(crate) purge: Purge,
    pub(crate) repository: Option<Repository>,
    pub(crate) digest: Option<Digest>,
}

/// A purge of what cannot be.
#[derive(Debug, thiserror::Error)]
enum Wrong {
    #[error("its repository is none: {0}")]
    Repository(RepositoryError),
    #[error("its digest is none: {0}")]
    Digest(DigestError),
}

impl Subject {
    fn of(purge: &Purge, bindings: &Bindings) -> Result<Self, Wrong> {
        let table = bindings.current();
        let repository =
            purge.repository.as_deref().map(str::parse).transpose().map_err(Wrong::Repository)?;
        let digest = purge.digest.as_deref().map(str::parse).transpose().map_err(Wrong::Digest)?;
        let location = table.binding(&purge.registry).map(|binding| binding.placement.own());
        Ok(Self { location, purge: purge.clone(), repository, digest })
    }

    /// Whether a repository is meant.
    pub(crate) fn covers(&self, repository: &Repository) -> bool {
        self.repository.as_ref().is_none_or(|meant| meant == repository)
    }
}

/// Does what the bindings say is to be forgotten.
pub struct Purger {
    bindings: Arc<Bindings>,
    cache: Cache,
    puller: Arc<Puller>,
    done: watch::Sender<Point>,
}

impl Purger {
    /// What has been done up to `done` is not done again; `done` tells how far it is.
    pub fn new(
        bindings: Arc<Bindings>,
        cache: Cache,
        puller: Arc<Puller>,
        done: watch::Sender<Point>,
    ) -> Self {
        Self { bindings, cache, puller, done }
    }

    /// Does all that the bindings in force say and that is not done yet. Safe to drop at any point: what was not ended
    /// is done again.
    pub async fn catch_up(&self) {
        let table = self.bindings.current();
        let mut purges: Vec<&Purge> = table.snapshot().purges.iter().collect();
        purges.sort_by_key(|purge| purge.revision);
        for purge in purges {
            let point = Point { history: table.snapshot().history, revision: purge.revision };
            if point <= *self.done.borrow() {
                continue;
            }
            // Two may have one revision: it is done when the last of them is.
            let of_revision = table.snapshot().purges.iter().filter(|other| other.revision == purge.revision);
            for purge in of_revision {
                if let Err(error) = self.forget(purge).await {
                    tracing::error!(?purge, %error, "a purge is not done; it is tried again");
                    return;
                }
            }
            self.done.send_replace(point);
        }
    }

    async fn forget(&self, purge: &Purge) -> Result<(), CacheError> {
        let subject = match Subject::of(purge, &self.bindings) {
            Ok(subject) => subject,
            Err(wrong) => {
                tracing::error!(?purge, %wrong, "a purge names nothing that could be kept");
                return Ok(());
            }
        };
        // The links first: who asks for bytes that are gone has them read anew, with a right to them that is old.
        self.puller.forget(&subject);
        let mut blobs = 0;
        if subject.repository.is_none() || subject.digest.is_some() {
            let scope = Scope::new(purge.registry.as_str());
            blobs = self.cache.purge(&scope, subject.digest.as_ref()).await?;
        }
        counter!("dataproxy_purges_total").increment(1);
        let Purge { revision, registry, repository, digest } = purge;
        tracing::info!(%revision, %registry, repository, digest, blobs, "purged");
        Ok(())
    }

    /// Does what comes, for as long as it is polled. Safe to drop at any point.
    pub async fn follow(&self) {
        let mut changes = self.bindings.changes();
        loop {
            self.catch_up().await;
            if changes.changed().await.is_err() {
                return;
            }
        }
    }
}
