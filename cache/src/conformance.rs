//! The contract of [`Origin`], as a suite that every implementation runs against itself: fake, folder, Azure.
//!
//! A fixture says how an object gets into the storage behind the origin. The suite panics at the first breach
//! and says which rule it is.

// A suite speaks by panicking.
#![allow(clippy::panic)]

use std::ops::Range;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use futures_util::StreamExt;
use futures_util::future::BoxFuture;

use crate::{ETag, ObjectName, Origin, OriginErrorKind, OriginRead};

/// One origin under test and the way to put objects behind it.
pub trait Fixture: Sync {
    /// The origin.
    fn origin(&self) -> Arc<dyn Origin>;

    /// The object's full name under this origin, made of a plain `a/b/c` name. Default: that name.
    fn object(&self, name: &str) -> ObjectName {
        ObjectName::new(name)
    }

    /// Stores the object, over what is there.
    fn put<'a>(&'a self, object: &'a ObjectName, content: Bytes) -> BoxFuture<'a, ()>;

    /// Removes the object.
    fn remove<'a>(&'a self, object: &'a ObjectName) -> BoxFuture<'a, ()>;
}

/// Runs the whole contract.
///
/// # Panics
/// At the first rule that the origin breaks.
pub async fn origin(fixture: &dyn Fixture) {
    sizes_versions_and_ranges(fixture).await;
    ends(fixture).await;
    empty_objects(fixture).await;
    absence(fixture).await;
    pins(fixture).await;
    dropped_bodies(fixture).await;
    large_bodies(fixture).await;
}

/// Bytes that are their own offset: eight at a time, little endian, so that any shift shows.
pub fn pattern(length: usize) -> Bytes {
    let mut content = Vec::with_capacity(length + 8);
    let mut offset = 0u64;
    while content.len() < length {
        content.extend_from_slice(&offset.to_le_bytes());
        offset += 8;
    }
    content.truncate(length);
    content.into()
}

async fn get(fixture: &dyn Fixture, object: &ObjectName, range: Range<u64>) -> OriginRead {
    match fixture.origin().get(object, range.clone(), None).await {
        Ok(read) => read,
        Err(error) => panic!("{object:?} {range:?}: {error}"),
    }
}

async fn kind(
    fixture: &dyn Fixture,
    object: &ObjectName,
    range: Range<u64>,
    pin: Option<&ETag>,
) -> OriginErrorKind {
    match fixture.origin().get(object, range.clone(), pin).await {
        Ok(read) => panic!("{object:?} {range:?} with pin {pin:?} was answered: {read:?}"),
        Err(error) => error.kind,
    }
}

async fn collect(read: OriginRead) -> Bytes {
    let mut body = read.body;
    let mut content = BytesMut::new();
    while let Some(piece) = body.next().await {
        match piece {
            Ok(piece) => content.extend_from_slice(&piece),
            Err(error) => panic!("the body failed after {} bytes: {error}", content.len()),
        }
    }
    content.freeze()
}

async fn sizes_versions_and_ranges(fixture: &dyn Fixture) {
    let object = fixture.object("conformance/plain");
    let content = pattern(10_000);
    fixture.put(&object, content.clone()).await;
    let first = get(fixture, &object, 0..10_000).await;
    assert_eq!(first.size, 10_000, "an answer gives the object's size");
    assert_eq!(first.range, 0..10_000, "an answer gives the range that it delivers");
    let etag = first.etag.clone();
    assert_eq!(collect(first).await, content, "a whole object is delivered as stored");
    for range in [0..1, 0..9_999, 1..2, 17..4_113, 9_999..10_000, 4_095..4_097] {
        let read = get(fixture, &object, range.clone()).await;
        assert_eq!(read.size, 10_000, "the size of a ranged read is the whole object's");
        assert_eq!(read.range, range, "a range inside the object is answered as asked");
        assert_eq!(read.etag, etag, "an object that did not change keeps its version");
        let expected = content.slice(range.start as usize..range.end as usize);
        assert_eq!(collect(read).await, expected, "a range is delivered exactly: {range:?}");
    }
}

async fn ends(fixture: &dyn Fixture) {
    let object = fixture.object("conformance/ends");
    let content = pattern(5_000);
    fixture.put(&object, content.clone()).await;
    for range in [0..5_001, 4_000..1 << 40, 4_999..u64::MAX, 0..u64::MAX] {
        let read = get(fixture, &object, range.clone()).await;
        assert_eq!(read.range, range.start..5_000, "a range is cut at the object's end: {range:?}");
        let expected = content.slice(range.start as usize..);
        assert_eq!(collect(read).await, expected, "what is left of a cut range is delivered");
    }
    for range in [5_000..5_001, 5_001..6_000, 1 << 40..u64::MAX] {
        let found = kind(fixture, &object, range.clone(), None).await;
        assert_eq!(
            found,
            OriginErrorKind::RangeInvalid(5_000),
            "a range that starts past the end: {range:?}"
        );
    }
}

async fn empty_objects(fixture: &dyn Fixture) {
    let object = fixture.object("conformance/empty");
    fixture.put(&object, Bytes::new()).await;
    for range in [0..1, 0..4 << 20] {
        let read = get(fixture, &object, range).await;
        assert_eq!((read.size, read.range.clone()), (0, 0..0), "an empty object has no bytes to give");
        assert_eq!(collect(read).await, Bytes::new(), "an empty object has an empty body");
    }
}

async fn absence(fixture: &dyn Fixture) {
    for name in ["conformance/none", "conformance/none/below", "conformance"] {
        let object = fixture.object(name);
        let found = kind(fixture, &object, 0..1, None).await;
        assert_eq!(found, OriginErrorKind::NotFound, "{name} is not an object");
    }
    let object = fixture.object("conformance/removed");
    fixture.put(&object, pattern(10)).await;
    let etag = get(fixture, &object, 0..1).await.etag;
    fixture.remove(&object).await;
    assert_eq!(
        kind(fixture, &object, 0..1, None).await,
        OriginErrorKind::NotFound,
        "a removed object is gone"
    );
    let pinned = kind(fixture, &object, 0..1, Some(&etag)).await;
    assert!(
        matches!(pinned, OriginErrorKind::NotFound | OriginErrorKind::Changed),
        "a pinned read of a removed object fails as absent or changed, not as {pinned:?}"
    );
}

async fn pins(fixture: &dyn Fixture) {
    let object = fixture.object("conformance/pins");
    let (old, new) = (pattern(3_000), Bytes::from(vec![7; 2_000]));
    fixture.put(&object, old.clone()).await;
    let before = get(fixture, &object, 0..1).await.etag;
    let Ok(read) = fixture.origin().get(&object, 1_000..2_000, Some(&before)).await else {
        panic!("a read pinned to the present version was refused")
    };
    assert_eq!(read.etag, before, "a pinned read gives that version");
    assert_eq!(collect(read).await, old.slice(1_000..2_000), "a pinned read delivers that version");
    fixture.put(&object, new.clone()).await;
    let found = kind(fixture, &object, 1_000..2_000, Some(&before)).await;
    assert_eq!(found, OriginErrorKind::Changed, "a pin on an older version is refused");
    let read = get(fixture, &object, 0..5_000).await;
    assert_ne!(read.etag, before, "a changed object has another version");
    assert_eq!(read.size, 2_000, "a changed object has its new size");
    assert_eq!(collect(read).await, new, "an unpinned read delivers the present version");
}

async fn dropped_bodies(fixture: &dyn Fixture) {
    let object = fixture.object("conformance/dropped");
    let content = pattern(4 << 20);
    fixture.put(&object, content.clone()).await;
    for _ in 0..20 {
        let mut read = get(fixture, &object, 0..4 << 20).await;
        let Some(Ok(piece)) = read.body.next().await else { panic!("the body has no first piece") };
        assert!(!piece.is_empty() && content.starts_with(&piece), "the first piece is the object's start");
    }
    let read = get(fixture, &object, 1 << 20..2 << 20).await;
    let expected = content.slice(1 << 20..2 << 20);
    assert_eq!(collect(read).await, expected, "bodies dropped half-way harm no later read");
}

async fn large_bodies(fixture: &dyn Fixture) {
    let object = fixture.object("conformance/large");
    let content = pattern((9 << 20) + 123);
    fixture.put(&object, content.clone()).await;
    let size = content.len() as u64;
    let reads = [0..size, (4 << 20) - 3..8 << 20, (8 << 20) + 1..size];
    let bodies = futures_util::future::join_all(reads.iter().map(|range| {
        let object = object.clone();
        async move { collect(get(fixture, &object, range.clone()).await).await }
    }));
    for (range, body) in reads.iter().zip(bodies.await) {
        let expected = content.slice(range.start as usize..range.end as usize);
        assert!(body == expected, "a large body comes whole and in order: {range:?}");
    }
}
