//! What the page shows, found in it.

use proptest::prelude::*;

use super::*;
use crate::report::plot::Tint;
use crate::report::{Distribution, sample, text, totals, unit, verdict};

fn page(report: &Report) -> String {
    render(report).expect("a page")
}

/// The plots of a page.
fn plots(page: &str) -> Vec<&str> {
    let begun = page.split("<svg xmlns=").skip(1);
    let ended = begun.map(|rest| rest.split_once("</svg>").expect("an end").0.len());
    let mut plots = Vec::new();
    let mut from = 0;
    for length in ended {
        let begin = from + page[from..].find("<svg xmlns=").expect("a begin");
        let end = begin + "<svg xmlns=".len() + length + "</svg>".len();
        plots.push(&page[begin..end]);
        from = end;
    }
    plots
}

/// Counts the elements of a text that must be XML.
fn elements(xml: &str) -> usize {
    let mut reader = quick_xml::Reader::from_str(xml);
    reader.config_mut().expand_empty_elements = true;
    let mut count = 0;
    loop {
        match reader.read_event().unwrap_or_else(|error| panic!("{error} in {xml}")) {
            quick_xml::events::Event::Eof => return count,
            quick_xml::events::Event::Start(start) => {
                count += 1;
                for attribute in start.attributes() {
                    attribute.unwrap_or_else(|error| panic!("{error} in {xml}"));
                }
            }
            _ => {}
        }
    }
}

/// The texts of the cells of every row, as `a|b|c`.
fn rows(page: &str) -> Vec<String> {
    let cell = |part: &str| {
        let text = part.split_once('>').map_or("", |(_, rest)| rest);
        text.split('<').next().unwrap_or_default().to_owned()
    };
    page.split("<tr role=\"row\">")
        .skip(1)
        .map(|row| {
            let row = row.split("</tr>").next().unwrap_or_default();
            let cells = row.split("<td").flat_map(|part| part.split("<th")).skip(1).map(cell);
            cells.filter(|text| !text.is_empty()).collect::<Vec<_>>().join("|")
        })
        .collect()
}

#[test]
fn every_part_is_there_and_the_verdict_comes_first() {
    let page = page(&sample::report());
    let wanted = [
        "id=\"verdict\"",
        "id=\"warnings\"",
        "id=\"limits\"",
        "id=\"figures\"",
        "id=\"latency\"",
        "id=\"percentiles\"",
        "id=\"throughput\"",
        "id=\"outcomes\"",
        "id=\"phases\"",
        "id=\"servers\"",
        "id=\"nodes\"",
        "id=\"load\"",
        "id=\"failures\"",
        "id=\"events\"",
        "id=\"setup\"",
    ];
    let places: Vec<usize> =
        wanted.iter().map(|id| page.find(id).unwrap_or_else(|| panic!("{id}"))).collect();
    assert!(places.is_sorted(), "{places:?}");
    assert_eq!(page.matches("<section").count(), page.matches("</section>").count());
    assert!(
        !page.contains("{{") && !page.contains("NaN") && !page.contains("inf "),
        "nothing is left to fill in"
    );
}

#[test]
fn a_run_without_servers_nodes_events_limits_or_failures_has_no_empty_parts() {
    let mut report = sample::report();
    report.servers.clear();
    report.nodes.clear();
    report.events.clear();
    report.judged.clear();
    report.client.bottlenecks.clear();
    report.machine.congestion_control = "cubic".to_owned();
    report.passed = true;
    for flow in &mut report.flows {
        flow.failures.clear();
    }
    let page = page(&report);
    for id in ["warnings", "limits", "servers", "nodes", "failures", "events"] {
        assert!(!page.contains(&format!("id=\"{id}\"")), "{id}");
    }
    assert!(page.contains("no limits were set"));
}

#[test]
fn what_broke_and_what_to_beware_of_are_told_at_the_top() {
    let report = sample::report();
    let page = page(&report);
    let top = &page[..page.find("id=\"figures\"").expect("figures")];
    assert!(!verdict::broken(&report).is_empty() && !verdict::warnings(&report).is_empty());
    for sentence in verdict::broken(&report).iter().chain(&verdict::warnings(&report)) {
        assert!(top.contains(&format!("<li>{}</li>", Escaped(sentence))), "{sentence}");
    }
    assert!(top.contains("class=\"failed\""));
}

#[test]
fn every_number_of_a_table_is_that_of_the_model() {
    let report = sample::report();
    let rows = rows(&page(&report));
    let has = |cells: &[&str]| assert!(rows.contains(&cells.join("|")), "{cells:?} in {rows:#?}");
    for flow in &report.flows {
        for found in &flow.phases {
            let of = &found.summary;
            let times = [of.p50, of.p90, of.p95, of.p99, of.p999, of.max, of.stdev].map(unit::seconds);
            let mut cells = vec![found.phase.as_str(), found.outcome.as_str()];
            let count = unit::count(of.count);
            cells.push(&count);
            cells.extend(times.iter().map(String::as_str));
            has(&cells);
        }
        for (name, count) in &flow.pulls {
            let share = unit::share(*count as f64 / totals::all(&flow.pulls) as f64);
            let of_bytes = unit::share(flow.bytes[name] as f64 / totals::all(&flow.bytes) as f64);
            has(&[
                &flow.name,
                name,
                &unit::count(*count),
                &share,
                &unit::bytes(flow.bytes[name] as f64),
                &of_bytes,
            ]);
        }
        let pull = Distribution::of_good(flow, crate::phase::Phase::Pull);
        let wanted =
            [pull.summary().p50, pull.summary().p99, pull.summary().max].map(unit::seconds).join("|");
        assert!(rows.iter().any(|row| row.starts_with(&flow.name) && row.ends_with(&wanted)), "{wanted}");
    }
    for server in &report.servers {
        has(&[
            &server.name,
            &unit::seconds(server.user + server.system),
            &unit::seconds(server.user),
            &unit::seconds(server.system),
            &unit::seconds(server.per_gib.expect("a number")),
            &unit::seconds(server.per_request.expect("a number")),
            &unit::bytes(server.peak_rss as f64),
        ]);
    }
    for line in verdict::lines(&report) {
        let held = if line.held { "✓ held" } else { "✗ broken" };
        has(&[&line.flow, &line.number, &line.wanted, &line.found, held]);
    }
}

#[test]
fn every_plot_is_a_picture_with_a_name_that_is_well_formed() {
    let page = page(&sample::report());
    let plots = plots(&page);
    // Each twice: three of latency, percentiles, two of throughput, failures, servers, nodes, the hottest.
    assert_eq!(plots.len(), 2 * 10);
    for plot in plots {
        assert!(elements(plot) > 20, "{plot}");
        assert!(
            plot.contains("role=\"img\"") && plot.contains("aria-label=") && plot.contains("<title>"),
            "{plot}"
        );
        assert!(plot.matches("<polyline").count() >= 1, "{plot}");
    }
}

#[test]
fn a_mark_stands_at_its_event_in_every_plot_over_time() {
    let report = sample::report();
    let page = page(&report);
    let over_time = plots(&page).into_iter().filter(|plot| plot.contains("since the start"));
    for plot in over_time {
        for event in &report.events {
            assert!(plot.contains(&format!("\n{}\n", event.name)), "{} in {plot}", event.name);
        }
    }
}

#[test]
fn a_stall_is_as_high_in_the_plot_as_it_was() {
    let report = sample::report();
    let page = page(&report);
    let plot = plots(&page)[0];
    let ys = |colour: &str| -> Vec<i32> {
        let lines =
            plot.split("<polyline").skip(1).filter(|line| line.contains(&format!("stroke=\"{colour}\"")));
        let points = lines.flat_map(|line| line.split_once("points=\"").expect("points").1.split('"').next());
        let points = points.flat_map(|points| points.split_whitespace());
        points.map(|point| point.split_once(',').expect("two").1.parse().expect("a number")).collect()
    };
    let worst = report.flows[0].series.iter().map(|bin| bin.latency.max).fold(0.0, f64::max);
    assert!(plot.contains(&format!("max {}", unit::seconds(worst))), "the bin's own reading");
    // The grid reaches from 10 ms to 10 s: three decades.
    let grid = plot.split("<line ").skip(1).filter(|line| line.contains("stroke=\"#E3E3E6\""));
    let y1 =
        |line: &str| line.split_once("y1=\"").and_then(|(_, y)| y.split('"').next()?.parse::<i32>().ok());
    let grid: Vec<i32> = grid.map(|line| y1(line).expect("a number")).collect();
    let (top, bottom) = (*grid.iter().min().expect("a grid"), *grid.iter().max().expect("a grid"));
    let wanted = f64::from(top) + f64::from(bottom - top) * (1.0 - worst.log10()) / 3.0;
    let drawn = f64::from(ys(&Tint::Grey.hex()).into_iter().min().expect("a line"));
    assert!((drawn - wanted).abs() <= 2.0, "{worst} s: {drawn}, wanted {wanted}");
}

#[test]
fn every_colour_of_a_plot_has_one_for_the_dark() {
    let (_, dark) = STYLE.split_once("prefers-color-scheme: dark").expect("a dark style");
    let tints = (0..12).map(Tint::Number).chain([Tint::Grey]);
    for hex in tints.map(Tint::hex) {
        assert!(
            dark.contains(&format!("[stroke=\"{hex}\"]")) && dark.contains(&format!("[fill=\"{hex}\"]")),
            "{hex}"
        );
    }
}

#[test]
fn no_text_of_a_target_or_a_plan_becomes_markup() {
    let hostile =
        "</title></style></svg></pre>\"'><script>alert(1)</script><img src=x onerror=alert(1)>{{body}}";
    let page = page(&sample::report_with_texts(hostile));
    assert!(!page.contains(hostile) && !page.contains("<script") && !page.contains("<img"));
    assert!(page.contains("&lt;script&gt;alert(1)&lt;/script&gt;"));
    assert_eq!(page.matches("</svg>").count(), page.matches("<svg").count());
    for plot in plots(&page) {
        elements(plot);
    }
}

#[test]
fn a_page_names_no_address_outside_of_texts() {
    let mut report = sample::report();
    report.plan.flows.clear();
    report.nodes.clear();
    report.flows.iter_mut().for_each(|flow| flow.failures.clear());
    let page = page(&report).replace("http://www.w3.org/2000/svg", "");
    for word in ["http:", "https:", "//", "url(", "@import", "src="] {
        assert!(!page.contains(word), "{word}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn any_report_has_a_page_and_a_summary(seed: u64) {
        let report = sample::odd_report(seed);
        let page = page(&report);
        for plot in plots(&page) {
            elements(plot);
            prop_assert!(!plot.contains("NaN") && !plot.contains("inf,") && !plot.contains("-2147483648"), "{}", seed);
        }
        prop_assert!(!text::summary(&report).is_empty());
        crate::judge::judge(&report);
    }
}
