//! Connections to an upstream, its token service and its storage: resolved, judged, opened, and TLS where it is due.

use std::future::Future;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use http::Uri;
use http::uri::{Authority, Scheme};
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_util::client::legacy::connect::{Connected, Connection};
use hyper_util::rt::TokioIo;
use rustls_pki_types::ServerName;
use tokio::net::{TcpStream, lookup_host};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_util::either::Either;

use super::network::{Home, Network};

/// How long one address has to accept a connection and, for TLS, to shake hands.
const PATIENCE: Duration = Duration::from_secs(2);

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub(super) enum ConnectError {
    /// The name leads nowhere where an upstream may lead.
    #[error("{0} leads to an address that the upstream must not lead to")]
    Forbidden(String),
    /// The upstream's own name leads where only an address, or `localhost`, in its URL may lead.
    #[error(
        "the upstream {0} resolves to this machine, the link or a metadata service, which its name must not lead to; \
         if that is meant, localhost or the address is allowed in its url"
    )]
    Home(String),
    /// The name does not resolve.
    #[error("{host} does not resolve: {error}")]
    Resolve {
        /// The name.
        host: String,
        /// Why.
        error: io::Error,
    },
    /// Nobody accepts.
    #[error("{address} cannot be connected to: {error}")]
    Connect {
        /// The address.
        address: SocketAddr,
        /// Why.
        error: io::Error,
    },
    /// The other end is not who it should be, or speaks no TLS.
    #[error("TLS with {host}: {error}")]
    Tls {
        /// The name.
        host: String,
        /// Why.
        error: io::Error,
    },
    /// The address is not one.
    #[error("{0} is not an address to connect to")]
    Address(String),
}

/// Makes connections for one upstream.
#[derive(Clone, Debug)]
pub(super) struct Connector {
    authority: Authority,
    home: Home,
    tls: Arc<rustls::ClientConfig>,
}

impl Connector {
    /// For the upstream at `home`.
    pub(super) fn new(home: Authority, tls: rustls::ClientConfig) -> Self {
        let (authority, home) = (home.clone(), Home::of(home.host()));
        Self { authority, home, tls: Arc::new(tls) }
    }

    async fn connect(self, uri: Uri) -> Result<Socket, ConnectError> {
        let no_address = || ConnectError::Address(uri.to_string());
        let authority = uri.authority().ok_or_else(no_address)?;
        let is_tls = uri.scheme() == Some(&Scheme::HTTPS);
        let port = authority.port_u16().unwrap_or(if is_tls { 443 } else { 80 });
        let host = bare(authority);
        let socket = self.open(host, port, *authority == self.authority).await?;
        // Requests are small and waited for; a response's size is the sender's concern.
        let _ = socket.set_nodelay(true);
        if !is_tls {
            return Ok(Socket(TokioIo::new(Either::Left(socket))));
        }
        let failed = |error| ConnectError::Tls { host: host.to_owned(), error };
        let name = ServerName::try_from(host.to_owned()).map_err(|_| no_address())?;
        let shaken = timeout(PATIENCE, TlsConnector::from(Arc::clone(&self.tls)).connect(name, socket)).await;
        let stream = shaken.map_err(|_| failed(io::ErrorKind::TimedOut.into()))?.map_err(failed)?;
        Ok(Socket(TokioIo::new(Either::Right(Box::new(stream)))))
    }

    /// A connection to the first address that accepts, of those that may be connected to.
    async fn open(&self, host: &str, port: u16, is_home: bool) -> Result<TcpStream, ConnectError> {
        let resolved = resolve(host, port).await?;
        let (allowed, forbidden): (Vec<_>, ConnectError) = if is_home {
            let here = resolved.into_iter().filter(|address| self.home.lies_at(address.ip()));
            (here.collect(), ConnectError::Home(host.to_owned()))
        } else {
            let home = self.addresses(&resolved).await;
            let led = resolved.into_iter().filter(|address| self.home.leads_to(address.ip(), &home));
            (led.collect(), ConnectError::Forbidden(host.to_owned()))
        };
        let mut last = forbidden;
        for address in allowed {
            let error = match timeout(PATIENCE, TcpStream::connect(address)).await {
                Ok(Ok(socket)) => return Ok(socket),
                Ok(Err(error)) => error,
                Err(_) => io::ErrorKind::TimedOut.into(),
            };
            last = ConnectError::Connect { address, error };
        }
        Err(last)
    }

    /// Where the upstream lies now, as far as that matters for where it leads to.
    async fn addresses(&self, led_to: &[SocketAddr]) -> Vec<IpAddr> {
        if led_to.iter().all(|address| Network::of(address.ip()) == Network::Public) {
            return Vec::new();
        }
        // A name that does not resolve leads nowhere.
        let home = resolve(bare(&self.authority), 0).await.unwrap_or_default();
        home.iter().map(SocketAddr::ip).collect()
    }
}

/// A host as it is resolved, without the brackets of an IPv6 address.
fn bare(authority: &Authority) -> &str {
    authority.host().trim_start_matches('[').trim_end_matches(']')
}

async fn resolve(host: &str, port: u16) -> Result<Vec<SocketAddr>, ConnectError> {
    let resolved = lookup_host((host, port)).await;
    let resolved = resolved.map_err(|error| ConnectError::Resolve { host: host.to_owned(), error })?;
    Ok(resolved.collect())
}

impl tower::Service<Uri> for Connector {
    type Response = Socket;
    type Error = ConnectError;
    type Future = Pin<Box<dyn Future<Output = Result<Socket, ConnectError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), ConnectError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        Box::pin(self.clone().connect(uri))
    }
}

/// A connection, plain or TLS.
pub(super) struct Socket(TokioIo<Either<TcpStream, Box<TlsStream<TcpStream>>>>);

impl Connection for Socket {
    fn connected(&self) -> Connected {
        Connected::new()
    }
}

impl Read for Socket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buf)
    }
}

impl Write for Socket {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}
