//! A comparison as Markdown and as one HTML page.

use std::fmt::Write;

use super::result::{Comparison, Row, Spread};

const HEAD: [&str; 12] = [
    "server",
    "CPU ÷ nginx",
    "CPU",
    "GiB/s",
    "requests/s",
    "p50 ms",
    "p99 ms",
    "first byte p50 ms",
    "first byte p99 ms",
    "peak RSS MiB",
    "cores: server, client, other",
    "failed",
];

/// Tables by scheme and work.
pub fn markdown(comparison: &Comparison) -> String {
    let mut text = String::new();
    for line in preamble(comparison) {
        let _ = writeln!(text, "{line}\n");
    }
    for (title, rows) in sections(comparison) {
        let _ = writeln!(text, "### {title}\n");
        let _ = writeln!(text, "| {} |\n|{}", HEAD.join(" | "), "---|".repeat(HEAD.len()));
        for row in rows {
            let _ = writeln!(text, "| {} |", cells(comparison, row).join(" | "));
        }
        text.push('\n');
    }
    text
}

/// One page with nothing from outside: the same tables, and a bar for each cost.
pub fn html(comparison: &Comparison) -> String {
    let mut body = String::new();
    for line in preamble(comparison) {
        let _ = writeln!(body, "<p>{}</p>", escape(&line));
    }
    for (title, rows) in sections(comparison) {
        let _ = writeln!(body, "<h2>{}</h2>\n<div class=\"wide\"><table>", escape(&title));
        let head: String = HEAD.iter().map(|cell| format!("<th>{}</th>", escape(cell))).collect();
        let _ = writeln!(body, "<tr>{head}<th></th></tr>");
        let most = rows.iter().filter_map(|row| row.cost()).map(|cost| cost.median).fold(0.0, f64::max);
        for row in rows {
            let cells: String =
                cells(comparison, row).iter().map(|cell| format!("<td>{}</td>", escape(cell))).collect();
            let share = row.cost().map_or(0.0, |cost| 100.0 * cost.median / most.max(f64::MIN_POSITIVE));
            let own = if row.server == "dataproxy" { " class=\"own\"" } else { "" };
            let _ = writeln!(
                body,
                "<tr{own}>{cells}<td class=\"bar\"><div style=\"width:{share:.1}%\"></div></td></tr>"
            );
        }
        body.push_str("</table></div>\n");
    }
    include_str!("page.html").replace("{{body}}", &body)
}

/// What was measured, where and how, and what to mind.
fn preamble(comparison: &Comparison) -> Vec<String> {
    let machine = &comparison.machine;
    let servers: Vec<String> = comparison
        .servers
        .iter()
        .map(|server| format!("{} ({})", server.name, or_unknown(&server.version)))
        .collect();
    let mut lines = vec![
        format!(
            "{}, {} cores, {}, {}; congestion control of loopback: {}; {} by {}.",
            or_unknown(&machine.cpu),
            machine.cores,
            or_unknown(&machine.kernel),
            or_unknown(&machine.system),
            comparison.congestion_control,
            comparison.started,
            comparison.tool,
        ),
        format!(
            "{} rounds of {} s, the servers in turn; each figure is the median (lowest–highest). Times are of a closed loop: they tell \
             servers apart, and not what users would wait. CPU is user and system time of the \
             server's processes: seconds for each GiB, or µs for each request. Servers are bound to one core and have one worker, the \
             load is bound to another; bodies over plain HTTP are dropped inside the kernel. Loopback charges the sender for the \
             receiver's work: compare the ratios.",
            comparison.rounds, comparison.seconds,
        ),
        format!("Servers: {}.", servers.join("; ")),
    ];
    lines.extend(comparison.notes.iter().map(|note| format!("Note: {note}")));
    lines
}

/// Rows that belong side by side, in the order in which they were measured.
fn sections(comparison: &Comparison) -> Vec<(String, Vec<&Row>)> {
    let mut sections: Vec<(String, Vec<&Row>)> = Vec::new();
    for row in &comparison.rows {
        let title = format!("{}, {}", row.title, row.scheme);
        match sections.iter_mut().find(|(known, _)| *known == title) {
            Some((_, rows)) => rows.push(row),
            None => sections.push((title, vec![row])),
        }
    }
    sections
}

fn cells(comparison: &Comparison, row: &Row) -> Vec<String> {
    let by_bytes = row.work.is_by_bytes();
    let cost = |spread: Spread| {
        if by_bytes {
            format!("{} s/GiB", text(spread, 1.0, 3))
        } else {
            format!("{} µs", text(spread, 1e6, 1))
        }
    };
    let none = || "–".to_owned();
    let of = |figure: fn(&super::Sample) -> Option<f64>, factor: f64, digits: usize| {
        row.spread(figure).map_or_else(none, |spread| text(spread, factor, digits))
    };
    let median = |figure: fn(&super::Sample) -> f64| {
        row.spread(|sample| Some(figure(sample))).map_or(0.0, |spread| spread.median)
    };
    let most = |figure: fn(&super::Sample) -> f64| {
        row.spread(|sample| Some(figure(sample))).map_or(0.0, |spread| spread.highest)
    };
    vec![
        row.server.clone(),
        comparison.over_nginx(row).map_or_else(none, |ratio| format!("{ratio:.2}")),
        row.cost().map_or_else(none, cost),
        of(|sample| Some(sample.gib_per_second), 1.0, 2),
        of(|sample| sample.requests_per_second, 1.0, 0),
        of(|sample| sample.p50, 1e3, 2),
        of(|sample| sample.p99, 1e3, 2),
        of(|sample| sample.first_byte_p50, 1e3, 2),
        of(|sample| sample.first_byte_p99, 1e3, 2),
        format!("{:.0}", most(|sample| sample.peak_rss as f64) / f64::from(1 << 20)),
        format!(
            "{:.2}, {:.2}, {:.2}",
            median(|sample| sample.server_cores),
            median(|sample| sample.client_cores),
            most(|sample| sample.other_cores)
        ),
        row.samples.iter().map(|sample| sample.failed).sum::<u64>().to_string(),
    ]
}

fn text(spread: Spread, factor: f64, digits: usize) -> String {
    let Spread { median, lowest, highest } = spread;
    format!("{:.digits$} ({:.digits$}–{:.digits$})", median * factor, lowest * factor, highest * factor)
}

fn or_unknown(text: &str) -> &str {
    if text.is_empty() { "unknown" } else { text }
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::super::result::tests::{comparison, row};
    use super::super::{Sample, Work};
    use super::*;

    #[test]
    fn every_row_stands_under_its_work_with_its_ratio_and_spread() {
        let mut all = comparison(vec![
            row("dataproxy", Work::C1, &[0.3, 0.1, 0.2]),
            row("nginx", Work::C1, &[0.1, 0.1, 0.1]),
            row("nginx", Work::Small, &[0.01]),
        ]);
        all.rows[2].samples.push(Sample { failed: 3, ..Sample::default() });
        let text = markdown(&all);
        let heads: Vec<&str> = text.lines().filter(|line| line.starts_with("###")).collect();
        assert_eq!(
            heads,
            ["### 64 MiB blobs, 1 connection, plain", "### 16 KiB blobs, 64 connections, plain"]
        );
        assert!(text.contains("| dataproxy | 2.00 | 0.200 (0.100–0.300) s/GiB |"), "{text}");
        assert!(text.contains("| nginx | 1.00 | 0.100 (0.100–0.100) s/GiB |"), "{text}");
        assert!(text.contains("µs") && text.contains("| 3 |"), "{text}");
        assert!(text.contains(" | – | "), "what no round saw: {text}");
        assert!(text.contains("cubic") && text.contains("Note: a note"), "{text}");
    }

    #[test]
    fn the_page_holds_the_same_and_lets_no_text_become_markup() {
        let page = html(&comparison(vec![row("a<b>", Work::C1, &[0.1])]));
        assert!(page.contains("<td>a&lt;b&gt;</td>") && page.contains("1 &lt;2&gt;"), "{page}");
        assert!(page.contains("width:100.0%") && page.starts_with("<!doctype html>"));
        assert!(!page.contains("{{") && !page.contains("http://") && !page.contains("https://"));
    }
}
