//! Where a `Location` leads (RFC 9110, 10.2.2; RFC 3986, 5).

use std::borrow::Cow;

use http::Uri;

use crate::subject::Endpoint;

/// From the request that was redirected to its next place: the endpoint, and path with query. `None`: it is no http or https
/// URL.
pub(super) fn follow(from: &Endpoint, path: &str, location: &str) -> Option<(Endpoint, String)> {
    if location.is_empty() || location.bytes().any(|byte| !byte.is_ascii_graphic()) {
        return None;
    }
    let location = location.split('#').next()?;
    if !has_scheme(location) && !location.starts_with("//") {
        return Some((from.clone(), beside(path, location)));
    }
    let whole = match location.starts_with("//") {
        true => Cow::Owned(format!("{}:{location}", from.scheme())),
        false => Cow::Borrowed(location),
    };
    let uri: Uri = whole.parse().ok()?;
    let tls = match uri.scheme_str()? {
        "https" => true,
        "http" => false,
        _ => return None,
    };
    let host = uri.host()?.trim_start_matches('[').trim_end_matches(']').to_owned();
    let port = uri.port_u16().unwrap_or(if tls { 443 } else { 80 });
    let path = uri.path_and_query().map_or("/", |path| path.as_str());
    // A query may follow the host at once.
    let path = if path.starts_with('/') { path.to_owned() } else { format!("/{path}") };
    (!host.is_empty()).then_some((Endpoint { tls, host, port }, path))
}

/// `name:` in front, before anything that only a path or a query has.
fn has_scheme(location: &str) -> bool {
    location.split_once(':').is_some_and(|(scheme, _)| {
        scheme.starts_with(|c: char| c.is_ascii_alphabetic())
            && scheme.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte))
    })
}

/// A path, or a part of one, on the same host.
fn beside(path: &str, location: &str) -> String {
    let bare = path.split('?').next().unwrap_or_default();
    let (to, query) = match location.find('?') {
        Some(at) => location.split_at(at),
        None => (location, ""),
    };
    match to {
        "" => format!("{bare}{query}"),
        to if to.starts_with('/') => format!("{}{query}", without_dots(to)),
        to => {
            let folder = bare.rsplit_once('/').map_or("", |(folder, _)| folder);
            format!("{}{query}", without_dots(&format!("{folder}/{to}")))
        }
    }
}

/// Without `.` and `..`, of which no more go up than there is.
fn without_dots(path: &str) -> String {
    let mut kept: Vec<&str> = Vec::new();
    let parts = path.strip_prefix('/').unwrap_or(path);
    for part in parts.split('/') {
        match part {
            "." => {}
            ".." => drop(kept.pop()),
            part => kept.push(part),
        }
    }
    // What ends in one of them is a folder.
    let folder = if path.ends_with("/.") || path.ends_with("/..") { "/" } else { "" };
    let joined = kept.join("/");
    if joined.is_empty() { "/".to_owned() } else { format!("/{joined}{folder}") }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn followed(location: &str) -> Option<String> {
        let from = Endpoint { tls: true, host: "a.test".to_owned(), port: 443 };
        follow(&from, "/v2/r/blobs/d?ns=x", location)
            .map(|(to, path)| format!("{}://{}{path}", to.scheme(), to.authority()))
    }

    #[test]
    fn a_location_leads_where_rfc_3986_says() {
        for (location, expected) in [
            ("/x?y=1", Some("https://a.test/x?y=1")),
            ("z", Some("https://a.test/v2/r/blobs/z")),
            ("z?to=http://b.test/", Some("https://a.test/v2/r/blobs/z?to=http://b.test/")),
            ("?y=1", Some("https://a.test/v2/r/blobs/d?y=1")),
            ("../m/z?q=/../", Some("https://a.test/v2/r/m/z?q=/../")),
            ("./", Some("https://a.test/v2/r/blobs/")),
            ("/x/./y/../z/..", Some("https://a.test/x/")),
            ("/../../../z", Some("https://a.test/z")),
            ("//b.test/x", Some("https://b.test/x")),
            ("http://b.test:81/x?sig=1#f", Some("http://b.test:81/x?sig=1")),
            ("HTTPS://b.test/x", Some("https://b.test/x")),
            ("https://[::1]:5/x", Some("https://[::1]:5/x")),
            ("https://b.test", Some("https://b.test/")),
            ("https://b.test?x", Some("https://b.test/?x")),
            ("ftp://b.test/x", None),
            ("mailto:x", None),
            ("", None),
            ("/a b", None),
        ] {
            assert_eq!(followed(location).as_deref(), expected, "{location}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn whatever_a_location_says_leads_nowhere_or_to_a_path_that_a_request_can_have(
            location in prop_oneof!["\\PC{0,40}", "(\\.\\./|\\./|/|[a-z]|\\?|#|:|//|http:|@|\\[|\\]|%2e){0,12}"]
        ) {
            let from = Endpoint { tls: true, host: "a.test".to_owned(), port: 443 };
            if let Some((to, path)) = follow(&from, "/v2/r/blobs/d?ns=x", &location) {
                prop_assert!(path.starts_with('/') && path.bytes().all(|byte| byte.is_ascii_graphic()), "{path:?}");
                prop_assert!(!to.host.is_empty());
            }
        }
    }
}
