//! Digests by `sha256sum`: the judge of content is not code of ours.

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
    let ran = must_run("sha256sum", &["--".as_ref(), path.as_os_str()], LIMIT).await;
    let hex = ran.stdout.split_whitespace().next().unwrap_or_default().trim_start_matches('\\');
    format!("sha256:{hex}")
}

/// Hashes every file of a folder whose name is 64 hex characters, and finds each to be what its name says.
/// Gives digest and size in bytes of each.
///
/// # Panics
/// If one is not, or if there are none.
pub async fn check_named_by_digest(folder: &Path) -> BTreeMap<String, u64> {
    let named: Vec<PathBuf> = std::fs::read_dir(folder)
        .unwrap_or_else(|error| panic!("{}: {error}", folder.display()))
        .map(|entry| entry.expect("the folder can be read").path())
        .filter(|path| hex_name(path).is_some())
        .collect();
    assert!(!named.is_empty(), "{} holds no blob", folder.display());
    let mut checked = BTreeMap::new();
    for path in named {
        let size = path.metadata().expect("the blob is there").len();
        let expected = format!("sha256:{}", hex_name(&path).unwrap_or_default());
        assert_eq!(of_file(&path).await, expected, "{} is not what its name says", path.display());
        checked.insert(expected, size);
    }
    checked
}

fn hex_name(path: &Path) -> Option<&str> {
    let name = path.file_name()?.to_str()?;
    let hex = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
    (name.len() == 64 && name.bytes().all(hex)).then_some(name)
}
