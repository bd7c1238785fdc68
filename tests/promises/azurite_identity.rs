//! Tokens of an identity over their life, on Azurite.

use std::time::{Duration, Instant};

use dataproxy_cache::{ObjectName, Origin as _, OriginErrorKind};
use dataproxy_tests::azurite::Azurite;
use dataproxy_tests::identity::Identity;

use crate::azurite_suites::{by_key, managed, open, workload};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tokens_are_renewed_before_they_expire_and_no_read_notices() {
    let azurite = Azurite::start_tls(&["first"]).await;
    let writer = by_key(&azurite, "first");
    writer.create_container("contoso").await.expect("a container");
    let object = ObjectName::new("contoso/x");
    writer.put(&object, "content".into()).await.expect("a write");
    let life = Duration::from_secs(4);
    let identity = Identity::start(azurite.certificate(), life, "unused").await;
    let account = open(&azurite, "first", managed(&identity));

    // Three lives: whoever used an expired token, or waited for a new one until it had expired, would be refused.
    let begun = Instant::now();
    let mut reads = 0;
    while begun.elapsed() < 3 * life {
        let asked = (0..8).map(|_| account.get(&object, 0..1, None));
        for read in futures_util::future::join_all(asked).await {
            read.expect("a read");
            reads += 1;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let tokens = identity.done();
    println!("{reads} reads in {:?} with {} tokens", begun.elapsed(), tokens.len());
    assert!((3..=10).contains(&tokens.len()), "{tokens:?}");
    assert!(tokens.iter().all(|done| done == "metadata"), "{tokens:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_federated_token_that_is_not_taken_is_a_refusal_that_says_so() {
    let azurite = Azurite::start_tls(&["first"]).await;
    let identity = Identity::start(azurite.certificate(), Duration::from_secs(3600), "federated-token").await;
    let dir = tempfile::tempdir().expect("a folder");
    let token_file = dir.path().join("token");
    std::fs::write(&token_file, "another-token").expect("a file");
    let account = open(&azurite, "first", workload(&identity, token_file));
    let error = account.get(&ObjectName::new("contoso/x"), 0..1, None).await.expect_err("not taken");
    assert_eq!(error.kind, OriginErrorKind::Denied, "{error}");
    assert!(
        error.message.contains("no such federation") && !error.message.contains("another-token"),
        "{error}"
    );
}
