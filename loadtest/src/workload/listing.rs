//! A file of subjects: one a line, optionally `WEIGHT<TAB>SUBJECT`.
//!
//! Empty lines and those that begin with `#` are passed over.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::Weighted;

/// A file of subjects that cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ListingError {
    #[error("cannot read the subjects of {}: {error}", path.display())]
    Unreadable { path: PathBuf, error: io::Error },
    #[error("{} names no subject; a line is SUBJECT or WEIGHT<TAB>SUBJECT", path.display())]
    Empty { path: PathBuf },
    #[error("{}, line {line}: {problem}", path.display())]
    Line { path: PathBuf, line: usize, problem: String },
}

/// The subjects of the file at `path`, in its order.
pub(crate) fn read(path: &Path) -> Result<Vec<Weighted>, ListingError> {
    let text = fs::read_to_string(path)
        .map_err(|error| ListingError::Unreadable { path: path.to_owned(), error })?;
    let subjects = parse(&text).map_err(|(line, problem)| ListingError::Line {
        path: path.to_owned(),
        line,
        problem,
    })?;
    if subjects.is_empty() { Err(ListingError::Empty { path: path.to_owned() }) } else { Ok(subjects) }
}

fn parse(text: &str) -> Result<Vec<Weighted>, (usize, String)> {
    let mut subjects = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let wrong = |problem: String| (index + 1, problem);
        let (weight, subject) = match line.split_once('\t') {
            None => (None, line),
            Some((weight, subject)) => {
                let weight: f64 = weight
                    .trim()
                    .parse()
                    .ok()
                    .filter(|weight: &f64| weight.is_finite() && *weight > 0.0)
                    .ok_or_else(|| {
                        wrong(format!(
                            "the weight {weight:?} is not a number above 0, as in \"2.5<TAB>SUBJECT\""
                        ))
                    })?;
                (Some(weight), subject.trim())
            }
        };
        let named = Weighted::named(subject).map_err(|error| wrong(error.to_string()))?;
        subjects.push(Weighted { weight, ..named });
    }
    Ok(subjects)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn subjects_are_read_with_their_weights_and_without_comments() {
        let subjects = parse("# ours\n127.0.0.1:5000/a/b:1\n\n2.5\t127.0.0.1:5000/a/c:1\n").expect("valid");
        assert_eq!(subjects.iter().map(|weighted| weighted.weight).collect::<Vec<_>>(), [None, Some(2.5)]);
        assert_eq!(subjects[1].subject.to_string(), "http://127.0.0.1:5000/a/c:1");
    }

    #[test]
    fn a_line_that_is_wrong_is_named() {
        for (text, line, problem) in [
            ("127.0.0.1:5000/a:1\nnothing\n", 2, "names nothing to pull"),
            ("many\t127.0.0.1:5000/a:1", 1, "weight \"many\""),
            ("#\n\n0\t127.0.0.1:5000/a:1", 3, "above 0"),
            ("-1\t127.0.0.1:5000/a:1", 1, "above 0"),
        ] {
            let (at, said) = parse(text).expect_err(text);
            assert_eq!(at, line, "{text}");
            assert!(said.contains(problem), "{text}: {said}");
        }
    }

    #[test]
    fn a_file_that_is_absent_or_names_nothing_is_refused_by_its_name() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("subjects.txt");
        let absent = read(&path).expect_err("absent").to_string();
        assert!(absent.contains("cannot read") && absent.contains("subjects.txt"), "{absent}");
        fs::write(&path, "# none\n").expect("written");
        let empty = read(&path).expect_err("empty").to_string();
        assert!(empty.contains("names no subject"), "{empty}");
    }
}
