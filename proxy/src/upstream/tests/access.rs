//! Tokens and passwords: what is shown, to whom, for how long.

use super::*;
use crate::upstream::settings::{Login, PasswordFrom};

async fn with_password(password: &str) -> (Here, tempfile::TempDir) {
    let mut here = Here::new().await;
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("password");
    std::fs::write(&path, password).expect("a file");
    let login = Login { username: "me".to_owned(), password: PasswordFrom::File(path) };
    here.upstream = open(&Settings { credentials: Some(login), ..settings(here.registry.addr) });
    (here, folder)
}

/// `me:open`, `me:shut`
const OPEN: &str = "Basic bWU6b3Blbg==";

#[tokio::test]
async fn a_token_is_asked_for_once_and_shown_from_then_on() {
    let (here, _folder) = with_password("open").await;
    let digest = here.registry.push_manifest("library/app", "v1", MANIFEST, true);
    here.registry.let_in(&here.registry.bearer(), &["Bearer one"]);
    here.registry.give_tokens(&["one"], 300);
    let found = futures_util::future::join_all((0..20).map(|_| here.tag("v1"))).await;
    assert!(found.iter().all(|found| *found == Ok(Found::Digest(digest.clone()))), "{found:?}");
    let asked = here.registry.asked("GET", "/token");
    assert_eq!(asked.len(), 1, "twenty that wait want one token");
    assert_eq!(asked[0].target, "/token?service=scripted&scope=repository%3Alibrary%2Fapp%3Apull");
    assert_eq!(asked[0].header("authorization"), Some(OPEN));
    let heads = here.registry.seen().len();
    assert_eq!(here.tag("v1").await, Ok(Found::Digest(digest)));
    assert_eq!(here.registry.seen().len(), heads + 1, "a token at hand saves the first 401");
}

#[tokio::test]
async fn each_repository_has_a_token_of_its_own() {
    let mut here = Here::new().await;
    here.registry.push_manifest("library/app", "v1", MANIFEST, true);
    here.registry.push_manifest("library/other", "v1", MANIFEST, true);
    here.registry.let_in(&here.registry.bearer(), &["Bearer one", "Bearer two"]);
    here.registry.give_tokens(&["one", "two"], 300);
    here.tag("v1").await.expect("let in");
    here.repository = "library/other".parse().expect("a repository");
    here.tag("v1").await.expect("let in");
    let asked = here.registry.asked("GET", "/token");
    let scopes: Vec<bool> = asked.iter().map(|asked| asked.target.contains("library%2Fother")).collect();
    assert_eq!(scopes, [false, true]);
}

#[tokio::test]
async fn a_token_that_is_over_in_the_middle_of_a_fill_is_replaced() {
    let here = Here::new().await;
    let content = pattern(9 << 20);
    let digest = here.registry.push_blob("library/app", &content);
    here.registry.let_in(&here.registry.bearer(), &["Bearer one"]);
    here.registry.give_tokens(&["one", "two"], 300);
    // The first token is good for the first range alone.
    let bearer = here.registry.bearer();
    here.registry.script(
        |seen| {
            let later = seen.header("range").is_some_and(|range| !range.starts_with("bytes=0-"));
            later && seen.header("authorization") == Some("Bearer one")
        },
        None,
        move |_| reply(401, &[("www-authenticate", &format!("{bearer},error=\"invalid_token\""))], ""),
    );
    here.registry.let_in(&here.registry.bearer(), &["Bearer one", "Bearer two"]);
    assert!(here.pull(&cache().await, &digest).await.expect("whole") == content);
    assert_eq!(
        here.registry.asked("GET", "/token").len(),
        2,
        "all ranges that were refused share the new one"
    );
}

#[tokio::test]
async fn a_late_word_that_an_older_token_is_refused_costs_no_newer_one() {
    let here = Here::new().await;
    here.registry.give_tokens(&["one", "two"], 300);
    let headers = [(header::WWW_AUTHENTICATE, here.registry.bearer().parse().expect("a header"))];
    let challenge = challenge::best(&HeaderMap::from_iter(headers));
    let answer = async |shown: Option<&http::HeaderValue>| {
        let tokens = &here.upstream.tokens;
        tokens.answer(&here.upstream.wire, "library/app", challenge.clone(), shown).await.expect("a token")
    };
    let one = answer(None).await;
    let two = answer(Some(&one)).await;
    assert_eq!(
        (&one, &two),
        (&"Bearer one".parse().expect("a header"), &"Bearer two".parse().expect("a header"))
    );
    assert_eq!(answer(Some(&one)).await, two);
    assert_eq!(here.registry.asked("GET", "/token").len(), 2);
}

#[tokio::test]
async fn a_token_is_renewed_before_it_is_over_and_kept_while_its_service_is_away() {
    let here = Here::new().await;
    here.registry.push_manifest("library/app", "v1", MANIFEST, true);
    here.registry.let_in(&here.registry.bearer(), &["Bearer one", "Bearer three"]);
    let token = |token: &'static str, life: u32| {
        move |_: &scripted::Seen| {
            reply(200, &[], format!(r#"{{"access_token":"{token}","expires_in":{life}}}"#))
        }
    };
    let is_token = |seen: &scripted::Seen| seen.target.starts_with("/token");
    here.registry.script(is_token, Some(1), token("one", 4));
    here.registry.script(is_token, Some(1), |_| error(503, "UNAVAILABLE"));
    here.registry.script(is_token, None, token("three", 300));
    let deadline = tokio::time::Instant::now() + std::time::Duration::from_secs(20);
    while here
        .registry
        .asked("HEAD", "")
        .last()
        .and_then(|seen| seen.header("authorization").map(str::to_owned))
        != Some("Bearer three".to_owned())
    {
        here.tag("v1").await.expect("let in all the while");
        assert!(tokio::time::Instant::now() < deadline, "the token was never renewed");
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    assert_eq!(here.registry.asked("GET", "/token").len(), 3);
    let refused =
        here.registry.asked("HEAD", "").iter().filter(|seen| seen.header("authorization").is_none()).count();
    assert_eq!(refused, 1, "nothing was refused after the first challenge");
}

#[tokio::test]
async fn a_registry_that_wants_a_password_gets_it_at_once_from_then_on() {
    let (here, _folder) = with_password("open").await;
    let digest = here.registry.push_manifest("library/app", "v1", MANIFEST, true);
    here.registry.let_in("Basic realm=\"registry\"", &[OPEN]);
    for _ in 0..2 {
        assert_eq!(here.tag("v1").await, Ok(Found::Digest(digest.clone())));
    }
    assert_eq!(here.registry.seen().len(), 3);
}

#[tokio::test]
async fn wrong_credentials_are_a_refusal_and_never_an_absence() {
    let (here, _folder) = with_password("canary").await;
    let blob = here.registry.push_blob("library/app", b"layer");
    here.registry.let_in("Basic realm=\"registry\"", &[OPEN]);
    assert_eq!(here.tag("v1").await, Err(OriginErrorKind::Denied));
    let error =
        here.upstream.find(here.place(), &Claim::Blob(blob.clone())).await.expect_err("wrong password");
    assert!(error.to_string().contains("username and password"), "{error}");
    assert!(!format!("{error:?}{:?}", here.upstream).contains("canary"), "a password is never shown");

    // A token service may say the same by any 4xx.
    for status in [400, 401, 403, 404] {
        let (here, _folder) = with_password("canary").await;
        here.registry.let_in(&here.registry.bearer(), &[]);
        here.registry.script(|seen| seen.target.starts_with("/token"), None, move |_| error_of(status));
        assert_eq!(here.blob(&blob).await, Err(OriginErrorKind::Denied), "{status}");
        let asked = here.registry.asked("GET", "/token").len();
        assert_eq!(here.blob(&blob).await, Err(OriginErrorKind::Denied), "{status}");
        let again = here.registry.asked("GET", "/token").len();
        assert_eq!((asked, again), (1, 1), "a wrong password is not tried over and over");
    }
    let open = Here::new().await;
    open.registry.let_in("Basic realm=\"registry\"", &[OPEN]);
    assert_eq!(open.tag("v1").await, Err(OriginErrorKind::Denied), "there is no password to show");
    open.registry.let_in("Digest realm=\"registry\"", &[OPEN]);
    assert_eq!(open.tag("v1").await, Err(OriginErrorKind::Denied), "nothing that is understood is asked for");
}

fn error_of(status: u16) -> scripted::Reply {
    error(status, "UNAUTHORIZED")
}

#[tokio::test]
async fn credentials_that_are_revoked_are_a_refusal_until_they_are_good_again() {
    let here = Here::new().await;
    let digest = here.registry.push_manifest("library/app", "v1", MANIFEST, true);
    here.registry.let_in(&here.registry.bearer(), &["Bearer one"]);
    here.registry.give_tokens(&["one", "two", "three"], 300);
    assert_eq!(here.tag("v1").await, Ok(Found::Digest(digest.clone())));
    here.registry.let_in(&here.registry.bearer(), &[]);
    assert_eq!(here.tag("v1").await, Err(OriginErrorKind::Denied), "a new token is no better");
    here.registry.let_in(&here.registry.bearer(), &["Bearer two", "Bearer three"]);
    assert_eq!(here.tag("v1").await, Ok(Found::Digest(digest)));
}

#[tokio::test]
async fn a_token_service_that_answers_nonsense_is_an_outage() {
    let here = Here::new().await;
    here.registry.let_in(&here.registry.bearer(), &[]);
    let is_token = |seen: &scripted::Seen| seen.target.starts_with("/token");
    for (reply_with, kind) in [
        ("<html>", OriginErrorKind::Protocol),
        ("{}", OriginErrorKind::Protocol),
        ("{\"token\":\"a\\u0000b\"}", OriginErrorKind::Protocol),
    ] {
        here.registry.script(is_token, Some(1), move |_| reply(200, &[], reply_with));
        assert_eq!(here.tag("v1").await, Err(kind), "{reply_with}");
    }
    here.registry.script(is_token, Some(1), |_| reply(302, &[("location", "/elsewhere")], ""));
    assert_eq!(here.tag("v1").await, Err(OriginErrorKind::Protocol), "a password follows no redirect");
    assert!(here.registry.asked("GET", "/elsewhere").is_empty());
    here.registry.script(is_token, Some(1), |_| error(500, "UNKNOWN"));
    assert_eq!(here.tag("v1").await, Err(OriginErrorKind::Unavailable));
    here.registry.script(is_token, Some(1), |_| reply(429, &[("retry-after", "9")], ""));
    let wait = std::time::Duration::from_secs(9);
    assert_eq!(here.tag("v1").await, Err(OriginErrorKind::Throttled(Some(wait))));
}
