//! Who takes an answer.

use super::Head;

/// What is done with the bytes of a body.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Intake {
    /// Nobody looks at them: over plain HTTP they never leave the kernel.
    Drop,
    /// They are shown.
    Show,
}

/// Takes one answer while it arrives.
pub(crate) trait Taker {
    /// The request is about to be sent, for the first time or anew, now with a token.
    fn begin(&mut self) {}

    /// The final head came (interim ones are not shown).
    fn head(&mut self, head: &Head<'_>) -> Intake;

    /// `count` bytes of the body came; `bytes` holds them unless they were dropped.
    fn body(&mut self, count: u64, bytes: Option<&[u8]>);

    /// How many bytes more are wanted. At 0 the connection is hung up, unless the body ends there.
    fn wanted(&self) -> u64 {
        u64::MAX
    }
}
