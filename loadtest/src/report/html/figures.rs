//! What is read first: the verdict with the numbers that broke, what to beware of, and the figures of the whole and of each
//! flow.

use std::fmt::Write as _;

use super::escape::Escaped;
use super::table::{Cell, Table};
use super::{paragraph, section};
use crate::phase::Phase;
use crate::plan;
use crate::report::{Distribution, FlowReport, Report, totals, unit, verdict};

pub(super) fn write(to: &mut String, report: &Report) {
    write_verdict(to, report);
    write_warnings(to, report);
    write_limits(to, report);
    section(to, "figures", "Key figures");
    write_tiles(to, report);
    write_flows(to, report);
    to.push_str("</section>\n");
}

fn write_verdict(to: &mut String, report: &Report) {
    let class = if report.passed { "passed" } else { "failed" };
    let sign = if report.passed { "✓" } else { "✗" };
    let _ = writeln!(to, "<header>\n<h1>{}</h1>", Escaped(&report.plan.title));
    if !report.plan.about.is_empty() {
        paragraph(to, "about", &report.plan.about);
    }
    let when = format!("{} · {} measured · {}", report.started, unit::lasted(report.seconds), report.tool);
    paragraph(to, "when", &when);
    let _ = writeln!(
        to,
        "<div id=\"verdict\" class=\"{class}\" role=\"status\"><p class=\"headline\"><span aria-hidden=\"true\">{sign}</span> {}</p>",
        Escaped(&verdict::headline(report))
    );
    write_list(to, &verdict::broken(report));
    to.push_str("</div>\n</header>\n");
}

fn write_list(to: &mut String, sentences: &[String]) {
    if sentences.is_empty() {
        return;
    }
    to.push_str("<ul>\n");
    for sentence in sentences {
        let _ = writeln!(to, "<li>{}</li>", Escaped(sentence));
    }
    to.push_str("</ul>\n");
}

fn write_warnings(to: &mut String, report: &Report) {
    let warnings = verdict::warnings(report);
    if !warnings.is_empty() {
        to.push_str("<section id=\"warnings\" aria-labelledby=\"warnings-h\">\n<h2 id=\"warnings-h\"><span aria-hidden=\"true\">⚠</span> Before you trust these numbers</h2>\n");
        write_list(to, &warnings);
        to.push_str("</section>\n");
    }
}

fn write_limits(to: &mut String, report: &Report) {
    if report.judged.is_empty() {
        return;
    }
    section(to, "limits", "Limits");
    let heads = ["flow", "number", "wanted", "found", "held"];
    let mut table = Table::new("Each limit and what was found", &heads);
    for line in verdict::lines(report) {
        let held = if line.held { "✓ held" } else { "✗ broken" };
        table.row(vec![
            Cell::Text(line.flow),
            Cell::Text(line.number),
            Cell::Number(line.wanted),
            Cell::Number(line.found),
            Cell::Sign(line.held, held.to_owned()),
        ]);
    }
    table.write(to);
    to.push_str("</section>\n");
}

fn write_tiles(to: &mut String, report: &Report) {
    let pulls = totals::sum(report.flows.iter().map(|flow| &flow.pulls));
    let bytes = totals::all(&totals::sum(report.flows.iter().map(|flow| &flow.bytes)));
    let (ended, failed) = (totals::all(&pulls), totals::failed(&pulls));
    let rate = |amount| totals::per_second(report, amount).unwrap_or(f64::NAN);
    let mut tiles = vec![
        (
            "pulls that ended",
            unit::count(ended),
            format!("{} good/s", unit::significant(rate(totals::good(&pulls)))),
        ),
        ("failed", unit::count(failed), unit::share(failed as f64 / ended as f64)),
        ("bytes of bodies", unit::bytes(bytes as f64), unit::byte_rate(rate(bytes))),
    ];
    if let Some(cpu) = totals::cpu_per_gib(report) {
        let per_request = totals::cpu_per_request(report)
            .map_or_else(String::new, |cpu| format!("{} per request", unit::seconds(cpu)));
        tiles.push(("server CPU per GiB", unit::seconds(cpu), per_request));
    }
    if let Some(ratio) = totals::hottest_over_mean(report).filter(|_| report.nodes.len() > 1) {
        let nodes = format!("{} nodes", report.nodes.len());
        tiles.push(("hottest node over the mean", format!("{} ×", unit::significant(ratio)), nodes));
    }
    to.push_str("<dl class=\"tiles\">\n");
    for (name, value, more) in tiles {
        let _ = writeln!(
            to,
            "<div><dt>{name}</dt><dd><b>{}</b> <span>{}</span></dd></div>",
            Escaped(&value),
            Escaped(&more)
        );
    }
    to.push_str("</dl>\n");
}

fn write_flows(to: &mut String, report: &Report) {
    let heads = [
        "flow",
        "client",
        "pulls",
        "failed",
        "good pulls/s",
        "bytes/s",
        "first byte p99",
        "pull p50",
        "pull p99",
        "pull max",
    ];
    let mut table = Table::new("Each flow; latency is of good pulls, from their intended start", &heads);
    for flow in &report.flows {
        let rate = |amount| totals::per_second(report, amount).unwrap_or(f64::NAN);
        let pull = Distribution::of_good(flow, Phase::Pull);
        let first_byte = Distribution::of_good(flow, Phase::FirstByte);
        let time = |of: &Distribution, value: f64| {
            if of.summary().count == 0 { unit::NONE.to_owned() } else { unit::seconds(value) }
        };
        table.row(vec![
            Cell::Text(flow.name.clone()),
            Cell::Text(client(report, flow)),
            Cell::Number(unit::count(totals::all(&flow.pulls))),
            Cell::Number(totals::failed_share(flow).map_or_else(|| unit::NONE.to_owned(), unit::share)),
            Cell::Number(unit::significant(rate(totals::good(&flow.pulls)))),
            Cell::Number(unit::byte_rate(rate(totals::all(&flow.bytes)))),
            Cell::Number(time(&first_byte, first_byte.summary().p99)),
            Cell::Number(time(&pull, pull.summary().p50)),
            Cell::Number(time(&pull, pull.summary().p99)),
            Cell::Number(time(&pull, pull.summary().max)),
        ]);
    }
    table.write(to);
}

fn client(report: &Report, flow: &FlowReport) -> String {
    let planned = report.plan.flows.iter().find(|planned| planned.name == flow.name);
    let name = planned.map(|planned| match planned.client {
        plan::Client::Docker => "docker",
        plan::Client::Containerd => "containerd",
        plan::Client::ContainersImage => "containers-image",
        plan::Client::Plain => "plain",
    });
    name.unwrap_or(unit::NONE).to_owned()
}
