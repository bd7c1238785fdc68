//! How far a long step has come.

/// What is being done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Another import works on the same container.
    Waiting,
    /// A compressed archive is unpacked; counted in compressed bytes.
    Unpacking,
    /// Blobs are copied and verified.
    Copying,
}

/// How far a step has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// The step.
    pub step: Step,
    /// Bytes done.
    pub done: u64,
    /// Bytes to do.
    pub total: u64,
}

impl Progress {
    pub(crate) fn waiting() -> Self {
        Self { step: Step::Waiting, done: 0, total: 0 }
    }

    pub(crate) fn unpacking(done: u64, total: u64) -> Self {
        Self { step: Step::Unpacking, done: done.min(total), total }
    }

    pub(crate) fn copying(done: u64, total: u64) -> Self {
        Self { step: Step::Copying, done: done.min(total), total }
    }
}
