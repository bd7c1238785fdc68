//! What answers look like to people. Numbers of the API are JSON's; a field that an older router does not know is blank.

use std::io::Write;

use serde_json::Value;

use super::CommandError;
use super::table::Table;

pub(super) fn text(text: &str) -> Result<(), CommandError> {
    Ok(std::io::stdout().write_all(text.as_bytes())?)
}

pub(super) fn json(value: &Value) -> Result<(), CommandError> {
    text(&format!("{value:#}\n"))
}

/// A value as a cell.
fn cell(value: &Value) -> String {
    match value {
        Value::Null => "-".into(),
        Value::String(text) => text.clone(),
        Value::Array(all) if all.is_empty() => "-".into(),
        Value::Array(all) => all.iter().map(cell).collect::<Vec<_>>().join(","),
        other => other.to_string(),
    }
}

fn cells<const N: usize>(value: &Value, names: [&str; N]) -> [String; N] {
    names.map(|name| cell(&value[name]))
}

fn each(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

/// Seconds, minutes and hours of a number of milliseconds.
fn time(value: &Value) -> String {
    match value.as_u64() {
        None => "-".into(),
        Some(ms) if ms < 10_000 => format!("{}.{:01} s", ms / 1000, ms % 1000 / 100),
        Some(ms) if ms < 600_000 => format!("{} s", ms / 1000),
        Some(ms) => format!("{} min", ms / 60_000),
    }
}

/// One thing: a line a field.
pub(super) fn facts(value: &Value) -> String {
    let mut table = Table::new(&["FIELD", "VALUE"]);
    add_facts(&mut table, "", value);
    table.text()
}

fn add_facts(table: &mut Table, before: &str, value: &Value) {
    for (name, value) in value.as_object().into_iter().flatten() {
        let name = format!("{before}{name}");
        match value {
            Value::Object(_) => add_facts(table, &format!("{name}."), value),
            other => table.row([name, cell(other)]),
        }
    }
}

pub(super) fn stamps(value: &Value) -> String {
    let mut table = Table::new(&["STAMP", "STATE", "NODES", "REGISTRIES", "COMING", "LEAVING", "ACCOUNTS"]);
    for stamp in each(value) {
        let nodes = format!("{}/{}", cell(&stamp["nodes_in_rotation"]), cell(&stamp["nodes"]));
        let [name, state] = cells(stamp, ["name", "state"]);
        let [registries, coming, leaving, accounts] =
            cells(stamp, ["registries", "coming", "leaving", "accounts"]);
        table.row([name, state, nodes, registries, coming, leaving, accounts]);
    }
    table.text()
}

pub(super) fn nodes(value: &Value) -> String {
    let mut table = Table::new(&[
        "NODE",
        "STAMP",
        "ROLE",
        "STATE",
        "ASKED",
        "ROTATION",
        "IN FLIGHT",
        "HEARD",
        "ADDRESS",
        "VERSION",
    ]);
    for node in each(value) {
        let known = &node["node"];
        let asked = known["intent"]["do"].as_str().unwrap_or("serve").to_owned();
        let state = known["state"].as_str().unwrap_or("ready").to_owned();
        let rotation = if node["in_rotation"] == true { "in" } else { "out" }.to_owned();
        let heard = match node["heard_ms_ago"].as_u64() {
            Some(_) => format!("{} ago", time(&node["heard_ms_ago"])),
            None => "never".into(),
        };
        let [name, role, address] = cells(known, ["name", "role", "address"]);
        let [stamp, in_flight, version] = cells(node, ["stamp", "in_flight", "version"]);
        table.row([name, stamp, role, state, asked, rotation, in_flight, heard, address, version]);
    }
    table.text()
}

pub(super) fn registries(value: &Value) -> String {
    let mut table =
        Table::new(&["REGISTRY", "HOME", "EPOCH", "PHASE", "FROM", "TO", "STORAGE", "OF STAMP", "MOVE"]);
    for registry in each(value) {
        let [name, home, epoch, phase] = cells(registry, ["registry", "home_stamp", "epoch", "phase"]);
        let [source, destination, of, migration] =
            cells(registry, ["source", "destination", "storage_of", "migration"]);
        let storage = cell(&registry["placement"]["account"]);
        table.row([name, home, epoch, phase, source, destination, storage, of, migration]);
    }
    table.text()
}

pub(super) fn migrations(value: &Value) -> String {
    let mut table =
        Table::new(&["MOVE", "REGISTRY", "FROM", "TO", "STATE", "SWITCHED IN", "DRAINED IN", "NEXT"]);
    for migration in each(value) {
        let [id, registry, from, to, state, next] =
            cells(migration, ["id", "registry", "from", "to", "state", "next"]);
        let (switched, drained) = (time(&migration["to_switch_ms"]), time(&migration["to_drained_ms"]));
        table.row([id, registry, from, to, state, switched, drained, next]);
    }
    table.text()
}

pub(super) fn migration(value: &Value) -> String {
    let [id, registry, from, to] = cells(value, ["id", "registry", "from", "to"]);
    let [state, next, storage] = cells(value, ["state", "next", "storage"]);
    let (switched, drained) = (time(&value["to_switch_ms"]), time(&value["to_drained_ms"]));
    let mut out = format!(
        "{id}: {registry} from {from} to {to}\n  state     {state}\n  next      {next}\n  switched  after {switched}\n  drained   {drained} after the switch\n  storage   {storage}\n\n"
    );
    let mut table = Table::new(&["END", "NODE", "REPORTS", "REVISION", "SERVING", "IN FLIGHT", "BEGUN"]);
    for end in ["source", "destination"] {
        for node in each(&value[end]) {
            let reports = if node["is_live"] == true { "yes" } else { "no" }.to_owned();
            let [name, revision, serving] = cells(node, ["node", "revision", "serving"]);
            let [in_flight, begun] = cells(node, ["in_flight", "begun"]);
            table.row([end.to_owned(), name, reports, revision, serving, in_flight, begun]);
        }
    }
    out.push_str(&table.text());
    out.push('\n');
    out.push_str(&story(value));
    out
}

pub(super) fn restart(value: &Value) -> String {
    let [stamp, number, state, next] = cells(value, ["stamp", "number", "state", "next"]);
    let mut out = format!("stamp {stamp}, restart {number}\n  state  {state}\n  next   {next}\n\n");
    let mut table = Table::new(&["NODE", "TURN"]);
    for node in each(&value["nodes"]) {
        table.row(cells(node, ["name", "turn"]));
    }
    out.push_str(&table.text());
    out.push('\n');
    out.push_str(&story(value));
    out
}

/// What came about, with the time since the beginning.
fn story(value: &Value) -> String {
    let line = |entry: &Value| {
        let since = entry["at"].as_u64().zip(value["began"].as_u64());
        let since = since.map(|(at, began)| Value::from(at.saturating_sub(began))).unwrap_or_default();
        format!("  +{:<8} {}\n", time(&since), cell(&entry["what"]))
    };
    each(&value["story"]).map(line).collect()
}

pub(super) fn audit(value: &Value) -> String {
    let mut table = Table::new(&["LINE", "AT", "WHO", "DONE", "WHY"]);
    for line in each(&value["lines"]) {
        let at = line["at"].as_u64().map(|at| {
            let time = std::time::UNIX_EPOCH + std::time::Duration::from_millis(at);
            humantime::format_rfc3339_millis(time).to_string()
        });
        let [number, actor, done, reason] = cells(line, ["number", "actor", "done", "reason"]);
        table.row([number, at.unwrap_or_default(), actor, done, reason]);
    }
    let mut out = table.text();
    for broken in each(&value["broken"]) {
        out.push_str(&format!("BROKEN: {}\n", cell(broken)));
    }
    out
}

/// Whether the audit is whole.
pub(super) fn verdict(value: &Value) -> String {
    let [lines, days] = cells(value, ["lines", "days"]);
    let is_whole = each(&value["broken"]).next().is_none();
    let mut out = format!("{lines} lines of {days} days{}\n", if is_whole { ", whole" } else { "" });
    for broken in each(&value["broken"]) {
        out.push_str(&format!("BROKEN: {}\n", cell(broken)));
    }
    out
}

/// What came of a change.
pub(super) fn changed(value: &Value, dry_run: bool) -> String {
    let [done, revision] = cells(value, ["done", "revision"]);
    let mut out = match (dry_run, value["changed"] == true) {
        (true, true) => format!("would be done: {done}\n"),
        (false, true) => format!("{done} (revision {revision})\n"),
        (_, false) => format!("nothing to do: {done}\n"),
    };
    for (at, step) in each(&value["steps"]).enumerate() {
        out.push_str(&format!("  {}. {}\n", at + 1, cell(step)));
    }
    let begins = done.starts_with("moves registry");
    if let Some(id) = value["migration"].as_str().filter(|_| begins && !dry_run) {
        out.push_str(&format!("follow it with: stampctl migration watch {id}\n"));
    }
    out
}
