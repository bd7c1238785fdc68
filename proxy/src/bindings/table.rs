//! A snapshot as requests use it: indexed, with what the node does for each registry beside its binding.

use std::borrow::Borrow;
use std::collections::HashMap;
use std::hash::Hash;

use dataproxy_router_api::{Binding, Node, NodeName, RegistryHost, RegistryName, Snapshot, Stamp, StampName};

use super::work::Standing;

/// A snapshot, indexed for look-ups.
#[derive(Debug)]
pub struct Table {
    snapshot: Snapshot,
    by_registry: HashMap<RegistryName, usize>,
    by_host: HashMap<RegistryHost, usize>,
    /// What the node does for each binding, in their order.
    standings: Vec<Standing>,
}

impl Table {
    /// Indexes a validated snapshot.
    pub fn new(snapshot: Snapshot) -> Self {
        let by_registry = snapshot
            .bindings
            .iter()
            .enumerate()
            .map(|(at, binding)| (binding.registry.clone(), at))
            .collect();
        let hosts = |(at, binding): (usize, &Binding)| {
            binding.hosts.iter().map(move |host| (host.clone(), at)).collect::<Vec<_>>()
        };
        let by_host = snapshot.bindings.iter().enumerate().flat_map(hosts).collect();
        let standings = snapshot.bindings.iter().map(|_| Standing::default()).collect();
        Self { snapshot, by_registry, by_host, standings }
    }

    /// Goes on counting where `before` has come to.
    pub(super) fn continues(&mut self, before: &Self) {
        for (binding, standing) in self.snapshot.bindings.iter().zip(&mut self.standings) {
            if let Some((known, then)) = before.at(&binding.registry) {
                *standing = then.at_epoch(binding.epoch == known.epoch);
            }
        }
    }

    fn at<Q>(&self, registry: &Q) -> Option<(&Binding, &Standing)>
    where
        RegistryName: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        let at = *self.by_registry.get(registry)?;
        Some((self.snapshot.bindings.get(at)?, self.standings.get(at)?))
    }

    /// What the node does for `registry`, if it has a binding.
    pub fn standing(&self, registry: &RegistryName) -> Option<&Standing> {
        self.at(registry).map(|(_, standing)| standing)
    }

    /// Every binding with what the node does for it.
    pub fn standings(&self) -> impl Iterator<Item = (&Binding, &Standing)> {
        self.snapshot.bindings.iter().zip(&self.standings)
    }

    /// The binding of `registry`, a name or its text, if it has one.
    pub fn binding<Q>(&self, registry: &Q) -> Option<&Binding>
    where
        RegistryName: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        self.at(registry).map(|(binding, _)| binding)
    }

    /// The binding that is known by `host`, a canonical one: with this port, or without any.
    pub fn binding_by_host(&self, host: &str, port: Option<u16>) -> Option<&Binding> {
        if self.by_host.is_empty() {
            return None;
        }
        let with_port = port.and_then(|port| self.by_host.get(format!("{host}:{port}").as_str()));
        with_port.or_else(|| self.by_host.get(host)).and_then(|at| self.snapshot.bindings.get(*at))
    }

    /// The stamp of this name.
    pub fn stamp(&self, name: &StampName) -> Option<&Stamp> {
        self.snapshot.stamp(name)
    }

    /// The node of this name, whichever stamp it belongs to.
    pub fn node(&self, name: &NodeName) -> Option<&Node> {
        self.snapshot.stamps.iter().flat_map(|stamp| &stamp.nodes).find(|node| node.name == *name)
    }

    /// The snapshot behind the table.
    pub fn snapshot(&self) -> &Snapshot {
        &self.snapshot
    }
}
