//! Lists of tags.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use dataproxy_cache::OriginErrorKind;
use dataproxy_cache::fakes::{Fault, Gate};
use http_body_util::Empty;
use tokio::time::advance;

use crate::node::{Node, Reply, contoso, fabrikam, manifest, repository, tag};

fn tags(reply: &Reply) -> Vec<String> {
    serde_json::from_value(reply.json()["tags"].clone()).expect("a list of names")
}

fn next(reply: &Reply) -> Option<String> {
    let link = reply.header("link")?;
    Some(link.strip_prefix('<')?.strip_suffix(">; rel=\"next\"")?.to_owned())
}

#[tokio::test]
async fn tags_are_listed_in_order_and_only_where_they_are_current() {
    let node = Node::new().await;
    node.push_manifest("team/app", &["b", "a", "10", "B", "1.0", "_x"], &manifest("x"));
    // Tags that are gone leave their history behind.
    node.store.put(&contoso().tag_link(&repository("team/app"), &tag("blank")), "");
    let index = format!("{}/old/index/sha256/00/link", contoso().tags(&repository("team/app")).as_str());
    node.store.put(&dataproxy_cache::ObjectName::new(index), "x");
    let reply = node.get("/v2/team/app/tags/list").await;
    assert_eq!(reply.status, 200);
    assert_eq!(reply.header("content-type"), Some("application/json"));
    assert_eq!(reply.json()["name"], "team/app");
    assert_eq!(tags(&reply), ["1.0", "10", "B", "_x", "a", "b"]);
    assert_eq!(next(&reply), None);
}

#[tokio::test]
async fn pages_follow_each_other_to_the_end_under_the_callers_own_address() {
    let node = Node::new().await;
    let name = repository("app");
    let digest = node.store.push_manifest(fabrikam(), &name, manifest("x").as_bytes());
    let all: Vec<String> = (0..25).map(|n| format!("t{n:02}")).collect();
    for tagged in &all {
        node.store.tag(fabrikam(), &name, &tag(tagged), &digest);
    }
    for (host, path, ns, listed) in [
        ("fabrikam.registry.test", "/v2/app/tags/list", "", "app"),
        ("127.0.0.1:5000", "/v2/fabrikam/app/tags/list", "", "fabrikam/app"),
        ("127.0.0.1:5000", "/v2/app/tags/list", "&ns=fabrikam.registry.test%3A5000", "app"),
    ] {
        for n in [1, 7, 25, 26] {
            let mut seen = Vec::new();
            let mut address = Some(format!("{path}?n={n}{ns}"));
            while let Some(current) = address {
                assert!(current.starts_with(&format!("{path}?n={n}")) && current.ends_with(ns), "{current}");
                let reply = node.get_with(&current, &[("host", host)]).await;
                assert_eq!((reply.status, reply.json()["name"].as_str()), (200, Some(listed)));
                let page = tags(&reply);
                assert!(!page.is_empty() && page.len() <= n, "{page:?}");
                seen.extend(page);
                address = next(&reply);
            }
            assert_eq!(seen, all, "{host}{path} by {n}");
        }
    }
}

#[tokio::test]
async fn last_need_not_be_a_tag_and_is_not_listed_itself() {
    let node = Node::new().await;
    node.push_manifest("app", &["a", "c", "e"], &manifest("x"));
    for (query, listed) in [
        ("last=a", vec!["c", "e"]),
        ("last=b", vec!["c", "e"]),
        ("last=e", vec![]),
        ("n=1&last=a", vec!["c"]),
    ] {
        assert_eq!(tags(&node.get(&format!("/v2/app/tags/list?{query}")).await), listed, "{query}");
    }
}

#[tokio::test]
async fn a_page_of_nothing_is_empty_and_has_no_next_one() {
    let node = Node::new().await;
    node.push_manifest("app", &["a"], &manifest("x"));
    let reply = node.get("/v2/app/tags/list?n=0").await;
    assert_eq!((reply.status, tags(&reply).len(), next(&reply)), (200, 0, None));
}

#[tokio::test]
async fn a_page_is_bounded_whatever_is_asked() {
    let node = Node::new().await;
    let names: Vec<String> = (0..1001).map(|n| format!("t{n:04}")).collect();
    node.push_manifest("app", &names.iter().map(String::as_str).collect::<Vec<_>>(), &manifest("x"));
    for query in ["", "?n=1000000"] {
        let reply = node.send(http::Request::get(format!("/v2/app/tags/list{query}"))).await;
        assert_eq!(tags(&reply).len(), 1000, "{query}");
        let rest = node.send(http::Request::get(next(&reply).expect("a next page"))).await;
        assert_eq!((tags(&rest), next(&rest)), (vec!["t1000".to_owned()], None));
    }
}

#[tokio::test]
async fn a_repository_without_tags_has_none_and_one_that_is_not_there_is_unknown() {
    let node = Node::new().await;
    node.push_manifest("team/app", &[], &manifest("x"));
    node.push_blob("layers", b"x");
    assert_eq!(tags(&node.get("/v2/team/app/tags/list").await), [""; 0]);
    assert_eq!(tags(&node.get("/v2/layers/tags/list").await), [""; 0]);
    for name in ["team", "nothing", "team/app/deeper"] {
        for query in ["", "?n=0", "?last=z"] {
            let reply = node.get(&format!("/v2/{name}/tags/list{query}")).await;
            assert_eq!((reply.status, reply.code().as_str()), (404, "NAME_UNKNOWN"), "{name}{query}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn an_outage_is_not_an_empty_list() {
    let node = Node::new().await;
    node.push_manifest("app", &["a"], &manifest("x"));
    node.store.fail_listings(Some(OriginErrorKind::Unavailable));
    assert_eq!(node.get("/v2/app/tags/list").await.status, 503);
    assert_eq!(node.get("/v2/app/tags/list?n=0").await.status, 503);
}

#[tokio::test(start_paused = true)]
async fn a_page_is_read_once_for_all_who_ask_for_it_within_tag_ttl() {
    let node = Node::new().await;
    node.push_manifest("app", &["a", "b"], &manifest("x"));
    let (link, gate) = (contoso().tag_link(&repository("app"), &tag("a")), Gate::new());
    let held = link.clone();
    node.store.origin().script(move |asked| asked.object == held, None, Fault::HoldAnswer(gate.clone()));
    let request = |query: &str| {
        let request = http::Request::get(format!("/v2/app/tags/list{query}"));
        let request = request.header("host", "contoso.registry.test").body(Empty::<Bytes>::new());
        Arc::clone(&node.puller).serve(request.expect("a request"))
    };
    let lists: Vec<_> = (0..50).map(|_| tokio::spawn(request(""))).collect();
    gate.arrived(1).await;
    gate.open();
    for list in lists {
        assert_eq!(list.await.expect("no panic").status(), 200);
    }
    let reads = || node.store.origin().asked().iter().filter(|asked| asked.object == link).count();
    assert_eq!(reads(), 1);
    // Another page is another reading.
    assert_eq!(request("?n=1").await.status(), 200);
    assert_eq!(reads(), 2);
    node.push_manifest("app", &["c"], &manifest("x"));
    advance(Duration::from_millis(4900)).await;
    assert_eq!(tags(&node.send(http::Request::get("/v2/app/tags/list")).await), ["a", "b"]);
    advance(Duration::from_millis(100)).await;
    assert_eq!(tags(&node.send(http::Request::get("/v2/app/tags/list")).await), ["a", "b", "c"]);
}

#[tokio::test(start_paused = true)]
async fn a_page_that_storage_does_not_finish_is_given_up_before_the_client_gives_us_up() {
    let node = Node::new().await;
    let names: Vec<String> = (0..200).map(|n| format!("t{n}")).collect();
    node.push_manifest("app", &names.iter().map(String::as_str).collect::<Vec<_>>(), &manifest("x"));
    node.store.origin().always(Fault::Mute);
    let started = tokio::time::Instant::now();
    assert_eq!(node.head("/v2/app/tags/list").await.status, 504);
    assert!(started.elapsed() < Duration::from_secs(20), "{:?}", started.elapsed());
}
