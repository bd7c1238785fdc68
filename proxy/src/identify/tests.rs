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
            {"registry": "hub", "home_stamp": "a", "epoch": 1, "placement": {"account": "upstream"},
             "hosts": ["docker.io", "registry.corp:5000"]},
        ],
    }))
    .expect("a snapshot");
    snapshot.validate().expect("valid");
    Table::new(snapshot)
}

fn tenancy(path_tenancy: bool, default: Option<&str>) -> Tenancy {
    let default_registry = default.map(|name| name.parse().expect("a name"));
    Tenancy { zone: "registry.test".parse().expect("a zone"), path_tenancy, default_registry }
}

/// Registry, repository and what named it; or the refusal's code.
fn find(host: &str, address: &str, path_tenancy: bool) -> Result<Option<String>, &'static str> {
    find_by(host, address, &tenancy(path_tenancy, None))
}

fn find_by(host: &str, address: &str, tenancy: &Tenancy) -> Result<Option<String>, &'static str> {
    let request = http::Request::get(address).header("Host", host).body(()).expect("a request");
    let request = Request::parse(&request.into_parts().0, false).map_err(|refusal| refusal.code())?;
    let table = table();
    let found = identify(&request, tenancy, &table).map_err(|refusal| refusal.code())?;
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
        ("127.0.0.1", "/v2/contoso/app/tags/list?ns=ghcr.io"),
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
fn a_registry_is_known_by_the_hosts_that_its_binding_lists_and_by_no_other() {
    for (host, address, found) in [
        ("127.0.0.1:5000", "/v2/library/app/tags/list?ns=docker.io", Ok("hub library/app ns")),
        ("127.0.0.1:5000", "/v2/library/app/tags/list?ns=Docker.io:443", Ok("hub library/app ns")),
        ("docker.io", "/v2/library/app/tags/list", Ok("hub library/app host")),
        ("DOCKER.IO.:5000", "/v2/contoso/app/tags/list", Ok("hub contoso/app host")),
        ("127.0.0.1", "/v2/app/tags/list?ns=registry.corp:5000", Ok("hub app ns")),
        ("registry.corp:5000", "/v2/app/tags/list", Ok("hub app host")),
        ("127.0.0.1", "/v2/contoso/app/tags/list?ns=registry.corp", Err("NAME_UNKNOWN")),
        ("127.0.0.1", "/v2/contoso/app/tags/list?ns=registry.corp:5001", Err("NAME_UNKNOWN")),
        ("127.0.0.1", "/v2/contoso/app/tags/list?ns=registry-1.docker.io", Err("NAME_UNKNOWN")),
        ("127.0.0.1", "/v2/contoso/app/tags/list?ns=index.docker.io", Err("NAME_UNKNOWN")),
        ("127.0.0.1", "/v2/contoso/app/tags/list?ns=u@docker.io", Err("NAME_UNKNOWN")),
    ] {
        let found = found.map(|text| Some(text.to_owned()));
        assert_eq!(find(host, address, true), found, "{host} {address}");
    }
}

#[test]
fn a_mirrors_path_prefix_decides_before_all_else() {
    for (host, address, found) in [
        ("127.0.0.1", "/t/fabrikam/v2/contoso/app/tags/list", Ok("fabrikam contoso/app prefix")),
        ("127.0.0.1", "/t/hub/v2/library/app/tags/list?ns=docker.io", Ok("hub library/app prefix")),
        ("contoso.registry.test", "/t/fabrikam/v2/app/tags/list?ns=docker.io", Ok("fabrikam app prefix")),
        ("127.0.0.1", "/t/hub/v2/", Ok("hub  prefix")),
        ("127.0.0.1", "/t/nobody/v2/contoso/app/tags/list?ns=docker.io", Err("NAME_UNKNOWN")),
        ("contoso.registry.test", "/t/Fabrikam/v2/app/tags/list", Err("NAME_UNKNOWN")),
        ("contoso.registry.test", "/t//v2/app/tags/list", Err("NAME_UNKNOWN")),
        ("contoso.registry.test", "/t/../v2/app/tags/list", Err("NAME_UNKNOWN")),
        ("contoso.registry.test", "/t/v2/app/tags/list", Err("UNSUPPORTED")),
        ("contoso.registry.test", "/t/fabrikam/v1/app/tags/list", Err("UNSUPPORTED")),
    ] {
        let found = found.map(|text| Some(text.to_owned()));
        assert_eq!(find(host, address, true), found, "{host} {address}");
    }
}

#[test]
fn the_default_registry_is_meant_where_nothing_names_one_and_a_bound_path_goes_before_it() {
    for (host, address, path, found) in [
        ("127.0.0.1:5000", "/v2/library/app/tags/list", false, Ok("hub library/app default")),
        ("127.0.0.1:5000", "/v2/app/tags/list", true, Ok("hub app default")),
        ("127.0.0.1:5000", "/v2/library/app/tags/list", true, Ok("hub library/app default")),
        ("127.0.0.1:5000", "/v2/contoso/app/tags/list", true, Ok("contoso app path")),
        ("127.0.0.1:5000", "/v2/contoso/app/tags/list", false, Ok("hub contoso/app default")),
        ("127.0.0.1:5000", "/v2/contoso/tags/list", true, Ok("hub contoso default")),
        ("127.0.0.1", "/v2/app/tags/list?ns=fabrikam.registry.test", false, Ok("fabrikam app ns")),
        ("127.0.0.1", "/v2/app/tags/list?ns=ghcr.io", false, Err("NAME_UNKNOWN")),
        ("nobody.registry.test", "/v2/app/tags/list", false, Err("NAME_UNKNOWN")),
        ("127.0.0.1", "/t/nobody/v2/app/tags/list", false, Err("NAME_UNKNOWN")),
    ] {
        let found = found.map(|text| Some(text.to_owned()));
        assert_eq!(find_by(host, address, &tenancy(path, Some("hub"))), found, "{host} {address} {path}");
    }
    let ping = find_by("127.0.0.1", "/v2/", &tenancy(true, Some("hub")));
    assert_eq!(ping, Ok(None), "any endpoint may answer a ping");
    let unbound = find_by("127.0.0.1", "/v2/library/app/tags/list", &tenancy(false, Some("nobody")));
    assert_eq!(unbound, Err("NAME_UNKNOWN"));
}

#[test]
fn the_refusal_of_a_request_without_a_registry_says_how_to_name_one() {
    let request =
        http::Request::get("/v2/app/tags/list").header("Host", "127.0.0.1").body(()).expect("a request");
    let request = Request::parse(&request.into_parts().0, false).expect("valid");
    let refusal = identify(&request, &tenancy(true, None), &table()).expect_err("no registry");
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
            prop_assert!(["contoso ", "fabrikam ", "hub "].iter().any(|name| found.starts_with(name)));
        }
    }
}
