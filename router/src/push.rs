//! Names go to a DNS provider: what its webhook lacks is written to the outbox, sent, and marked as sent.
//!
//! The outbox is in the store, a record a registry, so that whoever leads next knows what may have been sent and sends it
//! again before anything newer. Only the leader sends; the store refuses an epoch that is lower than one which was sent.
//! A leader waits at the beginning of its term for as long as a request of the one before may be under way.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use dataproxy_router_api::Point;
use http::{Method, Request, header};
use http_body_util::{BodyExt, Full, Limited};
use serde::Deserialize;
use tokio::time::{sleep, timeout};

use crate::client::{self, ClientError, Pool};
use crate::command::{Command, Occasion};
use crate::control::Control;
use crate::dns::{Changes, RecordSets, Zone, by_registry};
use crate::leader::Standing;
use crate::migration::UnixMillis;
use crate::reconcile::{Lead, fence};
use crate::record::SentRecord;
use crate::state::State;

/// Longest wait for the receiver's answer.
const PATIENCE: Duration = Duration::from_secs(5);
/// First wait after a failure; each further one doubles it.
const PAUSE_MIN: Duration = Duration::from_millis(500);
/// Longest such wait.
const PAUSE_MAX: Duration = Duration::from_secs(30);
/// Registries of one request: well below what a commit takes.
const BATCH: usize = 32;
/// Most of an answer that is read.
const ANSWER_BYTES: usize = 64 << 10;
/// What ExternalDNS calls its JSON.
const MEDIA: &str = "application/external.dns.webhook+json;version=1";

/// A webhook that is told of every change of names.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Webhook {
    /// Its base: changes are posted to `<url>/records`.
    pub url: String,
    /// File with the token that it is shown as a bearer's.
    pub token_file: Option<PathBuf>,
    /// File with the authorities to believe, in PEM, instead of the system's.
    pub ca_file: Option<PathBuf>,
}

/// Sends for as long as it is polled and this router leads. Safe to drop at any point.
///
/// # Errors
/// [`ClientError::File`]: the authorities cannot be read.
pub fn push(
    control: Arc<Control>,
    zone: Zone,
    webhook: Webhook,
    lead: Lead,
    clock: fn() -> UnixMillis,
) -> Result<impl Future<Output = ()>, ClientError> {
    let pool = client::pool(webhook.ca_file.as_deref())?;
    Ok(Pusher { control, zone, webhook, pool, lead, clock }.run())
}

struct Pusher {
    control: Arc<Control>,
    zone: Zone,
    webhook: Webhook,
    pool: Pool,
    lead: Lead,
    clock: fn() -> UnixMillis,
}

/// What is next for the outbox.
#[derive(Clone, Debug, PartialEq)]
pub enum Due {
    /// To be written to it: the webhook lacks these.
    Write(Vec<SentRecord>),
    /// To be sent: they are in it.
    Send(Vec<SentRecord>),
}

/// What is next; nothing if the webhook has all. What is in the outbox goes out first, so that nothing overtakes it.
pub fn due(state: &State, zone: &Zone) -> Option<Due> {
    let waiting: Vec<SentRecord> = state.sent().filter(|sent| !sent.is_sent).take(BATCH).cloned().collect();
    if !waiting.is_empty() {
        return Some(Due::Send(waiting));
    }
    let mut wanted = by_registry(&RecordSets::new(zone, &state.snapshot()));
    let history = state.history();
    let mut lacking = Vec::new();
    for sent in state.sent() {
        match wanted.remove(&sent.registry) {
            Some((epoch, endpoints)) if endpoints != sent.endpoints => {
                lacking.push(SentRecord { history, epoch, ..sent.changed(endpoints) });
            }
            Some(_) => {}
            None => lacking.push(SentRecord { history, ..sent.changed(Vec::new()) }),
        }
    }
    lacking.extend(wanted.into_iter().map(|(registry, (epoch, endpoints))| SentRecord {
        registry,
        history,
        epoch,
        endpoints,
        before: Vec::new(),
        is_sent: false,
    }));
    lacking.truncate(BATCH);
    (!lacking.is_empty()).then_some(Due::Write(lacking))
}

impl Pusher {
    async fn run(mut self) {
        loop {
            let leads = |standing: &Standing| matches!(standing, Standing::Leading(_));
            let Ok(term) = self.lead.wait_for(leads).await.map(|standing| standing.clone()) else { return };
            // What the leader before has sent may still be on its way.
            sleep(PATIENCE).await;
            let mut revisions = self.control.revisions();
            let mut pause = PAUSE_MIN;
            while *self.lead.borrow_and_update() == term {
                revisions.borrow_and_update();
                let (due, point) = {
                    let state = self.control.state();
                    (due(&state, &self.zone), state.point())
                };
                let done = match due {
                    None => {
                        tokio::select! {
                            changed = revisions.changed() => if changed.is_err() { return },
                            changed = self.lead.changed() => if changed.is_err() { return },
                        }
                        continue;
                    }
                    Some(Due::Write(records)) => self.keep(records, &term).await,
                    Some(Due::Send(records)) => self.send(records, &term, point).await,
                };
                match done {
                    Ok(()) => pause = PAUSE_MIN,
                    Err(error) => {
                        tracing::warn!(error, "names are not told to the webhook; it is tried again");
                        sleep(pause).await;
                        pause = (pause * 2).min(PAUSE_MAX);
                    }
                }
            }
        }
    }

    /// Writes to the outbox, as the leader of this term.
    async fn keep(&self, records: Vec<SentRecord>, term: &Standing) -> Result<(), String> {
        let now = (self.clock)();
        let occasion = Occasion { actor: "router".into(), reason: "names have changed".into(), now };
        let kept = self.control.execute(&Command::Names { records }, &occasion, fence(term).as_ref()).await;
        kept.map(drop).map_err(|error| error.to_string())
    }

    async fn send(&self, records: Vec<SentRecord>, term: &Standing, point: Point) -> Result<(), String> {
        let mut changes = Changes::default();
        for record in &records {
            changes.add(&record.before, &record.endpoints);
        }
        let (Some(fence), true) = (fence(term), *self.lead.borrow() == *term) else { return Ok(()) };
        let body = serde_json::to_vec(&changes).map_err(|error| error.to_string())?;
        let url = format!("{}/records", self.webhook.url.trim_end_matches('/'));
        let mut request =
            Request::builder().method(Method::POST).uri(url).header(header::CONTENT_TYPE, MEDIA);
        // For receivers that compare them; ExternalDNS's own do not.
        if let crate::store::Compare::Version { is, .. } = fence {
            request = request.header("dataproxy-fence", is.to_string());
        }
        request = request.header("dataproxy-history", point.history.to_string());
        request = request.header("dataproxy-revision", point.revision.to_string());
        if let Some(path) = &self.webhook.token_file {
            let token = tokio::fs::read_to_string(path).await;
            let token = token.map_err(|error| format!("{}: {error}", path.display()))?;
            request = request.header(header::AUTHORIZATION, format!("Bearer {}", token.trim()));
        }
        let request = request.body(Full::new(Bytes::from(body))).map_err(|error| error.to_string())?;
        let asked = async {
            let response = self.pool.request(request).await.map_err(|error| client::whole(&error))?;
            let status = response.status();
            let body = Limited::new(response.into_body(), ANSWER_BYTES).collect().await;
            let words = body.map(http_body_util::Collected::to_bytes).unwrap_or_default();
            match status.is_success() {
                true => Ok(()),
                false => {
                    let words: String = String::from_utf8_lossy(&words).chars().take(200).collect();
                    Err(format!("it answers {status}: {words}"))
                }
            }
        };
        let late = |_| format!("it did not answer within {} s", PATIENCE.as_secs());
        timeout(PATIENCE, asked).await.map_err(late)??;
        let sent = records.into_iter().map(SentRecord::sent).collect();
        self.keep(sent, term).await
    }
}

#[cfg(test)]
mod tests;
