//! Bytes that stand in for bytes of a file: a body gives them to hyper, and the connection below hyper sends what they
//! stand for from the file itself.
//!
//! hyper takes a body as memory, and passes that memory to the connection untouched, in order. So the body gives it a
//! part of one region that is as long as the piece of the file. The region is a mapping of nothing: it can be read and is
//! all zeros, takes no memory, and nobody reads it. The connection knows by the address which bytes they stand for.

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use bytes::Bytes;
use dataproxy_cache::FilePiece;
use memmap2::MmapMut;
use tokio::time::Instant;

/// Size of the region: two of the largest pieces, so that those which follow each other differ in their addresses.
const REGION_BYTES: usize = 32 << 20;
/// The largest piece.
const PIECE_MAX: usize = 16 << 20;

/// The region; `None` if the system has no addresses for it.
fn region() -> Option<&'static Bytes> {
    static REGION: OnceLock<Option<Bytes>> = OnceLock::new();
    let map = || MmapMut::map_anon(REGION_BYTES).and_then(MmapMut::make_read_only).ok();
    REGION.get_or_init(|| map().map(Bytes::from_owner)).as_ref()
}

/// What is on its way on one connection: its bodies put it in, its socket takes it out. Found in the extensions of a
/// request whose connection can send from files.
#[derive(Clone)]
pub(crate) struct StandIns {
    region: &'static Bytes,
    most: usize,
    queue: Arc<Mutex<Queue>>,
}

#[derive(Default)]
struct Queue {
    pieces: VecDeque<Pending>,
    /// Where in the region the next piece begins.
    next: usize,
    /// Whether the body that gave the last piece has another one at once.
    goes_on: bool,
}

/// A piece, and what of it is left to be sent.
struct Pending {
    piece: Arc<FilePiece>,
    /// Where in the region what is left begins.
    at: usize,
    left: usize,
    /// When what is left was last known to be in the page cache.
    seen: Instant,
}

impl StandIns {
    /// For one connection that sends at most about `most` bytes at a time; `None` if the system has no addresses for it.
    pub(crate) fn new(most: usize) -> Option<Self> {
        Some(Self { region: region()?, most: most.min(PIECE_MAX), queue: Arc::default() })
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        // Every change is made whole.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The most bytes of one piece.
    pub(crate) fn most(&self) -> u64 {
        self.most as u64
    }

    /// Bytes that stand in for a piece, which goes out after those of earlier ones. `goes_on` is whether its body is to
    /// give another one. `None` if the piece is too long.
    pub(crate) fn put(&self, piece: FilePiece, goes_on: bool) -> Option<Bytes> {
        let length = piece.length();
        if length > PIECE_MAX {
            return None;
        }
        let mut queue = self.queue();
        let at = if length > self.region.len() - queue.next { 0 } else { queue.next };
        queue.next = at + length;
        queue.goes_on = goes_on;
        queue.pieces.push_back(Pending { piece: Arc::new(piece), at, left: length, seen: Instant::now() });
        Some(self.region.slice(at..at + length))
    }

    /// The body that gave the last piece has to wait for its next one.
    pub(crate) fn pause(&self) {
        self.queue().goes_on = false;
    }

    /// Whether nothing is on its way and nothing is about to be.
    pub(crate) fn is_idle(&self) -> bool {
        let queue = self.queue();
        queue.pieces.is_empty() && !queue.goes_on
    }

    /// Whether a slice stands in for something.
    pub(crate) fn holds(&self, slice: &[u8]) -> bool {
        self.place(slice).is_some()
    }

    /// Where in the region a slice begins.
    fn place(&self, slice: &[u8]) -> Option<usize> {
        let at = (slice.as_ptr() as usize).checked_sub(self.region.as_ptr() as usize)?;
        (at < self.region.len()).then_some(at)
    }

    /// What a slice of the region stands for: bytes of a file from an offset on, as many, and when they were last known to
    /// be in the page cache. `None` if it is not what has to go out next, so that nothing would be right.
    pub(crate) fn meaning(&self, slice: &[u8]) -> Option<(Arc<FilePiece>, u64, Instant)> {
        let at = self.place(slice)?;
        let queue = self.queue();
        let next = queue.pieces.front().filter(|next| next.at == at && slice.len() <= next.left)?;
        let sent = next.piece.length() - next.left;
        Some((Arc::clone(&next.piece), next.piece.offset() + sent as u64, next.seen))
    }

    /// What is left of the piece that is next is in the page cache now.
    pub(crate) fn seen(&self) {
        if let Some(next) = self.queue().pieces.front_mut() {
            next.seen = Instant::now();
        }
    }

    /// So many bytes of the piece that is next were sent.
    pub(crate) fn sent(&self, bytes: usize) {
        let mut queue = self.queue();
        let Some(next) = queue.pieces.front_mut() else { return };
        next.at += bytes;
        next.left = next.left.saturating_sub(bytes);
        if next.left == 0 {
            queue.pieces.pop_front();
        }
    }
}

impl fmt::Debug for StandIns {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StandIns").field("most", &self.most).finish_non_exhaustive()
    }
}
