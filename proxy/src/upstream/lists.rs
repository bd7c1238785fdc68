//! Lists that an upstream keeps: tags, and the referrers of a digest. Each is read within bounds.

use dataproxy_cache::{Digest, OriginError, OriginErrorKind};
use http::{HeaderMap, Method, StatusCode, header};
use serde::Deserialize;
use serde_json::value::RawValue;

use super::Upstream;
use super::failure::{collect, failure};
use super::wire::{Answer, Ask};
use crate::holdings::{Partial, TagPage};
use crate::name::Tag;

/// Largest page of a list, in bytes: an upstream that knows no pages sends all tags at once.
const PAGE_MAX: usize = 8 << 20;
/// Pages of referrers read for one answer.
const PAGES: usize = 10;

#[derive(Deserialize)]
struct TagList {
    tags: Option<Vec<String>>,
}

#[derive(Deserialize)]
struct Index {
    manifests: Vec<Box<RawValue>>,
}

fn ask(repository: &str, path: String, kind: &'static str) -> Ask {
    let repository = repository.to_owned();
    let (headers, method) = (HeaderMap::new(), Method::GET);
    Ask { method, path, repository, kind, headers, pin: None }
}

/// A page of tags; `None` if the upstream has no such repository.
///
/// # Errors
/// [`OriginError`]
pub(super) async fn tags(
    upstream: &Upstream,
    repository: &str,
    size: usize,
    last: Option<&Tag>,
) -> Result<Option<TagPage>, OriginError> {
    // Some registries take n=0 for all: that a repository is there shows with one as well.
    let mut path = format!("/v2/{repository}/tags/list?n={}", size.max(1));
    if let Some(last) = last {
        path.push_str("&last=");
        path.push_str(last.as_str());
    }
    let answer = upstream.ask(ask(repository, path, "tags")).await?;
    if answer.status() != StatusCode::OK {
        let error = failure(answer).await;
        return if error.kind == OriginErrorKind::NotFound { Ok(None) } else { Err(error) };
    }
    let more = next(&answer).is_some();
    let list: TagList = json(answer).await?;
    Ok(Some(page(list.tags.unwrap_or_default(), more, size, last)))
}

/// Our page of what the upstream has sent: in order, of the wanted size, and with an end whatever the upstream does.
fn page(sent: Vec<String>, more: bool, size: usize, last: Option<&Tag>) -> TagPage {
    let mut tags: Vec<Tag> = sent.iter().filter_map(|tag| tag.parse().ok()).collect();
    tags.retain(|tag| last.is_none_or(|last| tag > last));
    tags.sort();
    tags.dedup();
    let more = more || tags.len() > size;
    tags.truncate(size);
    let next = tags.last().cloned().filter(|_| more);
    TagPage { tags, next }
}

/// The descriptors of what refers to `subject`; none if the upstream has no such list.
///
/// # Errors
/// [`OriginError`]
pub(super) async fn referrers(
    upstream: &Upstream,
    repository: &str,
    subject: &Digest,
) -> Result<Partial<Box<RawValue>>, OriginError> {
    let below = format!("/v2/{repository}/referrers/");
    let (mut path, mut items) = (format!("{below}{subject}"), Vec::new());
    for _ in 0..PAGES {
        let answer = upstream.ask(ask(repository, path.clone(), "referrers")).await?;
        match answer.status() {
            StatusCode::OK => {}
            // No API, or no repository: both mean that nothing is listed (distribution-spec, "Listing Referrers").
            StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED => {
                return Ok(Partial { items, more: false });
            }
            _ => return Err(failure(answer).await),
        }
        let more = next(&answer).and_then(|next| upstream.own_path(&next));
        let index: Index = json(answer).await?;
        items.extend(index.manifests);
        match more {
            // A list goes on where it is, or not at all.
            Some(more) if more.starts_with(&below) => path = more,
            Some(_) => return Err(protocol("a list of referrers goes on somewhere else")),
            None => return Ok(Partial { items, more: false }),
        }
    }
    Ok(Partial { items, more: true })
}

fn protocol(message: &str) -> OriginError {
    OriginError::new(OriginErrorKind::Protocol, message)
}

async fn json<T: serde::de::DeserializeOwned>(answer: Answer) -> Result<T, OriginError> {
    let body = collect(answer.response.into_body(), PAGE_MAX).await?;
    serde_json::from_slice(&body)
        .map_err(|error| protocol(&format!("the upstream's list is not one: {error}")))
}

/// Where the next page is (RFC 8288), if there is one.
fn next(answer: &Answer) -> Option<String> {
    let is_next = |parameter: &str| {
        let value = parameter.trim().strip_prefix("rel=").map(|value| value.trim_matches('"'));
        value.is_some_and(|value| value.eq_ignore_ascii_case("next"))
    };
    let links = answer.response.headers().get_all(header::LINK).iter().filter_map(|link| link.to_str().ok());
    links.flat_map(|links| links.split(",<")).find_map(|link| {
        let (target, parameters) = link.trim().trim_start_matches('<').split_once('>')?;
        parameters.split(';').any(is_next).then(|| target.to_owned())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_is_in_order_and_ends_whatever_the_upstream_sends() {
        let of = |sent: &[&str], more, size, last: Option<&str>| {
            let last = last.map(|last| last.parse().expect("a tag"));
            let page = page(sent.iter().map(|&tag| tag.to_owned()).collect(), more, size, last.as_ref());
            let tags: Vec<String> = page.tags.iter().map(ToString::to_string).collect();
            (tags.join(" "), page.next.map(|next| next.to_string()).unwrap_or_default())
        };
        let s = |tags: &str, next: &str| (tags.to_owned(), next.to_owned());
        assert_eq!(of(&["a", "b"], false, 10, None), s("a b", ""));
        assert_eq!(of(&["a", "b"], true, 2, None), s("a b", "b"));
        assert_eq!(
            of(&["c", "a", "b", "a"], false, 2, None),
            s("a b", "b"),
            "it knows no pages and no order"
        );
        assert_eq!(of(&["c", "a", "b"], false, 2, Some("b")), s("c", ""), "nor last");
        assert_eq!(of(&["a", "b"], true, 2, Some("b")), s("", ""), "nothing new is the end");
        assert_eq!(of(&["a", "../b", "-c"], false, 5, None), s("a", ""));
        assert_eq!(of(&["a"], true, 0, None), s("", ""));
    }
}
