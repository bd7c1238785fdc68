//! In place of a puller and its server: a pull that does what a test says.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use super::{MakePull, Pull};
use crate::outcome::{Failure, Outcome};
use crate::pull::Job;
use crate::sink::{Finished, Sink};

/// How a scripted pull passes its time.
pub(crate) trait Script: Clone + Send + Sync + 'static {
    /// Passes the time of one pull.
    fn serve(&self, job: &Job) -> impl Future<Output = ()>;

    /// What becomes of it.
    fn outcome(&self, _job: &Job) -> Outcome {
        Outcome::Ok
    }

    /// How many bytes it brings.
    fn bytes(&self, _job: &Job) -> u64 {
        7
    }
}

/// Makes pulls by a script.
#[derive(Clone)]
pub(crate) struct Scripted<S> {
    script: S,
    taken: Arc<Mutex<BTreeMap<u64, String>>>,
}

impl<S> Scripted<S> {
    pub(crate) fn new(script: S) -> Self {
        Self { script, taken: Arc::default() }
    }

    /// What each pull took.
    pub(crate) fn taken(&self) -> BTreeMap<u64, String> {
        self.taken.lock().expect("whole").clone()
    }
}

impl<S: Script> Pull for Scripted<S> {
    async fn pull(&self, job: Job, sink: &dyn Sink) {
        let started = Instant::now();
        self.taken.lock().expect("whole").insert(job.number, job.subject.to_string());
        sink.request();
        self.script.serve(&job).await;
        let (outcome, bytes) = (self.script.outcome(&job), self.script.bytes(&job));
        sink.received(bytes);
        let failure =
            (!outcome.is_good()).then(|| Failure { outcome, status: None, detail: "scripted".to_owned() });
        let ended = Instant::now();
        let Job { number, intended, .. } = job;
        sink.finished(&Finished { number, intended, started, ended, outcome, failure, bytes, resumes: 0 });
    }
}

impl<S: Script> MakePull for Scripted<S> {
    type Pull = Self;

    fn make(&self, _flow: usize, _thread: usize) -> Result<Self, String> {
        Ok(self.clone())
    }
}
