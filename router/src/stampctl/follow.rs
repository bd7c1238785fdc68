//! A move, a restart or a plan as it goes on, told line by line.

use std::time::Duration;

use serde_json::Value;

use super::options::Output;
use super::{CommandError, show};
use crate::client::{Client, ClientError};

/// Time between two looks.
const EVERY: Duration = Duration::from_millis(500);
/// Looks that may fail in a row: the router may be starting again.
const FAILURES: u32 = 60;

/// Tells how a move goes on until the source is drained, or it has ended. One that failed is an error.
pub(super) async fn follow(client: &Client, output: Output, id: &str) -> Result<(), CommandError> {
    let ended = |shown: &Value| match shown["state"].as_str() {
        Some("aborted" | "rolled_back") => {
            let name = shown["id"].as_str().unwrap_or("the move");
            Some(Err(last_words(name, shown)))
        }
        // From here on there is nothing to see for as long as it is observed.
        Some("observing" | "done") => Some(Ok(())),
        _ => None,
    };
    watch(client, output, &format!("/v1/migrations/{id}"), line, ended).await
}

/// Tells how the restart at `path` goes on until it has ended. One that is paused or was given up is an error.
pub(super) async fn restart(client: &Client, output: Output, path: &str) -> Result<(), CommandError> {
    let ended = |shown: &Value| match (shown["state"].as_str(), shown["paused"].as_str()) {
        (Some("running"), None) => None,
        (Some("done"), _) => Some(Ok(())),
        (_, Some(why)) => Some(Err(format!("paused: {why}; --resume lets it go on, --abort gives it up"))),
        _ => Some(Err(last_words("the restart", shown))),
    };
    watch(client, output, path, restart_line, ended).await
}

/// Tells how a plan goes on until it is done. One that ended otherwise, or waits for somebody, is an error.
pub(super) async fn follow_plan(client: &Client, output: Output, id: &str) -> Result<(), CommandError> {
    let ended = |shown: &Value| match shown["state"].as_str() {
        Some("done") => Some(Ok(())),
        Some("paused") => {
            let why = shown["paused"].as_str().unwrap_or("no reason was given");
            Some(Err(format!("{id} is paused: {why}")))
        }
        Some("aborted" | "rolled_back" | "rejected" | "expired") => Some(Err(last_words(id, shown))),
        _ => None,
    };
    watch(client, output, &format!("/v1/plans/{id}"), plan_line, ended).await
}

/// Tells each new line of what is at `path` until it has ended.
async fn watch(
    client: &Client,
    output: Output,
    path: &str,
    line: fn(&Value) -> String,
    ended: impl Fn(&Value) -> Option<Result<(), String>>,
) -> Result<(), CommandError> {
    let mut told = String::new();
    let mut failures = 0;
    loop {
        let shown = match client.get(path).await {
            Ok(shown) => shown,
            Err(error @ (ClientError::Unreachable { .. } | ClientError::Failed { .. }))
                if failures < FAILURES =>
            {
                failures += 1;
                eprintln!("stampctl: {error}; asking again");
                tokio::time::sleep(EVERY).await;
                continue;
            }
            Err(error) => return Err(error.into()),
        };
        failures = 0;
        let line = line(&shown);
        if line != told {
            match output {
                Output::Json => show::text(&format!("{shown}\n"))?,
                Output::Table => show::text(&format!("{line}\n"))?,
            }
            told = line;
        }
        if let Some(ended) = ended(&shown) {
            return ended.map_err(CommandError::Ended);
        }
        tokio::time::sleep(EVERY).await;
    }
}

/// How many nodes are where, and what is awaited.
pub(super) fn restart_line(shown: &Value) -> String {
    let turns = || shown["nodes"].as_array().into_iter().flatten().filter_map(|node| node["turn"].as_str());
    let back = turns().filter(|turn| *turn == "back").count();
    let state = shown["state"].as_str().unwrap_or("-");
    format!("{state:<8} {back} of {} back; {}", turns().count(), shown["next"].as_str().unwrap_or("-"))
}

fn plan_line(shown: &Value) -> String {
    let phases = shown["phases"].as_array().map(Vec::as_slice).unwrap_or_default();
    let passed = phases.iter().filter(|phase| phase["state"] == "passed").count();
    let of = |name: &str| shown[name].as_str().unwrap_or("-").to_owned();
    format!("{:<10} {passed} of {} phases; {}", of("state"), phases.len(), of("next"))
}

fn line(shown: &Value) -> String {
    let of = |name: &str| shown[name].as_str().unwrap_or("-").to_owned();
    let sum = |end: &str, what: &str| -> u64 {
        shown[end].as_array().into_iter().flatten().filter_map(|node| node[what].as_u64()).sum()
    };
    format!(
        "{:<10} {}; in flight: {} at {}, {} at {}; late: {}",
        of("state"),
        of("next"),
        sum("source", "in_flight"),
        of("from"),
        sum("destination", "in_flight"),
        of("to"),
        sum("source", "begun"),
    )
}

fn last_words(name: &str, shown: &Value) -> String {
    let story = shown["story"].as_array();
    let last = story.and_then(|story| story.last()).and_then(|entry| entry["what"].as_str());
    format!("{name} ended: {}", last.unwrap_or("nothing is known of why"))
}
