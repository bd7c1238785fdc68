//! `skopeo`, which keeps what it pulls as files named by digest.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use crate::run::{Failed, Ran};
use crate::sha256sum;
use crate::system::System;

const LIMIT: Duration = Duration::from_secs(150);

/// Runs `skopeo copy`, with the options given before the two ends.
///
/// # Errors
/// [`Failed`] if it does not succeed within 150 s.
pub async fn copy(options: &[&str], from: &str, to: &str) -> Result<Ran, Failed> {
    copy_on(&System::machine(), options, from, to).await
}

/// As [`copy`], of the program that lies in `system`.
///
/// # Errors
/// [`Failed`] if it does not succeed within 150 s.
pub async fn copy_on(system: &System, options: &[&str], from: &str, to: &str) -> Result<Ran, Failed> {
    let mut args = vec!["--insecure-policy", "copy", "--quiet"];
    args.extend_from_slice(options);
    args.extend_from_slice(&[from, to]);
    system.run("/usr/bin/skopeo", &args, LIMIT).await
}

/// Pulls over plain HTTP into a folder, every platform, and hashes every file with `sha256sum`; gives digests and
/// sizes in bytes of config and layers, and the time of the pull alone.
///
/// # Panics
/// If the pull fails or a blob is not what its name says.
pub async fn pull(image: &str, folder: &Path) -> (BTreeMap<String, u64>, Duration) {
    pull_with(&["--src-tls-verify=false"], image, folder).await
}

/// As [`pull`], with other options for the source.
///
/// # Panics
/// As [`pull`].
pub async fn pull_with(options: &[&str], image: &str, folder: &Path) -> (BTreeMap<String, u64>, Duration) {
    let mut all = vec!["--all"];
    all.extend_from_slice(options);
    let to = format!("dir:{}", folder.display());
    let copied = copy(&all, &format!("docker://{image}"), &to).await;
    let took = copied.unwrap_or_else(|failed| panic!("{failed}")).took;
    (sha256sum::check_named_by_digest(folder).await, took)
}

/// Puts an image of an OCI layout folder into a registry over plain HTTP, every platform, bytes as they are.
///
/// # Panics
/// If that fails.
pub async fn push(layout: &Path, tag: &str, image: &str) -> Ran {
    let from = format!("oci:{}:{tag}", layout.display());
    let options = ["--all", "--preserve-digests", "--dest-tls-verify=false"];
    copy(&options, &from, &format!("docker://{image}")).await.unwrap_or_else(|failed| panic!("{failed}"))
}
