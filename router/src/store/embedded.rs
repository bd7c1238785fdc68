//! The store of a router that is alone: one file, and a copy of it in memory.
//!
//! Reads and watches are answered from memory. A commit is judged there, written to the file by one thread,
//! synced, and only then seen. Redb keeps the file whole when the process or the machine dies in the middle.
//!
//! Two things do not outlive the process: what a watch could still be told of the past (a watch of old
//! changes is told to list again) and leases, whose keys are deleted when the file is opened, since their
//! holders died with it.

mod error;
mod file;
mod holder;
mod writer;

use std::path::Path;
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tokio::sync::oneshot;
use tokio::time::{Instant, timeout};

use super::follow::Shared;
use super::{
    Commit, Entry, Key, Lease, LeaseId, Listing, Outcome, Revision, Store, StoreError, StoreErrorKind, Watch,
};
use file::DataFile;
use holder::Hold;
use writer::{Request, Writer};

pub use error::OpenError;

/// A disk that has not synced a commit by then is not waited for any longer.
const WRITE_LIMIT: Duration = Duration::from_secs(10);

/// A store in one file, which this process alone has open.
#[derive(Debug)]
pub struct EmbeddedStore {
    shared: Arc<Shared>,
    requests: mpsc::Sender<Request>,
    writer: Option<JoinHandle<()>>,
}

impl EmbeddedStore {
    /// Opens the file at `path`, or makes it; its folder has to be there. The file is read and checked whole,
    /// and what a crash left is mended. A file `path` with `.lock` appended says which process has it open.
    /// Blocks.
    ///
    /// # Errors
    /// [`OpenError`]; a file that is refused is left as it is.
    pub fn open(path: &Path) -> Result<Self, OpenError> {
        let hold = Hold::take(path)?;
        let mut file = DataFile::open(path)?;
        let shared = Shared::new(file.load()?);
        let (requests, inbox) = mpsc::channel();
        let writer = Writer::new(Arc::clone(&shared), file, hold);
        let thread = std::thread::Builder::new().name("store".into()).spawn(move || writer.run(&inbox));
        let thread = thread.map_err(|error| OpenError::io(path, error))?;
        Ok(Self { shared, requests, writer: Some(thread) })
    }

    /// Forgets all but the last `keep` changes. Watches that are further behind are told to list again.
    pub fn forget(&self, keep: usize) {
        self.shared.lock().forget(keep);
    }

    async fn ask<T>(
        &self,
        request: impl FnOnce(oneshot::Sender<Result<T, StoreError>>) -> Request,
    ) -> Result<T, StoreError> {
        let (reply, answer) = oneshot::channel();
        if self.requests.send(request(reply)).is_err() {
            return Err(StoreError::new(StoreErrorKind::Unavailable, "the store's writer has ended"));
        }
        let unknown = |why: String| Err(StoreError::new(StoreErrorKind::Unknown, why));
        match timeout(WRITE_LIMIT, answer).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(_)) => unknown("the store's writer ended meanwhile".into()),
            Err(_) => unknown(format!("the disk did not sync within {WRITE_LIMIT:?}")),
        }
    }
}

impl Drop for EmbeddedStore {
    /// Waits for the commit that is being written; then the file may be opened again.
    fn drop(&mut self) {
        let (nobody, _) = mpsc::channel();
        self.requests = nobody;
        if let Some(writer) = self.writer.take() {
            let _ = writer.join();
        }
    }
}

impl Store for EmbeddedStore {
    fn get<'a>(&'a self, key: &'a Key) -> BoxFuture<'a, Result<Option<Entry>, StoreError>> {
        async { Ok(self.shared.lock().get(key)) }.boxed()
    }

    fn list<'a>(&'a self, prefix: &'a str) -> BoxFuture<'a, Result<Listing, StoreError>> {
        async { Ok(self.shared.lock().list(prefix)) }.boxed()
    }

    fn commit<'a>(&'a self, commit: &'a Commit) -> BoxFuture<'a, Result<Outcome, StoreError>> {
        self.ask(|reply| Request::Commit(commit.clone(), reply)).boxed()
    }

    fn watch(&self, prefix: &str, after: Revision) -> Watch {
        self.shared.follow(prefix, after)
    }

    fn grant(&self, ttl: Duration) -> BoxFuture<'_, Result<Lease, StoreError>> {
        self.ask(move |reply| Request::Grant(ttl, reply)).boxed()
    }

    fn keep_alive(&self, lease: LeaseId) -> BoxFuture<'_, Result<(), StoreError>> {
        async move { self.shared.lock().keep_alive(lease, Instant::now()) }.boxed()
    }

    fn revoke(&self, lease: LeaseId) -> BoxFuture<'_, Result<(), StoreError>> {
        self.ask(move |reply| Request::Revoke(lease, reply)).boxed()
    }
}
