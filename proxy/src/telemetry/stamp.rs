//! The time of a line: RFC 3339, UTC, with microseconds. Every pull writes one.

use std::time::Duration;

const DAY_SECONDS: u64 = 24 * 60 * 60;

/// Appends the time that is `since` the beginning of 1970.
pub(super) fn write(line: &mut Vec<u8>, since: Duration) {
    let (year, month, day) = date(since.as_secs() / DAY_SECONDS);
    let second = since.as_secs() % DAY_SECONDS;
    digits::<4>(line, year);
    for (mark, number) in
        [(b'-', month), (b'-', day), (b'T', second / 3600), (b':', second / 60 % 60), (b':', second % 60)]
    {
        line.push(mark);
        digits::<2>(line, number);
    }
    line.push(b'.');
    digits::<6>(line, u64::from(since.subsec_micros()));
    line.push(b'Z');
}

/// Appends the last `N` decimal digits.
fn digits<const N: usize>(line: &mut Vec<u8>, mut number: u64) {
    let mut text = [b'0'; N];
    for digit in text.iter_mut().rev() {
        *digit = b'0' + (number % 10) as u8;
        number /= 10;
    }
    line.extend_from_slice(&text);
}

/// Year, month and day of a day since 1970 (Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms"): counted
/// from a first of March, a leap day is the last of its year.
fn date(day: u64) -> (u64, u64, u64) {
    let day = day + 719_468;
    let (era, of_era) = (day / 146_097, day % 146_097);
    let year = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    (era * 400 + year + u64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(seconds: u64, micros: u32) -> String {
        let mut line = Vec::new();
        write(&mut line, Duration::new(seconds, micros * 1000 + 999));
        String::from_utf8(line).unwrap()
    }

    #[test]
    fn times_are_shown_as_the_calendar_has_them() {
        for (seconds, expected) in [
            (0, "1970-01-01T00:00:00"),
            (951_782_399, "2000-02-28T23:59:59"),
            (951_782_400, "2000-02-29T00:00:00"),
            (951_868_800, "2000-03-01T00:00:00"),
            (1_709_164_800, "2024-02-29T00:00:00"),
            (1_735_689_599, "2024-12-31T23:59:59"),
            (4_107_542_399, "2100-02-28T23:59:59"),
            (4_107_542_400, "2100-03-01T00:00:00"),
        ] {
            assert_eq!(shown(seconds, 42), format!("{expected}.000042Z"));
        }
        assert_eq!(shown(1_732_982_400, 999_999), "2024-11-30T16:00:00.999999Z");
    }

    #[test]
    fn every_day_of_four_centuries_follows_the_one_before() {
        let mut before = date(0);
        for day in 1..=146_097 {
            let (year, month, of_month) = date(day);
            let next = match before {
                (y, m, d) if (year, month) == (y, m) => (y, m, d + 1),
                (y, 12, 31) => (y + 1, 1, 1),
                (y, m, _) => (y, m + 1, 1),
            };
            assert_eq!((year, month, of_month), next, "after {before:?}");
            before = next;
        }
        assert_eq!(before, (2370, 1, 1), "and the whole is 400 years long");
    }
}
