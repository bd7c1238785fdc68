//! What every [`Store`] promises of its listings, as a test that any of them can be put through.
//!
//! Ranged reads have their own suite in `dataproxy_cache::conformance`.

use dataproxy_cache::ObjectName;

use super::{Listing, Store};

/// Puts `store` through the contract of [`Store::list`]; `put` places an object in it.
///
/// # Panics
/// On the first promise that is not kept.
pub async fn list(store: &impl Store, put: impl Fn(&str, &[u8])) {
    nothing_lies_below_an_unknown_prefix(store).await;
    folders_and_only_folders_are_listed(store, &put).await;
    pages_join_without_gap_or_repeat(store, &put).await;
    prefixes_end_at_a_slash(store, &put).await;
}

async fn page(store: &impl Store, prefix: &str, after: Option<&str>, limit: usize) -> Listing {
    match store.list(&ObjectName::new(prefix), after, limit).await {
        Ok(listing) => listing,
        Err(error) => panic!("listing {prefix} after {after:?}: {error}"),
    }
}

fn listing(folders: &[&str], more: bool) -> Listing {
    Listing { folders: folders.iter().map(|&name| name.to_owned()).collect(), more }
}

async fn nothing_lies_below_an_unknown_prefix(store: &impl Store) {
    assert_eq!(page(store, "absent", None, 10).await, listing(&[], false), "an unknown container");
    assert_eq!(page(store, "absent/folder", None, 10).await, listing(&[], false), "an unknown folder");
}

async fn folders_and_only_folders_are_listed(store: &impl Store, put: &impl Fn(&str, &[u8])) {
    put("kinds/tags/v1/current/link", b"x");
    put("kinds/tags/v1/index/link", b"x");
    put("kinds/tags/an-object", b"x");
    put("kinds/tags/z.y_x/link", b"x");
    assert_eq!(page(store, "kinds/tags", None, 10).await, listing(&["v1", "z.y_x"], false), "direct folders");
    assert_eq!(
        page(store, "kinds/tags/", None, 10).await,
        listing(&["v1", "z.y_x"], false),
        "a closing slash"
    );
    assert_eq!(page(store, "kinds/tags/an-object", None, 10).await, listing(&[], false), "below an object");
    assert_eq!(page(store, "kinds/tags/v1/current", None, 10).await, listing(&[], false), "only objects");
}

async fn pages_join_without_gap_or_repeat(store: &impl Store, put: &impl Fn(&str, &[u8])) {
    // Byte order is neither the order of numbers, nor of letters without case, nor that of `/`-joined paths.
    let order =
        ["1.0", "1.0-rc", "1.0.1", "10", "2", "A", "Z", "_x", "a", "a-b", "a.b", "a_b", "aa", "latest"];
    for name in order.iter().rev() {
        put(&format!("pages/{name}/link"), b"x");
    }
    assert_eq!(page(store, "pages", None, 100).await, listing(&order, false), "byte order");
    assert_eq!(page(store, "pages", None, order.len()).await, listing(&order, false), "an exact page");
    for limit in 1..order.len() {
        let mut seen: Vec<String> = Vec::new();
        loop {
            let next = page(store, "pages", seen.last().map(String::as_str), limit).await;
            assert!(next.folders.len() <= limit, "a page of {limit} has {}", next.folders.len());
            assert!(!next.folders.is_empty() || !next.more, "an empty page says that more follow");
            let more = next.more;
            seen.extend(next.folders);
            assert_eq!(more, seen.len() < order.len(), "whether more follow after {:?}", seen.last());
            if !more {
                break;
            }
        }
        assert_eq!(seen, order, "pages of {limit}");
    }
    assert_eq!(page(store, "pages", Some("1.0a"), 1).await, listing(&["10"], true), "after a name not there");
    assert_eq!(page(store, "pages", Some("latest"), 5).await, listing(&[], false), "after the last");
    assert_eq!(page(store, "pages", Some("zzz"), 5).await, listing(&[], false), "after everything");
    assert_eq!(page(store, "pages", None, 0).await, listing(&[], true), "a page of nothing");
}

async fn prefixes_end_at_a_slash(store: &impl Store, put: &impl Fn(&str, &[u8])) {
    put("edge/app/one/link", b"x");
    put("edge/app-2/two/link", b"x");
    put("edge/application/three/link", b"x");
    assert_eq!(page(store, "edge/app", None, 10).await, listing(&["one"], false), "a neighbour's name");
    assert_eq!(
        page(store, "edge", None, 10).await,
        listing(&["app", "app-2", "application"], false),
        "siblings"
    );
}
