//! Plans, the freeze and the policy.

use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use http::Method;
use serde_json::{Value, json};

use super::options::{Explain, Freeze, MakePlan, Output, Plan, Policy};
use super::table::Table;
use super::{Change, CommandError, Show, follow, show};

pub(super) async fn plan(verb: &Plan, read: Show<'_>, change: Change<'_>) -> Result<(), CommandError> {
    let post = |id: &str, verb: &str, body: Value| {
        change.ask(Method::POST, format!("/v1/plans/{id}/{verb}"), Some(body))
    };
    match verb {
        Plan::Make(wanted) => make(wanted, read, change).await,
        Plan::Ls => read.value("/v1/plans", plans).await,
        Plan::Show { id } => read.value(&format!("/v1/plans/{id}"), whole).await,
        Plan::Ledger => read.value("/v1/ledger", ledger).await,
        Plan::Watch { id } => follow::follow_plan(read.client, read.output, id).await,
        Plan::Submit { file } => {
            let body = json_file(file)?;
            change.ask(Method::POST, "/v1/plans".into(), Some(body)).await.map(drop)
        }
        Plan::Approve { id, hash } => {
            let hash = the_hash(id, hash.as_deref(), read).await?;
            post(id, "approve", json!({"hash": hash})).await.map(drop)
        }
        Plan::Reject { id } => post(id, "reject", json!({})).await.map(drop),
        Plan::Pause { id } => post(id, "pause", json!({})).await.map(drop),
        Plan::Resume { id, until_phase } => {
            post(id, "resume", json!({"until_phase": until_phase})).await.map(drop)
        }
        Plan::Promote { id } => post(id, "promote", json!({})).await.map(drop),
        Plan::Extend { id, by } => post(id, "extend", json!({"seconds": by.as_secs()})).await.map(drop),
        Plan::Abort { id } => post(id, "abort", json!({})).await.map(drop),
        Plan::Rollback { id, from_phase } => {
            post(id, "rollback", json!({"from_phase": from_phase})).await.map(drop)
        }
    }
}

async fn make(wanted: &MakePlan, read: Show<'_>, change: Change<'_>) -> Result<(), CommandError> {
    let one = || wanted.to.first().filter(|_| wanted.to.len() == 1);
    let goal = match (&wanted.relieve, &wanted.isolate, wanted.registries.as_slice()) {
        (Some(stamp), _, _) => json!({"want": "relieve", "stamp": stamp, "to": wanted.to, "p95": wanted.p95}),
        (_, Some(tenant), _) => {
            json!({"want": "isolate", "tenant": tenant, "from": wanted.from, "to": one()})
        }
        (_, _, []) => json!({"want": "balance"}),
        (_, _, registries) => json!({"want": "move", "registries": registries, "to": one()}),
    };
    let asked = json!({"goal": goal, "seed": wanted.seed});
    let made = read.client.send(Method::POST, "/v1/plan", Some(asked)).await?;
    match read.output {
        Output::Json => show::json(&made["plan"])?,
        Output::Table => show::text(made["text"].as_str().unwrap_or_default())?,
    }
    if let Some(path) = &wanted.save {
        let text = format!("{:#}\n", made["plan"]);
        let failed =
            |error: std::io::Error| CommandError::File { path: path.clone(), why: error.to_string() };
        std::fs::write(path, text).map_err(failed)?;
    }
    if wanted.submit {
        change.ask(Method::POST, "/v1/plans".into(), Some(made["plan"].clone())).await?;
    }
    Ok(())
}

pub(super) async fn explain(verb: &Explain, read: Show<'_>) -> Result<(), CommandError> {
    let query = match verb {
        Explain::Stamp { name } => format!("stamp={name}"),
        Explain::Registry { name } => format!("registry={name}"),
    };
    let text = |value: &Value| value["text"].as_str().unwrap_or_default().to_owned();
    read.value(&format!("/v1/explain?{query}"), text).await
}

pub(super) async fn apply(
    id: &str,
    hash: Option<&str>,
    until_phase: Option<usize>,
    read: Show<'_>,
    change: Change<'_>,
) -> Result<(), CommandError> {
    let hash = the_hash(id, hash, read).await?;
    let body = json!({"hash": hash, "until_phase": until_phase});
    change.ask(Method::POST, format!("/v1/plans/{id}/apply"), Some(body)).await.map(drop)
}

pub(super) async fn freeze(verb: &Freeze, read: Show<'_>, change: Change<'_>) -> Result<(), CommandError> {
    match verb {
        Freeze::Show => read.value("/v1/freeze", freeze_words).await,
        Freeze::On { lasts } => {
            let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
            let until = lasts.map(|lasts| (now + lasts).as_millis());
            let until = until.and_then(|until| u64::try_from(until).ok());
            change.ask(Method::PUT, "/v1/freeze".into(), Some(json!({"until": until}))).await.map(drop)
        }
        Freeze::Off => change.ask(Method::DELETE, "/v1/freeze".into(), None).await.map(drop),
    }
}

pub(super) async fn policy(verb: &Policy, read: Show<'_>, change: Change<'_>) -> Result<(), CommandError> {
    match verb {
        Policy::Show => read.value("/v1/policy", show::facts).await,
        Policy::Set { file } => {
            let body = json_file(file)?;
            change.ask(Method::PUT, "/v1/policy".into(), Some(body)).await.map(drop)
        }
    }
}

fn json_file(path: &Path) -> Result<Value, CommandError> {
    let bad = |why: String| CommandError::File { path: path.to_owned(), why };
    let text = std::fs::read(path).map_err(|error| bad(error.to_string()))?;
    serde_json::from_slice(&text).map_err(|error| bad(format!("it is no JSON: {error}")))
}

/// The hash that an approval is bound to: the one that was read, or the one that the router shows now.
async fn the_hash(id: &str, said: Option<&str>, read: Show<'_>) -> Result<String, CommandError> {
    if let Some(said) = said {
        return Ok(said.to_owned());
    }
    let plan = read.client.get(&format!("/v1/plans/{id}")).await?;
    let hash = plan["hash"].as_str().unwrap_or_default().to_owned();
    if read.output == Output::Table {
        eprintln!("plan {id} has the hash {hash}");
    }
    Ok(hash)
}

fn words(value: &Value) -> String {
    value.as_str().unwrap_or("-").to_owned()
}

fn each(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

fn freeze_words(value: &Value) -> String {
    match value.is_null() {
        true => "moves may begin: there is no freeze\n".into(),
        false => show::facts(value),
    }
}

fn plans(value: &Value) -> String {
    let mut table = Table::new(&["PLAN", "STATE", "PHASES", "MOVES", "APPROVALS", "PROPOSED BY", "NEXT"]);
    for plan in each(value) {
        let passed = each(&plan["phases"]).filter(|phase| phase["state"] == "passed").count();
        let phases = format!("{passed}/{}", each(&plan["phases"]).count());
        let moves: usize = each(&plan["phases"]).map(|phase| each(&phase["moves"]).count()).sum();
        let approvals = format!("{}/{}", each(&plan["approvals"]).count(), plan["approvals_needed"]);
        table.row([
            words(&plan["id"]),
            words(&plan["state"]),
            phases,
            moves.to_string(),
            approvals,
            words(&plan["proposed_by"]),
            words(&plan["next"]),
        ]);
    }
    table.text()
}

fn percent(value: &Value) -> String {
    value.as_f64().map_or_else(|| "-".into(), |part| format!("{:.1} %", part * 100.0))
}

fn ledger(value: &Value) -> String {
    let mut out = format!(
        "phases: {} passed ({} in a row), {} taken back\nmedian error of the predictions: {}; within their intervals: {}\n\n",
        value["passed"],
        value["passed_in_a_row"],
        value["taken_back"],
        percent(&value["median_error"]),
        percent(&value["coverage"]),
    );
    let mut table = Table::new(&[
        "PLAN",
        "PHASE",
        "CHECK",
        "BEFORE",
        "PREDICTED",
        "FROM",
        "TO",
        "MEASURED",
        "TAKEN BACK",
    ]);
    for entry in each(&value["entries"]) {
        let back = if entry["taken_back"] == true { "yes" } else { "no" };
        table.row([
            words(&entry["plan"]),
            entry["phase"].to_string(),
            words(&entry["check"]),
            percent(&entry["before"]),
            percent(&entry["median"]),
            percent(&entry["lo"]),
            percent(&entry["hi"]),
            percent(&entry["actual"]),
            back.to_owned(),
        ]);
    }
    out.push_str(&table.text());
    out
}

/// One plan, as people review it.
pub(super) fn whole(value: &Value) -> String {
    let mut out = format!(
        "{}: {}\n  hash       {}\n  next       {}\n  approvals  {} of {}\n",
        words(&value["id"]),
        words(&value["state"]),
        words(&value["hash"]),
        words(&value["next"]),
        each(&value["approvals"]).count(),
        value["approvals_needed"],
    );
    for change in each(&value["changes"]) {
        out.push_str(&format!("  CHANGED    {}\n", words(change)));
    }
    for reading in each(&value["gate"]["readings"]) {
        let [check, verdict, seen] = ["check", "verdict", "seen"].map(|part| words(&reading[part]));
        out.push_str(&format!("  guard      {verdict}: {check}: {seen}\n"));
    }
    out.push('\n');
    let mut table = Table::new(&["PHASE", "KIND", "STATE", "WATCHED", "MOVE", "MIGRATION", "TAKEN BACK BY"]);
    for (at, phase) in each(&value["phases"]).enumerate() {
        for planned in each(&phase["moves"]) {
            let [registry, from, to] = ["registry", "from", "to"].map(|part| words(&planned[part]));
            let watched = phase["observe_seconds"].as_u64().unwrap_or_default();
            let watched = humantime::format_duration(std::time::Duration::from_secs(watched)).to_string();
            table.row([
                (at + 1).to_string(),
                words(&phase["name"]),
                words(&phase["state"]),
                watched,
                format!("{registry}: {from} to {to}"),
                words(&planned["migration"]),
                words(&planned["taken_back_by"]),
            ]);
        }
    }
    out.push_str(&table.text());
    out.push('\n');
    for entry in each(&value["story"]) {
        let at = entry["at"].as_u64().unwrap_or_default();
        let at = humantime::format_rfc3339_seconds(UNIX_EPOCH + std::time::Duration::from_millis(at));
        out.push_str(&format!("  {at}  {}\n", words(&entry["what"])));
    }
    out
}
