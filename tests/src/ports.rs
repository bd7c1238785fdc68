//! Free addresses in 127.0.0.0/8, below the range that the kernel hands out by itself.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, UdpSocket};

use rand::RngExt as _;

/// A port that is free, now, for TCP and UDP on all of these addresses.
///
/// # Panics
/// If 200 random ones are all taken.
pub fn free_port(addresses: &[IpAddr]) -> u16 {
    free_ports(addresses, 1)
}

/// The first of `count` ports in a row that are free, now, for TCP and UDP on all of these addresses.
///
/// # Panics
/// If 200 random places are all taken.
pub fn free_ports(addresses: &[IpAddr], count: u16) -> u16 {
    let mut random = rand::rng();
    (0..200)
        .map(|_| random.random_range(10_000..32_000))
        .find(|first| (*first..*first + count).all(|port| addresses.iter().all(|ip| is_free(*ip, port))))
        .expect("some ports are free")
}

/// A free TCP address on 127.0.0.1.
pub fn free_address() -> SocketAddr {
    let ip = IpAddr::V4(Ipv4Addr::LOCALHOST);
    SocketAddr::new(ip, free_port(&[ip]))
}

/// Whether nothing listens there.
pub fn is_free(ip: IpAddr, port: u16) -> bool {
    TcpListener::bind((ip, port)).is_ok() && UdpSocket::bind((ip, port)).is_ok()
}
