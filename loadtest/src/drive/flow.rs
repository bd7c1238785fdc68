//! Starts the pulls of one flow on one thread, each at its time.

use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::alarm::Alarm;
use super::seam::Pull;
use super::stop::Stop;
use crate::pull::Job;
use crate::schedule::{Closed, Schedule};
use crate::subject::Subject;
use crate::tally::Tally;
use crate::workload::Workload;

/// A flow on one thread.
pub(super) struct Pump<P> {
    pub(super) puller: P,
    pub(super) tally: Arc<Tally>,
    pub(super) workload: Workload,
    pub(super) stop: Stop,
    /// The start of the run.
    pub(super) start: Instant,
    /// One permit for each pull that may be under way on this thread, whatever its flow.
    pub(super) slots: Arc<Semaphore>,
    /// Counts the pulls that found none free.
    pub(super) held_back: Arc<AtomicU64>,
}

impl<P: Pull + 'static> Pump<P> {
    /// Starts what `schedule` says, of it every `threads`-th from `thread` on. Ends with the schedule or when it is asked to
    /// stop; the pulls go on.
    ///
    /// # Errors
    ///
    /// If there is no timer.
    pub(super) async fn open(
        self: Rc<Self>,
        schedule: Schedule,
        thread: u64,
        threads: u64,
    ) -> std::io::Result<()> {
        let alarm = Alarm::new()?;
        let mut own = schedule.filter(|arrival| arrival.number % threads == thread).peekable();
        while let Some(arrival) = own.peek() {
            let intended = self.start + arrival.at;
            // What is due is started without a look at anything else, but the thread's other work gets its turns.
            if Instant::now() < intended {
                tokio::select! {
                    biased;
                    () = self.stop.asked() => break,
                    woken = alarm.precisely_until(intended) => woken?,
                }
            } else {
                tokio::task::coop::consume_budget().await;
                if self.stop.is_asked() {
                    break;
                }
            }
            let Some(slot) = self.slot().await else { break };
            let Some(arrival) = own.next() else { break };
            let subject = arrival.subject.or_else(|| self.workload.subject(arrival.number));
            let Some(subject) = subject else { break };
            let pump = Rc::clone(&self);
            tokio::task::spawn_local(async move {
                pump.pull(arrival.number, intended, subject).await;
                drop(slot);
            });
        }
        let stopped = Instant::now();
        for arrival in own.take_while(|arrival| self.start + arrival.at < stopped) {
            self.tally.never_started(self.start + arrival.at);
        }
        Ok(())
    }

    /// A place for one more pull; `None` if the run is stopped before there is one.
    pub(super) async fn slot(&self) -> Option<OwnedSemaphorePermit> {
        if let Ok(slot) = Arc::clone(&self.slots).try_acquire_owned() {
            return Some(slot);
        }
        self.held_back.fetch_add(1, Ordering::Relaxed);
        tokio::select! {
            biased;
            () = self.stop.asked() => None,
            slot = Arc::clone(&self.slots).acquire_owned() => slot.ok(),
        }
    }

    /// One puller of a closed loop: a pull, a pause, the next pull. `next` numbers the pulls of all threads.
    ///
    /// # Errors
    ///
    /// If there is no timer.
    pub(super) async fn closed(self: Rc<Self>, closed: Closed, next: Arc<AtomicU64>) -> std::io::Result<()> {
        let alarm = Alarm::new()?;
        let end = self.start + closed.end;
        let mut due = self.start + closed.begin;
        while due < end {
            tokio::select! {
                biased;
                () = self.stop.asked() => break,
                woken = alarm.until(due) => woken?,
            }
            let number = next.fetch_add(1, Ordering::Relaxed);
            if number >= closed.most {
                break;
            }
            let Some(subject) = self.workload.subject(number) else { break };
            // It is meant to start when its puller is free: this is what a closed loop is.
            self.pull(number, Instant::now(), subject).await;
            due = Instant::now() + closed.think;
        }
        Ok(())
    }

    async fn pull(&self, number: u64, intended: Instant, subject: Arc<Subject>) {
        let sink = self.tally.begin(intended, Arc::clone(&subject));
        self.puller.pull(Job { number, subject, intended }, &sink).await;
    }
}
