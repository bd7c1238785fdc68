//! The digest of a blob whose blocks come in any order: a running hash of what is there from the start on.

use bytes::Bytes;

use crate::{Digest, Hasher, Mismatch};

/// The hash of a blob's first blocks.
#[derive(Clone, Debug)]
pub(crate) struct Prefix {
    hasher: Box<Hasher>,
    next: u32,
}

impl Prefix {
    /// Of no blocks yet.
    pub(crate) fn new(expected: &Digest) -> Self {
        Self { hasher: Box::new(Hasher::new(expected.algorithm())), next: 0 }
    }

    /// The first block that is not hashed.
    pub(crate) fn next(&self) -> u32 {
        self.next
    }

    /// Hashes the next block, given in pieces. Costs about 0.5 ms a MiB: not for a thread that serves.
    pub(crate) fn push(&mut self, pieces: &[Bytes]) {
        for piece in pieces {
            self.hasher.update(piece);
        }
        self.next += 1;
    }

    /// Compares the hash of everything pushed.
    ///
    /// # Errors
    /// [`Mismatch`], with both digests.
    pub(crate) fn finish(self, expected: &Digest) -> Result<(), Box<Mismatch>> {
        let found = self.hasher.finish();
        if found == *expected {
            Ok(())
        } else {
            Err(Box::new(Mismatch { expected: expected.clone(), found }))
        }
    }
}
