//! Which node of the stamp reads which part of a blob from storage.
//!
//! A blob is cut into stretches of 4 MiB, and each has an order of nodes by a hash over node and stretch (rendezvous hashing). The
//! order of two nodes does not depend on which others there are. So nodes that do not know the same nodes, or hold others for
//! ready, still never ask each other in a circle, as each asks only nodes that come before itself.

use dataproxy_cache::BlobKey;
use dataproxy_router_api::{Node, NodeName, Role};
use sha2::{Digest as _, Sha256};

/// Bytes of one stretch: what a fill reads at once by default.
pub(super) const STRETCH: u64 = 4 << 20;

/// A part of a blob that has one owner.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Stretch {
    key: BlobKey,
    number: u64,
}

impl Stretch {
    /// The stretch that this byte lies in.
    pub(super) fn at(key: &BlobKey, offset: u64) -> Self {
        Self { key: key.clone(), number: offset / STRETCH }
    }

    fn score(&self, node: &NodeName) -> [u8; 32] {
        let mut hash = Sha256::new();
        for part in [node.as_str(), &self.key.to_string()] {
            hash.update(part);
            hash.update([0]);
        }
        hash.update(self.number.to_be_bytes());
        hash.finalize().into()
    }

    /// The first of the nodes that come before `me`, if one does and `may_ask` allows it.
    pub(super) fn owner<'n>(
        &self,
        nodes: &'n [Node],
        me: &NodeName,
        may_ask: impl Fn(&Node) -> bool,
    ) -> Option<&'n Node> {
        let own = self.score(me);
        let others = nodes.iter().filter(|node| node.name != *me && node.role != Role::Registry);
        let scored = others.map(|node| (self.score(&node.name), node));
        scored
            .filter(|(score, node)| *score > own && may_ask(node))
            .max_by_key(|(score, _)| *score)
            .map(|(_, node)| node)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, HashSet};

    use dataproxy_cache::{Algorithm, Digest, Scope};
    use rand::seq::SliceRandom;
    use rand::{RngExt as _, SeedableRng};

    use super::*;

    fn nodes(count: usize) -> Vec<Node> {
        let node = |number| {
            serde_json::from_value(serde_json::json!({
                "name": format!("n{number}"), "address": "127.0.0.1:1", "admin": "127.0.0.1:2",
            }))
        };
        (0..count).map(|number| node(number).expect("a node")).collect()
    }

    fn stretch(number: u64) -> Stretch {
        let digest = Digest::of(Algorithm::Sha256, b"x");
        Stretch::at(&BlobKey { scope: Scope::new("contoso"), digest }, number * STRETCH + 5)
    }

    fn owner(stretch: &Stretch, nodes: &[Node]) -> NodeName {
        let asked = |me: &Node| stretch.owner(nodes, &me.name, |_| true).map(|node| node.name.clone());
        let owners: HashSet<_> = nodes.iter().map(|me| asked(me).unwrap_or(me.name.clone())).collect();
        assert_eq!(owners.len(), 1, "nodes do not agree: {owners:?}");
        owners.into_iter().next().expect("one")
    }

    #[test]
    fn nodes_agree_on_owners_and_only_what_a_lost_node_owned_moves() {
        let all = nodes(10);
        let mut owned = BTreeMap::new();
        for number in 0..1000 {
            let stretch = stretch(number);
            let (with, without) = (owner(&stretch, &all), owner(&stretch, &all[1..]));
            assert!(with == without || with == all[0].name, "a stretch of {with} moved to {without}");
            *owned.entry(with).or_insert(0) += 1;
        }
        println!("stretches of each node: {owned:?}");
        assert!(owned.len() == 10 && owned.values().all(|count| (60..150).contains(count)), "{owned:?}");
    }

    #[test]
    fn nodes_whose_lists_and_views_differ_never_ask_in_a_circle() {
        let seed = rand::random();
        println!("seed {seed}");
        let mut random = rand::rngs::StdRng::seed_from_u64(seed);
        let all = nodes(8);
        for number in 0..200 {
            let stretch = stretch(number);
            // What each node asks, by its own list and its own view of who is ready.
            let asks: BTreeMap<_, _> = all
                .iter()
                .map(|me| {
                    let mut known = all.clone();
                    known.shuffle(&mut random);
                    known.truncate(random.random_range(1..=8));
                    let away: HashSet<_> =
                        all.iter().filter(|_| random.random_bool(0.3)).map(|n| n.name.clone()).collect();
                    let asked = stretch.owner(&known, &me.name, |node| !away.contains(&node.name));
                    (me.name.clone(), asked.map(|node| node.name.clone()))
                })
                .collect();
            for start in asks.keys() {
                let mut at = start;
                let mut hops = 0;
                while let Some(Some(next)) = asks.get(at) {
                    at = next;
                    hops += 1;
                    assert!(hops < 8, "a circle from {start}: {asks:?}");
                }
            }
        }
    }

    #[test]
    fn a_node_that_serves_no_blobs_owns_nothing() {
        let mut all = nodes(3);
        all[1].role = Role::Registry;
        let others = [all[0].clone(), all[2].clone()];
        for number in 0..50 {
            assert_ne!(owner(&stretch(number), &others), all[1].name);
            let asked = stretch(number).owner(&all, &all[0].name, |_| true);
            assert!(asked.is_none_or(|node| node.name == all[2].name));
        }
    }
}
