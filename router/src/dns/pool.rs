//! Which addresses of a stamp a name stands for.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use dataproxy_router_api::{Intent, Node, NodeState, Role, Stamp};

/// What of a registry a name leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Endpoint {
    /// Manifests, tags, tokens; blobs as well where nodes do all.
    Registry,
    /// Blobs.
    Data,
}

/// Addresses in their order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Pool {
    pub(super) v4: Vec<Ipv4Addr>,
    pub(super) v6: Vec<Ipv6Addr>,
}

impl Pool {
    /// The addresses that lead to an endpoint of a stamp: those of the nodes in rotation; with none, of those
    /// that serve what still comes; with none, of all that are known.
    pub(super) fn of(stamp: &Stamp, endpoint: Endpoint) -> Self {
        let serves = |node: &&Node| match node.role {
            Role::All => true,
            Role::Registry => endpoint == Endpoint::Registry,
            Role::Dataproxy => endpoint == Endpoint::Data,
        };
        let nodes: Vec<&Node> = stamp.nodes.iter().filter(serves).collect();
        let choices: [fn(&Node) -> bool; 3] = [Node::in_rotation, still_serves, |_| true];
        let found = choices.iter().find_map(|choice| {
            let found: BTreeSet<IpAddr> =
                nodes.iter().filter(|node| choice(node)).map(|node| node.address.ip()).collect();
            (!found.is_empty()).then_some(found)
        });
        Self::from_iter(found.unwrap_or_default())
    }
}

impl FromIterator<IpAddr> for Pool {
    fn from_iter<I: IntoIterator<Item = IpAddr>>(addresses: I) -> Self {
        let mut pool = Self::default();
        for address in addresses {
            match address.to_canonical() {
                IpAddr::V4(address) => pool.v4.push(address),
                IpAddr::V6(address) => pool.v6.push(address),
            }
        }
        pool
    }
}

fn still_serves(node: &Node) -> bool {
    match (node.state, node.intent) {
        (NodeState::Ready, Intent::Cordon | Intent::Serve | Intent::Drain { .. }) => true,
        (NodeState::Draining, _) => true,
        (NodeState::Joining | NodeState::Gone, _) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(number: u8, role: Role, state: NodeState, intent: Intent) -> Node {
        let address = (Ipv4Addr::new(127, 0, 1, number), 5000).into();
        let admin = (Ipv4Addr::new(127, 0, 1, number), 9100).into();
        Node { state, intent, ..Node::new(format!("a{number}").parse().unwrap(), address, admin, role) }
    }

    fn last_bytes(nodes: Vec<Node>, endpoint: Endpoint) -> Vec<u8> {
        let stamp = Stamp { nodes, ..Stamp::new("a".parse().unwrap()) };
        Pool::of(&stamp, endpoint).v4.iter().map(|address| address.octets()[3]).collect()
    }

    #[test]
    fn nodes_in_rotation_of_the_right_role_are_answered() {
        let nodes = || {
            vec![
                node(1, Role::All, NodeState::Ready, Intent::Serve),
                node(2, Role::Registry, NodeState::Ready, Intent::Serve),
                node(3, Role::Dataproxy, NodeState::Ready, Intent::Serve),
                node(4, Role::All, NodeState::Ready, Intent::Cordon),
                node(5, Role::All, NodeState::Draining, Intent::Serve),
                node(6, Role::All, NodeState::Gone, Intent::Serve),
                node(7, Role::All, NodeState::Joining, Intent::Serve),
            ]
        };
        assert_eq!(last_bytes(nodes(), Endpoint::Registry), [1, 2]);
        assert_eq!(last_bytes(nodes(), Endpoint::Data), [1, 3]);
    }

    #[test]
    fn with_no_node_in_rotation_those_that_serve_are_answered_and_else_all_that_are_known() {
        let gone = node(1, Role::All, NodeState::Gone, Intent::Serve);
        let joining = node(2, Role::All, NodeState::Joining, Intent::Serve);
        let cordoned = node(3, Role::All, NodeState::Ready, Intent::Cordon);
        let draining = node(4, Role::All, NodeState::Draining, Intent::Serve);
        let nodes = vec![gone.clone(), joining.clone(), cordoned, draining];
        assert_eq!(last_bytes(nodes, Endpoint::Registry), [3, 4]);
        assert_eq!(last_bytes(vec![gone, joining], Endpoint::Registry), [1, 2]);
        let others = vec![node(1, Role::Registry, NodeState::Ready, Intent::Serve)];
        assert_eq!(last_bytes(others, Endpoint::Data), [0; 0], "a pool that is not there has no address");
    }

    #[test]
    fn nodes_that_share_an_address_are_one_and_a_mapped_address_is_what_it_maps() {
        let mut twin = node(1, Role::All, NodeState::Ready, Intent::Serve);
        twin.address.set_port(5001);
        let mut mapped = twin.clone();
        mapped.address = "[::ffff:127.0.1.9]:5000".parse().unwrap();
        let first = node(1, Role::All, NodeState::Ready, Intent::Serve);
        assert_eq!(last_bytes(vec![first, twin, mapped], Endpoint::Data), [1, 9]);
    }
}
