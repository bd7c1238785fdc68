//! Buffers that are used again: memory for a piece of a blob, mapped once and handed round.
//!
//! Pieces are made on one thread and let go on another, and an allocator keeps what was let go: glibc's held 30 MiB more
//! than was in use while one blob streamed through (ADR 0007). A mapping of its own
//! goes back to the system whole, and using it again saves the page faults.

use std::fmt;
use std::ops::{Deref, DerefMut};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use memmap2::MmapMut;

use crate::sync::lock;

/// Buffers that are kept however few are in use.
const KEPT: usize = 4;

/// A pool of buffers of one size. A quarter as many are kept for the next use as are in use, and never fewer than a few.
pub struct Buffers {
    bytes: usize,
    pool: Mutex<Pool>,
}

#[derive(Default)]
struct Pool {
    free: Vec<MmapMut>,
    in_use: usize,
}

impl Buffers {
    /// An empty pool of buffers of up to `bytes` bytes.
    pub fn new(bytes: usize) -> Arc<Self> {
        Arc::new(Self { bytes, pool: Mutex::default() })
    }

    /// A buffer of `length` bytes, holding whatever it held before. A length that does not fit, or would waste more than
    /// half of a buffer, gets memory of its own that is not kept afterwards.
    pub fn take(self: &Arc<Self>, length: usize) -> Buffer {
        let memory = if length > self.bytes || length < self.bytes / 2 {
            Memory::Heap(vec![0; length])
        } else {
            self.map()
                .map_or_else(|| Memory::Heap(vec![0; length]), |map| Memory::Mapped(map, Arc::clone(self)))
        };
        Buffer { memory: Some(memory), length }
    }

    /// A mapping; `None` if the system has none to give.
    fn map(&self) -> Option<MmapMut> {
        let used = lock(&self.pool).free.pop();
        let map = used.or_else(|| MmapMut::map_anon(self.bytes).ok())?;
        lock(&self.pool).in_use += 1;
        Some(map)
    }

    fn give_back(&self, map: MmapMut) {
        let surplus = {
            let mut guard = lock(&self.pool);
            let pool = &mut *guard;
            pool.in_use = pool.in_use.saturating_sub(1);
            pool.free.push(map);
            let kept = pool.free.len().min((pool.in_use / 4).max(KEPT));
            pool.free.split_off(kept)
        };
        // Unmapped outside the lock.
        drop(surplus);
    }
}

impl fmt::Debug for Buffers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Buffers").field("bytes", &self.bytes).finish_non_exhaustive()
    }
}

/// A buffer in use. It goes back to its pool once its last holder lets go.
pub struct Buffer {
    /// `None` only while it is dropped.
    memory: Option<Memory>,
    length: usize,
}

enum Memory {
    Mapped(MmapMut, Arc<Buffers>),
    Heap(Vec<u8>),
}

impl Buffer {
    /// The content, shared from now on.
    pub fn freeze(self) -> Bytes {
        Bytes::from_owner(self)
    }
}

impl Deref for Buffer {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        let all: &[u8] = match &self.memory {
            Some(Memory::Mapped(map, _)) => map,
            Some(Memory::Heap(content)) => content,
            None => &[],
        };
        all.get(..self.length).unwrap_or_default()
    }
}

impl DerefMut for Buffer {
    fn deref_mut(&mut self) -> &mut [u8] {
        let all: &mut [u8] = match &mut self.memory {
            Some(Memory::Mapped(map, _)) => map,
            Some(Memory::Heap(content)) => content,
            None => &mut [],
        };
        all.get_mut(..self.length).unwrap_or_default()
    }
}

impl AsRef<[u8]> for Buffer {
    fn as_ref(&self) -> &[u8] {
        self
    }
}

impl fmt::Debug for Buffer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Buffer").field("length", &self.length).finish_non_exhaustive()
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        if let Some(Memory::Mapped(map, pool)) = self.memory.take() {
            pool.give_back(map);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept(buffers: &Buffers) -> usize {
        lock(&buffers.pool).free.len()
    }

    #[test]
    fn a_buffer_is_used_again_once_its_last_holder_lets_go() {
        let buffers = Buffers::new(4096);
        let mut buffer = buffers.take(4096);
        buffer.fill(7);
        let place = buffer.as_ptr();
        let whole = buffer.freeze();
        let part = whole.slice(10..20);
        drop(whole);
        assert_eq!((kept(&buffers), &part[..]), (0, &[7; 10][..]));
        drop(part);
        assert_eq!(kept(&buffers), 1);
        let again = buffers.take(3000);
        assert_eq!((again.as_ptr(), again.len()), (place, 3000));
    }

    #[test]
    fn no_more_is_kept_than_a_quarter_of_what_is_in_use_and_a_few() {
        let buffers = Buffers::new(4096);
        let mut held: Vec<Buffer> = (0..100).map(|_| buffers.take(4096)).collect();
        held.truncate(40);
        assert_eq!(kept(&buffers), 10);
        held.clear();
        assert_eq!(kept(&buffers), KEPT);
    }

    #[test]
    fn what_fits_badly_passes_by_the_pool() {
        let buffers = Buffers::new(4096);
        drop((buffers.take(4097), buffers.take(100), buffers.take(0)));
        assert_eq!(kept(&buffers), 0);
    }
}
