use std::collections::BTreeSet;
use std::path::Path;

use super::*;

/// Names in the source that are written as metrics are.
fn named(folder: &Path, names: &mut BTreeSet<String>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            named(&path, names);
        } else if !path.ends_with("metrics/table.rs") && !path.ends_with("tests.rs") {
            let text = std::fs::read_to_string(&path).unwrap();
            let quoted = text.split('"').skip(1).step_by(2);
            let is_word = |text: &&str| text.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_');
            names
                .extend(quoted.filter(|text| text.starts_with("router_")).filter(is_word).map(str::to_owned));
        }
    }
}

#[test]
fn the_table_lists_every_metric_that_is_written_and_no_other() {
    let mut written = BTreeSet::new();
    named(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut written);
    let listed: BTreeSet<String> = METRICS.iter().map(|metric| metric.name.to_owned()).collect();
    assert_eq!(listed, written);
    assert_eq!(listed.len(), METRICS.len(), "a metric has one row");
}

#[test]
fn the_documentation_shows_the_table() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/metrics.md");
    let page = std::fs::read_to_string(&path).unwrap();
    let (start, end) = ("<!-- router metrics -->\n", "<!-- /router metrics -->");
    let (before, rest) = page.split_once(start).unwrap();
    let (found, after) = rest.split_once(end).unwrap();
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(&path, format!("{before}{start}{}{end}{after}", markdown())).unwrap();
        return;
    }
    assert_eq!(found, markdown(), "run the tests once with UPDATE_DOCS=1");
}
