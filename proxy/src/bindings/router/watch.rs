//! One stream of one router: the whole, then each change, until it is lost.

use std::sync::Arc;

use dataproxy_router_api::{Change, History, Point, Revision, Snapshot};
use http::Method;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use metrics::counter;
use tokio::time::{Instant, sleep, timeout};

use super::RouterFeed;
use super::events::{Event, Events};
use crate::bindings::{Bindings, Table};
use crate::routers::RouterUrl;

/// How a stream ended.
pub(super) struct Watched {
    /// Whether the router was of any use.
    pub(super) heard: bool,
    /// Why it is left.
    pub(super) why: String,
}

/// Follows a router until it is lost, or says what is of no use.
pub(super) async fn watch(feed: &RouterFeed, router: &RouterUrl) -> Watched {
    let after = feed.is_confirmed().then(|| feed.bindings.current().snapshot().point());
    let path = match after {
        // As routers of the version before know it.
        Some(Point { history: History(0), revision }) => format!("/v1/watch?after={revision}"),
        Some(Point { history, revision }) => format!("/v1/watch?after={revision}&history={history}"),
        None => "/v1/watch".to_owned(),
    };
    let mut heard = false;
    let why = match feed.routers.ask(router, Method::GET, &path, None).await {
        Err(error) => error.to_string(),
        Ok(response) => tokio::select! {
            ended = stream(feed, router, response.into_body(), &mut heard) => match ended {
                Err(why) => why,
                Ok(()) => "it ended the stream".to_owned(),
            },
            newest = behind(feed) => format!("it is behind: another router has revision {newest}"),
        },
    };
    Watched { heard, why }
}

async fn stream(
    feed: &RouterFeed,
    router: &RouterUrl,
    mut body: Incoming,
    heard: &mut bool,
) -> Result<(), String> {
    let (mut events, begun, silence) = (Events::default(), Instant::now(), feed.patience.silence);
    loop {
        // Signs of life are not enough for who has nothing to work from.
        let patience = if feed.is_confirmed() { silence } else { silence.saturating_sub(begun.elapsed()) };
        let silent = |_| format!("it said nothing for {} s", silence.as_secs());
        let Some(frame) = timeout(patience, body.frame()).await.map_err(silent)? else { return Ok(()) };
        let frame = frame.map_err(|error| format!("the stream broke: {error}"))?;
        let Ok(piece) = frame.into_data() else { continue };
        let found = events.take(&piece).map_err(|error| error.to_string())?;
        // What has an event to say shows by that whether it is of use.
        if found.is_empty() && feed.is_confirmed() {
            *heard = true;
            feed.heard(router);
        }
        for event in found {
            take(feed, event).await.inspect_err(|_| {
                counter!("dataproxy_router_refused_total").increment(1);
            })?;
            *heard = true;
            feed.heard(router);
        }
    }
}

/// Resolves once another router has had a newer revision for a while: the one that is followed may be cut off from the
/// others, and says that it lives all the same. Routers tell their revision in answer to reports.
async fn behind(feed: &RouterFeed) -> Point {
    let mut told = feed.routers.newest();
    loop {
        let newest = *told.borrow_and_update();
        let is_behind = || newest > feed.bindings.current().snapshot().point();
        if is_behind() {
            sleep(feed.patience.behind).await;
            if is_behind() {
                return newest;
            }
        } else if told.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

/// Puts in force what a router says.
async fn take(feed: &RouterFeed, event: Event) -> Result<(), String> {
    let (bindings, region) = (Arc::clone(&feed.bindings), feed.region.clone());
    let is_confirmed = feed.is_confirmed();
    let Event { name, data } = event;
    // To read all that there is to know of a region takes a while, and this thread serves pulls.
    let taken = tokio::task::spawn_blocking(move || {
        let before = bindings.current();
        let snapshot = match name.as_str() {
            "snapshot" => whole(&data)?,
            "change" => match changed(&data, before.snapshot())? {
                Some(snapshot) => snapshot,
                None => return Ok(Some(before.snapshot().revision)),
            },
            // Of a later version.
            _ => return Ok(None),
        };
        if snapshot.region != region {
            return Err(format!("it is of region {}; this node is of region {region}", snapshot.region));
        }
        put_in_force(&bindings, snapshot, is_confirmed).map(Some)
    })
    .await;
    if let Some(revision) = taken.map_err(|_| "the node ends".to_owned())?? {
        feed.in_force(revision);
    }
    Ok(())
}

fn put_in_force(bindings: &Bindings, snapshot: Snapshot, is_confirmed: bool) -> Result<Revision, String> {
    let (revision, history, before) = (snapshot.revision, snapshot.history, bindings.current());
    if before.snapshot() == &snapshot {
        return Ok(revision);
    }
    snapshot.validate().map_err(|error| format!("revision {revision} contradicts itself: {error}"))?;
    let (registries, stamps) = (snapshot.bindings.len(), snapshot.stamps.len());
    let table = Table::new(snapshot);
    let put = if is_confirmed { bindings.replace(table) } else { bindings.confirm(table) };
    put.map_err(|refused| format!("what it says is not put in force: {refused}"))?;
    if history > before.snapshot().history {
        let before = before.snapshot().point();
        tracing::warn!(%history, %revision, %before, "the routers' store was restored from a backup; what it says is taken anew");
    }
    counter!("dataproxy_bindings_changes_total").increment(1);
    tracing::info!(%revision, registries, stamps, "bindings in force");
    Ok(revision)
}

fn whole(data: &[u8]) -> Result<Snapshot, String> {
    serde_json::from_slice(data).map_err(|error| format!("its snapshot cannot be read: {error}"))
}

/// What comes of a change; nothing if it is known already.
fn changed(data: &[u8], before: &Snapshot) -> Result<Option<Snapshot>, String> {
    let change: Change =
        serde_json::from_slice(data).map_err(|error| format!("its change cannot be read: {error}"))?;
    if change.point() <= before.point() {
        return Ok(None);
    }
    change.apply(before).map(Some).map_err(|error| error.to_string())
}
