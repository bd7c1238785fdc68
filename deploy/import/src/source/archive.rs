//! A tar archive, read by name: its headers are walked once, its content where it lies.
//!
//! Nothing is ever unpacked under a name that the archive chose, and a name that leads out of the archive
//! refuses the whole of it.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use flate2::bufread::MultiGzDecoder;
use tar::EntryType;

use super::files::Found;
use crate::pieces::for_each_piece;
use crate::{ImportError, Progress};

/// An image has a few files per layer; a tar with more than this is a root file system.
const ENTRY_LIMIT: usize = 100_000;
/// Links that may lead from one to the next.
const LINK_LIMIT: usize = 8;

/// An archive whose entries can be read in any order.
#[derive(Debug)]
pub(crate) struct Archive {
    /// What the user named.
    shown: String,
    /// The plain tar.
    path: PathBuf,
    entries: HashMap<String, Entry>,
}

#[derive(Debug)]
enum Entry {
    File { offset: u64, size: u64 },
    Link { to: String },
}

impl Archive {
    pub(crate) fn open(
        path: &Path,
        scratch: &Path,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<Self, ImportError> {
        let shown = path.display().to_string();
        let failed = |error| ImportError::read(&shown, error);
        let mut file = File::open(path).map_err(failed)?;
        let mut start = Vec::new();
        (&mut file).take(512).read_to_end(&mut start).map_err(failed)?;
        file.rewind().map_err(failed)?;
        if start.starts_with(&[0x1f, 0x8b]) {
            unpack(&shown, file, scratch, progress)?;
            let tar = File::open(scratch).map_err(|error| ImportError::write(scratch, error))?;
            let entries = index(&shown, &tar)?;
            return Ok(Self { shown, path: scratch.to_owned(), entries });
        }
        if let Some(found) = not_tar(&start) {
            return Err(ImportError::NotAnImage { file: shown, found });
        }
        let entries = index(&shown, &file)?;
        Ok(Self { shown, path: path.to_owned(), entries })
    }

    /// The file of this name, if there is one; links inside the archive are followed.
    pub(crate) fn find(&self, name: &str) -> Result<Option<Found>, ImportError> {
        let mut at = name;
        for _ in 0..LINK_LIMIT {
            match self.entries.get(at) {
                None => return Ok(None),
                Some(Entry::Link { to }) => at = to,
                Some(&Entry::File { offset, size }) => {
                    let failed = |error| ImportError::read(self.label(name), error);
                    let mut file = File::open(&self.path).map_err(failed)?;
                    file.seek(SeekFrom::Start(offset)).map_err(failed)?;
                    let content = Box::new(file.take(size));
                    return Ok(Some(Found { file: self.label(name), size, content }));
                }
            }
        }
        Err(ImportError::malformed(self.label(name), "its links lead nowhere"))
    }

    /// The name of an entry, for messages.
    pub(crate) fn label(&self, name: &str) -> String {
        format!("{}: {name}", self.shown)
    }
}

/// What a file is that cannot be a tar.
fn not_tar(start: &[u8]) -> Option<String> {
    let compressed = |tool: &str| {
        Some(format!("it is compressed with {tool}, which is not read here; decompress it first"))
    };
    match start {
        [] => Some("it is empty".to_owned()),
        [0x28, 0xb5, 0x2f, 0xfd, ..] => compressed("zstd"),
        [0xfd, b'7', b'z', b'X', b'Z', ..] => compressed("xz"),
        [b'B', b'Z', b'h', ..] => compressed("bzip2"),
        _ if start.len() < 512 => {
            Some(format!("it has {} bytes, less than the header of a tar", start.len()))
        }
        _ => {
            let header = tar::Header::from_byte_slice(start);
            let sum: u32 = start.iter().map(|&b| u32::from(b)).sum();
            let stored: u32 = start.get(148..156).unwrap_or_default().iter().map(|&b| u32::from(b)).sum();
            let right = header.cksum().is_ok_and(|cksum| cksum == sum - stored + 8 * u32::from(b' '));
            (!right && sum != 0).then(|| "it does not begin with the header of a tar".to_owned())
        }
    }
}

fn unpack(
    shown: &str,
    file: File,
    scratch: &Path,
    progress: &mut dyn FnMut(Progress),
) -> Result<(), ImportError> {
    let total = file.metadata().map_err(|error| ImportError::read(shown, error))?.len();
    let counted = Counted { inner: file, done: 0, total, progress };
    let mut plain = MultiGzDecoder::new(BufReader::with_capacity(256 << 10, counted));
    let failed = |error: io::Error| match error.kind() {
        io::ErrorKind::UnexpectedEof => {
            ImportError::malformed(shown, "the gzip stream ends early; the archive is cut off")
        }
        io::ErrorKind::InvalidInput | io::ErrorKind::InvalidData => {
            ImportError::malformed(shown, format!("the gzip stream is corrupt: {error}"))
        }
        _ => ImportError::read(shown, error),
    };
    let unwritten = |error| ImportError::write(scratch, error);
    let mut out = File::create(scratch).map_err(unwritten)?;
    for_each_piece(&mut plain, failed, |piece| out.write_all(piece).map_err(unwritten))
}

struct Counted<'a> {
    inner: File,
    done: u64,
    total: u64,
    progress: &'a mut dyn FnMut(Progress),
}

impl Read for Counted<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.done += read as u64;
        (self.progress)(Progress::unpacking(self.done, self.total));
        Ok(read)
    }
}

/// Where every entry lies. A later entry of the same name replaces an earlier one, as in every tar.
fn index(shown: &str, file: &File) -> Result<HashMap<String, Entry>, ImportError> {
    let broken = |error: io::Error| {
        ImportError::malformed(shown, format!("the tar cannot be read to its end: {error}"))
    };
    let len = file.metadata().map_err(|error| ImportError::read(shown, error))?.len();
    let mut archive = tar::Archive::new(BufReader::new(file));
    let mut entries = HashMap::new();
    for entry in archive.entries_with_seek().map_err(broken)? {
        let entry = entry.map_err(broken)?;
        let raw = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
        let Some(name) = inside("", &raw) else {
            return Err(leads_out(shown, &raw, "its name"));
        };
        let to =
            entry.link_name_bytes().map(|to| String::from_utf8_lossy(&to).into_owned()).unwrap_or_default();
        let linked = |from: &str| {
            inside(from, &to).map(|to| Entry::Link { to }).ok_or_else(|| leads_out(shown, &raw, "its link"))
        };
        let found = match entry.header().entry_type() {
            EntryType::Regular | EntryType::Continuous => {
                let (offset, size) = (entry.raw_file_position(), entry.size());
                if offset.checked_add(size).is_none_or(|end| end > len) {
                    let problem = format!(
                        "the tar ends early: {raw} has {size} bytes, {} of them are there",
                        len.saturating_sub(offset)
                    );
                    return Err(ImportError::malformed(shown, problem));
                }
                Entry::File { offset, size }
            }
            EntryType::Symlink => linked(name.rsplit_once('/').map_or("", |(folder, _)| folder))?,
            EntryType::Link => linked("")?,
            _ => continue,
        };
        entries.insert(name, found);
        if entries.len() > ENTRY_LIMIT {
            let found = format!("it holds more than {ENTRY_LIMIT} files, as a root file system does");
            return Err(ImportError::NotAnImage { file: shown.to_owned(), found });
        }
    }
    Ok(entries)
}

/// Joins two paths inside the archive; `None` if that leads out of it.
pub(super) fn inside(from: &str, path: &str) -> Option<String> {
    if path.starts_with('/') {
        return None;
    }
    let mut parts: Vec<&str> = from.split('/').filter(|part| !part.is_empty()).collect();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop()?;
            }
            _ => parts.push(part),
        }
    }
    Some(parts.join("/"))
}

fn leads_out(shown: &str, raw: &str, what: &str) -> ImportError {
    let raw: String = raw.chars().take(200).collect();
    ImportError::malformed(
        shown,
        format!("{what} leads entry {raw:?} out of the archive; a path inside it is expected"),
    )
}
