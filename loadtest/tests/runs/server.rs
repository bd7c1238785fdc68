//! A server whose latencies are known: each request is answered a while after it came, those that come in its stall a while
//! after the stall's end.

use std::net::SocketAddr;
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::{Builder, Runtime};

/// What it does.
#[derive(Clone)]
pub(crate) struct Scripted {
    pub(crate) body: Vec<u8>,
    pub(crate) latency: Duration,
    /// From when to when, after its first request.
    pub(crate) stall: Option<(Duration, Duration)>,
    /// Requests that it answers; those after them it lets wait.
    pub(crate) answers: u64,
}

/// It runs until it is dropped.
pub(crate) struct Server {
    address: SocketAddr,
    shared: Arc<Shared>,
    _runtime: Runtime,
}

struct Shared {
    scripted: Scripted,
    seen: Mutex<Seen>,
    came: Condvar,
}

#[derive(Default)]
struct Seen {
    paths: Vec<String>,
    bytes: u64,
    first: Option<Instant>,
    /// How late it was with an answer, at most.
    lag: Duration,
}

impl Server {
    pub(crate) fn start(scripted: Scripted) -> Self {
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a runtime");
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).expect("a port");
        let address = listener.local_addr().expect("bound");
        let shared = Arc::new(Shared { scripted, seen: Mutex::default(), came: Condvar::new() });
        let serving = Arc::clone(&shared);
        runtime.spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, Arc::clone(&serving)));
            }
        });
        Self { address, shared, _runtime: runtime }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}/blob", self.address)
    }

    pub(crate) fn requests(&self) -> u64 {
        self.shared.seen.lock().expect("whole").paths.len() as u64
    }

    pub(crate) fn paths(&self) -> Vec<String> {
        self.shared.seen.lock().expect("whole").paths.clone()
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.shared.seen.lock().expect("whole").bytes
    }

    pub(crate) fn lag(&self) -> Duration {
        self.shared.seen.lock().expect("whole").lag
    }

    /// Waits until so many requests have come.
    pub(crate) fn wait_for(&self, requests: usize) {
        let seen = self.shared.seen.lock().expect("whole");
        let few = |seen: &mut Seen| seen.paths.len() < requests;
        let waited = self.shared.came.wait_timeout_while(seen, Duration::from_secs(60), few);
        assert!(!waited.expect("whole").1.timed_out(), "fewer than {requests} requests came");
    }
}

async fn serve(mut stream: TcpStream, shared: Arc<Shared>) {
    let scripted = &shared.scripted;
    let _ = stream.set_nodelay(true);
    let mut buffer = Vec::new();
    loop {
        while !buffer.ends_with(b"\r\n\r\n") {
            match stream.read_buf(&mut buffer).await {
                Ok(0) | Err(_) => return,
                Ok(_) => {}
            }
        }
        let now = Instant::now();
        let path = String::from_utf8_lossy(&buffer).split(' ').nth(1).unwrap_or_default().to_owned();
        buffer.clear();
        let (number, first) = {
            let mut seen = shared.seen.lock().expect("whole");
            seen.paths.push(path.clone());
            (seen.paths.len() as u64, *seen.first.get_or_insert(now))
        };
        shared.came.notify_all();
        if number > scripted.answers {
            return std::future::pending().await;
        }
        let after = now - first;
        let from = match scripted.stall {
            Some((from, to)) if (from..to).contains(&after) => first + to,
            _ => now,
        };
        let due = from + scripted.latency;
        tokio::time::sleep_until(due.into()).await;
        let body: &[u8] = if path == "/blob" { &scripted.body } else { b"{}" };
        let mut answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len()).into_bytes();
        answer.extend_from_slice(body);
        {
            let mut seen = shared.seen.lock().expect("whole");
            seen.lag = seen.lag.max(due.elapsed());
            seen.bytes += body.len() as u64;
        }
        if stream.write_all(&answer).await.is_err() {
            return;
        }
    }
}
