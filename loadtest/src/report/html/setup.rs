//! What it takes to run it again: events, machine, seed, command, plan.

use std::fmt::Write as _;

use super::escape::Escaped;
use super::section;
use super::table::{Cell, Table};
use crate::report::{Report, unit};

pub(super) fn write(to: &mut String, report: &Report) {
    write_events(to, report);
    section(to, "setup", "To run it again");
    let machine = &report.machine;
    let facts = [
        ("command", report.command.iter().map(|word| quoted(word)).collect::<Vec<_>>().join(" ")),
        ("seed", report.seed.to_string()),
        ("begun", report.started.clone()),
        ("tool", format!("{}, report format {}", report.tool, report.format)),
        ("CPU", format!("{}, {} cores", machine.cpu, machine.cores)),
        ("memory", unit::bytes(machine.memory as f64)),
        ("system", format!("{}, {}", machine.system, machine.kernel)),
        ("congestion control", machine.congestion_control.clone()),
    ];
    to.push_str("<dl class=\"facts\">\n");
    for (name, fact) in facts {
        let _ = writeln!(to, "<dt>{name}</dt><dd>{}</dd>", Escaped(&fact));
    }
    to.push_str("</dl>\n<h3>Plan</h3>\n");
    // A plan that TOML cannot hold is written as JSON, which holds all of them.
    let plan = toml::to_string_pretty(&report.plan).or_else(|_| serde_json::to_string_pretty(&report.plan));
    let _ = writeln!(to, "<pre>{}</pre>\n</section>", Escaped(&plan.unwrap_or_default()));
}

fn write_events(to: &mut String, report: &Report) {
    if report.events.is_empty() {
        return;
    }
    section(to, "events", "Events");
    let heads = ["event", "number", "at", "took", "came out"];
    let mut table = Table::new("What was done to the servers meanwhile", &heads);
    for (index, event) in report.events.iter().enumerate() {
        let came = event.failure.clone().unwrap_or_else(|| "well".to_owned());
        table.row(vec![
            Cell::Text(event.name.clone()),
            Cell::Number((index + 1).to_string()),
            Cell::Number(unit::clock(event.at)),
            Cell::Number(unit::seconds(event.took)),
            Cell::Sign(event.failure.is_none(), came),
        ]);
    }
    table.write(to);
    to.push_str("</section>\n");
}

/// A word of a command line as a shell takes it.
fn quoted(word: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=@%+,".contains(c);
    if !word.is_empty() && word.chars().all(is_plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', "'\\''"))
    }
}
