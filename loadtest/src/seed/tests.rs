//! Content that is written, found again, and kept apart from other content.

use std::collections::BTreeMap;
use std::fs;

use sha2::{Digest, Sha256};
use tempfile::TempDir;

use super::*;

fn content(seed: u64) -> Content {
    Content::evenly("contoso", seed, 2, 2, &Sizes::Fixed(4096))
}

/// Every file below, with the sha256 of its content.
fn files(dir: &Path) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    let mut todo = vec![dir.to_owned()];
    while let Some(folder) = todo.pop() {
        for entry in fs::read_dir(&folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                todo.push(path);
            } else {
                let name = path.strip_prefix(dir).expect("below").display().to_string();
                found.insert(name, record::hex(&Sha256::digest(fs::read(&path).expect("readable"))));
            }
        }
    }
    found
}

#[test]
fn the_same_seed_makes_the_same_files_and_another_one_others() {
    let [first, second, third] = [7, 7, 8].map(|seed| {
        let dir = TempDir::new().expect("a folder");
        content(seed).write(dir.path(), None, false, &mut |_| {}).expect("written");
        files(dir.path())
    });
    assert_eq!(first, second);
    let data = |files: &BTreeMap<String, String>| files.keys().filter(|name| name.ends_with("/data")).count();
    assert_eq!(data(&first), 2 * (2 + 1 + 1));
    let shared: Vec<_> =
        first.keys().filter(|name| name.ends_with("/data") && third.contains_key(*name)).collect();
    assert!(shared.is_empty(), "{shared:?}");
}

#[test]
fn every_blob_lies_under_its_digest_and_a_tag_leads_to_all_of_its_image() {
    let dir = TempDir::new().expect("a folder");
    let (mut told, content) = (0, content(7));
    let seeded = content.write(dir.path(), None, false, &mut |bytes| told += bytes).expect("written");
    assert_eq!((told, content.bytes(), seeded.written), (4 * 4096, 4 * 4096, true));
    let root = dir.path().join("contoso/docker/registry/v2");
    let read =
        |path: String| fs::read_to_string(root.join(&path)).unwrap_or_else(|error| panic!("{path}: {error}"));
    for (name, hash) in files(&root.join("blobs/sha256")) {
        assert_eq!(name, format!("{}/{hash}/data", &hash[..2]));
    }
    for image in &seeded.images {
        let repository = format!("repositories/{}", image.repository);
        let digest = read(format!("{repository}/_manifests/tags/{}/current/link", image.tag));
        assert_eq!(digest, image.manifest.digest());
        let hex = digest.trim_start_matches("sha256:");
        assert_eq!(read(format!("{repository}/_manifests/revisions/sha256/{hex}/link")), digest);
        let manifest = read(format!("blobs/sha256/{}/{hex}/data", &hex[..2]));
        let manifest: serde_json::Value = serde_json::from_str(&manifest).expect("JSON");
        let mut descriptors = manifest["layers"].as_array().expect("layers").clone();
        assert_eq!(descriptors.len(), 2);
        descriptors.push(manifest["config"].clone());
        for descriptor in descriptors {
            let digest = descriptor["digest"].as_str().expect("a digest");
            let hex = digest.trim_start_matches("sha256:");
            assert_eq!(read(format!("{repository}/_layers/sha256/{hex}/link")), digest);
            let data = root.join(format!("blobs/sha256/{}/{hex}/data", &hex[..2]));
            assert_eq!(Some(fs::metadata(data).expect("there").len()), descriptor["size"].as_u64());
        }
    }
}

#[test]
fn a_second_run_writes_nothing_and_mends_what_is_missing() {
    let dir = TempDir::new().expect("a folder");
    let www = dir.path().join("www");
    let seed = || content(7).write(dir.path(), Some(&www), false, &mut |_| {});
    let first = seed().expect("written");
    let before = files(dir.path());
    let second = seed().expect("there already");
    assert_eq!((second.written, &second.images), (false, &first.images));
    let lost = www.join(format!("v2/contoso/app-001/blobs/{}", first.images[0].layers[0].digest()));
    fs::remove_file(&lost).expect("it was linked");
    seed().expect("linked again");
    assert_eq!(files(dir.path()), before);
    let hex = &first.images[1].config.sha256;
    let data = format!("contoso/docker/registry/v2/blobs/sha256/{}/{hex}/data", &hex[..2]);
    fs::write(dir.path().join(data), "cut").expect("it is there");
    // With what is wrong in its place it is other content.
    assert!(matches!(seed(), Err(SeedError::NotEmpty(_))));
    let mended = content(7).write(dir.path(), Some(&www), true, &mut |_| {}).expect("added");
    assert!(mended.written);
    assert_eq!(files(dir.path()), before);
}

#[test]
fn a_file_server_gets_every_blob_and_manifest_by_the_path_that_a_client_asks_for() {
    let dir = TempDir::new().expect("a folder");
    let www = dir.path().join("www");
    let seeded = content(7).write(dir.path(), Some(&www), false, &mut |_| {}).expect("written");
    let served = files(&www);
    for image in &seeded.images {
        let path = |kind: &str, name: &str| format!("v2/contoso/{}/{kind}/{name}", image.repository);
        for blob in image.layers.iter().chain([&image.config]) {
            assert_eq!(served.get(&path("blobs", &blob.digest())), Some(&blob.sha256));
        }
        for name in [&image.manifest.digest(), &image.tag] {
            assert_eq!(served.get(&path("manifests", name)), Some(&image.manifest.sha256));
        }
    }
}

#[test]
fn other_content_is_left_alone_unless_it_is_to_be_added_to() {
    let dir = TempDir::new().expect("a folder");
    let other = dir.path().join("contoso/docker/registry/v2/repositories/x");
    fs::create_dir_all(&other).expect("a folder");
    let error = content(7).write(dir.path(), None, false, &mut |_| {}).expect_err("not empty").to_string();
    assert!(error.contains("--add") && error.contains("contoso"), "{error}");
    content(7).write(dir.path(), None, true, &mut |_| {}).expect("added");
    assert!(other.exists());
    let error =
        content(8).write(dir.path(), None, false, &mut |_| {}).expect_err("other options").to_string();
    assert!(error.contains("--add"), "{error}");
}

#[test]
fn two_runs_at_once_do_not_meet() {
    let dir = TempDir::new().expect("a folder");
    let held = Container::open(&dir.path().join("contoso")).expect("free");
    let error = content(7).write(dir.path(), None, false, &mut |_| {}).expect_err("held").to_string();
    assert!(error.contains("another process"), "{error}");
    drop(held);
    content(7).write(dir.path(), None, false, &mut |_| {}).expect("free again");
}

#[test]
fn what_the_system_refuses_is_said_with_what_to_do() {
    for (kind, expected) in [
        (std::io::ErrorKind::StorageFull, "disk is full"),
        (std::io::ErrorKind::PermissionDenied, "may not write"),
        (std::io::ErrorKind::CrossesDevices, "beside the content"),
        (std::io::ErrorKind::NotADirectory, "/x: "),
    ] {
        let error = SeedError::at(Path::new("/x"))(kind.into()).to_string();
        assert!(error.starts_with("/x") && error.contains(expected), "{error}");
    }
    let file = tempfile::NamedTempFile::new().expect("a file");
    let error = content(7).write(file.path(), None, false, &mut |_| {}).expect_err("no folder").to_string();
    assert!(error.contains(file.path().to_str().expect("text")), "{error}");
}
