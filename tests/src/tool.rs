//! Tools that `tests/install` puts into a folder of their own, as Debian does not carry them.

use std::path::{Path, PathBuf};

/// The file of a tool.
///
/// # Panics
/// If it is not there.
pub fn path(file: &str) -> PathBuf {
    let cache = std::env::var_os("DATAPROXY_TESTS_CACHE");
    let cache = cache.map_or_else(|| Path::new("/var/cache/dataproxy-tests").to_owned(), PathBuf::from);
    let path = cache.join(file);
    assert!(path.exists(), "{} is missing; `tests/install clients` brings it", path.display());
    path
}
