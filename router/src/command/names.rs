//! The outbox of names: what a webhook is told, never backwards.

use super::{Decision, Refusal};
use crate::record::{Record, SentRecord, sent_key};
use crate::state::State;

pub(super) fn put(state: &State, records: &[SentRecord]) -> Result<Decision, Refusal> {
    let mut decision = Decision::default();
    for record in records {
        let registry = &record.registry;
        let known = state.sent_of(registry);
        let is_older = |known: &&SentRecord| (record.history, record.epoch) < (known.history, known.epoch);
        if let Some(known) = known.filter(is_older) {
            return Err(Refusal::conflict(
                "epoch",
                format!(
                    "names of registry {registry} were sent for epoch {}; those of epoch {} are older, and are not sent after them",
                    known.epoch, record.epoch
                ),
            ));
        }
        if known == Some(record) {
            continue;
        }
        if record.is_sent && record.endpoints.is_empty() {
            decision.deletes.push(sent_key(registry));
        } else {
            decision.puts.push(Record::Sent(record.clone()));
        }
    }
    let verb = if records.iter().all(|record| record.is_sent) {
        "told the webhook"
    } else {
        "is to tell the webhook"
    };
    decision.done = format!("{verb} the names of {} registries", records.len());
    Ok(decision)
}
