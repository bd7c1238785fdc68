//! Asks a run to end before its time. The first reason stays.

use std::sync::Arc;

use tokio::sync::watch;

/// A copy asks, and is asked, the same as the original.
#[derive(Clone, Debug)]
pub(crate) struct Stop(Arc<watch::Sender<Option<String>>>);

impl Stop {
    pub(crate) fn new() -> Self {
        Self(Arc::new(watch::Sender::new(None)))
    }

    /// Asks for the end. `reason` is a sentence for the report.
    pub(crate) fn ask(&self, reason: impl Into<String>) {
        self.0.send_if_modified(|asked| {
            let first = asked.is_none();
            if first {
                *asked = Some(reason.into());
            }
            first
        });
    }

    /// Why it was asked, if it was.
    pub(crate) fn reason(&self) -> Option<String> {
        self.0.borrow().clone()
    }

    /// Whether it was asked.
    pub(crate) fn is_asked(&self) -> bool {
        self.0.borrow().is_some()
    }

    /// Resolves when it is asked; at once if it was.
    pub(crate) async fn asked(&self) {
        let mut asked = self.0.subscribe();
        // Fails only without a sender, and `self` is one.
        let _ = asked.wait_for(Option::is_some).await;
    }
}
