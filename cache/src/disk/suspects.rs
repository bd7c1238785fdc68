//! Blocks that could not be read, until it is known whether that was the place or the disk.
//!
//! One bad place is no bad disk: its block is taken off the books at once, so that it alone is fetched and written again,
//! and nobody asks for it twice. If more and more fails, it is the disk, and what is on it may be sound: such blocks come
//! back.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, Weak};

use super::usage::room;
use crate::blob::Blob;
use crate::sync::lock;

/// The blocks that failed since the last one that did not.
#[derive(Debug, Default)]
pub(super) struct Suspects {
    /// Whether there are any: what goes well asks no more than this.
    any: AtomicBool,
    blocks: Mutex<Vec<(Weak<Blob>, u32)>>,
}

impl Suspects {
    /// Takes a block off the books for now. It stays charged.
    pub(super) fn suspect(&self, blob: &Arc<Blob>, block: u32) {
        let mut blocks = lock(&self.blocks);
        if blob.holdings().on_disk.clear(block) {
            blocks.push((Arc::downgrade(blob), block));
            self.any.store(true, Relaxed);
        }
    }

    /// The disk is well: these places are bad.
    pub(super) fn convict(&self) {
        if self.any.load(Relaxed) {
            self.each(|blob, block| {
                if let Some(charge) = &blob.holdings().charge {
                    charge.give_back(room(blob.blocks.len(block)));
                }
            });
        }
    }

    /// The disk fails: these places may be good.
    pub(super) fn acquit(&self) {
        self.each(|blob, block| {
            let mut holdings = blob.holdings();
            // Once it is off the disk it has no charge, and no block comes back.
            let Some(charge) = holdings.charge.clone() else { return };
            if !holdings.on_disk.set(block) {
                charge.give_back(room(blob.blocks.len(block)));
            }
        });
    }

    fn each(&self, visit: impl Fn(&Blob, u32)) {
        let mut blocks = lock(&self.blocks);
        self.any.store(false, Relaxed);
        for (blob, block) in blocks.drain(..) {
            if let Some(blob) = blob.upgrade() {
                visit(&blob, block);
            }
        }
    }
}
