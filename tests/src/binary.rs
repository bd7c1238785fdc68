//! The project's own binaries, as the build made them.

use std::path::PathBuf;
use std::time::Duration;

use crate::run::must_run;

/// The path of a binary. `tests/run` has built it and says where; without that, it is built now.
///
/// # Panics
/// If it cannot be built.
pub async fn path(name: &str) -> PathBuf {
    if let Some(dir) = std::env::var_os("DATAPROXY_TEST_BINARIES") {
        return PathBuf::from(dir).join(name);
    }
    let manifest = concat!(env!("CARGO_MANIFEST_DIR"), "/../Cargo.toml");
    let args = ["build", "--quiet", "--locked", "--manifest-path", manifest, "--workspace", "--bin", name];
    must_run(env!("CARGO"), &args, Duration::from_secs(600)).await;
    // This test lies in target/debug/deps.
    let mut dir = std::env::current_exe().expect("a test knows where it lies");
    dir.pop();
    dir.pop();
    dir.join(name)
}
