//! The house's rules about dependencies: who may import whom, and what there is only one of.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

/// Each crate of ours and those of ours that it may import. Leaves first; nobody imports the tests.
const MAY_IMPORT: &[(&str, &[&str])] = &[
    ("dataproxy-resident", &[]),
    ("dataproxy-cpu", &[]),
    ("dataproxy-cache", &["dataproxy-cpu", "dataproxy-resident"]),
    ("dataproxy-outbound", &[]),
    ("dataproxy-azure", &["dataproxy-cache", "dataproxy-outbound"]),
    ("dataproxy-router-api", &[]),
    ("dataproxy-planner", &["dataproxy-router-api"]),
    ("dataproxy-simulate", &["dataproxy-planner", "dataproxy-router-api"]),
    ("dataproxy-router", &["dataproxy-planner", "dataproxy-router-api", "dataproxy-simulate"]),
    ("dataproxy-import", &["dataproxy-cache"]),
    ("dataproxy-loadtest", &[]),
    (
        "dataproxy",
        &[
            "dataproxy-azure",
            "dataproxy-cache",
            "dataproxy-cpu",
            "dataproxy-outbound",
            "dataproxy-router-api",
        ],
    ),
    (
        "region",
        &[
            "dataproxy",
            "dataproxy-azure",
            "dataproxy-cache",
            "dataproxy-import",
            "dataproxy-loadtest",
            "dataproxy-router",
            "dataproxy-router-api",
        ],
    ),
    (
        "dataproxy-tests",
        &[
            "dataproxy",
            "dataproxy-azure",
            "dataproxy-cache",
            "dataproxy-import",
            "dataproxy-loadtest",
            "dataproxy-router",
            "dataproxy-router-api",
            "region",
        ],
    ),
];

/// A second version of these would be a second runtime, a second protocol stack or a second set of types.
const ONE_VERSION: &[&str] =
    &["bytes", "h2", "http", "http-body", "hyper", "rustls", "tokio", "tokio-rustls"];

/// Crates that may not be built, and why.
const BANNED: &[(&str, &str)] = &[
    ("ring", "aws-lc-rs is the one crypto provider"),
    ("native-tls", "rustls is the one TLS"),
    ("openssl-sys", "rustls is the one TLS"),
];

/// Imports between crates of ours that `cargo metadata` shows to be against the rules, one sentence each.
pub fn imports_against_the_house(metadata: &Value) -> Vec<String> {
    let members: BTreeSet<&str> = array(&metadata["workspace_members"]).filter_map(Value::as_str).collect();
    let ours: Vec<&Value> = array(&metadata["packages"])
        .filter(|package| package["id"].as_str().is_some_and(|id| members.contains(id)))
        .collect();
    let names: BTreeSet<&str> = ours.iter().filter_map(|package| package["name"].as_str()).collect();
    let mut broken = Vec::new();
    for package in ours {
        let name = package["name"].as_str().unwrap_or_default();
        let Some((_, allowed)) = MAY_IMPORT.iter().find(|(crate_name, _)| *crate_name == name) else {
            broken.push(format!(
                "{name} has no place in the house: say in tests/src/house.rs whom it may import"
            ));
            continue;
        };
        for dependency in array(&package["dependencies"]).filter_map(|dependency| dependency["name"].as_str())
        {
            // A crate's tests may depend on the crate with its testing feature on.
            if names.contains(dependency) && dependency != name && !allowed.contains(&dependency) {
                let allowed = if allowed.is_empty() { "none of ours".into() } else { allowed.join(", ") };
                broken.push(format!("{name} imports {dependency}; it may import {allowed}"));
            }
        }
    }
    broken
}

/// What `cargo tree --prefix none --format {p}` shows to be built twice or against the rules, one sentence each.
/// (`cargo metadata` also names what no feature turns on.)
pub fn built_against_the_house(tree: &str) -> Vec<String> {
    let mut found: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for line in tree.lines() {
        let mut words = line.split_whitespace();
        if let (Some(name), Some(version)) = (words.next(), words.next()) {
            found.entry(name).or_default().insert(version);
        }
    }
    let twice = ONE_VERSION.iter().filter_map(|name| {
        let versions: Vec<_> = found.get(name)?.iter().copied().collect();
        let (count, versions) = (versions.len(), versions.join(", "));
        (count > 1).then(|| format!("{name} is built in {count} versions ({versions}); one is allowed"))
    });
    let banned = BANNED.iter().filter(|(name, _)| found.contains_key(name));
    twice.chain(banned.map(|(name, why)| format!("{name} is built; it may not be: {why}"))).collect()
}

fn array(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn metadata(packages: &[(&str, &[&str])]) -> Value {
        let members: Vec<_> = packages.iter().map(|(name, _)| *name).collect();
        let packages: Vec<_> = packages
            .iter()
            .map(|(name, dependencies)| {
                let dependencies: Vec<_> = dependencies.iter().map(|name| json!({ "name": name })).collect();
                json!({ "id": name, "name": name, "dependencies": dependencies })
            })
            .collect();
        json!({ "workspace_members": members, "packages": packages })
    }

    #[test]
    fn an_import_against_the_house_is_named_with_what_is_allowed() {
        let cache = ("dataproxy-cache", ["tokio", "dataproxy-cache"].as_slice());
        let proxy = ("dataproxy", ["dataproxy-cache", "hyper"].as_slice());
        assert_eq!(imports_against_the_house(&metadata(&[cache, proxy])), Vec::<String>::new());

        let cache = ("dataproxy-cache", ["dataproxy"].as_slice());
        let proxy = ("dataproxy", ["dataproxy-tests"].as_slice());
        let tests = ("dataproxy-tests", ["dataproxy"].as_slice());
        let broken = imports_against_the_house(&metadata(&[cache, proxy, tests, ("stray", &[])]));
        assert_eq!(
            broken,
            [
                "dataproxy-cache imports dataproxy; it may import dataproxy-cpu, dataproxy-resident",
                "dataproxy imports dataproxy-tests; it may import dataproxy-azure, dataproxy-cache, dataproxy-cpu, dataproxy-outbound, dataproxy-router-api",
                "stray has no place in the house: say in tests/src/house.rs whom it may import",
            ]
        );
    }

    #[test]
    fn a_second_version_and_a_banned_crate_are_named() {
        let tree =
            "region v0.1.0 (/x)\nhyper v1.12.0\nhyper v0.14.1\nhyper v1.12.0 (*)\n\nsyn v1.0.0\nsyn v2.0.0\n";
        let twice = "hyper is built in 2 versions (v0.14.1, v1.12.0); one is allowed";
        assert_eq!(built_against_the_house(tree), [twice]);
        let ring = "ring is built; it may not be: aws-lc-rs is the one crypto provider";
        assert_eq!(built_against_the_house("ring v0.17.0\n"), [ring]);
    }
}
