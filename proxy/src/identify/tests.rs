use dataproxy_router_api::Snapshot;
use proptest::prelude::*;

use super::*;

fn table() -> Table {
    let snapshot: Snapshot = serde_json::from_value(serde_json::json!({
        "revision": 1, "region": "west",
        "stamps": [{"name": "a", "nodes": []}],
        "bindings": [
            {"registry": "contoso", "home_stamp": "a", "epoch": 1, "placement": {"account": "one", "container": "c"}},
            {"registry": "fabrikam", "home_stamp": "a", "epoch": 1, "placement": {"account": "one", "container": "f"}},
        ],
    }))
    .expect("a snapshot");
    snapshot.validate().expect("valid");
    Table::new(snapshot)
}

fn tenancy(path_tenancy: bool) -> Tenancy {
    Tenancy { zone: "registry.test".parse().expect("a zone"), path_tenancy }
}

/// Registry, repository and what named it; or the refusal's code.
fn find(host: &str, address: &str, path_tenancy: bool) -> Result<Option<String>, &'static str> {
    let request = http::Request::get(address).header("Host", host).body(()).expect("a request");
    let request = Request::parse(&request.into_parts().0, false).map_err(|refusal| refusal.code())?;
    let table = table();
    let found = identify(&request, &tenancy(path_tenancy), &table).map_err(|refusal| refusal.code())?;
    Ok(found.map(|found| {
        let repository = found.repository.map(|name| name.to_string()).unwrap_or_default();
        format!("{} {} {}", found.binding.registry, repository, found.named_by.as_str())
    }))
}

#[test]
fn the_host_decides_first_then_ns_then_the_path() {
    let some = |text: &str| Ok(Some(text.to_owned()));
    for (host, address, found) in [
        ("contoso.registry.test", "/v2/app/tags/list", some("contoso app host")),
        ("CONTOSO.Registry.Test:5000", "/v2/app/tags/list", some("contoso app host")),
        ("contoso.west.geo.registry.test", "/v2/app/tags/list", some("contoso app host")),
        ("contoso.west.data.registry.test", "/v2/team/app/tags/list", some("contoso team/app host")),
        ("contoso.registry.test", "/v2/fabrikam/app/tags/list", some("contoso fabrikam/app host")),
        ("contoso.registry.test", "/v2/app/tags/list?ns=fabrikam.registry.test", some("contoso app host")),
        ("127.0.0.1:5000", "/v2/app/tags/list?ns=fabrikam.registry.test", some("fabrikam app ns")),
        ("127.0.0.1:5000", "/v2/app/tags/list?ns=FABRIKAM.registry.test%3A5000", some("fabrikam app ns")),
        (
            "127.0.0.1:5000",
            "/v2/contoso/app/tags/list?ns=fabrikam.registry.test",
            some("fabrikam contoso/app ns"),
        ),
        ("127.0.0.1:5000", "/v2/contoso/app/tags/list", some("contoso app path")),
        ("registry.test", "/v2/contoso/team/app/tags/list", some("contoso team/app path")),
        ("contoso.registry.test", "/v2/", some("contoso  host")),
        ("127.0.0.1:5000", "/v2/", Ok(None)),
    ] {
        assert_eq!(find(host, address, true), found, "{host} {address}");
    }
}

#[test]
fn a_name_that_is_not_in_the_table_is_unknown_and_never_falls_through() {
    for (host, address) in [
        ("nobody.registry.test", "/v2/contoso/app/tags/list"),
        ("nobody.registry.test", "/v2/"),
        ("contoso.east.geo.registry.test", "/v2/app/tags/list"),
        ("a.contoso.registry.test", "/v2/app/tags/list"),
        ("west.data.registry.test", "/v2/app/tags/list"),
        (".registry.test", "/v2/app/tags/list"),
        ("127.0.0.1", "/v2/contoso/app/tags/list?ns=docker.io"),
        ("127.0.0.1", "/v2/contoso/app/tags/list?ns=169.254.169.254"),
        ("127.0.0.1", "/v2/contoso/app/tags/list?ns=registry.test"),
        ("127.0.0.1", "/v2/contoso/app/tags/list?ns=contoso"),
        ("127.0.0.1", "/v2/contoso/app/tags/list?ns=x@contoso.registry.test@y"),
        ("127.0.0.1", "/v2/nobody/app/tags/list"),
        ("127.0.0.1", "/v2/contoso/tags/list"),
    ] {
        assert_eq!(find(host, address, true), Err("NAME_UNKNOWN"), "{host} {address}");
    }
    assert_eq!(find("127.0.0.1", "/v2/contoso/app/tags/list", false), Err("NAME_UNKNOWN"));
    // A host that merely ends like the zone is not in it.
    assert_eq!(find("contoso.evilregistry.test", "/v2/app/tags/list", false), Err("NAME_UNKNOWN"));
}

#[test]
fn the_refusal_of_a_request_without_a_registry_says_how_to_name_one() {
    let request =
        http::Request::get("/v2/app/tags/list").header("Host", "127.0.0.1").body(()).expect("a request");
    let request = Request::parse(&request.into_parts().0, false).expect("valid");
    let refusal = identify(&request, &tenancy(true), &table()).expect_err("no registry");
    let message = refusal.to_string();
    assert!(message.contains("<registry>.registry.test") && message.contains("/v2/<registry>/"), "{message}");
}

#[test]
fn a_zone_is_a_domain() {
    assert_eq!("Registry.TEST.".parse::<Zone>().expect("valid").as_str(), "registry.test");
    for bad in ["", ".", "a..b", "a:5000", "a/b", "-a", &"a.".repeat(100)] {
        assert!(bad.parse::<Zone>().is_err(), "{bad:?}");
    }
}

proptest! {
    #[test]
    fn no_host_or_ns_panics_and_all_that_is_found_is_in_the_table(
        host in "[a-zA-Z0-9.:\\[\\]-]{0,40}(\\.registry\\.test)?", ns in "[!-~]{0,40}", path_tenancy in any::<bool>(),
    ) {
        let ns: String = form_urlencoded::byte_serialize(ns.as_bytes()).collect();
        let address = format!("/v2/contoso/app/manifests/v1?ns={ns}");
        if let Ok(Some(found)) = find(&host, &address, path_tenancy) {
            prop_assert!(found.starts_with("contoso ") || found.starts_with("fabrikam "));
        }
    }
}
