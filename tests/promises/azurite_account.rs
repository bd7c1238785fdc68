//! What an account promises beyond the contracts of the seams, on Azurite: absence, names, uploads, signed URLs.

use std::time::Duration;

use bytes::Bytes;
use dataproxy_azure::{Account, Credential, SecretSource};
use dataproxy_cache::conformance::pattern;
use dataproxy_cache::{ETag, ObjectName, Origin as _, OriginErrorKind};
use dataproxy_tests::azurite::{self, Azurite};
use dataproxy_tests::eventually::eventually;
use dataproxy_tests::{identity::Identity, sha256sum};
use futures_util::TryStreamExt as _;

use crate::azurite_suites::{by_key, managed, open};

async fn kind(account: &Account, object: &str) -> OriginErrorKind {
    account.get(&ObjectName::new(object), 0..10, None).await.expect_err(object).kind
}

async fn read(account: &Account, object: &str) -> Bytes {
    let read = account.get(&ObjectName::new(object), 0..u64::MAX, None).await.expect(object);
    let pieces: Vec<Bytes> = read.body.try_collect().await.expect("a body");
    pieces.concat().into()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_missing_container_or_account_is_a_fault_in_the_set_up_and_only_a_missing_blob_is_absence() {
    let azurite = Azurite::start(&["first"]).await;
    let account = by_key(&azurite, "first");
    account.create_container("contoso").await.expect("a container");
    account.create_container("contoso").await.expect("one that is there will do");
    assert_eq!(kind(&account, "contoso/none").await, OriginErrorKind::NotFound);
    assert_eq!(kind(&account, "fabrikam/none").await, OriginErrorKind::Denied);
    let listing = account.list(&ObjectName::new("fabrikam/tags"), None, 10).await.expect_err("no container");
    assert_eq!(listing.kind, OriginErrorKind::Denied, "{listing}");
    assert!(listing.message.contains("ContainerNotFound"), "{listing}");
    let stranger = by_key(&azurite, "stranger");
    assert_ne!(kind(&stranger, "contoso/none").await, OriginErrorKind::NotFound);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn accounts_are_apart_and_a_wrong_or_expired_credential_is_refused() {
    let azurite = Azurite::start(&["first", "second"]).await;
    let (first, second) = (by_key(&azurite, "first"), by_key(&azurite, "second"));
    for (account, content) in [(&first, "one"), (&second, "two")] {
        account.create_container("contoso").await.expect("a container");
        account.put(&ObjectName::new("contoso/x"), content.into()).await.expect("a write");
    }
    assert_eq!(
        (read(&first, "contoso/x").await, read(&second, "contoso/x").await),
        ("one".into(), "two".into())
    );

    let wrong_key = SecretSource::File(azurite.key_file("second"));
    let wrong = open(&azurite, "first", Credential::SharedKey(wrong_key));
    assert_eq!(kind(&wrong, "contoso/x").await, OriginErrorKind::Denied);
    let dir = tempfile::tempdir().expect("a folder");
    let file = dir.path().join("sas");
    std::fs::write(&file, azurite::sas("first", "2020-01-02T03:04:05Z").await).expect("a file");
    let expired = open(&azurite, "first", Credential::Sas(SecretSource::File(file.clone())));
    let error = expired.get(&ObjectName::new("contoso/x"), 0..1, None).await.expect_err("expired");
    assert_eq!(error.kind, OriginErrorKind::Denied);
    assert!(error.message.contains("the SAS expired at 2020-01-02T03:04:05Z"), "{error}");

    // A new one is used without a restart.
    std::fs::write(&file, azurite::sas("first", "2999-01-01T00:00:00Z").await).expect("a file");
    eventually("the new SAS is used", Duration::from_secs(10), || async {
        let read = expired.get(&ObjectName::new("contoso/x"), 0..1, None).await;
        read.map(drop).map_err(|error| error.to_string())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn names_with_and_without_the_extra_slash_are_two_blobs_and_two_folders() {
    let azurite = Azurite::start(&["first"]).await;
    let account = by_key(&azurite, "first");
    account.create_container("contoso").await.expect("a container");
    for (name, content) in [
        ("contoso//docker/registry/v2/tags/old/link", "with"),
        ("contoso/docker/registry/v2/tags/new/link", "without"),
        ("contoso/odd/a b%2Fc+d/ü", "odd"),
    ] {
        account.put(&ObjectName::new(name), content.into()).await.expect(name);
        assert_eq!(read(&account, name).await, content, "{name}");
    }
    assert_eq!(kind(&account, "contoso/docker/registry/v2/tags/old/link").await, OriginErrorKind::NotFound);
    for (prefix, folder) in [
        ("contoso//docker/registry/v2/tags", "old"),
        ("contoso/docker/registry/v2/tags", "new"),
        ("contoso/odd", "a b%2Fc+d"),
    ] {
        let listing = account.list(&ObjectName::new(prefix), None, 10).await.expect(prefix);
        assert_eq!(listing.names, [folder], "{prefix}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_large_file_is_put_in_blocks_and_read_back_as_it_is() {
    let azurite = Azurite::start(&["first"]).await;
    let account = by_key(&azurite, "first");
    account.create_container("contoso").await.expect("a container");
    let dir = tempfile::tempdir().expect("a folder");
    let path = dir.path().join("file");
    for bytes in [0, 1, 8 << 20, (20 << 20) + 17] {
        let content = pattern(bytes);
        std::fs::write(&path, &content).expect("a file");
        account.put_file(&ObjectName::new("contoso/file"), &path).await.expect("an upload");
        assert!(read(&account, "contoso/file").await == content, "{bytes} bytes");
    }
    let blocks = azurite.accesses("blockid=");
    assert_eq!(blocks.len(), 3, "20 MiB are three blocks of 8 MiB: {blocks:#?}");
    let error = account.put_file(&ObjectName::new("contoso/file"), &dir.path().join("none")).await;
    assert!(error.expect_err("no file").message.contains("none"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_url_signed_with_the_accounts_key_reads_one_blob_until_it_expires() {
    let azurite = Azurite::start(&["first"]).await;
    opens_one_blob_until_it_expires(&azurite, &by_key(&azurite, "first")).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_url_signed_with_a_key_lent_to_an_identity_reads_one_blob_until_it_expires() {
    let azurite = Azurite::start_tls(&["first"]).await;
    let identity = Identity::start(azurite.certificate(), Duration::from_secs(3600), "unused").await;
    let account = open(&azurite, "first", managed(&identity));
    opens_one_blob_until_it_expires(&azurite, &account).await;
    let lent = azurite.accesses("comp=userdelegationkey");
    assert_eq!(lent.len(), 1, "one key signs many URLs: {lent:#?}");
}

async fn opens_one_blob_until_it_expires(azurite: &Azurite, account: &Account) {
    let writer = by_key(azurite, "first");
    writer.create_container("contoso").await.expect("a container");
    let content = pattern(300_000);
    let dir = tempfile::tempdir().expect("a folder");
    let path = dir.path().join("content");
    std::fs::write(&path, &content).expect("a file");
    let hash = sha256sum::of_file(&path).await;
    let hash = hash.strip_prefix("sha256:").expect("a digest").to_owned();
    let authority = azurite.authority();
    let fetch = |url: String| {
        let authority = authority.clone();
        async move { azurite::fetch(&url, authority.as_deref()).await }
    };
    for object in ["contoso//docker/registry/v2/blobs/data", "contoso/docker/data"] {
        let object = ObjectName::new(object);
        writer.put(&object, content.clone()).await.expect("a write");
        let sign = |valid| account.sign(&object, valid);
        let url =
            sign(Duration::from_secs(600)).await.expect("no failure").expect("it signs").secret().to_owned();
        assert!(url.contains("sr=b&sp=r&"), "{url}");
        assert_eq!(fetch(url.clone()).await, (200, hash.clone()), "{url}");
        let other = url.replacen("/data?", "/other?", 1);
        assert_ne!(other, url);
        assert_eq!(fetch(other).await.0, 403, "another blob");
        let longer = url.replacen("&se=2", "&se=3", 1);
        assert_ne!(longer, url);
        assert_eq!(fetch(longer).await.0, 403, "a later end");
        let short =
            sign(Duration::from_secs(1)).await.expect("no failure").expect("it signs").secret().to_owned();
        eventually("it expires", Duration::from_secs(20), || {
            let fetched = fetch(short.clone());
            async move { if fetched.await.0 == 403 { Ok(()) } else { Err("it still opens".to_owned()) } }
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pin_on_a_version_that_was_never_there_is_refused() {
    let azurite = Azurite::start(&["first"]).await;
    let account = by_key(&azurite, "first");
    account.create_container("contoso").await.expect("a container");
    let object = ObjectName::new("contoso/x");
    account.put(&object, "content".into()).await.expect("a write");
    let error = account.get(&object, 0..1, Some(&ETag::new("\"0x1\""))).await.expect_err("another version");
    assert_eq!(error.kind, OriginErrorKind::Changed, "{error}");
}
