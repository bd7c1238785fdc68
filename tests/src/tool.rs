//! Tools that `tests/install` puts below the target folder, as Debian does not carry them.

use std::path::{Path, PathBuf};

/// The file of a tool.
///
/// # Panics
/// If it is not there.
pub fn path(file: &str) -> PathBuf {
    let default = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target");
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or(default, PathBuf::from);
    let path = target.join("test-tools").join(file);
    assert!(path.exists(), "{} is missing; `tests/install clients` brings it", path.display());
    path
}
