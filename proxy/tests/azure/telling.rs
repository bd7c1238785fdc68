//! What the log tells of a failed request, and what it never does.

use std::io;
use std::sync::{Arc, Mutex};

use tracing_subscriber::fmt::MakeWriter;

/// A log of every level, of this thread alone.
#[derive(Clone, Default)]
pub(crate) struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.0.lock().expect("unpoisoned")).into_owned()
    }

    /// Collects for as long as the guard lives.
    pub(crate) fn collect(&self) -> tracing::subscriber::DefaultGuard {
        let subscriber = tracing_subscriber::fmt()
            .with_max_level(tracing::Level::TRACE)
            .with_ansi(false)
            .with_writer(self.clone())
            .finish();
        tracing::subscriber::set_default(subscriber)
    }
}

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().expect("unpoisoned").extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Log {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

#[tokio::test]
async fn a_failure_is_logged_with_the_names_that_storage_and_we_have_of_the_request() {
    use crate::scripted::{Scripted, refused};
    let log = Log::default();
    let _collecting = log.collect();
    let storage = Scripted::start(b"x").await;
    storage.answers([refused("503 S", "ServerBusy")]);
    let error = storage.read(0..1).await.expect_err("busy");
    let asked = storage.asked();
    let ours = asked[0]
        .lines()
        .find_map(|line| line.strip_prefix("x-ms-client-request-id: "))
        .expect("a name of ours");
    assert!(error.message.contains(&format!("request theirs-1, client request {ours}")), "{error}");
    let line = log.text();
    let line =
        line.lines().find(|line| line.contains("WARN") && line.contains("storage refused")).expect("a line");
    for part in ["ServerBusy", "theirs-1", ours, "acct", "503"] {
        assert!(line.contains(part), "{part} in {line}");
    }
}
