//! One pull from its begin to its end: which client, whose connections, how long, and what came of it.

mod check;

use std::num::NonZeroU32;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::access::{Access, AccessError};
use crate::client::{self, Manner};
use crate::habits::{Habits, Keeping};
use crate::outcome::{Failure, Outcome};
use crate::phase::Phase;
use crate::places::Places;
use crate::plan::{Client, Reading};
use crate::request::Courier;
use crate::seen::Seen;
use crate::session::Session;
use crate::sink::{Finished, Sink};
use crate::subject::{Subject, What};
use crate::token::Tokens;
use crate::wire::{Dialer, Pool, Scratch};

/// Connections that are kept between pulls where the client keeps them for ever: more than pulls can be under way.
const KEPT: usize = 1 << 20;

/// A pull that is to be made.
#[derive(Clone, Debug)]
pub struct Job {
    /// Its place in the order of intended starts, from 0.
    pub number: u64,
    /// What is pulled.
    pub subject: Arc<Subject>,
    /// When it was meant to start.
    pub intended: Instant,
}

/// Makes the pulls of one flow on one thread.
///
/// Its pulls share a resolver and, where the client keeps them for ever, connections and tokens. It is not `Send`: each pulling
/// thread has its own, on a current-thread runtime.
pub struct Puller {
    access: Arc<Access>,
    client: Client,
    habits: &'static Habits,
    reading: Reading,
    layers_at_once: usize,
    dialer: Dialer,
    kept: Pool,
    tokens: Tokens,
    places: Places,
    hurry: u32,
}

impl Puller {
    /// Makes a puller; nothing is asked of anybody yet. `seed`: of the places that lazy pulls read.
    ///
    /// Errors: a way to read that this client does not have, or that says nothing.
    pub fn new(
        access: Arc<Access>,
        client: Client,
        reading: Reading,
        seed: u64,
    ) -> Result<Self, AccessError> {
        check(client, &reading)?;
        let habits = client::habits(client);
        let dialer = Dialer {
            redirected: Arc::clone(&access.redirected),
            tls: access.tls.clone(),
            connect_within: habits.connect_within,
            tls_within: habits.tls_within,
            scratch: Rc::new(Scratch::new()),
        };
        let layers_at_once = reading.layers_at_once.map_or(habits.layers_at_once, usize::from);
        let kept = match habits.keeping {
            Keeping::Always => Pool::new(KEPT, Duration::MAX),
            _ => Pool::new(0, Duration::ZERO),
        };
        let (tokens, places) = (Tokens::default(), Places::new(seed));
        Ok(Self { access, client, habits, reading, layers_at_once, dialer, kept, tokens, places, hurry: 1 })
    }

    /// Divides the pauses that the client makes between attempts. For tests: a pull in a hurry is not that client's any more.
    #[must_use]
    pub fn in_a_hurry(self, divisor: NonZeroU32) -> Self {
        Self { hurry: divisor.get(), ..self }
    }

    /// Makes one pull, and tells `sink` what it sees; `finished` comes last, once. Dropped before its end, it tells nothing
    /// more.
    pub async fn pull(&self, job: Job, sink: &dyn Sink) {
        let started = Instant::now();
        let seen = Seen::new(sink);
        let result = {
            let mut attempt = pin!(self.attempt(&job.subject, &seen));
            let result = tokio::time::timeout(self.reading.timeout, attempt.as_mut()).await;
            if result.is_err() {
                // Said before the attempt is dropped, so that its clocks know why they are stopped.
                seen.time_out();
            }
            result
        };
        let result = result.unwrap_or_else(|_| Err(self.timed_out(&seen)));
        let ended = Instant::now();
        let (outcome, failure) = match result {
            Ok(outcome) => (outcome, None),
            Err(failure) => (failure.outcome, Some(failure)),
        };
        let (bytes, resumes) = (seen.bytes(), seen.resumes());
        let finished = Finished {
            number: job.number,
            intended: job.intended,
            started,
            ended,
            outcome,
            failure,
            bytes,
            resumes,
        };
        sink.phase(Phase::Pull, outcome, finished.latency());
        sink.finished(&finished);
    }

    async fn attempt(&self, subject: &Subject, seen: &Seen<'_>) -> Result<Outcome, Failure> {
        let own = match self.habits.keeping {
            Keeping::ForThePull { idle, idle_for } => Some(Pool::new(idle, idle_for)),
            Keeping::Never | Keeping::Always => None,
        };
        // Each pull of a client gets rights of its own, and the registry's token server feels each.
        let own_tokens = Tokens::default();
        let tokens = if self.habits.keeping == Keeping::Always { &self.tokens } else { &own_tokens };
        let courier = Courier {
            dialer: &self.dialer,
            pool: own.as_ref().unwrap_or(&self.kept),
            habits: self.habits,
            sink: seen.sink,
        };
        let repository = subject.repository();
        let mut session =
            Session::new(&self.access, courier, (tokens, &self.places), seen, &subject.endpoint, repository);
        session.hurry = self.hurry;
        let manner = Manner { reading: &self.reading, layers_at_once: self.layers_at_once };
        match &subject.what {
            What::Image { repository, reference } => {
                client::image(self.client, &session, &manner, repository, reference).await
            }
            What::Blob { path, sha256 } => {
                let blob = manner.blob(self.habits, path, sha256.as_deref());
                client::blob(self.client, &session, &blob).await
            }
        }
    }

    fn timed_out(&self, seen: &Seen<'_>) -> Failure {
        let limit = humantime::format_duration(self.reading.timeout);
        let detail =
            format!("the pull had not ended within {limit}, after {} bytes; {}", seen.bytes(), seen.last());
        Failure { outcome: Outcome::Timeout, status: None, detail }
    }
}

fn check(client: Client, reading: &Reading) -> Result<(), AccessError> {
    let wrong = |what| Err(AccessError::Reading(what));
    if reading.rate == Some(0) {
        return wrong("a reading rate of 0 would never end; leave it out to read as fast as bytes come");
    }
    if reading.layers_at_once == Some(0) {
        return wrong("0 layers at once would never begin; it takes at least 1");
    }
    // What containerd itself asks for (`minChunkSize`).
    if reading.chunk.is_some_and(|chunk| chunk < 512) {
        return wrong("a chunk has at least 512 bytes");
    }
    if reading.chunk.is_some() && client != Client::Containerd {
        return wrong("reading in chunks is a way of containerd; no other client does it");
    }
    if reading.chunk.is_some() && reading.ranges.is_some() {
        return wrong("a layer is read in chunks or by ranges, not both");
    }
    if reading.ranges.is_some_and(|ranges| ranges.count == 0 || ranges.size == 0) {
        return wrong("ranges take a count and a size of at least 1");
    }
    Ok(())
}
