//! The page of a load test in a real browser.

use std::path::{Path, PathBuf};

use dataproxy_loadtest::report::{Report, sample};
use dataproxy_tests::chromium::{Chromium, Show};
use serde_json::json;
use tempfile::TempDir;

const SCREEN: Show = Show { width: 1280, height: 900, dark: false };
const PHONE: Show = Show { width: 375, height: 812, dark: false };

/// Makes the page of a report by the command that a user has.
fn page(dir: &TempDir, report: &Report) -> PathBuf {
    let [json, html] = ["run.json", "run.html"].map(|name| dir.path().join(name));
    std::fs::write(&json, serde_json::to_string(report).expect("JSON")).expect("a file");
    let words =
        ["loadtest".as_ref(), "report".as_ref(), json.as_os_str(), "--html".as_ref(), html.as_os_str()];
    let code = dataproxy_loadtest::main_with_args(words.map(std::ffi::OsStr::to_owned));
    assert_eq!(format!("{code:?}"), format!("{:?}", std::process::ExitCode::SUCCESS));
    html
}

/// Keeps what was seen, where `DATAPROXY_TESTS_PICTURES` names a folder.
fn keep(name: &str, bytes: &[u8]) {
    if let Some(folder) = std::env::var_os("DATAPROXY_TESTS_PICTURES") {
        std::fs::write(Path::new(&folder).join(name), bytes).expect("a file");
    }
}

/// Plots that are shown, and of them those without a line that is seen. A line is a path with an extent of its own.
const PLOTS: &str = "(() => {
    const shown = [...document.querySelectorAll('figure.plot div svg')].filter(svg => svg.getBoundingClientRect().width > 0);
    const seen = line => { const box = line.getBoundingClientRect(); return box.width > 20 && getComputedStyle(line).stroke !== 'none'; };
    const empty = shown.filter(svg => ![...svg.querySelectorAll('polyline')].some(seen) || svg.getBoundingClientRect().height < 100);
    return { shown: shown.length, empty: empty.map(svg => svg.getAttribute('aria-label')),
             figures: document.querySelectorAll('figure.plot').length };
})()";

/// Texts of one plot that lie on top of each other.
const OVERLAPS: &str = "[...document.querySelectorAll('figure.plot div svg')].flatMap(svg => {
    const texts = [...svg.querySelectorAll('text')].map(text => [text.textContent, text.getBoundingClientRect()]);
    return texts.flatMap(([a, x], i) => texts.slice(i + 1)
        .filter(([, y]) => x.width > 0 && x.left < y.right - 1 && y.left < x.right - 1 && x.top < y.bottom - 2 && y.top < x.bottom - 2)
        .map(([b]) => svg.getAttribute('aria-label') + ': ' + a + ' / ' + b));
})";

/// Elements that reach over the right edge of the page.
const TOO_WIDE: &str = "[...document.querySelectorAll('main *')]
    .filter(e => { const box = e.getBoundingClientRect(); return box.width > 1 && box.right > document.documentElement.clientWidth + 1; })
    .map(e => e.tagName + ' ' + e.textContent.slice(0, 60))";

#[test]
fn a_page_draws_its_plots_asks_for_nothing_and_complains_of_nothing() {
    let dir = TempDir::with_prefix("report.").expect("a folder");
    let html = page(&dir, &sample::report());
    let mut chromium = Chromium::start();
    for (name, show) in [
        ("screen.png", SCREEN),
        ("screen-dark.png", Show { dark: true, ..SCREEN }),
        ("phone.png", PHONE),
        ("phone-dark.png", Show { dark: true, ..PHONE }),
    ] {
        chromium.open(&html, show);
        let plots = chromium.value(PLOTS);
        assert_eq!(plots["empty"], json!([]), "{name}");
        assert_eq!(plots["shown"], plots["figures"], "{name}: {plots}");
        assert!(plots["shown"].as_u64() >= Some(9), "{name}: {plots}");
        assert_eq!(chromium.value(OVERLAPS), json!([]), "{name}");
        assert_eq!(chromium.value(TOO_WIDE), json!([]), "{name}");
        let widths =
            chromium.value("[document.documentElement.scrollWidth, document.documentElement.clientWidth]");
        assert_eq!(widths[0], widths[1], "{name}: nothing to scroll sideways");
        keep(name, &chromium.picture());
        assert_eq!(chromium.complaints(), Vec::<String>::new(), "{name}");
        let asked: Vec<String> =
            chromium.requests().into_iter().filter(|url| !url.starts_with("data:")).collect();
        assert_eq!(asked, [format!("file://{}", html.display())], "{name}");
    }
}

#[test]
fn what_a_target_says_runs_nothing_and_makes_no_element() {
    let dir = TempDir::with_prefix("report.").expect("a folder");
    let hostile = "\"'><script>document.title='run'</script><img src=x onerror=\"document.title='run'\"></style></title><h4>";
    let html = page(&dir, &sample::report_with_texts(hostile));
    let mut chromium = Chromium::start();
    chromium.open(&html, PHONE);
    assert_eq!(chromium.value("document.querySelectorAll('script, img, h4').length"), json!(0));
    assert_eq!(chromium.value("document.title"), json!(format!("{hostile} – loadtest")));
    assert_eq!(chromium.value("document.querySelector('h1').textContent"), json!(hostile));
    assert_eq!(chromium.value(TOO_WIDE), json!([]));
    assert_eq!(chromium.complaints(), Vec::<String>::new());
}

#[test]
fn a_page_can_be_printed() {
    let dir = TempDir::with_prefix("report.").expect("a folder");
    let html = page(&dir, &sample::report());
    let mut chromium = Chromium::start();
    chromium.open(&html, Show { dark: true, ..SCREEN });
    let paper = chromium.paper();
    keep("paper.pdf", &paper);
    let text = String::from_utf8_lossy(&paper);
    let pages = text.matches("/Type /Page\n").count();
    assert!((3..=12).contains(&pages), "{pages} pages");
    // On paper there is no dark: the ground is white and no plot is cut in two.
    chromium.call(
        "Emulation.setEmulatedMedia",
        &json!({ "media": "print", "features": [{ "name": "prefers-color-scheme", "value": "dark" }] }),
    );
    assert_eq!(
        chromium.value("getComputedStyle(document.body).backgroundColor"),
        json!("rgb(255, 255, 255)")
    );
    let whole = "[...document.querySelectorAll('figure.plot')].every(figure => getComputedStyle(figure).breakInside === 'avoid')";
    assert_eq!(chromium.value(whole), json!(true));
}

#[test]
fn a_printed_page_has_real_tables_and_nothing_beyond_its_right_edge() {
    // A4 less the page's margins.
    const PAPER: Show = Show { width: 703, height: 1016, dark: false };
    let dir = TempDir::with_prefix("report.").expect("a folder");
    let mut chromium = Chromium::start();
    for report in
        [sample::report(), sample::report_with_texts("a-name-that-is-long-and-has-no-place-to-break-it-at")]
    {
        let html = page(&dir, &report);
        chromium.open(&html, PAPER);
        chromium.call("Emulation.setEmulatedMedia", &json!({ "media": "print" }));
        assert_eq!(chromium.value(TOO_WIDE), json!([]));
        let shown = "[...document.querySelectorAll('table, thead')].map(part => part.tagName + ' ' + getComputedStyle(part).display)";
        let shown = chromium.value(shown);
        let shown: Vec<&str> =
            shown.as_array().expect("a list").iter().filter_map(|part| part.as_str()).collect();
        assert!(!shown.is_empty());
        // A head of that kind is repeated on each page that its table reaches.
        assert!(
            shown.iter().all(|part| ["TABLE table", "THEAD table-header-group"].contains(part)),
            "{shown:?}"
        );
        keep("print.png", &chromium.picture());
    }
}
