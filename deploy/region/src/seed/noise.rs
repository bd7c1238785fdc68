//! Bytes that look random and depend on their seed alone, on every machine and in every version.

use std::io::{self, Read};

/// An endless stream of bytes: splitmix64 (Steele, Lea and Flood, 2014), little endian.
pub(super) struct Noise {
    state: u64,
    left: [u8; 8],
    unread: usize,
}

impl Noise {
    pub(super) fn new(seed: u64) -> Self {
        Self { state: seed, left: [0; 8], unread: 0 }
    }

    fn next(&mut self) -> [u8; 8] {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)).to_le_bytes()
    }
}

impl Read for Noise {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        // A read may end inside eight bytes; the next one goes on with the rest of them.
        if self.unread > 0 {
            let count = self.unread.min(buffer.len());
            let left = self.left.iter().skip(self.left.len() - self.unread);
            for (to, byte) in buffer.iter_mut().zip(left) {
                *to = *byte;
            }
            self.unread -= count;
            return Ok(count);
        }
        for chunk in buffer.chunks_mut(self.left.len()) {
            self.left = self.next();
            self.unread = self.left.len() - chunk.len();
            if let Some(bytes) = self.left.get(..chunk.len()) {
                chunk.copy_from_slice(bytes);
            }
        }
        Ok(buffer.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bytes_do_not_depend_on_how_they_are_read() {
        let read = |piece: usize| {
            let mut noise = Noise::new(7);
            let mut all = Vec::new();
            while all.len() < 4096 {
                let mut buffer = vec![0; piece];
                let count = noise.read(&mut buffer).expect("endless");
                all.extend_from_slice(&buffer[..count]);
            }
            all.truncate(4096);
            all
        };
        let whole = read(4096);
        for piece in [1, 3, 7, 8, 9, 1000] {
            assert_eq!(read(piece), whole, "{piece} at a time");
        }
        // The published first output of splitmix64 for the seed 1234567.
        assert_eq!(u64::from_le_bytes(Noise::new(1_234_567).next()), 6_457_827_717_110_365_317);
    }
}
