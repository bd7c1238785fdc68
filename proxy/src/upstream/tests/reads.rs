//! Blobs: by ranges, or from an upstream that knows none; damaged, encoded, broken off.

use super::*;

fn gets_of_blobs(seen: &scripted::Seen) -> bool {
    seen.method == Method::GET && seen.target.contains("/blobs/")
}

#[tokio::test]
async fn a_blob_is_filled_by_ranges_each_asked_for_once() {
    let here = Here::new().await;
    let content = pattern((9 << 20) + 5);
    let digest = here.registry.push_blob("library/app", &content);
    assert!(here.pull(&cache().await, &digest).await.expect("whole") == content);
    let ranges: Vec<_> = here.registry.asked("GET", "/blobs/");
    assert_eq!(ranges.len(), 3, "{ranges:?}");
    assert!(ranges.iter().all(|asked| asked.header("range").is_some()));
    assert!(ranges.iter().all(|asked| asked.header("accept-encoding") == Some("identity")));
}

#[tokio::test]
async fn an_upstream_that_knows_no_ranges_is_read_from_its_start_within_bounds() {
    let here = Here::new().await;
    let content = pattern(9 << 20);
    let digest = here.registry.push_blob("library/app", &content);
    let all = content.clone();
    here.registry.script(gets_of_blobs, None, move |_| reply(200, &[], all.clone()));
    assert!(here.pull(&cache().await, &digest).await.expect("whole") == content);

    let object = format!("library/app/blobs/{digest}");
    let range = here.get(&object, (5 << 20) - 3..(5 << 20) + 3).await.expect("a part");
    assert_eq!(range, content[(5 << 20) - 3..(5 << 20) + 3]);
    assert_eq!(here.get(&object, 9 << 20..10 << 20).await, Err(OriginErrorKind::RangeInvalid(9 << 20)));

    here.registry.script(gets_of_blobs, None, |_| reply(500, &[], ""));
    let huge = Here::new().await;
    let length = (read::SKIP_MAX + 2).to_string();
    let headers = move |_: &scripted::Seen| {
        let mut answer = scripted::streamed(200, &[], vec![Bytes::from_static(b"x")], false);
        answer.headers_mut().insert("content-length", length.parse().expect("a length"));
        answer
    };
    huge.registry.script(gets_of_blobs, None, headers);
    let beyond = huge.get(&object, read::SKIP_MAX + 1..read::SKIP_MAX + 2).await;
    assert_eq!(beyond, Err(OriginErrorKind::Protocol), "too much would be thrown away");
}

#[tokio::test]
async fn content_without_a_length_is_read_whole_if_it_is_small() {
    let here = Here::new().await;
    let digest = here.registry.push_manifest("library/app", "v1", MANIFEST, true);
    let pieces: Vec<Bytes> = MANIFEST.as_bytes().chunks(10).map(Bytes::from).collect();
    here.registry.script(
        |seen| seen.method == Method::GET,
        Some(1),
        move |_| scripted::streamed(200, &[], pieces.clone(), true),
    );
    assert_eq!(here.pull_manifest(&cache().await, &digest).await.expect("whole"), MANIFEST);
    let endless: Vec<Bytes> = vec![Bytes::from(vec![b' '; 1 << 20]); 5];
    here.registry.script(|_| true, None, move |_| scripted::streamed(200, &[], endless.clone(), true));
    let object = format!("library/app/manifests/{digest}");
    assert_eq!(here.get(&object, 0..4 << 20).await, Err(OriginErrorKind::Protocol));
}

#[tokio::test]
async fn wrong_content_is_never_served_nor_kept() {
    let here = Here::new().await;
    let content = pattern(3 << 20);
    let digest = here.registry.push_blob("library/app", &content);
    let mut wrong = content.to_vec();
    wrong[1 << 20] ^= 1;
    here.registry.put_raw(&format!("/v2/library/app/blobs/{digest}"), wrong.into());
    let cache = cache().await;
    let damaged = here.pull(&cache, &digest).await;
    assert!(matches!(damaged, Err(CacheError::Mismatch(_))), "{damaged:?}");
    here.registry.push_blob("library/app", &content);
    // Whoever comes while the damaged fill still ends, ends with it.
    let mut tries = 0;
    let mended = loop {
        match here.pull(&cache, &digest).await {
            Err(CacheError::Mismatch(_)) if tries < 1000 => tries += 1,
            pulled => break pulled,
        }
        tokio::task::yield_now().await;
    };
    assert!(mended.expect("mended") == content);

    let manifest = here.registry.push_manifest("library/app", "v1", MANIFEST, true);
    let path = format!("/v2/library/app/manifests/{manifest}");
    here.registry.put_raw(&path, Bytes::from_static(b"{\"other\":1}"));
    let damaged = here.pull_manifest(&cache, &manifest).await;
    assert!(matches!(damaged, Err(CacheError::Mismatch(_))), "{damaged:?}");
}

#[tokio::test]
async fn encoded_content_is_refused() {
    let here = Here::new().await;
    here.registry.script(gets_of_blobs, None, |_| reply(200, &[("content-encoding", "gzip")], "x"));
    let read = here.get(&format!("library/app/blobs/{}", Digest::of(Algorithm::Sha256, b"x")), 0..1).await;
    assert_eq!(read, Err(OriginErrorKind::Protocol));
}

#[tokio::test]
async fn a_body_that_breaks_off_is_gone_on_with() {
    let here = Here::new().await;
    let content = pattern(2 << 20);
    let digest = here.registry.push_blob("library/app", &content);
    let part = content.slice(..1000);
    here.registry.script(gets_of_blobs, Some(1), move |_| {
        let range = [("content-range", "bytes 0-2097151/2097152")];
        scripted::streamed(206, &range, vec![part.clone()], false)
    });
    assert!(here.pull(&cache().await, &digest).await.expect("whole") == content);
    let asked: Vec<_> = here.registry.asked("GET", "/blobs/");
    assert_eq!(asked[1].header("range"), Some("bytes=1000-2097151"), "{asked:?}");
}

#[tokio::test]
async fn an_upstream_that_says_nothing_is_asked_a_bounded_number_of_times_at_once() {
    let here = Here::new().await;
    let digest = here.registry.push_blob("library/app", b"layer");
    here.registry.fall_silent();
    let object = ObjectName::new(format!("library/app/blobs/{digest}"));
    let ask = || {
        let (upstream, object) = (Arc::clone(&here.upstream), object.clone());
        async move { upstream.get(&object, 0..1, None).await.map(|read| read.size) }
    };
    let mut waiting = tokio::task::JoinSet::new();
    (0..wire::ASKED_MAX).for_each(|_| drop(waiting.spawn(ask())));
    while here.registry.seen().len() < wire::ASKED_MAX {
        tokio::task::yield_now().await;
    }
    let error = ask().await.expect_err("no place");
    assert_eq!(error.kind, OriginErrorKind::Unavailable, "{error}");
    assert_eq!(here.registry.seen().len(), wire::ASKED_MAX);
    // Whoever leaves gives its place up.
    waiting.shutdown().await;
    here.registry.speak();
    assert_eq!(ask().await.expect("a place"), 5);
}
