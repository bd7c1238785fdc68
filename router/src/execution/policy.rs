//! When plans may take steps, how many, and who has to agree: set by an operator, for the whole region.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::Autonomy;
use crate::migration::UnixMillis;

const MINUTE_MS: u64 = 60_000;
const DAY_MINUTES: u64 = 24 * 60;

/// The rules of carrying out.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ExecutionPolicy {
    /// How much is done without being asked.
    pub autonomy: Autonomy,
    /// How many people have to agree to a plan.
    pub approvals: u32,
    /// Whether who proposed a plan may be one of them.
    pub proposer_may_approve: bool,
    /// How long a plan may be approved and applied, in seconds. What it predicts gets old.
    pub plan_lives_seconds: u64,
    /// When moves of plans may begin (UTC). If any is listed, at no other time; at any time if none is.
    pub windows: Vec<Window>,
    /// Most moves that may begin within an hour, whoever asked for them; plans wait above it.
    pub moves_per_hour: u32,
    /// Most moves that may begin within 24 hours.
    pub moves_per_day: u32,
    /// How far above what was predicted the P95 of a pool may be before its phase is taken back, in parts of a node's
    /// cores.
    pub drift: f64,
}

impl Default for ExecutionPolicy {
    fn default() -> Self {
        Self {
            autonomy: Autonomy::Review,
            approvals: 1,
            proposer_may_approve: true,
            plan_lives_seconds: 6 * 3600,
            windows: Vec::new(),
            moves_per_hour: 40,
            moves_per_day: 200,
            drift: 0.05,
        }
    }
}

/// Times of a week at which moves may begin: `mon-fri 09:00-17:00`, `sat 22:00-04:00`, `daily 00:00-24:00`. UTC; one
/// that ends before it begins goes on into the next day.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Window {
    /// First and last day, Monday being 0; the last may be before the first, over Sunday.
    days: (u8, u8),
    /// Minutes of the day.
    from: u16,
    to: u16,
}

/// A text that is no window.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is no window; \"mon-fri 09:00-17:00\", \"sat 22:00-04:00\" and \"daily 00:00-24:00\" are (UTC)"
)]
pub struct NoWindow(String);

const DAYS: [&str; 7] = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];

impl FromStr for Window {
    type Err = NoWindow;

    fn from_str(text: &str) -> Result<Self, NoWindow> {
        let read = || {
            let (days, times) = text.trim().split_once(' ')?;
            let day = |name: &str| DAYS.iter().position(|known| *known == name).map(|at| at as u8);
            let days = match days.split_once('-') {
                _ if days == "daily" => (0, 6),
                Some((first, last)) => (day(first)?, day(last)?),
                None => (day(days)?, day(days)?),
            };
            let (from, to) = times.trim().split_once('-')?;
            let (from, to) = (minute(from)?, minute(to)?);
            (from != to && u64::from(from) < DAY_MINUTES).then_some(Self { days, from, to })
        };
        read().ok_or_else(|| NoWindow(text.chars().take(80).collect()))
    }
}

/// `09:30` as minutes of a day; `24:00` is its end.
fn minute(text: &str) -> Option<u16> {
    let (hours, minutes) = text.split_once(':')?;
    let two = |text: &str, below: u16| {
        let digits = text.len() == 2 && text.bytes().all(|byte| byte.is_ascii_digit());
        text.parse::<u16>().ok().filter(|number| digits && *number < below)
    };
    let at = two(hours, 25)? * 60 + two(minutes, 60)?;
    (u64::from(at) <= DAY_MINUTES).then_some(at)
}

impl fmt::Display for Window {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = |day: u8| DAYS.get(usize::from(day)).copied().unwrap_or("?");
        match self.days {
            (0, 6) => f.write_str("daily")?,
            (first, last) if first == last => f.write_str(name(first))?,
            (first, last) => write!(f, "{}-{}", name(first), name(last))?,
        }
        let time = |at: u16| format!("{:02}:{:02}", at / 60, at % 60);
        write!(f, " {}-{}", time(self.from), time(self.to))
    }
}

impl TryFrom<String> for Window {
    type Error = NoWindow;

    fn try_from(text: String) -> Result<Self, NoWindow> {
        text.parse()
    }
}

impl From<Window> for String {
    fn from(window: Window) -> Self {
        window.to_string()
    }
}

impl Window {
    /// Whether a time is in it.
    pub fn is_open(&self, now: UnixMillis) -> bool {
        let minutes = now.0 / MINUTE_MS;
        // 1970 began on a Thursday.
        let today = (minutes / DAY_MINUTES + 3) % 7;
        let at = minutes % DAY_MINUTES;
        let (from, to) = (u64::from(self.from), u64::from(self.to));
        if from < to {
            self.has_day(today) && (from..to).contains(&at)
        } else {
            (self.has_day(today) && at >= from) || (self.has_day((today + 6) % 7) && at < to)
        }
    }

    fn has_day(&self, day: u64) -> bool {
        let (first, last) = (u64::from(self.days.0), u64::from(self.days.1));
        if first <= last { (first..=last).contains(&day) } else { day >= first || day <= last }
    }
}

impl ExecutionPolicy {
    /// Why no move of a plan may begin now, if so. `last_hour` and `last_day` count the moves that began.
    pub fn holds(&self, now: UnixMillis, last_hour: usize, last_day: usize) -> Option<String> {
        if !self.windows.is_empty() && !self.windows.iter().any(|window| window.is_open(now)) {
            let windows: Vec<_> = self.windows.iter().map(Window::to_string).collect();
            return Some(format!("moves may begin only in: {} (UTC)", windows.join(", ")));
        }
        let over = |count: usize, most: u32, time: &str| {
            let over = count >= most as usize;
            over.then(|| format!("{count} moves began within {time}, and {most} may (policy)"))
        };
        over(last_hour, self.moves_per_hour, "an hour")
            .or_else(|| over(last_day, self.moves_per_day, "24 hours"))
    }

    /// What is wrong with it, if anything is.
    pub fn fault(&self) -> Option<String> {
        match self {
            Self { approvals: 0, .. } => Some("approvals must be at least 1".into()),
            Self { plan_lives_seconds: ..60, .. } => Some("plan_lives_seconds must be at least 60".into()),
            Self { moves_per_hour: 0, .. } | Self { moves_per_day: 0, .. } => Some(
                "moves_per_hour and moves_per_day must be at least 1; stop all moves with a freeze".into(),
            ),
            // NaN is in no range.
            Self { drift, .. } if !(0.0..=1.0).contains(drift) => Some("drift must be from 0 to 1".into()),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A time in the week of Monday 2026-11-30.
    fn at(day: u64, hour: u64, minute: u64) -> UnixMillis {
        UnixMillis((20_787 + day) * DAY_MINUTES * MINUTE_MS + (hour * 60 + minute) * MINUTE_MS)
    }

    fn window(text: &str) -> Window {
        let window: Window = text.parse().unwrap();
        assert_eq!(window.to_string(), text);
        window
    }

    #[test]
    fn a_window_is_open_on_its_days_from_its_first_minute_to_before_its_last() {
        let office = window("mon-fri 09:00-17:00");
        assert!(office.is_open(at(0, 9, 0)) && office.is_open(at(4, 16, 59)));
        assert!(
            !office.is_open(at(0, 8, 59)) && !office.is_open(at(4, 17, 0)) && !office.is_open(at(5, 12, 0))
        );
        let all = window("daily 00:00-24:00");
        assert!((0..7).all(|day| all.is_open(at(day, 0, 0)) && all.is_open(at(day, 23, 59))));
    }

    #[test]
    fn a_window_that_ends_before_it_begins_goes_on_into_the_next_day_and_over_sunday() {
        let night = window("sun 22:00-04:00");
        assert!(night.is_open(at(6, 22, 0)) && night.is_open(at(0, 3, 59)));
        assert!(!night.is_open(at(0, 22, 0)) && !night.is_open(at(6, 3, 0)) && !night.is_open(at(0, 4, 0)));
        let weekend = window("sat-mon 10:00-11:00");
        let open: Vec<u64> = (0..7).filter(|day| weekend.is_open(at(*day, 10, 30))).collect();
        assert_eq!(open, [0, 5, 6]);
    }

    #[test]
    fn what_is_no_window_is_refused_with_what_would_be() {
        for wrong in [
            "",
            "mon",
            "mon 9:00-17:00",
            "mon 09:00-25:00",
            "mon 09:00-09:00",
            "mon 24:00-01:00",
            "fry 09:00-10:00",
            "mon 09:60-10:00",
            "mon 24:30-10:00",
        ] {
            let error = wrong.parse::<Window>().unwrap_err().to_string();
            assert!(error.contains("mon-fri 09:00-17:00"), "{wrong}: {error}");
        }
    }

    #[test]
    fn plans_wait_outside_their_windows_and_above_their_budgets() {
        let windows = vec![window("mon-fri 09:00-17:00")];
        let policy =
            ExecutionPolicy { windows, moves_per_hour: 2, moves_per_day: 3, ..ExecutionPolicy::default() };
        assert_eq!(policy.holds(at(0, 9, 0), 1, 2), None);
        assert!(policy.holds(at(6, 9, 0), 0, 0).unwrap().contains("mon-fri 09:00-17:00"));
        assert!(policy.holds(at(0, 9, 0), 2, 2).unwrap().contains("2 moves began within an hour"));
        assert!(policy.holds(at(0, 9, 0), 0, 3).unwrap().contains("24 hours"));
        assert_eq!(ExecutionPolicy::default().holds(at(6, 3, 0), 0, 0), None);
    }
}
