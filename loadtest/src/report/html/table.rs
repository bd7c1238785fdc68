//! Tables that become cards on a phone: each cell carries the name of its column.

use std::fmt::Write as _;

use super::escape::Escaped;

/// One cell.
#[derive(Clone, Debug)]
pub(super) enum Cell {
    /// Words, set to the left.
    Text(String),
    /// A number, set to the right.
    Number(String),
    /// A share from 0 to 1, drawn as a bar; and whether it is of something good.
    Bar(f64, bool),
    /// A word that is good or bad.
    Sign(bool, String),
}

/// A table. The first cell of a row names it.
pub(super) struct Table<'a> {
    caption: &'a str,
    heads: &'a [&'a str],
    rows: Vec<Vec<Cell>>,
}

impl<'a> Table<'a> {
    /// An empty one. `caption` is read to those who do not see the table.
    pub(super) fn new(caption: &'a str, heads: &'a [&'a str]) -> Self {
        Self { caption, heads, rows: Vec::new() }
    }

    /// Another row, a cell for each head.
    pub(super) fn row(&mut self, cells: Vec<Cell>) {
        self.rows.push(cells);
    }

    /// Writes it; nothing where it has no rows. Roles are said, as a style sheet that makes cards of rows takes them away.
    pub(super) fn write(&self, to: &mut String) {
        let Some(first) = self.rows.first() else { return };
        let _ = writeln!(
            to,
            "<table role=\"table\"><caption>{}</caption>\n<thead role=\"rowgroup\"><tr role=\"row\">",
            Escaped(self.caption)
        );
        for (head, cell) in self.heads.iter().zip(first) {
            let class = match cell {
                Cell::Number(_) => " class=\"n\"",
                Cell::Sign(..) => " class=\"s\"",
                Cell::Text(_) | Cell::Bar(..) => "",
            };
            let _ = write!(to, "<th scope=\"col\" role=\"columnheader\"{class}>{}</th>", Escaped(head));
        }
        to.push_str("</tr></thead>\n<tbody role=\"rowgroup\">\n");
        for row in &self.rows {
            to.push_str("<tr role=\"row\">");
            for (index, (head, cell)) in self.heads.iter().zip(row).enumerate() {
                let open =
                    if index == 0 { "th scope=\"row\" role=\"rowheader\"" } else { "td role=\"cell\"" };
                let close = if index == 0 { "th" } else { "td" };
                let label = Escaped(head);
                let _ = match cell {
                    Cell::Text(text) => write!(to, "<{open} data-l=\"{label}\">{}</{close}>", Escaped(text)),
                    Cell::Number(text) => {
                        write!(to, "<{open} class=\"n\" data-l=\"{label}\">{}</{close}>", Escaped(text))
                    }
                    Cell::Bar(share, good) => {
                        let percent = if share.is_finite() { (share * 100.0).clamp(0.0, 100.0) } else { 0.0 };
                        let class = if *good { "bar" } else { "bar bad" };
                        write!(
                            to,
                            "<{open} class=\"b\"><span class=\"{class}\" style=\"width:{percent:.2}%\"></span></{close}>"
                        )
                    }
                    Cell::Sign(good, text) => {
                        let class = if *good { "good" } else { "bad" };
                        write!(to, "<{open} class=\"{class}\" data-l=\"{label}\">{}</{close}>", Escaped(text))
                    }
                };
            }
            to.push_str("</tr>\n");
        }
        to.push_str("</tbody></table>\n");
    }
}
