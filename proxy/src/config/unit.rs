//! Amounts as people write them: `"256 MiB"`, `"5s"`. A bare number is refused, since it hides its unit.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Deserializer, de};

/// Units of an amount of bytes, powers of 1024, smallest first.
const BYTES: [(&str, u64); 5] =
    [("B", 1), ("KiB", 1 << 10), ("MiB", 1 << 20), ("GiB", 1 << 30), ("TiB", 1 << 40)];

/// Units of a duration in milliseconds, smallest first.
const MILLISECONDS: [(&str, u64); 5] =
    [("ms", 1), ("s", 1_000), ("m", 60_000), ("h", 3_600_000), ("d", 86_400_000)];

/// Reads `"256 MiB"` as bytes.
///
/// # Errors
/// Not a whole number followed by B, KiB, MiB, GiB or TiB, or more than 2^64 bytes.
pub(super) fn bytes<'de, D: Deserializer<'de>>(from: D) -> Result<u64, D::Error> {
    let text = Amount::deserialize(from)?.0;
    parse(&text, &BYTES).ok_or_else(|| {
        de::Error::custom(format!(
            "{text:?} is not an amount of bytes; a whole number and one of B, KiB, MiB, GiB, TiB is allowed, such as \"256 MiB\""
        ))
    })
}

/// Reads `"256 MiB"` as bytes, of a setting that may be left out.
///
/// # Errors
/// As [`bytes`].
pub(super) fn some_bytes<'de, D: Deserializer<'de>>(from: D) -> Result<Option<u64>, D::Error> {
    bytes(from).map(Some)
}

/// Reads `"5s"` as a duration.
///
/// # Errors
/// Not a whole number followed by ms, s, m, h or d, or longer than 2^64 milliseconds.
pub(super) fn duration<'de, D: Deserializer<'de>>(from: D) -> Result<Duration, D::Error> {
    let text = Amount::deserialize(from)?.0;
    parse(&text, &MILLISECONDS).map(Duration::from_millis).ok_or_else(|| {
        de::Error::custom(format!(
            "{text:?} is not a duration; a whole number and one of ms, s, m, h, d is allowed, such as \"5s\""
        ))
    })
}

/// Reads `0.5` or `2` as thousandths of a core, of a setting that may be left out.
///
/// # Errors
/// Not a number from 0.001 to 4096.
pub(super) fn cores<'de, D: Deserializer<'de>>(from: D) -> Result<Option<u32>, D::Error> {
    let cores = f64::deserialize(from)?;
    if (0.001..=4096.0).contains(&cores) {
        return Ok(Some((cores * 1000.0).round() as u32));
    }
    Err(de::Error::custom(format!("{cores} cores; 0.001 to 4096 are allowed, such as 0.5")))
}

/// The text of an amount; a bare number is kept as text too, for the message.
struct Amount(String);

impl<'de> Deserialize<'de> for Amount {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl de::Visitor<'_> for Visitor {
            type Value = Amount;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a text of a number and a unit")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Amount, E> {
                Ok(Amount(text.to_owned()))
            }

            fn visit_i64<E: de::Error>(self, number: i64) -> Result<Amount, E> {
                Ok(Amount(number.to_string()))
            }
        }
        from.deserialize_any(Visitor)
    }
}

fn parse(text: &str, units: &[(&str, u64)]) -> Option<u64> {
    let digits = text.find(|c: char| !c.is_ascii_digit())?;
    let (number, unit) = text.split_at(digits);
    let (_, factor) = units.iter().find(|(name, _)| *name == unit.trim_start())?;
    number.parse::<u64>().ok()?.checked_mul(*factor)
}

/// Writes bytes in the largest unit that divides them.
#[cfg(test)]
pub(super) fn show_bytes(bytes: u64) -> String {
    show(bytes, &BYTES, " ")
}

/// Writes a duration in the largest unit that divides it.
pub(super) fn show_duration(duration: Duration) -> String {
    show(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX), &MILLISECONDS, "")
}

fn show(amount: u64, units: &[(&str, u64)], gap: &str) -> String {
    let whole = units.iter().rev().find(|(_, factor)| amount.is_multiple_of(*factor) && amount >= *factor);
    let (unit, factor) = whole.or(units.first()).copied().unwrap_or(("", 1));
    format!("{}{gap}{unit}", amount / factor)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_read_as_people_write_them() {
        for (text, bytes) in [("0B", 0), ("1 KiB", 1 << 10), ("256MiB", 256 << 20), ("10  GiB", 10 << 30)] {
            assert_eq!(parse(text, &BYTES), Some(bytes), "{text}");
        }
        for bad in
            ["", "5", "MiB", "-1 MiB", "1.5 GiB", "1 MB", "1 mib", "1 MiB ", "99999999999 TiB", "１ MiB"]
        {
            assert_eq!(parse(bad, &BYTES), None, "{bad}");
        }
        for (text, milliseconds) in [("250ms", 250), ("5s", 5_000), ("30 m", 1_800_000), ("1d", 86_400_000)] {
            assert_eq!(parse(text, &MILLISECONDS), Some(milliseconds), "{text}");
        }
    }

    #[test]
    fn amounts_are_shown_in_their_largest_whole_unit() {
        assert_eq!(show_bytes(256 << 20), "256 MiB");
        assert_eq!(show_bytes(1536), "1536 B");
        assert_eq!(show_duration(Duration::from_secs(60)), "1m");
        assert_eq!(show_duration(Duration::from_millis(2500)), "2500ms");
        assert_eq!(show_duration(Duration::ZERO), "0ms");
    }
}
