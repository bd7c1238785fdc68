//! Which addresses an upstream may lead this node to.
//!
//! An upstream names further hosts: its token service, and the storage that it redirects to. Names prove nothing, so
//! the addresses that they resolve to are judged, at the moment of connecting: a public address is fine, and a private one
//! if the upstream itself lies in a private network at that moment. This machine is connected to only if the upstream's
//! URL says so, by `localhost` or an address. The link and the metadata services of clouds are not connected to, whatever a
//! name resolves to: only an address that stands in the URL itself is.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

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
                None if is_local_translation(address) => Self::of_local_translation(address),
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
        } else if address.is_unique_local() || is_site_local(address) {
            Self::Private
        } else if address.is_unspecified() || address.is_multicast() {
            Self::Nowhere
        } else {
            Self::Public
        }
    }

    /// Where in such an address the IPv4 one stands is its network's own affair (RFC 6052, 2.2), so wherever it may stand
    /// it must not be one that nobody is led to.
    fn of_local_translation(address: Ipv6Addr) -> Self {
        let bits = address.to_bits();
        let places = [
            ((bits >> 64) & 0xffff) << 16 | ((bits >> 40) & 0xffff),
            ((bits >> 64) & 0xff) << 24 | ((bits >> 32) & 0xff_ffff),
            (bits >> 24) & 0xffff_ffff,
            bits & 0xffff_ffff,
        ];
        let inner = places.map(|place| Self::of_v4(Ipv4Addr::from_bits(place as u32)));
        if inner.iter().any(|inner| matches!(inner, Self::Loopback | Self::Link)) {
            Self::Link
        } else {
            Self::Private
        }
    }
}

/// Site-local (RFC 3879): deprecated, and routed all the same.
fn is_site_local(address: Ipv6Addr) -> bool {
    let [first, ..] = address.segments();
    first & 0xffc0 == 0xfec0
}

/// NAT64 with a prefix of a network's own (RFC 8215).
fn is_local_translation(address: Ipv6Addr) -> bool {
    let [a, b, c, ..] = address.segments();
    [a, b, c] == [0x64, 0xff9b, 1]
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

/// What an upstream's URL says of where it lies. A name's addresses are whatever DNS says at the time, so nothing is
/// remembered of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Home {
    /// This very address.
    Address(IpAddr),
    /// This machine.
    Localhost,
    /// Wherever a name leads.
    Name,
}

impl Home {
    /// Reads the host of an upstream's URL.
    pub(super) fn of(host: &str) -> Self {
        let host = host.trim_start_matches('[').trim_end_matches(']');
        if let Ok(address) = host.parse::<IpAddr>() {
            return Self::Address(address.to_canonical());
        }
        let name = host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase();
        if name == "localhost" || name.ends_with(".localhost") { Self::Localhost } else { Self::Name }
    }

    /// Whether the upstream itself may be connected to at `address`.
    pub(super) fn lies_at(self, address: IpAddr) -> bool {
        match Network::of(address) {
            Network::Public | Network::Private => true,
            Network::Loopback if self == Self::Localhost => true,
            _ => self == Self::Address(address.to_canonical()),
        }
    }

    /// Whether the upstream, which has the addresses `home` now, may lead to `address`.
    pub(super) fn leads_to(self, address: IpAddr, home: &[IpAddr]) -> bool {
        let is_home_in = |network| home.iter().any(|home| Network::of(*home) == network);
        match Network::of(address) {
            Network::Public => true,
            Network::Private => is_home_in(Network::Private),
            Network::Loopback => self != Self::Name && is_home_in(Network::Loopback),
            Network::Link | Network::Nowhere => self == Self::Address(address.to_canonical()),
        }
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
            ("fec0::1", Network::Private),
            ("feff::1", Network::Private),
            ("64:ff9b:1::808:808", Network::Private),
            ("64:ff9b:1::a9fe:a9fe", Network::Link),
            ("64:ff9b:1:a9fe:a9:fe00::", Network::Link),
            ("64:ff9b:1:a9:fe:a9fe::", Network::Link),
            ("64:ff9b:1:0:a9:fea9:fe00:0", Network::Link),
            ("64:ff9b:1::7f00:1", Network::Link),
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

    fn of(address: &str) -> IpAddr {
        address.parse().expect(address)
    }

    #[test]
    fn an_upstream_leads_to_the_internet_and_to_its_own_kind_of_network_alone() {
        let leads = |to: &str, home: &[IpAddr]| Home::Name.leads_to(of(to), home);
        assert!(!leads("10.0.0.9", &[]), "nothing is known of the upstream");
        assert!(!leads("10.0.0.9", &[of("8.8.8.8")]));
        assert!(leads("10.0.0.9", &[of("8.8.8.8"), of("10.0.0.1")]) && leads("8.8.8.8", &[]));
        assert!(!leads("10.0.0.9", &[of("8.8.8.8")]), "what a name once resolved to counts no more");
        for address in ["127.0.0.1", "169.254.169.254", "fe80::1", "0.0.0.0"] {
            assert!(!leads(address, &[of("10.0.0.1")]), "{address}");
            assert!(!leads(address, &[of(address)]), "{address}, where DNS says that the upstream lies too");
        }
    }

    #[test]
    fn this_machine_and_the_link_are_the_upstream_only_if_its_url_says_so() {
        for (host, home) in [
            ("127.0.0.1", Home::Address(of("127.0.0.1"))),
            ("[::1]", Home::Address(of("::1"))),
            ("[::ffff:10.0.0.1]", Home::Address(of("10.0.0.1"))),
            ("LocalHost.", Home::Localhost),
            ("registry.localhost", Home::Localhost),
            ("localhost.example", Home::Name),
            ("registry.example", Home::Name),
        ] {
            assert_eq!(Home::of(host), home, "{host}");
        }
        for address in ["127.0.0.1", "::1", "169.254.169.254", "168.63.129.16", "fe80::1", "0.0.0.0"] {
            assert!(!Home::Name.lies_at(of(address)), "{address}");
            let literal = Home::of(address);
            assert!(literal.lies_at(of(address)), "{address}");
        }
        assert!(Home::Name.lies_at(of("10.0.0.1")) && Home::Name.lies_at(of("8.8.8.8")));
        assert!(Home::Localhost.lies_at(of("::1")) && !Home::Localhost.lies_at(of("169.254.169.254")));
        let machine = Home::of("127.0.0.1");
        assert!(machine.leads_to(of("127.0.0.2"), &[of("127.0.0.1")]));
        assert!(!machine.leads_to(of("169.254.169.254"), &[of("127.0.0.1")]));
        let link = Home::of("169.254.1.1");
        assert!(link.leads_to(of("169.254.1.1"), &[of("169.254.1.1")]), "itself, at another port");
        assert!(!link.leads_to(of("169.254.169.254"), &[of("169.254.1.1")]));
    }
}
