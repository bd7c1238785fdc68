//! A small HTTP server for few clients, bounded in what they may take of the node.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;

/// Size of a request's line and headers, in bytes.
const HEADER_BYTES: usize = 16 << 10;
/// Headers of a request.
const HEADER_COUNT: usize = 64;
/// Wait after an accept that failed: out of descriptors, trying at once only spins.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// What the listener's clients may take of the node.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    /// Connections served at a time.
    pub(super) connections: usize,
    /// Time to a request's headers, from the connection's start or the response before; and for a reader that stalls.
    pub(super) headers: Duration,
}

impl Default for Bounds {
    fn default() -> Self {
        Self { connections: 64, headers: Duration::from_secs(10) }
    }
}

/// A bound listener.
#[derive(Debug)]
pub enum Listener {
    /// Of an address.
    Tcp(std::net::TcpListener),
    /// Of a path.
    Unix(std::os::unix::net::UnixListener),
}

/// A listener inside a runtime.
pub(super) enum Open {
    Tcp(tokio::net::TcpListener),
    Unix(tokio::net::UnixListener),
}

impl Listener {
    /// Enters it into the runtime that this is called in.
    pub(super) fn open(self) -> std::io::Result<Open> {
        Ok(match self {
            Self::Tcp(listener) => {
                listener.set_nonblocking(true)?;
                Open::Tcp(tokio::net::TcpListener::from_std(listener)?)
            }
            Self::Unix(listener) => {
                listener.set_nonblocking(true)?;
                Open::Unix(tokio::net::UnixListener::from_std(listener)?)
            }
        })
    }
}

impl Open {
    /// Serves as many connections as `bounds` lets, until it is dropped; the next ones wait in the kernel's queue.
    pub(super) async fn serve(self, router: Router, bounds: Bounds) {
        let slots = Arc::new(Semaphore::new(bounds.connections));
        let mut connections = JoinSet::new();
        loop {
            let Ok(slot) = Arc::clone(&slots).acquire_owned().await else { return };
            while connections.try_join_next().is_some() {}
            let router = router.clone();
            let accepted = match &self {
                Self::Tcp(listener) => listener.accept().await.map(|(stream, _)| {
                    // A reader that stalls inside a response ends with its connection.
                    let stall = u32::try_from(bounds.headers.as_millis()).unwrap_or(u32::MAX);
                    let _ = rustix::net::sockopt::set_tcp_user_timeout(&stream, stall);
                    connections.spawn(connection(stream, router, bounds, slot));
                }),
                Self::Unix(listener) => listener.accept().await.map(|(stream, _)| {
                    connections.spawn(connection(stream, router, bounds, slot));
                }),
            };
            if let Err(error) = accepted {
                tracing::debug!(%error, "the admin listener cannot accept; trying again");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

async fn connection<I>(stream: I, router: Router, bounds: Bounds, slot: OwnedSemaphorePermit)
where
    I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(bounds.headers)
        .max_headers(HEADER_COUNT)
        .max_buf_size(HEADER_BYTES)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
    // What a client does wrong is its own to see.
    let _ = served.await;
    drop(slot);
}
