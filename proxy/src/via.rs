//! `Via` (RFC 9110, 7.6.3), by which a node knows its own requests again: an upstream registry whose URL leads back to
//! the node would otherwise have it ask itself for ever.
//!
//! What a client's request carries is not sent on: one question of the upstream is asked for all who wait for its answer.
//! So nodes that are each other's upstream see no mark of their own. There a request joins the question that waits for it,
//! and ends with it when that question's time is over.

use std::sync::LazyLock;

use http::{HeaderMap, HeaderValue, header};

/// This process's mark. Nodes' names are not unique in the world, and one proxy may well pull through another.
static MARK: LazyLock<String> = LazyLock::new(|| format!("dataproxy-{:016x}", rand::random::<u64>()));

/// What a request to an upstream registry carries.
pub fn value() -> HeaderValue {
    // Letters, digits and a space: always a header's value.
    HeaderValue::from_str(&format!("1.1 {}", *MARK))
        .unwrap_or_else(|_| HeaderValue::from_static("1.1 dataproxy"))
}

/// Whether a request comes from this very process, by however many others.
pub(crate) fn is_ours(headers: &HeaderMap) -> bool {
    let values = headers.get_all(header::VIA).iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).any(|hop| hop.split_whitespace().nth(1) == Some(MARK.as_str()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_knows_its_own_requests_among_those_of_others() {
        let mut headers = HeaderMap::new();
        assert!(!is_ours(&headers));
        headers.append(header::VIA, HeaderValue::from_static("1.1 dataproxy-0, 1.0 fred (comment)"));
        assert!(!is_ours(&headers));
        headers.append(header::VIA, value());
        assert!(is_ours(&headers));
        let joined = format!("1.1 other, {} , 2 last", value().to_str().expect("text"));
        let headers = HeaderMap::from_iter([(header::VIA, joined.parse().expect("a header"))]);
        assert!(is_ours(&headers));
    }
}
