//! What is written down beside the data: a blob's meta file; and how its files go.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, Weak};

use super::Disk;
use super::blocks::is_full;
use super::health::Refusal;
use super::layout::Meta;

use crate::blob::{Blob, Standing};
use crate::sync::lock;

/// Blobs whose meta files could not be written, by their serial numbers.
#[derive(Debug, Default)]
pub(super) struct Unsaved(Mutex<BTreeMap<u64, Weak<Blob>>>);

impl Unsaved {
    fn note(&self, blob: &Arc<Blob>) {
        lock(&self.0).insert(blob.serial, Arc::downgrade(blob));
    }

    fn next(&self) -> Option<Arc<Blob>> {
        let mut blobs = lock(&self.0);
        while let Some((_, blob)) = blobs.pop_first() {
            if let Some(blob) = blob.upgrade() {
                return Some(blob);
            }
        }
        None
    }
}

impl Disk {
    /// Writes the blob's meta file, so that another process finds what is on disk. What cannot be written is written later,
    /// after the next one that can; until then only that is lost.
    pub(crate) fn persist(&self, blob: &Arc<Blob>) {
        if self.write_down(blob) {
            self.persist_unsaved();
        } else {
            self.unsaved.note(blob);
        }
    }

    /// Writes the meta files that could not be written before, as far as that goes now.
    pub(super) fn persist_unsaved(&self) {
        while let Some(blob) = self.unsaved.next() {
            if !self.write_down(&blob) {
                return self.unsaved.note(&blob);
            }
        }
    }

    /// Whether nothing is left to be written of this blob.
    fn write_down(&self, blob: &Blob) -> bool {
        let call = match self.begin_write() {
            Ok(call) => Some(call),
            // There may be room for this little.
            Err(Refusal::Full) => None,
            Err(Refusal::Trouble) => return false,
        };
        let _one_at_a_time = lock(&blob.persisting);
        let Some(meta) = meta_of(blob) else { return true };
        let written = self.write_meta(&meta).or_else(|error| {
            if !is_full(&error) {
                return Err(error);
            }
            self.relieve();
            self.write_meta(&meta)
        });
        match (&written, call) {
            (Ok(()), Some(call)) => call.well(),
            (Err(error), Some(call)) if !is_full(error) => {
                call.failed();
            }
            _ => {}
        }
        if let Err(error) = &written {
            self.counters.disk_errors.add(1);
            tracing::warn!(blob = %blob.key, %error, "cannot write to the cache folder");
        }
        self.end_writing(blob);
        if blob.holdings().standing != Standing::Listed {
            self.unlink(blob);
        }
        written.is_ok()
    }

    fn write_meta(&self, meta: &Meta) -> io::Result<()> {
        #[cfg(any(test, feature = "testing"))]
        self.fault.on_meta()?;
        let temp = self.layout.temp(&meta.key, meta.id);
        let (path, content) = (self.layout.meta(&meta.key, meta.id), meta.encode()?);
        let written = std::fs::write(&temp, &content).and_then(|()| std::fs::rename(&temp, &path));
        if written.is_err() {
            // Recovery removes what is left, should this fail too.
            let _left = std::fs::remove_file(&temp);
        }
        #[cfg(any(test, feature = "testing"))]
        self.fault.note_replaced(&temp, &path, &content);
        written
    }

    pub(super) fn unlink(&self, blob: &Blob) {
        #[cfg(any(test, feature = "testing"))]
        self.fault.wait();
        // Meta first: a crash between the two leaves data that nothing speaks of.
        for path in [self.layout.meta(&blob.key, blob.id), self.layout.data(&blob.key, blob.id)] {
            match std::fs::remove_file(&path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    self.counters.disk_errors.add(1);
                    tracing::warn!(file = %path.display(), %error, "cannot remove a cache file");
                }
                _ => {
                    #[cfg(any(test, feature = "testing"))]
                    self.fault.note_removed(&path);
                }
            }
        }
    }
}

/// What a meta file is to say of a blob. `None` if nothing of it is to be found again.
fn meta_of(blob: &Blob) -> Option<Meta> {
    let holdings = blob.holdings();
    if holdings.standing != Standing::Listed || holdings.on_disk.count() == 0 {
        return None;
    }
    // The last sums may still be under way.
    let verified = blob.verified() && holdings.is_summed();
    let sums =
        if verified { holdings.sums(0..blob.blocks.count()) } else { holdings.sums(holdings.on_disk.iter()) };
    Some(Meta {
        key: blob.key.clone(),
        id: blob.id,
        etag: blob.etag.clone(),
        blocks: blob.blocks,
        verified,
        on_disk: holdings.on_disk.clone(),
        sums,
    })
}
