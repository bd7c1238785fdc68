//! What nodes and consoles follow: server-sent events (WHATWG HTML, 9.2), the whole first or what came after a revision.

use std::convert::Infallible;
use std::time::Duration;

use axum::body::Body;
use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use dataproxy_router_api::{History, Point, Revision};
use futures_util::stream::{self, StreamExt};
use serde::Deserialize;
use tokio::sync::watch;
use tokio::time::timeout;

use super::Context;
use super::answer::{Failed, Query};
use super::auth::{Access, Role};
use crate::control::Control;
use crate::metrics::{self, Watcher};
use crate::publish::Next;

/// Time between two signs of life.
const ALIVE: Duration = Duration::from_secs(5);

/// From where to follow.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct After {
    /// The revision that is at hand; everything is told if absent.
    after: Option<Revision>,
    /// The history that it is of; the first if absent.
    #[serde(default)]
    history: History,
}

pub(super) async fn watch(
    State(context): State<Context>,
    access: Access,
    Query(After { after, history }): Query<After>,
) -> Result<Response, Failed> {
    if access.needs(Role::Node).is_err() {
        access.needs(Role::Viewer)?;
    }
    let news = context.control.publisher().news();
    let seen = after.map(|revision| Point { history, revision });
    let reader = Reader { control: context.control, news, seen, _watcher: Watcher::new() };
    let events = stream::unfold(reader, |mut reader| async {
        let events = reader.next().await?;
        Some((stream::iter(events.into_iter().map(Ok::<_, Infallible>)), reader))
    });
    let headers = [(header::CONTENT_TYPE, "text/event-stream"), (header::CACHE_CONTROL, "no-store")];
    Ok((headers, Body::from_stream(events.flatten())).into_response())
}

/// One who follows. It holds a place, not a queue: a slow one costs nothing, and is told the whole if it falls too far
/// behind.
struct Reader {
    control: std::sync::Arc<Control>,
    news: watch::Receiver<Revision>,
    seen: Option<Point>,
    _watcher: Watcher,
}

impl Reader {
    /// The next events; none once the router has ended.
    async fn next(&mut self) -> Option<Vec<Bytes>> {
        self.news.borrow_and_update();
        let next = self.seen.map_or(Next::Whole, |seen| self.control.publisher().after(seen));
        match next {
            Next::Changes(changes, revision) => {
                self.seen = self.seen.map(|seen| Point { revision, ..seen });
                metrics::told("change", changes.len());
                Some(changes)
            }
            Next::Whole => {
                let control = &self.control;
                let whole = control.publisher().whole(|| control.state().snapshot());
                let (point, text) = whole.inspect_err(|error| tracing::error!(%error, "no snapshot")).ok()?;
                self.seen = Some(point);
                metrics::told("snapshot", 1);
                Some(vec![text])
            }
            Next::Nothing => match timeout(ALIVE, self.news.changed()).await {
                Ok(Ok(())) => Some(Vec::new()),
                Ok(Err(_)) => None,
                Err(_) => Some(vec![Bytes::from_static(b":\n\n")]),
            },
        }
    }
}
