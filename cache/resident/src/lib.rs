//! Whether bytes of a file are in the page cache, so that to send or to read them waits for no disk.
//!
//! The kernel tells it by `cachestat` (Linux 6.5, `man 2 cachestat`), which neither the standard library nor rustix has.
//! `mincore` tells the same of a mapping, but a mapping of a file that somebody cuts short kills who reads it; and a read
//! with `RWF_NOWAIT` copies what it finds. So this crate makes the one call, and is the only one here with `unsafe`.

use std::io;
use std::ops::Range;
use std::os::fd::AsFd;

/// Whether all of these bytes of the file are in the page cache now. The system may drop them at any time; what is being
/// read into the cache at this moment counts as there. Never blocks on a disk.
///
/// # Errors
/// What the system says. [`io::ErrorKind::Unsupported`] and [`io::ErrorKind::PermissionDenied`] are for good: the kernel
/// is too old, is not Linux, or a seccomp filter does not know the call.
pub fn is_resident(file: impl AsFd, bytes: Range<u64>) -> io::Result<bool> {
    if bytes.start >= bytes.end {
        return Ok(true);
    }
    let page = rustix::param::page_size() as u64;
    let pages = bytes.end.div_ceil(page) - bytes.start / page;
    Ok(cached_pages(file.as_fd(), bytes)? >= pages)
}

#[cfg(target_os = "linux")]
fn cached_pages(file: std::os::fd::BorrowedFd<'_>, bytes: Range<u64>) -> io::Result<u64> {
    use std::os::fd::AsRawFd;

    /// The number of the call, which is the same on every architecture that got it (Linux 6.5, `syscall.tbl`), but on
    /// Alpha, which Rust does not build for. libc names it for some of them only.
    const CACHESTAT: libc::c_long = 451;

    /// `struct cachestat_range` of `linux/mman.h`.
    #[repr(C)]
    struct Wanted {
        offset: u64,
        length: u64,
    }

    /// `struct cachestat` of `linux/mman.h`.
    #[repr(C)]
    #[derive(Default)]
    struct Found {
        cached: u64,
        dirty: u64,
        writeback: u64,
        evicted: u64,
        recently_evicted: u64,
    }

    let wanted = Wanted { offset: bytes.start, length: bytes.end - bytes.start };
    let mut found = Found::default();
    // SAFETY: the call reads one `Wanted` and writes one `Found` (both laid out as the kernel's, and alive for the call),
    // and keeps neither. The descriptor is open, as it is borrowed for as long; the call changes nothing of the file.
    #[allow(unsafe_code)]
    let answer = unsafe {
        libc::syscall(CACHESTAT, file.as_raw_fd(), &raw const wanted, &raw mut found, 0 as libc::c_uint)
    };
    if answer == 0 { Ok(found.cached) } else { Err(io::Error::last_os_error()) }
}

#[cfg(not(target_os = "linux"))]
fn cached_pages(_: std::os::fd::BorrowedFd<'_>, _: Range<u64>) -> io::Result<u64> {
    Err(io::ErrorKind::Unsupported.into())
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::os::unix::fs::FileExt;

    use rustix::fs::{Advice, fadvise};

    use super::*;

    const PAGE: u64 = 4096;
    const PAGES: u64 = 256;

    /// A file on a disk, as one in memory cannot be dropped from the cache.
    fn file() -> std::fs::File {
        let built = std::env::current_exe().unwrap();
        let mut file = tempfile::tempfile_in(built.parent().unwrap()).unwrap();
        file.write_all(&vec![7; (PAGES * PAGE) as usize]).unwrap();
        file.sync_all().unwrap();
        file
    }

    #[test]
    fn what_was_written_is_resident_and_what_was_dropped_is_not() {
        let file = file();
        assert!(is_resident(&file, 0..PAGES * PAGE).unwrap());
        assert!(is_resident(&file, 5..6).unwrap());
        fadvise(&file, 0, None, Advice::DontNeed).unwrap();
        assert!(!is_resident(&file, 0..PAGES * PAGE).unwrap());
        assert!(!is_resident(&file, 5..6).unwrap());
    }

    #[test]
    fn one_page_that_is_missing_at_either_end_is_seen() {
        // What was never written nor read is in no cache.
        let file = file();
        file.set_len(3 * PAGES * PAGE).unwrap();
        file.write_all_at(&vec![7; (PAGES * PAGE) as usize], 2 * PAGES * PAGE).unwrap();
        assert!(is_resident(&file, 0..PAGES * PAGE).unwrap());
        assert!(is_resident(&file, 2 * PAGES * PAGE..3 * PAGES * PAGE).unwrap());
        assert!(!is_resident(&file, 0..PAGES * PAGE + 1).unwrap());
        assert!(!is_resident(&file, 2 * PAGES * PAGE - 1..3 * PAGES * PAGE).unwrap());
    }

    #[test]
    fn what_is_beyond_the_end_is_not_resident_and_no_bytes_are() {
        let file = file();
        assert!(!is_resident(&file, 0..(PAGES + 1) * PAGE).unwrap());
        file.set_len(PAGE).unwrap();
        assert!(!is_resident(&file, 0..2 * PAGE).unwrap());
        assert!(is_resident(&file, 0..PAGE).unwrap());
        assert!(is_resident(&file, 9..9).unwrap());
    }

    #[test]
    fn what_is_no_file_has_nothing_resident() {
        let (reader, _writer) = std::io::pipe().unwrap();
        assert_ne!(is_resident(&reader, 0..1).ok(), Some(true));
    }
}
