//! What is written, and what must hold for it.

use std::borrow::Borrow;
use std::collections::HashSet;
use std::fmt;
use std::sync::Arc;

use bytes::Bytes;

use super::{LeaseId, Revision, StoreError, StoreErrorKind};

/// Most bytes of a key.
pub const MAX_KEY_BYTES: usize = 512;
/// Most bytes of the keys and values of one commit. etcd refuses requests over 1.5 MiB.
pub const MAX_COMMIT_BYTES: usize = 1024 * 1024;
/// Most compares of one commit, and most writes. etcd refuses more than 128 of either.
pub const MAX_OPERATIONS: usize = 120;

/// A key: text, `/`-separated by custom, such as `registries/contoso`. Ordered by its bytes.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key(Arc<str>);

impl Key {
    /// A key of this text. One that no store can hold, empty or too long, is refused with the commit.
    pub fn new(text: impl Into<Arc<str>>) -> Self {
        Self(text.into())
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

// Hash and order are those of the text.
impl Borrow<str> for Key {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What must hold for a commit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Compare {
    /// The key was written last by the commit of this revision.
    Version {
        /// The key.
        key: Key,
        /// The [`Entry::version`](super::Entry::version) that it must have.
        is: Revision,
    },
    /// The key is not there.
    Absent {
        /// The key.
        key: Key,
    },
    /// The key is there, with any version.
    Present {
        /// The key.
        key: Key,
    },
}

impl Compare {
    /// The key.
    pub fn key(&self) -> &Key {
        match self {
            Self::Version { key, .. } | Self::Absent { key } | Self::Present { key } => key,
        }
    }
}

/// One write of a commit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Write {
    /// Gives the key this value, and this lease or none.
    Put {
        /// The key.
        key: Key,
        /// Its value.
        value: Bytes,
        /// The lease that it is to end with.
        lease: Option<LeaseId>,
    },
    /// Deletes the key. One that is not there changes nothing.
    Delete {
        /// The key.
        key: Key,
    },
}

impl Write {
    /// The key.
    pub fn key(&self) -> &Key {
        match self {
            Self::Put { key, .. } | Self::Delete { key } => key,
        }
    }
}

/// Writes that are made together if every compare holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Commit {
    /// What must hold.
    pub compares: Vec<Compare>,
    /// What is written then; each key once.
    pub writes: Vec<Write>,
}

impl Commit {
    /// A commit of nothing, which always holds.
    pub fn new() -> Self {
        Self::default()
    }

    /// If the key has this version.
    #[must_use]
    pub fn if_version(mut self, key: Key, is: Revision) -> Self {
        self.compares.push(Compare::Version { key, is });
        self
    }

    /// If the key is not there.
    #[must_use]
    pub fn if_absent(mut self, key: Key) -> Self {
        self.compares.push(Compare::Absent { key });
        self
    }

    /// If the key is there.
    #[must_use]
    pub fn if_present(mut self, key: Key) -> Self {
        self.compares.push(Compare::Present { key });
        self
    }

    /// Then gives the key this value.
    #[must_use]
    pub fn put(mut self, key: Key, value: impl Into<Bytes>) -> Self {
        self.writes.push(Write::Put { key, value: value.into(), lease: None });
        self
    }

    /// Then gives the key this value until the lease ends.
    #[must_use]
    pub fn put_leased(mut self, key: Key, value: impl Into<Bytes>, lease: LeaseId) -> Self {
        self.writes.push(Write::Put { key, value: value.into(), lease: Some(lease) });
        self
    }

    /// Then deletes the key.
    #[must_use]
    pub fn delete(mut self, key: Key) -> Self {
        self.writes.push(Write::Delete { key });
        self
    }

    /// Checks what every store refuses, so that all refuse it alike.
    ///
    /// # Errors
    /// [`StoreErrorKind::Invalid`], with what would be right.
    pub fn check(&self) -> Result<(), StoreError> {
        let invalid = |why: String| Err(StoreError::new(StoreErrorKind::Invalid, why));
        for (what, count) in [("compares", self.compares.len()), ("writes", self.writes.len())] {
            if count > MAX_OPERATIONS {
                return invalid(format!(
                    "{count} {what} in one commit; at most {MAX_OPERATIONS} are allowed"
                ));
            }
        }
        let keys = self.compares.iter().map(Compare::key).chain(self.writes.iter().map(Write::key));
        for key in keys {
            if !(1..=MAX_KEY_BYTES).contains(&key.as_str().len()) {
                let short: String = key.as_str().chars().take(80).collect();
                return invalid(format!("the key {short:?} must have 1 to {MAX_KEY_BYTES} bytes"));
            }
        }
        let mut written = HashSet::new();
        if let Some(twice) = self.writes.iter().find(|write| !written.insert(write.key())) {
            return invalid(format!("{} is written twice; a commit writes a key once", twice.key()));
        }
        let bytes: usize = self.writes.iter().map(write_bytes).sum();
        if bytes > MAX_COMMIT_BYTES {
            return invalid(format!("{bytes} bytes in one commit; at most {MAX_COMMIT_BYTES} are allowed"));
        }
        Ok(())
    }
}

fn write_bytes(write: &Write) -> usize {
    let value = match write {
        Write::Put { value, .. } => value.len(),
        Write::Delete { .. } => 0,
    };
    write.key().as_str().len() + value
}
