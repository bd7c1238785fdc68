//! Reads that go well: one call is one request, and says all that a fill needs.

use dataproxy_cache::conformance::pattern;
use dataproxy_cache::{ETag, ObjectName, Origin, OriginErrorKind};
use futures_util::StreamExt;

use crate::scripted::{Answer, OBJECT, SIGNATURE, Scripted};

#[tokio::test]
async fn one_read_is_one_request_that_tells_size_and_version_too() {
    let content = pattern(100_000);
    let storage = Scripted::start(&content).await;
    let object = ObjectName::new(OBJECT);
    let read = storage.account.get(&object, 10..50_000, None).await.expect("an answer");
    assert_eq!(
        (read.size, read.range.clone(), read.etag.clone()),
        (100_000, 10..50_000, ETag::new("\"0x8D1\""))
    );
    let body: Vec<_> = read.body.map(|piece| piece.expect("a piece")).collect().await;
    assert_eq!(body.concat(), content[10..50_000]);
    assert_eq!(
        storage.read_pinned(50_000..u64::MAX, Some("\"0x8D1\"")).await.expect("the rest"),
        content[50_000..]
    );

    let asked = storage.asked();
    assert_eq!(asked.len(), 2, "{asked:?}");
    // The slash at the blob's start is its own, and the SDK sends every slash of a name escaped.
    let path = "GET /acct/contoso/%2Fdocker%2Fregistry%2Fv2%2Fdata?sv=2022-11-02&sp=rl&";
    let header = |head: &str, name: &str| {
        head.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": ").map(str::to_owned))
    };
    for head in &asked {
        assert!(head.starts_with(path) && head.contains(SIGNATURE), "{head}");
        assert!(
            header(head, "x-ms-version").is_some() && header(head, "accept-encoding").is_none(),
            "{head}"
        );
    }
    assert_eq!(header(&asked[0], "range").as_deref(), Some("bytes=10-49999"));
    assert_eq!(
        (header(&asked[0], "if-match"), header(&asked[1], "if-match").as_deref()),
        (None, Some("\"0x8D1\""))
    );
    let ids: Vec<_> =
        asked.iter().map(|head| header(head, "x-ms-client-request-id").expect("an id")).collect();
    assert!(ids[0].len() == 36 && ids[0] != ids[1], "{ids:?}");
}

#[tokio::test]
async fn an_empty_blob_and_a_range_past_the_end_are_told_with_the_size() {
    let storage = Scripted::start(b"").await;
    let read = storage.account.get(&ObjectName::new(OBJECT), 0..10, None).await.expect("an empty answer");
    assert_eq!((read.size, read.range.clone(), read.etag.as_str()), (0, 0..0, "\"0x8D1\""));
    assert_eq!(read.body.count().await, 0);
    assert_eq!(
        storage.asked().len(),
        2,
        "no range of an empty blob can be had, so it is asked for as a whole"
    );
    assert_eq!(storage.kind(5..6).await, OriginErrorKind::RangeInvalid(0));

    storage.put(b"0123456789", "\"2\"");
    assert_eq!(storage.kind(10..20).await, OriginErrorKind::RangeInvalid(10));
    storage.asked();
    // An account that says the size with its refusal is not asked again.
    let head =
        "416 Range Not Satisfiable\r\nx-ms-error-code: InvalidRange\r\ncontent-range: bytes */7".to_owned();
    storage.answers([Answer::Whole(head, String::new())]);
    assert_eq!(storage.kind(10..20).await, OriginErrorKind::RangeInvalid(7));
    assert_eq!(storage.asked().len(), 1);
}

#[tokio::test]
async fn a_body_that_is_dropped_ends_its_connection_and_harms_no_later_read() {
    let content = pattern(4 << 20);
    let storage = Scripted::start(&content).await;
    storage.answers([Answer::Stalled(1 << 20)]);
    let mut read = storage.account.get(&ObjectName::new(OBJECT), 0..4 << 20, None).await.expect("an answer");
    assert!(read.body.next().await.expect("a piece").is_ok());
    drop(read);
    storage.wait_closed(1).await;
    assert_eq!(storage.read(1000..2000).await.expect("the next read"), content[1000..2000]);
}
