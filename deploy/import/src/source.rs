//! Where an image comes from: a folder or an archive, in OCI's or in docker's form.

mod archive;
mod docker;
mod files;
mod layout;

use std::collections::HashMap;
use std::io::{Cursor, Read};
use std::path::Path;

use dataproxy_cache::Digest;

pub(crate) use files::Found;
use files::{Files, kind_of};

use crate::{Change, Descriptor, ImportError, Progress};

/// An image that can be read blob by blob.
#[derive(Debug)]
pub(crate) struct Source {
    files: Files,
    root: Descriptor,
    /// Blobs that lie elsewhere than in an OCI layout.
    elsewhere: HashMap<Digest, Place>,
}

/// Where a blob of a docker archive lies.
#[derive(Debug)]
enum Place {
    /// In the file of this name.
    File(String),
    /// Here; it was made while the archive was read.
    Made(Vec<u8>),
}

impl Source {
    /// Opens the source and settles on one image in it. A compressed archive is unpacked next to what `change`
    /// stages, since its parts are needed in another order than they come.
    pub(crate) fn open(
        path: &Path,
        image: Option<&str>,
        change: &Change,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<Self, ImportError> {
        let files = Files::open(path, &change.scratch(), progress)?;
        if files.find("oci-layout")?.is_some() || files.find("index.json")?.is_some() {
            let root = layout::choose(&files, image)?;
            return Ok(Self { files, root, elsewhere: HashMap::new() });
        }
        if files.find("manifest.json")?.is_some() {
            let (root, elsewhere) = docker::convert(&files, image)?;
            return Ok(Self { files, root, elsewhere });
        }
        Err(ImportError::NotAnImage {
            file: path.display().to_string(),
            found: format!("{} without index.json and without manifest.json", kind_of(&files)),
        })
    }

    /// The manifest or index that the import is about.
    pub(crate) fn root(&self) -> &Descriptor {
        &self.root
    }

    /// The content of this digest, if the source carries it. Not yet verified.
    pub(crate) fn find(&self, digest: &Digest) -> Result<Option<Found>, ImportError> {
        match self.elsewhere.get(digest) {
            None => self.files.find(&layout::blob(digest)),
            Some(Place::File(name)) => self.files.find(name),
            Some(Place::Made(content)) => {
                let size = content.len() as u64;
                let content: Box<dyn Read> = Box::new(Cursor::new(content.clone()));
                Ok(Some(Found { file: self.label(digest), size, content }))
            }
        }
    }

    /// The content of this digest, which was there a moment ago.
    pub(crate) fn require(&self, digest: &Digest) -> Result<Found, ImportError> {
        self.find(digest)?.ok_or_else(|| ImportError::Missing {
            file: self.label(digest),
            needed_by: format!("the image {}", self.root.digest),
        })
    }

    /// The name of the file that holds or would hold this digest, for messages.
    pub(crate) fn label(&self, digest: &Digest) -> String {
        match self.elsewhere.get(digest) {
            Some(Place::File(name)) => self.files.label(name),
            Some(Place::Made(_)) => format!("the manifest made of {}", self.files.label("manifest.json")),
            None => self.files.label(&layout::blob(digest)),
        }
    }
}
