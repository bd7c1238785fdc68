//! The sockets: UDP and TCP, each answer from the view of its moment.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::View;
use super::answer::{Transport, answer};
use crate::metrics::DnsCounters;

/// Answers by UDP before other tasks of the thread get their turn.
const BATCH: usize = 64;
/// No query of ours is larger; what is cut by it is malformed.
const LARGEST_DATAGRAM: usize = 4096;
/// After an error of a listener, such as too many open files.
const PAUSE: Duration = Duration::from_millis(100);

/// What TCP clients may take.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Connections at a time; more wait in the kernel's queue.
    pub connections: usize,
    /// How long a client may take for one message, to ask or to read the answer, before it is cut.
    pub idle: Duration,
}

impl Default for Bounds {
    fn default() -> Self {
        Self { connections: 256, idle: Duration::from_secs(5) }
    }
}

/// A server that has its addresses.
#[derive(Debug)]
pub struct DnsServer {
    sockets: Vec<(Arc<UdpSocket>, TcpListener)>,
    bounds: Bounds,
}

impl DnsServer {
    /// Takes these addresses, each for UDP and TCP. Port 0 is any that both have free.
    ///
    /// # Errors
    /// The system's, naming the address.
    pub async fn bind(addresses: &[SocketAddr], bounds: Bounds) -> io::Result<Self> {
        let mut sockets = Vec::new();
        for address in addresses {
            let told = |error: io::Error| io::Error::new(error.kind(), format!("dns at {address}: {error}"));
            let tcp = TcpListener::bind(address).await.map_err(told)?;
            let udp = UdpSocket::bind(tcp.local_addr()?).await.map_err(told)?;
            sockets.push((Arc::new(udp), tcp));
        }
        Ok(Self { sockets, bounds })
    }

    /// The addresses that it has.
    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.sockets.iter().filter_map(|(_, tcp)| tcp.local_addr().ok()).collect()
    }

    /// Answers from `view` until it is dropped.
    pub async fn run(self, view: Arc<ArcSwap<View>>) {
        let answering = Arc::new(Answering { view, turn: AtomicUsize::new(0), counters: DnsCounters::get() });
        let connections = Arc::new(Semaphore::new(self.bounds.connections));
        let readers = std::thread::available_parallelism().map_or(1, usize::from);
        let mut tasks = JoinSet::new();
        for (udp, tcp) in self.sockets {
            for _ in 0..readers {
                tasks.spawn(serve_udp(Arc::clone(&udp), Arc::clone(&answering)));
            }
            tasks.spawn(serve_tcp(tcp, Arc::clone(&connections), self.bounds.idle, Arc::clone(&answering)));
        }
        while let Some(ended) = tasks.join_next().await {
            if let Err(error) = ended {
                tracing::error!(%error, "a task of the dns server has ended");
            }
        }
    }
}

struct Answering {
    view: Arc<ArcSwap<View>>,
    turn: AtomicUsize,
    counters: &'static DnsCounters,
}

impl Answering {
    fn answer(&self, message: &[u8], transport: Transport) -> Option<Vec<u8>> {
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        let answer = answer(&self.view.load(), message, transport, turn)?;
        self.counters.count(message, &answer);
        Some(answer)
    }
}

async fn serve_udp(socket: Arc<UdpSocket>, answering: Arc<Answering>) {
    let mut buffer = vec![0; LARGEST_DATAGRAM];
    loop {
        if socket.readable().await.is_err() {
            sleep(PAUSE).await;
            continue;
        }
        for _ in 0..BATCH {
            match socket.try_recv_from(&mut buffer) {
                Ok((length, from)) => {
                    if let Some(answer) = answering.answer(&buffer[..length], Transport::Udp) {
                        send(&socket, &answer, from).await;
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                // What the network says of a former answer's receiver.
                Err(error) => tracing::debug!(%error, "a datagram was not received"),
            }
        }
        tokio::task::yield_now().await;
    }
}

/// What the network does not take is lost, as it may be on the way: the client asks again.
async fn send(socket: &UdpSocket, answer: &[u8], to: SocketAddr) {
    let sent = match socket.try_send_to(answer, to) {
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => socket.send_to(answer, to).await,
        sent => sent,
    };
    if let Err(error) = sent {
        tracing::debug!(%to, %error, "an answer was not sent");
    }
}

async fn serve_tcp(
    listener: TcpListener,
    connections: Arc<Semaphore>,
    idle: Duration,
    answering: Arc<Answering>,
) {
    let mut clients = JoinSet::new();
    loop {
        // Closed never.
        let Ok(permit) = Arc::clone(&connections).acquire_owned().await else { return };
        match listener.accept().await {
            Ok((stream, from)) => {
                let answering = Arc::clone(&answering);
                clients.spawn(async move {
                    if let Err(error) = serve_client(stream, idle, &answering).await {
                        tracing::debug!(%from, %error, "a dns connection has ended");
                    }
                    drop(permit);
                });
            }
            Err(error) => {
                tracing::warn!(%error, "no dns connection is accepted");
                sleep(PAUSE).await;
            }
        }
        while clients.try_join_next().is_some() {}
    }
}

/// Messages and answers one after the other, each with its length before it (RFC 1035 §4.2.2).
async fn serve_client(mut stream: TcpStream, idle: Duration, answering: &Answering) -> io::Result<()> {
    stream.set_nodelay(true)?;
    loop {
        let message = timeout(idle, read(&mut stream)).await??;
        let Some(answer) = answering.answer(&message, Transport::Tcp) else { return Ok(()) };
        let length = u16::try_from(answer.len()).map_err(io::Error::other)?;
        let framed = [&length.to_be_bytes()[..], &answer].concat();
        timeout(idle, stream.write_all(&framed)).await??;
    }
}

async fn read(stream: &mut TcpStream) -> io::Result<Vec<u8>> {
    let length = stream.read_u16().await?;
    let mut message = vec![0; length.into()];
    stream.read_exact(&mut message).await?;
    Ok(message)
}
