//! The blocks that a fill holds in memory: being received, or received and not yet let go.

use std::collections::BTreeMap;
use std::ops::Range;

use bytes::Bytes;

use crate::block::Blocks;

/// A block in memory.
#[derive(Debug, Default)]
pub(crate) struct Held {
    pieces: Vec<Bytes>,
    received: u64,
    /// Jobs that still work on its bytes.
    pub(crate) jobs: u8,
    /// The tiers have taken it, or will not.
    pub(crate) settled: bool,
    /// Its bytes are known to be the digest's: hashed, or of the checksum that the verified blob has there.
    pub(crate) checked: bool,
}

/// The blocks in memory, and how many bytes they may grow to.
#[derive(Debug)]
pub(crate) struct Window {
    blocks: Blocks,
    held: BTreeMap<u32, Held>,
    bytes: u64,
}

impl Window {
    pub(crate) fn new(blocks: Blocks) -> Self {
        Self { blocks, held: BTreeMap::new(), bytes: 0 }
    }

    /// Bytes held, those reserved for blocks on their way included.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    pub(crate) fn has(&self, block: u32) -> bool {
        self.held.contains_key(&block)
    }

    /// Makes room for blocks that are about to come.
    pub(crate) fn reserve(&mut self, run: Range<u32>) {
        for block in run {
            if self.held.insert(block, Held::default()).is_none() {
                self.bytes += self.blocks.len(block);
            }
        }
    }

    /// Adds bytes that came; gives the blocks that are whole by that. Bytes of blocks not reserved are let go.
    pub(crate) fn push(&mut self, mut offset: u64, mut bytes: Bytes) -> Vec<u32> {
        let mut whole = Vec::new();
        while !bytes.is_empty() {
            let block = self.blocks.of(offset);
            let span = self.blocks.span(block);
            let room = span.end.saturating_sub(offset).min(bytes.len() as u64) as usize;
            if room == 0 {
                break;
            }
            let piece = bytes.split_to(room);
            if let Some(held) = self.held.get_mut(&block)
                && span.start + held.received == offset
            {
                held.received += room as u64;
                held.pieces.push(piece);
                if held.received == span.end - span.start {
                    whole.push(block);
                }
            }
            offset += room as u64;
        }
        whole
    }

    /// The bytes at `position` that are here, up to `end` and the end of their block.
    pub(crate) fn read(&self, position: u64, end: u64) -> Vec<Bytes> {
        let block = self.blocks.of(position);
        let Some(held) = self.held.get(&block) else { return Vec::new() };
        let mut at = self.blocks.span(block).start;
        let mut found = Vec::new();
        for piece in &held.pieces {
            let (from, to) = (position.max(at), end.min(at + piece.len() as u64));
            if from < to {
                found.push(piece.slice((from - at) as usize..(to - at) as usize));
            }
            at += piece.len() as u64;
        }
        found
    }

    pub(crate) fn is_whole(&self, block: u32) -> bool {
        self.held.get(&block).is_some_and(|held| held.received == self.blocks.len(block))
    }

    /// Whether a part of a block has come.
    pub(crate) fn has_begun(&self, block: u32) -> bool {
        self.held.get(&block).is_some_and(|held| held.received > 0)
    }

    pub(crate) fn is_checked(&self, block: u32) -> bool {
        self.held.get(&block).is_some_and(|held| held.checked)
    }

    /// A whole block's pieces, for a job that works on them.
    pub(crate) fn lend(&mut self, block: u32) -> Option<Vec<Bytes>> {
        if !self.is_whole(block) {
            return None;
        }
        let held = self.held.get_mut(&block)?;
        held.jobs = held.jobs.saturating_add(1);
        Some(held.pieces.clone())
    }

    /// Notes what a job that was lent the block has found.
    pub(crate) fn give_back(&mut self, block: u32, settled: bool, checked: bool) {
        if let Some(held) = self.held.get_mut(&block) {
            held.jobs = held.jobs.saturating_sub(1);
            held.settled |= settled;
            held.checked |= checked;
        }
    }

    /// Lets a block go.
    pub(crate) fn drop_block(&mut self, block: u32) {
        if self.held.remove(&block).is_some() {
            self.bytes -= self.blocks.len(block);
        }
    }

    /// Lets those blocks of a run go that are not whole, as nothing more comes of it.
    pub(crate) fn cancel(&mut self, run: Range<u32>) {
        for block in run {
            if !self.is_whole(block) {
                self.drop_block(block);
            }
        }
    }

    /// The blocks that no job and no tier needs any more.
    pub(crate) fn settled(&self) -> impl Iterator<Item = u32> + '_ {
        self.held.iter().filter(|(_, held)| held.settled && held.jobs == 0).map(|(block, _)| *block)
    }

    pub(crate) fn clear(&mut self) {
        self.held.clear();
        self.bytes = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conformance::pattern;

    fn window() -> Window {
        Window::new(Blocks::new(10_000, 4096).expect("few"))
    }

    fn joined(window: &Window, position: u64, end: u64) -> Vec<u8> {
        window.read(position, end).concat()
    }

    #[test]
    fn pieces_of_any_size_are_cut_at_the_blocks() {
        let content = pattern(10_000);
        for size in [1, 999, 4096, 5000, 10_000] {
            let mut window = window();
            window.reserve(0..3);
            let mut whole = Vec::new();
            for (at, piece) in content.chunks(size).enumerate() {
                whole.extend(window.push((at * size) as u64, Bytes::copy_from_slice(piece)));
            }
            assert_eq!(whole, [0, 1, 2], "pieces of {size}");
            assert_eq!(joined(&window, 4096, 10_000), content[4096..8192]);
            assert_eq!(joined(&window, 8191, 8192), content[8191..8192]);
            assert_eq!(joined(&window, 9000, 9001), content[9000..9001]);
        }
    }

    #[test]
    fn what_has_come_of_a_block_can_be_read_at_once() {
        let content = pattern(10_000);
        let mut window = window();
        window.reserve(0..3);
        assert!(window.push(0, content.slice(..100)).is_empty());
        assert_eq!(joined(&window, 10, 10_000), content[10..100]);
        assert!(joined(&window, 100, 10_000).is_empty() && !window.is_whole(0));
    }

    #[test]
    fn held_bytes_are_counted_from_the_reservation_to_the_end() {
        let content = pattern(10_000);
        let mut window = window();
        window.reserve(1..3);
        assert_eq!(window.bytes(), 4096 + 1808);
        assert_eq!(window.push(4096, content.slice(4096..9000)), [1]);
        assert!(window.lend(1).is_some() && window.lend(2).is_none() && window.lend(0).is_none());
        assert_eq!(window.settled().count(), 0);
        window.cancel(1..3);
        assert_eq!(window.bytes(), 4096);
        window.give_back(1, true, false);
        assert_eq!(window.settled().collect::<Vec<_>>(), [1]);
        window.drop_block(1);
        assert_eq!(window.bytes(), 0);
    }

    #[test]
    fn bytes_for_a_block_that_was_let_go_are_ignored() {
        let mut window = window();
        window.reserve(0..1);
        window.cancel(0..1);
        assert!(window.push(0, pattern(4096)).is_empty());
        assert_eq!((window.bytes(), window.has(0)), (0, false));
    }
}
