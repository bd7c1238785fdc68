//! Whoever waits for a state is woken by it, and by nothing else.

use std::sync::atomic::AtomicBool;
use std::task::{Context, Wake};

use futures_util::FutureExt;

use super::*;

impl Lifecycle {
    /// Goes on to `next` by what leads there.
    pub(crate) fn advance(&self, next: State) {
        match next {
            State::Starting => {}
            State::Ready => self.opened(),
            State::LameDuck => self.ask(Source::Operator, Wish::Cordon).expect("not too late"),
            State::Draining => {
                let (deadline, lame_duck) = (Duration::from_secs(1800), Some(Duration::ZERO));
                let drain = Wish::Drain(Drain { deadline, lame_duck });
                self.ask(Source::Operator, drain).expect("not too late");
            }
            State::Cutting => self.hurry(),
            State::Closing | State::Exit => self.look(0),
        }
    }
}

#[derive(Default)]
struct Woken(AtomicBool);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[test]
fn whoever_waits_for_a_state_is_woken_whoever_polled_it_first() {
    let life = Lifecycle::default();
    life.advance(State::Ready);
    let mut waiting = Box::pin(life.leaves(State::Ready));
    // Polled first by somebody who does not wait for it any more.
    assert!(waiting.as_mut().now_or_never().is_none());
    let woken = Arc::<Woken>::default();
    let waker = Waker::from(Arc::clone(&woken));
    let mut context = Context::from_waker(&waker);
    assert!(waiting.as_mut().poll(&mut context).is_pending());
    life.look(0);
    assert!(waiting.as_mut().poll(&mut context).is_pending());
    assert!(!woken.0.load(Ordering::Relaxed), "nothing to wake for");
    life.advance(State::Draining);
    assert!(woken.0.load(Ordering::Relaxed));
    assert_eq!(waiting.as_mut().poll(&mut context), Poll::Ready(State::Draining));
}

#[test]
fn a_wish_taken_back_leaves_the_wishes_of_others_in_force() {
    let life = Lifecycle::default();
    life.advance(State::Ready);
    life.ask(Source::Router, Wish::Cordon).unwrap();
    life.advance(State::Draining);
    assert!(life.leaving().is_some());
    life.ask(Source::Operator, Wish::Serve).unwrap();
    assert_eq!((life.state(), life.others_ask(Source::Operator)), (State::LameDuck, Some(Source::Router)));
    assert!(life.leaving().is_none());
    life.ask(Source::Router, Wish::Serve).unwrap();
    assert_eq!((life.state(), life.others_ask(Source::Operator)), (State::Ready, None));
    life.advance(State::Draining);
    life.advance(State::Cutting);
    assert_eq!(life.ask(Source::Operator, Wish::Serve), Err(TooLate(State::Cutting)));
    assert_eq!(life.report().wish.as_str(), "drain");
}
