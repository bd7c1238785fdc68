//! What the cache counts. The crate exports no metrics of its own; its user reads [`Stats`].

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident),* $(,)?) => {
        /// The running counts, shared by all parts.
        #[derive(Debug, Default)]
        pub(crate) struct Counters { $($(#[$doc])* pub(crate) $name: Counter,)* }

        /// A reading of the cache's counts. Those that are not totals say so.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub struct Stats {
            $($(#[$doc])* pub $name: u64,)*
            /// Bytes in the memory tier now, its own bookkeeping included.
            pub memory_bytes: u64,
            /// Blocks in the memory tier now.
            pub memory_blocks: u64,
            /// Bytes that the disk tier takes now, index files and what only an open reader keeps alive included.
            pub disk_bytes: u64,
            /// Blobs on disk now whose digest was checked and of which no block is missing.
            pub disk_complete: u64,
            /// Other blobs on disk now.
            pub disk_partial: u64,
            /// Files of blobs on disk that are open now.
            pub disk_open_files: u64,
            /// 1 while nothing is read from disk, as that hangs or fails, else 0.
            pub disk_reads_off: u64,
            /// 1 while nothing is written to disk, as that hangs or fails or the disk is full, else 0.
            pub disk_writes_off: u64,
            /// 1 while it is not known yet what a former process left on disk, else 0.
            pub disk_recovering: u64,
        }

        impl Counters {
            /// The counts; what the tiers hold is filled in by them.
            pub(crate) fn read(&self) -> Stats {
                Stats { $($name: self.$name.get(),)* ..Stats::default() }
            }
        }
    };
}

counters! {
    /// Requests sent to origins, those that other caches answered left out.
    origin_requests,
    /// Body bytes received from origins.
    origin_bytes,
    /// Ranged reads that were tried again.
    origin_retries,
    /// Ranged reads that another cache of the same storage answered; not among `origin_requests`.
    lent_requests,
    /// Body bytes received from other caches; not among `origin_bytes`.
    lent_bytes,
    /// Fills running now.
    fills_running,
    /// Fills started.
    fills_started,
    /// Fills that ended with a whole, verified blob.
    fills_completed,
    /// Fills that stopped since nobody wanted more.
    fills_partial,
    /// Fills that ended with an error.
    fills_failed,
    /// Bytes that fills hold in memory now.
    fill_bytes,
    /// The most bytes that one fill ever held in memory.
    fill_bytes_peak,
    /// Blobs whose content did not hash to their digest.
    mismatches,
    /// Blocks on disk that did not match their checksum.
    bad_blocks,
    /// Bytes on disk that were read to check them.
    scrubbed_bytes,
    /// Blobs evicted from disk.
    evictions,
    /// Failed reads and writes of the disk tier, a full disk included.
    disk_errors,
    /// Calls of the disk that were not waited for any longer, as it hangs.
    disk_stalls,
    /// Ranged reads that were served bytes of a blob not yet verified.
    unverified_range_reads,
}

/// One count.
#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    pub(crate) fn add(&self, amount: u64) {
        self.0.fetch_add(amount, Relaxed);
    }

    pub(crate) fn sub(&self, amount: u64) {
        self.0.fetch_sub(amount, Relaxed);
    }

    /// Keeps the larger of the count and `amount`.
    pub(crate) fn raise(&self, amount: u64) {
        self.0.fetch_max(amount, Relaxed);
    }

    pub(crate) fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }
}
