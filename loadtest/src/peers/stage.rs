//! What all servers share: the content that they serve, in each one's form, and a certificate.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::PeersError;
use crate::seed::{Blob, Content, SeedError, Seeded, Wanted};

/// The registry that is served.
pub(super) const REGISTRY: &str = "lab";
/// Its one repository.
pub(super) const REPOSITORY: &str = "x";

/// How much content there is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Amount {
    /// Large blobs.
    pub large: usize,
    /// Bytes of each.
    pub large_size: u64,
    /// Small blobs.
    pub small: usize,
    /// Bytes of each.
    pub small_size: u64,
}

impl Default for Amount {
    fn default() -> Self {
        Self { large: 16, large_size: 64 << 20, small: 64, small_size: 16 << 10 }
    }
}

/// A folder with all of it:
///
/// ```text
/// accounts/lab/lab/   content in the distribution's layout: a local account of dataproxy, a root directory of docker-registry
/// www/                the same for a file server
/// tls/                cert.pem, key.pem
/// <server>/           its configuration, log and cache
/// ```
#[derive(Clone, Debug)]
pub(super) struct Stage {
    folder: PathBuf,
}

/// The blobs, by size.
#[derive(Clone, Debug)]
pub(super) struct Blobs {
    pub(super) large: Vec<Blob>,
    pub(super) small: Vec<Blob>,
}

impl Stage {
    pub(super) fn at(folder: &Path) -> Self {
        Self { folder: folder.to_owned() }
    }

    /// Writes the content and a certificate; what is there from an earlier run is used again.
    ///
    /// # Errors
    /// If the content cannot be written.
    pub(super) fn set(&self, amount: &Amount, progress: &mut dyn FnMut(u64)) -> Result<Blobs, PeersError> {
        let sizes = std::iter::repeat_n(amount.large_size, amount.large)
            .chain(std::iter::repeat_n(amount.small_size, amount.small));
        let image =
            Wanted { repository: REPOSITORY.to_owned(), tag: "v1".to_owned(), layers: sizes.collect() };
        let content = Content { registry: REGISTRY.to_owned(), seed: 1, images: vec![image] };
        let written = content.write(&self.account(), Some(&self.www()), false, progress);
        let seeded = written.map_err(|error| match error {
            SeedError::NotEmpty(path) => PeersError::OtherContent(path),
            other => PeersError::Content(other),
        })?;
        self.certify().map_err(|error| PeersError::Certificate(error.to_string()))?;
        Ok(blobs(&seeded, amount))
    }

    fn certify(&self) -> Result<(), Box<dyn std::error::Error>> {
        let folder = self.tls_folder();
        fs::create_dir_all(&folder)?;
        let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned(), "127.0.0.1".to_owned()])?;
        fs::write(self.certificate(), made.cert.pem())?;
        private(&self.key(), made.signing_key.serialize_pem().as_bytes())?;
        Ok(())
    }

    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    /// The folder of the account, whose containers are registries.
    pub(super) fn account(&self) -> PathBuf {
        self.folder.join("accounts/lab")
    }

    pub(super) fn container(&self) -> PathBuf {
        self.account().join(REGISTRY)
    }

    pub(super) fn www(&self) -> PathBuf {
        self.folder.join("www")
    }

    pub(super) fn tls_folder(&self) -> PathBuf {
        self.folder.join("tls")
    }

    pub(super) fn certificate(&self) -> PathBuf {
        self.tls_folder().join("cert.pem")
    }

    pub(super) fn key(&self) -> PathBuf {
        self.tls_folder().join("key.pem")
    }
}

fn blobs(seeded: &Seeded, amount: &Amount) -> Blobs {
    let mut large: Vec<Blob> = seeded.images.iter().flat_map(|image| image.layers.clone()).collect();
    let small = large.split_off(amount.large.min(large.len()));
    Blobs { large, small }
}

/// A file that its owner alone may read.
fn private(path: &Path, content: &[u8]) -> io::Result<()> {
    use std::io::Write;
    use std::os::unix::fs::OpenOptionsExt;
    let mut options = fs::OpenOptions::new();
    options.write(true).create(true).truncate(true).mode(0o600);
    options.open(path)?.write_all(content)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_is_used_again_and_other_content_is_not_mixed_with_it() {
        let dir = tempfile::TempDir::new().expect("a folder");
        let stage = Stage::at(dir.path());
        let amount = Amount { large: 2, large_size: 8192, small: 3, small_size: 2048 };
        let blobs = stage.set(&amount, &mut |_| {}).expect("written");
        assert!(blobs.large.len() == 2 && blobs.large.iter().all(|blob| blob.size == 8192));
        assert!(blobs.small.len() == 3 && blobs.small.iter().all(|blob| blob.size == 2048));
        let again = stage.set(&amount, &mut |_| {}).expect("there already");
        assert_eq!(again.large, blobs.large);
        let more = Amount { large: 3, ..amount };
        let error = stage.set(&more, &mut |_| {}).map(drop).expect_err("other content").to_string();
        assert!(error.contains("--folder"), "{error}");
    }

    #[test]
    fn a_private_key_is_for_its_owner_alone() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::TempDir::new().expect("a folder");
        let stage = Stage::at(dir.path());
        stage.certify().expect("written");
        let mode = fs::metadata(stage.key()).expect("there").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }
}
