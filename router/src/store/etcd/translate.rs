//! Between our words and etcd's: keys below the prefix, compares, entries.

use std::sync::Arc;

use super::super::{Commit, Compare, Entry, Key, LeaseId, Revision, StoreError, StoreErrorKind, Write};
use super::EtcdOptionsError;
use super::messages::{
    Against, CompareMessage, DeleteRangeRequest, KeyValue, Operation, PutRequest, RequestOp, TxnRequest,
    relation, target,
};

/// How keys are named in the cluster.
#[derive(Clone, Debug)]
pub(super) struct Names {
    prefix: Arc<str>,
}

impl Names {
    pub(super) fn new(prefix: &str) -> Result<Self, EtcdOptionsError> {
        if prefix.len() < 3 || !prefix.starts_with('/') || !prefix.ends_with('/') {
            return Err(EtcdOptionsError::Prefix(prefix.to_owned()));
        }
        Ok(Self { prefix: prefix.into() })
    }

    pub(super) fn full(&self, key: &Key) -> Vec<u8> {
        [self.prefix.as_bytes(), key.as_str().as_bytes()].concat()
    }

    /// The first key below `prefix`, and the first after all of them.
    pub(super) fn range(&self, prefix: &str) -> (Vec<u8>, Vec<u8>) {
        let from = [self.prefix.as_bytes(), prefix.as_bytes()].concat();
        let mut to = from.clone();
        // UTF-8 has no byte 0xff, so the last byte can be counted up.
        if let Some(last) = to.last_mut() {
            *last += 1;
        }
        (from, to)
    }

    pub(super) fn key(&self, full: &[u8]) -> Result<Key, StoreError> {
        let below = full.strip_prefix(self.prefix.as_bytes());
        below.and_then(|key| str::from_utf8(key).ok()).map(Key::new).ok_or_else(|| {
            let why =
                format!("etcd has a key that is no text below {}: {}", self.prefix, full.escape_ascii());
            StoreError::new(StoreErrorKind::Corrupt, why)
        })
    }

    pub(super) fn entry(&self, found: &KeyValue) -> Result<Entry, StoreError> {
        Ok(Entry {
            key: self.key(&found.key)?,
            value: found.value.clone(),
            version: revision(found.mod_revision)?,
            lease: (found.lease != 0).then_some(LeaseId(found.lease.cast_unsigned())),
        })
    }

    pub(super) fn transaction(&self, commit: &Commit) -> TxnRequest {
        TxnRequest {
            compares: commit.compares.iter().map(|compare| self.compare(compare)).collect(),
            writes: commit.writes.iter().map(|write| self.operation(write)).collect(),
        }
    }

    fn compare(&self, compare: &Compare) -> CompareMessage {
        let key = self.full(compare.key());
        let (relation, target, against) = match compare {
            // To etcd a key that is not there has revision 0; to us it has none.
            Compare::Version { is: Revision(0), .. } => {
                (relation::LESS, target::CREATED, Against::Created(0))
            }
            Compare::Version { is, .. } => {
                (relation::EQUAL, target::MODIFIED, Against::Modified(signed(*is)))
            }
            Compare::Absent { .. } => (relation::EQUAL, target::CREATED, Against::Created(0)),
            Compare::Present { .. } => (relation::GREATER, target::CREATED, Against::Created(0)),
        };
        CompareMessage { relation, target, key, against: Some(against) }
    }

    fn operation(&self, write: &Write) -> RequestOp {
        let key = self.full(write.key());
        let operation = match write {
            Write::Put { value, lease, .. } => {
                let lease = lease.map_or(0, |lease| lease.0.cast_signed());
                Operation::Put(PutRequest { key, value: value.clone(), lease })
            }
            Write::Delete { .. } => Operation::Delete(DeleteRangeRequest { key }),
        };
        RequestOp { operation: Some(operation) }
    }
}

/// etcd's revision as ours.
pub(super) fn revision(found: i64) -> Result<Revision, StoreError> {
    u64::try_from(found).map(Revision).map_err(|_| {
        StoreError::new(StoreErrorKind::Corrupt, format!("etcd says that a revision is {found}"))
    })
}

/// Our revision as etcd's.
pub(super) fn signed(revision: Revision) -> i64 {
    i64::try_from(revision.0).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_is_apart_from_every_other() {
        for bad in ["", "/", "//x", "a/", "/a"] {
            let fine = Names::new(bad);
            assert_eq!(fine.is_ok(), bad == "//x/", "{bad}");
        }
        let names = Names::new("/dataproxy/v1/").unwrap();
        assert_eq!(names.full(&Key::new("a")), b"/dataproxy/v1/a");
        assert_eq!(names.range(""), (b"/dataproxy/v1/".to_vec(), b"/dataproxy/v10".to_vec()));
        assert_eq!(names.range("a/é").1.last(), Some(&0xaa));
        assert_eq!(names.key(b"/dataproxy/v1/a/b").unwrap(), Key::new("a/b"));
        for foreign in [&b"/dataproxy/v2/a"[..], b"/dataproxy/v1/\xff"] {
            assert_eq!(names.key(foreign).unwrap_err().kind, StoreErrorKind::Corrupt);
        }
    }
}
