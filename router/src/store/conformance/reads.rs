//! Reads: absence, order, prefixes, one revision.

use super::{Commit, Store, get, key, list, make, put, within};

pub(super) async fn all(store: &dyn Store) {
    within("absence", absence_is_no_error(store)).await;
    within("what was put is read", what_was_put_is_read_with_its_version(store)).await;
    within("order", listings_are_in_the_order_of_bytes(store)).await;
    within("prefixes", prefixes_are_compared_byte_for_byte(store)).await;
    within("any bytes", keys_and_values_may_hold_any_bytes(store)).await;
    within("many", a_listing_is_whole_however_long(store)).await;
}

async fn absence_is_no_error(store: &dyn Store) {
    assert_eq!(get(store, "absent/a").await, None);
    assert!(list(store, "absent/").await.entries.is_empty());
}

async fn what_was_put_is_read_with_its_version(store: &dyn Store) {
    let first = put(store, "read/a", "1").await;
    let second = put(store, "read/a", "2").await;
    assert!(second > first, "{second} after {first}");
    let entry = get(store, "read/a").await.expect("it was put");
    assert_eq!(
        (entry.key, &entry.value[..], entry.version, entry.lease),
        (key("read/a"), &b"2"[..], second, None)
    );
    let listing = list(store, "read/").await;
    assert_eq!(listing.revision, second, "the listing is as new as the last commit");
    assert_eq!(listing.entries, [get(store, "read/a").await.expect("it is there")]);
}

async fn listings_are_in_the_order_of_bytes(store: &dyn Store) {
    let order =
        ["order/", "order/-", "order/.", "order/10", "order/2", "order/A", "order/a", "order/a/b", "order/é"];
    for name in order.iter().rev() {
        put(store, name, name).await;
    }
    let names: Vec<_> =
        list(store, "order/").await.entries.iter().map(|entry| entry.key.to_string()).collect();
    assert_eq!(names, order);
}

async fn prefixes_are_compared_byte_for_byte(store: &dyn Store) {
    for name in ["prefix/app", "prefix/app-2", "prefix/app/one", "prefix/apq", "prefiy"] {
        put(store, name, "").await;
    }
    let below = async |prefix: &str| -> Vec<String> {
        list(store, prefix).await.entries.iter().map(|entry| entry.key.to_string()).collect()
    };
    assert_eq!(below("prefix/app").await, ["prefix/app", "prefix/app-2", "prefix/app/one"]);
    assert_eq!(below("prefix/app/").await, ["prefix/app/one"]);
    assert_eq!(below("prefix/zzz").await, [""; 0]);
    let everything = below("").await;
    assert!(everything.contains(&"prefiy".to_owned()) && everything.contains(&"order/é".to_owned()));
}

async fn keys_and_values_may_hold_any_bytes(store: &dyn Store) {
    let bytes: Vec<u8> = (0..=255).collect();
    let name = "bytes/\u{0}\u{7f} \"\\+é𝄞";
    make(store, Commit::new().put(key(name), bytes.clone()).put(key("bytes/empty"), "")).await;
    assert_eq!(get(store, name).await.expect("it was put").value, bytes);
    assert_eq!(get(store, "bytes/empty").await.expect("it was put").value, "");
}

async fn a_listing_is_whole_however_long(store: &dyn Store) {
    let value = vec![b'x'; 10_000];
    for chunk in 0..10 {
        let commit = (0..100).fold(Commit::new(), |commit, number| {
            commit.put(key(&format!("many/{chunk}{number:02}")), value.clone())
        });
        make(store, commit).await;
    }
    let listing = list(store, "many/").await;
    assert_eq!(listing.entries.len(), 1000);
    assert!(listing.entries.iter().all(|entry| entry.value.len() == value.len()));
    for chunk in 0..10 {
        let commit = (0..100)
            .fold(Commit::new(), |commit, number| commit.delete(key(&format!("many/{chunk}{number:02}"))));
        make(store, commit).await;
    }
}
