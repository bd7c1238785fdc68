//! Blobs of random content, and clients that pull them without end and judge every body.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng as _, RngExt, SeedableRng};
use tokio::task::JoinSet;

use crate::download::{Downloaded, download};
use crate::raw_http;
use crate::storage::Container;

/// A blob and its content.
#[derive(Debug)]
pub struct Blob {
    /// Its digest.
    pub digest: String,
    /// Its bytes.
    pub content: Vec<u8>,
}

/// Puts blobs of these sizes into a registry's content, for its repository `app`.
///
/// # Panics
/// If a file cannot be written.
pub async fn blobs(container: &Container, seed: u64, sizes: &[usize]) -> Vec<Blob> {
    let mut random = StdRng::seed_from_u64(seed);
    let mut made = Vec::new();
    for size in sizes {
        let mut content = vec![0; *size];
        random.fill_bytes(&mut content);
        let file = container.dir().join("new");
        std::fs::write(&file, &content).expect("a file can be written");
        let digest = container.put_blob("app", &file).await;
        std::fs::remove_file(&file).expect("a file can be removed");
        made.push(Blob { digest, content });
    }
    made
}

/// Where a node of the registry `contoso` serves a blob.
pub fn target(blob: &Blob) -> String {
    format!("/v2/contoso/app/blobs/{}", blob.digest)
}

/// Pulls a blob that has to come whole.
///
/// # Panics
/// If it does not, or is wrong.
pub async fn pull(address: SocketAddr, blob: &Blob) -> Downloaded {
    let downloaded = download(address, &target(blob)).await.expect("a whole body");
    assert_eq!((&downloaded.digest, downloaded.bytes), (&blob.digest, blob.content.len() as u64));
    downloaded
}

/// What came of a load.
#[derive(Debug, Default)]
pub struct Counts {
    /// Blobs that came whole and right.
    pub whole: AtomicU64,
    /// Ranges that came whole and right.
    pub ranges: AtomicU64,
    /// Answers that did not begin or ended short, and said so.
    pub failed: AtomicU64,
    /// Bodies that looked whole and were not right.
    pub wrong: AtomicU64,
    /// Bytes of the right ones.
    pub bytes: AtomicU64,
}

impl Counts {
    /// The counts in words.
    pub fn tell(&self) -> String {
        let [whole, ranges, failed, wrong] =
            [&self.whole, &self.ranges, &self.failed, &self.wrong].map(|count| count.load(Relaxed));
        format!(
            "{whole} blobs and {ranges} ranges whole and right, {failed} not begun or cut short, {wrong} wrong"
        )
    }
}

/// Clients that pull until they are told to stop.
#[derive(Debug)]
pub struct Load {
    counts: Arc<Counts>,
    stop: Arc<AtomicBool>,
    clients: JoinSet<()>,
}

impl Load {
    /// Starts so many clients of one node.
    pub fn start(address: SocketAddr, blobs: &Arc<Vec<Blob>>, clients: u64, seed: u64) -> Self {
        let (counts, stop) = (Arc::<Counts>::default(), Arc::<AtomicBool>::default());
        let mut running = JoinSet::new();
        for client in 0..clients {
            let (blobs, counts, stop) = (Arc::clone(blobs), Arc::clone(&counts), Arc::clone(&stop));
            running.spawn(async move {
                let mut random = StdRng::seed_from_u64(seed.wrapping_add(client));
                while !stop.load(Relaxed) {
                    let blob = &blobs[random.random_range(0..blobs.len())];
                    let length = blob.content.len();
                    let range = random.random_bool(0.3).then(|| {
                        let first = random.random_range(0..length);
                        first..length.min(first + random.random_range(1..2 << 20))
                    });
                    if !one(address, blob, range, &counts).await {
                        // The node is away: not asked again in the same instant.
                        tokio::time::sleep(Duration::from_millis(5)).await;
                    }
                }
            });
        }
        Self { counts, stop, clients: running }
    }

    /// What has come of it so far.
    pub fn counts(&self) -> &Counts {
        &self.counts
    }

    /// Lets every client finish what it is about, and gives what came of it.
    pub async fn stop(self) -> Arc<Counts> {
        self.stop.store(true, Relaxed);
        self.clients.join_all().await;
        self.counts
    }
}

async fn one(
    address: SocketAddr,
    blob: &Blob,
    range: Option<std::ops::Range<usize>>,
    counts: &Counts,
) -> bool {
    let (right, count, length) = match range {
        None => {
            let Ok(done) = download(address, &target(blob)).await else {
                counts.failed.fetch_add(1, Relaxed);
                return false;
            };
            (done.digest == blob.digest, &counts.whole, done.bytes)
        }
        Some(range) => {
            let header = format!("Range: bytes={}-{}", range.start, range.end - 1);
            let host = address.to_string();
            let answer = raw_http::send(address, "GET", &target(blob), &host, &[&header]).await;
            let whole = |answer: &raw_http::Answer| {
                answer.status == 206 && answer.head.content_length() == Some(answer.body.len() as u64)
            };
            let Some(answer) = answer.ok().filter(whole) else {
                counts.failed.fetch_add(1, Relaxed);
                return false;
            };
            (answer.body == blob.content[range], &counts.ranges, answer.body.len() as u64)
        }
    };
    if right {
        count.fetch_add(1, Relaxed);
        counts.bytes.fetch_add(length, Relaxed);
    } else {
        counts.wrong.fetch_add(1, Relaxed);
    }
    true
}
