//! How one read was served; each way has one stable word for logs and metrics.

/// How a read was served.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// Every byte came from the memory tier.
    MemoryHit,
    /// Every byte was in the cache, some of it on disk.
    DiskHit,
    /// This read started the fill that fetched its bytes.
    Filled,
    /// This read joined a fill that another one had started.
    Followed,
    /// The bytes went from the origin to the reader without being kept, and why.
    Bypassed(Bypass),
}

/// Why bytes were not kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Bypass {
    /// The disk tier is switched off and the blob is too large for memory.
    NoDisk,
    /// The disk is full and nothing could be evicted.
    DiskFull,
    /// The disk failed.
    DiskError,
    /// The blob is larger than the disk tier may ever hold.
    TooLarge,
}

impl Outcome {
    /// The stable word for logs and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::MemoryHit => "memory_hit",
            Self::DiskHit => "disk_hit",
            Self::Filled => "filled",
            Self::Followed => "followed",
            Self::Bypassed(_) => "bypassed",
        }
    }

    /// Why the bytes were not kept, where they were not.
    pub fn reason(self) -> Option<&'static str> {
        match self {
            Self::Bypassed(bypass) => Some(bypass.as_str()),
            _ => None,
        }
    }
}

impl Bypass {
    /// The stable word for logs and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NoDisk => "no_disk",
            Self::DiskFull => "disk_full",
            Self::DiskError => "disk_error",
            Self::TooLarge => "too_large",
        }
    }
}
