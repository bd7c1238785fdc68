//! The front door: a node of no stamp that forwards each pull to a ready node of the registry's home stamp.
//!
//! It is what a client without DNS pulls from, and an L7 fall-back in production. It follows every change of
//! the bindings, asks the next ready node when one does not answer, and goes on with another one when a node
//! dies inside a body. Everything it forwards is GET or HEAD, so asking twice is safe.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use dataproxy_router_api::NodeName;
use http::{HeaderMap, Response, StatusCode, header, request};
use http_body::Body as _;
use hyper::body::Incoming;
use metrics::counter;
use tokio::time::{Instant, timeout, timeout_at};

use crate::account::Account;
use crate::bindings::Bindings;
use crate::body::Body;
use crate::config::Forwarding;
use crate::identify::{Tenancy, identify};
use crate::lifecycle::{Lifecycle, State};
use crate::refusal::Refusal;
use crate::request::Request;
use crate::respond::{Answer, Manner, Payload};

mod delivery;
mod hop;
mod nodes;
mod resume;

use delivery::accounted;
use hop::{Failed, Hop};
use nodes::{Nodes, Route};

/// How often a request that waits for a ready node looks at the bindings again: they may name another stamp.
const LOOK_AGAIN: Duration = Duration::from_millis(250);

/// A front door. Shared by all requests.
#[derive(Debug)]
pub struct Front {
    name: NodeName,
    tenancy: Tenancy,
    bindings: Arc<Bindings>,
    settings: Forwarding,
    nodes: Nodes,
    hop: Hop,
}

/// Who answers a request.
enum Reply {
    /// The front door itself.
    Own(Answer),
    /// A node.
    Node(Response<Body>),
}

/// What it takes to ask any node for one response, again and again.
struct Wish {
    parts: request::Parts,
    route: Route,
}

impl Front {
    /// A front door named `name`.
    pub fn new(name: NodeName, tenancy: Tenancy, bindings: Arc<Bindings>, settings: Forwarding) -> Arc<Self> {
        let hop = Hop::new(name.as_str(), settings.connect_timeout);
        let nodes = Nodes::new(Arc::clone(&bindings), settings.probe_interval, settings.connect_timeout);
        Arc::new(Self { name, tenancy, bindings, settings, nodes, hop })
    }

    /// Looks at the nodes' `/readyz` for as long as it is polled. Safe to drop at any point.
    pub async fn watch_nodes(&self, life: &Lifecycle) {
        tokio::select! {
            () = self.nodes.probe() => {}
            () = life.reaches(State::Exit) => {}
        }
    }

    /// Resolves once every node of the region has been looked at.
    pub async fn looked(&self) {
        self.nodes.looked().await;
    }

    /// Forwards one pull. Dropping the response's body ends the request at the node.
    pub async fn serve<B: http_body::Body>(self: Arc<Self>, request: http::Request<B>) -> Response<Body> {
        let (parts, body) = request.into_parts();
        let has_content = !body.is_end_stream();
        drop(body);
        let mut account = Account::open(&parts, self.name.clone(), None);
        let manner = Manner::of(&parts, has_content);
        let reply = self.forward(parts, has_content, &mut account).await.unwrap_or_else(|refusal| {
            account.refused(&refusal);
            Reply::Own(Answer::from(&refusal))
        });
        let response = match reply {
            Reply::Node(response) => response,
            Reply::Own(answer) => {
                into_response(answer.finished(&manner, account.namespace(), account.request_id()))
            }
        };
        let (head, body) = response.into_parts();
        let announced = match body {
            Body::Empty => 0,
            _ => length(&head.headers).or(body.size_hint().exact()).unwrap_or(0),
        };
        account.answered(head.status, announced);
        Response::from_parts(head, accounted(body, account))
    }

    async fn forward(
        self: Arc<Self>,
        mut parts: request::Parts,
        has_content: bool,
        account: &mut Account,
    ) -> Result<Reply, Refusal> {
        let pull = Request::parse(&parts, has_content)?;
        account.asked(&pull);
        if parts.headers.contains_key(&hop::FRONT) {
            return Err(Refusal::ForwardedTwice);
        }
        let table = self.bindings.current();
        let Some(found) = identify(&pull, &self.tenancy, &table)? else {
            let answer = Answer::json(StatusCode::OK, "application/json", &serde_json::json!({}));
            return Ok(Reply::Own(answer));
        };
        account.identified(&pull, &found);
        let route = Route::new(found.binding.registry.clone(), &pull.target);
        self.hop.mark(&mut parts, account.request_id());
        let wish = Wish { parts, route };
        let (node, response) = self.open(&wish, None, &[], None).await?;
        if response.status() == StatusCode::PARTIAL_CONTENT {
            account.ranged(&wish.parts.headers);
        }
        Ok(Reply::Node(self.deliver(wish, node, response)))
    }

    /// Gets a response's headers from the best node that answers in time. `range` replaces the client's own;
    /// nodes to `avoid` are not asked, and `last` only where no other one answers.
    async fn open(
        &self,
        wish: &Wish,
        range: Option<&HeaderMap>,
        avoid: &[SocketAddr],
        mut last: Option<SocketAddr>,
    ) -> Result<(SocketAddr, Response<Incoming>), Refusal> {
        let deadline = Instant::now() + self.settings.headers_timeout;
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
    fn deliver(
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

    /// How long a node may be silent inside a body.
    fn body_idle_timeout(&self) -> Duration {
        self.settings.body_idle_timeout
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

fn length(headers: &HeaderMap) -> Option<u64> {
    headers.get(header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

fn count_try(outcome: &'static str) {
    counter!("dataproxy_front_tries_total", "outcome" => outcome).increment(1);
}

fn into_response(answer: Answer) -> Response<Body> {
    answer.into_response(|payload| match payload {
        Payload::Bytes(bytes) => Body::full(bytes),
        // An answer of our own has no other body.
        Payload::None | Payload::Blob(_) | Payload::Withheld(_) => Body::Empty,
    })
}

#[cfg(test)]
mod tests;
