//! URLs for clients: what is signed, and what is not.

use std::time::Duration;

use dataproxy::store::Store;
use dataproxy_cache::{ObjectName, OriginErrorKind};

use crate::scripted::{OBJECT, Scripted};

#[tokio::test]
async fn an_account_with_a_sas_hands_nothing_out() {
    let storage = Scripted::start(b"x").await;
    let signed = Store::sign(&storage.account, &ObjectName::new(OBJECT), Duration::from_secs(60)).await;
    assert_eq!(signed.expect("no failure"), None);
    assert_eq!(storage.asked().len(), 0);
    let nothing = Store::sign(&storage.account, &ObjectName::new("contoso"), Duration::from_secs(60)).await;
    assert_eq!(nothing.expect_err("no blob").kind, OriginErrorKind::NotFound);
}
