//! `If-Match`, `If-None-Match` and `If-Range` (RFC 9110, section 13), against the one validator there is: the digest.
//!
//! Content has no date here, so no answer carries `Last-Modified` and the conditions on dates do not apply.

use dataproxy_cache::Digest;
use http::{HeaderMap, HeaderValue, header};

use crate::refusal::Refusal;

/// The entity tag of the content with this digest. Strong: the same digest is the same bytes.
pub(crate) fn etag(digest: &Digest) -> String {
    ["\"", &digest.text(), "\""].concat()
}

/// The digest as text, out of its [`etag`].
pub(crate) fn digest_in(etag: &str) -> &str {
    etag.trim_matches('"')
}

/// Whether the client has the content already, so that a 304 is the answer.
///
/// # Errors
/// [`Refusal::PreconditionFailed`] if the client wants another content than there is.
pub(crate) fn not_modified(headers: &HeaderMap, etag: &str) -> Result<bool, Refusal> {
    if headers.contains_key(header::IF_MATCH) && !any(headers.get_all(header::IF_MATCH), |tag| tag == etag) {
        return Err(Refusal::PreconditionFailed);
    }
    // Weak comparison, 8.8.3.2: a weak tag of the same digest is the same digest.
    Ok(any(headers.get_all(header::IF_NONE_MATCH), |tag| tag.strip_prefix("W/").unwrap_or(tag) == etag))
}

/// Whether a `Range` may be answered with a part: not if `If-Range` names other content, a weak tag or a date.
pub(crate) fn range_applies(headers: &HeaderMap, etag: &str) -> bool {
    let mut values = headers.get_all(header::IF_RANGE).iter();
    match (values.next(), values.next()) {
        (None, _) => true,
        (Some(value), None) => value.as_bytes().trim_ascii() == etag.as_bytes(),
        (Some(_), Some(_)) => false,
    }
}

fn any(values: http::header::GetAll<'_, HeaderValue>, mut is: impl FnMut(&str) -> bool) -> bool {
    // No digest has a comma in it, so a tag that is cut apart at one can match nothing.
    values
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(str::trim)
        .any(|tag| tag == "*" || is(tag))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ETAG: &str = "\"sha256:aa\"";

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(*name, HeaderValue::from_str(value).expect("a header"));
        }
        headers
    }

    #[test]
    fn content_that_the_client_has_is_not_modified() {
        for value in [ETAG, "*", "W/\"sha256:aa\"", "\"x\", \"sha256:aa\"", " \"sha256:aa\" ,"] {
            assert_eq!(not_modified(&headers(&[("if-none-match", value)]), ETAG), Ok(true), "{value}");
        }
        for value in ["", "sha256:aa", "\"sha256:ab\"", "\"a,b\"", "w/\"sha256:aa\"", "\"\""] {
            assert_eq!(not_modified(&headers(&[("if-none-match", value)]), ETAG), Ok(false), "{value}");
        }
        let two = headers(&[("if-none-match", "\"x\""), ("if-none-match", ETAG)]);
        assert_eq!(not_modified(&two, ETAG), Ok(true));
        assert_eq!(not_modified(&HeaderMap::new(), ETAG), Ok(false));
    }

    #[test]
    fn if_match_holds_only_for_a_strong_tag_of_the_same_content() {
        for value in [ETAG, "*", "\"x\", \"sha256:aa\""] {
            assert_eq!(not_modified(&headers(&[("if-match", value)]), ETAG), Ok(false), "{value}");
        }
        for value in ["\"x\"", "W/\"sha256:aa\"", ""] {
            let sent = headers(&[("if-match", value), ("if-none-match", "*")]);
            assert_eq!(not_modified(&sent, ETAG), Err(Refusal::PreconditionFailed), "{value}");
        }
    }

    #[test]
    fn a_range_applies_only_under_the_same_strong_tag() {
        assert!(range_applies(&HeaderMap::new(), ETAG));
        assert!(range_applies(&headers(&[("if-range", ETAG)]), ETAG));
        for value in ["\"x\"", "W/\"sha256:aa\"", "Wed, 21 Oct 2015 07:28:00 GMT", "*", ""] {
            assert!(!range_applies(&headers(&[("if-range", value)]), ETAG), "{value}");
        }
        assert!(!range_applies(&headers(&[("if-range", ETAG), ("if-range", ETAG)]), ETAG));
    }
}
