use http::request::Builder;
use proptest::prelude::*;

use super::*;

const HEX: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

fn parse(builder: Builder) -> Result<Request, Refusal> {
    let (parts, ()) = builder.body(()).expect("a request").into_parts();
    Request::parse(&parts, false)
}

fn get(path: &str) -> Result<Request, Refusal> {
    parse(http::Request::get(path).header("Host", "contoso.registry.test"))
}

fn target(path: &str) -> Target {
    get(path).expect(path).target
}

#[test]
fn every_route_of_a_pull_is_read() {
    let name: Repository = "team/app".parse().expect("valid");
    let digest: Digest = format!("sha256:{HEX}").parse().expect("valid");
    let tag: Tag = "v1".parse().expect("valid");
    assert_eq!(target("/v2/"), Target::Ping);
    assert_eq!(target("/v2"), Target::Ping);
    assert_eq!(
        target("/v2/team/app/manifests/v1"),
        Target::Manifest { name: name.clone(), reference: Reference::Tag(tag.clone()) }
    );
    assert_eq!(
        target(&format!("/v2/team/app/manifests/sha256:{HEX}")),
        Target::Manifest { name: name.clone(), reference: Reference::Digest(digest.clone()) }
    );
    assert_eq!(
        target(&format!("/v2/team/app/blobs/sha256:{HEX}?ns=contoso.registry.test%3A5000")),
        Target::Blob { name: name.clone(), digest: digest.clone() }
    );
    assert_eq!(
        target("/v2/team/app/tags/list?n=0&last=v1"),
        Target::Tags { name: name.clone(), n: Some(0), last: Some(tag) }
    );
    for raw in ["application/vnd.x%2Bjson", "application%2Fvnd.x%2Bjson", "application/vnd.x+json"] {
        assert_eq!(
            target(&format!("/v2/team/app/referrers/sha256:{HEX}?artifactType={raw}")),
            Target::Referrers {
                name: name.clone(),
                digest: digest.clone(),
                artifact_type: Some("application/vnd.x+json".into()),
                last: None,
            }
        );
    }
}

#[test]
fn a_name_may_hold_the_words_of_the_routes() {
    for name in ["manifests", "a/manifests", "blobs/manifests/tags", "tags/list", "referrers/x"] {
        for path in [
            format!("/v2/{name}/manifests/v1"),
            format!("/v2/{name}/blobs/sha256:{HEX}"),
            format!("/v2/{name}/tags/list"),
        ] {
            assert_eq!(target(&path).name().expect("a name").as_str(), name, "{path}");
        }
    }
}

#[test]
fn what_is_malformed_or_hostile_is_refused_with_its_code() {
    let long = "a".repeat(256);
    for (path, code, status) in [
        ("/v2/A/manifests/v1", "NAME_INVALID", 400),
        ("/v2//manifests/v1", "NAME_INVALID", 400),
        ("/v2/manifests/v1", "NAME_INVALID", 400),
        ("/v2/a//b/manifests/v1", "NAME_INVALID", 400),
        ("/v2/../etc/manifests/v1", "NAME_INVALID", 400),
        ("/v2/a/../b/manifests/v1", "NAME_INVALID", 400),
        ("/v2/a%2fb/manifests/v1", "NAME_INVALID", 400),
        ("/v2/a%00/manifests/v1", "NAME_INVALID", 400),
        ("/v2/%2e%2e/manifests/v1", "NAME_INVALID", 400),
        ("/v2/_catalog/manifests/v1", "NAME_INVALID", 400),
        (&format!("/v2/{long}/manifests/v1"), "NAME_INVALID", 400),
        ("/v2//tags/list", "NAME_INVALID", 400),
        ("/v2/a/manifests/", "TAG_INVALID", 404),
        ("/v2/a/manifests/.INVALID_MANIFEST_NAME", "TAG_INVALID", 404),
        ("/v2/a/manifests/..", "TAG_INVALID", 404),
        ("/v2/a/manifests/v1/../../b", "TAG_INVALID", 404),
        ("/v2/a/manifests/v1%00", "TAG_INVALID", 404),
        (&format!("/v2/a/manifests/{long}"), "TAG_INVALID", 404),
        ("/v2/a/manifests/sha256:short", "DIGEST_INVALID", 400),
        ("/v2/a/blobs/v1", "DIGEST_INVALID", 400),
        ("/v2/a/blobs/", "DIGEST_INVALID", 400),
        (&format!("/v2/a/blobs/sha256:{}", HEX.to_uppercase()), "DIGEST_INVALID", 400),
        (&format!("/v2/a/blobs/sha256:{HEX}0"), "DIGEST_INVALID", 400),
        (&format!("/v2/a/blobs/sha256%3A{HEX}"), "DIGEST_INVALID", 400),
        (&format!("/v2/a/blobs/sha256:{HEX}/../../x"), "DIGEST_INVALID", 400),
        ("/v2/a/blobs/md5:d41d8cd98f00b204e9800998ecf8427e", "DIGEST_INVALID", 400),
        ("/v2/a/referrers/latest", "DIGEST_INVALID", 400),
        ("/v2/a/tags/list?n=-1", "PAGINATION_NUMBER_INVALID", 400),
        ("/v2/a/tags/list?n=x", "PAGINATION_NUMBER_INVALID", 400),
        ("/v2/a/tags/list?n=%2B1", "PAGINATION_NUMBER_INVALID", 400),
        ("/v2/a/tags/list?n=", "PAGINATION_NUMBER_INVALID", 400),
        ("/v2/a/tags/list?n=99999999999999999999", "PAGINATION_NUMBER_INVALID", 400),
        ("/v2/a/tags/list?last=..%2F", "TAG_INVALID", 404),
        ("/v2/a/tags/list/", "UNSUPPORTED", 404),
        ("/v2/_catalog", "UNSUPPORTED", 404),
        ("/v2/a", "UNSUPPORTED", 404),
        ("/v1/a", "UNSUPPORTED", 404),
        ("/v2x/a/manifests/v1", "UNSUPPORTED", 404),
        ("/", "UNSUPPORTED", 404),
        ("/v2/a/blobs/uploads/", "UNSUPPORTED", 405),
        ("/v2/a/manifests/v1?ns=a.test&ns=b.test", "NAME_INVALID", 400),
        (&format!("/v2/a/manifests/v1?x={}", "y".repeat(5000)), "NAME_INVALID", 414),
    ] {
        let refusal = get(path).expect_err(path);
        assert_eq!((refusal.code(), refusal.status().as_u16()), (code, status), "{path}: {refusal}");
        assert!(refusal.to_string().len() < 400, "{refusal}");
    }
}

#[test]
fn only_pulls_without_content_are_taken() {
    for method in ["POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT", "get", "PURGE"] {
        let builder = http::Request::builder().method(method).uri("/v2/a/blobs/uploads/");
        assert_eq!(parse(builder), Err(Refusal::MethodUnsupported), "{method}");
    }
    let (parts, ()) = http::Request::get("/v2/").body(()).expect("a request").into_parts();
    assert_eq!(Request::parse(&parts, true), Err(Refusal::ContentUnsupported));
}

#[test]
fn the_host_is_read_once_and_without_case_port_or_final_dot() {
    let host =
        |sent: &str| parse(http::Request::get("/v2/").header("Host", sent)).map(|request| request.host);
    for sent in [
        "contoso.registry.test",
        "CONTOSO.registry.test:5000",
        "contoso.registry.test.",
        "contoso.registry.test.:1",
    ] {
        assert_eq!(host(sent), Ok(Some("contoso.registry.test".into())), "{sent}");
    }
    assert_eq!(host("[::1]:5000"), Ok(Some("[::1]".into())));
    for sent in ["", "a@b", "a/b", "a b", "http://a"] {
        assert_eq!(host(sent).map_err(|refusal| refusal.code()), Err("NAME_INVALID"), "{sent:?}");
    }
    let two = http::Request::get("/v2/").header("Host", "a").header("Host", "b");
    assert_eq!(parse(two), Err(Refusal::HostInvalid("there are two Host headers")));
    assert_eq!(parse(http::Request::get("/v2/")), Err(Refusal::HostInvalid("there is no Host header")));
    let absolute = http::Request::get("http://a.registry.test/v2/").header("Host", "b.registry.test");
    assert_eq!(parse(absolute).map(|request| request.host), Ok(Some("a.registry.test".into())));
    let old = http::Request::get("/v2/").version(Version::HTTP_10);
    assert_eq!(parse(old).map(|request| request.host), Ok(None));
}

proptest! {
    #[test]
    fn no_path_panics_and_what_is_read_prints_back(
        parts in prop::collection::vec(
            prop_oneof![
                Just("/".to_owned()), Just("/v2".to_owned()), Just("/manifests/".to_owned()), Just("/blobs/".to_owned()),
                Just("/tags/list".to_owned()), Just("/referrers/".to_owned()), Just("..".to_owned()),
                Just(format!("sha256:{HEX}")), Just("%2f".to_owned()), "[a-z0-9._/:%-]{0,12}",
            ],
            0..8,
        ),
        prefixed in any::<bool>(),
    ) {
        let path = format!("{}{}", if prefixed { "/v2/" } else { "/" }, parts.concat());
        if let Ok(uri) = path.parse::<http::Uri>() && let Ok(request) = get(&path) {
            let printed = request.target.to_string();
            prop_assert!(printed == uri.path() || uri.path() == "/v2", "{} from {}", printed, path);
            if let Some(name) = request.target.name() {
                prop_assert!(!name.as_str().split('/').any(|part| part.is_empty() || part.starts_with(['.', '_'])));
            }
        }
    }

    #[test]
    fn no_query_panics(query in "[ -~]{0,64}", route in prop_oneof![Just("tags/list"), Just("manifests/v1")]) {
        let path = format!("/v2/a/{route}?{query}");
        if path.parse::<http::Uri>().is_ok() {
            let _ = get(&path);
        }
    }
}
