//! Everything that an image consists of, found and checked before anything is written.

use std::collections::{HashMap, HashSet};

use dataproxy_cache::Digest;

use crate::manifest::{MANIFEST_LIMIT_BYTES, Parsed, parse};
use crate::media::{Kind, may_lie_elsewhere};
use crate::source::Source;
use crate::{Descriptor, ImportError};

/// Deepest nesting of indexes. Two is unusual; the limit only keeps a hostile source from exhausting the stack.
const DEPTH_LIMIT: usize = 8;

/// A part of a multi-platform image that the source does not carry: that platform cannot be pulled.
///
/// Build tools write such sparse layouts on purpose, so this is reported rather than refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeftOut {
    /// The manifest that was left out.
    pub digest: Digest,
    /// Its platform, if the index states one.
    pub platform: Option<String>,
    /// The file that the source lacks.
    pub missing: String,
}

/// The parts of one image.
#[derive(Debug, Default)]
pub(crate) struct Tree {
    /// Manifests and indexes with their content, each after all that it refers to.
    pub(crate) manifests: Vec<(Descriptor, Vec<u8>)>,
    /// Configurations and layers, each once.
    pub(crate) blobs: Vec<Descriptor>,
    pub(crate) left_out: Vec<LeftOut>,
    seen_blobs: HashSet<Digest>,
    /// Also those that are not carried, so that a hostile index cannot have one walked again and again.
    seen_manifests: HashMap<Digest, Carried>,
}

/// Whether a manifest and all below it is there.
#[derive(Clone, Debug)]
enum Carried {
    Whole,
    /// This file is not there; this refers to it.
    Lacks {
        file: String,
        needed_by: String,
    },
}

impl Tree {
    /// Reads the image that the source was opened for.
    pub(crate) fn read(source: &Source) -> Result<Self, ImportError> {
        let mut tree = Self::default();
        match tree.manifest(source, source.root(), "the image", 0)? {
            Carried::Whole => Ok(tree),
            Carried::Lacks { file, needed_by } => Err(ImportError::Missing { file, needed_by }),
        }
    }

    fn manifest(
        &mut self,
        source: &Source,
        descriptor: &Descriptor,
        parent: &str,
        depth: usize,
    ) -> Result<Carried, ImportError> {
        let file = source.label(&descriptor.digest);
        if Kind::of(&descriptor.media_type).is_none() {
            return Err(ImportError::MediaType { file, found: descriptor.media_type.clone() });
        }
        if let Some(carried) = self.seen_manifests.get(&descriptor.digest) {
            return Ok(carried.clone());
        }
        let Some(content) = read_manifest(source, descriptor)? else {
            return Ok(Carried::Lacks { file, needed_by: parent.to_owned() });
        };
        let carried = match parse(&file, &descriptor.media_type, &content)? {
            Parsed::Image(parts) => self.image(source, &parts, &file)?,
            Parsed::Index(children) if depth < DEPTH_LIMIT => self.index(source, &children, &file, depth)?,
            Parsed::Index(_) => {
                let problem = format!("indexes are nested more than {DEPTH_LIMIT} deep");
                return Err(ImportError::malformed(file, problem));
            }
        };
        if matches!(carried, Carried::Whole) {
            self.manifests.push((descriptor.clone(), content));
        }
        self.seen_manifests.insert(descriptor.digest.clone(), carried.clone());
        Ok(carried)
    }

    /// An image is there only if all its parts are.
    fn image(&mut self, source: &Source, parts: &[Descriptor], file: &str) -> Result<Carried, ImportError> {
        let mut found = Vec::new();
        for part in parts {
            match source.find(&part.digest)? {
                Some(there) if there.size != part.size => {
                    let (expected, found) = (part.size, there.size);
                    return Err(ImportError::SizeMismatch { file: there.file, expected, found });
                }
                Some(_) => found.push(part),
                None if may_lie_elsewhere(&part.media_type) && !part.urls.is_empty() => {}
                None => {
                    let file_missing = source.label(&part.digest);
                    return Ok(Carried::Lacks { file: file_missing, needed_by: file.to_owned() });
                }
            }
        }
        for part in found {
            if self.seen_blobs.insert(part.digest.clone()) {
                self.blobs.push(part.clone());
            }
        }
        Ok(Carried::Whole)
    }

    /// An index is there if at least one of its children is; the others are noted.
    fn index(
        &mut self,
        source: &Source,
        children: &[Descriptor],
        file: &str,
        depth: usize,
    ) -> Result<Carried, ImportError> {
        let mut first_lack = None;
        let mut whole = children.is_empty();
        for child in children {
            match self.manifest(source, child, file, depth + 1)? {
                Carried::Whole => whole = true,
                Carried::Lacks { file, needed_by } => {
                    self.left_out.push(LeftOut {
                        digest: child.digest.clone(),
                        platform: child.platform.as_ref().map(ToString::to_string),
                        missing: file.clone(),
                    });
                    first_lack.get_or_insert(Carried::Lacks { file, needed_by });
                }
            }
        }
        Ok(first_lack.filter(|_| !whole).unwrap_or(Carried::Whole))
    }
}

/// A manifest's content, checked against its descriptor; `None` if the source does not carry it.
fn read_manifest(source: &Source, descriptor: &Descriptor) -> Result<Option<Vec<u8>>, ImportError> {
    let Some(found) = source.find(&descriptor.digest)? else { return Ok(None) };
    let (file, expected) = (found.file.clone(), descriptor.size);
    if found.size != expected {
        return Err(ImportError::SizeMismatch { file, expected, found: found.size });
    }
    let content = found.read_all(MANIFEST_LIMIT_BYTES)?;
    let digest = Digest::of(descriptor.digest.algorithm(), &content);
    if digest != descriptor.digest {
        return Err(ImportError::mismatch(file, descriptor.digest.clone(), digest));
    }
    Ok(Some(content))
}
