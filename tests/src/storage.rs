//! Writes a registry's content into a folder, in the layout of CNCF distribution, as a push would leave it.

use std::path::{Path, PathBuf};

use crate::image::Image;
use crate::sha256sum;

/// The folder of one registry's content.
#[derive(Clone, Debug)]
pub struct Container {
    dir: PathBuf,
}

impl Container {
    /// The content in this folder, which is made if absent.
    ///
    /// # Panics
    /// If it cannot be made.
    pub fn new(dir: PathBuf) -> Self {
        std::fs::create_dir_all(&dir).expect("a folder can be made");
        Self { dir }
    }

    /// The folder, the root directory of a `docker-registry`.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Puts every part of an image there, under a repository and a tag.
    ///
    /// # Panics
    /// If a file cannot be written.
    pub fn put_image(&self, image: &Image, repository: &str, tag: &str) {
        for digest in image.blobs.keys() {
            self.link_data(digest, &image.blob_path(digest));
            self.write_link(&format!("{repository}/_layers"), digest);
        }
        for digest in image.manifests.keys() {
            self.link_data(digest, &image.blob_path(digest));
            self.write_link(&format!("{repository}/_manifests/revisions"), digest);
        }
        self.put_tag(repository, tag, &image.digest);
    }

    /// Puts a blob there that a repository owns, and gives its digest. The file is moved or linked.
    ///
    /// # Panics
    /// If it cannot be written.
    pub async fn put_blob(&self, repository: &str, file: &Path) -> String {
        let digest = sha256sum::of_file(file).await;
        self.link_data(&digest, file);
        self.write_link(&format!("{repository}/_layers"), &digest);
        digest
    }

    /// Says that a repository owns a blob, whether that is there or not.
    ///
    /// # Panics
    /// If the file cannot be written.
    pub fn own_blob(&self, repository: &str, digest: &str) {
        self.write_link(&format!("{repository}/_layers"), digest);
    }

    /// Puts a manifest of these bytes there, under a tag, and gives its digest.
    ///
    /// # Panics
    /// If it cannot be written.
    pub async fn put_manifest(&self, repository: &str, tag: &str, bytes: &[u8]) -> String {
        let file = self.dir.join("manifest.new");
        std::fs::write(&file, bytes).expect("a file can be written");
        let digest = sha256sum::of_file(&file).await;
        self.link_data(&digest, &file);
        std::fs::remove_file(&file).expect("a file can be removed");
        self.write_link(&format!("{repository}/_manifests/revisions"), &digest);
        self.put_tag(repository, tag, &digest);
        digest
    }

    /// Makes a tag name a digest.
    ///
    /// # Panics
    /// If the file cannot be written.
    pub fn put_tag(&self, repository: &str, tag: &str, digest: &str) {
        let folder = self.repository(&format!("{repository}/_manifests/tags/{tag}/current"));
        std::fs::create_dir_all(&folder).expect("a folder can be made");
        std::fs::write(folder.join("link"), digest).expect("a file can be written");
    }

    /// Where a blob's bytes lie.
    pub fn data(&self, digest: &str) -> PathBuf {
        let (algorithm, hex) = digest.split_once(':').expect("a digest has an algorithm");
        self.dir.join("docker/registry/v2/blobs").join(algorithm).join(&hex[..2]).join(hex).join("data")
    }

    fn link_data(&self, digest: &str, from: &Path) {
        let data = self.data(digest);
        std::fs::create_dir_all(data.parent().expect("a blob lies in a folder"))
            .expect("a folder can be made");
        // A link where it can be, as layers are large; both places may already be one file.
        if !data.exists() && std::fs::hard_link(from, &data).is_err() {
            std::fs::copy(from, &data).expect("a file can be copied");
        }
    }

    fn write_link(&self, below: &str, digest: &str) {
        let folder = self.repository(below).join(digest.replace(':', "/"));
        std::fs::create_dir_all(&folder).expect("a folder can be made");
        std::fs::write(folder.join("link"), digest).expect("a file can be written");
    }

    fn repository(&self, below: &str) -> PathBuf {
        self.dir.join("docker/registry/v2/repositories").join(below)
    }
}
