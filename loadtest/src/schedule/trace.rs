//! A trace of arrivals: one line for each pull, `SECONDS` or `SECONDS SUBJECT`, in the order of time.
//!
//! Empty lines and those that begin with `#` are passed over. Seconds count from the begin of the flow.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::subject::Subject;

/// One pull of a trace.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Line {
    pub(crate) seconds: f64,
    pub(crate) subject: Option<Arc<Subject>>,
}

/// A trace that cannot be replayed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TraceError {
    #[error("cannot read the trace {}: {error}", path.display())]
    Unreadable { path: PathBuf, error: io::Error },
    #[error("{} has no line with a pull; one is SECONDS or SECONDS SUBJECT", path.display())]
    Empty { path: PathBuf },
    #[error("{}, line {line}: {problem}; a line is SECONDS or SECONDS SUBJECT, in the order of time", path.display())]
    Line { path: PathBuf, line: usize, problem: String },
}

pub(crate) fn read(path: &Path) -> Result<Vec<Line>, TraceError> {
    let text =
        fs::read_to_string(path).map_err(|error| TraceError::Unreadable { path: path.to_owned(), error })?;
    let lines =
        parse(&text).map_err(|(line, problem)| TraceError::Line { path: path.to_owned(), line, problem })?;
    if lines.is_empty() { Err(TraceError::Empty { path: path.to_owned() }) } else { Ok(lines) }
}

fn parse(text: &str) -> Result<Vec<Line>, (usize, String)> {
    let mut lines: Vec<Line> = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let wrong = |problem: String| (index + 1, problem);
        let (time, rest) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
        let seconds: f64 = time
            .parse()
            .ok()
            .filter(|seconds: &f64| seconds.is_finite() && *seconds >= 0.0)
            .ok_or_else(|| wrong(format!("{time:?} is not a number of seconds")))?;
        if let Some(before) = lines.last().filter(|before| before.seconds > seconds) {
            return Err(wrong(format!("{seconds} s comes after {} s of the line before", before.seconds)));
        }
        let rest = rest.trim_start();
        let subject = match rest {
            "" => None,
            text => Some(Arc::new(text.parse::<Subject>().map_err(|error| wrong(error.to_string()))?)),
        };
        lines.push(Line { seconds, subject });
    }
    Ok(lines)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trace_is_read_with_its_subjects_and_without_its_comments() {
        let lines = parse("# made by hand\n0\n\n0.5 127.0.0.1:5000/a/b:1\n  0.5\n").expect("valid");
        assert_eq!(lines.iter().map(|line| line.seconds).collect::<Vec<_>>(), [0.0, 0.5, 0.5]);
        let subject = lines[1].subject.as_ref().expect("named");
        assert_eq!(subject.to_string(), "http://127.0.0.1:5000/a/b:1");
        assert_eq!(lines[2].subject, None);
    }

    proptest::proptest! {
        #![proptest_config(proptest::prelude::ProptestConfig {
            failure_persistence: None,
            ..proptest::prelude::ProptestConfig::default()
        })]

        #[test]
        fn a_trace_reads_as_it_is_written(
            distances in proptest::collection::vec(0.0..1e6, 0..20), named: bool, blanks in "[ \t]{1,3}"
        ) {
            let times: Vec<f64> = distances
                .iter()
                .scan(0.0, |at, distance| {
                    *at += distance;
                    Some(*at)
                })
                .collect();
            let subject = if named { "http://h:1/a/b:1" } else { "" };
            let text: String = times.iter().map(|at| format!("{at}{blanks}{subject}\n# x\n\n")).collect();
            let lines = parse(&text).expect("valid");
            proptest::prop_assert_eq!(lines.iter().map(|line| line.seconds).collect::<Vec<_>>(), times);
            for line in lines {
                let read = line.subject.map(|subject| subject.to_string()).unwrap_or_default();
                proptest::prop_assert_eq!(&read, subject);
            }
        }

        #[test]
        fn no_text_is_too_odd_for_a_trace(text in "([-0-9.einfNa ]{0,8}[ \t]?\\PC{0,10}\n?){0,6}") {
            if let Ok(lines) = parse(&text) {
                proptest::prop_assert!(lines.iter().all(|line| line.seconds >= 0.0 && line.seconds.is_finite()));
                proptest::prop_assert!(lines.is_sorted_by(|a, b| a.seconds <= b.seconds));
            }
        }
    }

    #[test]
    fn a_line_that_is_wrong_is_named_with_what_would_be_right() {
        for (text, line, problem) in [
            ("0\nsoon\n", 2, "not a number of seconds"),
            ("# x\n-1\n", 2, "not a number of seconds"),
            ("NaN", 1, "not a number of seconds"),
            ("1\n\n0.5\n", 3, "comes after 1 s"),
            ("0 nothing\n", 1, "names nothing to pull"),
        ] {
            let (at, said) = parse(text).expect_err(text);
            assert_eq!(at, line, "{text}");
            assert!(said.contains(problem), "{text}: {said}");
        }
    }

    #[test]
    fn a_trace_that_is_absent_or_empty_is_refused_by_its_name() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("trace.txt");
        let absent = read(&path).expect_err("absent").to_string();
        assert!(absent.contains("cannot read the trace") && absent.contains("trace.txt"), "{absent}");
        fs::write(&path, "# nothing\n").expect("written");
        let empty = read(&path).expect_err("empty").to_string();
        assert!(empty.contains("has no line") && empty.contains("trace.txt"), "{empty}");
    }
}
