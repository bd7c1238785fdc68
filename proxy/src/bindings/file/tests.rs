//! A good file is in force within a second; a bad one changes nothing and says why.

use std::time::{Duration, Instant};

use super::*;

fn snapshot(revision: u64, stamp: &str) -> String {
    format!(
        r#"{{
  "revision": {revision},
  "region": "local",
  "stamps": [{{"name": "{stamp}", "nodes": [{{"name": "n1", "address": "127.0.1.1:5000", "admin": "127.0.1.1:9100"}}]}}],
  "bindings": [{{"registry": "contoso", "home_stamp": "{stamp}", "epoch": 1, "placement": {{"account": "x", "container": "c"}}}}]
}}"#
    )
}

/// Replaces a file as an operator should: by a rename.
fn write(path: &Path, text: &str) {
    let next = path.with_extension("next");
    std::fs::write(&next, text).unwrap();
    std::fs::rename(&next, path).unwrap();
}

async fn eventually(what: &str, mut check: impl FnMut() -> bool) {
    let start = Instant::now();
    while !check() {
        assert!(start.elapsed() < Duration::from_secs(10), "not within 10 s: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

struct Watched {
    file: Arc<BindingsFile>,
    path: PathBuf,
    _folder: tempfile::TempDir,
}

fn watched() -> Watched {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("bindings.json");
    write(&path, &snapshot(5, "a"));
    let file = Arc::new(BindingsFile::open(path.clone(), "local".parse().unwrap()).unwrap());
    let life = Lifecycle::default();
    let following = Arc::clone(&file);
    tokio::spawn(async move { following.follow(&life).await });
    Watched { file, path, _folder: folder }
}

impl Watched {
    fn home(&self) -> String {
        let table = self.file.bindings().current();
        let binding = table.binding("contoso").unwrap();
        binding.home_stamp.to_string()
    }
}

#[tokio::test]
async fn a_renamed_file_is_in_force_within_a_second() {
    let watched = watched();
    let start = Instant::now();
    write(&watched.path, &snapshot(6, "b"));
    eventually("stamp b", || watched.home() == "b").await;
    assert!(start.elapsed() < Duration::from_secs(1), "{:?}", start.elapsed());
    assert_eq!(watched.file.error(), None);
}

#[tokio::test]
async fn a_bad_file_changes_nothing_and_is_reported_with_its_place() {
    let watched = watched();
    for (text, reason) in [
        (
            snapshot(6, "b").replace("\"region\"", "\"regoin\""),
            "bindings.json: regoin: there is no such field",
        ),
        (
            snapshot(6, "b").replace("\"container\"", "\"prefxi\": \"x/\", \"container\""),
            "bindings.json: bindings.0.placement.prefxi: there is no such field",
        ),
        (
            snapshot(6, "b").replace("\"epoch\": 1", "\"epoch\": \"1\""),
            ": invalid type: string \"1\", expected u64",
        ),
        (snapshot(6, "b") + "}", "trailing characters"),
        (snapshot(4, "b"), "revision 4 is older than 5"),
        (snapshot(5, "b"), "revision 5 is in force with other content"),
        (snapshot(6, "b").replace("\"epoch\": 1", "\"epoch\": 0"), "contoso has epoch 0, older than 1"),
        (snapshot(6, "b").replace("local", "east"), "bindings of region east; this node is of region local"),
        (
            snapshot(6, "b").replace("\"home_stamp\": \"b\"", "\"home_stamp\": \"c\""),
            "bound to stamp c, which is not",
        ),
        (String::new(), ":1:0: EOF while parsing"),
    ] {
        write(&watched.path, &text);
        eventually(reason, || watched.file.error().is_some_and(|error| error.contains(reason))).await;
        assert_eq!(watched.home(), "a");
    }
    std::fs::remove_file(&watched.path).unwrap();
    eventually("gone", || watched.file.error().is_some_and(|error| error.contains("cannot be read"))).await;
    assert_eq!(watched.home(), "a");
    write(&watched.path, &snapshot(6, "b"));
    eventually("recovered", || watched.home() == "b" && watched.file.error().is_none()).await;
}

#[test]
fn the_example_of_the_documentation_loads() {
    let page = include_str!("../../../../docs/configuration.md");
    let example = page.split("<!-- example -->\n```json\n").nth(1).unwrap().split("```").next().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("bindings.json");
    std::fs::write(&path, example).unwrap();
    let table = load(&path, &"local".parse().unwrap()).unwrap();
    assert!(table.binding("contoso").is_some());
}
