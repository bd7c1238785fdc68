//! A cache over a fake origin, with small blocks so that small blobs have many.

use std::future::Future;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use dataproxy_cache::conformance::pattern;
use dataproxy_cache::fakes::FakeOrigin;
use dataproxy_cache::{
    Algorithm, BlobKey, BlobReader, Cache, CacheConfig, CacheError, Digest, DiskConfig, ObjectName, Outcome,
    Scope, Source, Wanted,
};
use futures_util::StreamExt;
use tempfile::TempDir;

pub(crate) const BLOCK: u64 = 4096;
/// What a blob of few blocks takes on disk beside them: a page for its meta file, its names.
pub(crate) const BESIDE: u64 = BLOCK + 320;
/// Bytes of one ranged read.
pub(crate) const RANGE: u64 = 4 * BLOCK;

const TICK: Duration = Duration::from_millis(1);

/// How long any wait may take before the test fails.
const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) fn config(dir: Option<&Path>) -> CacheConfig {
    CacheConfig {
        memory_bytes: 256 * BLOCK,
        disk: dir.map(|dir| DiskConfig {
            capacity_bytes: 4096 * BLOCK,
            scrub_bytes_per_second: 0,
            ..DiskConfig::in_dir(dir)
        }),
        block_bytes: BLOCK,
        fetch_range_bytes: RANGE,
        fetch_parallel: 4,
        fill_memory_bytes: 8 * RANGE,
        small_blob_bytes: 1024,
        finish_bytes: 64 * BLOCK,
        ..CacheConfig::default()
    }
}

/// Opens a cache, and waits until it knows what is on its disk.
pub(crate) async fn open(config: CacheConfig) -> Cache {
    let cache = Cache::open(config).await.expect("opens");
    eventually("the disk is known", || cache.stats().disk_recovering == 0).await;
    cache
}

pub(crate) struct Rig {
    pub(crate) origin: Arc<FakeOrigin>,
    pub(crate) cache: Cache,
    pub(crate) dir: TempDir,
}

pub(crate) struct Stored {
    pub(crate) key: BlobKey,
    pub(crate) object: ObjectName,
    pub(crate) source: Source,
    pub(crate) content: Bytes,
}

impl Drop for Rig {
    fn drop(&mut self) {
        // A test that failed would wait for the calls that hang.
        self.cache.hang_disk(false);
    }
}

impl Rig {
    /// With a disk tier.
    pub(crate) async fn new() -> Self {
        Self::with(|_| {}).await
    }

    pub(crate) async fn without_disk() -> Self {
        Self::with(|config| config.disk = None).await
    }

    pub(crate) async fn with(change: impl FnOnce(&mut CacheConfig)) -> Self {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let mut config = config(Some(dir.path()));
        change(&mut config);
        let cache = open(config).await;
        Self { origin: FakeOrigin::with_chunk_bytes(1000), cache, dir }
    }

    /// Ends the cache as a process would end, and opens the folder again.
    pub(crate) async fn reopen(&mut self) {
        self.reopen_with(|_| {}).await;
    }

    pub(crate) async fn reopen_with(&mut self, change: impl FnOnce(&mut CacheConfig)) {
        self.cache.close().await;
        let mut config = config(Some(self.dir.path()));
        change(&mut config);
        self.cache = open(config).await;
    }

    /// Puts a blob of so many bytes at the origin.
    pub(crate) fn blob(&self, length: u64) -> Stored {
        self.named(&format!("blob-{length}"), pattern(length as usize))
    }

    pub(crate) fn named(&self, name: &str, content: Bytes) -> Stored {
        let object = ObjectName::new(name);
        self.origin.put(&object, content.clone());
        let key = BlobKey { scope: Scope::new("contoso"), digest: Digest::of(Algorithm::Sha256, &content) };
        Stored { key, source: self.origin.source(&object), object, content }
    }

    pub(crate) async fn read(&self, blob: &Stored, wanted: Wanted) -> BlobReader {
        self.cache.read(&blob.key, &blob.source, wanted).await.expect("the read starts")
    }

    /// Reads all that is wanted, checks every byte, and tells how it was served.
    pub(crate) async fn check(&self, blob: &Stored, wanted: Wanted) -> Outcome {
        let mut reader = self.read(blob, wanted).await;
        let range = reader.range();
        let found = drain(&mut reader).await.expect("the read ends well");
        assert!(found == blob.content[range.start as usize..range.end as usize], "{range:?} has wrong bytes");
        reader.outcome()
    }

    /// Waits until no fill runs.
    pub(crate) async fn idle(&self) {
        eventually("no fill runs", || self.cache.stats().fills_running == 0).await;
    }

    pub(crate) fn origin_bytes(&self) -> u64 {
        self.cache.stats().origin_bytes
    }
}

/// Everything the reader gives.
pub(crate) async fn drain(reader: &mut BlobReader) -> Result<Vec<u8>, CacheError> {
    drain_into(reader, &mut Vec::new()).await
}

/// Everything the reader gives after what is there; what came before an error stays in `content`.
pub(crate) async fn drain_into(
    reader: &mut BlobReader,
    content: &mut Vec<u8>,
) -> Result<Vec<u8>, CacheError> {
    while let Some(piece) = reader.next().await {
        let piece = piece?;
        assert!(!piece.is_empty() && piece.len() as u64 <= BLOCK, "a piece of {} bytes", piece.len());
        content.extend_from_slice(&piece);
    }
    Ok(std::mem::take(content))
}

/// Reads at least so many bytes.
pub(crate) async fn take(reader: &mut BlobReader, least: usize) -> Vec<u8> {
    let mut content = Vec::new();
    while content.len() < least {
        content.extend_from_slice(&reader.next().await.expect("more").expect("no error"));
    }
    content
}

/// Waits on a condition, looking every tick; under a paused clock the ticks are what lets time pass.
pub(crate) async fn eventually(what: &str, condition: impl Fn() -> bool) {
    within(async {
        while !condition() {
            tokio::time::sleep(TICK).await;
        }
    })
    .await
    .unwrap_or_else(|| panic!("never came true: {what}"));
}

/// Runs what must end.
pub(crate) async fn within<T>(work: impl Future<Output = T>) -> Option<T> {
    tokio::time::timeout(PATIENCE, work).await.ok()
}

/// Runs a whole test, which must end.
pub(crate) async fn bounded<T>(test: impl Future<Output = T>) -> T {
    within(test).await.expect("the test takes too long")
}
