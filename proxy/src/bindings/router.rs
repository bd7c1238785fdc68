//! Bindings from the routers: one at a time is followed, what it says is put in force if it does not go backwards, and
//! the last of it is kept on disk. While no router answers, the node works from what it has.

mod events;
pub(crate) mod saved;
mod watch;

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use dataproxy_router_api::{Point, RegionName, Revision, Snapshot};
use metrics::{counter, gauge};
use tokio::sync::watch as signal;

use super::{Bindings, Table};
use crate::routers::{RouterUrl, Routers};

/// Least time between two writes of the snapshot.
const SAVE_EVERY: Duration = Duration::from_secs(1);
/// Longest first wait before another router is asked; each that comes to nothing doubles it.
const PAUSE_MIN: Duration = Duration::from_millis(250);
/// Longest such wait.
const PAUSE_MAX: Duration = Duration::from_secs(10);

/// What a router that is followed may take its time for.
#[derive(Clone, Copy, Debug)]
struct Patience {
    /// For a sign of life; a router gives one every 5 s. And for the whole, at first.
    silence: Duration,
    /// For a revision that another router has.
    behind: Duration,
}

const PATIENCE: Patience = Patience { silence: Duration::from_secs(15), behind: Duration::from_secs(5) };

/// Where the bindings in force come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// There are none yet: no router has answered, and none has before.
    Nowhere,
    /// The last good snapshot on disk; no router has answered since the start.
    Disk,
    /// A router, though it may be away now.
    Router,
}

impl Origin {
    /// The stable word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Nowhere => "none",
            Self::Disk => "disk",
            Self::Router => "router",
        }
    }
}

/// How the following goes.
#[derive(Clone, Debug)]
pub struct Following {
    /// Where the bindings in force come from.
    pub origin: Origin,
    /// The router that is followed now.
    pub router: Option<RouterUrl>,
    /// When a router last gave a sign of life, or the snapshot was saved that the node began with.
    pub as_of: Option<SystemTime>,
    /// What went wrong last, while no router is followed.
    pub error: Option<String>,
}

/// Bindings from the routers.
#[derive(Debug)]
pub struct RouterFeed {
    routers: Arc<Routers>,
    region: RegionName,
    path: PathBuf,
    bindings: Arc<Bindings>,
    following: Mutex<Following>,
    /// Whether a router has said anything since the start: what was saved before may lack what this version knows.
    confirmed: AtomicBool,
    available: signal::Sender<bool>,
    purged: signal::Sender<Point>,
    patience: Patience,
}

impl RouterFeed {
    /// Begins with what was saved in the file `path`, if anything was. Asks nobody yet.
    ///
    /// # Errors
    /// The file's folder cannot be made. A file that is of no use is told in the log and otherwise as if it were not
    /// there.
    pub fn open(routers: Arc<Routers>, region: RegionName, path: PathBuf) -> std::io::Result<Self> {
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder)?;
        }
        let saved = saved::read(&path, &region).unwrap_or_else(|reason| {
            tracing::error!(path = %path.display(), reason, "the saved snapshot is of no use; a router is waited for");
            None
        });
        let is_available = saved.is_some();
        let mut following = Following { origin: Origin::Nowhere, router: None, as_of: None, error: None };
        let (table, purged) = match saved {
            Some(saved) => {
                following.origin = Origin::Disk;
                following.as_of = std::fs::metadata(&path).and_then(|meta| meta.modified()).ok();
                let revision = saved.table.snapshot().revision;
                tracing::info!(%revision, path = %path.display(), "bindings in force, from disk");
                (saved.table, saved.purged)
            }
            None => (Table::new(Snapshot::empty(region.clone())), Point::default()),
        };
        gauge!("dataproxy_bindings_revision").set(table.snapshot().revision.0 as f64);
        Ok(Self {
            routers,
            region,
            path,
            bindings: Arc::new(Bindings::new(table)),
            following: Mutex::new(following),
            confirmed: AtomicBool::new(false),
            available: signal::Sender::new(is_available),
            purged: signal::Sender::new(purged),
            patience: PATIENCE,
        })
    }

    /// The bindings that the routers feed.
    pub fn bindings(&self) -> &Arc<Bindings> {
        &self.bindings
    }

    /// How the following goes.
    pub fn following(&self) -> Following {
        self.state().clone()
    }

    /// Resolves once there are bindings to work from. Safe to drop at any point.
    pub async fn available(&self) {
        // The sender lives as long as `self`, so the wait cannot fail.
        let _ = self.available.subscribe().wait_for(|is| *is).await;
    }

    /// What this node has forgotten of what it was told to: all up to there. Saved with the snapshot.
    pub fn purged(&self) -> &signal::Sender<Point> {
        &self.purged
    }

    fn state(&self) -> MutexGuard<'_, Following> {
        self.following.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Follows the routers for as long as it is polled. Safe to drop at any point.
    pub async fn follow(&self) {
        tokio::join!(self.follow_routers(), self.save());
    }

    async fn follow_routers(&self) {
        let urls = self.routers.urls();
        // Nodes that start together do not all begin with the same one.
        let mut at = rand::random_range(0..urls.len().max(1));
        let mut pause = PAUSE_MIN;
        while let Some(router) = urls.get(at % urls.len().max(1)) {
            let watched = watch::watch(self, router).await;
            counter!("dataproxy_router_watches_lost_total").increment(1);
            if watched.heard {
                pause = PAUSE_MIN;
            }
            self.lost(router, watched.why);
            // Full jitter: whoever lost a router together comes back apart.
            tokio::time::sleep(rand::random_range(Duration::ZERO..pause)).await;
            pause = (pause * 2).min(PAUSE_MAX);
            at += 1;
        }
    }

    fn lost(&self, router: &RouterUrl, why: String) {
        let why = format!("router {router}: {why}");
        let is_new = {
            let mut state = self.state();
            state.router = None;
            state.error.replace(why.clone()).is_none_or(|before| before != why)
        };
        if is_new {
            let (revision, from) = (self.bindings.current().snapshot().revision, self.following().origin);
            tracing::warn!(why, %revision, from = from.as_str(), "not following this router; the bindings in force stay");
        } else {
            tracing::debug!(why, "not following this router");
        }
    }

    /// A router gives a sign of life.
    fn heard(&self, router: &RouterUrl) {
        let mut state = self.state();
        state.as_of = Some(SystemTime::now());
        if state.router.as_ref() != Some(router) {
            tracing::info!(%router, "following a router");
            state.router = Some(router.clone());
            state.error = None;
        }
    }

    /// What it says is in force.
    fn in_force(&self, revision: Revision) {
        self.confirmed.store(true, Ordering::Relaxed);
        self.state().origin = Origin::Router;
        self.available.send_replace(true);
        gauge!("dataproxy_bindings_revision").set(revision.0 as f64);
    }

    fn is_confirmed(&self) -> bool {
        self.confirmed.load(Ordering::Relaxed)
    }

    /// Saves what is in force, a moment after it changes.
    async fn save(&self) {
        let (mut revisions, mut purged) = (self.bindings.changes(), self.purged.subscribe());
        let mut is_well = true;
        loop {
            tokio::select! {
                changed = revisions.changed() => if changed.is_err() { return },
                changed = purged.changed() => if changed.is_err() { return },
            }
            // Marked as seen before it is read, so that a change between the two is not missed.
            revisions.mark_unchanged();
            let (table, done, path) =
                (self.bindings.current(), *purged.borrow_and_update(), self.path.clone());
            let written =
                tokio::task::spawn_blocking(move || saved::write(&path, table.snapshot(), done)).await;
            match written {
                Ok(Ok(())) => is_well = true,
                Ok(Err(error)) if is_well => {
                    let path = self.path.display();
                    tracing::error!(%path, %error, "the snapshot cannot be saved; a start without a router would lack it");
                    is_well = false;
                }
                Ok(Err(_)) | Err(_) => {}
            }
            tokio::time::sleep(SAVE_EVERY).await;
        }
    }
}

#[cfg(test)]
mod tests;
