//! A layer: a tar of one file, of an exact size, whose bytes follow from its seed.

use std::io::{self, Read};

use rand::rngs::Xoshiro256PlusPlus;
use rand::{Rng, SeedableRng};
use sha2::{Digest, Sha256};

const BLOCK: u64 = 512;

/// Random bytes of `seed` and a path of names, independent of those of any other path. xoshiro256++ is the same in every
/// version and on every machine.
pub(super) fn random(seed: u64, path: &[&str]) -> Xoshiro256PlusPlus {
    let mut hash = Sha256::new();
    hash.update(seed.to_le_bytes());
    for name in path {
        // Its length before it, so that no two paths run together to the same bytes.
        hash.update((name.len() as u64).to_le_bytes());
        hash.update(name.as_bytes());
    }
    Xoshiro256PlusPlus::from_seed(hash.finalize().into())
}

/// The bytes of a layer, read once from its begin to its end.
pub(super) struct Layer {
    header: io::Cursor<Vec<u8>>,
    /// Random bytes still to come, whole tar blocks.
    content: u64,
    /// Zeros after them: at least the two blocks that end a tar.
    padding: u64,
    random: Xoshiro256PlusPlus,
}

impl Layer {
    /// Of exactly `size` bytes, at least [`super::SMALLEST`].
    pub(super) fn new(name: &str, size: u64, random: Xoshiro256PlusPlus) -> Self {
        let content = (size.saturating_sub(3 * BLOCK)) / BLOCK * BLOCK;
        let mut header = tar::Header::new_ustar();
        // Fits: a few digits.
        let _ = header.set_path(format!("seed-{name}"));
        header.set_size(content);
        header.set_mode(0o644);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(0);
        header.set_entry_type(tar::EntryType::Regular);
        header.set_cksum();
        let padding = size.saturating_sub(BLOCK + content);
        Self { header: io::Cursor::new(header.as_bytes().to_vec()), content, padding, random }
    }
}

impl Read for Layer {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let from_header = self.header.read(buffer)?;
        if from_header > 0 {
            return Ok(from_header);
        }
        let left = if self.content > 0 { &mut self.content } else { &mut self.padding };
        // Whole words of 8 bytes, so that the bytes do not depend on how they are read: content is a multiple of 512.
        let most = usize::try_from(*left).unwrap_or(usize::MAX).min(buffer.len());
        let random = self.content > 0;
        let count = if random && most >= 8 { most / 8 * 8 } else { most };
        let Some(part) = buffer.get_mut(..count) else { return Ok(0) };
        if !random {
            part.fill(0);
            self.padding -= count as u64;
        } else if count >= 8 {
            self.random.fill_bytes(part);
            self.content -= count as u64;
        } else if count > 0 {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "a layer is read at least 8 bytes at a time",
            ));
        }
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::super::SMALLEST;
    use super::*;

    fn bytes(size: u64, piece: usize) -> Vec<u8> {
        let mut layer = Layer::new("0", size, random(7, &["contoso", "app", "0"]));
        let (mut all, mut buffer) = (Vec::new(), vec![1; piece]);
        loop {
            match layer.read(&mut buffer).expect("endless memory") {
                0 => return all,
                count => all.extend_from_slice(&buffer[..count]),
            }
        }
    }

    #[test]
    fn a_layer_is_a_tar_of_exactly_the_size_that_was_asked_for() {
        for size in [SMALLEST, SMALLEST + 1, 16 << 10, (1 << 20) + 511] {
            let layer = bytes(size, 4096);
            assert_eq!(layer.len() as u64, size);
            let mut archive = tar::Archive::new(layer.as_slice());
            let mut entries = archive.entries().expect("a tar");
            let mut file = entries.next().expect("a file").expect("valid");
            assert_eq!(file.path().expect("a name").to_str(), Some("seed-0"));
            let mut content = Vec::new();
            file.read_to_end(&mut content).expect("whole");
            assert!(content.len() as u64 > size - 2048 && content.len() as u64 == file.size());
            assert!(entries.next().is_none(), "and nothing else");
        }
    }

    #[test]
    fn the_bytes_do_not_depend_on_how_they_are_read_and_do_on_the_seed_and_every_name() {
        let whole = bytes(20_000, 1 << 20);
        for piece in [8, 9, 1000, 4096] {
            assert_eq!(bytes(20_000, piece), whole, "{piece} at a time");
        }
        let first = |seed, path: &[&str]| random(seed, path).next_u64();
        let all = [
            first(7, &["contoso", "app", "0"]),
            first(8, &["contoso", "app", "0"]),
            first(7, &["fabrikam", "app", "0"]),
            first(7, &["contoso", "app0"]),
            first(7, &["contoso", "ap", "p0"]),
            first(7, &["contoso", "app", "1"]),
        ];
        let different: std::collections::BTreeSet<_> = all.into_iter().collect();
        assert_eq!(different.len(), all.len());
    }

    #[test]
    fn content_is_the_same_in_every_version() {
        let digest = super::super::record::hex(&Sha256::digest(bytes(16 << 10, 4096)));
        assert_eq!(digest, "b589e747b026e5e55df2f31e0927b2d86cc9eb141a4640526f368319d9ab6a34");
    }
}
