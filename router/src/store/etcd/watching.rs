//! A watch that goes on at another member when its own fails.
//!
//! It resumes at the last revision that it told, and skips what it has told: to begin at the one after could
//! miss a delete at the revision of a compaction, and a member that is behind may send what is older than was
//! asked for. Progress notices are not taken as a place to resume at (`docs/adr/0015-etcd.md`).

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use futures_util::{StreamExt, stream};
use tokio::time::{Instant, sleep};
use tonic::{Status, Streaming};

use super::super::{Changes, KeyChange, Revision, StoreError, StoreErrorKind, Watch};
use super::cluster::Cluster;
use super::errors::{self, Meaning};
use super::messages::{Event, WatchCreateRequest, WatchRequest, WatchResponse};
use super::translate::{self, Names};

const WATCH: &str = "/etcdserverpb.Watch/Watch";
/// How long a member may take to begin.
const BEGIN: Duration = Duration::from_secs(2);

pub(super) fn watch(cluster: Arc<Cluster>, names: Names, prefix: &str, after: Revision) -> Watch {
    let follower = Follower {
        cluster,
        names,
        prefix: prefix.to_owned(),
        told: after,
        stream: None,
        batches: VecDeque::new(),
        tries: 0,
        logins: 0,
    };
    stream::unfold(Some(follower), |follower| async {
        let mut follower = follower?;
        match follower.next().await {
            Ok(batch) => Some((Ok(batch), Some(follower))),
            Err(error) => Some((Err(error), None)),
        }
    })
    .boxed()
}

struct Follower {
    cluster: Arc<Cluster>,
    names: Names,
    prefix: String,
    told: Revision,
    /// With the turn of the member that it is at.
    stream: Option<(usize, Streaming<WatchResponse>)>,
    batches: VecDeque<Changes>,
    tries: usize,
    logins: u32,
}

impl Follower {
    async fn next(&mut self) -> Result<Changes, StoreError> {
        loop {
            if let Some(batch) = self.batches.pop_front() {
                self.told = batch.revision;
                return Ok(batch);
            }
            let Some((turn, stream)) = &mut self.stream else {
                self.begin().await?;
                continue;
            };
            match stream.message().await {
                Ok(Some(answer)) => {
                    let turn = *turn;
                    self.take(answer, turn)?;
                }
                Ok(None) => self.lose(),
                Err(status) => {
                    self.lose();
                    self.judge(&status).await?;
                }
            }
        }
    }

    /// Goes on at the next member.
    fn lose(&mut self) {
        if let Some((turn, _)) = self.stream.take() {
            self.cluster.pass_on_from(turn);
        }
    }

    async fn begin(&mut self) -> Result<(), StoreError> {
        let (key, range_end) = self.names.range(&self.prefix);
        // 0 would be now.
        let start_revision = translate::signed(self.told).max(1);
        let create = WatchCreateRequest { key, range_end, start_revision };
        // The stream lives as long as the questions do.
        let questions =
            stream::once(std::future::ready(WatchRequest { create: Some(create) })).chain(stream::pending());
        let by = Instant::now() + BEGIN.min(self.cluster.limit());
        match self.cluster.open(WATCH, questions, by).await {
            Ok(stream) => self.stream = Some(stream),
            Err(failed) => {
                self.cluster.pass_on(&failed, &mut self.tries).await;
                self.judge(&failed.status).await?;
            }
        }
        Ok(())
    }

    /// Whether a failure is the end of the watch.
    async fn judge(&mut self, status: &Status) -> Result<(), StoreError> {
        match errors::meaning(status) {
            Meaning::Refused(kind) => Err(errors::error(kind, status)),
            Meaning::LoginAgain => self.cluster.after_a_refused_login(&mut self.logins, status),
            Meaning::NotTaken | Meaning::Lost => {
                // A member that ends every stream at once is not asked in a tight loop.
                sleep(Duration::from_millis(50)).await;
                Ok(())
            }
        }
    }

    fn take(&mut self, answer: WatchResponse, turn: usize) -> Result<(), StoreError> {
        let corrupt = |status: Status| errors::error(StoreErrorKind::Corrupt, &status);
        self.cluster.is_the_same_cluster(&answer).map_err(corrupt)?;
        (self.tries, self.logins) = (0, 0);
        if answer.compact_revision > 0 {
            let why = format!("revision {} is compacted; {} was told", answer.compact_revision, self.told);
            return Err(StoreError::new(StoreErrorKind::Compacted, why));
        }
        if answer.canceled {
            let reason = answer.cancel_reason;
            if reason.contains("permission denied") {
                return Err(StoreError::new(StoreErrorKind::Denied, format!("etcd says: {reason}")));
            }
            self.stream = None;
            self.cluster.pass_on_from(turn);
            return Ok(());
        }
        for event in answer.events {
            self.add(event)?;
        }
        Ok(())
    }

    /// Adds an event to the batch of its revision. An answer has revisions whole, and in order.
    fn add(&mut self, event: Event) -> Result<(), StoreError> {
        let kv = event.kv.unwrap_or_default();
        let revision = translate::revision(kv.mod_revision)?;
        if revision <= self.told {
            return Ok(());
        }
        let change = match event.kind {
            0 => KeyChange::Put(self.names.entry(&kv)?),
            _ => KeyChange::Deleted(self.names.key(&kv.key)?),
        };
        match self.batches.back_mut() {
            Some(batch) if batch.revision == revision => batch.changes.push(change),
            _ => self.batches.push_back(Changes { revision, changes: vec![change] }),
        }
        Ok(())
    }
}
