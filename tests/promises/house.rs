//! The house keeps its own rules.

use std::path::Path;
use std::time::Duration;

use dataproxy_tests::{docs, house, installed, run};

use crate::every_client;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the tests lie in the workspace")
}

async fn cargo(args: &[&str]) -> String {
    let manifest = root().join("Cargo.toml");
    let mut all: Vec<_> = args.iter().map(AsRef::as_ref).collect();
    all.extend(["--locked".as_ref(), "--manifest-path".as_ref(), manifest.as_os_str()]);
    run::must_run(env!("CARGO"), &all, Duration::from_secs(60)).await.stdout
}

#[tokio::test]
async fn crates_import_only_whom_they_may() {
    let metadata = cargo(&["metadata", "--format-version=1", "--no-deps"]).await;
    let metadata = serde_json::from_str(&metadata).expect("cargo metadata is JSON");
    let broken = house::imports_against_the_house(&metadata);
    assert!(broken.is_empty(), "rules of the house are broken:\n{}", broken.join("\n"));
}

#[tokio::test]
async fn there_is_one_runtime_one_http_and_one_tls() {
    let every_way = ["--workspace", "--all-features", "--target=all", "--edges=normal,build,dev"];
    let mut args = vec!["tree", "--prefix=none", "--format={p}"];
    args.extend(every_way);
    let tree = cargo(&args).await;
    assert!(tree.contains("\nhyper v"), "this is no tree of the project: {tree}");
    let broken = house::built_against_the_house(&tree);
    assert!(broken.is_empty(), "rules of the house are broken:\n{}", broken.join("\n"));
}

#[test]
fn no_document_links_to_nowhere() {
    let dead = docs::dead_links(root());
    assert!(dead.is_empty(), "dead links:\n{}", dead.join("\n"));
}

#[test]
fn every_client_has_a_row_in_every_table() {
    let expected: Vec<String> = installed::ALL.iter().map(installed::Installed::name).collect();
    for name in ["configurations", "behaviour", "cut", "sha512", "measured"] {
        let rows = every_client::table(name).rows();
        let clients: Vec<&String> = rows.iter().filter_map(|row| row.first()).collect();
        assert_eq!(clients, expected.iter().collect::<Vec<_>>(), "the table {name}");
    }
}

#[test]
fn a_test_that_a_document_names_exists() {
    let missing = docs::missing_tests(root(), &root().join("docs/semantics.md"));
    assert!(missing.is_empty(), "docs/semantics.md names tests that do not exist:\n{}", missing.join("\n"));
}
