//! A plot on the page, with its legend: wide for a screen and paper, narrow for a phone.

use std::fmt::Write as _;

use super::escape::Escaped;
use crate::report::plot::axis::Axis;
use crate::report::plot::{Frame, Line, Mark, Plot, PlotError, draw};
use crate::report::{Point, Report};

/// Writes one figure. Nothing is drawn for a plot without a point, and a sentence says so.
pub(super) fn figure(to: &mut String, title: &str, note: &str, mut plot: Plot) -> Result<(), PlotError> {
    let _ = writeln!(to, "<figure class=\"plot\">\n<figcaption><h3>{}</h3>", Escaped(title));
    if plot.lines.iter().all(|line| line.pieces.iter().all(Vec::is_empty)) {
        to.push_str("<p class=\"note\">Nothing was seen to draw here.</p></figcaption>\n</figure>\n");
        return Ok(());
    }
    if !note.is_empty() {
        let _ = writeln!(to, "<p class=\"note\">{}</p>", Escaped(note));
    }
    write_legend(to, &plot.lines);
    to.push_str("</figcaption>\n");
    let wide = draw(&plot, Frame::WIDE, title)?;
    // Nothing points at a phone's plot.
    plot.readings.clear();
    let narrow = draw(&plot, Frame::NARROW, title)?;
    let _ = writeln!(to, "<div class=\"wide\">{wide}</div>\n<div class=\"narrow\">{narrow}</div>\n</figure>");
    Ok(())
}

fn write_legend(to: &mut String, lines: &[Line]) {
    to.push_str("<ul class=\"legend\">");
    let mut named: Vec<&str> = Vec::new();
    for line in lines {
        if named.contains(&line.name.as_str()) {
            continue;
        }
        named.push(&line.name);
        let _ = write!(
            to,
            "<li><svg viewBox=\"0 0 224 80\" aria-hidden=\"true\"><line x1=\"0\" y1=\"40\" x2=\"224\" y2=\"40\" stroke=\"{}\" \
             stroke-width=\"20\"/></svg>{}</li>",
            line.tint.hex(),
            Escaped(&line.name)
        );
    }
    to.push_str("</ul>\n");
}

/// The time that plots of a report show: all that was counted, and whatever was read meanwhile.
pub(super) fn time(report: &Report) -> Axis {
    let bins =
        report.flows.iter().flat_map(|flow| &flow.series).flat_map(|bin| [bin.at, bin.at + bin.length]);
    let servers = report.servers.iter().flat_map(|server| &server.cores);
    let nodes = report.nodes.iter().flat_map(|node| &node.cores);
    let times = bins.chain(servers.chain(nodes).map(|point| point.at)).filter(|at| at.is_finite());
    let (from, to) =
        times.fold((f64::INFINITY, f64::NEG_INFINITY), |(from, to), at| (from.min(at), to.max(at)));
    if from < to { Axis::Time { from, to } } else { Axis::Time { from: 0.0, to: 1.0 } }
}

/// The events that lie in the time shown.
pub(super) fn marks(report: &Report, x: &Axis) -> Vec<Mark> {
    let range = x.range();
    let mut marks: Vec<Mark> = report
        .events
        .iter()
        .filter(|event| event.at >= range.start && event.at <= range.end)
        .map(|event| Mark { at: event.at, name: event.name.clone() })
        .collect();
    marks.sort_by(|a, b| a.at.total_cmp(&b.at));
    marks
}

/// The pieces of a line through `values` (x and y as numbers of the report), broken where there is none.
pub(super) fn pieces(
    x: &Axis,
    y: &Axis,
    values: impl Iterator<Item = (f64, Option<f64>)>,
) -> Vec<Vec<(f64, f64)>> {
    let mut pieces: Vec<Vec<(f64, f64)>> = vec![Vec::new()];
    for (at, value) in values {
        let placed =
            value.filter(|value| value.is_finite()).and_then(|value| Some((x.place(at)?, y.place(value)?)));
        match (placed, pieces.last_mut()) {
            (Some(point), Some(piece)) => piece.push(point),
            (None, Some(piece)) if !piece.is_empty() => pieces.push(Vec::new()),
            _ => {}
        }
    }
    pieces.retain(|piece| !piece.is_empty());
    pieces
}

/// A line through points.
pub(super) fn through(x: &Axis, y: &Axis, points: &[Point]) -> Vec<Vec<(f64, f64)>> {
    pieces(x, y, points.iter().map(|point| (point.at, Some(point.value))))
}
