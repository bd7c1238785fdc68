//! Pulls of registries whose home is another stamp: who has old DNS, or a connection from before a move.
//!
//! They are served through for as long as this node can read the placement, and their connections are ended, little by
//! little while the registry drains, so that clients look the name up again. Where the placement cannot be read, the
//! pull is forwarded to the home stamp: one hop, marked, with the epoch that it was forwarded by. What is marked is
//! served if it can be and never forwarded again. No pull is refused because a registry has moved.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use dataproxy_router_api::{Binding, Epoch, ServingState, StampName};
use http::{HeaderMap, HeaderValue, Response, StatusCode, header, request};
use metrics::counter;
use tokio::time::Instant;

use crate::account::Account;
use crate::bindings::{Bindings, Standing};
use crate::body::Body;
use crate::config::Forwarding;
use crate::forward::{EPOCH, Forwarder, HOP, Route, Wish, mark};
use crate::refusal::Refusal;
use crate::request::Target;

/// What a node does about pulls of registries whose home is another stamp.
#[derive(Debug)]
pub struct Late {
    forwarder: Arc<Forwarder>,
    spread: Duration,
}

/// A pull of such a registry.
pub(crate) struct Arrival {
    serving: ServingState,
    epoch: Epoch,
    route: Route,
    /// How long the binding has been known.
    age: Duration,
    is_marked: bool,
}

impl fmt::Debug for Arrival {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Arrival")
            .field("serving", &self.serving)
            .field("epoch", &self.epoch)
            .finish_non_exhaustive()
    }
}

impl Arrival {
    /// The arrival that a pull is; none if its registry is at home at `stamp`.
    pub(crate) fn of(
        binding: &Binding,
        standing: Option<&Standing>,
        stamp: &StampName,
        target: &Target,
        headers: &HeaderMap,
    ) -> Option<Self> {
        let is_marked = headers.contains_key(&HOP);
        if is_marked {
            received(binding, headers);
        }
        if binding.home_stamp == *stamp {
            return None;
        }
        Some(Self {
            serving: ServingState::of(binding, stamp),
            epoch: binding.epoch,
            route: Route::new(binding.registry.clone(), target),
            age: standing.map(Standing::age).unwrap_or_default(),
            is_marked,
        })
    }

    /// Whether the answer ends its connection; `lot` is drawn evenly from 0 to 1. A connection that another node or a
    /// front door has is no client's.
    fn closes(&self, spread: Duration, lot: f64, headers: &HeaderMap) -> bool {
        let is_of_node = self.is_marked || headers.contains_key(&crate::front::FRONT);
        match self.serving {
            _ if is_of_node => false,
            ServingState::Bound | ServingState::Warming => false,
            ServingState::Draining => lot < self.age.as_secs_f64() / spread.as_secs_f64().max(f64::EPSILON),
            ServingState::Late | ServingState::Absent | ServingState::Forwarding => true,
        }
    }
}

/// Counts a pull that another node has forwarded, by whose binding is the newer one.
fn received(binding: &Binding, headers: &HeaderMap) {
    let theirs = headers.get(&EPOCH).and_then(|epoch| epoch.to_str().ok()?.parse().ok()).map(Epoch);
    let epoch = match theirs {
        Some(theirs) if theirs > binding.epoch => "newer",
        Some(theirs) if theirs < binding.epoch => "older",
        Some(_) => "same",
        None => "none",
    };
    counter!("dataproxy_hops_received_total", "epoch" => epoch).increment(1);
}

/// Whether another stamp may be able to serve what this one cannot.
fn is_elsewhere(refusal: &Refusal) -> bool {
    matches!(
        refusal,
        Refusal::AccountUnreachable
            | Refusal::PlacementUnfit
            | Refusal::PlacementUnusable(_)
            | Refusal::StorageDenied
            | Refusal::StorageUnavailable
            | Refusal::StorageTimeout
    )
}

impl Late {
    /// Asks nothing of anybody yet. `spread` is the time over which the connections of a registry that drains are ended.
    pub fn new(bindings: Arc<Bindings>, forwarding: Forwarding, spread: Duration) -> Self {
        Self { forwarder: Forwarder::new(bindings, forwarding), spread }
    }

    /// The response of the home stamp in place of a refusal of this node's own, for a pull that `began` here then: what
    /// this node has tried itself is time that its client has waited.
    ///
    /// # Errors
    /// The refusal, if it is not of this node; [`Refusal::HopTwice`] if another node has forwarded the pull before;
    /// what kept the home stamp from answering.
    pub(crate) async fn forward(
        &self,
        arrival: &Arrival,
        refusal: Refusal,
        mut parts: request::Parts,
        began: Instant,
        account: &mut Account,
    ) -> Result<Response<Body>, Refusal> {
        if !is_elsewhere(&refusal) {
            return Err(refusal);
        }
        if arrival.is_marked {
            counter!("dataproxy_hop_loops_total").increment(1);
            tracing::warn!(epoch = %arrival.epoch, why = %refusal, "a pull was forwarded here and cannot be served");
            let passes = matches!(refusal, Refusal::StorageUnavailable | Refusal::StorageTimeout);
            return Err(if passes { refusal } else { Refusal::HopTwice });
        }
        account.forwarded();
        mark(&mut parts, account.request_id());
        parts.headers.insert(HOP, HeaderValue::from_static("1"));
        parts.headers.insert(EPOCH, HeaderValue::from(arrival.epoch.0));
        let wish = Wish { parts, route: arrival.route.clone() };
        let deadline = self.forwarder.deadline(began);
        let (node, response) = self.forwarder.open(&wish, None, &[], None, deadline).await?;
        if response.status() == StatusCode::PARTIAL_CONTENT {
            account.ranged(&wish.parts.headers);
        }
        Ok(Arc::clone(&self.forwarder).deliver(wish, node, response))
    }

    /// Ends the connection after a response, where it is to end.
    pub(crate) fn close(&self, arrival: &Arrival, parts: &request::Parts, response: &mut Response<Body>) {
        let is_http1 = parts.version < http::Version::HTTP_2;
        if is_http1 && arrival.closes(self.spread, rand::random(), &parts.headers) {
            response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arrival(serving: ServingState, age: u64) -> Arrival {
        let route = Route::new("contoso".parse().expect("a name"), &Target::Ping);
        Arrival { serving, epoch: Epoch(2), route, age: Duration::from_secs(age), is_marked: false }
    }

    #[test]
    fn connections_of_a_registry_that_drains_end_little_by_little_and_of_one_that_has_gone_at_once() {
        let (spread, none) = (Duration::from_secs(30), HeaderMap::new());
        let share = |arrival: &Arrival| {
            (0..100).filter(|lot| arrival.closes(spread, f64::from(*lot) / 100.0, &none)).count()
        };
        let draining = |age| share(&arrival(ServingState::Draining, age));
        assert_eq!([0, 3, 15, 30, 900].map(draining), [0, 10, 50, 100, 100]);
        for (serving, all) in [
            (ServingState::Warming, 0),
            (ServingState::Late, 100),
            (ServingState::Absent, 100),
            (ServingState::Forwarding, 100),
        ] {
            assert_eq!(share(&arrival(serving, 0)), all, "{serving:?}");
        }
        let at_once = arrival(ServingState::Draining, 1);
        assert!(at_once.closes(Duration::ZERO, 0.999, &none));
        let front = HeaderMap::from_iter([(crate::front::FRONT, HeaderValue::from_static("f"))]);
        assert!(!arrival(ServingState::Late, 0).closes(spread, 0.0, &front));
        assert!(!Arrival { is_marked: true, ..arrival(ServingState::Late, 0) }.closes(spread, 0.0, &none));
    }
}
