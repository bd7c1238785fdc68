//! The end of a connection, as a client can tell it from a failure: all that was sent, then FIN, and no RST.
//!
//! Linux sends an RST when a socket is closed with unread bytes, or when bytes come to one that is closed. So a connection is
//! closed for writing first, then read dry until the client closes too. The kernel may hold megabytes that a slow client has
//! yet to take; while the node ends, a connection waits for them, so that their end is seen to be soft.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::{Instant, sleep, timeout_at};

use super::delivered::is_delivered;
use crate::connections::Connection;
use crate::lifecycle::{Lifecycle, State};

/// How long a connection that is over is read, so that what the client still sends draws no RST.
const LINGER: Duration = Duration::from_secs(5);
/// The same while the node ends, once the client has all: nothing but the kernel is then left to do it.
const LINGER_LEAVING: Duration = Duration::from_millis(100);
/// The first and the longest time between two looks at what the client has; most have closed before the first.
const LOOK: (Duration, Duration) = (Duration::from_millis(20), Duration::from_millis(160));

/// How a connection's last response ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// As it should, or there was none.
    Whole,
    /// Cut by the node.
    Cut,
}

/// Closes for writing, which is the last that `connection` writes, then reads until the client closes too, for a bounded
/// time.
pub(crate) async fn close<I: AsyncRead + AsyncWrite + Unpin>(
    mut io: I,
    peer: SocketAddr,
    life: &Lifecycle,
    end: End,
    connection: Option<&Connection>,
) {
    let dry = async {
        io.shutdown().await?;
        connection.inspect(|connection| connection.settle());
        // On the heap, or every open connection would have room for it.
        let mut discard = vec![0; 4096];
        while io.read(&mut discard).await? > 0 {}
        Ok::<_, std::io::Error>(())
    };
    // Either way the socket is closed next, and nothing of ours is left on it to be lost.
    tokio::select! {
        _ = dry => {}
        () = patience(peer, life, end) => {}
    }
    connection.inspect(|connection| connection.settle());
}

/// Resolves when a client has had the time that it gets to close.
async fn patience(peer: SocketAddr, life: &Lifecycle, end: End) {
    let served = timeout_at(Instant::now() + LINGER, life.reaches(State::Draining)).await;
    if served.is_err() {
        return;
    }
    let linger = if end == End::Cut { LINGER } else { LINGER_LEAVING };
    let delivered = async {
        let (mut pause, longest) = LOOK;
        loop {
            sleep(pause).await;
            if is_delivered(peer).await {
                return sleep(linger).await;
            }
            pause = (pause * 2).min(longest);
        }
    };
    tokio::select! {
        () = delivered => {}
        // The process ends: a last moment in which the client's own close may come.
        () = async { life.reaches(State::Exit).await; sleep(LINGER_LEAVING).await } => {}
    }
}
