//! To an open connection: resolve, connect, TLS, each timed.

use std::fmt;
use std::future::Future;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::str::FromStr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustls_pki_types::ServerName;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::{Connection, Fault, Scratch};
use crate::outcome::Outcome;
use crate::phase::Phase;
use crate::sink::Sink;
use crate::subject::Endpoint;

/// `HOST:PORT=HOST:PORT`: connections meant for the first are made to the second. Names in requests and certificates stay.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Redirected {
    from: (String, u16),
    to: (String, u16),
}

/// Makes connections.
pub(crate) struct Dialer {
    /// Looked up for every connection; the first that fits is taken.
    pub(crate) redirected: Arc<[Redirected]>,
    /// Roots, ciphers and ALPN.
    pub(crate) tls: TlsConnector,
    /// How long the client waits for one address.
    pub(crate) connect_within: Duration,
    /// How long the client waits for a handshake.
    pub(crate) tls_within: Duration,
    /// Where its connections read to.
    pub(crate) scratch: Rc<Scratch>,
}

impl Dialer {
    /// Opens a connection. One address after the other is tried, in the resolver's order.
    ///
    /// Errors: `Refused` (no address, or none that can be connected to), `Tls`, `Timeout`.
    pub(crate) async fn dial(&self, endpoint: &Endpoint, sink: &dyn Sink) -> Result<Connection, Fault> {
        let meant = (endpoint.host.as_str(), endpoint.port);
        let (host, port) = self
            .redirected
            .iter()
            .find(|redirected| redirected.is_for(meant))
            .map_or(meant, |redirected| (redirected.to.0.as_str(), redirected.to.1));
        let stream = match host.parse::<IpAddr>() {
            Ok(address) => self.connect(&[SocketAddr::new(address, port)], sink).await?,
            Err(_) => self.connect(&timed(Phase::Resolve, sink, resolve(host, port)).await?, sink).await?,
        };
        sink.connection();
        // Requests are written whole; waiting for an acknowledgement would only add to what is measured.
        stream.set_nodelay(true).map_err(|error| Fault::socket(&error))?;
        if !endpoint.tls {
            return Ok(Connection::plain(stream, Rc::clone(&self.scratch)));
        }
        let stream = timed(Phase::Tls, sink, self.handshake(&endpoint.host, stream)).await?;
        Ok(Connection::tls(stream, Rc::clone(&self.scratch)))
    }

    async fn connect(&self, addresses: &[SocketAddr], sink: &dyn Sink) -> Result<TcpStream, Fault> {
        let mut last = Fault::new(Outcome::Refused, "its name has no address");
        for address in addresses {
            match timed(Phase::Connect, sink, self.connect_to(*address)).await {
                Ok(stream) => return Ok(stream),
                Err(fault) => last = fault,
            }
        }
        if last.starved {
            sink.starved();
        }
        Err(last)
    }

    async fn connect_to(&self, address: SocketAddr) -> Result<TcpStream, Fault> {
        match tokio::time::timeout(self.connect_within, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => Ok(stream),
            Ok(Err(error)) => {
                let fault = Fault::new(Outcome::Refused, format!("no connection to {address}: {error}"));
                Err(Fault { starved: is_starved(&error), ..fault })
            }
            Err(_) => {
                let what = format!("no connection to {address} within {} s", self.connect_within.as_secs());
                Err(Fault::new(Outcome::Timeout, what))
            }
        }
    }

    async fn handshake(
        &self,
        host: &str,
        stream: TcpStream,
    ) -> Result<tokio_rustls::client::TlsStream<TcpStream>, Fault> {
        let name = ServerName::try_from(host.to_owned())
            .map_err(|_| Fault::new(Outcome::Tls, format!("{host:?} cannot be a name in a certificate")))?;
        match tokio::time::timeout(self.tls_within, self.tls.connect(name, stream)).await {
            Ok(Ok(stream)) => Ok(stream),
            Ok(Err(error)) => Err(Fault::new(Outcome::Tls, format!("the TLS handshake failed: {error}"))),
            Err(_) => {
                let what = format!("the TLS handshake did not end within {} s", self.tls_within.as_secs());
                Err(Fault::new(Outcome::Timeout, what))
            }
        }
    }
}

/// No local port is free, or no file, or no memory.
fn is_starved(error: &std::io::Error) -> bool {
    use rustix::io::Errno;
    let wants = [Errno::ADDRNOTAVAIL, Errno::MFILE, Errno::NFILE, Errno::NOBUFS, Errno::NOMEM];
    wants.iter().any(|errno| error.raw_os_error() == Some(errno.raw_os_error()))
}

async fn resolve(host: &str, port: u16) -> Result<Vec<SocketAddr>, Fault> {
    match tokio::net::lookup_host((host, port)).await {
        Ok(addresses) => Ok(addresses.collect()),
        Err(error) => Err(Fault::new(Outcome::Refused, format!("{host} does not resolve: {error}"))),
    }
}

async fn timed<T>(
    phase: Phase,
    sink: &dyn Sink,
    work: impl Future<Output = Result<T, Fault>>,
) -> Result<T, Fault> {
    let began = Instant::now();
    let result = work.await;
    let outcome = result.as_ref().map_or_else(|fault| fault.outcome, |_| Outcome::Ok);
    sink.phase(phase, outcome, began.elapsed());
    result
}

impl Redirected {
    fn is_for(&self, (host, port): (&str, u16)) -> bool {
        self.from.1 == port && self.from.0.eq_ignore_ascii_case(host)
    }
}

impl FromStr for Redirected {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || {
            format!("{text:?} is not HOST:PORT=HOST:PORT, such as contoso.registry.test:443=127.0.1.1:5000")
        };
        let place = |text: &str| {
            let (host, port) = text.rsplit_once(':')?;
            let host = host.strip_prefix('[').map_or(Some(host), |host| host.strip_suffix(']'))?;
            let port = port.parse().ok().filter(|port| *port > 0)?;
            (!host.is_empty() && !host.contains(['/', '[', ']', '@', '='])).then(|| (host.to_owned(), port))
        };
        let (from, to) = text.split_once('=').ok_or_else(wrong)?;
        Ok(Self { from: place(from).ok_or_else(wrong)?, to: place(to).ok_or_else(wrong)? })
    }
}

impl fmt::Display for Redirected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}={}:{}", self.from.0, self.from.1, self.to.0, self.to.1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_redirected_connection_is_written_as_two_places() {
        let read = |text: &str| text.parse::<Redirected>();
        let redirected = read("Contoso.test:443=[::1]:5000").expect("valid");
        assert!(redirected.is_for(("contoso.TEST", 443)) && !redirected.is_for(("contoso.test", 80)));
        assert_eq!(redirected.to, ("::1".to_owned(), 5000));
        for wrong in
            ["contoso.test=127.0.0.1:1", "a:1", "a:1=b", "a:0=b:1", "a:1=b:x", ":1=b:1", "a:1=[::1:1"]
        {
            assert!(read(wrong).expect_err(wrong).contains("is not HOST:PORT=HOST:PORT"), "{wrong}");
        }
    }
}
