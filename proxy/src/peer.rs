//! Who is at the other end of a connection: the accept loop tells, the request carries it.

use std::net::SocketAddr;

/// The client's end of the connection that a request came on, found in the request's extensions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer {
    /// The client's address.
    pub addr: SocketAddr,
    /// Whether the connection is TLS.
    pub tls: bool,
    /// Whether its TLS session was resumed from an earlier one, by ticket.
    pub resumed: bool,
}
