//! Numbers as people read them: three significant digits, with the unit that fits.

/// What stands where there is no number.
pub(crate) const NONE: &str = "–";

/// Three significant digits, without an exponent up to a billion; [`NONE`] for what is no number.
pub(crate) fn significant(value: f64) -> String {
    if !value.is_finite() {
        return NONE.to_owned();
    }
    let size = value.abs();
    // What rounds up to the next power of ten has a digit less behind the point.
    match size {
        0.0 => "0".to_owned(),
        _ if size >= 1e9 => format!("{value:.2e}"),
        _ if size >= 99.95 => format!("{value:.0}"),
        _ if size >= 9.995 => format!("{value:.1}"),
        _ if size >= 0.9995 => format!("{value:.2}"),
        _ if size >= 0.001 => format!("{value:.3}"),
        _ => format!("{value:.1e}"),
    }
}

/// A count with its thousands set apart.
pub(crate) fn count(value: u64) -> String {
    let digits = value.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A unit and how much of the base it is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Unit {
    /// Its sign.
    pub(crate) sign: &'static str,
    /// Base units in one of it.
    pub(crate) size: f64,
}

const TIMES: [Unit; 4] = [
    Unit { sign: "ns", size: 1e-9 },
    Unit { sign: "µs", size: 1e-6 },
    Unit { sign: "ms", size: 1e-3 },
    Unit { sign: "s", size: 1.0 },
];
const SIZES: [Unit; 6] = [
    Unit { sign: "B", size: 1.0 },
    Unit { sign: "KiB", size: 1024.0 },
    Unit { sign: "MiB", size: 1_048_576.0 },
    Unit { sign: "GiB", size: 1_073_741_824.0 },
    Unit { sign: "TiB", size: 1_099_511_627_776.0 },
    Unit { sign: "PiB", size: 1_125_899_906_842_624.0 },
];

/// The largest unit that `value` has at least one of; the smallest where it has none.
fn fitting(units: &[Unit], value: f64) -> Unit {
    let fits = units.iter().rev().find(|unit| value.abs() >= unit.size * 0.9995);
    fits.or(units.first()).copied().unwrap_or(Unit { sign: "", size: 1.0 })
}

/// The unit of time for values up to `seconds`.
pub(crate) fn time_unit(seconds: f64) -> Unit {
    if seconds == 0.0 || !seconds.is_finite() {
        Unit { sign: "s", size: 1.0 }
    } else {
        fitting(&TIMES, seconds)
    }
}

/// The unit of size for values up to `bytes`.
pub(crate) fn size_unit(bytes: f64) -> Unit {
    if bytes.is_finite() { fitting(&SIZES, bytes) } else { Unit { sign: "B", size: 1.0 } }
}

/// `value` in `unit`, without the sign.
pub(crate) fn in_unit(value: f64, unit: Unit) -> String {
    significant(value / unit.size)
}

fn with_sign(value: f64, unit: Unit) -> String {
    if value.is_finite() { format!("{} {}", in_unit(value, unit), unit.sign) } else { NONE.to_owned() }
}

/// Seconds as `1.23 ms`.
pub(crate) fn seconds(value: f64) -> String {
    with_sign(value, time_unit(value))
}

/// Bytes as `1.23 MiB`.
pub(crate) fn bytes(value: f64) -> String {
    with_sign(value, size_unit(value))
}

/// Bytes per second as `1.23 MiB/s`.
pub(crate) fn byte_rate(value: f64) -> String {
    if value.is_finite() { format!("{}/s", bytes(value)) } else { NONE.to_owned() }
}

/// A share from 0 to 1 as `1.23 %`. What is nearly all is not written as all: `99.96 %`.
pub(crate) fn share(value: f64) -> String {
    if !value.is_finite() {
        return NONE.to_owned();
    }
    if value < 1.0 && value > 0.9994 {
        // As many digits as show that something is missing; one failure in a billion needs seven.
        let digits = (2..8).find(|digits| !format!("{:.*}", *digits, value * 100.0).starts_with("100"));
        return format!("{:.*} %", digits.unwrap_or(8), value * 100.0);
    }
    format!("{} %", significant(value * 100.0))
}

/// A time of the run as `4:05`, or `1:04:05`.
pub(crate) fn clock(seconds: f64) -> String {
    if !seconds.is_finite() {
        return NONE.to_owned();
    }
    // Casts saturate: a time that no run can have is still written.
    let whole = seconds.max(0.0).round() as u64;
    let (hours, minutes, seconds) = (whole / 3600, whole / 60 % 60, whole % 60);
    if hours > 0 { format!("{hours}:{minutes:02}:{seconds:02}") } else { format!("{minutes}:{seconds:02}") }
}

/// How long something lasted, as `4 min 5 s` or, under two minutes, `12.3 s`.
pub(crate) fn lasted(value: f64) -> String {
    if !value.is_finite() || value < 120.0 {
        return seconds(value);
    }
    let whole = value.round() as u64;
    match (whole / 3600, whole / 60 % 60, whole % 60) {
        (0, minutes, seconds) => format!("{minutes} min {seconds} s"),
        (hours, minutes, _) => format!("{hours} h {minutes} min"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_has_three_digits_and_the_unit_that_fits() {
        for (value, text) in [
            (0.0, "0 s"),
            (0.000_000_012, "12.0 ns"),
            (0.000_999_9, "1.00 ms"),
            (0.012_345, "12.3 ms"),
            (0.999_9, "1.00 s"),
            (99.96, "100 s"),
            (1234.5, "1234 s"),
            (f64::NAN, "–"),
            (f64::INFINITY, "–"),
        ] {
            assert_eq!(seconds(value), text, "{value}");
        }
        for (value, text) in [(0.0, "0 B"), (1023.0, "1023 B"), (1024.0, "1.00 KiB"), (3.3e9, "3.07 GiB")] {
            assert_eq!(bytes(value), text, "{value}");
        }
        assert_eq!(byte_rate(1_048_576.0 * 12.5), "12.5 MiB/s");
        for (value, text) in
            [(0.012_34, "1.23 %"), (1.0, "100 %"), (0.999_61, "99.96 %"), (0.999_999_9, "99.99999 %")]
        {
            assert_eq!(share(value), text);
        }
    }

    #[test]
    fn times_of_a_run_and_counts_can_be_read_at_a_glance() {
        assert_eq!([0, 999, 1000, 1_234_567].map(count), ["0", "999", "1,000", "1,234,567"]);
        assert_eq!([0.0, 59.6, 245.0, 3845.0].map(clock), ["0:00", "1:00", "4:05", "1:04:05"]);
        assert_eq!([12.34, 245.0, 7265.0].map(lasted), ["12.3 s", "4 min 5 s", "2 h 1 min"]);
    }
}
