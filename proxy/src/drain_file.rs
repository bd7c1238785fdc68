//! The drain file: it drains the node by being there. An agent that learns of its machine's end writes it.

use std::path::{Path, PathBuf};
use std::time::Duration;

use metrics::counter;

use crate::asked;
use crate::lifecycle::{Drain, Lifecycle, Source, Wish};
use crate::watch::FileWatch;

/// A watched drain file.
#[derive(Debug)]
pub struct DrainFile {
    path: PathBuf,
    /// The deadline of a drain that says none.
    deadline: Duration,
}

impl DrainFile {
    /// The file at `path`; a drain that says no deadline has `deadline`.
    pub fn new(path: PathBuf, deadline: Duration) -> Self {
        Self { path, deadline }
    }

    /// Follows the file for as long as it is polled. Safe to drop at any point.
    pub async fn follow(&self, life: &Lifecycle) {
        let mut watch = FileWatch::new(vec![self.path.clone()], life.reloads());
        loop {
            let (path, deadline) = (self.path.clone(), self.deadline);
            if let Ok(read) = tokio::task::spawn_blocking(move || read(&path, deadline)).await {
                self.obey(read, life);
            }
            watch.changed().await;
        }
    }

    fn obey(&self, read: Result<Wish, String>, life: &Lifecycle) {
        let asked = read.and_then(|wish| life.ask(Source::File, wish).map_err(|error| error.to_string()));
        if let Err(error) = asked {
            counter!("dataproxy_drain_file_errors_total").increment(1);
            tracing::error!(path = %self.path.display(), error, "drain file refused; it changes nothing");
        }
    }
}

/// What a file asks: nothing if it is not there, to drain if there is nothing in it.
fn read(path: &Path, deadline: Duration) -> Result<Wish, String> {
    match std::fs::read(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Wish::Serve),
        Err(error) => Err(format!("it cannot be read: {error}")),
        Ok(text) if text.trim_ascii().is_empty() => Ok(Wish::Drain(Drain { deadline, lame_duck: None })),
        Ok(text) => asked::parse(&text, deadline).map_err(|error| error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lifecycle::State;

    #[tokio::test]
    async fn the_file_drains_by_being_there_and_what_is_in_it_counts() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("drain");
        let deadline = Duration::from_secs(60);
        let drain = |deadline, lame_duck| Ok(Wish::Drain(Drain { deadline, lame_duck }));
        assert_eq!(read(&path, deadline), Ok(Wish::Serve));
        std::fs::write(&path, "\n").unwrap();
        assert_eq!(read(&path, deadline), drain(deadline, None));
        std::fs::write(&path, r#"{"state":"draining","deadline_seconds":20}"#).unwrap();
        assert_eq!(read(&path, deadline), drain(Duration::from_secs(20), None));
        std::fs::write(&path, r#"{"state":"cordoned"}"#).unwrap();
        assert_eq!(read(&path, deadline), Ok(Wish::Cordon));
        std::fs::write(&path, "now").unwrap();
        assert!(read(&path, deadline).unwrap_err().contains("right is"));
    }

    #[tokio::test]
    async fn a_file_that_comes_and_goes_drains_and_brings_back_and_a_bad_one_changes_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("drain");
        let life = Lifecycle::default();
        life.opened();
        let (file, followed) = (DrainFile::new(path.clone(), Duration::from_secs(60)), life.clone());
        let following = tokio::spawn(async move { file.follow(&followed).await });
        let reaches = async |from, to| {
            let reached = tokio::time::timeout(Duration::from_secs(10), life.leaves(from)).await;
            assert_eq!(reached, Ok(to));
        };
        std::fs::write(&path, "").unwrap();
        reaches(State::Ready, State::LameDuck).await;
        std::fs::remove_file(&path).unwrap();
        reaches(State::LameDuck, State::Ready).await;
        std::fs::write(&path, "now").unwrap();
        let moved = tokio::time::timeout(Duration::from_secs(1), life.leaves(State::Ready)).await;
        assert!(moved.is_err(), "{moved:?}");
        following.abort();
    }
}
