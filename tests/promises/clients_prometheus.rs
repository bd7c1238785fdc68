//! The recording rules, by Debian's own promtool.

use std::path::{Path, PathBuf};
use std::process::Command;

fn rules() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/prometheus")
}

/// Runs promtool on a file of the rules' folder; its output, and whether it is content.
fn promtool(arguments: [&str; 3]) -> (String, bool) {
    let ran = Command::new("promtool").args(arguments).current_dir(rules()).output();
    let ran = ran.expect("promtool; `tests/install clients` brings it");
    let words = [ran.stdout, ran.stderr].concat();
    (String::from_utf8_lossy(&words).into_owned(), ran.status.success())
}

#[test]
fn the_rules_see_720_minutes_and_agree_with_the_nearest_rank_to_the_stated_bound() {
    let (words, is_content) = promtool(["check", "rules", "hot-node.rules.yaml"]);
    assert!(is_content, "{words}");
    let (words, is_content) = promtool(["test", "rules", "hot-node.test.yaml"]);
    assert!(is_content, "{words}");
}

#[test]
fn a_range_of_twelve_hours_sharp_would_have_been_found_wrong() {
    let folder = tempfile::tempdir().expect("a folder");
    for file in ["hot-node.rules.yaml", "hot-node.test.yaml"] {
        let text = std::fs::read_to_string(rules().join(file)).expect(file).replace("[719m30s]", "[12h]");
        std::fs::write(folder.path().join(file), text).expect(file);
    }
    let test = folder.path().join("hot-node.test.yaml").display().to_string();
    let (words, is_content) = promtool(["test", "rules", &test]);
    // 721 in Prometheus 2, 720 in 3.
    let version = Command::new("promtool").arg("--version").output().expect("promtool").stdout;
    let is_second = String::from_utf8_lossy(&version).contains("version 2.");
    assert_eq!(is_content, !is_second, "{words}");
}
