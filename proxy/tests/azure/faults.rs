//! Every fault: what it means, what the client of a pull is told, and that storage is asked once.

use std::time::Duration;

use dataproxy::refusal::Refusal;
use dataproxy_cache::conformance::pattern;
use dataproxy_cache::{OriginError, OriginErrorKind};

use crate::scripted::{Answer, Scripted, azure_date, refused};

/// The status that a pull is answered with.
fn told(error: &OriginError) -> u16 {
    Refusal::of_origin(error, Refusal::BlobUnknown).status().as_u16()
}

#[tokio::test]
async fn every_refusal_of_storage_has_its_answer_and_absence_is_never_an_outage() {
    use OriginErrorKind::*;
    let storage = Scripted::start(&pattern(10_000)).await;
    let second = || Some(Duration::from_secs(3));
    let busy = |code: &str, status: &str| match refused(status, code) {
        Answer::Whole(head, body) => Answer::Whole(format!("{head}\r\nretry-after: 3"), body),
        other => other,
    };
    let bare = |head: &str| Answer::Whole(head.to_owned(), "<html>hello</html>".to_owned());
    for (what, answer, kind, status) in [
        ("an absent blob", refused("404 N", "BlobNotFound"), NotFound, 404),
        ("a missing container", refused("404 N", "ContainerNotFound"), Denied, 502),
        ("a missing account", refused("404 N", "ResourceNotFound"), Denied, 502),
        ("somebody else's 404", bare("404 Not Found\r\ncontent-type: text/html"), Protocol, 502),
        ("server busy", busy("ServerBusy", "503 S"), Throttled(second()), 503),
        ("an operation that timed out", busy("OperationTimedOut", "500 I"), Throttled(second()), 503),
        ("too many requests", busy("", "429 T"), Throttled(second()), 503),
        ("an internal error", refused("500 I", "InternalError"), Unavailable, 503),
        ("a gateway's error", bare("502 Bad Gateway"), Unavailable, 503),
        ("a gateway's time-out", bare("504 Gateway Timeout"), Timeout, 504),
        ("a firewall", refused("403 F", "AuthorizationFailure"), Denied, 502),
        ("a missing role", refused("403 F", "AuthorizationPermissionMismatch"), Denied, 502),
        ("a bad signature", refused("403 F", "AuthenticationFailed"), Denied, 502),
        ("an archived blob", refused("409 C", "BlobArchived"), Denied, 502),
        ("another version", refused("412 P", "ConditionNotMet"), Changed, 503),
        ("a redirect", bare("307 T\r\nlocation: http://127.0.0.1:1/elsewhere"), Protocol, 502),
        ("a page of HTML", bare("200 OK\r\ncontent-type: text/html\r\netag: \"x\""), Protocol, 502),
    ] {
        storage.answers([answer]);
        let error = storage.read(0..1000).await.expect_err(what);
        assert_eq!((error.kind, told(&error)), (kind, status), "{what}: {error}");
        assert_eq!(
            storage.asked().len(),
            1,
            "{what} is asked for once; when to try again is the fill's to say"
        );
    }
}

#[tokio::test]
async fn an_answer_that_is_not_what_was_asked_for_is_refused_and_nothing_more_is_asked() {
    let storage = Scripted::start(&pattern(10_000)).await;
    let partial = |told: &str, more: &str| {
        let head = format!("206 Partial Content\r\ncontent-range: bytes {told}\r\n{more}");
        Answer::Whole(head, "0123456789".to_owned())
    };
    for (what, answer) in [
        ("a wrong start", partial("100-109/10000", "etag: \"1\"")),
        ("a short range, whose rest the SDK would ask for", partial("0-9/10000", "etag: \"1\"")),
        ("no version", partial("0-9/10", "server: x")),
        ("an encoded body", partial("0-9/10", "etag: \"1\"\r\ncontent-encoding: gzip")),
        ("a size that cannot be", partial("0-9/5", "etag: \"1\"")),
    ] {
        storage.answers([answer]);
        let error = storage.read(0..1000).await.expect_err(what);
        assert_eq!((error.kind, told(&error)), (OriginErrorKind::Protocol, 502), "{what}: {error}");
        assert_eq!(storage.asked().len(), 1, "{what}");
    }
}

#[tokio::test]
async fn a_connection_that_fails_is_an_outage_wherever_it_fails() {
    let storage = Scripted::start(&pattern(100_000)).await;
    for answer in [
        Answer::ResetAtOnce,
        Answer::Reset(0),
        Answer::Reset(50_000),
        Answer::Truncated(0),
        Answer::Truncated(50_000),
    ] {
        storage.answers([answer.clone()]);
        let error = storage.read(0..100_000).await.expect_err("a failure");
        assert_eq!((error.kind, told(&error)), (OriginErrorKind::Unavailable, 503), "{answer:?}: {error}");
    }
    assert_eq!(storage.read(0..100_000).await.expect("the next read"), pattern(100_000));
}

#[tokio::test]
async fn an_explanation_without_an_end_is_read_no_further_than_it_is_worth() {
    let storage = Scripted::start(b"x").await;
    storage.answers([Answer::Endless("500 Internal Server Error".to_owned())]);
    let kind = tokio::time::timeout(Duration::from_secs(5), storage.kind(0..1)).await;
    assert_eq!(kind.expect("it is not read to its end"), OriginErrorKind::Unavailable);
    storage.wait_closed(1).await;
}

#[tokio::test]
async fn an_address_where_nobody_listens_is_an_outage() {
    let storage = Scripted::start(b"x").await;
    let account = storage.account.clone();
    drop(storage);
    // Its task is aborted, and the socket closed with it, when the runtime gets to it.
    let object = dataproxy_cache::ObjectName::new(crate::scripted::OBJECT);
    for _ in 0..100 {
        let error = match dataproxy_cache::Origin::get(&account, &object, 0..1, None).await {
            Ok(_) => continue,
            Err(error) => error,
        };
        assert_eq!((error.kind, told(&error)), (OriginErrorKind::Unavailable, 503), "{error}");
        if error.message.contains("no connection") {
            return;
        }
    }
    panic!("the address goes on answering");
}

#[tokio::test]
async fn a_version_that_has_changed_is_seen_by_its_pin() {
    let storage = Scripted::start(b"old").await;
    assert_eq!(storage.read_pinned(0..3, Some("\"0x8D1\"")).await.expect("pinned"), b"old");
    storage.put(b"new", "\"0x8D2\"");
    let error = storage.read_pinned(0..3, Some("\"0x8D1\"")).await.expect_err("changed");
    assert_eq!((error.kind, told(&error)), (OriginErrorKind::Changed, 503));
}

#[tokio::test]
async fn a_refusal_says_that_the_sas_has_expired_or_the_clock_is_wrong() {
    let sas = "sv=2022-11-02&sp=rl&se=2020-01-02T03:04:05Z&sr=c&sig=x";
    let storage = Scripted::start_with(b"x", sas).await;
    storage.answers([refused("403 F", "AuthenticationFailed")]);
    let error = storage.read(0..1).await.expect_err("expired");
    assert!(error.message.contains("the SAS expired at 2020-01-02T03:04:05Z"), "{error}");
    assert!(!error.message.contains("clock"), "{error}");

    let storage = Scripted::start(b"x").await;
    let head = format!("403 F\r\nx-ms-error-code: AuthenticationFailed\r\ndate: {}", azure_date(1230));
    storage.answers([Answer::Whole(head, String::new())]);
    let error = storage.read(0..1).await.expect_err("skewed");
    assert!(error.message.contains("this machine's clock is 20 min behind storage's"), "{error}");
}
