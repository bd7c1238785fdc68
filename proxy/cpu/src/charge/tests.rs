//! Known loads, and what is found of them.

use std::future::poll_fn;
use std::task::Waker;
use std::time::Duration;

use super::*;

/// Uses so much of the thread's own time.
fn use_up(time: Duration) {
    let end = thread_time() + time;
    while thread_time() < end {}
}

/// A task of `polls` polls, each of which takes so long.
fn task(purse: &Arc<Purse>, polls: u32, each: Duration) -> impl Future<Output = ()> + use<> {
    let (purse, mut left) = (Arc::clone(purse), polls);
    poll_fn(move |context| {
        bill(&purse);
        use_up(each);
        left -= 1;
        if left == 0 {
            return Poll::Ready(());
        }
        context.waker().wake_by_ref();
        Poll::Pending
    })
}

/// Polls all in turn until each is done, as a thread of the runtime does.
fn run(tasks: Vec<Pin<Box<dyn Future<Output = ()>>>>) {
    let mut context = Context::from_waker(Waker::noop());
    let mut tasks = tasks;
    while !tasks.is_empty() {
        tasks.retain_mut(|task| task.as_mut().poll(&mut context).is_pending());
    }
}

fn milliseconds(purse: &Purse) -> f64 {
    purse.spent().cpu.as_secs_f64() * 1e3
}

const POLL: Duration = Duration::from_micros(40);

#[test]
fn two_tasks_that_take_turns_are_told_apart_though_few_polls_are_measured() {
    let (one, other) = (Arc::<Purse>::default(), Arc::<Purse>::default());
    // Strictly in turn: with a fixed step of an even number, one of them would pay for both.
    let polls = 4000;
    run(vec![Box::pin(charged(task(&one, polls, POLL * 3))), Box::pin(charged(task(&other, polls, POLL)))]);
    let (one, other) = (milliseconds(&one), milliseconds(&other));
    // A sixteenth of 4000 is measured, give or take its root: 6 %, at four times that.
    assert!((one - 480.0).abs() < 120.0 && (other - 160.0).abs() < 45.0, "{one} and {other} ms");
    let ratio = one / other;
    assert!((2.1..4.3).contains(&ratio), "{ratio}");
}

#[test]
fn what_is_used_before_the_payer_is_known_is_paid_by_the_first_one() {
    let (first, second) = (Arc::<Purse>::default(), Arc::<Purse>::default());
    let (payers, mut polls) = ([Arc::clone(&first), Arc::clone(&second)], 0_u32);
    let task = poll_fn(move |context| {
        polls += 1;
        if polls == 1 {
            count_handshake(false);
        }
        match polls {
            1001 => bill(&payers[0]),
            2001 => bill(&payers[1]),
            3000 => return Poll::Ready(()),
            _ => {}
        }
        use_up(POLL);
        context.waker().wake_by_ref();
        Poll::Pending
    });
    run(vec![Box::pin(charged(task))]);
    let (paid, rest) = (milliseconds(&first), milliseconds(&second));
    assert!((paid - 80.0).abs() < 24.0 && (rest - 40.0).abs() < 18.0, "{paid} and {rest} ms");
    assert_eq!((first.spent().full_handshakes, second.spent().full_handshakes), (1, 0));
}

#[test]
fn work_that_is_handed_on_is_charged_to_whom_it_was_done_for() {
    let purse = Arc::<Purse>::default();
    let payer = Arc::clone(&purse);
    run(vec![Box::pin(charged(async move {
        bill(&payer);
        let handed: Vec<_> = (0..1000).map(|_| carried_work(|| use_up(POLL))).collect();
        std::thread::spawn(move || handed.into_iter().for_each(|work| work())).join().expect("done");
    }))]);
    let paid = milliseconds(&purse);
    assert!((paid - 40.0).abs() < 18.0, "{paid} ms");
}

#[test]
fn a_task_inside_another_is_not_measured_twice_and_a_panic_leaves_no_payer_behind() {
    let purse = Arc::<Purse>::default();
    let inner = charged(task(&purse, 500, POLL));
    let payer = Arc::clone(&purse);
    run(vec![Box::pin(charged(async move {
        bill(&payer);
        inner.await;
    }))]);
    let paid = milliseconds(&purse);
    assert!((paid - 20.0).abs() < 14.0, "{paid} ms");
    let task = charged(async { panic!("as a request may") });
    let caught = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| run(vec![Box::pin(task)])));
    assert!(caught.is_err() && CURRENT.with(|current| current.borrow().is_none()));
}
