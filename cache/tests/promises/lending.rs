//! Reads that another cache of the same storage gives, and reads for another cache.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use dataproxy_cache::conformance::pattern;
use dataproxy_cache::fakes::{Asked, FakeOrigin, Fault, Gate};
use dataproxy_cache::{
    CacheError, ETag, ObjectName, Origin, OriginError, OriginErrorKind, OriginRead, Retry, Source, Wanted,
};
use futures_util::future::BoxFuture;

use crate::harness::{BLOCK, RANGE, Rig, Stored, bounded, drain};

/// An origin that lends from another cache, as long as the script says.
#[derive(Debug)]
struct Lender {
    behind: Arc<FakeOrigin>,
    lends: AtomicBool,
    refuted: AtomicUsize,
}

impl Origin for Lender {
    fn get<'a>(
        &'a self,
        object: &'a ObjectName,
        range: Range<u64>,
        pin: Option<&'a ETag>,
    ) -> BoxFuture<'a, Result<OriginRead, OriginError>> {
        Box::pin(async move {
            let read = self.behind.get(object, range, pin).await?;
            Ok(OriginRead { lent: self.lends.load(Relaxed), ..read })
        })
    }

    fn retry(&self, _: &OriginError) -> Retry {
        assert!(!self.lends.load(Relaxed), "storage is asked for leave though it has not failed");
        Retry::Counted
    }

    fn refuted(&self, _: &ObjectName) {
        self.refuted.fetch_add(1, Relaxed);
    }
}

impl Lender {
    fn before(rig: &Rig, blob: &Stored) -> (Arc<Self>, Source) {
        let behind = Arc::clone(&rig.origin);
        let lender = Arc::new(Self { behind, lends: AtomicBool::new(true), refuted: AtomicUsize::new(0) });
        let source = Source { origin: Arc::clone(&lender) as Arc<dyn Origin>, object: blob.object.clone() };
        (lender, source)
    }
}

#[tokio::test(start_paused = true)]
async fn what_another_cache_lends_is_counted_apart_and_made_up_for_at_once_where_it_breaks() {
    bounded(async {
        let rig = Rig::without_disk().await;
        let blob = rig.blob(12 * BLOCK);
        let (lender, source) = Lender::before(&rig, &blob);
        let broken = OriginErrorKind::Unavailable;
        rig.origin.at(5 * BLOCK, Fault::Break { after_bytes: 3000, kind: broken });
        let begun = tokio::time::Instant::now();
        let mut reader = rig.cache.read(&blob.key, &source, Wanted::Whole).await.expect("it starts");
        assert_eq!(drain(&mut reader).await.expect("no error"), blob.content);
        assert!(begun.elapsed() < Duration::from_millis(1), "it paused for {:?}", begun.elapsed());
        let stats = rig.cache.stats();
        assert_eq!((stats.lent_bytes, stats.origin_bytes), (12 * BLOCK, 0));
        assert_eq!((stats.lent_requests, stats.origin_requests, stats.origin_retries), (4, 0, 0));
        assert_eq!(lender.refuted.load(Relaxed), 0);

        // Storage itself breaks off: that is a try, after a pause, with its leave.
        let blob = rig.named("another", pattern(12 * BLOCK as usize + 1));
        lender.lends.store(false, Relaxed);
        let source = Source { object: blob.object.clone(), ..source };
        rig.origin.at(5 * BLOCK, Fault::Break { after_bytes: 3000, kind: broken });
        let mut reader = rig.cache.read(&blob.key, &source, Wanted::Whole).await.expect("it starts");
        assert_eq!(drain(&mut reader).await.expect("no error"), blob.content);
        let stats = rig.cache.stats();
        assert_eq!((stats.origin_bytes, stats.origin_retries), (12 * BLOCK + 1, 1));
        assert_eq!((stats.lent_requests, stats.origin_requests), (4, 5));
    })
    .await;
}

#[tokio::test]
async fn an_origin_hears_that_what_it_gave_was_wrong() {
    bounded(async {
        let rig = Rig::new().await;
        let blob = rig.blob(6 * BLOCK);
        let (lender, source) = Lender::before(&rig, &blob);
        rig.origin.at(5 * BLOCK, Fault::Corrupt { at: 5 * BLOCK + 1 });
        let mut reader = rig.cache.read(&blob.key, &source, Wanted::Whole).await.expect("it starts");
        let error = drain(&mut reader).await.expect_err("wrong content");
        assert!(matches!(error, CacheError::Mismatch(_)), "{error}");
        assert_eq!(lender.refuted.load(Relaxed), 1);
    })
    .await;
}

#[tokio::test]
async fn what_another_cache_waits_for_is_fetched_though_all_reads_of_the_fill_wait() {
    bounded(async {
        for rig in [Rig::new().await, Rig::without_disk().await] {
            let blob = rig.blob(64 * BLOCK);
            let gate = Gate::new();
            // The reads that make the fill full: they wait, perhaps for the very cache that asks next.
            let held = |asked: &Asked| asked.range.start < 32 * BLOCK && asked.range.start > 0;
            rig.origin.script(held, None, Fault::HoldAnswer(gate.clone()));
            let mut local = rig.read(&blob, Wanted::Whole).await;
            gate.arrived(4).await;
            let owed = Wanted::Owed { first: 40 * BLOCK, last: 44 * BLOCK - 1 };
            rig.check(&blob, owed).await;
            let tiny = Wanted::Owed { first: 50 * BLOCK + 5, last: 50 * BLOCK + 5 };
            rig.check(&blob, tiny).await;
            assert!(rig.cache.stats().fill_bytes <= 10 * RANGE);
            gate.open();
            assert_eq!(drain(&mut local).await.expect("no error"), blob.content);
            rig.idle().await;
            assert_eq!(rig.origin_bytes(), blob.content.len() as u64, "nothing came twice");
        }
    })
    .await;
}
