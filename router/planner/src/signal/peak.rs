//! The peak window: the twelve hours of the day in which a stamp works most.

use crate::Window;

/// Hours of a peak window.
pub const PEAK_HOURS: u32 = 12;

/// Days that are looked back on.
const DAYS: u64 = 7;

/// What a stamp's nodes did in one hour.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct HourCpu {
    /// Number of the hour since 1970 UTC.
    pub hour: u64,
    /// CPU-seconds of all its nodes. An hour with missing bins is better left out.
    pub cpu_seconds: f64,
}

/// The same hours of each day, UTC; they may go past midnight.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PeakHours {
    /// The hour of the day that they begin with, 0 to 23.
    pub start: u32,
}

/// The twelve hours that follow one another, whole and round the clock, with the most CPU-seconds over the seven days
/// before `now` (seconds since 1970 UTC); the earliest of several. An hour of the day that is missing on some days
/// counts with the average of the others, so that an outage does not move the window. `None` if no hour is known.
pub fn peak_hours(hours: &[HourCpu], now: u64) -> Option<PeakHours> {
    let now = now / 3600;
    let (mut sums, mut counts) = ([0.0; 24], [0_u32; 24]);
    let recent = hours.iter().filter(|hour| hour.hour < now && hour.hour + DAYS * 24 >= now);
    for hour in recent.filter(|hour| hour.cpu_seconds.is_finite() && hour.cpu_seconds >= 0.0) {
        let of_day = (hour.hour % 24) as usize;
        sums[of_day] += hour.cpu_seconds;
        counts[of_day] += 1;
    }
    if counts.iter().all(|count| *count == 0) {
        return None;
    }
    let mean = |hour: usize| if counts[hour] == 0 { 0.0 } else { sums[hour] / f64::from(counts[hour]) };
    let total = |start: usize| (start..start + PEAK_HOURS as usize).map(|hour| mean(hour % 24)).sum::<f64>();
    // Not the last of equals, which `max_by` would give; sums in another order differ in their last bits.
    let best = (1..24).fold(0, |best, start| {
        let (so_far, now) = (total(best), total(start));
        if now > so_far + so_far.abs() * 1e-12 { start } else { best }
    });
    Some(PeakHours { start: best as u32 })
}

impl PeakHours {
    /// The last whole peak window that ended at or before `now` (seconds since 1970 UTC), in bins of `bin_seconds`,
    /// which has to divide an hour. `None` before the first one.
    pub fn last_window(self, now: u64, bin_seconds: u32) -> Option<Window> {
        if bin_seconds == 0 || 3600 % bin_seconds != 0 {
            return None;
        }
        let length = u64::from(PEAK_HOURS) * 3600;
        let end_of_day = (u64::from(self.start) * 3600 + length) % 86_400;
        let end = now.checked_sub(end_of_day)? / 86_400 * 86_400 + end_of_day;
        let first = end.checked_sub(length)? / u64::from(bin_seconds);
        Some(Window { first, bins: PEAK_HOURS * 3600 / bin_seconds, bin_seconds })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_790_000_000 / 86_400 * 86_400;

    fn days(days: u64, cpu: impl Fn(u64, u64) -> f64) -> Vec<HourCpu> {
        let first = NOW / 3600 - days * 24;
        (0..days * 24)
            .map(|hour| HourCpu { hour: first + hour, cpu_seconds: cpu(hour / 24, hour % 24) })
            .collect()
    }

    #[test]
    fn a_peak_window_goes_past_midnight() {
        let hours = days(7, |_, hour| if (20..24).contains(&hour) || hour < 8 { 10.0 } else { 1.0 });
        assert_eq!(peak_hours(&hours, NOW), Some(PeakHours { start: 20 }));
        let window = PeakHours { start: 20 }.last_window(NOW + 9 * 3600, 60).unwrap();
        assert_eq!((window.first * 60, window.bins), (NOW - 4 * 3600, 720));
        // While it runs, the one of the day before is the last whole one.
        let window = PeakHours { start: 20 }.last_window(NOW + 7 * 3600, 60).unwrap();
        assert_eq!(window.first * 60, NOW - 28 * 3600);
    }

    #[test]
    fn the_earliest_of_equal_windows_is_taken_and_only_seven_days_count() {
        assert_eq!(peak_hours(&days(7, |_, _| 0.1), NOW), Some(PeakHours { start: 0 }));
        let hours = days(9, |day, hour| if day < 2 && hour == 23 { 1e6 } else { f64::from(hour == 12) });
        assert_eq!(peak_hours(&hours, NOW), Some(PeakHours { start: 1 }));
        assert_eq!(peak_hours(&[], NOW), None);
    }

    #[test]
    fn missing_hours_do_not_move_the_window() {
        let mut hours = days(7, |_, hour| if (6..18).contains(&hour) { 5.0 } else { 1.0 });
        hours.retain(|hour| !(hour.hour % 24 < 12 && hour.hour / 24 % 2 == 0));
        assert_eq!(peak_hours(&hours, NOW), Some(PeakHours { start: 6 }));
    }
}
