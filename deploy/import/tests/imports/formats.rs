//! Every form of an image comes out in the distribution layout, whole and byte for byte.

use std::fs;

use crate::fixture::*;
use dataproxy_import::{Change, ImportError, Step};
use serde_json::json;

const ROOT: &str = "docker/registry/v2";

fn link(folder: &str, digest: &str) -> String {
    format!("{ROOT}/repositories/team/app/{folder}/{}/link", digest.replace(':', "/"))
}

fn data(digest: &str) -> String {
    let (algorithm, hex) = digest.split_once(':').expect("a digest");
    format!("{ROOT}/blobs/{algorithm}/{}/{hex}/data", &hex[..2])
}

/// The layout's own files and nothing else: each blob once, each link with its digest for content.
fn expected(
    blobs: &[(&str, &[u8])],
    manifests: &[(&str, &[u8])],
    root: &str,
) -> std::collections::BTreeMap<String, Vec<u8>> {
    let mut files = std::collections::BTreeMap::new();
    for (digest, content) in blobs {
        files.insert(data(digest), content.to_vec());
        files.insert(link("_layers", digest), digest.as_bytes().to_vec());
    }
    for (digest, content) in manifests {
        files.insert(data(digest), content.to_vec());
        files.insert(link("_manifests/revisions", digest), digest.as_bytes().to_vec());
    }
    files.insert(link("_manifests/tags/v1/index", root), root.as_bytes().to_vec());
    let current = format!("{ROOT}/repositories/team/app/_manifests/tags/v1/current/link");
    files.insert(current, root.as_bytes().to_vec());
    files
}

fn text(value: &serde_json::Value) -> String {
    value.as_str().expect("a text").to_owned()
}

#[test]
fn an_oci_layout_is_imported_alike_from_a_folder_a_tar_and_a_gzipped_tar() {
    let dir = tempfile::tempdir().expect("a folder");
    let (one, two) = (noise(1, 700_000), noise(2, 3000));
    let mut files = Files::layout();
    let image = files.image("amd64", &[&one, &two, &one]);
    files.top(std::slice::from_ref(&image));
    let root = text(&image["digest"]);
    let manifest = files.0[&blob_name(&root)].clone();
    let parsed: serde_json::Value = serde_json::from_slice(&manifest).expect("JSON");
    let config = text(&parsed["config"]["digest"]);
    let config_content = files.0[&blob_name(&config)].clone();
    let (d1, d2) = (digest(&one), digest(&two));
    let wanted =
        expected(&[(&config, &config_content), (&d1, &one), (&d2, &two)], &[(&root, &manifest)], &root);

    fs::write(dir.path().join("image.tar"), files.tar()).expect("a tar");
    fs::write(dir.path().join("image.tgz"), gzip(&files.tar())).expect("a tar");
    files.folder(&dir.path().join("layout"));
    for source in ["layout", "image.tar", "image.tgz"] {
        let container = dir.path().join(format!("from-{source}"));
        let done = import_as_v1(&dir.path().join(source), &container).expect(source);
        assert_eq!(snapshot(&container), wanted, "{source}");
        assert_eq!((done.digest.to_string(), done.blobs, done.manifests), (root.clone(), 3, 1));
        assert_eq!((done.copied_bytes, done.present_bytes), ((703_000 + config_content.len()) as u64, 0));
    }
}

#[test]
fn a_docker_archive_is_imported_with_its_layers_as_they_are() {
    let dir = tempfile::tempdir().expect("a folder");
    let (plain, packed) = (noise(3, 50_000), noise(4, 20_000));
    let stored = gzip(&packed);
    let files =
        Files::docker("app:v1", &[("a/layer.tar", &plain, &plain), ("b/layer.tar", &packed, &stored)]);
    let path = dir.path().join("image.tar");
    fs::write(&path, files.tar()).expect("a tar");
    let container = dir.path().join("c");
    let done = import_as_v1(&path, &container).expect("imported");
    let found = snapshot(&container);
    let manifest: serde_json::Value =
        serde_json::from_slice(&found[&data(&done.digest.to_string())]).expect("JSON");
    assert_eq!(manifest["mediaType"], MANIFEST);
    assert_eq!(manifest["config"]["mediaType"], CONFIG);
    let layers = manifest["layers"].as_array().expect("layers");
    assert_eq!(layers[0], json!({"mediaType": LAYER, "digest": digest(&plain), "size": plain.len()}));
    let gzip_type = format!("{LAYER}+gzip");
    assert_eq!(layers[1], json!({"mediaType": gzip_type, "digest": digest(&stored), "size": stored.len()}));
    assert_eq!(found[&data(&digest(&plain))], plain);
    assert_eq!(found[&data(&digest(&stored))], stored);
    let again = import_as_v1(&path, &dir.path().join("d")).expect("imported");
    assert_eq!(again.digest, done.digest, "the manifest that is made depends on the archive alone");
}

#[test]
fn links_inside_a_docker_archive_are_followed() {
    let dir = tempfile::tempdir().expect("a folder");
    let layer = noise(5, 1000);
    let mut files =
        Files::docker("app:v1", &[("a/layer.tar", &layer, &layer), ("b/layer.tar", &layer, &layer)]);
    files.0.remove("b/layer.tar");
    let mut tar = tar::Builder::new(Vec::new());
    for (name, content) in &files.0 {
        let mut header = tar::Header::new_gnu();
        header.set_size(content.len() as u64);
        tar.append_data(&mut header, format!("./{name}"), content.as_slice()).expect("an entry");
    }
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(tar::EntryType::Symlink);
    header.set_size(0);
    tar.append_link(&mut header, "b/layer.tar", "../a/layer.tar").expect("a link");
    let path = dir.path().join("image.tar");
    fs::write(&path, tar.into_inner().expect("a tar")).expect("a file");
    let done = import_as_v1(&path, &dir.path().join("c")).expect("imported");
    assert_eq!(done.blobs, 2, "the configuration and one layer, listed twice");
}

#[test]
fn an_index_is_imported_with_all_its_images_also_when_nested() {
    let dir = tempfile::tempdir().expect("a folder");
    let mut files = Files::layout();
    let (amd, arm) = (files.image("amd64", &[b"amd"]), files.image("arm64", &[b"arm"]));
    let inner = files.index(std::slice::from_ref(&arm));
    let outer = files.index(&[amd.clone(), inner.clone()]);
    files.top(std::slice::from_ref(&outer));
    let container = dir.path().join("c");
    let done = import_as_v1(&files.folder(&dir.path().join("l")), &container).expect("imported");
    assert_eq!((done.manifests, done.blobs, done.left_out.len()), (4, 4, 0));
    assert_eq!((done.digest.to_string(), done.media_type.as_str()), (text(&outer["digest"]), INDEX));
    let found = snapshot(&container);
    for manifest in [&amd, &arm, &inner, &outer] {
        let digest = text(&manifest["digest"]);
        assert_eq!(found[&link("_manifests/revisions", &digest)], digest.as_bytes());
    }
}

#[test]
fn platforms_that_an_archive_does_not_carry_are_left_out_and_named() {
    let dir = tempfile::tempdir().expect("a folder");
    let mut files = Files::layout();
    let amd = files.image("amd64", &[b"amd"]);
    let no_manifest = files.image("arm64", &[b"arm"]);
    let no_layer = files.image("s390x", &[b"s390"]);
    let index = files.index(&[amd, no_manifest.clone(), no_layer.clone()]);
    files.top(&[index]);
    files.0.remove(&blob_name(&text(&no_manifest["digest"])));
    files.0.remove(&blob_name(&digest(b"s390")));
    let container = dir.path().join("c");
    let done = import_as_v1(&files.folder(&dir.path().join("l")), &container).expect("imported");
    let platforms: Vec<_> = done.left_out.iter().map(|out| out.platform.as_deref()).collect();
    assert_eq!(platforms, [Some("linux/arm64"), Some("linux/s390x")]);
    assert!(done.left_out[1].missing.ends_with(&blob_name(&digest(b"s390"))), "{:?}", done.left_out);
    assert!(!snapshot(&container).contains_key(&link("_manifests/revisions", &text(&no_layer["digest"]))));
}

#[test]
fn a_layer_that_may_lie_elsewhere_may_be_absent() {
    let dir = tempfile::tempdir().expect("a folder");
    let mut files = Files::layout();
    let config = files.blob(CONFIG, b"{}");
    let foreign = json!({"mediaType": "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip",
        "digest": digest(b"absent"), "size": 6, "urls": ["https://example.com/layer"]});
    let manifest =
        json!({"schemaVersion": 2, "mediaType": DOCKER_MANIFEST, "config": config, "layers": [foreign]});
    let image = files.blob(DOCKER_MANIFEST, manifest.to_string().as_bytes());
    files.top(&[image]);
    let done = import_as_v1(&files.folder(&dir.path().join("l")), &dir.path().join("c")).expect("imported");
    assert_eq!(done.blobs, 1, "the configuration");
}

#[test]
fn blobs_under_sha512_are_verified_and_kept_under_sha512() {
    use dataproxy_cache::{Algorithm, Digest};
    let dir = tempfile::tempdir().expect("a folder");
    let mut files = Files::layout();
    let layer = Digest::of(Algorithm::Sha512, b"layer").to_string();
    files.put(&blob_name(&layer), b"layer");
    let config = files.blob(CONFIG, b"{}");
    let layers = json!([{"mediaType": LAYER, "digest": layer, "size": 5}]);
    let manifest = json!({"schemaVersion": 2, "config": config, "layers": layers});
    let image = files.blob(MANIFEST, manifest.to_string().as_bytes());
    files.top(&[image]);
    let container = dir.path().join("c");
    let source = files.folder(&dir.path().join("l"));
    import_as_v1(&source, &container).expect("imported");
    assert_eq!(snapshot(&container)[&data(&layer)], b"layer");
    fs::write(source.join(blob_name(&layer)), b"reyal").expect("spoilt");
    let error = import_as_v1(&source, &dir.path().join("d")).expect_err("spoilt");
    assert!(matches!(error, ImportError::DigestMismatch { .. }), "{error}");
}

#[test]
fn one_of_several_images_is_picked_by_name_tag_or_digest() {
    let dir = tempfile::tempdir().expect("a folder");
    let mut files = Files::layout();
    let mut images = [files.image("amd64", &[b"1"]), files.image("amd64", &[b"2"])];
    images[0]["annotations"] = json!({"org.opencontainers.image.ref.name": "one"});
    images[1]["annotations"] = json!({"org.opencontainers.image.ref.name": "2", "io.containerd.image.name": "docker.io/library/app:two"});
    files.top(&images);
    let source = files.folder(&dir.path().join("l"));
    let pick = |wanted: Option<&str>| {
        import_one(&source, &dir.path().join("c"), wanted, &mut |_| {}).map(|done| done.digest.to_string())
    };
    let [first, second] = images.map(|image| text(&image["digest"]));
    assert_eq!(pick(Some("one")).expect("by name"), first);
    assert_eq!(pick(Some(&first)).expect("by digest"), first);
    assert_eq!(pick(Some("two")).expect("by tag"), second);
    assert_eq!(pick(Some("docker.io/library/app:two")).expect("by full name"), second);
    let error = pick(None).expect_err("ambiguous").to_string();
    assert!(error.contains("2 images") && error.contains("one, docker.io/library/app:two"), "{error}");
    let error = pick(Some("three")).expect_err("unknown").to_string();
    assert!(error.contains("no image \"three\"") && error.contains("one, "), "{error}");
}

#[test]
fn the_same_import_twice_changes_nothing_and_copies_nothing() {
    use std::os::unix::fs::MetadataExt;
    let dir = tempfile::tempdir().expect("a folder");
    let mut files = Files::layout();
    let image = files.image("amd64", &[&noise(6, 100_000)]);
    files.top(&[image]);
    let (source, container) = (files.folder(&dir.path().join("l")), dir.path().join("c"));
    let first = import_as_v1(&source, &container).expect("imported");
    let before = snapshot(&container);
    let inode = |name: &String| container.join(name).metadata().expect("there").ino();
    let inodes: Vec<u64> = before.keys().map(inode).collect();
    let second = import_as_v1(&source, &container).expect("imported");
    assert_eq!(snapshot(&container), before);
    assert_eq!(before.keys().map(inode).collect::<Vec<_>>(), inodes, "no file was replaced under a reader");
    assert_eq!((second.copied_bytes, second.present_bytes), (0, first.copied_bytes));
}

#[test]
fn a_blob_that_the_storage_holds_spoilt_is_replaced() {
    let dir = tempfile::tempdir().expect("a folder");
    let layer = noise(7, 5000);
    let mut files = Files::layout();
    let image = files.image("amd64", &[&layer]);
    files.top(&[image]);
    let (source, container) = (files.folder(&dir.path().join("l")), dir.path().join("c"));
    import_as_v1(&source, &container).expect("imported");
    let path = container.join(data(&digest(&layer)));
    for spoilt in [Vec::new(), noise(8, 5000)] {
        fs::write(&path, spoilt).expect("spoilt");
        import_as_v1(&source, &container).expect("imported again");
        assert_eq!(fs::read(&path).expect("there"), layer);
    }
}

#[test]
fn a_tag_moves_to_the_new_image_and_remembers_the_old_one() {
    let dir = tempfile::tempdir().expect("a folder");
    let container = dir.path().join("c");
    let mut roots = Vec::new();
    for content in [b"old", b"new"] {
        let mut files = Files::layout();
        let image = files.image("amd64", &[content]);
        files.top(std::slice::from_ref(&image));
        import_as_v1(&files.folder(&dir.path().join(text(&image["digest"]))), &container).expect("imported");
        roots.push(text(&image["digest"]));
    }
    let found = snapshot(&container);
    let current = format!("{ROOT}/repositories/team/app/_manifests/tags/v1/current/link");
    assert_eq!(found[&current], roots[1].as_bytes());
    for root in &roots {
        assert_eq!(found[&link("_manifests/tags/v1/index", root)], root.as_bytes());
    }
}

#[test]
fn progress_grows_from_nothing_to_everything() {
    let dir = tempfile::tempdir().expect("a folder");
    let mut files = Files::layout();
    let image = files.image("amd64", &[&noise(9, 1_000_000), &noise(10, 1_000_000)]);
    files.top(&[image]);
    let path = dir.path().join("image.tgz");
    fs::write(&path, gzip(&files.tar())).expect("a tar");
    for round in ["copied", "present"] {
        let mut seen = Vec::new();
        import_one(&path, &dir.path().join("c"), None, &mut |progress| seen.push(progress)).expect(round);
        for step in [Step::Unpacking, Step::Copying] {
            let of_step: Vec<_> = seen.iter().filter(|progress| progress.step == step).collect();
            assert!(
                of_step.windows(2).all(|pair| pair[0].done <= pair[1].done),
                "{round}: {step:?} went back"
            );
            let last = of_step.last().expect("told");
            assert_eq!(last.done, last.total, "{round}: {step:?} did not end at its total");
            assert!(of_step.len() > 4, "{round}: {step:?} was told {} times", of_step.len());
        }
    }
}

#[test]
fn a_second_change_to_a_container_waits_for_the_first() {
    let dir = tempfile::tempdir().expect("a folder");
    let first = Change::begin(dir.path(), || panic!("nobody else is here")).expect("begun");
    let (waits, waiting) = std::sync::mpsc::channel();
    std::thread::scope(|scope| {
        let second = scope.spawn(|| Change::begin(dir.path(), || waits.send(()).expect("heard")).map(drop));
        waiting.recv_timeout(std::time::Duration::from_secs(10)).expect("the second one waits");
        assert!(!second.is_finished());
        drop(first);
        second.join().expect("no panic").expect("begun");
    });
    assert_eq!(
        fs::read_dir(dir.path()).expect("a folder").count(),
        0,
        "a change that is dropped leaves nothing"
    );
}

#[test]
fn what_a_killed_change_left_behind_is_cleared_away() {
    let dir = tempfile::tempdir().expect("a folder");
    fs::create_dir(dir.path().join(".import")).expect("a folder");
    fs::write(dir.path().join(".import/0"), b"half a blob").expect("a file");
    drop(Change::begin(dir.path(), || panic!("nobody else is here")).expect("begun"));
    assert_eq!(fs::read_dir(dir.path()).expect("a folder").count(), 0);
}
