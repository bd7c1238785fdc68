//! Names and bytes on disk.
//!
//! ```text
//! <dir>/lock                                            held by the one process that uses the folder
//! <dir>/v1/<scope>/<algorithm>/<2 hex>/<hex>.<id>.data  the blob's bytes at their offsets, sparse
//! <dir>/v1/<scope>/<algorithm>/<2 hex>/<hex>.<id>.meta  what the data file holds, written after it
//! <dir>/v1/<scope>/<algorithm>/<2 hex>/<hex>.<id>.temp  a meta file being written
//! ```
//!
//! `<scope>` is a hash, as a scope's name may be anything; the name stands in the meta file. `<id>` differs for
//! every instance of a blob, so removing an old one can never hit a newer one. A meta file is a line of JSON, the
//! bitmap of blocks on disk, a CRC-32C for each of them (for every block of a verified blob), and a CRC-32C of all
//! that. The layout's version is the folder `v1`: folders of other versions are removed at start, as a cache is
//! only ever a copy.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::block::{Bitmap, Blocks};
use crate::{Algorithm, BlobKey, Digest, ETag, Scope};

/// The layout's version: the number in its folder and in each meta file.
pub(crate) const VERSION: u32 = 1;

/// Where things lie.
#[derive(Clone, Debug)]
pub(crate) struct Layout {
    root: PathBuf,
}

impl Layout {
    pub(crate) fn new(root: &Path) -> Self {
        Self { root: root.to_owned() }
    }

    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    pub(crate) fn lock(&self) -> PathBuf {
        self.root.join("lock")
    }

    /// The folder of this version.
    pub(crate) fn tree(&self) -> PathBuf {
        self.root.join(format!("v{VERSION}"))
    }

    /// The folder of a blob's files.
    pub(crate) fn folder(&self, key: &BlobKey) -> PathBuf {
        let hex = key.digest.hex();
        let prefix = hex.get(..2).unwrap_or_default();
        self.scope(&key.scope).join(key.digest.algorithm().name()).join(prefix)
    }

    /// The folder of a scope.
    pub(crate) fn scope(&self, scope: &Scope) -> PathBuf {
        self.tree().join(scope_folder(scope))
    }

    pub(crate) fn data(&self, key: &BlobKey, id: u64) -> PathBuf {
        self.file(key, id, "data")
    }

    pub(crate) fn meta(&self, key: &BlobKey, id: u64) -> PathBuf {
        self.file(key, id, "meta")
    }

    pub(crate) fn temp(&self, key: &BlobKey, id: u64) -> PathBuf {
        self.file(key, id, "temp")
    }

    fn file(&self, key: &BlobKey, id: u64, kind: &str) -> PathBuf {
        self.folder(key).join(format!("{}.{id:016x}.{kind}", key.digest.hex()))
    }
}

/// A scope's folder: 128 bits of a hash of its name.
fn scope_folder(scope: &Scope) -> String {
    let mut hex = Digest::of(Algorithm::Sha256, scope.as_str().as_bytes()).hex();
    hex.truncate(32);
    hex
}

/// What a meta file says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Meta {
    pub(crate) key: BlobKey,
    pub(crate) id: u64,
    pub(crate) etag: ETag,
    pub(crate) blocks: Blocks,
    /// Whether the digest agreed.
    pub(crate) verified: bool,
    pub(crate) on_disk: Bitmap,
    /// Checksums: of every block if verified, else of those on disk, in order.
    pub(crate) sums: Vec<u32>,
}

#[derive(Serialize, Deserialize)]
struct Header {
    version: u32,
    scope: String,
    digest: String,
    id: u64,
    size: u64,
    etag: String,
    block_bytes: u64,
    complete: bool,
}

/// Why a meta file is of no use. Its blob is then fetched again.
#[derive(Debug, thiserror::Error)]
pub(crate) enum MetaError {
    #[error("the meta file is cut short or damaged")]
    Damaged,
    #[error("the meta file has version {0}, this is {VERSION}")]
    Version(u32),
    #[error("the meta file's blocks have {found} bytes, not {expected}")]
    BlockSize { found: u64, expected: u64 },
}

impl Meta {
    /// The file's bytes.
    ///
    /// # Errors
    /// What the JSON writer says; it has no reason to.
    pub(crate) fn encode(&self) -> Result<Vec<u8>, serde_json::Error> {
        let mut bytes = serde_json::to_vec(&Header {
            version: VERSION,
            scope: self.key.scope.as_str().into(),
            digest: self.key.digest.to_string(),
            id: self.id,
            size: self.blocks.size(),
            etag: self.etag.as_str().into(),
            block_bytes: self.blocks.block_bytes(),
            complete: self.verified && self.on_disk.is_full(),
        })?;
        bytes.push(b'\n');
        bytes.push(u8::from(self.verified));
        bytes.extend(self.on_disk.to_bytes());
        bytes.extend(self.sums.iter().flat_map(|sum| sum.to_le_bytes()));
        bytes.extend(crc32c::crc32c(&bytes).to_le_bytes());
        Ok(bytes)
    }

    /// Reads a file's bytes.
    ///
    /// # Errors
    /// [`MetaError`]
    pub(crate) fn decode(bytes: &[u8], block_bytes: u64) -> Result<Self, MetaError> {
        let (body, sum) = bytes.split_last_chunk::<4>().ok_or(MetaError::Damaged)?;
        if crc32c::crc32c(body) != u32::from_le_bytes(*sum) {
            return Err(MetaError::Damaged);
        }
        let line = body.iter().position(|byte| *byte == b'\n').ok_or(MetaError::Damaged)?;
        let (header, rest) = body.split_at(line);
        let header: Header = serde_json::from_slice(header).map_err(|_| MetaError::Damaged)?;
        if header.version != VERSION {
            return Err(MetaError::Version(header.version));
        }
        if header.block_bytes != block_bytes {
            return Err(MetaError::BlockSize { found: header.block_bytes, expected: block_bytes });
        }
        let digest = header.digest.parse().map_err(|_| MetaError::Damaged)?;
        let blocks = Blocks::new(header.size, block_bytes).ok_or(MetaError::Damaged)?;
        let [_, verified, rest @ ..] = rest else { return Err(MetaError::Damaged) };
        let verified = *verified != 0;
        let words = blocks.count().div_ceil(64) as usize * 8;
        let (map, sums) = rest.split_at_checked(words).ok_or(MetaError::Damaged)?;
        let on_disk = Bitmap::from_bytes(blocks.count(), map).ok_or(MetaError::Damaged)?;
        let expected = if verified { blocks.count() } else { on_disk.count() };
        let (sums, tail) = sums.as_chunks::<4>();
        if sums.len() != expected as usize || !tail.is_empty() {
            return Err(MetaError::Damaged);
        }
        Ok(Self {
            key: BlobKey { scope: Scope::new(&header.scope), digest },
            id: header.id,
            etag: ETag::new(header.etag),
            blocks,
            verified,
            on_disk,
            sums: sums.iter().map(|sum| u32::from_le_bytes(*sum)).collect(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn meta(verified: bool) -> Meta {
        let mut on_disk = Bitmap::empty(3);
        on_disk.set(1);
        Meta {
            key: BlobKey { scope: Scope::new("../\"\n"), digest: Digest::of(Algorithm::Sha512, b"x") },
            id: 7,
            etag: ETag::new("\"0x8D\""),
            blocks: Blocks::new(10_000, 4096).expect("few"),
            verified,
            on_disk,
            sums: if verified { vec![1, 2, 3] } else { vec![2] },
        }
    }

    #[test]
    fn a_meta_file_reads_back_as_written() {
        for meta in [meta(true), meta(false)] {
            let bytes = meta.encode().expect("plain");
            assert_eq!(Meta::decode(&bytes, 4096).expect("whole"), meta);
        }
    }

    #[test]
    fn a_damaged_meta_file_is_refused_wherever_the_damage_is() {
        let bytes = meta(true).encode().expect("plain");
        for at in 0..bytes.len() {
            let mut spoilt = bytes.clone();
            spoilt[at] ^= 1;
            assert!(Meta::decode(&spoilt, 4096).is_err(), "bit flipped in byte {at}");
            assert!(Meta::decode(&bytes[..at], 4096).is_err(), "cut at byte {at}");
        }
        assert!(matches!(
            Meta::decode(&bytes, 8192),
            Err(MetaError::BlockSize { found: 4096, expected: 8192 })
        ));
    }

    #[test]
    fn no_scope_escapes_its_folder() {
        let layout = Layout::new(Path::new("/cache"));
        for scope in ["../..", "/etc", "", "a/b", "\0"] {
            let digest = Digest::of(Algorithm::Sha256, b"x");
            let path = layout.data(&BlobKey { scope: Scope::new(scope), digest }, 1);
            let parts: Vec<_> = path.strip_prefix("/cache/v1").expect("inside").components().collect();
            assert_eq!(parts.len(), 4, "{path:?}");
            assert!(parts.iter().all(|part| matches!(part, std::path::Component::Normal(_))), "{path:?}");
        }
    }
}
