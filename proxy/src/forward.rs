//! Forwards a pull to a node of its registry's home stamp: asks the next one where one does not answer, and goes on at
//! another one where one dies inside a body. Everything that is forwarded is GET or HEAD, so asking twice is safe.
//!
//! A front door forwards every pull this way, and a node of a stamp those that it cannot serve any more.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderMap, HeaderName, Response, StatusCode, request};
use http_body::Body as _;
use hyper::body::Incoming;
use metrics::counter;
use tokio::time::{Instant, timeout, timeout_at};

use crate::bindings::Bindings;
use crate::body::Body;
use crate::config::Forwarding;
use crate::refusal::Refusal;

mod delivery;
mod hop;
mod nodes;
mod resume;

pub(crate) use delivery::accounted_response;
pub(crate) use hop::mark;
use hop::{Failed, Hop};
use nodes::Nodes;
pub(crate) use nodes::Route;

/// How often a request that waits for a ready node looks at the bindings again: they may name another stamp.
const LOOK_AGAIN: Duration = Duration::from_millis(250);

/// Marks a request that a node of a stamp has forwarded: it is not forwarded again.
pub(crate) const HOP: HeaderName = HeaderName::from_static("dataproxy-hop");
/// The epoch of the binding by which it was.
pub(crate) const EPOCH: HeaderName = HeaderName::from_static("dataproxy-epoch");

/// What it takes to ask any node for one response, again and again.
pub(crate) struct Wish {
    pub(crate) parts: request::Parts,
    pub(crate) route: Route,
}

/// The way to the nodes of all stamps. Shared by all requests.
#[derive(Debug)]
pub(crate) struct Forwarder {
    settings: Forwarding,
    nodes: Nodes,
    hop: Hop,
}

impl Forwarder {
    pub(crate) fn new(bindings: Arc<Bindings>, settings: Forwarding) -> Arc<Self> {
        let hop = Hop::new(settings.connect_timeout);
        let nodes = Nodes::new(bindings, settings.probe_interval, settings.connect_timeout);
        Arc::new(Self { settings, nodes, hop })
    }

    /// Looks at the nodes' `/readyz` for as long as it is polled. Without it, nodes are taken for ready until one
    /// refuses a connection.
    pub(crate) async fn probe(&self) {
        self.nodes.probe().await;
    }

    /// Resolves once every node of the region has been looked at.
    pub(crate) async fn looked(&self) {
        self.nodes.looked().await;
    }

    /// When a request that began then is to have its response's headers.
    pub(crate) fn deadline(&self, began: Instant) -> Instant {
        began + self.settings.headers_timeout
    }

    /// Gets a response's headers from the best node that answers in time. `range` replaces the client's own;
    /// nodes to `avoid` are not asked, and `last` only where no other one answers. It has until `deadline`.
    pub(crate) async fn open(
        &self,
        wish: &Wish,
        range: Option<&HeaderMap>,
        avoid: &[SocketAddr],
        mut last: Option<SocketAddr>,
        deadline: Instant,
    ) -> Result<(SocketAddr, Response<Incoming>), Refusal> {
        let mut tried: Vec<_> = avoid.iter().copied().chain(last).collect();
        let (mut tries, mut timeouts) = (0, 0);
        loop {
            let mut changes = self.nodes.changes();
            let Some(node) = self.nodes.choose(&wish.route, &tried) else {
                if let Some(last) = last.take() {
                    tried.retain(|node| *node != last || avoid.contains(node));
                    continue;
                }
                // A request that is refused is a failed pull; one that waits for a node to come back is not.
                let look_again = deadline.min(Instant::now() + LOOK_AGAIN);
                let _ = timeout_at(look_again, changes.changed()).await;
                if Instant::now() >= deadline || !self.nodes.any_but(&wish.route, avoid) {
                    return Err(unanswered(wish, tries, timeouts));
                }
                tried = avoid.to_vec();
                continue;
            };
            let patience = self.settings.try_timeout.min(deadline - Instant::now());
            let failed = match timeout(patience, self.hop.send(node, &wish.parts, range)).await {
                // Else the client would be refused since a registry has moved.
                Ok(Ok(response))
                    if response.status() == StatusCode::LOOP_DETECTED
                        && wish.parts.headers.contains_key(&HOP) =>
                {
                    Failed::Loops
                }
                Ok(Ok(response)) => {
                    count_try("answered");
                    return Ok((node, response));
                }
                Ok(Err(failed)) => failed,
                Err(_) => Failed::Timeout,
            };
            count_try(failed.as_str());
            tracing::warn!(%node, reason = failed.as_str(), "node did not answer; asking the next one");
            if failed == Failed::Refused {
                self.nodes.is_down(node);
            }
            tried.push(node);
            tries += 1;
            timeouts += u32::from(failed == Failed::Timeout);
            if tries >= self.settings.attempts || Instant::now() >= deadline {
                return Err(unanswered(wish, tries, timeouts));
            }
        }
    }

    /// The client's response: the node's, its body going on at another node if this one is lost.
    pub(crate) fn deliver(
        self: Arc<Self>,
        wish: Wish,
        node: SocketAddr,
        response: Response<Incoming>,
    ) -> Response<Body> {
        let (mut head, body) = response.into_parts();
        hop::drop_hop_headers(&mut head.headers);
        let idle = self.settings.body_idle_timeout;
        let body = match resume::Extent::of(&wish.parts.method, &head) {
            Some(extent) => resume::body(self, wish, node, extent, body),
            None if body.is_end_stream() => Body::Empty,
            None => resume::bounded(body, idle),
        };
        Response::from_parts(head, body)
    }
}

/// Nodes that are there and slow are not nodes that are missing: what they wait for is late.
fn unanswered(wish: &Wish, tries: u32, timeouts: u32) -> Refusal {
    let registry = wish.route.registry.to_string();
    if tries > 0 && tries == timeouts {
        Refusal::NodeTimeout(registry)
    } else {
        counter!("dataproxy_front_unready_total").increment(1);
        Refusal::NoNodeReady(registry)
    }
}

fn count_try(outcome: &'static str) {
    counter!("dataproxy_front_tries_total", "outcome" => outcome).increment(1);
}
