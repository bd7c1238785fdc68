//! `/proc/stat`, as proc(5) has it: what each processor did, in ticks.

use std::time::Duration;

/// Time that processors were busy, and that a hypervisor gave to others meanwhile.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Busy {
    /// All but idle and waiting for a disk; stolen time is part of it.
    pub(crate) busy: Duration,
    /// The stolen time.
    pub(crate) steal: Duration,
    /// Processors that are counted.
    pub(crate) processors: u32,
}

/// Sums the processors that `counts` names. `None` if the text has none of them.
///
/// A processor that is taken out of service has no line, so that its time leaves the sum: the reader takes a sum that
/// falls for a counter that begins anew.
pub(crate) fn busy(text: &str, ticks_per_second: u64, counts: impl Fn(u32) -> bool) -> Option<Busy> {
    let (mut busy, mut steal, mut processors) = (0_u64, 0_u64, 0_u32);
    for line in text.lines() {
        let mut words = line.split_ascii_whitespace();
        let number = words.next().and_then(|name| name.strip_prefix("cpu"));
        let Some(number) = number.and_then(|number| number.parse().ok()) else { continue };
        if !counts(number) {
            continue;
        }
        // user nice system idle iowait irq softirq steal; guest time is in user already.
        let mut ticks = [0_u64; 8];
        for (tick, word) in ticks.iter_mut().zip(words) {
            *tick = word.parse().ok()?;
        }
        let [user, nice, system, _idle, _waiting, irq, softirq, stolen] = ticks;
        busy += user + nice + system + irq + softirq + stolen;
        steal += stolen;
        processors += 1;
    }
    let time = |ticks: u64| Duration::from_secs_f64(ticks as f64 / ticks_per_second.max(1) as f64);
    (processors > 0).then(|| Busy { busy: time(busy), steal: time(steal), processors })
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "cpu  30 2 20 1000 50 4 6 8 9 0\n\
        cpu0 10 1 10 500 20 1 3 4 5 0\n\
        cpu1 20 1 10 500 30 3 3 4 4 0\n\
        intr 123 0 0\nctxt 99\n";

    #[test]
    fn all_but_idle_and_waiting_is_busy_and_what_was_stolen_is_told_apart() {
        let found = busy(TEXT, 100, |_| true).expect("two processors");
        let ticks = |ticks: u64| Duration::from_millis(ticks * 10);
        assert_eq!(found, Busy { busy: ticks(30 + 2 + 20 + 4 + 6 + 8), steal: ticks(8), processors: 2 });
    }

    #[test]
    fn only_the_processors_that_may_be_used_are_counted() {
        let found = busy(TEXT, 100, |number| number == 1).expect("one processor");
        assert_eq!((found.processors, found.busy), (1, Duration::from_millis(410)));
        assert_eq!(busy(TEXT, 100, |number| number == 7), None);
    }

    #[test]
    fn a_kernel_without_the_later_fields_is_read_and_one_with_words_in_them_is_not() {
        let found = busy("cpu0 1 2 3 4\n", 100, |_| true).expect("one processor");
        assert_eq!((found.busy, found.steal), (Duration::from_millis(60), Duration::ZERO));
        assert_eq!(busy("cpu0 1 x 3 4\n", 100, |_| true), None);
    }
}
