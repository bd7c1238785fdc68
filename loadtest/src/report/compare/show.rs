//! A comparison as text within 100 columns, and as a Markdown table.

use std::fmt::Write as _;

use super::{Compared, Comparison, Kind, Side, Verdict};
use crate::report::unit;

/// For a terminal.
pub fn text(comparison: &Comparison) -> String {
    let mut text = String::new();
    for warning in &comparison.warnings {
        let _ = writeln!(text, "warning: {warning}");
    }
    let mut of: Option<&str> = None;
    for one in &comparison.compared {
        if of != Some(&one.of) {
            of = Some(&one.of);
            let _ = writeln!(
                text,
                "\n{:<19} {:>11} {:>9} {:>11} {:>9} {:>9}",
                one.of, "base", "spread", "new", "spread", "change"
            );
        }
        let _ = writeln!(
            text,
            "  {:<17} {:>11} {:>9} {:>11} {:>9} {:>9}  {}",
            one.name,
            value(one.kind, one.base.value),
            spread(&one.base),
            value(one.kind, one.new.value),
            spread(&one.new),
            change(one),
            verdict(one)
        );
    }
    let _ = writeln!(text, "\n{}", conclusion(comparison));
    text.chars().filter(|c| !c.is_control() || *c == '\n').collect()
}

/// For a pull request or a document.
pub fn markdown(comparison: &Comparison) -> String {
    let mut text = String::new();
    for warning in &comparison.warnings {
        let _ = writeln!(text, "> **warning**: {}\n", cell(warning));
    }
    text.push_str(
        "| of | measure | base | spread | new | spread | change | |\n|---|---|--:|--:|--:|--:|--:|---|\n",
    );
    for one in &comparison.compared {
        let sign = match one.verdict {
            Verdict::Worse | Verdict::Better => format!("**{}**", verdict(one)),
            Verdict::NoDifferenceShown | Verdict::NotJudged => verdict(one),
        };
        let _ = writeln!(
            text,
            "| {} | `{}` | {} | {} | {} | {} | {} | {sign} |",
            cell(&one.of),
            one.name,
            value(one.kind, one.base.value),
            spread(&one.base),
            value(one.kind, one.new.value),
            spread(&one.new),
            change(one),
        );
    }
    let _ = writeln!(text, "\n{}", conclusion(comparison));
    text
}

/// A text that cannot leave its cell, nor become markup.
fn cell(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '|' | '<' | '>' | '`' | '*' | '_' | '[' | ']' | '\\' => safe.extend(['\\', c]),
            _ if c.is_control() => safe.push(' '),
            _ => safe.push(c),
        }
    }
    safe
}

fn value(kind: Kind, value: f64) -> String {
    match kind {
        Kind::Seconds => unit::seconds(value),
        Kind::PullRate => format!("{}/s", unit::significant(value)),
        Kind::ByteRate => unit::byte_rate(value),
        Kind::Share => unit::share(value),
        Kind::Count => unit::significant(value),
        Kind::Bytes => unit::bytes(value),
    }
}

/// Half the width of the interval, as a share of the value.
fn spread(side: &Side) -> String {
    match side.interval {
        Some((low, high)) if side.value != 0.0 => {
            format!("±{}", unit::share((high - low) / 2.0 / side.value.abs()))
        }
        Some((low, high)) if low == high => "±0 %".to_owned(),
        _ => unit::NONE.to_owned(),
    }
}

fn change(one: &Compared) -> String {
    match one.change {
        Some(change) if change > 0.0 => format!("+{}", unit::share(change)),
        Some(change) => unit::share(change),
        None if one.new.value == 0.0 => unit::share(0.0),
        None => unit::NONE.to_owned(),
    }
}

fn verdict(one: &Compared) -> String {
    match (one.verdict, one.allowed) {
        (Verdict::Worse, false) => "WORSE".to_owned(),
        (Verdict::Worse, true) => "worse, allowed".to_owned(),
        (Verdict::Better, _) => "better".to_owned(),
        (Verdict::NoDifferenceShown, _) => "no difference".to_owned(),
        (Verdict::NotJudged, _) => "not judged".to_owned(),
    }
}

fn conclusion(comparison: &Comparison) -> String {
    let count = |verdict: Verdict| comparison.compared.iter().filter(|one| one.verdict == verdict).count();
    let (base, new) = comparison.runs;
    format!(
        "{} worse, {} better, {} without a difference shown, {} not judged\n({base} against {new} {}; changes up to {} and \
         within the spread are no difference; seed {})",
        count(Verdict::Worse),
        count(Verdict::Better),
        count(Verdict::NoDifferenceShown),
        count(Verdict::NotJudged),
        if base + new == 2 { "run" } else { "runs" },
        unit::share(comparison.threshold),
        comparison.seed,
    )
}
