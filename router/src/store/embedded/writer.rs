//! The thread that writes: one commit after the other, and what ends with a lease.

use std::io;
use std::sync::{Arc, mpsc};
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::Instant;

use super::super::follow::Shared;
use super::super::state::Verdict;
use super::super::{Changes, Commit, Lease, LeaseId, Outcome, StoreError, StoreErrorKind};
use super::file::DataFile;
use super::holder::Hold;

/// When what could not be written is tried again, for writes that nobody waits for.
const AGAIN: Duration = Duration::from_secs(1);
/// With no lease there is nothing to wake for.
const IDLE: Duration = Duration::from_secs(3600);

type Reply<T> = oneshot::Sender<Result<T, StoreError>>;

/// What the writer is asked for.
pub(super) enum Request {
    Commit(Commit, Reply<Outcome>),
    Grant(Duration, Reply<Lease>),
    Revoke(LeaseId, Reply<()>),
}

/// The only one who changes the file and the state.
pub(super) struct Writer {
    shared: Arc<Shared>,
    file: DataFile,
    /// Written, perhaps: the file could not be asked since.
    unsettled: Option<Changes>,
    _hold: Hold,
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.shared.close(StoreError::new(StoreErrorKind::Unavailable, "the store is closed"));
    }
}

impl Writer {
    pub(super) fn new(shared: Arc<Shared>, file: DataFile, hold: Hold) -> Self {
        Self { shared, file, unsettled: None, _hold: hold }
    }

    /// Serves requests until nobody can make any.
    pub(super) fn run(mut self, inbox: &mpsc::Receiver<Request>) {
        loop {
            let wait = self.expire();
            // Whoever asked may have gone.
            match inbox.recv_timeout(wait) {
                Ok(Request::Commit(commit, reply)) => drop(reply.send(self.commit(&commit))),
                Ok(Request::Grant(ttl, reply)) => {
                    drop(reply.send(Ok(self.shared.lock().grant(ttl, Instant::now()))));
                }
                Ok(Request::Revoke(lease, reply)) => drop(reply.send(self.end(lease))),
                Err(mpsc::RecvTimeoutError::Timeout) => {}
                Err(mpsc::RecvTimeoutError::Disconnected) => return,
            }
        }
    }

    fn commit(&mut self, commit: &Commit) -> Result<Outcome, StoreError> {
        self.settle()?;
        let (verdict, revision) = {
            let state = self.shared.lock();
            (state.judge(commit)?, state.revision())
        };
        match verdict {
            Verdict::Conflict => Ok(Outcome::Conflict { revision }),
            Verdict::Nothing => Ok(Outcome::Committed { revision }),
            Verdict::Change(batch) => {
                let revision = batch.revision;
                self.write(batch)?;
                Ok(Outcome::Committed { revision })
            }
        }
    }

    /// Ends the leases whose time has come; how long there is nothing to do.
    fn expire(&mut self) -> Duration {
        loop {
            let first = self.shared.lock().first_to_end();
            let Some((lease, ends)) = first else { return IDLE };
            let now = Instant::now();
            if ends > now {
                return ends - now;
            }
            if self.end(lease).is_err() {
                return AGAIN;
            }
        }
    }

    fn end(&mut self, lease: LeaseId) -> Result<(), StoreError> {
        self.settle()?;
        let ending = self.shared.lock().ending(lease);
        if let Some(batch) = ending {
            self.write(batch)?;
        }
        self.shared.lock().ended(lease);
        Ok(())
    }

    /// Writes a batch, then shows it. An error says whether it is in the file.
    fn write(&mut self, batch: Changes) -> Result<(), StoreError> {
        let Err(error) = self.file.write(&batch) else {
            self.show(batch);
            return Ok(());
        };
        let written = batch.revision;
        self.unsettled = Some(batch);
        match self.settle() {
            // The last step failed, and it is there.
            Ok(()) if self.shared.lock().revision() == written => Ok(()),
            Ok(()) => Err(not_written(&error)),
            Err(_) => Err(StoreError::new(StoreErrorKind::Unknown, format!("the file failed: {error}"))),
        }
    }

    /// Asks the file whether it holds what was being written when it failed.
    fn settle(&mut self) -> Result<(), StoreError> {
        let Some(batch) = self.unsettled.take() else { return Ok(()) };
        match self.file.reopen() {
            Ok(revision) if revision == batch.revision => self.show(batch),
            Ok(_) => {}
            Err(error) => {
                self.unsettled = Some(batch);
                return Err(not_written(&error));
            }
        }
        Ok(())
    }

    fn show(&self, batch: Changes) {
        self.shared.lock().apply(batch);
        self.shared.ring();
    }
}

fn not_written(error: &redb::Error) -> StoreError {
    let kind = match error {
        redb::Error::Io(error) => match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge => {
                StoreErrorKind::Full
            }
            _ => StoreErrorKind::Unavailable,
        },
        redb::Error::Corrupted(_) => StoreErrorKind::Corrupt,
        _ => StoreErrorKind::Unavailable,
    };
    StoreError::new(kind, format!("the file cannot be written: {error}"))
}
