//! Waiting until nothing else uses the machine.

use std::io;
use std::time::{Duration, Instant};

/// How long is waited for a quiet machine, for each measurement.
const LIMIT: Duration = Duration::from_secs(20);
const LOOK: Duration = Duration::from_millis(400);
/// The rest of the machine may use so much of one core.
const SHARE: f64 = 0.15;

/// Seconds of CPU that all processes of the machine have used: user, nice, system, interrupts and stolen time.
pub(super) fn machine() -> io::Result<f64> {
    let text = std::fs::read_to_string("/proc/stat")?;
    let line = text.lines().next().unwrap_or_default();
    let ticks: Vec<u64> = line.split_whitespace().skip(1).filter_map(|word| word.parse().ok()).collect();
    // idle and iowait are the fourth and fifth; guests are in user and nice already.
    let busy: u64 = [0, 1, 2, 5, 6, 7].iter().filter_map(|at| ticks.get(*at)).sum();
    Ok(busy as f64 / rustix::param::clock_ticks_per_second() as f64)
}

/// Waits for a quiet machine, 20 s at most, and says whether it became quiet.
///
/// # Errors
/// If `/proc/stat` cannot be read.
pub(super) fn wait() -> io::Result<bool> {
    let until = Instant::now() + LIMIT;
    loop {
        let (before, began) = (machine()?, Instant::now());
        while began.elapsed() < LOOK {
            std::thread::park_timeout(LOOK.saturating_sub(began.elapsed()));
        }
        let cores = (machine()? - before) / began.elapsed().as_secs_f64();
        if cores <= SHARE {
            return Ok(true);
        }
        if Instant::now() >= until {
            return Ok(false);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cpu_of_the_machine_grows_and_is_not_its_idle_time() {
        let (first, uptime) =
            (machine().expect("Linux"), std::fs::read_to_string("/proc/uptime").expect("Linux"));
        let uptime: f64 = uptime.split(' ').next().expect("two numbers").parse().expect("a number");
        let cores = std::thread::available_parallelism().expect("Linux").get() as f64;
        assert!(
            first > 0.0 && first < uptime * cores * 1.5 + 60.0,
            "{first} s of {uptime} s on {cores} cores"
        );
        assert!(machine().expect("Linux") >= first);
    }
}
