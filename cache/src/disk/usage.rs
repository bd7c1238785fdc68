//! The account of bytes on disk: of what files take there, which for small ones is mostly not their content.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex};

use crate::blob::Blob;
use crate::sync::lock;

/// While it is not known what is on disk, one part in so many of the capacity may be written. Such bytes come on top of
/// what is there, so this bounds how far the disk can be over its budget.
const LENT_SHARE: u64 = 32;

/// File systems give room in pages of so many bytes, mostly.
const PAGE: u64 = 4096;

/// What a blob's names take in their folder: two of some 90 bytes, in pages that are two thirds full (ext4: 290).
const NAMES: u64 = 320;

/// What a meta file has beside the numbers of its blocks.
const META: u64 = 512;

/// The room that so many bytes of a file take.
pub(crate) fn room(length: u64) -> u64 {
    length.next_multiple_of(PAGE)
}

/// The room that a blob's files take beside its blocks: the meta file and the names.
pub(crate) fn room_beside(blob: &Blob) -> u64 {
    let blocks = u64::from(blob.blocks.count());
    let names = blob.key.scope.as_str().len() + blob.etag.as_str().len();
    room(META + names as u64 + blocks.div_ceil(8) + blocks * 4) + NAMES
}

/// Bytes on disk against the capacity.
#[derive(Debug)]
pub(crate) struct Usage {
    bytes: AtomicU64,
    /// Of these, bytes of blobs on probation.
    on_probation: AtomicU64,
    capacity: u64,
    lending: AtomicBool,
    /// What is left to lend.
    lent: AtomicU64,
}

impl Usage {
    pub(crate) fn new(capacity: u64) -> Arc<Self> {
        Arc::new(Self {
            bytes: AtomicU64::new(0),
            on_probation: AtomicU64::new(0),
            capacity,
            lending: AtomicBool::new(false),
            lent: AtomicU64::new(capacity / LENT_SHARE),
        })
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.bytes.load(Relaxed)
    }

    pub(crate) fn on_probation(&self) -> u64 {
        self.on_probation.load(Relaxed)
    }

    pub(crate) fn capacity(&self) -> u64 {
        self.capacity
    }

    /// From now on bytes are lent, as those on disk are not known.
    pub(crate) fn begin_lending(&self) {
        self.lending.store(true, Relaxed);
    }

    /// From now on the account is right.
    pub(crate) fn end_lending(&self) {
        self.lending.store(false, Relaxed);
    }

    /// Takes bytes of the capacity; whether they were there.
    fn take(&self, amount: u64) -> bool {
        if self.lending.load(Relaxed) {
            let lent = self.lent.fetch_update(Relaxed, Relaxed, |left| left.checked_sub(amount)).is_ok();
            if lent {
                self.bytes.fetch_add(amount, Relaxed);
            }
            return lent;
        }
        let grown = |bytes: u64| bytes.checked_add(amount).filter(|sum| *sum <= self.capacity);
        self.bytes.fetch_update(Relaxed, Relaxed, grown).is_ok()
    }
}

/// The room that one blob takes. Held by its blob and by everybody who has the file open: an unlinked file takes
/// room until the last of them closes it, and so long it is counted.
#[derive(Debug)]
pub(crate) struct Charge {
    held: Mutex<Held>,
    usage: Arc<Usage>,
}

#[derive(Debug)]
struct Held {
    bytes: u64,
    /// To be taken with the first bytes.
    due: u64,
    on_probation: bool,
}

impl Charge {
    /// Of a newcomer, which is on probation. Its first bytes come with so many `beside`.
    pub(crate) fn new(usage: &Arc<Usage>, beside: u64) -> Arc<Self> {
        Self::with(usage, Held { bytes: 0, due: beside, on_probation: true })
    }

    /// Charges bytes that are on disk already, over the capacity if need be.
    pub(crate) fn found(usage: &Arc<Usage>, amount: u64) -> Arc<Self> {
        usage.bytes.fetch_add(amount, Relaxed);
        Self::with(usage, Held { bytes: amount, due: 0, on_probation: false })
    }

    fn with(usage: &Arc<Usage>, held: Held) -> Arc<Self> {
        Arc::new(Self { held: Mutex::new(held), usage: Arc::clone(usage) })
    }

    /// Charges bytes to come; whether there is room.
    pub(crate) fn take(&self, amount: u64) -> bool {
        let mut held = lock(&self.held);
        let amount = amount.saturating_add(held.due);
        let taken = self.usage.take(amount);
        if taken {
            held.due = 0;
            held.bytes += amount;
            if held.on_probation {
                self.usage.on_probation.fetch_add(amount, Relaxed);
            }
        }
        taken
    }

    /// Takes back bytes that did not come or are of no use.
    pub(crate) fn give_back(&self, amount: u64) {
        let mut held = lock(&self.held);
        let amount = amount.min(held.bytes);
        held.bytes -= amount;
        self.usage.bytes.fetch_sub(amount, Relaxed);
        if held.on_probation {
            self.usage.on_probation.fetch_sub(amount, Relaxed);
        }
    }

    /// Ends the probation.
    pub(crate) fn settle(&self) {
        let mut held = lock(&self.held);
        if std::mem::take(&mut held.on_probation) {
            self.usage.on_probation.fetch_sub(held.bytes, Relaxed);
        }
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        self.settle();
        let held = lock(&self.held).bytes;
        self.usage.bytes.fetch_sub(held, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_charge_counts_until_its_last_holder_is_gone() {
        let usage = Usage::new(1000);
        let charge = Charge::new(&usage, 0);
        assert!(charge.take(600) && !charge.take(500));
        charge.give_back(100);
        assert_eq!((usage.bytes(), usage.on_probation()), (500, 500));
        let reader = Arc::clone(&charge);
        drop(charge);
        assert_eq!(usage.bytes(), 500);
        reader.settle();
        assert_eq!((usage.bytes(), usage.on_probation()), (500, 0));
        drop(reader);
        assert_eq!((usage.bytes(), usage.on_probation()), (0, 0));
    }

    #[test]
    fn what_lies_beside_the_first_bytes_is_taken_with_them_or_not_at_all() {
        let usage = Usage::new(1000);
        let charge = Charge::new(&usage, 300);
        assert!(!charge.take(800) && usage.bytes() == 0);
        assert!(charge.take(500) && charge.take(200) && usage.bytes() == 1000);
        charge.give_back(700);
        assert_eq!((usage.bytes(), usage.on_probation()), (300, 300));
    }

    #[test]
    fn little_is_written_while_it_is_not_known_what_is_there() {
        let usage = Usage::new(3200);
        usage.begin_lending();
        let charge = Charge::new(&usage, 0);
        assert!(charge.take(60) && charge.take(40) && !charge.take(1), "a part of 32");
        let found = Charge::found(&usage, 3200);
        usage.end_lending();
        assert!(!charge.take(1), "the account is over");
        drop(found);
        assert!(charge.take(1) && usage.bytes() == 101);
    }
}
