//! How a client reaches a registry, and what it has to be told for that.

use std::path::{Path, PathBuf};

/// A way to a registry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Access {
    /// By the address in the image's name, over plain HTTP.
    Plain,
    /// By the host in the image's name, over TLS.
    Tls {
        /// A folder that holds nothing but the certificate of the authority to trust, `ca.crt`.
        authority: PathBuf,
    },
    /// By a mirror of the image's host, over plain HTTP; the host itself is not there. podman and skopeo know it from
    /// [`registries_conf`].
    Mirror {
        /// The mirror's URL.
        url: String,
    },
}

impl Access {
    /// The options of podman (`prefix` empty) and skopeo (`src-`) for it.
    pub fn options(&self, prefix: &str) -> Vec<String> {
        match self {
            Self::Plain => vec![format!("--{prefix}tls-verify=false")],
            Self::Tls { authority } => vec![format!("--{prefix}cert-dir={}", authority.display())],
            Self::Mirror { .. } => Vec::new(),
        }
    }
}

/// Writes a `registries.conf` that sends pulls from each host to its mirror (`ADDRESS/PATH`, plain HTTP).
///
/// # Panics
/// If it cannot be written.
pub fn registries_conf(file: &Path, mirrors: &[(String, String)]) {
    let mirrors = mirrors.iter().map(|(host, mirror)| {
        format!(
            "[[registry]]\nprefix = \"{host}\"\nlocation = \"{host}\"\n\
             [[registry.mirror]]\nlocation = \"{mirror}\"\ninsecure = true\n"
        )
    });
    std::fs::write(file, mirrors.collect::<String>()).expect("a file can be written");
}
