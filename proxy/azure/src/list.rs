//! Folders below a prefix, in byte order.
//!
//! Storage lists by name with the delimiter at its end, so `1.0-rc/` comes before `1.0/`, though `1.0` is before
//! `1.0-rc`; and it cannot begin after a name. So a listing reads on until nothing that is still to come can belong to
//! the page, and at most [`PAGES_MAX`] pages of 5000 names. (The SDK's own listing knows no delimiter.)

use std::collections::BTreeSet;

use azure_core::error::CheckSuccessOptions;
use azure_core::http::{Method, PipelineStreamOptions, Request, UrlExt};
use dataproxy_cache::{ObjectName, OriginError, OriginErrorKind};
use futures_util::TryStreamExt;
use serde::Deserialize;

use crate::account::{Account, RequestId};
use crate::{failure, place};

/// Pages that one listing may read; the callers' time ends before.
const PAGES_MAX: usize = 1000;
/// Size of one page of XML in bytes: 5000 names of 1024 characters, escaped.
const PAGE_BYTES: usize = 32 << 20;
/// The version of the service that is spoken where the SDK does not say it.
const VERSION: &str = "2023-11-03";

/// One page of the folders that lie directly below a prefix.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Folders {
    /// Their names, without the prefix and without slashes, in byte order.
    pub names: Vec<String>,
    /// Whether more follow after the last one.
    pub more: bool,
}

impl Account {
    /// Lists the folders directly below `prefix` that come after `after` in byte order, at most `limit`.
    ///
    /// A prefix under which nothing lies gives an empty page; a container that is not there is
    /// [`OriginErrorKind::Denied`].
    ///
    /// # Errors
    /// [`OriginError`]
    pub async fn list(
        &self,
        prefix: &ObjectName,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Folders, OriginError> {
        let place = place::of_prefix(prefix)?;
        let below = match place.blob {
            "" => String::new(),
            folder => format!("{}/", folder.strip_suffix('/').unwrap_or(folder)),
        };
        let mut page = Page::new(after, limit);
        let mut marker = None;
        for _ in 0..PAGES_MAX {
            let listed = self.list_once(prefix, place.container, &below, marker.as_deref()).await?;
            for name in listed.blobs.folders() {
                if let Some(name) = name.strip_prefix(below.as_str()).and_then(|name| name.strip_suffix('/'))
                {
                    page.add(name);
                }
            }
            marker = listed.next_marker.filter(|marker| !marker.is_empty());
            if marker.is_none() || page.is_settled() {
                return Ok(page.finish());
            }
        }
        let message = format!("{prefix:?} holds more than {PAGES_MAX} pages of names");
        Err(OriginError::new(OriginErrorKind::Protocol, message))
    }

    async fn list_once(
        &self,
        what: &ObjectName,
        container: &str,
        below: &str,
        marker: Option<&str>,
    ) -> Result<Listed, OriginError> {
        let mut url = self.inner.endpoint.container(container);
        let mut query = url.query_builder();
        query.set_pair("restype", "container").set_pair("comp", "list").set_pair("delimiter", "/");
        if !below.is_empty() {
            query.set_pair("prefix", below);
        }
        if let Some(marker) = marker {
            query.set_pair("marker", marker);
        }
        query.build();
        let mut request = Request::new(url, Method::Get);
        request.insert_header("x-ms-version", VERSION);
        let id = RequestId::new();
        let options = PipelineStreamOptions {
            check_success: CheckSuccessOptions { success_codes: &[200] },
            ..PipelineStreamOptions::default()
        };
        let answer = self.inner.pipeline.stream(&id.context(), &mut request, Some(options)).await;
        let mut body = answer.map_err(|error| self.failure(&error, what.as_str(), &id))?.into_body();
        let wrong = |kind, why: &str| OriginError::new(kind, format!("{what:?}: {why} ({id})"));
        let mut xml = Vec::new();
        while let Some(piece) = body.try_next().await.map_err(|error| {
            let told = failure::of_wire(&error);
            wrong(told.kind, &told.message)
        })? {
            if xml.len() + piece.len() > PAGE_BYTES {
                return Err(wrong(OriginErrorKind::Protocol, "a page of a listing is too large"));
            }
            xml.extend_from_slice(&piece);
        }
        azure_core::xml::from_xml(&xml)
            .map_err(|error| wrong(OriginErrorKind::Protocol, &format!("the answer is no listing: {error}")))
    }
}

/// The names that come after a given one: the smallest `limit`, and one to know whether more follow.
struct Page<'a> {
    after: Option<&'a str>,
    limit: usize,
    names: BTreeSet<String>,
    /// The last name that was read, while they come in the order of their full names.
    last: Option<String>,
    ordered: bool,
}

impl<'a> Page<'a> {
    fn new(after: Option<&'a str>, limit: usize) -> Self {
        Self { after, limit, names: BTreeSet::new(), last: None, ordered: true }
    }

    fn add(&mut self, name: &str) {
        // Hierarchical namespaces and emulators may have another order. Then all is read.
        self.ordered &= self.last.as_deref().is_none_or(|last| is_listed_before(last, name));
        self.last = Some(name.to_owned());
        let beyond =
            self.names.len() > self.limit && self.names.last().is_some_and(|last| last.as_str() < name);
        if beyond || self.after.is_some_and(|after| name <= after) {
            return;
        }
        self.names.insert(name.to_owned());
        if self.names.len() > self.limit.saturating_add(1) {
            self.names.pop_last();
        }
    }

    /// Whether no name that is still to come can be one of these. Those to come are listed after the last one; one of
    /// them is smaller than a name here only as its beginning, before a character that sorts before `/`.
    fn is_settled(&self) -> bool {
        let Some(last) = self.last.as_deref().filter(|_| self.ordered && self.names.len() > self.limit)
        else {
            return false;
        };
        let beginnings = |name: &str| {
            let cuts = name.bytes().enumerate().filter(|(at, byte)| *at > 0 && *byte < b'/');
            cuts.filter_map(|(at, _)| name.get(..at).map(str::to_owned)).collect::<Vec<_>>()
        };
        self.names
            .iter()
            .flat_map(|name| beginnings(name))
            .all(|name| name == last || is_listed_before(&name, last))
    }

    fn finish(self) -> Folders {
        let more = self.names.len() > self.limit;
        Folders { names: self.names.into_iter().take(self.limit).collect(), more }
    }
}

fn is_listed_before(one: &str, other: &str) -> bool {
    one.bytes().chain([b'/']).lt(other.bytes().chain([b'/']))
}

#[derive(Debug, Deserialize)]
struct Listed {
    #[serde(rename = "Blobs", default)]
    blobs: Blobs,
    #[serde(rename = "NextMarker")]
    next_marker: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
struct Blobs {
    // Blobs and folders come in any order among each other.
    #[serde(rename = "$value", default)]
    entries: Vec<Entry>,
}

impl Blobs {
    fn folders(&self) -> impl Iterator<Item = &str> {
        self.entries.iter().filter_map(|entry| match entry {
            Entry::BlobPrefix { name } => name.plain(),
            Entry::Other => None,
        })
    }
}

#[derive(Debug, Deserialize)]
enum Entry {
    BlobPrefix {
        #[serde(rename = "Name")]
        name: Name,
    },
    #[serde(other)]
    Other,
}

#[derive(Debug, Deserialize)]
struct Name {
    #[serde(rename = "@Encoded", default)]
    encoded: bool,
    #[serde(rename = "$text", default)]
    text: String,
}

impl Name {
    /// The name; none if it holds what XML cannot, which no name of a registry does.
    fn plain(&self) -> Option<&str> {
        (!self.encoded).then_some(self.text.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_are_found_among_blobs_in_any_order() {
        let xml = r#"<?xml version="1.0" encoding="utf-8"?>
<EnumerationResults ServiceEndpoint="https://a.blob.core.windows.net/" ContainerName="c">
  <Prefix>tags/</Prefix><Delimiter>/</Delimiter>
  <Blobs>
    <Blob><Name>tags/a</Name><Properties><Etag>0x8</Etag></Properties><OrMetadata /></Blob>
    <BlobPrefix><Name>tags/1.0-rc/</Name></BlobPrefix>
    <Blob><Name>tags/b</Name><Properties /></Blob>
    <BlobPrefix><Name>tags/a&amp;b/</Name><Properties><Etag>0x8</Etag></Properties></BlobPrefix>
    <BlobPrefix><Name Encoded="true">tags/%EF%BF%BE/</Name></BlobPrefix>
  </Blobs>
  <NextMarker>2!8!MDA-</NextMarker>
</EnumerationResults>"#;
        let listed: Listed = azure_core::xml::from_xml(xml.as_bytes()).expect("a listing");
        assert_eq!(listed.blobs.folders().collect::<Vec<_>>(), ["tags/1.0-rc/", "tags/a&b/"]);
        assert_eq!(listed.next_marker.as_deref(), Some("2!8!MDA-"));
        for empty in
            ["<EnumerationResults><Blobs /><NextMarker /></EnumerationResults>", "<EnumerationResults/>"]
        {
            let listed: Listed = azure_core::xml::from_xml(empty.as_bytes()).expect(empty);
            assert_eq!(listed.blobs.folders().count(), 0);
            assert!(listed.next_marker.is_none_or(|marker| marker.is_empty()));
        }
        azure_core::xml::from_xml::<_, Listed>(b"<html><body>hello</html>".as_slice())
            .expect_err("no listing");
    }

    /// Feeds names as storage does and gives the page, and how many were read before it was settled.
    fn read(names: &[&str], after: Option<&str>, limit: usize) -> (Vec<String>, bool, usize) {
        let mut listed = names.to_vec();
        listed.sort_by(|one, other| {
            if is_listed_before(one, other) { std::cmp::Ordering::Less } else { std::cmp::Ordering::Greater }
        });
        let mut page = Page::new(after, limit);
        let mut count = 0;
        for name in listed {
            if page.is_settled() {
                break;
            }
            page.add(name);
            count += 1;
        }
        let folders = page.finish();
        (folders.names, folders.more, count)
    }

    #[test]
    fn a_page_is_in_byte_order_whatever_the_delimiter_sorts_after() {
        let names =
            ["1.0", "1.0-rc", "1.0.1", "10", "2", "A", "Z", "_x", "a", "a-b", "a.b", "a_b", "aa", "latest"];
        for limit in 0..=names.len() {
            for from in 0..names.len() {
                let after = from.checked_sub(1).map(|at| names[at]);
                let expected: Vec<_> =
                    names[from..].iter().take(limit).map(|name| (*name).to_owned()).collect();
                let (page, more, _) = read(&names, after, limit);
                assert_eq!((page, more), (expected, from + limit < names.len()), "{limit} after {after:?}");
            }
        }
    }

    #[test]
    fn a_page_that_nothing_can_change_is_read_no_further() {
        let digests: Vec<String> = (0..10_000).map(|n| format!("{n:064x}")).collect();
        let digests: Vec<&str> = digests.iter().map(String::as_str).collect();
        assert_eq!(read(&digests, None, 10).2, 11);
        assert_eq!(read(&digests, Some(digests[99]), 10).2, 111);
        // "1" would sort before "1.0" and is listed after all of its kind.
        assert_eq!(read(&["1.0", "1.1", "1.2", "2", "3"], None, 1).2, 4);
    }

    #[test]
    fn names_in_another_order_are_all_read() {
        let mut page = Page::new(None, 1);
        for name in ["b", "c", "a"] {
            page.add(name);
        }
        assert!(!page.is_settled());
        assert_eq!(page.finish(), Folders { names: vec!["a".to_owned()], more: true });
    }
}
