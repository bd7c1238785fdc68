//! A read's place in a fill: first as one who waits for the size, then as one who takes bytes.

use std::collections::VecDeque;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;

use super::plan::{Demand, Reach, Wait};
use super::{Fill, FillStatus, Role};
use crate::blob::Blob;
use crate::{Bypass, CacheError};

/// What a reader finds at its position.
#[derive(Debug)]
pub(crate) enum Take {
    /// Bytes were added to its queue.
    Taken,
    /// The block is on disk.
    OnDisk,
    /// Nothing yet; it will be woken.
    Wait,
    /// The fill is over and does not have it.
    Ended,
    /// The fill is over and so is the read.
    Failed(CacheError),
}

/// A read that waits for a fill to open. Dropping it takes it out.
#[derive(Debug)]
pub(crate) struct Opener {
    pub(super) fill: Arc<Fill>,
    pub(crate) role: Role,
}

impl Opener {
    /// Waits until the size is known.
    ///
    /// # Errors
    /// Why it will not be.
    pub(crate) async fn opened(&self) -> Result<Arc<Blob>, CacheError> {
        let mut changes = self.fill.opened.subscribe();
        match changes.wait_for(Option::is_some).await {
            Ok(opened) => opened.clone().unwrap_or(Err(CacheError::Abandoned)),
            Err(_) => Err(CacheError::Abandoned),
        }
    }

    /// Why what comes is not kept on disk, if so.
    pub(crate) fn bypass(&self) -> Option<Bypass> {
        self.fill.state().bypass
    }

    /// Says what it wants. `None` if the fill is over: what it brought is in the tiers.
    pub(crate) fn attach(self, demand: Demand) -> Option<Attachment> {
        let mut state = self.fill.state();
        if state.status.has_ended() {
            return None;
        }
        Some(self.fill.attach_to(&mut state, demand, self.role))
    }
}

impl Drop for Opener {
    fn drop(&mut self) {
        self.fill.state().openers -= 1;
        self.fill.poke();
    }
}

/// A reader's place in a fill. Dropping it takes the reader out.
#[derive(Debug)]
pub(crate) struct Attachment {
    pub(super) fill: Arc<Fill>,
    pub(super) id: u64,
    pub(crate) role: Role,
}

impl Attachment {
    /// Why what comes is not kept on disk, if so.
    pub(crate) fn bypass(&self) -> Option<Bypass> {
        self.fill.state().bypass
    }

    /// Takes what is in memory at the reader's position, at most so many bytes. Without anything to take, and with a fill that goes on,
    /// the reader is woken when that may have changed.
    pub(crate) fn take(
        &self,
        blob: &Blob,
        queue: &mut VecDeque<Bytes>,
        most_bytes: u64,
        context: &Context<'_>,
    ) -> Take {
        let mut guard = self.fill.state();
        let state = &mut *guard;
        if let Some(error) = blob.condemned() {
            return Take::Failed(error.clone());
        }
        let Some(reader) = state.readers.get_mut(&self.id) else { return Take::Ended };
        let block = blob.blocks.of(reader.position);
        let held_back = reader.demand.verified && Some(block) == blob.blocks.last();
        let window = state.window.as_ref();
        let ready = !held_back || blob.verified();
        if ready
            && let Some(window) = window
            && (!held_back || window.is_checked(block))
        {
            let end = reader.demand.range.end.min(reader.position.saturating_add(most_bytes));
            let pieces = window.read(reader.position, end);
            let length: u64 = pieces.iter().map(|piece| piece.len() as u64).sum();
            if length > 0 {
                queue.extend(pieces);
                reader.advance(length);
                let moved = reader.is_done() || blob.blocks.of(reader.position) != block;
                drop(guard);
                if moved {
                    self.fill.poke();
                }
                return Take::Taken;
            }
        }
        if ready && !state.without_disk && blob.has(block) {
            return Take::OnDisk;
        }
        if state.status.has_ended() {
            return state.error.clone().map_or(Take::Ended, Take::Failed);
        }
        let wait = if ready { Wait::Bytes } else { Wait::Verdict };
        // Woken and back with nothing: what came may have been let go since, so the task must look again.
        let woken = reader.waker.replace(context.waker().clone()).is_none();
        let first = reader.wait.replace(wait) != Some(wait) || woken;
        drop(guard);
        if first {
            self.fill.poke();
        }
        Take::Wait
    }

    /// Notes bytes that the reader got elsewhere.
    pub(crate) fn advance(&self, length: u64) {
        if let Some(reader) = self.fill.state().readers.get_mut(&self.id) {
            reader.advance(length);
        }
        self.fill.poke();
    }

    /// Turns the fill away from the disk, which does not give this read what it has. All who read the blob now stay in
    /// one fill, where each for itself would cost the origin the rest of the blob.
    pub(crate) fn leave_disk(&self) {
        self.fill.leave_disk();
        self.fill.poke();
    }

    /// Ready once the fill is over; whether it ended with a whole, verified blob.
    pub(crate) fn poll_ended(&self, context: &Context<'_>) -> Poll<Result<bool, CacheError>> {
        let mut state = self.fill.state();
        if let Some(error) = &state.error {
            return Poll::Ready(Err(error.clone()));
        }
        if state.status.has_ended() {
            return Poll::Ready(Ok(state.status == FillStatus::Complete));
        }
        if let Some(reader) = state.readers.get_mut(&self.id) {
            reader.waker = Some(context.waker().clone());
        }
        Poll::Pending
    }

    /// Ready once the origin has answered this fill, or the fill is over.
    pub(crate) fn poll_answered(&self, context: &Context<'_>) -> Poll<Result<(), CacheError>> {
        let mut state = self.fill.state();
        if let Some(error) = &state.error {
            return Poll::Ready(Err(error.clone()));
        }
        if state.answered || state.status.has_ended() {
            return Poll::Ready(Ok(()));
        }
        if let Some(reader) = state.readers.get_mut(&self.id) {
            reader.waker = Some(context.waker().clone());
        }
        Poll::Pending
    }
}

impl Drop for Attachment {
    fn drop(&mut self) {
        let mut state = self.fill.state();
        let left = state.readers.remove(&self.id);
        // One who came for the whole blob, or took an open range to its end, shows that the rest is worth having.
        state.goal_whole |= left.is_some_and(|reader| match reader.demand.reach {
            Reach::Whole => true,
            Reach::Open => reader.is_done(),
            Reach::Bounded => false,
        });
        drop(state);
        self.fill.poke();
    }
}
