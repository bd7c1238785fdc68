//! What the page shows, found in it.

use super::*;
use crate::report::{sample, totals, unit};

#[test]
fn writes_a_page_for_looking() {
    let page = render(&sample::report()).expect("a page");
    std::fs::write("/tmp/ltr/page.html", &page).unwrap();
    std::fs::write("/tmp/ltr/run.json", serde_json::to_string(&sample::report()).unwrap()).unwrap();
    println!("{}", page.len());
    let _ = (totals::gib(&sample::report()), unit::NONE);
}
