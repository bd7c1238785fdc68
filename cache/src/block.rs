//! How a blob is cut into blocks, and which of them are there.

use std::ops::Range;

/// More blocks than any blob has: 64 TiB at the default block. Bounds what an origin's word on a size can cost.
const MAX_BLOCKS: u64 = 1 << 26;

/// A blob's size and its cut into blocks of one length, the last one shorter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Blocks {
    size: u64,
    shift: u32,
}

impl Blocks {
    /// Cuts `size` bytes into blocks of `block_bytes`, a power of two; `None` if they would be too many.
    pub(crate) fn new(size: u64, block_bytes: u64) -> Option<Self> {
        let shift = block_bytes.trailing_zeros();
        (size.div_ceil(1 << shift) <= MAX_BLOCKS).then_some(Self { size, shift })
    }

    pub(crate) fn size(self) -> u64 {
        self.size
    }

    pub(crate) fn block_bytes(self) -> u64 {
        1 << self.shift
    }

    pub(crate) fn count(self) -> u32 {
        self.size.div_ceil(1 << self.shift) as u32
    }

    /// The last block, if there is any.
    pub(crate) fn last(self) -> Option<u32> {
        self.count().checked_sub(1)
    }

    /// The block that holds `offset`.
    pub(crate) fn of(self, offset: u64) -> u32 {
        (offset >> self.shift) as u32
    }

    /// The bytes of these blocks.
    pub(crate) fn bytes(self, blocks: Range<u32>) -> Range<u64> {
        let end = (u64::from(blocks.end) << self.shift).min(self.size);
        (u64::from(blocks.start) << self.shift).min(end)..end
    }

    /// The bytes of one block.
    pub(crate) fn span(self, block: u32) -> Range<u64> {
        self.bytes(block..block + 1)
    }

    /// How many bytes one block has.
    pub(crate) fn len(self, block: u32) -> u64 {
        let span = self.span(block);
        span.end - span.start
    }

    /// The blocks that hold any of these bytes.
    pub(crate) fn touching(self, bytes: &Range<u64>) -> Range<u32> {
        if bytes.start >= bytes.end {
            let at = self.of(bytes.start);
            return at..at;
        }
        self.of(bytes.start)..self.of(bytes.end.min(self.size).saturating_sub(1)) + 1
    }
}

/// One bit a block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Bitmap {
    words: Vec<u64>,
    length: u32,
    ones: u32,
}

impl Bitmap {
    /// No bit set.
    pub(crate) fn empty(length: u32) -> Self {
        Self { words: vec![0; length.div_ceil(64) as usize], length, ones: 0 }
    }

    /// Reads back [`Bitmap::to_bytes`]; `None` if a bit stands past the end or bytes are missing.
    pub(crate) fn from_bytes(length: u32, bytes: &[u8]) -> Option<Self> {
        let mut map = Self::empty(length);
        let mut words = bytes.chunks_exact(8);
        if bytes.len() != map.words.len() * 8 {
            return None;
        }
        for (word, raw) in map.words.iter_mut().zip(&mut words) {
            *word = u64::from_le_bytes(raw.try_into().ok()?);
        }
        let spare = map.words.len() as u32 * 64 - length;
        if spare > 0 && map.words.last().is_some_and(|word| word >> (64 - spare) != 0) {
            return None;
        }
        map.ones = map.words.iter().map(|word| word.count_ones()).sum();
        Some(map)
    }

    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        self.words.iter().flat_map(|word| word.to_le_bytes()).collect()
    }

    pub(crate) fn has(&self, at: u32) -> bool {
        self.words.get(at as usize / 64).is_some_and(|word| word >> (at % 64) & 1 == 1)
    }

    /// Sets a bit; whether it was clear.
    pub(crate) fn set(&mut self, at: u32) -> bool {
        let clear = at < self.length && !self.has(at);
        if let (true, Some(word)) = (clear, self.words.get_mut(at as usize / 64)) {
            *word |= 1 << (at % 64);
            self.ones += 1;
        }
        clear
    }

    /// Clears a bit; whether it was set.
    pub(crate) fn clear(&mut self, at: u32) -> bool {
        let set = self.has(at);
        if let (true, Some(word)) = (set, self.words.get_mut(at as usize / 64)) {
            *word &= !(1 << (at % 64));
            self.ones -= 1;
        }
        set
    }

    /// How many bits there are.
    pub(crate) fn len(&self) -> u32 {
        self.length
    }

    pub(crate) fn count(&self) -> u32 {
        self.ones
    }

    pub(crate) fn is_full(&self) -> bool {
        self.ones == self.length
    }

    /// The set bits, in order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = u32> + '_ {
        (0..self.length).filter(|at| self.has(*at))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_cover_a_blob_exactly() {
        for size in [0, 1, 4095, 4096, 4097, 10_000, 8192] {
            let blocks = Blocks::new(size, 4096).expect("few");
            let total: u64 = (0..blocks.count()).map(|block| blocks.len(block)).sum();
            assert_eq!(total, size);
            for offset in 0..size {
                assert!(blocks.span(blocks.of(offset)).contains(&offset), "{offset} of {size}");
            }
        }
        let blocks = Blocks::new(10_000, 4096).expect("few");
        assert_eq!(blocks.touching(&(4095..4097)), 0..2);
        assert_eq!(blocks.touching(&(4096..4097)), 1..2);
        assert_eq!(blocks.touching(&(0..10_000)), 0..3);
        assert_eq!(blocks.touching(&(5..5)), 0..0);
        assert_eq!(Blocks::new(u64::MAX, 4096), None);
    }

    #[test]
    fn a_bitmap_survives_its_bytes_and_refuses_others() {
        let mut map = Bitmap::empty(70);
        assert!(map.set(0) && map.set(69) && !map.set(69) && !map.set(70));
        assert_eq!(map.count(), 2);
        assert_eq!(Bitmap::from_bytes(70, &map.to_bytes()), Some(map.clone()));
        assert_eq!(Bitmap::from_bytes(69, &map.to_bytes()), None);
        assert_eq!(Bitmap::from_bytes(70, &map.to_bytes()[1..]), None);
        assert!(map.clear(69) && !map.clear(69) && map.has(0) && !map.is_full());
        assert_eq!(map.iter().collect::<Vec<_>>(), [0]);
    }
}
