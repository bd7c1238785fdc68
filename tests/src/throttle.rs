//! A slow network: a TCP proxy that lets answers through at a stated pace.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{Instant, sleep_until};

use crate::eventually::eventually;

/// A running proxy; it ends when dropped.
#[derive(Debug)]
pub struct Throttle {
    address: SocketAddr,
    passed: Arc<AtomicU64>,
    task: JoinHandle<()>,
}

impl Throttle {
    /// Listens on a free port of 127.0.0.1 and forwards to `to`; each connection's answers pass at
    /// `bytes_per_second`.
    ///
    /// # Panics
    /// If it cannot listen.
    pub async fn start(to: SocketAddr, bytes_per_second: u64) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
        let address = listener.local_addr().expect("a listener has an address");
        let passed = Arc::new(AtomicU64::new(0));
        let count = passed.clone();
        let task = tokio::spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((client, _)) = listener.accept().await {
                connections.spawn(forward(client, to, bytes_per_second, count.clone()));
            }
        });
        Self { address, passed, task }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Waits until this many bytes of answers have passed.
    ///
    /// # Panics
    /// If they have not within 60 s.
    pub async fn wait_for_bytes(&self, bytes: u64) {
        eventually("bytes through the slow network", Duration::from_secs(60), async || {
            let passed = self.passed.load(Ordering::Relaxed);
            if passed >= bytes { Ok(()) } else { Err(format!("{passed} of {bytes} bytes")) }
        })
        .await;
    }
}

impl Drop for Throttle {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn forward(client: TcpStream, to: SocketAddr, bytes_per_second: u64, passed: Arc<AtomicU64>) {
    let Ok(server) = TcpStream::connect(to).await else { return };
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = server.into_split();
    let requests = async {
        // Either end may leave; the other direction sees it too.
        let _ = tokio::io::copy(&mut from_client, &mut to_server).await;
        let _ = to_server.shutdown().await;
    };
    let answers = async {
        let mut buffer = vec![0; 64 << 10];
        let (begun, mut sent) = (Instant::now(), 0);
        while let Ok(read @ 1..) = from_server.read(&mut buffer).await {
            if to_client.write_all(&buffer[..read]).await.is_err() {
                return;
            }
            sent += read as u64;
            passed.fetch_add(read as u64, Ordering::Relaxed);
            sleep_until(begun + Duration::from_micros(sent * 1_000_000 / bytes_per_second)).await;
        }
        let _ = to_client.shutdown().await;
    };
    tokio::join!(requests, answers);
}
