//! The project's own documents tell the truth: a link leads somewhere, a test that is named exists.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// Links of the Markdown files below `root` that lead nowhere, one sentence each. Links to other sites are not
/// followed.
///
/// # Panics
/// If a folder or file cannot be read.
pub fn dead_links(root: &Path) -> Vec<String> {
    let mut files = Vec::new();
    files_below(root, ".md", &mut files);
    assert!(!files.is_empty(), "{} holds no documents", root.display());
    let mut dead = Vec::new();
    for file in files {
        let text = read(&file);
        for link in links(&text) {
            if let Err(why) = check(&file, link) {
                dead.push(format!("{}: ({link}) {why}", file.strip_prefix(root).unwrap_or(&file).display()));
            }
        }
    }
    dead
}

/// Tests that the Markdown file names as `` `crate::test` `` and that no source file below `root` has.
///
/// # Panics
/// If a folder or file cannot be read, or the document names no test at all.
pub fn missing_tests(root: &Path, document: &Path) -> Vec<String> {
    let text = read(document);
    // Between backticks, in a table as well.
    let named: BTreeSet<&str> = text
        .split('`')
        .skip(1)
        .step_by(2)
        .filter_map(|code| code.split_once("::"))
        .map(|(_, test)| test)
        .collect();
    assert!(!named.is_empty(), "{} names no test", document.display());
    let mut sources = Vec::new();
    files_below(root, ".rs", &mut sources);
    let sources: Vec<String> = sources.iter().map(|file| read(file)).collect();
    let exists = |test: &str| sources.iter().any(|source| source.contains(&format!("fn {test}(")));
    named.into_iter().filter(|test| !exists(test)).map(str::to_owned).collect()
}

fn check(file: &Path, link: &str) -> Result<(), String> {
    if link.contains("://") || link.starts_with("mailto:") {
        return Ok(());
    }
    let (path, heading) = link.split_once('#').map_or((link, None), |(path, heading)| (path, Some(heading)));
    let target = match path {
        "" => file.to_owned(),
        path => file.parent().unwrap_or(Path::new(".")).join(path),
    };
    if !target.exists() {
        return Err("leads to no file".into());
    }
    match heading {
        Some(heading) if !headings(&read(&target)).contains(heading) => Err("leads to no heading".into()),
        _ => Ok(()),
    }
}

fn files_below(dir: &Path, ending: &str, files: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(dir).expect("a folder can be read") {
        let path = entry.expect("a folder can be read").path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if path.is_dir() && !path.is_symlink() {
            if !matches!(name.as_ref(), "target" | "region-data" | ".git") {
                files_below(&path, ending, files);
            }
        } else if name.ends_with(ending) {
            files.push(path);
        }
    }
}

/// Targets of `[text](target)`, outside code.
fn links(text: &str) -> Vec<&str> {
    let mut found = Vec::new();
    for line in prose(text) {
        // Every second part between backticks is code.
        for part in line.split('`').step_by(2) {
            let mut rest = part;
            while let Some((_, after)) = rest.split_once("](") {
                let Some((target, more)) = after.split_once(')') else { break };
                found.push(target.split_whitespace().next().unwrap_or_default());
                rest = more;
            }
        }
    }
    found
}

/// The headings' anchors, as code hosts make them.
fn headings(text: &str) -> BTreeSet<String> {
    prose(text)
        .filter(|line| line.starts_with('#'))
        .map(|line| {
            let title = line.trim_start_matches('#').trim().to_lowercase();
            let kept = title.chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
            kept.map(|c| if c == ' ' { '-' } else { c }).collect()
        })
        .collect()
}

/// The lines outside fenced code.
fn prose(text: &str) -> impl Iterator<Item = &str> {
    let mut fenced = false;
    text.lines().filter(move |line| {
        let fence = line.trim_start().starts_with("```");
        fenced ^= fence;
        !fenced && !fence
    })
}

fn read(file: &Path) -> String {
    std::fs::read_to_string(file).unwrap_or_else(|error| panic!("{}: {error}", file.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_test_that_is_named_and_is_not_there_is_found() {
        let dir = tempfile::tempdir().expect("a folder");
        let document = dir.path().join("promises.md");
        std::fs::write(&document, "| one | `cache::holds`, `cache::was_renamed` |\n").expect("a file");
        std::fs::write(dir.path().join("lib.rs"), "async fn holds() {}\nfn was_renamed_since() {}")
            .expect("a file");
        assert_eq!(missing_tests(dir.path(), &document), ["was_renamed"]);
    }

    #[test]
    fn a_link_to_no_file_or_no_heading_is_found_and_code_is_not_read() {
        let dir = tempfile::tempdir().expect("a folder");
        std::fs::write(
            dir.path().join("a.md"),
            "# One, two\n[b](b.md#three) [self](#one-two) `[x](no.md)`\n",
        )
        .expect("a file");
        std::fs::write(
            dir.path().join("b.md"),
            "## Three\n```\n[x](no.md)\n# Four\n```\n[web](https://x.test/)\n",
        )
        .expect("a file");
        assert_eq!(dead_links(dir.path()), Vec::<String>::new());

        std::fs::write(dir.path().join("c.md"), "[gone](gone.md) and [four](b.md#four)").expect("a file");
        let mut dead = dead_links(dir.path());
        dead.sort();
        assert_eq!(dead, ["c.md: (b.md#four) leads to no heading", "c.md: (gone.md) leads to no file"],);
    }
}
