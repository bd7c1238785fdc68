//! A fill: one task that brings a blob from its origin for everybody who reads it now.
//!
//! It belongs to no reader. Readers say what they want and take what has come; whoever leaves, the rest goes on.
//!
//! ```text
//!            Opening ──answer──▶ Filling ──all blocks, digest agrees──▶ Complete
//!               │                   ├──nobody wants more──────────────▶ Partial    blocks and map stay
//!               │                   ├──process ends───────────────────▶ Abandoned
//!               └──────error────────┴──tries used up──────────────────▶ Failed     the next read starts a new fill
//!                                   └──wrong content, changed, refused▶ GaveUp     so would the next one end
//! ```

mod ahead;
mod books;
mod ending;
mod engine;
mod jobs;
mod lingering;
mod opening;
mod place;
mod plan;
mod saving;
mod supply;
mod window;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::Waker;

use tokio::sync::{Notify, watch};

pub(crate) use ahead::AheadMark;
pub(crate) use books::{Fills, Joined};
pub(crate) use engine::start;
pub(crate) use place::{Attachment, Opener, Take};
pub(crate) use plan::{Demand, Reach};

use crate::blob::Blob;
use crate::sync::lock;
use crate::{BlobKey, Bypass, CacheError, Wanted};
use plan::{Reader, Wait};
use window::Window;

/// Where a fill stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum FillStatus {
    /// The first request is out: size and version are not known yet.
    Opening,
    /// Blocks come.
    Filling,
    /// Every block came and the digest agreed.
    Complete,
    /// Nobody wanted more. What came stays.
    Partial,
    /// A passing error outlasted the tries; the next read starts a new fill.
    Failed,
    /// An error that another fill would meet too.
    GaveUp,
    /// The process, or the cache, was closed.
    Abandoned,
}

impl FillStatus {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Opening => "opening",
            Self::Filling => "filling",
            Self::Complete => "complete",
            Self::Partial => "partial",
            Self::Failed => "failed",
            Self::GaveUp => "gave_up",
            Self::Abandoned => "abandoned",
        }
    }

    pub(crate) fn has_ended(self) -> bool {
        !matches!(self, Self::Opening | Self::Filling)
    }

    fn of_error(error: &CacheError) -> Self {
        match error {
            CacheError::Abandoned => Self::Abandoned,
            error if error.is_transient() => Self::Failed,
            _ => Self::GaveUp,
        }
    }
}

/// How a read came to its fill.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// It started the fill.
    Leading,
    /// It joined one.
    Following,
}

/// A fill as its readers and its task share it.
#[derive(Debug)]
pub(crate) struct Fill {
    pub(crate) key: BlobKey,
    /// What the first request is for, where no size is known yet.
    pub(crate) first: Wanted,
    state: Mutex<State>,
    /// Pokes the task: somebody came, left, waits or came a block further.
    wake: Notify,
    opened: watch::Sender<Option<Result<Arc<Blob>, CacheError>>>,
}

#[derive(Debug)]
struct State {
    status: FillStatus,
    blob: Option<Arc<Blob>>,
    window: Option<Window>,
    readers: BTreeMap<u64, Reader>,
    next_reader: u64,
    /// Reads that wait for the size, or have it and did not yet say what they want.
    openers: usize,
    /// The origin has answered a request of this fill.
    answered: bool,
    /// Why blocks are not kept on disk, if they are not.
    bypass: Option<Bypass>,
    /// What is on disk cannot be had: all that is wanted is fetched.
    without_disk: bool,
    /// Somebody read to the end: the rest is worth having.
    goal_whole: bool,
    /// Those who have it fetched ahead of readers.
    ahead: usize,
    /// Taken out of the books while running: serves its readers and publishes nothing.
    detached: bool,
    error: Option<CacheError>,
}

impl State {
    /// Readers that have not taken their last byte.
    fn has_readers(&self) -> bool {
        self.readers.values().any(|reader| !reader.is_done())
    }

    /// Whether a reader has all but its last block and waits for the digest to agree.
    fn awaits_verdict(&self) -> bool {
        self.readers.values().any(|reader| reader.wait == Some(Wait::Verdict))
    }

    /// Turns away from the disk: what is there may be sound and stays.
    fn leave_disk(&mut self) {
        self.without_disk = true;
        self.bypass.get_or_insert(Bypass::DiskError);
    }

    fn wakers(&mut self, which: impl Fn(&Reader) -> bool) -> Vec<Waker> {
        self.readers
            .values_mut()
            .filter(|reader| which(reader))
            .filter_map(|reader| reader.waker.take())
            .collect()
    }
}

fn wake_all(wakers: Vec<Waker>) {
    wakers.into_iter().for_each(Waker::wake);
}

impl Fill {
    /// A fill that has yet to learn what it fetches.
    fn cold(key: &BlobKey, first: Wanted) -> Self {
        Self::new(key.clone(), first, None, None)
    }

    /// A fill of a blob that is known.
    fn of(blob: &Arc<Blob>, bypass: Option<Bypass>) -> Self {
        Self::new(blob.key.clone(), Wanted::Whole, Some(Arc::clone(blob)), bypass)
    }

    fn new(key: BlobKey, first: Wanted, blob: Option<Arc<Blob>>, bypass: Option<Bypass>) -> Self {
        let state = State {
            status: if blob.is_some() { FillStatus::Filling } else { FillStatus::Opening },
            window: blob.as_ref().map(|blob| Window::new(blob.blocks)),
            blob: blob.clone(),
            readers: BTreeMap::new(),
            next_reader: 0,
            openers: 0,
            answered: false,
            bypass,
            without_disk: false,
            goal_whole: false,
            ahead: 0,
            detached: false,
            error: None,
        };
        let opened = watch::Sender::new(blob.map(Ok));
        Self { key, first, state: Mutex::new(state), wake: Notify::new(), opened }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    /// Pokes the task.
    pub(crate) fn poke(&self) {
        self.wake.notify_one();
    }

    /// A fill of one reader's own that publishes nothing: the disk fails, and the blob on it may be sound.
    pub(crate) fn aside(blob: &Arc<Blob>) -> Arc<Self> {
        let fill = Self::of(blob, Some(Bypass::DiskError));
        fill.detach();
        fill.leave_disk();
        Arc::new(fill)
    }

    /// Lets it serve its readers and publish nothing, as its content was purged.
    fn detach(&self) {
        self.state().detached = true;
    }

    /// Lets it fetch what is on disk too, as that cannot be had, and keep nothing there.
    fn leave_disk(&self) {
        self.state().leave_disk();
    }

    /// The blob it fills, once that is known.
    pub(crate) fn blob(&self) -> Option<Arc<Blob>> {
        self.state().blob.clone()
    }

    /// Comes in before the size is known. `None` if the fill is over.
    pub(crate) fn enter(self: &Arc<Self>, role: Role) -> Option<Opener> {
        let mut state = self.state();
        if state.status.has_ended() {
            return None;
        }
        state.openers += 1;
        drop(state);
        Some(Opener { fill: Arc::clone(self), role })
    }

    /// Comes in with a demand. `None` if the fill is over.
    pub(crate) fn attach(self: &Arc<Self>, demand: Demand, role: Role) -> Option<Attachment> {
        let mut state = self.state();
        if state.status.has_ended() {
            return None;
        }
        Some(self.attach_to(&mut state, demand, role))
    }

    fn attach_to(self: &Arc<Self>, state: &mut State, demand: Demand, role: Role) -> Attachment {
        let id = state.next_reader;
        state.next_reader += 1;
        state.readers.insert(id, Reader::new(demand));
        self.poke();
        Attachment { fill: Arc::clone(self), id, role }
    }
}
