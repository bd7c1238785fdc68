//! What somebody asks of the node, in the JSON of the control listener and of the drain file.

use std::time::Duration;

use serde::Deserialize;

use crate::lifecycle::{Drain, Wish};

/// Longest deadline and lame duck.
const SECONDS_MAX: u64 = 86_400;

/// What is wrong with what was asked, and what would be right.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BadWish {
    /// It is not the JSON of a wish.
    #[error(
        "{0}; right is {{\"state\":\"draining\",\"deadline_seconds\":1800}} or {{\"state\":\"cordoned\"}}"
    )]
    Json(String),
    /// It has a time that means nothing to its state.
    #[error("{0} is given, but only a node that is \"draining\" has one; leave it out")]
    Idle(&'static str),
    /// A time is out of bounds.
    #[error("{0} is {1}; 0 to {SECONDS_MAX} are allowed")]
    Bounds(&'static str, u64),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    state: Asked,
    deadline_seconds: Option<u64>,
    lame_duck_seconds: Option<u64>,
}

#[derive(Clone, Copy, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
enum Asked {
    Draining,
    /// The state that a cordoned node is in: it is asked for by either name.
    LameDuck,
    Cordoned,
}

/// Reads a wish; a drain that says no deadline has `deadline`.
///
/// # Errors
/// [`BadWish`]
pub(crate) fn parse(json: &[u8], deadline: Duration) -> Result<Wish, BadWish> {
    let written: Written = serde_json::from_slice(json).map_err(|error| BadWish::Json(error.to_string()))?;
    let times =
        [("deadline_seconds", written.deadline_seconds), ("lame_duck_seconds", written.lame_duck_seconds)];
    for (name, seconds) in times {
        match seconds {
            Some(_) if written.state != Asked::Draining => return Err(BadWish::Idle(name)),
            Some(seconds) if seconds > SECONDS_MAX => return Err(BadWish::Bounds(name, seconds)),
            _ => {}
        }
    }
    Ok(match written.state {
        Asked::LameDuck | Asked::Cordoned => Wish::Cordon,
        Asked::Draining => Wish::Drain(Drain {
            deadline: written.deadline_seconds.map_or(deadline, Duration::from_secs),
            lame_duck: written.lame_duck_seconds.map(Duration::from_secs),
        }),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEADLINE: Duration = Duration::from_secs(1800);

    #[test]
    fn a_wish_says_a_state_and_for_a_drain_its_times() {
        let read = |json: &str| parse(json.as_bytes(), DEADLINE).unwrap();
        let drain = |deadline, lame_duck| Wish::Drain(Drain { deadline, lame_duck });
        assert_eq!(read(r#"{"state":"draining"}"#), drain(DEADLINE, None));
        assert_eq!(
            read(r#"{"state":"draining","deadline_seconds":60,"lame_duck_seconds":0}"#),
            drain(Duration::from_secs(60), Some(Duration::ZERO))
        );
        assert_eq!(read(r#"{"state":"cordoned"}"#), Wish::Cordon);
        assert_eq!(read(r#"{"state":"lame_duck"}"#), Wish::Cordon);
    }

    #[test]
    fn a_wish_that_cannot_be_says_what_would_be_right() {
        for (json, words) in [
            ("", "right is {\"state\":\"draining\""),
            ("{}", "missing field `state`"),
            (r#"{"state":"drained"}"#, "expected one of `draining`, `lame_duck`, `cordoned`"),
            (r#"{"state":"draining","deadline":60}"#, "unknown field `deadline`"),
            (r#"{"state":"draining","deadline_seconds":-1}"#, "invalid value"),
            (r#"{"state":"draining","deadline_seconds":86401}"#, "deadline_seconds is 86401; 0 to 86400"),
            (r#"{"state":"cordoned","deadline_seconds":60}"#, "only a node that is \"draining\" has one"),
        ] {
            let error = parse(json.as_bytes(), DEADLINE).unwrap_err().to_string();
            assert!(error.contains(words), "{json}: {error}");
        }
    }
}
