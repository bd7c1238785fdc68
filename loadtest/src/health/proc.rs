//! What `/proc` tells of this process and this machine.

use std::fs;

/// CPU that a thread of this process has used, seconds; `None` once it has ended.
pub(super) fn thread_cpu(id: i32) -> Option<f64> {
    stat_cpu(&fs::read_to_string(format!("/proc/self/task/{id}/stat")).ok()?)
}

/// CPU that this process has used, ended threads included, seconds.
pub(super) fn own_cpu() -> Option<f64> {
    stat_cpu(&fs::read_to_string("/proc/self/stat").ok()?)
}

/// Time that the CPUs of this machine were not idle, summed, seconds.
pub(super) fn machine_cpu() -> Option<f64> {
    machine_stat(&fs::read_to_string("/proc/stat").ok()?)
}

/// Files that this process has open. Counted by the kernel from Linux 6.2 on, else by us.
pub(super) fn open_files() -> Option<u64> {
    match fs::metadata("/proc/self/fd").ok()?.len() {
        0 => Some(fs::read_dir("/proc/self/fd").ok()?.count() as u64),
        count => Some(count),
    }
}

/// `utime` and `stime` of a `stat` line, proc_pid_stat(5). The name before them may hold anything, so count from its end.
fn stat_cpu(stat: &str) -> Option<f64> {
    let (_, fields) = stat.rsplit_once(") ")?;
    let mut ticks = fields.split_ascii_whitespace().skip(11).map(str::parse::<u64>);
    Some(seconds(ticks.next()?.ok()? + ticks.next()?.ok()?))
}

/// user, nice, system, irq, softirq and steal of the first line of `/proc/stat`, proc_stat(5); guests are in user.
fn machine_stat(stat: &str) -> Option<f64> {
    let line = stat.lines().next()?.strip_prefix("cpu ")?;
    let ticks: Vec<u64> = line.split_ascii_whitespace().map(str::parse).collect::<Result<_, _>>().ok()?;
    let [user, nice, system, _idle, _iowait, irq, softirq, rest @ ..] = ticks.as_slice() else { return None };
    Some(seconds(user + nice + system + irq + softirq + rest.first().copied().unwrap_or_default()))
}

fn seconds(ticks: u64) -> f64 {
    ticks as f64 / rustix::param::clock_ticks_per_second() as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cpu_of_a_thread_is_read_whatever_its_name_is() {
        let tick = 1.0 / rustix::param::clock_ticks_per_second() as f64;
        let line = "7 (a) b (c) R 1 1 1 0 -1 4194304 100 0 0 0 300 200 0 0 20 0 1 0 5 6 7";
        assert_eq!(stat_cpu(line), Some(500.0 * tick));
        assert_eq!(stat_cpu("7 (a"), None);
    }

    #[test]
    fn a_machine_is_busy_with_all_but_idling_and_waiting() {
        let tick = 1.0 / rustix::param::clock_ticks_per_second() as f64;
        assert_eq!(machine_stat("cpu  1 2 4 1000 2000 8 16 32 0 0\ncpu0 1"), Some(63.0 * tick));
        assert_eq!(machine_stat("cpu  1 2"), None);
    }
}
