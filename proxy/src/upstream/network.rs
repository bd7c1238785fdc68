//! Which addresses an upstream may lead this node to.
//!
//! An upstream names further hosts: its token service, and the storage that it redirects to. Names prove nothing, so
//! the addresses that they resolve to are judged, at the moment of connecting: a public address is fine, and so is one of
//! a network that the upstream itself lies in. Anything else (this machine, its neighbours on the link, the metadata
//! service of a cloud, a private network) is not connected to.

use std::collections::HashSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::{Mutex, PoisonError};

/// A kind of network that an address belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Network {
    /// This machine.
    Loopback,
    /// The link, where clouds put their metadata services; and the other addresses of such services.
    Link,
    /// Networks that are routed inside an organisation only (RFC 1918, 6598, 4193).
    Private,
    /// Everything that no connection can be made to, or no single one.
    Nowhere,
    /// The internet.
    Public,
}

/// Metadata services that are not at a link-local address: Azure's, Alibaba's, and EC2's by IPv6.
const METADATA_V4: [Ipv4Addr; 2] = [Ipv4Addr::new(168, 63, 129, 16), Ipv4Addr::new(100, 100, 100, 200)];
const METADATA_V6: Ipv6Addr = Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254);

impl Network {
    pub(super) fn of(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V4(address) => Self::of_v4(address),
            IpAddr::V6(address) => match embedded(address) {
                Some(inner) => Self::of_v4(inner),
                None => Self::of_v6(address),
            },
        }
    }

    fn of_v4(address: Ipv4Addr) -> Self {
        let [first, second, ..] = address.octets();
        if address.is_loopback() {
            Self::Loopback
        } else if address.is_link_local() || METADATA_V4.contains(&address) {
            Self::Link
        } else if address.is_private() || (first == 100 && (64..128).contains(&second)) {
            Self::Private
        } else if first == 0 || first >= 224 {
            Self::Nowhere
        } else {
            Self::Public
        }
    }

    fn of_v6(address: Ipv6Addr) -> Self {
        if address.is_loopback() {
            Self::Loopback
        } else if address.is_unicast_link_local() || address == METADATA_V6 {
            Self::Link
        } else if address.is_unique_local() {
            Self::Private
        } else if address.is_unspecified() || address.is_multicast() {
            Self::Nowhere
        } else {
            Self::Public
        }
    }
}

/// The IPv4 address behind one of a translator: NAT64 (RFC 6052), 6to4 (RFC 3056), or IPv4-compatible.
fn embedded(address: Ipv6Addr) -> Option<Ipv4Addr> {
    let [a, b, c, d, e, f, g, h] = address.segments();
    let v4 = |high: u16, low: u16| Ipv4Addr::from((u32::from(high) << 16) | u32::from(low));
    match [a, b, c, d, e, f] {
        [0x64, 0xff9b, 0, 0, 0, 0] => Some(v4(g, h)),
        [0x2002, high, low, ..] => Some(v4(high, low)),
        [0, 0, 0, 0, 0, 0] if g != 0 => Some(v4(g, h)),
        _ => None,
    }
}

/// The networks that an upstream itself has been found in, which are those that it may lead to.
#[derive(Debug, Default)]
pub(super) struct Reach {
    home: Mutex<HashSet<Network>>,
}

impl Reach {
    /// Whether `address` may be connected to; `is_home` if it is the upstream's own, which its operator has chosen.
    pub(super) fn allows(&self, address: IpAddr, is_home: bool) -> bool {
        let network = Network::of(address);
        let mut home = self.home.lock().unwrap_or_else(PoisonError::into_inner);
        if is_home {
            home.insert(network);
        }
        network == Network::Public || home.contains(&network)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_judged_by_what_they_lead_to_however_they_are_written() {
        for (address, network) in [
            ("127.0.0.1", Network::Loopback),
            ("127.255.255.254", Network::Loopback),
            ("::1", Network::Loopback),
            ("::ffff:127.0.0.1", Network::Loopback),
            ("64:ff9b::7f00:1", Network::Loopback),
            ("2002:7f00:1::", Network::Loopback),
            ("::127.0.0.1", Network::Loopback),
            ("169.254.169.254", Network::Link),
            ("::ffff:169.254.169.254", Network::Link),
            ("64:ff9b::a9fe:a9fe", Network::Link),
            ("168.63.129.16", Network::Link),
            ("100.100.100.200", Network::Link),
            ("fd00:ec2::254", Network::Link),
            ("fe80::1", Network::Link),
            ("10.1.2.3", Network::Private),
            ("172.31.0.1", Network::Private),
            ("192.168.1.1", Network::Private),
            ("100.64.0.1", Network::Private),
            ("fd12::1", Network::Private),
            ("0.0.0.0", Network::Nowhere),
            ("::", Network::Nowhere),
            ("224.0.0.1", Network::Nowhere),
            ("255.255.255.255", Network::Nowhere),
            ("ff02::1", Network::Nowhere),
            ("8.8.8.8", Network::Public),
            ("172.32.0.1", Network::Public),
            ("100.128.0.1", Network::Public),
            ("2606:4700::1111", Network::Public),
        ] {
            assert_eq!(Network::of(address.parse().expect(address)), network, "{address}");
        }
    }

    #[test]
    fn an_upstream_leads_to_the_internet_and_to_its_own_kind_of_network_alone() {
        let of = |address: &str| address.parse::<IpAddr>().expect(address);
        let reach = Reach::default();
        assert!(!reach.allows(of("10.0.0.9"), false), "nothing is known of the upstream yet");
        assert!(reach.allows(of("10.0.0.1"), true));
        assert!(reach.allows(of("10.0.0.9"), false) && reach.allows(of("8.8.8.8"), false));
        for address in ["127.0.0.1", "169.254.169.254", "fe80::1", "0.0.0.0"] {
            assert!(!reach.allows(of(address), false), "{address}");
        }
    }
}
