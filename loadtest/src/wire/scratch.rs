//! The buffers of a pulling thread: one to read into, one that is never touched.

use std::cell::RefCell;

/// What one read of a body takes at most. Fits a core's second-level cache, so that hashing reads from there.
pub(crate) const READ_BYTES: usize = 256 * 1024;

/// What one call drops at most.
pub(crate) const DROP_BYTES: usize = 16 * 1024 * 1024;

/// Shared by all connections of a puller, so that a connection costs no buffer. Borrowed only inside one poll.
pub(crate) struct Scratch {
    /// Bytes are read to here, and are used up before the poll ends.
    pub(super) read: RefCell<Box<[u8]>>,
    /// What `MSG_TRUNC` is given: the kernel drops the bytes and writes nothing, so these pages never exist.
    pub(super) untouched: RefCell<Box<[u8]>>,
}

impl Scratch {
    pub(crate) fn new() -> Self {
        Self {
            read: RefCell::new(vec![0; READ_BYTES].into_boxed_slice()),
            untouched: RefCell::new(vec![0; DROP_BYTES].into_boxed_slice()),
        }
    }
}
