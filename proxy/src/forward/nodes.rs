//! Which nodes are ready, and which of them a pull goes to.
//!
//! Who is in rotation goes first. Where nodes are looked at, that is their `/readyz`, once a probe interval; a refused
//! connection counts at once. Among equals
//! the highest score of a hash over node and content wins (rendezvous hashing), so that a blob is filled on one
//! node of its stamp, and only the blobs of a lost node move.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use bytes::Bytes;
use dataproxy_router_api::{Node, NodeName, RegistryName, Role};
use futures_util::future::join_all;
use http_body_util::Empty;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use metrics::gauge;
use sha2::{Digest as _, Sha256};
use tokio::sync::watch;
use tokio::time::timeout;

use crate::bindings::{Bindings, Table};
use crate::name::Reference;
use crate::request::Target;

/// How long a node that nobody looks at is left alone after it has refused a connection.
const REFUSED: Duration = Duration::from_secs(2);

/// What is known of a node, best first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
enum Health {
    /// It wants traffic.
    Ready = 0,
    /// It has not been looked at yet.
    Unknown = 1,
    /// It lives and wants no traffic; while it drains it still serves.
    Unready = 2,
    /// It does not answer.
    Down = 3,
}

impl Health {
    fn of(value: u8) -> Self {
        [Self::Ready, Self::Unknown, Self::Unready]
            .into_iter()
            .find(|h| *h as u8 == value)
            .unwrap_or(Self::Down)
    }
}

/// Where a pull goes: the registry decides the stamp, the content the node.
#[derive(Clone, Debug)]
pub(crate) struct Route {
    pub(super) registry: RegistryName,
    content: String,
    blob: bool,
}

impl Route {
    /// Content that is named by its digest goes by that, all else by its repository.
    pub(crate) fn new(registry: RegistryName, target: &Target) -> Self {
        let (content, blob) = match target {
            Target::Blob { digest, .. } => (digest.to_string(), true),
            Target::Manifest { reference: Reference::Digest(digest), .. } => (digest.to_string(), false),
            _ => (target.name().map(ToString::to_string).unwrap_or_default(), false),
        };
        Self { registry, content, blob }
    }

    fn served_by(&self, role: Role) -> bool {
        match role {
            Role::All => true,
            Role::Registry => !self.blob,
            Role::Dataproxy => self.blob,
        }
    }

    fn score(&self, node: &NodeName) -> [u8; 32] {
        let mut hash = Sha256::new();
        for part in [node.as_str(), self.registry.as_str(), &self.content] {
            hash.update(part);
            hash.update([0]);
        }
        hash.finalize().into()
    }
}

type Known = HashMap<SocketAddr, Arc<AtomicU8>>;

/// The region's nodes and their health.
#[derive(Debug)]
pub(super) struct Nodes {
    bindings: Arc<Bindings>,
    known: ArcSwap<Known>,
    /// Nodes that have refused a connection and are not looked at.
    refused: moka::sync::Cache<SocketAddr, ()>,
    changes: watch::Sender<u64>,
    rounds: watch::Sender<u64>,
    client: Client<HttpConnector, Empty<Bytes>>,
    interval: Duration,
    patience: Duration,
}

impl Nodes {
    pub(super) fn new(bindings: Arc<Bindings>, interval: Duration, patience: Duration) -> Self {
        let client = Client::builder(TokioExecutor::new()).pool_timer(TokioTimer::new()).build_http();
        let (changes, rounds) = (watch::Sender::new(0), watch::Sender::new(0));
        let refused = moka::sync::Cache::builder().max_capacity(4096).time_to_live(REFUSED).build();
        Self { bindings, known: ArcSwap::default(), refused, changes, rounds, client, interval, patience }
    }

    /// The best node for a route among those not yet `tried`; none if no other one is alive.
    pub(super) fn choose(&self, route: &Route, tried: &[SocketAddr]) -> Option<SocketAddr> {
        let known = self.known.load();
        let health = |node: &Node| match known.get(&node.address) {
            Some(at) => Health::of(at.load(Ordering::Relaxed)),
            None if self.refused.contains_key(&node.address) => Health::Down,
            None => Health::Unknown,
        };
        let table = self.bindings.current();
        let able = able(&table, route, tried);
        let alive = able.map(|node| (health(node), node)).filter(|(health, _)| *health != Health::Down);
        // Who is to get nothing is asked only where there is nobody else: to refuse would fail the pull.
        let best = alive.min_by_key(|(health, node)| {
            (!node.in_rotation(), *health, std::cmp::Reverse(route.score(&node.name)))
        });
        best.map(|(_, node)| node.address)
    }

    /// Whether the home stamp has any node for a route, alive or not, besides those to `avoid`.
    pub(super) fn any_but(&self, route: &Route, avoid: &[SocketAddr]) -> bool {
        able(&self.bindings.current(), route, avoid).next().is_some()
    }

    /// A receiver that changes when a node's health or the set of nodes does.
    pub(super) fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    /// Takes a node that refused a connection out at once; the next look may bring it back.
    pub(super) fn is_down(&self, node: SocketAddr) {
        if let Some(health) = self.known.load().get(&node) {
            health.store(Health::Down as u8, Ordering::Relaxed);
        } else {
            self.refused.insert(node, ());
        }
    }

    /// Resolves once every node has been looked at.
    pub(super) async fn looked(&self) {
        // The sender lives as long as `self`, so the wait cannot fail.
        let _ = self.rounds.subscribe().wait_for(|rounds| *rounds > 0).await;
    }

    /// Looks at every node, over and over.
    pub(super) async fn probe(&self) {
        loop {
            self.look().await;
            self.rounds.send_modify(|rounds| *rounds += 1);
            tokio::time::sleep(self.interval).await;
        }
    }

    async fn look(&self) {
        let table = self.bindings.current();
        let nodes: Vec<&Node> = table.snapshot().stamps.iter().flat_map(|stamp| &stamp.nodes).collect();
        let before = self.known.load_full();
        let mut moved = before.len() != nodes.len();
        let mut now = Known::new();
        for (node, health) in nodes.iter().zip(join_all(nodes.iter().map(|node| self.health(node))).await) {
            let entry = before.get(&node.address).cloned();
            moved |= entry.as_ref().is_none_or(|entry| entry.load(Ordering::Relaxed) != health as u8);
            let entry = entry.unwrap_or_default();
            entry.store(health as u8, Ordering::Relaxed);
            now.insert(node.address, entry);
        }
        for (word, states) in [("ready", Health::Ready), ("unready", Health::Unready), ("down", Health::Down)]
        {
            let count = now.values().filter(|at| at.load(Ordering::Relaxed) == states as u8).count();
            gauge!("dataproxy_front_nodes", "state" => word).set(count as f64);
        }
        self.known.store(Arc::new(now));
        if moved {
            self.changes.send_modify(|changes| *changes += 1);
        }
    }

    async fn health(&self, node: &Node) -> Health {
        // An address always makes a URI; one that did not would be a node that cannot be reached.
        let Ok(uri) = format!("http://{}/readyz", node.admin).parse() else { return Health::Down };
        match timeout(self.patience, self.client.get(uri)).await {
            Ok(Ok(response)) if response.status().is_success() => Health::Ready,
            Ok(Ok(_)) => Health::Unready,
            Ok(Err(_)) | Err(_) => Health::Down,
        }
    }
}

/// The home stamp's nodes that serve such a route, less some.
fn able<'t>(table: &'t Table, route: &'t Route, less: &'t [SocketAddr]) -> impl Iterator<Item = &'t Node> {
    let stamp = table.binding(&route.registry).and_then(|binding| table.stamp(&binding.home_stamp));
    let nodes = stamp.map_or(&[][..], |stamp| &stamp.nodes);
    nodes.iter().filter(|node| route.served_by(node.role) && !less.contains(&node.address))
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    fn route(content: &str) -> Route {
        Route { registry: "contoso".parse().unwrap(), content: content.to_owned(), blob: true }
    }

    #[test]
    fn only_the_blobs_of_a_lost_node_move() {
        let nodes: Vec<NodeName> = (0..5).map(|n| format!("n{n}").parse().unwrap()).collect();
        let best = |route: &Route, nodes: &[NodeName]| {
            nodes.iter().max_by_key(|node| route.score(node)).unwrap().clone()
        };
        let mut used = HashSet::new();
        for number in 0..500 {
            let route = route(&format!("sha256:{number}"));
            let (with, without) = (best(&route, &nodes), best(&route, &nodes[1..]));
            assert!(with == without || with == nodes[0], "a blob of {with} moved to {without}");
            used.insert(with);
        }
        assert_eq!(used.len(), nodes.len(), "every node has blobs");
    }

    #[test]
    fn who_is_out_of_rotation_is_asked_only_where_there_is_nobody_else() {
        use dataproxy_router_api::{Intent, NodeState};
        let mut snapshot = crate::routers::scripted::snapshot(1, "a");
        let node = |number: u16| {
            let address = |host| SocketAddr::from(([127, 0, host, 1], number));
            Node::new(format!("n{number}").parse().unwrap(), address(1), address(2), Role::All)
        };
        let [in_rotation, other] = [node(1), node(2)];
        for out in [
            Node { state: NodeState::Gone, ..other.clone() },
            Node { state: NodeState::Draining, ..other.clone() },
            Node { state: NodeState::Joining, ..other.clone() },
            Node { intent: Intent::Cordon, ..other.clone() },
        ] {
            snapshot.stamps[0].nodes = vec![out.clone(), in_rotation.clone()];
            let bindings = Arc::new(Bindings::new(Table::new(snapshot.clone())));
            let nodes = Nodes::new(bindings, Duration::from_secs(1), Duration::from_secs(1));
            for number in 0..50 {
                let route = route(&format!("sha256:{number}"));
                assert_eq!(nodes.choose(&route, &[]), Some(in_rotation.address), "{out:?}");
                assert_eq!(nodes.choose(&route, &[in_rotation.address]), Some(out.address));
            }
            // Nobody looks at them: one that has refused a connection is left alone for a while.
            nodes.is_down(in_rotation.address);
            assert_eq!(nodes.choose(&route("sha256:1"), &[]), Some(out.address));
        }
    }

    #[test]
    fn roles_decide_who_is_asked() {
        let blob = route("sha256:1");
        let manifest = Route { blob: false, ..blob.clone() };
        assert!(
            blob.served_by(Role::All) && blob.served_by(Role::Dataproxy) && !blob.served_by(Role::Registry)
        );
        assert!(manifest.served_by(Role::Registry) && !manifest.served_by(Role::Dataproxy));
    }
}
