//! A machine whose clocks and counters are told what to do.

use proptest::prelude::*;

use super::*;

const BIN: Duration = Duration::from_secs(60);
const SECOND: Duration = Duration::from_secs(1);

/// A machine of two cores.
struct Machine {
    meter: Meter,
    now: Reading,
    bins: Vec<Measured>,
}

impl Machine {
    /// Its wall's clock shows a full minute.
    fn new() -> Self {
        let wall = Duration::from_secs(1_700_000_040);
        let times = Times { wall, running: Duration::from_secs(500), boot: Duration::from_secs(700) };
        let counters = Counters {
            busy: Duration::from_secs(100),
            steal: Duration::ZERO,
            cores: 2.0,
            scope: Scope::Host,
            counter: 0,
        };
        let now = Reading { times, counters, in_rotation: true };
        let mut machine = Self { meter: Meter::new(BIN, SECOND), now, bins: Vec::new() };
        machine.read();
        machine
    }

    fn read(&mut self) {
        self.bins.extend(self.meter.take(self.now));
    }

    /// Time passes, with this part of the cores busy.
    fn pass(&mut self, time: Duration, ratio: f64) {
        self.now.times.wall += time;
        self.now.times.running += time;
        self.now.times.boot += time;
        self.now.counters.busy += time.mul_f64(ratio * self.now.counters.cores);
    }

    /// Seconds pass, with a reading after each.
    fn seconds(&mut self, seconds: u32, ratio: f64) {
        for _ in 0..seconds {
            self.pass(SECOND, ratio);
            self.read();
        }
    }

    fn first(&self) -> u64 {
        1_700_000_040 / 60
    }
}

fn near(one: f64, two: f64) -> bool {
    (one - two).abs() < 1e-6
}

#[test]
fn a_minute_is_the_difference_of_the_counters_at_its_edges() {
    let mut machine = Machine::new();
    machine.seconds(30, 0.2);
    machine.seconds(90, 0.8);
    let [first, second] = machine.bins.as_slice() else { panic!("{:?}", machine.bins) };
    assert_eq!((first.number, second.number), (machine.first(), machine.first() + 1));
    assert!(near(first.ratio(), 0.5) && near(second.ratio(), 0.8), "{first:?} {second:?}");
    assert!(near(first.observed, 60.0) && near(first.in_rotation, 60.0) && near(first.cores, 2.0));
    assert!(near(first.busy, 60.0) && first.suspicions.is_empty());
}

#[test]
fn readings_off_the_edge_are_divided_at_it() {
    let mut machine = Machine::new();
    machine.seconds(59, 0.1);
    // 1.5 s at 0.4: a second of it belongs to the first minute.
    machine.pass(Duration::from_millis(1500), 0.4);
    machine.read();
    let [first] = machine.bins.as_slice() else { panic!("{:?}", machine.bins) };
    assert!(near(first.busy, 59.0 * 0.2 + 0.8) && near(first.observed, 60.0), "{first:?}");
    machine.seconds(59, 0.1);
    machine.pass(SECOND / 2, 0.1);
    machine.read();
    assert!(near(machine.bins[1].busy, 0.5 * 0.8 + 59.5 * 0.2), "{:?}", machine.bins);
}

#[test]
fn only_time_in_rotation_counts_as_such_and_the_first_and_last_minutes_are_partial() {
    let mut machine = Machine::new();
    machine.seconds(20, 0.5);
    machine.now.in_rotation = false;
    machine.seconds(40, 0.5);
    let [bin] = machine.bins.as_slice() else { panic!("{:?}", machine.bins) };
    assert!(near(bin.observed, 60.0) && near(bin.in_rotation, 20.0), "{bin:?}");
    let mut late = Machine::new();
    late.meter = Meter::new(BIN, SECOND);
    late.pass(Duration::from_secs(45), 0.9);
    late.read();
    late.seconds(15, 0.3);
    let [bin] = late.bins.as_slice() else { panic!("{:?}", late.bins) };
    assert!(near(bin.observed, 15.0) && near(bin.ratio(), 0.3), "{bin:?}");
}

#[test]
fn a_clock_that_is_set_forward_or_back_splits_the_bin_and_marks_both_parts() {
    for back in [false, true] {
        let mut machine = Machine::new();
        machine.seconds(30, 0.5);
        let wall = &mut machine.now.times.wall;
        *wall = if back { *wall - Duration::from_secs(600) } else { *wall + Duration::from_secs(600) };
        machine.seconds(31, 0.5);
        let [first, second] = machine.bins.as_slice() else { panic!("{:?}", machine.bins) };
        assert_eq!(first.suspicions, [Suspicion::ClockStep]);
        assert_eq!(second.suspicions, [Suspicion::ClockStep]);
        assert_eq!(first.number, machine.first());
        assert_eq!(second.number, if back { machine.first() - 10 } else { machine.first() + 10 });
        assert!(near(first.ratio(), 0.5) && near(first.observed, 30.0), "{first:?}");
        assert!(near(second.ratio(), 0.5) && near(second.observed, 29.0), "{second:?}");
    }
}

#[test]
fn a_clock_that_is_slewed_marks_nothing() {
    let mut machine = Machine::new();
    for _ in 0..120 {
        machine.now.times.wall += Duration::from_micros(500);
        machine.seconds(1, 0.5);
    }
    assert_eq!(machine.bins.len(), 2);
    assert!(machine.bins.iter().all(|bin| bin.suspicions.is_empty() && near(bin.ratio(), 0.5)));
}

#[test]
fn an_edge_that_nobody_saw_leaves_what_is_beside_it_unobserved() {
    let mut machine = Machine::new();
    machine.seconds(50, 0.2);
    // The machine was too busy to read for 100 s: nobody knows which minute had what.
    machine.pass(Duration::from_secs(100), 1.0);
    machine.read();
    machine.seconds(30, 0.2);
    let [first, third] = machine.bins.as_slice() else { panic!("{:?}", machine.bins) };
    assert_eq!((first.number, third.number), (machine.first(), machine.first() + 2));
    assert!(near(first.observed, 50.0) && near(third.observed, 30.0), "{first:?} {third:?}");
    for bin in [first, third] {
        assert_eq!(bin.suspicions, [Suspicion::MissedEdge]);
        assert!(near(bin.ratio(), 0.2));
    }
    // Inside a minute, silence costs nothing: the counters went on.
    machine.pass(Duration::from_secs(40), 0.7);
    machine.read();
    machine.seconds(20, 0.1);
    let bin = &machine.bins[2];
    assert!(bin.suspicions.is_empty() && near(bin.busy, 2.0 * (28.0 + 2.0)), "{bin:?}");
}

#[test]
fn a_machine_that_was_suspended_did_nothing_that_counts() {
    let mut machine = Machine::new();
    machine.seconds(30, 0.5);
    for clock in [&mut machine.now.times.wall, &mut machine.now.times.boot] {
        *clock += Duration::from_secs(3600);
    }
    machine.seconds(31, 0.5);
    let [first, second] = machine.bins.as_slice() else { panic!("{:?}", machine.bins) };
    assert_eq!((first.number, second.number), (machine.first(), machine.first() + 60));
    for (bin, observed) in [(first, 30.0), (second, 29.0)] {
        assert_eq!(bin.suspicions, [Suspicion::Suspended]);
        assert!(near(bin.observed, observed) && near(bin.ratio(), 0.5), "{bin:?}");
    }
}

#[test]
fn a_counter_that_begins_anew_and_a_limit_that_changes_are_marked_and_not_subtracted() {
    let mut machine = Machine::new();
    machine.seconds(30, 0.5);
    machine.now.counters.busy = Duration::from_secs(1);
    machine.seconds(30, 0.5);
    assert_eq!(machine.bins[0].suspicions, [Suspicion::CounterReset]);
    assert!(near(machine.bins[0].ratio(), 0.5) && near(machine.bins[0].observed, 59.0));
    machine.seconds(30, 0.5);
    machine.now.counters = Counters { counter: 3, scope: Scope::Cgroup, cores: 0.5, ..machine.now.counters };
    machine.seconds(30, 0.5);
    assert_eq!(machine.bins[1].suspicions, [Suspicion::LimitChanged]);
    // A quota that is changed in place changes what the ratio is of.
    machine.seconds(30, 0.5);
    machine.now.counters.cores = 1.5;
    machine.seconds(30, 0.5);
    let bin = &machine.bins[2];
    assert!(bin.suspicions.is_empty() && near(bin.cores, 1.0) && near(bin.ratio(), 0.5), "{bin:?}");
}

#[test]
fn more_than_there_is_is_marked_and_rounding_is_not() {
    let mut machine = Machine::new();
    machine.seconds(60, 1.01);
    machine.seconds(60, 4.0);
    let [rounded, wrong] = machine.bins.as_slice() else { panic!("{:?}", machine.bins) };
    assert!(rounded.suspicions.is_empty() && near(rounded.ratio(), 1.0), "{rounded:?}");
    assert_eq!(wrong.suspicions, [Suspicion::OverLimit]);
    assert!(near(wrong.ratio(), 4.0), "it is told as it was measured");
}

/// What may happen between two readings.
#[derive(Clone, Debug)]
enum Happens {
    Time(u64),
    Step(i64),
    Suspend(u64),
    Reset,
    Limit(u32),
}

fn happens() -> impl Strategy<Value = (Happens, f64)> {
    let what = prop_oneof![
        20 => (1_u64..3_000).prop_map(Happens::Time),
        1 => (1_u64..200_000).prop_map(Happens::Time),
        1 => (-400_000_i64..400_000).prop_map(Happens::Step),
        1 => (1_u64..400_000).prop_map(Happens::Suspend),
        1 => Just(Happens::Reset),
        1 => (0_u32..3).prop_map(Happens::Limit),
    ];
    (what, 0.0..1.0_f64)
}

proptest! {
    #[test]
    fn whatever_happens_no_ratio_is_above_one_unmarked_and_no_time_is_counted_twice(
        story in prop::collection::vec(happens(), 1..400)
    ) {
        let mut machine = Machine::new();
        let mut passed = 0.0;
        for (happens, ratio) in story {
            match happens {
                Happens::Time(millis) => {
                    let time = Duration::from_millis(millis);
                    machine.pass(time, ratio);
                    passed += time.as_secs_f64();
                }
                Happens::Step(millis) => {
                    let by = Duration::from_millis(millis.unsigned_abs());
                    let wall = machine.now.times.wall;
                    machine.now.times.wall = if millis < 0 { wall - by } else { wall + by };
                }
                Happens::Suspend(millis) => {
                    machine.now.times.wall += Duration::from_millis(millis);
                    machine.now.times.boot += Duration::from_millis(millis);
                }
                Happens::Reset => machine.now.counters.busy = Duration::ZERO,
                Happens::Limit(counter) => machine.now.counters.counter = counter,
            }
            machine.read();
        }
        let mut observed = 0.0;
        for bin in &machine.bins {
            prop_assert!(bin.ratio().is_finite() && bin.ratio() >= 0.0);
            prop_assert!(bin.ratio() <= 1.0 + 1e-9 || !bin.suspicions.is_empty(), "{:?}", bin);
            prop_assert!(bin.observed <= 60.5 + 1e-6, "{:?}", bin);
            prop_assert!(bin.in_rotation <= bin.observed + 1e-9);
            observed += bin.observed;
        }
        prop_assert!(observed <= passed + 1e-6);
    }
}
