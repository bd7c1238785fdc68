//! The report as one page: no other file, no script, nothing asked of anyone. It can be read on a phone and printed, by light
//! and by dark, and by those who do not see it.
//!
//! What a target or a plan says is shown as text; a policy in the page keeps a browser from running or fetching anything, should
//! that ever fail.

mod cost;
pub(crate) mod escape;
mod figures;
mod lines;
mod plots;
mod setup;
mod table;
mod tables;

use std::fmt::Write as _;

use super::Report;
pub use super::plot::PlotError;
use escape::Escaped;

const PAGE: &str = include_str!("html/page.html");
const STYLE: &str = include_str!("html/page.css");

/// The page.
///
/// # Errors
/// [`PlotError`], where plotters gives up; no report is known to make it.
pub fn render(report: &Report) -> Result<String, PlotError> {
    let mut body = String::with_capacity(256 * 1024);
    figures::write(&mut body, report);
    plots::write(&mut body, report)?;
    tables::write(&mut body, report);
    cost::write(&mut body, report)?;
    tables::write_failures(&mut body, report);
    setup::write(&mut body, report);
    let title = Escaped(&report.plan.title).to_string();
    // The template is split, not searched and replaced: a text of the report may hold any of these words.
    let mut page = String::with_capacity(body.len() + PAGE.len() + STYLE.len());
    for (index, part) in PAGE.split("{{").enumerate() {
        let (name, rest) = if index == 0 { ("", part) } else { part.split_once("}}").unwrap_or(("", part)) };
        page.push_str(match name {
            "title" => &title,
            "style" => STYLE,
            "body" => &body,
            _ => "",
        });
        page.push_str(rest);
    }
    Ok(page)
}

/// Begins a part of the page. What a section holds follows, and `</section>`.
fn section(to: &mut String, id: &str, title: &str) {
    let _ = writeln!(
        to,
        "<section id=\"{id}\" aria-labelledby=\"{id}-h\">\n<h2 id=\"{id}-h\">{}</h2>",
        Escaped(title)
    );
}

fn paragraph(to: &mut String, class: &str, words: &str) {
    let _ = writeln!(to, "<p class=\"{class}\">{}</p>", Escaped(words));
}

#[cfg(test)]
mod tests;
