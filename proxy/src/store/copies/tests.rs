use bytes::Bytes;
use dataproxy_cache::Retry;
use dataproxy_cache::conformance::{Fixture, pattern};
use dataproxy_cache::fakes::Fault;
use futures_util::{FutureExt, TryStreamExt};
use tokio::time::Instant;

use super::*;
use crate::store::conformance;
use crate::store::guard::{AccountBounds, Guard};
use crate::store::memory::MemoryStore;

const OWN: &str = "c/docker/registry/v2/";
const COPY: &str = "d//docker/registry/v2/";
const BLOB: &str = "blobs/sha256/ab/abcd/data";
const LINK: &str = "repositories/app/_manifests/tags/v1/current/link";

struct Pair {
    own: Arc<MemoryStore>,
    copy: Arc<MemoryStore>,
    copies: Copies,
}

fn place(account: &str, container: &str, prefix: &str) -> Location {
    Location {
        account: account.parse().expect("a name"),
        container: container.to_owned(),
        prefix: prefix.parse().expect("a prefix"),
    }
}

impl Pair {
    fn new() -> Self {
        let (own, copy) = (MemoryStore::new(), MemoryStore::new());
        // Versions of the two accounts that do not look alike.
        for _ in 0..7 {
            copy.put(&ObjectName::new("d/other"), "x");
        }
        let holders = vec![
            (place("one", "c", ""), Arc::clone(&own) as Arc<dyn Store>),
            (place("two", "d", "/"), Arc::clone(&copy) as Arc<dyn Store>),
        ];
        let copies = Copies::new(&place("one", "c", ""), holders, true);
        Self { own, copy, copies }
    }

    /// Stores an object in both accounts.
    fn put(&self, name: &str, content: impl Into<Bytes>) {
        let content = content.into();
        self.own.put(&own(name), content.clone());
        self.copy.put(&ObjectName::new(format!("{COPY}{name}")), content);
    }

    async fn get(
        &self,
        name: &str,
        range: Range<u64>,
        pin: Option<&ETag>,
    ) -> Result<(Vec<u8>, ETag), OriginErrorKind> {
        let read = self.copies.get(&own(name), range, pin).await.map_err(|error| error.kind)?;
        let (etag, body) = (read.etag, read.body.try_collect::<Vec<Bytes>>().await);
        Ok((body.map_err(|error| error.kind)?.concat(), etag))
    }
}

fn own(name: &str) -> ObjectName {
    ObjectName::new(format!("{OWN}{name}"))
}

struct Twin(Pair);

impl Fixture for Twin {
    fn origin(&self) -> Arc<dyn Origin> {
        let Pair { own, copy, .. } = &self.0;
        let holders = vec![
            (place("one", "c", ""), Arc::clone(own) as Arc<dyn Store>),
            (place("two", "d", "/"), Arc::clone(copy) as Arc<dyn Store>),
        ];
        Arc::new(Copies::new(&place("one", "c", ""), holders, true))
    }

    fn object(&self, name: &str) -> ObjectName {
        own(name)
    }

    fn put<'a>(&'a self, object: &'a ObjectName, content: Bytes) -> BoxFuture<'a, ()> {
        async move { self.0.own.put(object, content) }.boxed()
    }

    fn remove<'a>(&'a self, object: &'a ObjectName) -> BoxFuture<'a, ()> {
        async move { self.0.own.remove(object) }.boxed()
    }
}

#[tokio::test]
async fn an_account_with_a_copy_behind_it_keeps_the_contracts() {
    dataproxy_cache::conformance::origin(&Twin(Pair::new())).await;
    let pair = Pair::new();
    conformance::list(&pair.copies, |name, content| pair.own.put(&ObjectName::new(name), content.to_vec()))
        .await;
}

#[tokio::test(start_paused = true)]
async fn a_copy_answers_while_the_own_account_does_not() {
    let pair = Pair::new();
    pair.put(LINK, "digest");
    assert_eq!(pair.get(LINK, 0..100, None).await.expect("own").0, b"digest");
    assert!(pair.copy.origin().asked().is_empty(), "a copy is not asked for nothing");
    for fault in [
        Fault::Refuse(OriginErrorKind::Unavailable),
        Fault::Refuse(OriginErrorKind::Timeout),
        Fault::Refuse(OriginErrorKind::Throttled(None)),
        Fault::Refuse(OriginErrorKind::Denied),
        Fault::Mute,
    ] {
        let started = Instant::now();
        pair.own.origin().next(fault.clone());
        assert_eq!(pair.get(LINK, 0..100, None).await.expect("the copy").0, b"digest", "{fault:?}");
        assert!(started.elapsed() <= PATIENCE);
        let listing = pair.copies.list(&own("repositories"), None, 10).await.expect("a listing");
        assert_eq!(listing.folders, ["app"]);
    }
    pair.own.fail_listings(Some(OriginErrorKind::Unavailable));
    let listing = pair.copies.list(&own("repositories"), None, 10).await.expect("the copy's");
    assert_eq!(listing.folders, ["app"]);
}

#[tokio::test]
async fn absence_is_the_own_accounts_word_and_never_a_copys() {
    let pair = Pair::new();
    pair.copy.put(&ObjectName::new(format!("{COPY}{LINK}")), "digest");
    assert_eq!(
        pair.get(LINK, 0..100, None).await,
        Err(OriginErrorKind::NotFound),
        "the own account lacks it"
    );
    pair.own.origin().always(Fault::Refuse(OriginErrorKind::Unavailable));
    pair.own.fail_listings(Some(OriginErrorKind::Timeout));
    pair.copy.remove(&ObjectName::new(format!("{COPY}{LINK}")));
    assert_eq!(pair.get(LINK, 0..100, None).await, Err(OriginErrorKind::Unavailable), "the copy may lag");
    let listed = pair.copies.list(&own("repositories"), None, 10).await;
    assert_eq!(listed.expect_err("an outage").kind, OriginErrorKind::Timeout);
    // This node is not set up for the own account at all.
    let holders = vec![(place("two", "d", "/"), Arc::clone(&pair.copy) as Arc<dyn Store>)];
    let alone = Copies::new(&place("one", "c", ""), holders, false);
    let error = alone.get(&own(LINK), 0..100, None).await.expect_err("an outage");
    assert_eq!(error.kind, OriginErrorKind::Unavailable, "{error}");
    pair.copy.put(&ObjectName::new(format!("{COPY}{LINK}")), "digest");
    assert!(alone.get(&own(LINK), 0..100, None).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_read_of_content_goes_on_at_a_copy_under_the_version_that_it_began_with() {
    let pair = Pair::new();
    let content = pattern(10_000);
    pair.put(BLOB, content.clone());
    let (_, version) = pair.get(BLOB, 0..1_000, None).await.expect("own");
    pair.own.origin().always(Fault::Refuse(OriginErrorKind::Unavailable));
    for range in [1_000..4_000, 4_000..9_000, 9_000..10_000] {
        let (bytes, etag) = pair.get(BLOB, range.clone(), Some(&version)).await.expect("the copy");
        assert_eq!((&bytes[..], &etag), (&content[range.start as usize..range.end as usize], &version));
    }
    let own_version = pair.own.origin().asked()[1].pin.clone().expect("pinned");
    let pins: Vec<_> = pair.copy.origin().asked().into_iter().map(|asked| asked.pin).collect();
    assert_eq!(pins[0], None, "what the own account says of versions means nothing here");
    assert!(pins[1..].iter().all(|pin| pin.is_some() && *pin != Some(own_version.clone())), "{pins:?}");
    // Another object in the copy, in the middle of the read.
    pair.copy.put(&ObjectName::new(format!("{COPY}{BLOB}")), content.clone());
    assert_eq!(pair.get(BLOB, 0..10, Some(&version)).await, Err(OriginErrorKind::Unavailable));
    pair.own.origin().heal();
    assert_eq!(pair.get(BLOB, 0..10, Some(&version)).await.expect("own").0, content[..10]);
}

#[tokio::test]
async fn what_is_not_the_same_content_is_never_gone_on_with() {
    let pair = Pair::new();
    pair.put(LINK, "digest");
    pair.put(BLOB, pattern(5_000));
    let (_, link) = pair.get(LINK, 0..100, None).await.expect("own");
    let (_, blob) = pair.get(BLOB, 0..100, None).await.expect("own");
    pair.copy.put(&ObjectName::new(format!("{COPY}{BLOB}")), pattern(5_001));
    pair.own.origin().always(Fault::Refuse(OriginErrorKind::Timeout));
    assert_eq!(pair.get(LINK, 0..100, Some(&link)).await, Err(OriginErrorKind::Timeout), "a link changes");
    assert_eq!(pair.get(BLOB, 0..100, Some(&blob)).await, Err(OriginErrorKind::Timeout), "another size");
    pair.own.origin().heal();
    pair.own.put(&own(BLOB), pattern(5_000));
    assert_eq!(pair.get(BLOB, 0..100, Some(&blob)).await, Err(OriginErrorKind::Changed));
}

#[tokio::test]
async fn a_version_of_another_placement_or_of_none_is_changed_and_nobody_is_asked() {
    let pair = Pair::new();
    pair.put(BLOB, pattern(5_000));
    for foreign in ["three!5000!v1", "v1", "one!v1", "one!x!v1"] {
        let read = pair.get(BLOB, 0..100, Some(&ETag::new(foreign))).await;
        assert_eq!(read, Err(OriginErrorKind::Changed), "{foreign}");
    }
    assert_eq!((pair.own.origin().requests(), pair.copy.origin().requests()), (0, 0));
    let (_, version) = pair.get(BLOB, 0..100, None).await.expect("own");
    assert!(is_version(&version), "a guard knows it when the copies are gone");
}

#[tokio::test(start_paused = true)]
async fn copies_serve_all_that_is_asked_while_the_own_account_throttles_or_refuses() {
    for kind in [OriginErrorKind::Throttled(None), OriginErrorKind::Denied] {
        let (pair, name) = (Pair::new(), |name: &str| name.parse().expect("a name"));
        pair.put(LINK, "digest");
        pair.put(BLOB, pattern(5_000));
        let guard = |account: &str, store: &Arc<MemoryStore>| {
            Guard::new(name(account), Arc::clone(store) as Arc<dyn Store>, AccountBounds::default())
        };
        let (one, two) = (guard("one", &pair.own), guard("two", &pair.copy));
        let holders: Vec<(Location, Arc<dyn Store>)> =
            vec![(place("one", "c", ""), Arc::clone(&one) as _), (place("two", "d", "/"), two)];
        let (_, version) = Copies::new(&place("one", "c", ""), holders.clone(), true)
            .get(&own(BLOB), 0..1, None)
            .await
            .map(|read| (read.size, read.etag))
            .expect("own");
        pair.own.origin().always(Fault::Refuse(kind));
        pair.own.fail_listings(Some(kind));
        // A thousand pulls a second, each with its own eyes.
        for number in 0..1_000 {
            let copies = Copies::new(&place("one", "c", ""), holders.clone(), true);
            let link = copies.get(&own(LINK), 0..100, None).await.map(drop);
            let blob = copies.get(&own(BLOB), 0..100, Some(&version)).await.map(drop);
            let tags = copies.list(&own("repositories"), None, 10).await.map(drop);
            assert_eq!(
                [link, blob, tags].map(|answer| answer.map_err(|e| e.kind)),
                [Ok(()); 3],
                "{kind:?} {number}"
            );
            tokio::time::advance(Duration::from_millis(1)).await;
        }
        let asked = pair.own.origin().requests();
        assert!(asked <= 2_001, "{asked} requests for two thousand reads");
        let error = OriginError::new(kind, "x");
        let retries = (0..10_000).filter(|_| one.retry(&error) != Retry::Later).count();
        assert!(retries >= 600, "{retries} of its own retries are left");
    }
}

#[tokio::test(start_paused = true)]
async fn asking_all_again_is_a_retry_of_the_account_whose_outage_it_is_for() {
    let pair = Pair::new();
    let guard = |account: &str, store: &Arc<MemoryStore>| {
        let name = account.parse().expect("a name");
        Guard::new(name, Arc::clone(store) as Arc<dyn Store>, AccountBounds::default())
    };
    let (one, two) = (guard("one", &pair.own), guard("two", &pair.copy));
    let holders: Vec<(Location, Arc<dyn Store>)> =
        vec![(place("one", "c", ""), Arc::clone(&one) as _), (place("two", "d", "/"), Arc::clone(&two) as _)];
    let copies = Copies::new(&place("one", "c", ""), holders, true);
    pair.own.origin().always(Fault::Refuse(OriginErrorKind::Throttled(None)));
    pair.copy.origin().always(Fault::Refuse(OriginErrorKind::Throttled(None)));
    let error = copies.get(&own(LINK), 0..100, None).await.expect_err("an outage");
    while copies.retry(&error) != Retry::Later {}
    assert_eq!(one.retry(&error), Retry::Later, "its budget is spent");
    assert_eq!(two.retry(&error), Retry::Uncounted, "and not the copy's");
}

#[tokio::test]
async fn a_read_that_began_at_a_copy_stays_there() {
    let pair = Pair::new();
    pair.put(BLOB, pattern(5_000));
    pair.own.origin().next(Fault::Refuse(OriginErrorKind::Unavailable));
    let (_, version) = pair.get(BLOB, 0..100, None).await.expect("the copy");
    let before = pair.own.origin().requests();
    assert_eq!(pair.get(BLOB, 100..200, Some(&version)).await.expect("the copy").0, pattern(5_000)[100..200]);
    assert_eq!(pair.own.origin().requests(), before);
}
