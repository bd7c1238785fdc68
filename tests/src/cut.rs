//! A network that breaks once: a TCP proxy that ends one answer in the middle, with FIN.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};

/// A running proxy; it ends when dropped.
#[derive(Debug)]
pub struct Cut {
    address: SocketAddr,
    cut: Arc<AtomicBool>,
    task: JoinHandle<()>,
}

impl Cut {
    /// Listens on a free port of 127.0.0.1 and forwards to `to`. The first connection whose answers reach `bytes`
    /// ends there: nothing more comes on it, and nothing that the client sends is answered by a reset.
    ///
    /// # Panics
    /// If it cannot listen.
    pub async fn start(to: SocketAddr, bytes: u64) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
        let address = listener.local_addr().expect("a listener has an address");
        let cut = Arc::new(AtomicBool::new(false));
        let once = cut.clone();
        let task = tokio::spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((client, _)) = listener.accept().await {
                connections.spawn(forward(client, to, bytes, once.clone()));
            }
        });
        Self { address, cut, task }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Whether an answer was cut.
    pub fn happened(&self) -> bool {
        self.cut.load(Ordering::Relaxed)
    }
}

impl Drop for Cut {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn forward(client: TcpStream, to: SocketAddr, bytes: u64, cut: Arc<AtomicBool>) {
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
        let mut passed = 0;
        while let Ok(read @ 1..) = from_server.read(&mut buffer).await {
            passed += read as u64;
            let ends = passed >= bytes && !cut.swap(true, Ordering::Relaxed);
            let beyond = if ends { (passed - bytes) as usize } else { 0 };
            if to_client.write_all(&buffer[..read - beyond]).await.is_err() || ends {
                break;
            }
        }
        let _ = to_client.shutdown().await;
    };
    // After a cut what the client still sends is read, as a close with unread bytes would be a reset.
    tokio::join!(requests, answers);
}
