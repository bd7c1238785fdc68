//! Axes: where a value lies, and which values are written beside it.

use std::ops::Range;

use crate::report::unit::{self, Unit};

/// What an axis measures.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Quantity {
    /// Seconds, in the unit of time that fits.
    Seconds,
    /// Bytes per second, in the unit of size that fits.
    ByteRate,
    /// Anything else, as it is.
    Plain,
}

/// One axis. Positions along it are numbers that [`Axis::place`] gives; a plot is drawn in positions.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Axis {
    /// Time since the start of the run, seconds.
    Time {
        /// Its begin.
        from: f64,
        /// Its end.
        to: f64,
    },
    /// A quantile `q` by the nines that it has, `log10(1/(1-q))`, as HdrHistogram plots it.
    Nines {
        /// How many nines.
        to: f64,
    },
    /// From 0.
    Linear {
        /// What, without the unit.
        title: &'static str,
        /// Measured in.
        quantity: Quantity,
        /// The greatest value to show.
        to: f64,
    },
    /// By the logarithm to the base of ten.
    Log {
        /// What, without the unit.
        title: &'static str,
        /// Measured in.
        quantity: Quantity,
        /// The least value to show, above 0.
        from: f64,
        /// The greatest value to show.
        to: f64,
    },
}

/// A position with its text.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Tick {
    /// Where.
    pub(crate) at: f64,
    /// What stands there.
    pub(crate) label: String,
}

/// Values beyond this are drawn as this: no measure of a run is as large, and arithmetic on it stays finite.
const LARGEST: f64 = 1e15;
/// The least that a logarithm is taken of: a nanosecond.
const LEAST: f64 = 1e-9;
/// Distances between ticks of time, seconds.
const TIME_STEPS: [f64; 17] = [
    0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 15.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1800.0, 3600.0, 7200.0,
    21600.0,
];

impl Axis {
    /// For the values that are shown: by the logarithm where the greatest is more than thirty times the least above 0.
    pub(crate) fn of_values(
        title: &'static str,
        quantity: Quantity,
        values: impl Iterator<Item = f64> + Clone,
    ) -> Self {
        let values = values.filter(|value| value.is_finite() && *value > 0.0).map(|value| value.min(LARGEST));
        let to = values.clone().fold(0.0, f64::max);
        let from = values.fold(f64::INFINITY, f64::min).max(LEAST);
        if to > from * 30.0 {
            Self::Log { title, quantity, from, to }
        } else {
            Self::Linear { title, quantity, to }
        }
    }

    /// From 0 to the greatest of the values that are shown.
    pub(crate) fn from_zero(
        title: &'static str,
        quantity: Quantity,
        values: impl Iterator<Item = f64>,
    ) -> Self {
        let finite = values.filter(|value| value.is_finite());
        Self::Linear { title, quantity, to: finite.fold(0.0, f64::max).min(LARGEST) }
    }

    /// The position of a value; absent for what cannot be shown.
    pub(crate) fn place(&self, value: f64) -> Option<f64> {
        let range = self.range();
        let at = match self {
            Self::Time { .. } => value.clamp(-LARGEST, LARGEST),
            Self::Linear { .. } => value.min(LARGEST),
            Self::Nines { .. } => (1.0 / (1.0 - value)).log10().min(range.end),
            Self::Log { .. } if value > 0.0 => value.min(LARGEST).log10().max(range.start),
            Self::Log { .. } => range.start,
        };
        at.is_finite().then_some(at)
    }

    /// The positions that are drawn; never empty.
    pub(crate) fn range(&self) -> Range<f64> {
        let (from, to) = match self {
            Self::Time { from, to } => (from.clamp(-LARGEST, LARGEST), to.clamp(-LARGEST, LARGEST)),
            Self::Nines { to } => (0.0, to.min(20.0)),
            Self::Linear { to, .. } => {
                let step = self.step(5);
                (0.0, (to / step - 1e-9).ceil().max(1.0) * step)
            }
            Self::Log { from, to, .. } => {
                (round_one_two_five(*from, false).log10(), round_one_two_five(*to, true).log10())
            }
        };
        match (from.is_finite(), to.is_finite()) {
            (true, true) if to > from => from..to,
            (true, _) => from..from + 1.0,
            _ => 0.0..1.0,
        }
    }

    /// What the axis is, with its unit.
    pub(crate) fn title(&self) -> String {
        match self {
            Self::Time { .. } => "since the start".to_owned(),
            Self::Nines { .. } => "percentile".to_owned(),
            Self::Linear { title, quantity, .. } => match (quantity, self.unit()) {
                (Quantity::Seconds, unit) => format!("{title}, {}", unit.sign),
                (Quantity::ByteRate, unit) => format!("{title}, {}/s", unit.sign),
                (Quantity::Plain, _) => (*title).to_owned(),
            },
            Self::Log { title, .. } => format!("{title}, log scale"),
        }
    }

    /// The values that are written, about as many as `most`, from low to high.
    pub(crate) fn ticks(&self, most: usize) -> Vec<Tick> {
        let most = most.max(2);
        match self {
            Self::Time { .. } => self.time_ticks(most),
            Self::Nines { .. } => self.nines_ticks(most),
            Self::Linear { .. } => self.linear_ticks(),
            Self::Log { quantity, .. } => self.log_ticks(*quantity, most),
        }
    }

    fn unit(&self) -> Unit {
        match self {
            Self::Linear { quantity: Quantity::Seconds, to, .. } => unit::time_unit(*to),
            Self::Linear { quantity: Quantity::ByteRate, to, .. } => unit::size_unit(*to),
            _ => Unit { sign: "", size: 1.0 },
        }
    }

    /// The distance of ticks of a linear axis: 1, 2 or 5 times a power of ten, in its unit.
    fn step(&self, most: usize) -> f64 {
        let Self::Linear { to, .. } = self else { return 1.0 };
        let unit = self.unit().size;
        let to = if *to > 0.0 { *to } else { unit };
        round_one_two_five(to / unit / most as f64, true) * unit
    }

    fn time_ticks(&self, most: usize) -> Vec<Tick> {
        let Range { start, end } = self.range();
        let wanted = (end - start) / most as f64;
        let step = TIME_STEPS.into_iter().find(|step| *step >= wanted);
        let step = step.unwrap_or_else(|| (wanted / 86_400.0).ceil() * 86_400.0);
        let first = (start / step - 1e-9).ceil();
        let label = |at: f64| match step {
            _ if end < 90.0 && step < 1.0 => format!("{at:.1} s"),
            _ if end < 90.0 => format!("{at:.0} s"),
            _ => unit::clock(at),
        };
        let times = (0..=most).map(|index| (first + index as f64) * step);
        times.take_while(|at| *at <= end + step * 1e-6).map(|at| Tick { at, label: label(at) }).collect()
    }

    fn nines_ticks(&self, most: usize) -> Vec<Tick> {
        let whole = self.range().end.floor() as u32;
        let label = |nines: u32| match nines {
            0 => "0".to_owned(),
            1 => "90 %".to_owned(),
            2 => "99 %".to_owned(),
            _ => format!("99.{} %", "9".repeat(nines as usize - 2)),
        };
        let every = (whole as usize / most + 1).max(1);
        let mut ticks: Vec<Tick> = (0..=whole)
            .step_by(every)
            .map(|nines| Tick { at: f64::from(nines), label: label(nines) })
            .collect();
        if most > 6 && self.range().end < 7.0 {
            ticks.insert(1, Tick { at: 2.0_f64.log10(), label: "50 %".to_owned() });
        }
        ticks
    }

    fn linear_ticks(&self) -> Vec<Tick> {
        let step = self.step(5);
        let unit = self.unit().size;
        let digits = (-(step / unit).log10()).ceil().clamp(0.0, 9.0) as usize;
        let end = self.range().end;
        let values =
            (0..=12).map(|index| f64::from(index) * step).take_while(|value| *value <= end + step * 1e-6);
        let label = |value: f64| match value / unit {
            many if many >= 1e7 => format!("{many:.0e}"),
            many => format!("{many:.digits$}"),
        };
        values.map(|value| Tick { at: value, label: label(value) }).collect()
    }

    fn log_ticks(&self, quantity: Quantity, most: usize) -> Vec<Tick> {
        let Range { start, end } = self.range();
        let decades = (start.floor() as i32)..=(end.ceil() as i32);
        let factors: &[f64] = match (end - start).ceil() as usize * 3 {
            ticks if ticks <= most => &[1.0, 2.0, 5.0],
            _ => &[1.0],
        };
        let every = ((end - start).ceil() as usize / most + 1).max(1);
        let values = decades
            .step_by(every)
            .flat_map(|decade| factors.iter().map(move |factor| factor * 10_f64.powi(decade)));
        let inside = values.filter(|value| (start - 1e-6..=end + 1e-6).contains(&value.log10()));
        inside.map(|value| Tick { at: value.log10(), label: short(value, quantity) }).collect()
    }
}

/// A round number with its unit, without the digits that are all zero.
fn short(value: f64, quantity: Quantity) -> String {
    let (unit, per) = match quantity {
        Quantity::Seconds => (unit::time_unit(value), ""),
        Quantity::ByteRate => (unit::size_unit(value), "/s"),
        Quantity::Plain => (Unit { sign: "", size: 1.0 }, ""),
    };
    let number = value / unit.size;
    let number = if number >= 0.01 { (number * 100.0).round() / 100.0 } else { number };
    format!("{number} {}{per}", unit.sign).trim_end().to_owned()
}

/// The next of 1, 2 and 5 times a power of ten, above or below.
fn round_one_two_five(value: f64, up: bool) -> f64 {
    if !(value.is_finite() && value > 0.0) {
        return 1.0;
    }
    let power = 10_f64.powf(value.log10().floor());
    let steps = [1.0, 2.0, 5.0, 10.0].map(|factor| factor * power);
    // What differs by rounding alone is the same.
    let found = if up {
        steps.into_iter().find(|step| *step >= value * (1.0 - 1e-9))
    } else {
        steps.into_iter().rev().find(|step| *step <= value * (1.0 + 1e-9))
    };
    found.unwrap_or(power)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(axis: &Axis, most: usize) -> Vec<String> {
        axis.ticks(most).into_iter().map(|tick| tick.label).collect()
    }

    fn linear(quantity: Quantity, to: f64) -> Axis {
        Axis::Linear { title: "x", quantity, to }
    }

    #[test]
    fn ticks_are_round_in_the_unit_that_the_title_names() {
        for (axis, title, wanted) in [
            (linear(Quantity::Seconds, 0.043), "x, ms", vec!["0", "10", "20", "30", "40", "50"]),
            (linear(Quantity::Seconds, 2.2), "x, s", vec!["0.0", "0.5", "1.0", "1.5", "2.0", "2.5"]),
            (linear(Quantity::ByteRate, 3.0 * 1_048_576.0), "x, MiB/s", vec!["0", "1", "2", "3"]),
            (linear(Quantity::Plain, 0.0), "x", vec!["0.0", "0.2"]),
            (
                Axis::Log { title: "x", quantity: Quantity::Seconds, from: 0.004, to: 3.0 },
                "x, log scale",
                vec!["10 ms", "100 ms", "1 s"],
            ),
            (
                Axis::Log { title: "x", quantity: Quantity::Seconds, from: 0.000_9, to: 0.006 },
                "x, log scale",
                vec!["500 µs", "1 ms", "2 ms", "5 ms", "10 ms"],
            ),
            (
                Axis::Time { from: 10.0, to: 310.0 },
                "since the start",
                vec!["1:00", "2:00", "3:00", "4:00", "5:00"],
            ),
            (Axis::Time { from: 0.0, to: 9.0 }, "since the start", vec!["0 s", "2 s", "4 s", "6 s", "8 s"]),
            (Axis::Nines { to: 4.5 }, "percentile", vec!["0", "90 %", "99 %", "99.9 %", "99.99 %"]),
        ] {
            assert_eq!(
                (axis.title().as_str(), labels(&axis, 6)),
                (title, wanted.into_iter().map(str::to_owned).collect())
            );
        }
    }

    #[test]
    fn a_quantile_lies_at_its_nines() {
        let axis = Axis::Nines { to: 5.0 };
        for (quantile, at) in [(0.0, 0.0), (0.9, 1.0), (0.999, 3.0), (1.0, 5.0)] {
            let placed = axis.place(quantile).expect("a place");
            assert!((placed - at).abs() < 1e-9, "{quantile}: {placed}");
        }
    }

    #[test]
    fn no_value_makes_an_axis_without_extent_or_with_too_many_ticks() {
        for value in [0.0, f64::NAN, f64::INFINITY, f64::MAX, f64::MIN_POSITIVE, -1.0, 1e-300, 1e300] {
            for other in [value, 1.0] {
                for axis in [
                    Axis::of_values("x", Quantity::Seconds, [value, other].into_iter()),
                    Axis::of_values("x", Quantity::ByteRate, [value, other].into_iter()),
                    Axis::from_zero("x", Quantity::Plain, [value, other].into_iter()),
                    Axis::Time { from: value, to: other },
                    Axis::Nines { to: value },
                ] {
                    let range = axis.range();
                    assert!(range.start.is_finite() && range.end > range.start, "{axis:?}: {range:?}");
                    assert!(axis.ticks(8).len() <= 14, "{axis:?}");
                    assert!(axis.place(value).is_none_or(f64::is_finite), "{axis:?}");
                }
            }
        }
    }
}
