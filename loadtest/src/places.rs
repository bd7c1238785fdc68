//! Where lazy pulls read.

use std::cell::RefCell;
use std::collections::HashMap;

use rand::rngs::Xoshiro256PlusPlus;
use rand::{RngExt, SeedableRng};

use crate::subject::Endpoint;

/// Where a puller's lazy pulls read next, and the sizes that no manifest told them.
pub(crate) struct Places {
    random: RefCell<Xoshiro256PlusPlus>,
    sizes: RefCell<HashMap<(Endpoint, String), u64>>,
}

impl Places {
    pub(crate) fn new(seed: u64) -> Self {
        let random = RefCell::new(Xoshiro256PlusPlus::seed_from_u64(seed));
        Self { random, sizes: RefCell::new(HashMap::new()) }
    }

    /// The size of a blob, where it was found out.
    pub(crate) fn size(&self, registry: &Endpoint, path: &str) -> Option<u64> {
        self.sizes.borrow().get(&(registry.clone(), path.to_owned())).copied()
    }

    /// Remembers the size of a blob.
    pub(crate) fn remember(&self, registry: &Endpoint, path: &str, size: u64) {
        self.sizes.borrow_mut().insert((registry.clone(), path.to_owned()), size);
    }

    /// First and last byte of the next range of a blob that is not empty.
    pub(crate) fn next(&self, size: u64, bytes: u64) -> (u64, u64) {
        let bytes = bytes.clamp(1, size);
        let first = self.random.borrow_mut().random_range(0..=size - bytes);
        (first, first + (bytes - 1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_gives_the_same_places_each_time_all_of_them_inside_the_blob() {
        let (one, other) = (Places::new(3), Places::new(3));
        for (size, bytes) in [(1, 1), (1, 9), (10, 10), (1000, 7), (u64::MAX, 1 << 20)] {
            for _ in 0..200 {
                let (first, last) = one.next(size, bytes);
                assert_eq!(other.next(size, bytes), (first, last));
                assert!(first <= last && last < size, "{first}-{last} of {size}");
                assert_eq!(last - first + 1, bytes.min(size));
            }
        }
    }
}
