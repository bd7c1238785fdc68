use super::*;

#[test]
fn a_secret_is_read_at_the_start_and_never_shown() {
    let dir = tempfile::tempdir().expect("a folder");
    let path = dir.path().join("secret");
    let credential = S3Credential::Key { id: "AKID".to_owned(), secret: S3Secret::File(path.clone()) };
    let options = S3Options {
        endpoint: None,
        region: "eu-central-1".to_owned(),
        path_style: false,
        credential,
        ca: None,
    };
    let refused = |what: &str| {
        let error = S3Store::open(&options).expect_err(what).to_string();
        assert!(error.starts_with("secret_file: ") && error.contains(what), "{error}");
    };
    refused("No such file");
    std::fs::write(&path, "\n").expect("written");
    refused("it is empty");
    std::fs::write(&path, "hush\n").expect("written");
    let store = S3Store::open(&options).expect("a store");
    store.bucket(&ObjectName::new("b/k")).expect("a bucket");
    let shown = format!("{store:?} {options:?} {options}");
    assert!(shown.contains("AKID") && !shown.contains("hush"), "{shown}");
}

#[test]
fn the_bucket_is_in_the_path_or_in_the_hosts_name() {
    let url: Url = "https://s3.example:9000/".parse().expect("a URL");
    assert_eq!(at(&url, "b", true), "https://s3.example:9000");
    assert_eq!(at(&url, "b", false), "https://b.s3.example:9000");
}

#[tokio::test]
async fn a_name_that_is_no_key_reads_as_absent_and_asks_nobody() {
    let options = S3Options {
        endpoint: Some("http://127.0.0.1:9".parse().expect("a URL")),
        region: "x".to_owned(),
        path_style: true,
        credential: S3Credential::Anonymous,
        ca: None,
    };
    let store = S3Store::open(&options).expect("a store");
    for name in ["b", "b/", "b//k", "b/../k", "b/k/"] {
        let error = store.get(&ObjectName::new(name), 0..1, None).await.expect_err(name);
        assert_eq!(error.kind, OriginErrorKind::NotFound, "{name}: {error}");
    }
    let error = store.get(&ObjectName::new("b/k"), 0..1, None).await.expect_err("nobody there");
    assert_eq!(error.kind, OriginErrorKind::Unavailable, "{error}");
}

#[test]
fn a_prefix_that_no_key_can_have_is_refused_and_not_read_as_absence() {
    let options = S3Options {
        endpoint: None,
        region: "x".to_owned(),
        path_style: false,
        credential: S3Credential::Anonymous,
        ca: None,
    };
    let store = S3Store::open(&options).expect("a store");
    for (prefix, is_refused) in [("", false), ("team/", false), ("/", true), ("/team/", true)] {
        assert_eq!(store.refuses(&prefix.parse().expect("a prefix")).is_some(), is_refused, "{prefix:?}");
    }
}
