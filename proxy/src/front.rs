//! The front door: a node of no stamp that forwards each pull to a ready node of the registry's home stamp.
//!
//! It is what a client without DNS pulls from, and an L7 fall-back in production. It follows every change of
//! the bindings; `forward.rs` asks the nodes.

use std::sync::Arc;

use dataproxy_router_api::NodeName;
use http::{HeaderName, HeaderValue, Response, StatusCode, request};
use tokio::time::Instant;

use crate::account::Account;
use crate::bindings::Bindings;
use crate::body::Body;
use crate::config::Forwarding;
use crate::forward::{Forwarder, Route, Wish, accounted_response, mark};
use crate::identify::{Tenancy, identify};
use crate::lifecycle::{Lifecycle, State};
use crate::refusal::Refusal;
use crate::request::Request;
use crate::respond::{Answer, Manner, Payload};

/// Marks a request that a front door has forwarded, with its name: such a request is not forwarded again.
pub(crate) const FRONT: HeaderName = HeaderName::from_static("dataproxy-front");

/// A front door. Shared by all requests.
#[derive(Debug)]
pub struct Front {
    name: NodeName,
    tenancy: Tenancy,
    bindings: Arc<Bindings>,
    forwarder: Arc<Forwarder>,
}

/// Who answers a request.
enum Reply {
    /// The front door itself.
    Own(Answer),
    /// A node.
    Node(Response<Body>),
}

impl Front {
    /// A front door named `name`.
    pub fn new(name: NodeName, tenancy: Tenancy, bindings: Arc<Bindings>, settings: Forwarding) -> Arc<Self> {
        let forwarder = Forwarder::new(Arc::clone(&bindings), settings);
        Arc::new(Self { name, tenancy, bindings, forwarder })
    }

    /// Looks at the nodes' `/readyz` for as long as it is polled. Safe to drop at any point.
    pub async fn watch_nodes(&self, life: &Lifecycle) {
        tokio::select! {
            () = self.forwarder.probe() => {}
            () = life.reaches(State::Exit) => {}
        }
    }

    /// Resolves once every node of the region has been looked at.
    pub async fn looked(&self) {
        self.forwarder.looked().await;
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
        accounted_response(response, account)
    }

    async fn forward(
        &self,
        mut parts: request::Parts,
        has_content: bool,
        account: &mut Account,
    ) -> Result<Reply, Refusal> {
        let pull = Request::parse(&parts, has_content)?;
        account.asked(&pull);
        if parts.headers.contains_key(&FRONT) {
            return Err(Refusal::ForwardedTwice);
        }
        let table = self.bindings.current();
        let Some(found) = identify(&pull, &self.tenancy, &table)? else {
            let answer = Answer::json(StatusCode::OK, "application/json", &serde_json::json!({}));
            return Ok(Reply::Own(answer));
        };
        account.identified(&pull, &found);
        let route = Route::new(found.binding.registry.clone(), &pull.target);
        mark(&mut parts, account.request_id());
        // A node's name is a DNS label, so it always is a header's value.
        let name = HeaderValue::from_str(self.name.as_str());
        parts.headers.insert(FRONT, name.unwrap_or_else(|_| HeaderValue::from_static("front")));
        let (wish, deadline) = (Wish { parts, route }, self.forwarder.deadline(Instant::now()));
        let (node, response) = self.forwarder.open(&wish, None, &[], None, deadline).await?;
        if response.status() == StatusCode::PARTIAL_CONTENT {
            account.ranged(&wish.parts.headers);
        }
        Ok(Reply::Node(Arc::clone(&self.forwarder).deliver(wish, node, response)))
    }
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
