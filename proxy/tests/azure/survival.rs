//! A fill over an account that fails on the way: what can be survived is, at the exact byte, pinned, within the tries.

use std::time::Duration;

use dataproxy_cache::conformance::pattern;
use dataproxy_cache::{
    Algorithm, BlobKey, Cache, CacheConfig, CacheError, Digest, ObjectName, OriginErrorKind, Scope, Source,
    Wanted,
};
use futures_util::TryStreamExt;

use crate::scripted::{Answer, OBJECT, Scripted, refused};

const BYTES: usize = 1 << 20;

async fn cache() -> Cache {
    let config = CacheConfig { origin_idle_timeout: Duration::from_millis(500), ..CacheConfig::default() };
    Cache::open(config).await.expect("a cache")
}

/// Pulls the account's blob through a cache that does not know it.
async fn pull(storage: &Scripted) -> Result<Vec<u8>, CacheError> {
    let key =
        BlobKey { scope: Scope::new("contoso"), digest: Digest::of(Algorithm::Sha256, &pattern(BYTES)) };
    let source =
        Source { origin: std::sync::Arc::new(storage.account.clone()), object: ObjectName::new(OBJECT) };
    let reader = cache().await.read(&key, &source, Wanted::Whole).await?;
    let pieces: Vec<bytes::Bytes> = reader.try_collect().await?;
    Ok(pieces.concat())
}

/// Range and pin of each request that came.
fn asked(storage: &Scripted) -> Vec<(String, bool)> {
    let asked = storage.asked();
    let range =
        |head: &str| head.lines().find_map(|line| line.strip_prefix("range: bytes=").map(str::to_owned));
    asked
        .iter()
        .map(|head| (range(head).expect("a range"), head.contains("\r\nif-match: \"0x8D1\"\r\n")))
        .collect()
}

#[tokio::test]
async fn a_body_that_breaks_stalls_or_ends_early_is_resumed_at_the_exact_byte_pinned_to_its_version() {
    for fault in [Answer::Reset(300_000), Answer::Truncated(300_000), Answer::Stalled(300_000)] {
        let storage = Scripted::start(&pattern(BYTES)).await;
        storage.answers([fault.clone()]);
        assert!(pull(&storage).await.expect("a pull") == pattern(BYTES), "{fault:?}");
        let whole = format!("0-{}", (4 << 20) - 1);
        let rest = format!("300000-{}", BYTES - 1);
        assert_eq!(asked(&storage), [(whole, false), (rest, true)], "{fault:?}");
    }
}

#[tokio::test]
async fn an_account_that_is_busy_silent_or_gone_for_a_moment_is_asked_again() {
    for fault in [
        refused("503 S", "ServerBusy"),
        refused("500 I", "OperationTimedOut"),
        Answer::ResetAtOnce,
        Answer::Mute,
        Answer::Whole("307 T\r\nlocation: http://127.0.0.1:1/".to_owned(), String::new()),
    ] {
        let storage = Scripted::start(&pattern(BYTES)).await;
        storage.answers([fault.clone()]);
        assert!(pull(&storage).await.expect("a pull") == pattern(BYTES), "{fault:?}");
        assert_eq!(asked(&storage).len(), 2, "{fault:?}");
    }
}

#[tokio::test]
async fn a_refusal_that_no_second_try_would_change_is_asked_for_once() {
    for (code, status) in
        [("AuthorizationFailure", "403 F"), ("BlobArchived", "409 C"), ("ContainerNotFound", "404 N")]
    {
        let storage = Scripted::start(&pattern(BYTES)).await;
        storage.answers([refused(status, code)]);
        let error = pull(&storage).await.expect_err(code);
        assert!(
            matches!(&error, CacheError::Origin(error) if error.kind == OriginErrorKind::Denied),
            "{error}"
        );
        assert_eq!(asked(&storage).len(), 1, "{code}");
    }
}

#[tokio::test]
async fn an_account_that_stays_busy_is_asked_a_bounded_number_of_times() {
    let storage = Scripted::start(&pattern(BYTES)).await;
    storage.answers(std::iter::repeat_n(refused("503 S", "ServerBusy"), 50));
    let error = pull(&storage).await.expect_err("busy");
    assert!(
        matches!(&error, CacheError::Origin(error) if error.kind == OriginErrorKind::Throttled(None)),
        "{error}"
    );
    assert_eq!(asked(&storage).len() as u32, CacheConfig::default().origin_attempts);
}

#[tokio::test]
async fn a_blob_that_changes_under_a_pull_is_never_mixed() {
    let storage = Scripted::start(&pattern(BYTES)).await;
    storage.answers([Answer::Truncated(300_000), refused("412 P", "ConditionNotMet")]);
    assert!(pull(&storage).await.is_err(), "two versions are not one blob");
    assert!(asked(&storage)[1].1, "the second read was pinned");
}
