//! What was found, as a table for people.

use std::fmt::Write;

use dataproxy_router_api::Snapshot;

use super::Reach;

impl Reach {
    /// One row for each place of each binding, then the registries that this node could not serve.
    pub fn table(&self, snapshot: &Snapshot) -> String {
        let mut rows = vec![
            ["registry", "account", "place", "tried", "result", "what would be right"].map(str::to_owned),
        ];
        let mut said = Vec::new();
        for binding in &snapshot.bindings {
            for (number, place) in binding.placement.locations().enumerate() {
                let Some(look) = self.at(&place) else { continue };
                let copy = if number == 0 { "" } else { " (copy)" };
                rows.push([
                    binding.registry.to_string(),
                    format!("{}{copy}", place.account),
                    format!("{}/{}", place.container, place.prefix),
                    look.tried.to_owned(),
                    look.finding.to_string(),
                    look.finding.remedy().to_owned(),
                ]);
                if let Some(words) = &look.said {
                    said.push(format!("{place}: {words}"));
                }
            }
        }
        let mut text = aligned(&rows);
        said.dedup();
        for words in said {
            let _ = writeln!(text, "{words}");
        }
        match self.unserved(snapshot).as_slice() {
            [] => text.push_str("this node can serve every registry\n"),
            unserved => {
                let names: Vec<&str> = unserved.iter().map(|name| name.as_str()).collect();
                let _ = writeln!(text, "this node cannot serve: {}", names.join(", "));
            }
        }
        text
    }
}

/// Rows with each column as wide as its widest text.
fn aligned<const COLUMNS: usize>(rows: &[[String; COLUMNS]]) -> String {
    let width = |column: usize| rows.iter().filter_map(|row| Some(row.get(column)?.chars().count())).max();
    let mut text = String::new();
    for row in rows {
        let cells = row.iter().enumerate();
        let line: Vec<String> = cells
            .map(|(column, cell)| format!("{cell:width$}", width = width(column).unwrap_or(0)))
            .collect();
        let _ = writeln!(text, "{}", line.join("  ").trim_end());
    }
    text
}
