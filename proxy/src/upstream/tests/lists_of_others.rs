//! Lists that an upstream keeps: tags and referrers.

use super::*;

fn json(body: &str) -> scripted::Reply {
    reply(200, &[("content-type", "application/json")], body.to_owned())
}

async fn page(
    here: &Here,
    size: usize,
    last: Option<&str>,
) -> Result<Option<(String, Option<Tag>)>, OriginErrorKind> {
    let last = last.map(|last| last.parse::<Tag>().expect("a tag"));
    let page = here.upstream.tags(here.place(), size, last.as_ref()).await.map_err(|error| error.kind)?;
    let words = |tags: Vec<Tag>| tags.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ");
    Ok(page.map(|page| (words(page.tags), page.next)))
}

#[tokio::test]
async fn tags_come_page_by_page_from_the_upstream() {
    let here = Here::new().await;
    here.registry.script(
        |seen| seen.target == "/v2/library/app/tags/list?n=2",
        None,
        |_| {
            let mut page = json(r#"{"name":"library/app","tags":["v1","v2"]}"#);
            let link = "</v2/library/app/tags/list?n=2&last=v2>; rel=\"next\"".parse().expect("a header");
            page.headers_mut().insert("link", link);
            page
        },
    );
    here.registry.script(
        |seen| seen.target == "/v2/library/app/tags/list?n=2&last=v2",
        None,
        |_| json(r#"{"name":"library/app","tags":["v3"]}"#),
    );
    let v2: Tag = "v2".parse().expect("a tag");
    assert_eq!(page(&here, 2, None).await, Ok(Some(("v1 v2".to_owned(), Some(v2)))));
    assert_eq!(page(&here, 2, Some("v2")).await, Ok(Some(("v3".to_owned(), None))));
}

#[tokio::test]
async fn an_unknown_repository_is_none_and_an_outage_is_no_empty_list() {
    let here = Here::new().await;
    here.registry.script(|_| true, Some(1), |_| error(404, "NAME_UNKNOWN"));
    assert_eq!(page(&here, 10, None).await, Ok(None));
    for (answer, kind) in [
        (500, OriginErrorKind::Unavailable),
        (403, OriginErrorKind::Denied),
        (429, OriginErrorKind::Throttled(None)),
    ] {
        here.registry.script(|_| true, Some(1), move |_| error(answer, "X"));
        assert_eq!(page(&here, 10, None).await, Err(kind), "{answer}");
    }
    here.registry.script(|_| true, Some(1), |_| json("<html>"));
    assert_eq!(page(&here, 10, None).await, Err(OriginErrorKind::Protocol));
    here.registry.script(|_| true, Some(1), |_| json(r#"{"name":"library/app","tags":null}"#));
    assert_eq!(page(&here, 10, None).await, Ok(Some((String::new(), None))));
}

#[tokio::test]
async fn referrers_are_read_to_the_end_of_their_list_and_not_elsewhere() {
    let here = Here::new().await;
    let subject = Digest::of(Algorithm::Sha256, b"subject");
    let path = format!("/v2/library/app/referrers/{subject}");
    let referrers = async || {
        let found = here.upstream.referrers(here.place(), &subject).await.map_err(|error| error.kind);
        found.map(|found| (found.items.len(), found.more))
    };
    assert_eq!(referrers().await, Ok((0, false)), "a registry without the API");
    let with_next = |next: String| {
        move |_: &scripted::Seen| {
            let mut page = json(r#"{"schemaVersion":2,"manifests":[{"digest":"a"},{"digest":"b"}]}"#);
            page.headers_mut().insert("link", format!("<{next}>; rel=next").parse().expect("a header"));
            page
        }
    };
    here.registry.script(|_| true, Some(1), with_next(format!("{path}?page=2")));
    here.registry.script(|_| true, Some(1), |_| json(r#"{"manifests":[{"digest":"c"}]}"#));
    assert_eq!(referrers().await, Ok((3, false)));
    here.registry.script(|_| true, Some(1), with_next("/v2/other/tags/list".to_owned()));
    assert_eq!(referrers().await, Err(OriginErrorKind::Protocol));
    here.registry.script(|_| true, None, with_next(path.clone()));
    assert_eq!(referrers().await, Ok((20, true)), "a list without an end is cut");
}
