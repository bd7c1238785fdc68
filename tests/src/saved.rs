//! Archives that `docker save` and `podman save` write.

use std::path::{Path, PathBuf};
use std::time::Duration;

use tempfile::TempDir;

use crate::run::must_run;
use crate::sha256sum;

const LIMIT: Duration = Duration::from_secs(150);

/// Hashes the file of every layer with `sha256sum`, in order. What it finds are diff ids where the client kept tars,
/// and digests of blobs where it kept what it had pulled.
///
/// # Panics
/// If the archive is not one.
pub async fn layers(archive: &Path) -> Vec<String> {
    let beside = archive.parent().expect("an archive lies in a folder");
    let out = TempDir::with_prefix_in("unpacked.", beside).expect("a folder can be made");
    let (from, to) = (archive.as_os_str(), out.path().as_os_str());
    must_run("tar", &["-xf".as_ref(), from, "-C".as_ref(), to], LIMIT).await;
    let manifest = std::fs::read(out.path().join("manifest.json")).expect("an archive has a manifest");
    let manifest: serde_json::Value = serde_json::from_slice(&manifest).expect("it is JSON");
    let mut digests = Vec::new();
    for layer in manifest[0]["Layers"].as_array().expect("it lists layers") {
        let path: PathBuf = out.path().join(layer.as_str().expect("a layer is a path"));
        digests.push(sha256sum::of_file(&path).await);
    }
    digests
}
