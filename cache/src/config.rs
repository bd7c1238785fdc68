//! The cache's settings, each with its unit and default. Validated before anything is opened.

use std::path::PathBuf;
use std::time::Duration;

/// A pull that waits longer for a disk may lose its client, which waits 30 s for all.
const MAX_PATIENCE: Duration = Duration::from_secs(10);

/// Each is looked at when one more is opened.
const MAX_OPEN_FILES: usize = 65_536;

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;

/// Settings of one [`Cache`](crate::Cache).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CacheConfig {
    /// Budget of the memory tier in bytes. Default 256 MiB.
    pub memory_bytes: u64,
    /// The disk tier, or `None` to keep nothing on disk.
    pub disk: Option<DiskConfig>,
    /// Unit of checksums, of the block map and of hold-back, in bytes. Default 1 MiB.
    pub block_bytes: u64,
    /// Size of one ranged read from an origin, in bytes; a multiple of the block. Default 4 MiB.
    pub fetch_range_bytes: u64,
    /// Ranged reads in flight per fill. Default 8.
    pub fetch_parallel: usize,
    /// Bytes in memory per fill that storage has sent and the tiers have not yet taken. Default 32 MiB, which is
    /// every range in flight at its full size; with what readers hold, a fill stays below 48 MiB.
    pub fill_memory_bytes: u64,
    /// Blobs up to this size are kept whole in the memory tier, in bytes. Default 128 KiB.
    pub small_blob_bytes: u64,
    /// How long an origin may be silent before a read of it is given up. Default 10 s.
    pub origin_idle_timeout: Duration,
    /// Tries per ranged read, the first included. Default 8: where a tenth of all requests break, one read in ten million
    /// meets that so often. Those that an origin does not count ([`Retry`](crate::Retry)) come on top.
    pub origin_attempts: u32,
    /// A fill whose last reader left goes on in the background if at most this many bytes are missing. Default 64 MiB.
    pub finish_bytes: u64,
}

/// Settings of the disk tier.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DiskConfig {
    /// The folder; made if absent. One cache at a time may use it.
    pub dir: PathBuf,
    /// Budget in bytes: what files take in the file system, by pages of 4 KiB, index files and names included. Default 10 GiB.
    pub capacity_bytes: u64,
    /// How long whoever asked the disk waits for it. After that the disk is left alone until it answers. Default 2 s.
    pub patience: Duration,
    /// Files that stay open after their last reader, so that their blocks need not be checked again and can be sent from
    /// where they lie; 0 is none. Default 256.
    pub open_files: usize,
    /// Rate at which all blocks are read and checked, over and over, in bytes a second; 0 is never. Default 8 MiB.
    pub scrub_bytes_per_second: u64,
}

impl DiskConfig {
    /// The defaults in this folder.
    pub fn in_dir(dir: impl Into<PathBuf>) -> Self {
        Self {
            dir: dir.into(),
            capacity_bytes: 10 * GIB,
            patience: Duration::from_secs(2),
            open_files: 256,
            scrub_bytes_per_second: 8 * MIB,
        }
    }
}

impl Default for CacheConfig {
    fn default() -> Self {
        Self {
            memory_bytes: 256 * MIB,
            disk: None,
            block_bytes: MIB,
            fetch_range_bytes: 4 * MIB,
            fetch_parallel: 8,
            fill_memory_bytes: 32 * MIB,
            small_blob_bytes: 128 * KIB,
            origin_idle_timeout: Duration::from_secs(10),
            origin_attempts: 8,
            finish_bytes: 64 * MIB,
        }
    }
}

/// A setting that cannot be: which one, what is wrong, what is allowed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{key} is {found}; {allowed}")]
pub struct ConfigError {
    /// The setting's name.
    pub key: &'static str,
    /// What it is.
    pub found: String,
    /// What it may be.
    pub allowed: &'static str,
}

impl CacheConfig {
    /// Checks that the settings fit each other.
    ///
    /// # Errors
    /// The first setting that does not.
    pub fn validate(&self) -> Result<(), ConfigError> {
        let error = |key, found: String, allowed| Err(ConfigError { key, found, allowed });
        if !self.block_bytes.is_power_of_two() || !(4 * KIB..=16 * MIB).contains(&self.block_bytes) {
            return error(
                "block_bytes",
                self.block_bytes.to_string(),
                "a power of two from 4096 to 16777216 is allowed",
            );
        }
        if self.fetch_range_bytes == 0 || !self.fetch_range_bytes.is_multiple_of(self.block_bytes) {
            return error(
                "fetch_range_bytes",
                self.fetch_range_bytes.to_string(),
                "a multiple of block_bytes is allowed",
            );
        }
        if !(1..=64).contains(&self.fetch_parallel) {
            return error("fetch_parallel", self.fetch_parallel.to_string(), "1 to 64 are allowed");
        }
        if self.fill_memory_bytes < self.fetch_range_bytes {
            return error(
                "fill_memory_bytes",
                self.fill_memory_bytes.to_string(),
                "at least fetch_range_bytes is allowed",
            );
        }
        if self.small_blob_bytes > self.block_bytes {
            return error(
                "small_blob_bytes",
                self.small_blob_bytes.to_string(),
                "at most block_bytes is allowed",
            );
        }
        let patience = self.disk.as_ref().map(|disk| disk.patience);
        if let Some(patience) = patience.filter(|patience| patience.is_zero() || *patience > MAX_PATIENCE) {
            return error(
                "disk_patience",
                format!("{patience:?}"),
                "more than 0 and at most 10 s is allowed",
            );
        }
        let open_files = self.disk.as_ref().map_or(0, |disk| disk.open_files);
        if open_files > MAX_OPEN_FILES {
            return error("open_files", open_files.to_string(), "0 to 65536 are allowed");
        }
        if self.origin_attempts == 0 {
            return error("origin_attempts", "0".into(), "1 or more is allowed");
        }
        if self.origin_idle_timeout.is_zero() {
            return error("origin_idle_timeout", "0".into(), "a positive duration is allowed");
        }
        Ok(())
    }
}
