//! Listings over several pages of storage.

use dataproxy::store::Store;
use dataproxy_cache::{ObjectName, OriginErrorKind};

use crate::scripted::{Answer, Scripted, refused};

fn page(folders: &[&str], marker: &str) -> Answer {
    let folders: String =
        folders.iter().map(|name| format!("<BlobPrefix><Name>/tags/{name}/</Name></BlobPrefix>")).collect();
    let blob = "<Blob><Name>/tags/an-object</Name><Properties /></Blob>";
    let body = format!(
        "<?xml version=\"1.0\"?><EnumerationResults><Blobs>{blob}{folders}</Blobs><NextMarker>{marker}</NextMarker>\
         </EnumerationResults>"
    );
    Answer::Whole("200 OK\r\ncontent-type: application/xml".to_owned(), body)
}

#[tokio::test]
async fn pages_of_storage_are_joined_in_byte_order_and_read_no_further_than_needed() {
    let storage = Scripted::start(b"").await;
    let prefix = ObjectName::new("contoso//tags");
    let list = |after, limit| Store::list(&storage.account, &prefix, after, limit);

    // Storage sorts `1.0-rc/` and `1.0.1/` before `1.0/`.
    storage.answers([page(&["1.0-rc", "1.0.1"], "m1"), page(&["1.0", "2", "3"], "m2"), page(&["4"], "")]);
    let first = list(None, 2).await.expect("a page");
    assert_eq!((first.folders, first.more), (vec!["1.0".to_owned(), "1.0-rc".to_owned()], true));
    let asked = storage.asked();
    assert_eq!(asked.len(), 2, "the third page can change nothing: {asked:?}");
    assert!(asked[0].contains("delimiter=%2F&prefix=%2Ftags%2F&"), "{}", asked[0]);
    assert!(asked[1].contains("&marker=m1&"), "{}", asked[1]);
    assert_eq!(list(None, 1).await.expect("the rest of the script").folders, ["4"]);

    storage.answers([page(&["1.0-rc", "1.0.1"], "m1"), page(&["1.0", "2", "3"], "")]);
    let second = list(Some("1.0-rc"), 10).await.expect("a page");
    assert_eq!((second.folders, second.more), (vec!["1.0.1".into(), "2".into(), "3".into()], false));
}

#[tokio::test]
async fn a_listing_that_fails_is_never_an_empty_one() {
    use OriginErrorKind::*;
    let storage = Scripted::start(b"").await;
    let prefix = ObjectName::new("contoso/tags");
    let html = Answer::Whole("200 OK\r\ncontent-type: text/html".to_owned(), "<html></body>".to_owned());
    for (answer, kind) in [
        (refused("404 N", "ContainerNotFound"), Denied),
        (refused("503 S", "ServerBusy"), Throttled(None)),
        (refused("403 F", "AuthorizationFailure"), Denied),
        (html, Protocol),
        (Answer::ResetAtOnce, Unavailable),
    ] {
        storage.answers([answer.clone()]);
        let error = Store::list(&storage.account, &prefix, None, 10).await.expect_err("a failure");
        assert_eq!(error.kind, kind, "{answer:?}: {error}");
    }
    storage.answers([page(&["1"], "m1"), refused("500 I", "InternalError")]);
    let error = Store::list(&storage.account, &prefix, None, 10).await.expect_err("the second page");
    assert_eq!(error.kind, Unavailable);
}
