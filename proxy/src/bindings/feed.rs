//! Where a node's bindings come from: one of two ways, chosen once.

use std::sync::Arc;
use std::time::SystemTime;

use dataproxy_router_api::{Point, Revision};
use metrics::gauge;
use serde::Serialize;
use tokio::sync::watch;

use super::Bindings;
use super::file::BindingsFile;
use super::router::{Following, RouterFeed};
use crate::lifecycle::Lifecycle;

/// Where the bindings come from. Cheap to clone.
#[derive(Clone, Debug)]
pub enum Feed {
    /// A watched file.
    File(Arc<BindingsFile>),
    /// The routers.
    Router(Arc<RouterFeed>),
}

/// What an operator sees of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Shown {
    /// The revision in force.
    pub revision: Revision,
    /// `file`, `router`, `disk` (the last that a router said, saved before the start) or `none`.
    pub source: &'static str,
    /// The router that is followed now.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub router: Option<String>,
    /// Time since a router gave a sign of life, or since the snapshot was saved, in seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub age_seconds: Option<u64>,
    /// What is wrong, where something is.
    pub error: Option<String>,
}

impl Feed {
    /// The bindings that it feeds.
    pub fn bindings(&self) -> &Arc<Bindings> {
        match self {
            Self::File(file) => file.bindings(),
            Self::Router(router) => router.bindings(),
        }
    }

    /// Follows the source for as long as it is polled. Safe to drop at any point.
    pub async fn follow(&self, life: &Lifecycle) {
        match self {
            Self::File(file) => file.follow(life).await,
            Self::Router(router) => router.follow().await,
        }
    }

    /// Resolves once there are bindings to work from: at once with a file, which a start needs.
    pub async fn available(&self) {
        if let Self::Router(router) = self {
            router.available().await;
        }
    }

    /// Up to where purges are done, where that outlives the process.
    pub fn purged(&self) -> Option<&watch::Sender<Point>> {
        match self {
            Self::File(_) => None,
            Self::Router(router) => Some(router.purged()),
        }
    }

    /// What an operator sees of it.
    pub fn shown(&self) -> Shown {
        let revision = self.bindings().current().snapshot().revision;
        match self {
            Self::File(file) => {
                let error = file.error().map(|error| error.to_string());
                Shown { revision, source: "file", router: None, age_seconds: None, error }
            }
            Self::Router(feed) => {
                let Following { origin, router, as_of, error } = feed.following();
                let age = as_of.map(|at| SystemTime::now().duration_since(at).unwrap_or_default().as_secs());
                let router = router.map(|url| url.to_string());
                Shown { revision, source: origin.as_str(), router, age_seconds: age, error }
            }
        }
    }

    /// Brings the metrics up to date that are only read off at a scrape.
    pub fn show(&self) {
        let Shown { source, age_seconds, .. } = self.shown();
        for word in ["file", "router", "disk", "none"] {
            let is = if word == source { 1.0 } else { 0.0 };
            gauge!("dataproxy_bindings_source", "source" => word).set(is);
        }
        gauge!("dataproxy_bindings_age_seconds").set(age_seconds.unwrap_or(0) as f64);
    }
}
