//! What is written down beside the data: a blob's meta file; and how its files go.

use std::io;

use super::health::Refusal;
use super::layout::Meta;
use super::{Disk, is_full};
use crate::blob::{Blob, Standing};
use crate::sync::lock;

impl Disk {
    /// Writes the blob's meta file, so that another process finds what is on disk. Failure costs only that.
    pub(crate) fn persist(&self, blob: &Blob) {
        let call = match self.begin_write() {
            Ok(call) => Some(call),
            // There may be room for this little.
            Err(Refusal::Full) => None,
            Err(Refusal::Trouble) => return,
        };
        let _one_at_a_time = lock(&blob.persisting);
        let meta = {
            let holdings = blob.holdings();
            if holdings.standing != Standing::Listed || holdings.on_disk.count() == 0 {
                return;
            }
            // The last sums may still be under way.
            let verified = blob.verified() && holdings.is_summed();
            let sums = if verified {
                holdings.sums(0..blob.blocks.count())
            } else {
                holdings.sums(holdings.on_disk.iter())
            };
            Meta {
                key: blob.key.clone(),
                id: blob.id,
                etag: blob.etag.clone(),
                blocks: blob.blocks,
                verified,
                on_disk: holdings.on_disk.clone(),
                sums,
            }
        };
        let written = self.write_meta(&meta).or_else(|error| {
            if !is_full(&error) {
                return Err(error);
            }
            self.relieve();
            self.write_meta(&meta)
        });
        if let Err(error) = written {
            self.counters.disk_errors.add(1);
            tracing::warn!(blob = %blob.key, %error, "cannot write to the cache folder");
            if let Some(call) = call.filter(|_| !is_full(&error)) {
                call.failed();
            }
        }
        self.end_writing(blob);
        if blob.holdings().standing != Standing::Listed {
            self.unlink(blob);
        }
    }

    fn write_meta(&self, meta: &Meta) -> io::Result<()> {
        #[cfg(any(test, feature = "testing"))]
        self.fault.on_write()?;
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
