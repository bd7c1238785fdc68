//! What the run cost: the servers' CPU, the nodes' own figures, and the load's own process.

use super::table::{Cell, Table};
use super::{lines, paragraph, section};
use crate::report::plot::axis::{Axis, Quantity};
use crate::report::plot::{Line, Plot, PlotError, Reading, Tint};
use crate::report::{Node, Point, Report, totals, unit};

/// Nodes that have a colour of their own; the others stand back.
const TINTED: usize = 6;

pub(super) fn write(to: &mut String, report: &Report) -> Result<(), PlotError> {
    if !report.servers.is_empty() {
        section(to, "servers", "What it cost the servers");
        write_servers(to, report);
        let series = report.servers.iter().map(|server| (server.name.clone(), server.cores.as_slice()));
        cores(to, report, "Cores in use by each server", "", "cores", series.collect(), Vec::new())?;
        to.push_str("</section>\n");
    }
    if !report.nodes.is_empty() {
        section(to, "nodes", "Nodes");
        write_nodes(to, report)?;
        to.push_str("</section>\n");
    }
    section(to, "load", "The load's own process");
    write_load(to, report);
    to.push_str("</section>\n");
    Ok(())
}

fn or_none(number: Option<f64>) -> String {
    number.map_or_else(|| unit::NONE.to_owned(), unit::seconds)
}

fn write_servers(to: &mut String, report: &Report) {
    let heads = ["server", "CPU", "user", "kernel", "CPU per GiB", "CPU per request", "peak memory"];
    let mut table = Table::new("CPU and memory of each server", &heads);
    for server in &report.servers {
        table.row(vec![
            Cell::Text(server.name.clone()),
            Cell::Number(unit::seconds(server.user + server.system)),
            Cell::Number(unit::seconds(server.user)),
            Cell::Number(unit::seconds(server.system)),
            Cell::Number(or_none(server.per_gib)),
            Cell::Number(or_none(server.per_request)),
            Cell::Number(unit::bytes(server.peak_rss as f64)),
        ]);
    }
    table.write(to);
}

fn write_nodes(to: &mut String, report: &Report) -> Result<(), PlotError> {
    let heads = ["node", "CPU", "over the mean", "", "readings missed"];
    let mut table = Table::new("CPU of each node", &heads);
    let all: f64 = report.nodes.iter().map(|node| node.cpu).sum();
    let most = report.nodes.iter().map(|node| node.cpu).fold(0.0, f64::max);
    let mean = all / report.nodes.len() as f64;
    for node in &report.nodes {
        table.row(vec![
            Cell::Text(node.url.clone()),
            Cell::Number(unit::seconds(node.cpu)),
            Cell::Number(format!("{} ×", unit::significant(node.cpu / mean))),
            Cell::Bar(node.cpu / most, true),
            Cell::Number(unit::count(node.missed)),
        ]);
    }
    table.write(to);
    let mut nodes: Vec<&Node> = report.nodes.iter().collect();
    nodes.sort_by(|a, b| b.cpu.total_cmp(&a.cpu));
    let series: Vec<(String, &[Point])> =
        nodes.iter().map(|node| (node.url.clone(), node.cores.as_slice())).collect();
    cores(to, report, "CPU of each node", "", "cores", series, Vec::new())?;
    if nodes.len() < 2 {
        return Ok(());
    }
    // Nodes of other sizes can be compared by their shares alone.
    if nodes.iter().all(|node| !node.utilisation.is_empty()) {
        hottest(to, report, &nodes, "share of its cores", |node| &node.utilisation)
    } else {
        hottest(to, report, &nodes, "cores", |node| &node.cores)
    }
}

/// The hottest node of each reading beside the mean of all.
fn hottest(
    to: &mut String,
    report: &Report,
    nodes: &[&Node],
    name: &'static str,
    points: fn(&Node) -> &Vec<Point>,
) -> Result<(), PlotError> {
    let series: Vec<&[Point]> = nodes.iter().map(|node| points(node).as_slice()).collect();
    let readings = totals::readings(&series);
    let told = readings.iter().map(|reading| {
        let url = nodes.get(reading.node).map_or("", |node| node.url.as_str());
        let (hottest, mean) = (unit::significant(reading.hottest), unit::significant(reading.mean));
        (reading.at, format!("{}: hottest {hottest}, mean {mean}\n{url}", unit::clock(reading.at)))
    });
    let told = told.collect();
    let line = |value: fn(&totals::Reading) -> f64| -> Vec<Point> {
        readings.iter().map(|reading| Point { at: reading.at, value: value(reading) }).collect()
    };
    let (hottest, mean) = (line(|reading| reading.hottest), line(|reading| reading.mean));
    let note = "Whichever node is the hottest at a time: capacity is bought for this line, and what lies between the two is imbalance.";
    let lines = vec![("hottest node".to_owned(), hottest.as_slice()), ("mean of all".to_owned(), &mean)];
    cores(to, report, "The hottest node and the mean", note, name, lines, told)
}

fn cores(
    to: &mut String,
    report: &Report,
    title: &str,
    note: &str,
    name: &'static str,
    series: Vec<(String, &[Point])>,
    readings: Vec<(f64, String)>,
) -> Result<(), PlotError> {
    let values = series.iter().flat_map(|(_, points)| points.iter().map(|point| point.value));
    let (x, y) = (lines::time(report), Axis::from_zero(name, Quantity::Plain, values));
    let others = series.len().saturating_sub(TINTED);
    let line = |(index, (name, points)): (usize, &(String, &[Point]))| Line {
        name: if index < TINTED { name.clone() } else { format!("{others} others") },
        tint: if index < TINTED { Tint::Number(index) } else { Tint::Grey },
        pieces: lines::through(&x, &y, points),
    };
    let lines = series.iter().enumerate().map(line).collect();
    let ends = readings.iter().skip(1).map(|(at, _)| *at).chain([x.range().end]);
    let readings =
        readings.iter().zip(ends).map(|((from, text), to)| Reading { from: *from, to, text: text.clone() });
    let plot = Plot { readings: readings.collect(), lines, marks: lines::marks(report, &x), x, y };
    lines::figure(to, title, note, plot)
}

fn write_load(to: &mut String, report: &Report) {
    let client = &report.client;
    paragraph(
        to,
        "note",
        "If these are high, the numbers above say more of this machine than of the server.",
    );
    let heads = [
        "CPU",
        "busiest thread",
        "timers late, p99",
        "timers late, max",
        "most connections",
        "cores used by others",
    ];
    let mut table = Table::new("How the load's own process fared", &heads);
    table.row(vec![
        Cell::Number(unit::seconds(client.cpu)),
        Cell::Number(format!("{} of a core", unit::share(client.busiest_thread))),
        Cell::Number(unit::seconds(client.timer_lag.p99)),
        Cell::Number(unit::seconds(client.timer_lag.max)),
        Cell::Number(unit::count(client.peak_connections)),
        Cell::Number(unit::significant(client.other_cores)),
    ]);
    table.write(to);
    let heads = [
        "flow",
        "started late, p99",
        "started late, max",
        "warm-up pulls",
        "unfinished",
        "requests",
        "connections",
        "resumes",
    ];
    let mut table = Table::new("What each flow did beside its pulls", &heads);
    for flow in &report.flows {
        table.row(vec![
            Cell::Text(flow.name.clone()),
            Cell::Number(unit::seconds(flow.lateness.p99)),
            Cell::Number(unit::seconds(flow.lateness.max)),
            Cell::Number(unit::count(flow.warm_up_pulls)),
            Cell::Number(unit::count(flow.unfinished)),
            Cell::Number(unit::count(flow.requests)),
            Cell::Number(unit::count(flow.connections)),
            Cell::Number(unit::count(flow.resumes)),
        ]);
    }
    table.write(to);
}
