//! The nodes of the stories.

use std::collections::BTreeMap;

use dataproxy_router::publish::Next;
use dataproxy_router_api::{
    Binding, Change, Incarnation, Intent, Node, NodeReport, NodeState, Reach, RegistryReport, Role,
    ServingState, Snapshot,
};

use crate::Router;

/// A node as routers see it: it follows one of them, reports to all, and never goes back.
pub(crate) struct Proxy {
    pub(crate) stamp: &'static str,
    pub(crate) node: Node,
    pub(crate) incarnation: u64,
    pub(crate) sequence: u64,
    pub(crate) held: Option<Snapshot>,
    pub(crate) is_alive: bool,
    pub(crate) reads_storage: bool,
    pub(crate) running: BTreeMap<String, u64>,
}

impl Proxy {
    pub(crate) fn new(stamp: &'static str, number: u8) -> Self {
        let at = |port: u16| std::net::SocketAddr::from(([127, 0, stamp.as_bytes()[0], number], port));
        let node = Node::new(format!("{stamp}{number}").parse().unwrap(), at(5000), at(9100), Role::All);
        Self {
            stamp,
            node,
            incarnation: 1,
            sequence: 0,
            held: None,
            is_alive: true,
            reads_storage: true,
            running: BTreeMap::new(),
        }
    }

    /// Takes what a router tells. What goes back is refused, as a node refuses it.
    pub(crate) fn learn(&mut self, router: &Router) {
        let told = match &self.held {
            None => Next::Whole,
            Some(held) => router.control.publisher().after(held.point()),
        };
        let next = match told {
            Next::Nothing => return,
            Next::Whole => router.control.state().snapshot(),
            Next::Changes(changes, _) => {
                let Some(held) = &self.held else { return };
                changes.iter().fold(held.clone(), |held, text| {
                    let text = std::str::from_utf8(text).unwrap();
                    let data = text.lines().find_map(|line| line.strip_prefix("data: ")).unwrap();
                    serde_json::from_str::<Change>(data).unwrap().apply(&held).unwrap()
                })
            }
        };
        let goes_back = |held: &Snapshot| {
            next.point() < held.point()
                || next.bindings.iter().any(|binding| {
                    held.binding(&binding.registry).is_some_and(|known| known.epoch > binding.epoch)
                })
        };
        if !self.held.as_ref().is_some_and(goes_back) {
            self.obey(&next);
            self.held = Some(next);
        }
    }

    /// Drains when it is asked to, and starts again as another process once that is done.
    fn obey(&mut self, next: &Snapshot) {
        let nodes = next.stamps.iter().flat_map(|stamp| &stamp.nodes);
        let asked = nodes.filter(|node| node.name == self.node.name).map(|node| node.intent).next();
        if let Some(Intent::Drain { incarnation, .. }) = asked
            && incarnation == Incarnation(self.incarnation)
        {
            self.node.state = NodeState::Draining;
        }
    }

    pub(crate) fn restart(&mut self) {
        (self.is_alive, self.node.state, self.sequence) = (true, NodeState::Ready, 0);
        self.incarnation += 1;
        self.running.clear();
    }

    pub(crate) fn report(&mut self) -> Option<NodeReport> {
        let held = self.held.as_ref()?;
        self.sequence += 1;
        let stamp = self.stamp.parse().unwrap();
        let of = |binding: &Binding| {
            let serving = ServingState::of(binding, &stamp);
            let in_flight = self.running.get(binding.registry.as_str()).copied().unwrap_or(0);
            let why = Reach::Unreadable { why: "403".into() };
            RegistryReport {
                registry: binding.registry.clone(),
                epoch: binding.epoch,
                serving,
                in_flight,
                oldest_seconds: 1,
                begun: 0,
                quiet_ms: Some(60_000),
                reach: Some(if self.reads_storage { Reach::Readable } else { why }),
            }
        };
        Some(NodeReport {
            region: held.region.clone(),
            stamp: stamp.clone(),
            node: self.node.clone(),
            incarnation: Incarnation(self.incarnation),
            version: "0.1.0".into(),
            sequence: self.sequence,
            history: held.history,
            revision: held.revision,
            in_flight: self.running.values().sum(),
            registries: held.bindings.iter().map(of).collect(),
            time_ms: None,
            bins: Vec::new(),
        })
    }
}
