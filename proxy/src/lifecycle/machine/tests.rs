//! Each state is left for the right one at the right moment, and no order of events breaks what a drain promises.

use rand::rngs::SmallRng;
use rand::{RngExt as _, SeedableRng as _};

use super::*;

const SECOND: Duration = Duration::from_secs(1);

/// A machine with a clock of its own.
struct Node {
    machine: Machine,
    now: Instant,
    seen: Seen,
}

fn node() -> Node {
    let now = Instant::now();
    let mut machine = Machine::new(Timers::default(), now);
    machine.opened(now);
    Node { machine, now, seen: Seen { open: 1, cuts: 0, last_arrival: None } }
}

fn drain(seconds: u64) -> Wish {
    Wish::Drain(Drain { deadline: Duration::from_secs(seconds), lame_duck: None })
}

fn drain_at_once(seconds: u64) -> Wish {
    Wish::Drain(Drain { deadline: Duration::from_secs(seconds), lame_duck: Some(Duration::ZERO) })
}

impl Node {
    fn ask(&mut self, wish: Wish) -> State {
        self.machine.ask(wish, self.now).expect("not too late");
        self.machine.state()
    }

    fn look(&mut self) -> State {
        self.machine.look(self.seen, self.now);
        self.machine.state()
    }

    /// Lets so much time pass, looking when the machine wants it.
    fn pass(&mut self, time: Duration) -> State {
        let until = self.now + time;
        while let Some(due) = self.machine.due().filter(|due| *due <= until) {
            self.now = self.now.max(due);
            self.look();
        }
        self.now = until;
        self.look()
    }

    fn empty(&mut self) -> State {
        self.seen.open = 0;
        self.look()
    }
}

#[test]
fn a_drain_goes_through_lame_duck_and_ends_when_the_last_connection_does() {
    let mut node = node();
    assert_eq!(node.ask(drain(1800)), State::LameDuck);
    assert_eq!(node.pass(9 * SECOND), State::LameDuck);
    node.seen.last_arrival = Some(node.now);
    assert_eq!(node.pass(5 * SECOND), State::LameDuck, "somebody still comes");
    assert_eq!(node.pass(SECOND), State::Draining, "the time is over");
    assert_eq!(node.pass(1700 * SECOND), State::Draining);
    assert_eq!((node.empty(), node.machine.ending()), (State::Exit, Ending::Clean));
}

#[test]
fn lame_duck_ends_early_when_nobody_comes_any_more_and_is_left_out_where_routers_know() {
    let mut node = node();
    node.ask(drain(1800));
    assert_eq!(node.pass(10 * SECOND), State::Draining);
    let mut node = self::node();
    node.seen.open = 0;
    assert_eq!(node.ask(drain_at_once(1800)), State::Draining);
    assert_eq!(node.look(), State::Exit, "and an empty node ends at once");
}

#[test]
fn a_cordoned_node_waits_for_ever_and_the_time_counts_when_it_drains() {
    let mut node = node();
    assert_eq!(node.ask(Wish::Cordon), State::LameDuck);
    assert_eq!(node.machine.due(), None);
    assert_eq!(node.pass(86_400 * SECOND), State::LameDuck);
    assert_eq!(node.empty(), State::LameDuck, "the process stays");
    assert_eq!(node.ask(drain(1800)), State::Draining, "routers have known for long");
    assert_eq!(node.ask(Wish::Cordon), State::LameDuck);
    assert_eq!(node.ask(Wish::Serve), State::Ready);
}

#[test]
fn what_runs_at_the_deadline_is_cut_and_the_node_waits_for_those_who_come_back() {
    let mut node = node();
    node.ask(drain_at_once(60));
    assert_eq!(node.pass(59 * SECOND), State::Draining);
    assert_eq!(node.pass(SECOND), State::Cutting);
    assert_eq!(node.machine.ask(Wish::Serve, node.now), Err(TooLate(State::Cutting)));
    node.seen.cuts = 1;
    assert_eq!(node.empty(), State::Closing);
    node.pass(4 * SECOND);
    node.seen = Seen { open: 1, last_arrival: Some(node.now), ..node.seen };
    assert_eq!(node.pass(5 * SECOND), State::Closing, "one has come back");
    assert_eq!((node.empty(), node.machine.ending()), (State::Exit, Ending::Cut));
}

#[test]
fn a_node_that_cut_nothing_does_not_wait_and_one_that_hurries_does_not_drain() {
    let mut node = node();
    node.ask(drain(1800));
    node.machine.hurry(node.now);
    assert_eq!(node.look(), State::Cutting);
    assert_eq!((node.empty(), node.machine.ending()), (State::Exit, Ending::Clean));
}

#[test]
fn the_hard_stop_is_thirty_seconds_after_the_deadline() {
    let mut node = node();
    node.ask(drain_at_once(60));
    assert_eq!(node.pass(89 * SECOND), State::Cutting);
    assert_eq!(node.pass(SECOND), State::Exit);
    assert_eq!(node.machine.ending(), Ending::HardStop);
}

#[test]
fn the_same_wish_again_changes_nothing_and_a_deadline_only_comes_nearer() {
    let mut node = node();
    node.ask(drain_at_once(1800));
    let (since, deadline) = (node.machine.since, node.machine.deadline());
    node.pass(100 * SECOND);
    node.ask(drain_at_once(1800));
    assert_eq!((node.machine.since, node.machine.deadline()), (since, deadline));
    node.ask(drain(60));
    assert_eq!(node.machine.deadline(), Some(node.now + 60 * SECOND));
}

#[test]
fn a_short_deadline_leaves_most_of_its_time_to_running_pulls() {
    let mut node = node();
    node.machine.timers.lame_duck = 200 * SECOND;
    node.ask(drain(32));
    assert_eq!(node.pass(7 * SECOND), State::LameDuck);
    assert_eq!(node.pass(SECOND), State::Draining);
}

#[test]
fn a_node_that_still_starts_ends_at_once_and_may_start_cordoned() {
    let now = Instant::now();
    let mut machine = Machine::new(Timers::default(), now);
    machine.ask(Wish::Cordon, now).unwrap();
    assert_eq!(machine.state(), State::Starting);
    machine.opened(now);
    assert_eq!(machine.state(), State::LameDuck);
    let mut machine = Machine::new(Timers::default(), now);
    machine.ask(drain(60), now).unwrap();
    assert_eq!((machine.state(), machine.ending()), (State::Exit, Ending::Clean));
}

/// Any order of wishes, arrivals, ends and time: I1 (nothing ends but by itself, by a cut that counts, or at the hard
/// stop), I2 (there is a state that answers until EXIT) and I7 (what is cut before the hard stop is cut softly) of the
/// design hold, states only go where they may, and a drain that nobody takes back ends by its hard stop.
#[test]
fn whatever_happens_in_whatever_order_a_node_never_leaves_a_response_behind() {
    let seed: u64 = rand::random();
    println!("seed {seed}");
    let mut random = SmallRng::seed_from_u64(seed);
    for _ in 0..5_000 {
        one_life(&mut random);
    }
}

fn one_life(random: &mut SmallRng) {
    let mut node = node();
    node.seen.open = random.random_range(0..4);
    let mut bound: Option<Instant> = None;
    for _ in 0..200 {
        let before = node.machine.state();
        let step = Duration::from_millis(random.random_range(0..20_000));
        match random.random_range(0..12) {
            0 => drop(node.machine.ask(Wish::Serve, node.now)),
            1 => drop(node.machine.ask(Wish::Cordon, node.now)),
            2 => drop(node.machine.ask(drain(random.random_range(0..100)), node.now)),
            3 => drop(node.machine.ask(drain_at_once(random.random_range(0..100)), node.now)),
            4 if random.random_bool(0.2) => node.machine.hurry(node.now),
            5 | 6 => {
                node.seen.open += 1;
                node.seen.last_arrival = Some(node.now);
            }
            7 | 8 => node.seen.open = node.seen.open.saturating_sub(1),
            9 if before >= State::Cutting && node.seen.open > 0 => {
                node.seen.open -= 1;
                node.seen.cuts += 1;
            }
            _ => node.now += step,
        }
        step_to(&mut node, before);
        let state = node.machine.state();
        bound = match (node.machine.deadline(), node.machine.hard_stop()) {
            (_, Some(hard)) => Some(hard),
            (Some(deadline), None) => Some(deadline + node.machine.timers.hard_stop),
            (None, None) => None,
        };
        if state == State::Exit {
            break;
        }
    }
    if let Some(bound) = bound {
        let before = node.machine.state();
        node.now = node.now.max(bound);
        step_to(&mut node, before);
        // The deadline itself may have led to CUTTING only now.
        node.now += node.machine.timers.hard_stop;
        node.look();
        assert_eq!(node.machine.state(), State::Exit);
    }
}

/// Looks until nothing changes, as the node does, and judges each change.
fn step_to(node: &mut Node, mut before: State) {
    loop {
        let after = node.machine.state();
        let may = match before {
            State::Starting => [State::Ready, State::LameDuck, State::Exit].contains(&after),
            State::Ready | State::LameDuck | State::Draining => {
                after != State::Starting && after != State::Closing
            }
            State::Cutting => [State::Closing, State::Exit].contains(&after),
            State::Closing => after == State::Exit,
            State::Exit => false,
        };
        assert!(may || after == before, "{before:?} to {after:?}");
        if after == State::Exit && after != before {
            let hard = node.machine.hard_stop().is_some_and(|hard| node.now >= hard);
            let expected = match (node.seen.open, node.seen.cuts) {
                (0, 0) => [Ending::Clean, Ending::Cut].contains(&node.machine.ending()),
                (0, _) => node.machine.ending() == Ending::Cut,
                _ => hard && node.machine.ending() == Ending::HardStop,
            };
            assert!(expected, "{:?} with {:?}", node.machine.ending(), node.seen);
        }
        assert!(
            (after == State::Exit)
                || node.machine.due().is_some()
                    == (node.machine.deadline().is_some() || after >= State::Cutting),
            "a drain under way always knows when to go on: {:?}",
            node.machine
        );
        before = after;
        node.look();
        if node.machine.state() == before {
            let due = node.machine.due();
            assert!(due.is_none_or(|due| due > node.now), "it would look for ever: {:?}", node.machine);
            return;
        }
    }
}
