//! Waits until a file is not what it was, by looking: no watcher of the kernel's sees every way of replacing one.

use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::time::Duration;

use tokio::sync::watch;

/// Time between two looks. A change is in force within a second.
const INTERVAL: Duration = Duration::from_millis(250);

/// What tells one version of a file from another: device, inode, size, and both times to the nanosecond.
type Version = (u64, u64, u64, i64, i64, i64, i64);

/// A few files, watched together.
#[derive(Debug)]
pub(crate) struct FileWatch {
    paths: Vec<PathBuf>,
    seen: Vec<Option<Version>>,
    reloads: watch::Receiver<u64>,
}

impl FileWatch {
    /// Watches from now on: what changes after this call is seen, so call it before the first read.
    pub(crate) fn new(paths: Vec<PathBuf>, reloads: watch::Receiver<u64>) -> Self {
        let seen = versions(&paths);
        Self { paths, seen, reloads }
    }

    /// Resolves when a file has changed, appeared or gone, or when a reload is asked for.
    /// Safe to drop at any point.
    pub(crate) async fn changed(&mut self) {
        loop {
            let asked = tokio::select! {
                () = tokio::time::sleep(INTERVAL) => false,
                asked = self.reloads.changed() => match asked {
                    Ok(()) => true,
                    Err(_) => { tokio::time::sleep(INTERVAL).await; false }
                },
            };
            let paths = self.paths.clone();
            // A folder on a network file system may stall, so not on the threads that serve.
            let Ok(now) = tokio::task::spawn_blocking(move || versions(&paths)).await else { continue };
            if asked || now != self.seen {
                self.seen = now;
                return;
            }
        }
    }
}

fn versions(paths: &[PathBuf]) -> Vec<Option<Version>> {
    let version = |path: &PathBuf| {
        let meta = std::fs::metadata(path).ok()?;
        Some((
            meta.dev(),
            meta.ino(),
            meta.size(),
            meta.mtime(),
            meta.mtime_nsec(),
            meta.ctime(),
            meta.ctime_nsec(),
        ))
    };
    paths.iter().map(version).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_reload_is_heard_though_the_file_is_as_it_was() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        std::fs::write(&path, "as it was").unwrap();
        let reload = watch::Sender::new(0_u64);
        let mut watch = FileWatch::new(vec![path.clone()], reload.subscribe());
        let quiet = tokio::time::timeout(INTERVAL * 3, watch.changed()).await;
        assert!(quiet.is_err(), "nothing changed");
        reload.send_modify(|count| *count += 1);
        tokio::time::timeout(Duration::from_secs(10), watch.changed()).await.expect("the reload is heard");
        std::fs::write(&path, "as it IS.").unwrap();
        tokio::time::timeout(Duration::from_secs(10), watch.changed())
            .await
            .expect("a write in place is seen");
    }
}
