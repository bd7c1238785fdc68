//! What a node does with its routers: it follows one and reports to all; or it has a file in their place.

use std::sync::Arc;

use dataproxy_cache::Cache;
use dataproxy_router_api::Node;
use tokio::task::JoinSet;

use crate::bindings::Table;
use crate::bindings::feed::Feed;
use crate::bindings::file::{self, BindingsFile};
use crate::bindings::router::{RouterFeed, saved};
use crate::config::{BindingsSource, Config};
use crate::exit::{Exit, Failure};
use crate::intent;
use crate::lifecycle::Lifecycle;
use crate::minutes::Minutes;
use crate::pull::Puller;
use crate::purge::Purger;
use crate::reach::moving::Moving;
use crate::report::{self, Identity, Reporter};
use crate::resolve::Stores;
use crate::routers::{RouterSettings, Routers};

/// Where the bindings come from, and the way to the routers, where they come from those.
pub(super) struct Opened {
    pub(super) feed: Feed,
    pub(super) routers: Option<Arc<Routers>>,
}

/// Opens the source that the configuration names; asks nobody yet.
pub(super) fn open(config: &Config) -> Result<Opened, Failure> {
    let region = config.node.region.clone();
    match &config.bindings {
        BindingsSource::File { path } => {
            let file = BindingsFile::open(path.clone(), region);
            let file = file.map_err(|error| Failure::new(Exit::Input, error))?;
            Ok(Opened { feed: Feed::File(Arc::new(file)), routers: None })
        }
        BindingsSource::Router { routers, snapshot, token_file, ca_file } => {
            let settings = RouterSettings {
                urls: routers.clone(),
                token_file: token_file.clone(),
                ca_file: ca_file.clone(),
            };
            let routers = Routers::open(settings)
                .map_err(|error| Failure::new(Exit::Input, format!("bindings.ca_file: {error}")))?;
            let routers = Arc::new(routers);
            let feed = RouterFeed::open(Arc::clone(&routers), region, snapshot.clone())
                .map_err(|error| Failure::new(Exit::Folder, format!("bindings.snapshot: {error}")))?;
            Ok(Opened { feed: Feed::Router(Arc::new(feed)), routers: Some(routers) })
        }
    }
}

/// Tells the routers of the node, from now on; of a front door they know nothing.
pub(super) fn report(
    config: &Config,
    routers: Arc<Routers>,
    feed: &Feed,
    stores: &Stores,
    life: &Lifecycle,
    minutes: &Arc<Minutes>,
    background: &mut JoinSet<()>,
) {
    let node = &config.node;
    let (Some(stamp), Some(address)) = (node.stamp.clone(), config.address()) else { return };
    let identity = Identity {
        region: node.region.clone(),
        stamp: stamp.clone(),
        node: Node::new(node.name.clone(), address, config.admin_address(), node.role),
        incarnation: report::incarnation(),
    };
    let incarnation = identity.incarnation;
    let (bindings, moving) = (Arc::clone(feed.bindings()), Arc::<Moving>::default());
    let (follows, minutes) = (Arc::clone(&moving), Arc::clone(minutes));
    let reporter = Reporter::new(identity, Arc::clone(&bindings), follows, life.clone(), minutes);
    background.spawn(async move { report::send(&reporter, &routers).await });
    let (stores, moved) = (stores.clone(), Arc::clone(&bindings));
    background.spawn(async move { moving.follow(&moved, &stores, &stamp).await });
    let (name, life) = (node.name.clone(), life.clone());
    background.spawn(async move { intent::follow(&bindings, &name, incarnation, &life).await });
}

/// Forgets what is to be forgotten before anything is served, and from then on.
pub(super) async fn purge(feed: &Feed, cache: Cache, puller: Arc<Puller>, background: &mut JoinSet<()>) {
    let done = feed.purged().cloned().unwrap_or_default();
    let purger = Purger::new(Arc::clone(feed.bindings()), cache, puller, done);
    purger.catch_up().await;
    background.spawn(async move { purger.follow().await });
}

/// The bindings that a node would start from; none if it would wait for a router first.
pub(super) fn known(config: &Config) -> Result<Option<Table>, Failure> {
    let region = &config.node.region;
    match &config.bindings {
        BindingsSource::File { path } => {
            file::load(path, region).map(Some).map_err(|error| Failure::new(Exit::Input, error))
        }
        BindingsSource::Router { snapshot, .. } => {
            let bad = |reason: String| Failure::new(Exit::Input, format!("{}: {reason}", snapshot.display()));
            Ok(saved::read(snapshot, region).map_err(bad)?.map(|saved| saved.table))
        }
    }
}

/// Where those are, in words.
pub(super) fn place(config: &Config) -> String {
    match &config.bindings {
        BindingsSource::File { path } => path.display().to_string(),
        BindingsSource::Router { routers, snapshot, .. } => {
            let routers: Vec<String> = routers.iter().map(ToString::to_string).collect();
            format!("of {}, as saved in {}", routers.join(", "), snapshot.display())
        }
    }
}
