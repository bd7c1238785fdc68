//! A node that does as its script says, on real sockets.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use dataproxy_cache::{Algorithm, Digest};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// What a node does with one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Act {
    /// Answers as it should.
    Serve,
    /// Answers, and dies (listener and all) after this many bytes of the body.
    DieAfter(usize),
    /// Answers, and breaks only this connection after this many bytes of the body.
    BreakAfter(usize),
    /// Answers, and says nothing more after this many bytes of the body.
    StallAfter(usize),
    /// Closes without an answer.
    Break,
    /// Says nothing at all.
    Stall,
    /// Answers with another version.
    OtherVersion,
    /// Answers a range with a shorter one.
    ShorterRange,
    /// Answers a range with everything.
    Whole,
    /// The same, and breaks only this connection after this many bytes of the body.
    WholeUntil(usize),
}

pub(super) struct Node {
    pub(super) addr: SocketAddr,
    pub(super) admin: SocketAddr,
    pub(super) ready: Arc<AtomicBool>,
    pub(super) looks: Arc<AtomicUsize>,
    pub(super) script: Arc<Mutex<VecDeque<Act>>>,
    pub(super) seen: Arc<Mutex<Vec<String>>>,
    pub(super) tasks: Vec<JoinHandle<()>>,
}

pub(super) fn blob() -> Vec<u8> {
    (0..200_000_u32).flat_map(|n| n.wrapping_mul(2_654_435_761).to_le_bytes()).collect()
}

pub(super) fn digest() -> Digest {
    Digest::of(Algorithm::Sha256, &blob())
}

pub(super) async fn read_head(stream: &mut TcpStream) -> Option<String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.ok()?);
    }
    String::from_utf8(head).ok()
}

pub(super) fn header<'h>(head: &'h str, name: &str) -> Option<&'h str> {
    head.lines().find_map(|line| {
        let (found, value) = line.split_once(": ")?;
        found.eq_ignore_ascii_case(name).then_some(value)
    })
}

/// Answers one request as a node would, up to where the script lets it.
async fn act(act: Act, head: &str, stream: &mut TcpStream) -> std::io::Result<()> {
    let blob = blob();
    let asked = header(head, "range").and_then(|range| range.strip_prefix("bytes=")?.split_once('-'));
    let (mut first, mut last) = asked.map_or((0, blob.len() - 1), |(first, last)| {
        (first.parse().unwrap(), last.parse().unwrap_or(blob.len() - 1))
    });
    match act {
        Act::ShorterRange => last -= 1,
        Act::Whole | Act::WholeUntil(_) => (first, last) = (0, blob.len() - 1),
        _ => {}
    }
    let version = if act == Act::OtherVersion { "other" } else { "this" };
    let is_whole = asked.is_none() || matches!(act, Act::Whole | Act::WholeUntil(_));
    let status = if is_whole { "200 OK" } else { "206 Partial Content" };
    let range = format!("content-range: bytes {first}-{last}/{}\r\n", blob.len());
    let range = if status.starts_with("206") { range } else { String::new() };
    let answer = format!(
        "HTTP/1.1 {status}\r\netag: \"{version}\"\r\ncontent-length: {}\r\n{range}\r\n",
        last - first + 1
    );
    let body = &blob[first..=last];
    let until = match act {
        Act::DieAfter(n) | Act::BreakAfter(n) | Act::StallAfter(n) | Act::WholeUntil(n) => n.min(body.len()),
        _ => body.len(),
    };
    stream.write_all(answer.as_bytes()).await?;
    if !head.starts_with("HEAD ") {
        stream.write_all(&body[..until]).await?;
    }
    stream.flush().await
}

impl Node {
    pub(super) async fn start() -> Self {
        let (pull, admin) = (
            TcpListener::bind("127.0.0.1:0").await.unwrap(),
            TcpListener::bind("127.0.0.1:0").await.unwrap(),
        );
        let mut node = Self {
            addr: pull.local_addr().unwrap(),
            admin: admin.local_addr().unwrap(),
            ready: Arc::new(AtomicBool::new(true)),
            looks: Arc::default(),
            script: Arc::default(),
            seen: Arc::default(),
            tasks: Vec::new(),
        };
        node.serve(pull, admin);
        node
    }

    fn serve(&mut self, pull: TcpListener, admin: TcpListener) {
        let (ready, looks) = (Arc::clone(&self.ready), Arc::clone(&self.looks));
        let admin = tokio::spawn(async move {
            while let Ok((mut stream, _)) = admin.accept().await {
                if read_head(&mut stream).await.is_none() {
                    continue;
                }
                looks.fetch_add(1, Ordering::Relaxed);
                let status = if ready.load(Ordering::Relaxed) { 200 } else { 503 };
                let answer = format!("HTTP/1.1 {status} x\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
                let _ = stream.write_all(answer.as_bytes()).await;
            }
        });
        let (script, seen, whole) = (Arc::clone(&self.script), Arc::clone(&self.seen), admin.abort_handle());
        let pull = tokio::spawn(async move {
            let mut connections = tokio::task::JoinSet::new();
            loop {
                let mut stream = tokio::select! {
                    accepted = pull.accept() => accepted.unwrap().0,
                    Some(done) = connections.join_next() => match done {
                        Ok(Act::DieAfter(_)) => { whole.abort(); return }
                        _ => continue,
                    },
                };
                let (script, seen) = (Arc::clone(&script), Arc::clone(&seen));
                connections.spawn(async move {
                    while let Some(head) = read_head(&mut stream).await {
                        seen.lock().unwrap().push(head.clone());
                        let next = script.lock().unwrap().pop_front().unwrap_or(Act::Serve);
                        match next {
                            Act::Break => return next,
                            Act::Stall => std::future::pending().await,
                            _ => {}
                        }
                        let done = act(next, &head, &mut stream).await;
                        match next {
                            Act::StallAfter(_) => std::future::pending().await,
                            Act::DieAfter(_) | Act::BreakAfter(_) | Act::WholeUntil(_) => return next,
                            _ if done.is_err() => return next,
                            _ => {}
                        }
                    }
                    Act::Serve
                });
            }
        });
        self.tasks = vec![pull, admin];
    }

    pub(super) fn will(&self, acts: &[Act]) -> &Self {
        self.script.lock().unwrap().extend(acts);
        self
    }

    pub(super) fn seen(&self) -> Vec<String> {
        self.seen.lock().unwrap().clone()
    }

    pub(super) async fn kill(&mut self) {
        for task in self.tasks.drain(..) {
            task.abort();
            let _ = task.await;
        }
    }

    pub(super) async fn start_again(&mut self) {
        let (pull, admin) =
            (TcpListener::bind(self.addr).await.unwrap(), TcpListener::bind(self.admin).await.unwrap());
        self.serve(pull, admin);
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}
