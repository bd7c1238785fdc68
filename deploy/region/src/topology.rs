//! What a region on one machine consists of: its nodes and their addresses, its accounts, its registries.

use std::net::{Ipv4Addr, SocketAddr};

use dataproxy_router_api::{
    AccountName, Binding, NameError, Node, NodeName, Placement, PullPolicy, Role, Stamp, StampName,
};

const PULL_PORT: u16 = 5000;
const ADMIN_PORT: u16 = 9100;
const API_PORT: u16 = 7000;
const DNS_PORT: u16 = 5353;
/// Where Azurite listens, of 127.0.0.1.
pub(crate) const AZURITE_PORT: u16 = 10_000;
/// Largest offset that keeps every port below 65 536.
pub(crate) const OFFSET_MAX: u16 = u16::MAX - AZURITE_PORT;
/// The region's name.
pub(crate) const REGION: &str = "local";

/// Stamps, with the account that belongs to each and the addresses of its nodes.
const STAMPS: [(&str, &str, [Ipv4Addr; 2]); 2] = [
    ("a", "a1", [Ipv4Addr::new(127, 0, 1, 1), Ipv4Addr::new(127, 0, 1, 2)]),
    ("b", "b1", [Ipv4Addr::new(127, 0, 2, 1), Ipv4Addr::new(127, 0, 2, 2)]),
];
/// Registries, with their home stamp and the account that holds their content.
const REGISTRIES: [(&str, &str, &str); 2] = [("contoso", "a", "a1"), ("fabrikam", "b", "b1")];

/// One process of the region.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Member {
    pub(crate) name: NodeName,
    /// The stamp that it belongs to; the front door belongs to none.
    pub(crate) stamp: Option<StampName>,
    /// Where it serves pulls.
    pub(crate) pull: SocketAddr,
    /// Where it answers `/readyz` and `/metrics`.
    pub(crate) admin: SocketAddr,
}

/// Where the router answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Control {
    /// Operators and nodes.
    pub(crate) api: SocketAddr,
    /// Resolvers, by UDP and TCP.
    pub(crate) dns: SocketAddr,
}

/// The stamps of a new region, with the account that belongs to each.
pub(crate) fn stamps_with_accounts() -> impl Iterator<Item = (&'static str, &'static str)> {
    STAMPS.into_iter().map(|(stamp, account, _)| (stamp, account))
}

/// The nodes of the region and its accounts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Topology {
    /// Every process, the front door last: it has somebody to forward to when it starts.
    pub(crate) members: Vec<Member>,
    pub(crate) accounts: Vec<AccountName>,
    pub(crate) control: Control,
}

impl Topology {
    /// The region with every port moved by `offset`.
    pub(crate) fn new(offset: u16) -> Result<Self, NameError> {
        let member = |name: String, stamp: Option<&str>, address: Ipv4Addr| {
            Ok(Member {
                name: name.parse()?,
                stamp: stamp.map(str::parse).transpose()?,
                pull: (address, PULL_PORT.saturating_add(offset)).into(),
                admin: (address, ADMIN_PORT.saturating_add(offset)).into(),
            })
        };
        let mut members = Vec::new();
        for (stamp, _, addresses) in STAMPS {
            for (number, address) in addresses.into_iter().enumerate() {
                members.push(member(format!("{stamp}{}", number + 1), Some(stamp), address)?);
            }
        }
        members.push(member("front".to_owned(), None, Ipv4Addr::LOCALHOST)?);
        let accounts = STAMPS.iter().map(|(_, account, _)| account.parse()).collect::<Result<_, _>>()?;
        let at = |port: u16| SocketAddr::from((Ipv4Addr::LOCALHOST, port.saturating_add(offset)));
        Ok(Self { members, accounts, control: Control { api: at(API_PORT), dns: at(DNS_PORT) } })
    }

    /// The front door.
    pub(crate) fn front(&self) -> Option<&Member> {
        self.members.iter().find(|member| member.stamp.is_none())
    }

    /// The stamps, as a snapshot lists them.
    pub(crate) fn stamps(&self) -> Vec<Stamp> {
        let mut stamps: Vec<Stamp> = Vec::new();
        for member in &self.members {
            let Some(name) = &member.stamp else { continue };
            let node = Node::new(member.name.clone(), member.pull, member.admin, Role::All);
            match stamps.iter_mut().find(|stamp| stamp.name == *name) {
                Some(stamp) => stamp.nodes.push(node),
                None => stamps.push(Stamp { nodes: vec![node], ..Stamp::new(name.clone()) }),
            }
        }
        stamps
    }
}

/// The registries that a new region begins with.
pub(crate) fn first_bindings() -> Result<Vec<Binding>, NameError> {
    let binding = |(registry, stamp, account): (&str, &str, &str)| {
        let placement = Placement::new(account.parse()?, registry);
        Ok(Binding {
            pull: PullPolicy::Anonymous,
            ..Binding::new(registry.parse()?, stamp.parse()?, placement)
        })
    };
    REGISTRIES.into_iter().map(binding).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_region_has_the_addresses_that_its_documents_name() {
        let region = Topology::new(0).expect("names");
        let shown: Vec<String> =
            region.members.iter().map(|m| format!("{} {} {}", m.name, m.pull, m.admin)).collect();
        assert_eq!(
            shown,
            [
                "a1 127.0.1.1:5000 127.0.1.1:9100",
                "a2 127.0.1.2:5000 127.0.1.2:9100",
                "b1 127.0.2.1:5000 127.0.2.1:9100",
                "b2 127.0.2.2:5000 127.0.2.2:9100",
                "front 127.0.0.1:5000 127.0.0.1:9100",
            ]
        );
        let Control { api, dns } = region.control;
        assert_eq!([api.to_string(), dns.to_string()], ["127.0.0.1:7000", "127.0.0.1:5353"]);
    }

    #[test]
    fn an_offset_moves_every_port_alike() {
        let region = Topology::new(OFFSET_MAX).expect("names");
        assert!(region.members.iter().all(|m| m.admin.port() == ADMIN_PORT + OFFSET_MAX));
        assert!(region.members.iter().all(|m| m.pull.port() == PULL_PORT + OFFSET_MAX));
    }
}
