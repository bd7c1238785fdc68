//! What drives pulls knows of a pull.

use std::future::Future;

use crate::pull::{Job, Puller};
use crate::sink::Sink;

/// Makes the pulls of one flow on one thread.
pub(crate) trait Pull {
    /// Makes one pull and tells `sink` of it; ends with one [`Sink::finished`], unless it is dropped before.
    fn pull(&self, job: Job, sink: &dyn Sink) -> impl Future<Output = ()>;
}

/// Makes what makes pulls, on the thread that will use it.
pub(crate) trait MakePull: Sync {
    /// What it makes; need not leave its thread.
    type Pull: Pull + 'static;

    /// For the flow at this place of the plan, on this thread.
    ///
    /// # Errors
    ///
    /// A sentence for a person.
    fn make(&self, flow: usize, thread: usize) -> Result<Self::Pull, String>;
}

impl Pull for Puller {
    async fn pull(&self, job: Job, sink: &dyn Sink) {
        Self::pull(self, job, sink).await;
    }
}
