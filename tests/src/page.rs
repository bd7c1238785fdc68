//! Tables of a document that tests make, one row each. A test either agrees with its row or, with `UPDATE_DOCS=1`,
//! writes it.

use std::fs::File;
use std::path::{Path, PathBuf};

/// A table: in the document it follows a line `<!-- NAME -->`.
#[derive(Clone, Debug)]
pub struct Table {
    file: PathBuf,
    name: &'static str,
    keys: Vec<String>,
}

impl Table {
    /// The table of this name in `file`. Its rows are known by their first cells, and stand in the order of `keys`.
    pub fn new(file: &Path, name: &'static str, keys: Vec<String>) -> Self {
        Self { file: file.to_owned(), name, keys }
    }

    /// Finds the document to say what was seen, or makes it say so with `UPDATE_DOCS=1`.
    ///
    /// # Panics
    /// If it says something else.
    pub fn settle(&self, row: &[String]) {
        if let Err(why) = self.settle_with(row, std::env::var_os("UPDATE_DOCS").is_some(), true) {
            panic!("{why}");
        }
    }

    /// As [`Table::settle`], where the cells are measurements: a row has to be there, whatever it says.
    ///
    /// # Panics
    /// If there is none.
    pub fn settle_measured(&self, row: &[String]) {
        if let Err(why) = self.settle_with(row, std::env::var_os("UPDATE_DOCS").is_some(), false) {
            panic!("{why}");
        }
    }

    /// The rows as they stand.
    ///
    /// # Panics
    /// If the document has no such table.
    pub fn rows(&self) -> Vec<Vec<String>> {
        let text = std::fs::read_to_string(&self.file).expect("the document can be read");
        let (_, rows, _) = self.split(&text).unwrap_or_else(|why| panic!("{why}"));
        rows
    }

    fn settle_with(&self, row: &[String], update: bool, agrees: bool) -> Result<(), String> {
        let key = row.first().ok_or("a row has cells")?;
        let place = |row: &Vec<String>| self.keys.iter().position(|known| Some(known) == row.first());
        if !self.keys.contains(key) {
            return Err(format!("{key} is no row of the table {}", self.name));
        }
        // Tests in processes of their own may write other rows.
        let lock = File::open(&self.file).map_err(|error| format!("{}: {error}", self.file.display()))?;
        lock.lock().map_err(|error| error.to_string())?;
        let text = std::fs::read_to_string(&self.file).map_err(|error| error.to_string())?;
        let (before, mut rows, after) = self.split(&text)?;
        if update {
            rows.retain(|found| found.first() != Some(key) && place(found).is_some());
            rows.push(row.to_vec());
            rows.sort_by_key(place);
            let lines: Vec<_> = rows.iter().map(|row| format!("| {} |\n", row.join(" | "))).collect();
            // In place, as another test may wait for the lock of this very file.
            return std::fs::write(&self.file, before + &lines.concat() + &after)
                .map_err(|error| error.to_string());
        }
        let says = rows.iter().find(|found| found.first() == Some(key));
        match says {
            Some(says) if says == row || !agrees => Ok(()),
            says => Err(format!(
                "{} says of {key}, table {}: {says:?}; seen was {row:?}. Is it a fault? If not, run this test with \
                 UPDATE_DOCS=1",
                self.file.display(),
                self.name
            )),
        }
    }

    /// The text up to the first row, the rows' cells, and the rest.
    fn split(&self, text: &str) -> Result<(String, Vec<Vec<String>>, String), String> {
        let marker = format!("<!-- {} -->\n", self.name);
        let missing = || format!("{} has no table after {}", self.file.display(), marker.trim());
        let (before, table) = text.split_once(&marker).ok_or_else(missing)?;
        let mut lines = table.split_inclusive('\n');
        let head: String = lines.by_ref().take(2).collect();
        let end = table.split_inclusive('\n').take_while(|line| line.starts_with('|')).map(str::len).sum();
        let after = table.get(end..).unwrap_or_default();
        let rows = lines.take_while(|line| line.starts_with('|')).map(|line| {
            let cells = line.trim().trim_matches('|').split('|');
            cells.map(|cell| cell.trim().to_owned()).collect()
        });
        Ok((format!("{before}{marker}{head}"), rows.collect(), after.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: &str = "# Page\n\n<!-- one -->\n| client | works |\n|---|---|\n| b | yes |\n\ntext | more\n";

    fn table(dir: &Path) -> Table {
        let file = dir.join("page.md");
        std::fs::write(&file, PAGE).expect("a file");
        Table::new(&file, "one", ["a", "b"].map(str::to_owned).into())
    }

    fn row(cells: [&str; 2]) -> Vec<String> {
        cells.map(str::to_owned).into()
    }

    #[test]
    fn a_row_that_says_something_else_or_is_not_there_is_found() {
        let dir = tempfile::tempdir().expect("a folder");
        let table = table(dir.path());
        assert_eq!(table.settle_with(&row(["b", "yes"]), false, true), Ok(()));
        let why = table.settle_with(&row(["b", "no"]), false, true).expect_err("it says yes");
        assert!(why.contains("UPDATE_DOCS=1"), "{why}");
        assert_eq!(table.settle_with(&row(["b", "no"]), false, false), Ok(()));
        table.settle_with(&row(["a", "yes"]), false, false).expect_err("it has no row");
        table.settle_with(&row(["c", "yes"]), true, true).expect_err("it may have no row");
    }

    #[test]
    fn an_update_writes_one_row_in_its_place_and_nothing_else() {
        let dir = tempfile::tempdir().expect("a folder");
        let table = table(dir.path());
        table.settle_with(&row(["a", "no"]), true, true).expect("it is written");
        table.settle_with(&row(["b", "no"]), true, true).expect("it is written");
        let text = std::fs::read_to_string(dir.path().join("page.md")).expect("a file");
        assert_eq!(text, PAGE.replace("| b | yes |", "| a | no |\n| b | no |"));
        assert_eq!(table.rows(), [row(["a", "no"]), row(["b", "no"])]);
    }
}
