//! Accepts connections on every pull address: plain or TLS, bounded in number, until the node is empty.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use http::{Request, Response};
use hyper::body::Incoming;
use metrics::{Gauge, counter, gauge};
use rustls::{HandshakeKind, ServerConfig};
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio_rustls::TlsAcceptor;
use tokio_util::task::TaskTracker;

use crate::body::Body;
use crate::connection::{self, Bounds, End, FIRST_REQUEST, Manner, Protocol};
use crate::connections::{Connections, Entry, Metered};
use crate::lifecycle::{Lifecycle, State};
use crate::pace::Pace;
use crate::paced_tls::PacedTls;
use crate::peer::Peer;
use crate::sendfile::Sendfile;
use crate::stand_in::StandIns;
use crate::turns::Turns;

/// Connections that the kernel keeps for us to accept.
const BACKLOG: u32 = 4096;
/// First byte of a TLS record that carries a handshake (RFC 8446, 5.1).
const TLS_HANDSHAKE: u8 = 0x16;
/// What a TLS hello is answered with here. The registry clients that try TLS first go on in plain HTTP where they find
/// HTTP in place of TLS; after a TLS alert, which would be as clear, containerd's puller inside docker does not
/// (`httpFallback` in containerd's `remotes/docker/resolver.go`).
const PLAIN_HTTP: &[u8] = b"HTTP/1.1 400 Bad Request\r\nContent-Type: application/json\r\n\
    Content-Length: 100\r\nConnection: close\r\n\r\n\
    {\"errors\":[{\"code\":\"UNSUPPORTED\",\"message\":\"TLS was spoken to an address that speaks plain HTTP\"}]}\n";
/// What an HTTP/2 connection begins with, and no HTTP/1.1 request (RFC 9113, 3.4).
const HTTP2_PREFACE: &[u8] = b"PRI";
/// A client that takes no byte for this long is gone: containerd gives up after the same time.
const STALL_MS: u32 = 300_000;

/// An address that cannot be listened on.
#[derive(Debug, thiserror::Error)]
#[error("{address} cannot be listened on ({setting}): {error}; {}", remedy(error))]
pub struct BindError {
    /// The address.
    pub address: SocketAddr,
    /// The setting that names it.
    pub setting: &'static str,
    /// Why.
    pub error: io::Error,
}

fn remedy(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::AddrInUse => "another process has it: stop that one, or give the setting another port",
        io::ErrorKind::AddrNotAvailable => "this machine does not have it: give the setting one that it has",
        io::ErrorKind::PermissionDenied => {
            "ports below 1024 need CAP_NET_BIND_SERVICE: give the setting a higher one"
        }
        _ => "give the setting another address",
    }
}

/// Listens on `address`, which `setting` names. Call it inside a runtime.
///
/// # Errors
/// [`BindError`]
pub fn bind(address: SocketAddr, setting: &'static str) -> Result<TcpListener, BindError> {
    let listen = || {
        let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
        socket.set_reuseaddr(true)?;
        socket.bind(address)?;
        socket.listen(BACKLOG)
    };
    listen().map_err(|error| BindError { address, setting, error })
}

/// A bound address and what is spoken there.
#[derive(Clone)]
pub enum Speaks {
    /// Plain HTTP.
    Plain,
    /// HTTP inside TLS.
    Tls(Arc<ServerConfig>),
}

/// Accepts on any number of addresses and serves each connection with one handler.
pub struct Acceptor<H> {
    handler: H,
    bounds: Bounds,
    http2: bool,
    life: Lifecycle,
    slots: Arc<Semaphore>,
    tasks: TaskTracker,
    table: Arc<Connections>,
    /// Whether connections are left to wait in the kernel's queue.
    held: watch::Sender<bool>,
}

impl<H, F> Acceptor<H>
where
    H: Fn(Request<Incoming>) -> F + Send + Sync + 'static,
    F: Future<Output = Response<Body>> + Send + 'static,
{
    /// An acceptor that keeps at most `max_connections` open, and each in the table.
    pub fn new(
        handler: H,
        bounds: Bounds,
        max_connections: usize,
        http2: bool,
        life: Lifecycle,
        table: Arc<Connections>,
    ) -> Arc<Self> {
        let slots = Arc::new(Semaphore::new(max_connections.min(Semaphore::MAX_PERMITS)));
        Arc::new(Self {
            handler,
            bounds,
            http2,
            life,
            slots,
            tasks: TaskTracker::new(),
            table,
            held: watch::Sender::new(false),
        })
    }

    /// Accepts until it is dropped, which closes the listener and leaves accepted connections running.
    ///
    /// With all slots taken it holds the one connection that it has accepted until there is one again; all
    /// others wait in the kernel's queue instead of being refused. A listener that nobody connects to takes none.
    pub async fn accept(self: Arc<Self>, listener: TcpListener, speaks: Speaks) {
        let mut pause = Pause::default();
        let mut held = self.held.subscribe();
        loop {
            // Its sender is `self`'s own.
            let _ = held.wait_for(|held| !held).await;
            let accepted = tokio::select! {
                _ = held.changed() => continue,
                accepted = listener.accept() => accepted,
            };
            match accepted {
                Ok((stream, addr)) => {
                    pause = Pause::default();
                    let Ok(slot) = Arc::clone(&self.slots).acquire_owned().await else { return };
                    let (acceptor, speaks) = (Arc::clone(&self), speaks.clone());
                    self.life.arrived();
                    let connection = async move { acceptor.connection(stream, addr, speaks, slot).await };
                    self.tasks.spawn(dataproxy_cpu::charged(connection));
                }
                Err(error) => pause.after(&error).await,
            }
        }
    }

    /// Resolves once no connection is open.
    pub async fn empty(&self) {
        self.tasks.close();
        self.tasks.wait().await;
    }

    /// Leaves new connections to wait in the kernel's queue, or takes them again.
    pub fn hold(&self, held: bool) {
        self.held.send_replace(held);
    }

    /// Connections that are open.
    pub fn open(&self) -> usize {
        self.tasks.len()
    }

    async fn connection(
        &self,
        stream: TcpStream,
        addr: SocketAddr,
        speaks: Speaks,
        slot: OwnedSemaphorePermit,
    ) {
        let listener = match speaks {
            Speaks::Plain => "plain",
            Speaks::Tls(_) => "tls",
        };
        counter!("dataproxy_connections_total", "listener" => listener).increment(1);
        let entry = self.table.enter(addr);
        let _open = Open::count(gauge!("dataproxy_connections_open", "listener" => listener));
        let _ = stream.set_nodelay(true);
        let _ = rustix::net::sockopt::set_tcp_user_timeout(&stream, STALL_MS);
        match speaks {
            Speaks::Plain => self.plain(stream, addr, &entry).await,
            Speaks::Tls(config) => self.tls(stream, addr, config, &entry).await,
        }
        drop(slot);
    }

    async fn plain(&self, mut stream: TcpStream, addr: SocketAddr, entry: &Entry) {
        let mut first = [0; HTTP2_PREFACE.len()];
        let peeked = tokio::select! {
            peeked = stream.peek(&mut first) => Some(peeked),
            () = self.patience() => None,
        };
        let seen = match peeked {
            Some(Ok(length)) => first.get(..length).unwrap_or_default(),
            Some(Err(_)) => return,
            None => return connection::close(stream, addr, &self.life, End::Whole, None).await,
        };
        if seen.first() == Some(&TLS_HANDSHAKE) {
            // docker tries TLS first and waits ten seconds for a server that says nothing to its hello.
            counter!("dataproxy_tls_hello_on_plain_total").increment(1);
            let _ = stream.write_all(PLAIN_HTTP).await;
            return connection::close(stream, addr, &self.life, End::Whole, None).await;
        }
        let protocol = if self.http2 && seen == HTTP2_PREFACE { Protocol::Http2 } else { Protocol::Http1 };
        let quantum = self.bounds.write_quantum_bytes;
        let sends_files = self.bounds.sendfile && protocol == Protocol::Http1;
        let stand_ins = if sends_files { StandIns::new(quantum) } else { None };
        let io = Metered::new(Sendfile::new(stream, stand_ins.clone()), Arc::clone(&entry.connection));
        let peer = Peer { addr, tls: false, resumed: false };
        self.serve(io, Manner { protocol, peer, pace: Arc::default(), stand_ins }, entry).await;
    }

    async fn tls(&self, mut stream: TcpStream, addr: SocketAddr, config: Arc<ServerConfig>, entry: &Entry) {
        entry.connection.is_sealed();
        let metered = Metered::new(&mut stream, Arc::clone(&entry.connection));
        let shaken = tokio::select! {
            shaken = TlsAcceptor::from(config).accept(metered) => Some(shaken),
            () = self.patience() => None,
        };
        let reason = match shaken {
            Some(Ok(stream)) => {
                let http2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
                let protocol = if http2 { Protocol::Http2 } else { Protocol::Http1 };
                let resumed = stream.get_ref().1.handshake_kind() == Some(HandshakeKind::Resumed);
                dataproxy_cpu::count_handshake(resumed);
                let pace = Arc::<Pace>::default();
                let stream = PacedTls::new(stream, Arc::clone(&pace), self.bounds.tls_buffer_bytes);
                let peer = Peer { addr, tls: true, resumed };
                return self.serve(stream, Manner { protocol, peer, pace, stand_ins: None }, entry).await;
            }
            Some(Err(error)) => error.to_string(),
            None => "not done in time".to_owned(),
        };
        counter!("dataproxy_tls_handshake_failures_total").increment(1);
        tracing::debug!(peer = %addr, reason, "TLS handshake failed");
        connection::close(stream, addr, &self.life, End::Whole, None).await;
    }

    /// Resolves once a connection has had the time that it has before its first request: in a drain that of one without a
    /// request, and little while responses are cut.
    async fn patience(&self) {
        let leaving = async {
            self.life.reaches(State::Draining).await;
            let idle = self.life.leaving().map_or(FIRST_REQUEST, |leaving| leaving.idle);
            tokio::time::sleep(idle).await;
        };
        let cutting = async {
            self.life.reaches(State::Cutting).await;
            tokio::time::sleep(FIRST_REQUEST).await;
        };
        tokio::select! {
            () = tokio::time::sleep(self.bounds.first_byte_timeout) => {}
            () = leaving => {}
            () = cutting => {}
        }
    }

    async fn serve<I>(&self, io: I, manner: Manner, entry: &Entry)
    where
        I: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
    {
        let (meter, quantum_bytes) = (Arc::clone(&entry.connection), self.bounds.write_quantum_bytes);
        let io = Turns::new(io, quantum_bytes, meter, Arc::clone(&manner.pace));
        connection::serve(io, manner, &self.handler, &self.bounds, &self.life, entry).await;
    }
}

/// An open connection in the gauge, for as long as it lives.
struct Open(Gauge);

impl Open {
    fn count(gauge: Gauge) -> Self {
        gauge.increment(1.0);
        Self(gauge)
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.decrement(1.0);
    }
}

/// How long to wait after an accept that failed: out of descriptors or memory, trying at once only spins.
#[derive(Debug, Default)]
struct Pause(Duration);

impl Pause {
    async fn after(&mut self, error: &io::Error) {
        counter!("dataproxy_accept_errors_total").increment(1);
        // The client left before it was accepted: nothing is wrong here.
        if matches!(
            error.kind(),
            io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset | io::ErrorKind::Interrupted
        ) {
            return;
        }
        if self.0.is_zero() {
            tracing::error!(%error, "cannot accept connections; trying again");
        }
        self.0 = (self.0 * 2).clamp(Duration::from_millis(10), Duration::from_secs(1));
        tokio::time::sleep(self.0).await;
    }
}

#[cfg(test)]
mod tests;
