//! Whatever is wrong with a source, the message names the file and what was expected, and nothing changes.

use std::fs;
use std::path::{Path, PathBuf};

use crate::fixture::*;
use serde_json::{Value, json};

/// Imports what `make` puts below a folder into storage that already holds an image, and returns the message.
fn refused(what: &str, make: impl FnOnce(&Path) -> PathBuf) -> String {
    let dir = tempfile::tempdir().expect("a folder");
    let container = dir.path().join("container");
    let mut good = Files::layout();
    let image = good.image("amd64", &[b"an image that was here before"]);
    good.top(&[image]);
    import_as_v1(&good.folder(&dir.path().join("good")), &container).expect("a good image");
    let before = snapshot(dir.path());
    let source = make(&dir.path().join("source"));
    let error = import_as_v1(&source, &container).expect_err(what).to_string();
    let mut after = snapshot(dir.path());
    after.retain(|name, _| !name.starts_with("source"));
    assert_eq!(after, before, "{what}: the storage changed");
    assert!(!container.join(".import").exists(), "{what}: something was left behind");
    error
}

#[track_caller]
fn says(error: &str, words: &[&str]) {
    for word in words {
        assert!(error.contains(word), "{word:?} is not said in: {error}");
    }
}

fn file(content: Vec<u8>) -> impl FnOnce(&Path) -> PathBuf {
    move |path| {
        fs::write(path, content).expect("a file");
        path.to_owned()
    }
}

fn folder(files: Files) -> impl FnOnce(&Path) -> PathBuf {
    move |path| files.folder(path)
}

/// A layout with one image, its descriptor, and the name of its only layer's file.
fn layout() -> (Files, Value, String) {
    let mut files = Files::layout();
    let layer = noise(1, 10_000);
    let image = files.image("amd64", &[&layer]);
    files.top(std::slice::from_ref(&image));
    (files, image, blob_name(&digest(&layer)))
}

/// A layout whose image is this manifest.
fn of_manifest(media_type: &str, manifest: &Value) -> Files {
    let (mut files, ..) = layout();
    let image = files.blob(media_type, manifest.to_string().as_bytes());
    files.top(&[image]);
    files
}

fn tar_with(name: &str, set: impl FnOnce(&mut tar::Header)) -> Vec<u8> {
    let mut header = tar::Header::new_gnu();
    header.set_size(0);
    // Straight into the header, since the crate refuses to write such names.
    header.as_mut_bytes()[..name.len()].copy_from_slice(name.as_bytes());
    set(&mut header);
    header.set_cksum();
    let mut tar = tar::Builder::new(Vec::new());
    tar.append(&header, std::io::empty()).expect("an entry");
    tar.into_inner().expect("a tar")
}

#[test]
fn what_is_no_image_is_called_what_it_is() {
    let expected = "An OCI layout folder, or a tar archive";
    for (what, content, found) in [
        ("an empty file", Vec::new(), "it is empty"),
        ("a short file", b"hello".to_vec(), "5 bytes"),
        ("a text", b"hello ".repeat(1000), "does not begin with the header of a tar"),
        ("zstd", [&[0x28, 0xb5, 0x2f, 0xfd][..], &[0; 600]].concat(), "compressed with zstd"),
        ("xz", [&[0xfd, b'7', b'z', b'X', b'Z'][..], &[0; 600]].concat(), "compressed with xz"),
        ("bzip2", [&b"BZh9"[..], &[0; 600]].concat(), "compressed with bzip2"),
        ("an empty tar", vec![0; 1024], "without index.json and without manifest.json"),
        ("another tar", tar_with("etc/passwd", |_| {}), "without index.json and without manifest.json"),
    ] {
        says(&refused(what, file(content)), &[found, expected, "source"]);
    }
    says(&refused("an empty folder", |path| Files::default().folder(path)), &["cannot read", "source"]);
    says(&refused("a file that is not there", Path::to_owned), &["cannot read", "source", "No such file"]);
}

#[test]
fn an_archive_that_is_cut_off_or_damaged_says_where() {
    let (files, _, layer) = layout();
    let tar = files.tar();
    let cut = tar[..tar.len() / 2].to_vec();
    says(&refused("a cut tar", file(cut)), &["source", "the tar ends early", &layer, "10000 bytes"]);
    let packed = gzip(&tar);
    says(
        &refused("a cut gzip", file(packed[..packed.len() - 100].to_vec())),
        &["source", "gzip stream ends early"],
    );
    let mut damaged = packed.clone();
    let end = damaged.len();
    damaged[end - 8] ^= 1;
    says(&refused("a gzip with a wrong checksum", file(damaged)), &["source", "gzip stream is corrupt"]);
    let mut damaged = tar.clone();
    let second = 512 + 512 * files.0.values().next().expect("a file").len().div_ceil(512);
    damaged[second + 150] ^= 1;
    says(&refused("a damaged header", file(damaged)), &["source", "cannot be read to its end"]);
}

#[test]
fn an_archive_that_leads_out_of_itself_is_refused_whole() {
    for name in ["../x", "/etc/passwd", "a/../../x"] {
        says(&refused(name, file(tar_with(name, |_| {}))), &["source", name, "out of the archive"]);
    }
    let link = tar_with("a/layer.tar", |header| {
        header.set_entry_type(tar::EntryType::Symlink);
        header.set_link_name_literal("../../etc/shadow").expect("a name");
    });
    says(&refused("a link out", file(link)), &["a/layer.tar", "link leads", "out of the archive"]);
    let mut outside = Files::docker("app:v1", &[("l/layer.tar", b"x", b"x")]);
    let listed = String::from_utf8(outside.0["manifest.json"].clone()).expect("text");
    outside.put("manifest.json", listed.replace("l/layer.tar", "../secret").as_bytes());
    says(&refused("a name out of a folder", folder(outside)), &["../secret", "a path inside the source"]);
}

#[test]
fn content_that_is_not_what_its_digest_says_is_refused() {
    let (mut files, image, layer) = layout();
    files.put(&layer, &noise(2, 10_000));
    let error = refused("a spoilt layer", folder(files.clone()));
    says(&error, &["source", &layer, "is corrupt", &digest(&noise(1, 10_000)), &digest(&noise(2, 10_000))]);
    says(&refused("a spoilt layer in a tar", file(files.tar())), &[&layer, "is corrupt"]);
    files.put(&layer, &noise(1, 9_999));
    says(&refused("a short layer", folder(files)), &[&layer, "9999 bytes", "10000 are expected"]);

    let (mut files, ..) = layout();
    let name = blob_name(image["digest"].as_str().expect("a digest"));
    let spoilt = String::from_utf8(files.0[&name].clone()).expect("text").replace("schema", "scheme");
    files.put(&name, spoilt.as_bytes());
    says(&refused("a spoilt manifest", folder(files)), &[&name, "is corrupt"]);

    let mut files = Files::docker("app:v1", &[("l/layer.tar", &noise(1, 500), &noise(2, 500))]);
    says(&refused("a spoilt docker layer", folder(files.clone())), &["l/layer.tar", "is corrupt"]);
    files.put("l/layer.tar", &gzip(&noise(2, 500)));
    says(&refused("a spoilt packed layer", folder(files.clone())), &["l/layer.tar", "is corrupt"]);
    let packed = gzip(&noise(1, 500));
    files.put("l/layer.tar", &packed[..packed.len() - 9]);
    says(&refused("a cut packed layer", folder(files)), &["l/layer.tar", "gzip stream is corrupt"]);
}

#[test]
fn a_file_that_an_image_needs_is_named_with_what_needs_it() {
    let (files, image, layer) = layout();
    let manifest = blob_name(image["digest"].as_str().expect("a digest"));
    for (name, needed_by) in [
        ("oci-layout", "an OCI layout"),
        ("index.json", "the OCI layout"),
        (&manifest, "the image"),
        (&layer, &manifest),
    ] {
        let mut files = files.clone();
        files.0.remove(name);
        says(&refused(name, folder(files.clone())), &[name, "is missing", needed_by]);
        says(&refused(name, file(files.tar())), &[name, "is missing", needed_by]);
    }
    let mut files = Files::layout();
    let (amd, arm) = (files.image("amd64", &[b"1"]), files.image("arm64", &[b"2"]));
    let index = files.index(&[amd, arm]);
    files.top(&[index]);
    files.0.remove(&blob_name(&digest(b"1")));
    files.0.remove(&blob_name(&digest(b"2")));
    says(&refused("an index without any image", folder(files)), &[&blob_name(&digest(b"1")), "is missing"]);

    let mut files = Files::docker("app:v1", &[("l/layer.tar", b"x", b"x")]);
    files.0.remove("l/layer.tar");
    says(&refused("a docker layer", file(files.tar())), &["l/layer.tar is missing", "manifest.json"]);
}

#[test]
fn manifests_of_the_wrong_form_are_refused_with_the_form_expected() {
    let config = json!({"mediaType": CONFIG, "digest": digest(b"{}"), "size": 2});
    let of = |extra: Value| {
        let mut manifest = json!({"schemaVersion": 2, "config": config.clone(), "layers": []});
        manifest.as_object_mut().expect("an object").extend(extra.as_object().expect("an object").clone());
        manifest
    };
    let schema1 = "application/vnd.docker.distribution.manifest.v1+prettyjws";
    for (what, media_type, manifest, words) in [
        ("schema 1", schema1, json!({"schemaVersion": 1}), &["prettyjws", "is expected"][..]),
        ("a helm chart's type", "application/json", of(json!({})), &["application/json", "is expected"]),
        (
            "another version",
            MANIFEST,
            of(json!({"schemaVersion": 3})),
            &["schemaVersion is 3, 2 is expected"],
        ),
        ("another own type", MANIFEST, of(json!({"mediaType": INDEX})), &["calls itself", "referred to as"]),
        ("docker without a type", DOCKER_MANIFEST, of(json!({})), &["mediaType is missing"]),
        ("both kinds", MANIFEST, of(json!({"manifests": []})), &["no manifests"]),
        ("an index with layers", INDEX, of(json!({"manifests": []})), &["neither config nor layers"]),
        (
            "a digest of another form",
            MANIFEST,
            of(json!({"config": {"mediaType": CONFIG, "digest": "sha256:../../etc", "size": 2}})),
            &["sha256:../../etc", "64 hex characters"],
        ),
        (
            "a negative size",
            MANIFEST,
            of(json!({"config": {"mediaType": CONFIG, "digest": digest(b""), "size": -1}})),
            &["is not valid", "-1"],
        ),
    ] {
        says(
            &refused(what, folder(of_manifest(media_type, &manifest))),
            &[words, &["source/blobs/sha256/"]].concat(),
        );
    }
    let (mut files, ..) = layout();
    let big = files.blob(MANIFEST, &vec![b' '; (4 << 20) + 1]);
    files.top(&[big]);
    says(&refused("a manifest over 4 MiB", folder(files)), &["4194305 bytes", "at most 4194304"]);

    let mut files = Files::layout();
    let mut nested = files.image("amd64", &[b"1"]);
    for _ in 0..10 {
        nested = files.index(&[nested]);
    }
    files.top(&[nested]);
    says(&refused("deep nesting", folder(files)), &["nested more than 8 deep"]);
}

#[test]
fn layouts_and_docker_archives_of_the_wrong_form_are_refused() {
    for (name, content, words) in [
        (
            "oci-layout",
            r#"{"imageLayoutVersion":"2.0.0"}"#,
            &["oci-layout", "\"2.0.0\"", "1.0.0 is expected"][..],
        ),
        ("oci-layout", "no JSON", &["oci-layout", "is not valid"]),
        ("index.json", "{", &["index.json", "is not valid"]),
        ("index.json", r#"{"schemaVersion":2,"manifests":[]}"#, &["index.json", "lists no image"]),
    ] {
        let (mut files, ..) = layout();
        files.put(name, content.as_bytes());
        says(&refused(content, folder(files)), words);
    }
    for (name, content, words) in [
        ("manifest.json", "[]", &["manifest.json", "lists no image"][..]),
        ("manifest.json", "{}", &["manifest.json", "is not valid"]),
        ("manifest.json", r#"[{"Config":"c","Layers":[]}]"#, &["c is missing", "manifest.json"]),
        ("manifest.json", r#"[{"Config":"c.json","Layers":[]}]"#, &["c.json", "missing field"]),
        (
            "manifest.json",
            r#"[{"Config":"d.json","Layers":["l"]}]"#,
            &["lists 1 layers, the configuration 0"],
        ),
        ("manifest.json", r#"[{"Config":"e.json","Layers":["l"]}]"#, &["e.json", "diff_id \"md5:1\""]),
    ] {
        let mut files = Files::docker("app:v1", &[("l", b"x", b"x")]);
        files.put(name, content.as_bytes());
        files.put("c.json", b"{}");
        files.put("d.json", br#"{"rootfs":{"diff_ids":[]}}"#);
        files.put("e.json", br#"{"rootfs":{"diff_ids":["md5:1"]}}"#);
        says(&refused(content, folder(files)), words);
    }
}
