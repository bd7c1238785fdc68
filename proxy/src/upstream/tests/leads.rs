//! Where an upstream leads: to storage, to another registry, and not everywhere.

use super::*;

fn redirect(to: &str) -> scripted::Reply {
    reply(307, &[("location", to)], "<a href>")
}

#[tokio::test]
async fn a_redirect_to_storage_is_followed_and_credentials_stay_behind() {
    let here = Here::new().await;
    let storage = Scripted::start().await;
    let content = pattern(5 << 20);
    let digest = here.registry.push_blob("library/app", &content);
    storage.put_raw("/bucket/blob", content.clone());
    here.registry.let_in(&here.registry.bearer(), &["Bearer one"]);
    here.registry.give_tokens(&["one"], 300);
    let to = format!("http://{}/bucket/blob?X-Sig=canary", storage.addr);
    here.registry.script(
        |seen| seen.target.contains("/blobs/") && seen.header("authorization") == Some("Bearer one"),
        None,
        move |_| redirect(&to),
    );
    assert_eq!(here.blob(&digest).await, Ok(Found::Digest(digest.clone())));
    assert_eq!(storage.asked("HEAD", "/bucket/blob").len(), 1, "what it leads to is looked at");
    assert!(here.pull(&cache().await, &digest).await.expect("whole") == content);
    let seen = storage.seen();
    assert_eq!(seen.len(), 3);
    assert_eq!(here.registry.asked("GET", "/blobs/").len(), 1, "one redirect serves both ranges");
    assert!(seen.iter().all(|seen| seen.header("authorization").is_none()), "{seen:?}");
    assert!(seen.iter().any(|seen| seen.header("if-match") == Some("\"v1\"")), "pinned to storage's version");
    let home = here.registry.asked("GET", "/blobs/");
    assert!(home.iter().all(|seen| seen.header("if-match").is_none()), "which means nothing to the registry");
}

#[tokio::test]
async fn a_redirect_that_is_signed_for_get_is_proved_by_one_byte_and_remembered() {
    let here = Here::new().await;
    let storage = Scripted::start().await;
    let content = pattern(3 << 20);
    let digest = here.registry.push_blob("library/app", &content);
    storage.put_raw("/bucket/blob", content.clone());
    storage.script(|seen| seen.method == Method::HEAD, None, |_| error(403, "SignatureDoesNotMatch"));
    let to = format!("http://{}/bucket/blob?X-Sig=canary", storage.addr);
    here.registry.script(|seen| seen.target.contains("/blobs/"), None, move |_| redirect(&to));
    assert_eq!(here.blob(&digest).await, Ok(Found::Digest(digest.clone())));
    assert_eq!(storage.asked("GET", "")[0].header("range"), Some("bytes=0-0"));
    assert!(here.pull(&cache().await, &digest).await.expect("whole") == content);
    assert_eq!(here.registry.asked("GET", "/blobs/").len(), 1, "the read goes where the proof came from");
    // Storage that does not let anybody in is no absence and no yes.
    storage.script(|_| true, None, |_| error(403, "AccessDenied"));
    assert_eq!(here.blob(&digest).await, Err(OriginErrorKind::Denied));
}

#[tokio::test]
async fn a_redirect_to_a_page_for_people_makes_no_repository_own_a_blob() {
    const HTML: (&str, &str) = ("content-type", "text/html; charset=utf-8");
    const JSON: (&str, &str) = ("content-type", "application/json");
    let digest = Digest::of(Algorithm::Sha256, b"a private repository's");
    for (status, kind) in [(200, HTML), (200, JSON), (204, JSON), (206, JSON)] {
        let page = move |_: &scripted::Seen| reply(status, &[kind], if status == 204 { "" } else { "login" });
        let is_page = |seen: &scripted::Seen| seen.target.starts_with("/login");
        let front = Scripted::start().await;
        front.script(is_page, None, page);
        for to in ["/login?next=x".to_owned(), format!("http://{}/login", front.addr)] {
            let (here, shown) = (Here::new().await, to.clone());
            here.registry.script(is_page, None, page);
            here.registry.script(|_| true, None, move |_| redirect(&to));
            let blob = here.blob(&digest).await;
            assert_eq!(blob, Err(OriginErrorKind::Protocol), "{status} {kind:?} at {shown}");
            let manifest = here.find(Claim::Manifest(digest.clone())).await;
            assert_eq!(manifest, Err(OriginErrorKind::Protocol), "{status} {kind:?} at {shown}");
        }
    }
    let here = Here::new().await;
    // What is no redirect that can be followed is no answer either.
    for status in [300, 304, 307] {
        here.registry.script(|_| true, Some(1), move |_| reply(status, &[], ""));
        assert_eq!(here.blob(&digest).await, Err(OriginErrorKind::Protocol), "{status}");
    }
    here.registry.script(|_| true, Some(1), |_| reply(200, &[HTML], "login"));
    assert_eq!(
        here.blob(&digest).await,
        Err(OriginErrorKind::Protocol),
        "a page at the registry's own place"
    );
    let other = Digest::of(Algorithm::Sha256, b"other").to_string();
    let with_other = move |_: &scripted::Seen| reply(200, &[("docker-content-digest", &other)], "");
    here.registry.script(|_| true, Some(1), with_other);
    assert_eq!(here.blob(&digest).await, Err(OriginErrorKind::Protocol), "another blob");
}

#[tokio::test]
async fn a_host_that_falls_silent_is_forgotten_though_whoever_asked_it_has_left() {
    for patient in [false, true] {
        let here = Here::new().await;
        let (silent, good) = (Scripted::start().await, Scripted::start().await);
        let digest = here.registry.push_blob("library/app", b"layer");
        for (storage, times) in [(&silent, Some(1)), (&good, None)] {
            storage.put_raw("/bucket/blob", Bytes::from_static(b"layer"));
            let to = format!("http://{}/bucket/blob", storage.addr);
            here.registry.script(|seen| seen.method == Method::GET, times, move |_| redirect(&to));
        }
        let object = format!("library/app/blobs/{digest}");
        assert_eq!(here.get(&object, 0..1).await.expect("led to the first"), b"l");
        silent.fall_silent();
        if !patient {
            let wait = std::time::Duration::from_millis(500);
            let left = tokio::time::timeout(wait, here.get(&object, 1..2)).await;
            assert!(left.is_err(), "{left:?}");
        }
        let wait = std::time::Duration::from_secs(8);
        let read = tokio::time::timeout(wait, here.get(&object, 1..2)).await.expect("in time");
        assert_eq!(read.expect("led to the other"), b"a", "patient: {patient}");
        assert_eq!(silent.seen().len(), 2, "patient: {patient}");
    }
}

#[tokio::test]
async fn memory_for_redirects_is_bounded_in_bytes_and_one_too_long_is_refused() {
    let here = Here::new().await;
    let digest = here.registry.push_blob("library/app", b"layer");
    let storage = Scripted::start().await;
    let base = format!("http://{}/bucket/blob?", storage.addr);
    storage.put_raw("/bucket/blob", Bytes::from_static(b"layer"));
    let long = base.clone() + &"x".repeat((8 << 10) - base.len());
    let longer = format!("{long}x");
    here.registry.script(|seen| seen.method == Method::GET, Some(1), move |_| redirect(&longer));
    let object = format!("library/app/blobs/{digest}");
    assert_eq!(here.get(&object, 0..1).await, Err(OriginErrorKind::Protocol));
    here.registry.script(|seen| seen.method == Method::GET, None, move |_| redirect(&long));
    assert_eq!(here.get(&object, 0..1).await.expect("just short enough"), b"l");
    let lead = here.upstream.leads.get(&ObjectName::new(object.as_str())).expect("remembered");
    for number in 0..2048 {
        here.upstream.leads.insert(ObjectName::new(format!("{object}/{number}")), lead.clone());
    }
    here.upstream.leads.run_pending_tasks();
    let (kept, bytes) = (here.upstream.leads.entry_count(), here.upstream.leads.weighted_size());
    assert!(kept > 0 && bytes <= LEADS_BYTES && bytes >= kept * (8 << 10), "{kept}: {bytes}");
}

#[tokio::test]
async fn a_redirect_that_is_over_is_asked_for_again() {
    let here = Here::new().await;
    let storage = Scripted::start().await;
    let content = pattern(9 << 20);
    let digest = here.registry.push_blob("library/app", &content);
    storage.put_raw("/bucket/blob", content.clone());
    let base = format!("http://{}/bucket/blob?X-Sig=canary", storage.addr);
    here.registry.script(|seen| seen.method == Method::GET, None, move |_| redirect(&base));
    assert!(here.pull(&cache().await, &digest).await.expect("whole") == content);
    assert_eq!(here.registry.asked("GET", "/blobs/").len(), 1, "three ranges by one redirect");
    assert!(!format!("{:?}", here.upstream).contains("canary"), "what is signed is never shown");
    storage.script(|_| true, Some(1), |_| error(403, "EXPIRED"));
    assert!(here.pull(&cache().await, &digest).await.expect("whole") == content);
    assert_eq!(here.registry.asked("GET", "/blobs/").len(), 2);
}

#[tokio::test]
async fn a_redirect_to_another_registry_is_no_yes_by_itself() {
    let here = Here::new().await;
    let other = Scripted::start().await;
    let digest = other.push_blob("real/app", b"layer");
    let base = format!("http://{}/v2/real/app", other.addr);
    here.registry.script(
        |_| true,
        None,
        move |seen| redirect(&format!("{base}/{}", seen.target.trim_start_matches("/v2/library/app/"))),
    );
    assert_eq!(here.blob(&digest).await, Ok(Found::Digest(digest)));
    assert_eq!(here.blob(&Digest::of(Algorithm::Sha256, b"none")).await, Ok(Found::Absent));
}

#[tokio::test]
async fn a_circle_of_redirects_ends() {
    let here = Here::new().await;
    here.registry.script(|_| true, None, |seen| redirect(&seen.target));
    let read = here.get(&format!("library/app/blobs/{}", Digest::of(Algorithm::Sha256, b"")), 0..1).await;
    assert_eq!(read, Err(OriginErrorKind::Protocol));
    assert_eq!(here.registry.seen().len(), 6);
}

#[tokio::test]
async fn no_upstream_leads_to_a_metadata_service_or_into_another_network() {
    let here = Here::new().await;
    let digest = here.registry.push_blob("library/app", b"layer");
    for to in [
        "http://169.254.169.254/latest/meta-data",
        "http://[::ffff:169.254.169.254]/",
        "http://168.63.129.16/machine",
        "http://10.0.0.1/",
        "http://[fd00:ec2::254]/",
        "http://0.0.0.0:1/",
        "ftp://127.0.0.1/",
        "http://user@127.0.0.1/",
        "//127.0.0.1/x",
        "elsewhere",
    ] {
        here.registry.script(|seen| seen.method == Method::GET, Some(1), move |_| redirect(to));
        let error =
            here.upstream.get(&ObjectName::new(format!("library/app/blobs/{digest}")), 0..1, None).await;
        let error = error.expect_err(to);
        assert_eq!(error.kind, OriginErrorKind::Protocol, "{to}: {error}");
    }
    // The token service likewise.
    here.registry.let_in("Bearer realm=\"http://169.254.169.254/token\"", &[]);
    let error = here.upstream.find(here.place(), &Claim::Blob(digest)).await.expect_err("a realm");
    assert!(error.to_string().contains("must not lead to"), "{error}");
}

#[tokio::test]
async fn addresses_are_judged_after_a_name_is_resolved() {
    let target = Scripted::start().await;
    let url = Url::parse("https://registry.invalid").expect("a URL");
    let wire = Wire::new("hub", url, dataproxy_outbound::client_config(None, false).expect("authorities"));
    let uri = format!("http://localhost:{}/v2/", target.addr.port()).parse().expect("a URL");
    let error = wire.hop("blob", &Method::GET, &uri, HeaderMap::new()).await.expect_err("loopback by name");
    assert!(error.to_string().contains("must not lead to"), "{error}");
    assert!(target.seen().is_empty());
}

#[tokio::test]
async fn a_name_that_resolves_to_this_machine_is_no_upstream() {
    let target = Scripted::start().await;
    // The resolver reads this as 127.0.0.1, and it is no address that a URL would be read for.
    let url = Url::parse(&format!("http://127.1:{}", target.addr.port())).expect("a URL");
    let upstream = open(&Settings { url, ..settings(target.addr) });
    let (prefix, repository) = (Prefix::default(), "library/app".parse().expect("a repository"));
    let place = Place { container: "", prefix: &prefix, repository: &repository };
    let claim = Claim::Tag("v1".parse().expect("a tag"));
    let error = upstream.find(place, &claim).await.expect_err("this machine by another name");
    assert_eq!(error.kind, OriginErrorKind::Protocol, "{error}");
    assert!(error.to_string().contains("localhost or the address is allowed"), "{error}");
    assert!(target.seen().is_empty());
    // The address itself, as a URL may say it, is the operator's word.
    assert_eq!(open(&settings(target.addr)).find(place, &claim).await.expect("an answer"), Found::Absent);
}

#[test]
fn https_leads_to_nothing_but_https() {
    let url = Url::parse("https://registry.example").expect("a URL");
    let wire = Wire::new("hub", url, dataproxy_outbound::client_config(None, false).expect("authorities"));
    let base = wire.home("/v2/app/blobs/x").expect("a URL");
    let resolve = |to: &str| wire.resolve(to, &base).map(|uri| uri.to_string()).map_err(|error| error.kind);
    assert_eq!(resolve("/other?a=b"), Ok("https://registry.example/other?a=b".to_owned()));
    assert_eq!(resolve("https://cdn.example/x?sig=1"), Ok("https://cdn.example/x?sig=1".to_owned()));
    assert_eq!(resolve("https://cdn.example"), Ok("https://cdn.example/".to_owned()));
    assert_eq!(resolve("http://registry.example/x"), Err(OriginErrorKind::Protocol));
    let error = wire.resolve("http://cdn.example/x?sig=canary", &base).expect_err("plain");
    assert!(!error.to_string().contains("canary"), "{error}");
}
