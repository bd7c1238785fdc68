//! Who is charged for a task's work.
//!
//! The thread's CPU clock is read around some of a task's polls, and each measured poll stands for all. Which polls is
//! drawn by lot: a fixed step would meet the same one of two tasks that take turns. A task learns in the middle of a
//! poll whose it is, since a connection does not know its registry before its first request; what it used before that
//! is owed, and paid by the first payer. What nobody pays for is the node's own.

use std::cell::{Cell, RefCell};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::task::{Context, Poll};

use crate::clock::thread_time;
use crate::purse::Purse;

/// One poll in so many is measured.
static ONE_IN: AtomicU32 = AtomicU32::new(16);

/// Sets how many polls one that is measured stands for, 1 or more. For the whole process; 1 measures all.
pub fn measure_one_in(polls: u32) {
    ONE_IN.store(polls.max(1), Relaxed);
}

/// What a task owes, and who pays.
#[derive(Debug, Default)]
struct Bill {
    payer: Option<Arc<Purse>>,
    owed_nanos: u64,
    /// Handshakes that nobody has paid for: full and resumed.
    handshakes: [u32; 2],
}

impl Bill {
    fn pay(&mut self, nanos: u64) {
        match &self.payer {
            Some(purse) => purse.pay(nanos),
            None => self.owed_nanos = self.owed_nanos.saturating_add(nanos),
        }
    }

    fn settle(&mut self, purse: &Arc<Purse>) {
        if self.payer.as_ref().is_some_and(|payer| Arc::ptr_eq(payer, purse)) {
            return;
        }
        purse.pay(std::mem::take(&mut self.owed_nanos));
        let [full, resumed] = std::mem::take(&mut self.handshakes);
        (0..full).for_each(|_| purse.handshake(false));
        (0..resumed).for_each(|_| purse.handshake(true));
        self.payer = Some(Arc::clone(purse));
    }

    /// Does a piece of work with this bill in force.
    fn charge<T>(&mut self, work: impl FnOnce() -> T) -> T {
        if CURRENT.with(|current| current.borrow().is_some()) {
            // A task inside another: who measures the outer one measures it all.
            return work();
        }
        let measured = draw().map(|weight| (thread_time(), weight));
        let out = {
            let _in_force = InForce::new(self);
            work()
        };
        if let Some((began, weight)) = measured {
            let nanos = thread_time().saturating_sub(began).as_nanos();
            self.pay(u64::try_from(nanos).unwrap_or(0).saturating_mul(u64::from(weight)));
        }
        out
    }
}

thread_local! {
    /// The bill of the task that this thread polls.
    static CURRENT: RefCell<Option<Bill>> = const { RefCell::new(None) };
    /// Polls until the next one that is measured, and the lot's last number.
    static LOT: Cell<(u32, u32)> = const { Cell::new((0, 0)) };
}

/// Lends a bill to the thread, and takes it back though the work may panic.
struct InForce<'a>(&'a mut Bill);

impl<'a> InForce<'a> {
    fn new(bill: &'a mut Bill) -> Self {
        CURRENT.with(|current| *current.borrow_mut() = Some(std::mem::take(bill)));
        Self(bill)
    }
}

impl Drop for InForce<'_> {
    fn drop(&mut self) {
        if let Some(bill) = CURRENT.with(|current| current.borrow_mut().take()) {
            *self.0 = bill;
        }
    }
}

/// Whether this poll is measured, and how many it stands for.
fn draw() -> Option<u32> {
    let one_in = ONE_IN.load(Relaxed);
    if one_in == 1 {
        return Some(1);
    }
    LOT.with(|lot| {
        let (left, seed) = lot.get();
        if left > 0 {
            lot.set((left - 1, seed));
            return None;
        }
        // Marsaglia's xorshift; the first number is of the thread's own.
        let mut next = if seed == 0 { std::ptr::from_ref(lot) as usize as u32 | 1 } else { seed };
        next ^= next << 13;
        next ^= next >> 17;
        next ^= next << 5;
        // From 0 to twice the mean less one, so that one in `one_in` is measured.
        lot.set((next % (2 * one_in - 1), next));
        Some(one_in)
    })
}

/// From now on the task that calls this works for `purse`, which pays what was owed until now.
///
/// Says nothing outside of a [`charged`] task.
pub fn bill(purse: &Arc<Purse>) {
    CURRENT.with(|current| {
        if let Some(bill) = current.borrow_mut().as_mut() {
            bill.settle(purse);
        }
    });
}

/// The task that calls this has made a TLS handshake.
pub fn count_handshake(resumed: bool) {
    CURRENT.with(|current| {
        let mut current = current.borrow_mut();
        let Some(bill) = current.as_mut() else { return };
        match &bill.payer {
            Some(purse) => purse.handshake(resumed),
            None => bill.handshakes[usize::from(resumed)] += 1,
        }
    });
}

/// A task whose work is charged.
#[derive(Debug)]
pub struct Charged<F> {
    task: Pin<Box<F>>,
    bill: Bill,
}

/// `task`, whose work is owed until [`bill`] is called inside it.
pub fn charged<F: Future>(task: F) -> Charged<F> {
    Charged { task: Box::pin(task), bill: Bill::default() }
}

/// `task`, which works for whom the calling task works.
pub fn carried<F: Future>(task: F) -> Charged<F> {
    Charged { task: Box::pin(task), bill: Bill { payer: payer(), ..Bill::default() } }
}

/// Work for another thread, done for whom the calling task works.
pub fn carried_work<T>(work: impl FnOnce() -> T + Send) -> impl FnOnce() -> T + Send {
    let mut bill = Bill { payer: payer(), ..Bill::default() };
    move || bill.charge(work)
}

fn payer() -> Option<Arc<Purse>> {
    CURRENT.with(|current| current.borrow().as_ref().and_then(|bill| bill.payer.clone()))
}

impl<F: Future> Future for Charged<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        let Self { task, bill } = &mut *self;
        bill.charge(|| task.as_mut().poll(context))
    }
}

#[cfg(test)]
mod tests;
