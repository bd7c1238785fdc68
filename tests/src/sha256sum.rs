//! Digests by `sha256sum` and `sha512sum`: the judge of content is not code of ours.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::run::must_run;

const LIMIT: Duration = Duration::from_secs(120);

/// The digest of a file, as `sha256:HEX`.
///
/// # Panics
/// If the file cannot be read.
pub async fn of_file(path: &Path) -> String {
    by(path, "sha256").await
}

/// The digest of a file by `sha256` or `sha512`, as `ALGORITHM:HEX`.
///
/// # Panics
/// If the file cannot be read.
pub async fn by(path: &Path, algorithm: &str) -> String {
    let ran = must_run(&format!("{algorithm}sum"), &["--".as_ref(), path.as_os_str()], LIMIT).await;
    let hex = ran.stdout.split_whitespace().next().unwrap_or_default().trim_start_matches('\\');
    format!("{algorithm}:{hex}")
}

/// Hashes every file of a folder whose name is 64 or 128 hex characters (sha256, sha512), and finds each to be what its name says.
/// Gives digest and size in bytes of each.
///
/// # Panics
/// If one is not, or if there are none.
pub async fn check_named_by_digest(folder: &Path) -> BTreeMap<String, u64> {
    let files: Vec<PathBuf> = std::fs::read_dir(folder)
        .unwrap_or_else(|error| panic!("{}: {error}", folder.display()))
        .map(|entry| entry.expect("the folder can be read").path())
        .filter(|path| named(path).is_some())
        .collect();
    assert!(!files.is_empty(), "{} holds no blob", folder.display());
    let mut checked = BTreeMap::new();
    for path in files {
        let size = path.metadata().expect("the blob is there").len();
        let (algorithm, hex) = named(&path).expect("it was filtered");
        let expected = format!("{algorithm}:{hex}");
        assert_eq!(by(&path, algorithm).await, expected, "{} is not what its name says", path.display());
        checked.insert(expected, size);
    }
    checked
}

/// Hashes every blob in the content store of a containerd whose root is `root`; gives digests and sizes in bytes.
///
/// # Panics
/// If one is not what its name says, or there are none.
pub async fn check_content(root: &Path) -> BTreeMap<String, u64> {
    let blobs = root.join("io.containerd.content.v1.content/blobs");
    let mut checked = BTreeMap::new();
    for algorithm in ["sha256", "sha512"].map(|name| blobs.join(name)) {
        if algorithm.exists() {
            checked.extend(check_named_by_digest(&algorithm).await);
        }
    }
    checked
}

/// The digest that a file's name says, in its two parts.
fn named(path: &Path) -> Option<(&'static str, &str)> {
    let name = path.file_name()?.to_str()?;
    let hex = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
    let algorithm = match name.len() {
        64 => "sha256",
        128 => "sha512",
        _ => return None,
    };
    name.bytes().all(hex).then_some((algorithm, name))
}
