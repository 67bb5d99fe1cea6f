//! Rules for the text of Rust files.

use std::fs;
use std::path::{Path, PathBuf};

use crate::Result;
use crate::cargo::root;

/// No source file is longer, its tests aside.
const MAX_LINES: usize = 1_000;

/// Files that may be longer, and why.
const LONG_FILES: &[(&str, &str)] = &[];

/// What must not stand in a Rust file, and why. Split, so that this file doesn't hold it either.
const BANNED: &[(&str, &str)] = &[
    (concat!("TO", "DO"), "finish it, or open an issue"),
    (concat!("FIX", "ME"), "finish it, or open an issue"),
    (concat!("XX", "X"), "say what is meant"),
    (concat!("to", "do!("), "finish it"),
    (concat!("unimplemented", "!("), "finish it"),
    (concat!("#[", "ignore"), "a test that never runs is none"),
];

pub(super) fn check(files: &[PathBuf]) -> Result<Vec<String>> {
    let mut findings = Vec::new();
    for path in files.iter().filter(|path| path.extension().is_some_and(|ext| ext == "rs")) {
        let text = fs::read_to_string(root().join(path))?;
        findings.extend(check_file(path, &text));
    }
    for (path, _) in LONG_FILES {
        if !files.iter().any(|file| file == Path::new(path)) {
            findings.push(format!("{path}: listed as a long file, but there is none"));
        }
    }
    Ok(findings)
}

fn check_file(path: &Path, text: &str) -> Vec<String> {
    let mut findings = Vec::new();
    let mut find = |line: usize, what: String| {
        findings.push(format!("{}:{line}: {what}", path.display()));
    };
    if path.file_name().is_some_and(|name| name == "mod.rs") {
        find(1, "use `foo.rs` beside `foo/`, not `foo/mod.rs`".to_owned());
    }
    let is_test = path.components().any(|part| part.as_os_str() == "tests");
    let is_tests_of_parent = path.file_name().is_some_and(|name| name == "tests.rs");
    if !begins_with_docs(text) && !is_tests_of_parent {
        find(1, "no `//!` that says what the file is for".to_owned());
    }
    let exempt = LONG_FILES.iter().any(|(long, _)| path == Path::new(long));
    let lines = lines_before_tests(text);
    if lines > MAX_LINES && !(exempt || is_test || is_tests_of_parent) {
        find(MAX_LINES, format!("{lines} lines: split it by responsibility"));
    }
    for (number, line) in text.lines().enumerate() {
        for (word, why) in BANNED {
            if holds_word(line, word) {
                find(number + 1, format!("`{word}`: {why}"));
            }
        }
    }
    findings
}

/// Whether the first thing in the file, inner attributes aside, is its documentation.
fn begins_with_docs(text: &str) -> bool {
    text.lines()
        .map(str::trim)
        .find(|line| !line.is_empty() && !line.starts_with("#!["))
        .is_some_and(|line| line.starts_with("//!"))
}

fn lines_before_tests(text: &str) -> usize {
    let before = text.split_once("\n#[cfg(test)]\nmod ").map_or(text, |(before, _)| before);
    before.lines().count()
}

/// Whether `word` stands in the line and is no part of a longer one.
fn holds_word(line: &str, word: &str) -> bool {
    let part_of_word = |c: char| c.is_alphanumeric() || c == '_';
    let ends_in_letter = word.ends_with(part_of_word);
    line.match_indices(word).any(|(start, _)| {
        let before = line.get(..start).and_then(|text| text.chars().next_back());
        let after = line.get(start + word.len()..).and_then(|text| text.chars().next());
        let begins_inside = before.is_some_and(part_of_word);
        let goes_on = ends_in_letter && after.is_some_and(part_of_word);
        !begins_inside && !goes_on
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn findings(path: &str, text: &str) -> Vec<String> {
        check_file(Path::new(path), text)
    }

    #[test]
    fn a_good_file_has_no_findings() {
        let text =
            format!("//! Docs.\n\n#[cfg(test)]\nmod tests {{\n{}", "// long\n".repeat(2_000));
        assert_eq!(findings("a/src/b.rs", &text), Vec::<String>::new());
        assert_eq!(findings("a/tests.rs", &"// long\n".repeat(2_000)).len(), 0);
        assert_eq!(findings("a/tests/b.rs", &format!("//! Docs.\n{text}")).len(), 0);
        assert_eq!(findings("a.rs", "#![no_std]\n\n//! Docs, TODOS, autodo!().\n").len(), 0);
    }

    #[test]
    fn each_rule_finds_its_breach() {
        for (path, text, at) in [
            ("a/mod.rs", "//! Docs.\n", "a/mod.rs:1: use"),
            ("a.rs", "fn f() {}\n//! Late.\n", "a.rs:1: no `//!`"),
            ("a.rs", "", "a.rs:1: no `//!`"),
            ("a/tests/b.rs", "fn f() {}\n", "a/tests/b.rs:1: no `//!`"),
            ("a.rs", concat!("//! Docs.\n// TO", "DO: more\n"), "a.rs:2: "),
            ("a.rs", concat!("//! Docs.\nfn f() { to", "do!() }\n"), "a.rs:2: "),
            ("a.rs", concat!("//! Docs.\n#[", "ignore = \"slow\"]\n"), "a.rs:2: "),
            ("a.rs", &format!("//! Docs.\n{}", "\n".repeat(1_000)), "a.rs:1000: 1001 lines"),
        ] {
            let found = findings(path, text);
            assert!(found.len() == 1 && found.iter().all(|line| line.starts_with(at)), "{found:?}");
        }
    }
}
