//! Every config that we show to people passes `gorox check` and is as `gorox fmt` writes it: files,
//! and examples in the manual and in the documentation of components.

use std::fs;
use std::path::{Path, PathBuf};

use hemi_test::TempDir;

use crate::Result;
use crate::cargo::{build, cargo, command, output_of, root};

/// Where config files of gorox are. An example's own are checked by its tests.
const PLACES: &[&str] = &["conf", "docs", "gorox"];

/// The bench's configs are templates.
const TEMPLATES: &[&str] = &[
    "bench/gorox.conf",
    "bench/gorox-log.conf",
    "bench/gorox-metrics.conf",
    "bench/gorox-static.conf",
    "bench/gorox-tls.conf",
    "bench/gorox-tls-p256.conf",
    "bench/gorox-tls-rsa.conf",
];

pub(super) fn check(files: &[PathBuf]) -> Result<Vec<String>> {
    let configs = collect(files)?;
    let Ok(built) = build(cargo().args(["build", "--quiet", "--package", "gorox"])) else {
        println!("skipped: {} configs not checked, gorox does not build", configs.len());
        return Ok(Vec::new());
    };
    let (_, gorox) = built.first().ok_or("cargo built no gorox")?;
    let dir = TempDir::new()?;
    let mut findings = Vec::new();
    for config in &configs {
        let path = match &config.text {
            None => root().join(&config.origin),
            Some(text) => dir.write("example.conf", text)?,
        };
        let output = output_of(command(gorox).arg("check").arg("--config").arg(&path))?;
        if !output.status.success() {
            let why = [output.stdout, output.stderr].concat();
            let why = String::from_utf8_lossy(&why);
            findings.push(format!(
                "{}: gorox check refuses it:\n{}",
                config.origin,
                why.trim_end()
            ));
        } else if output_of(command(gorox).arg("fmt").arg(&path))?.stdout != fs::read(&path)? {
            findings.push(format!("{}: gorox fmt would write it differently", config.origin));
        }
    }
    Ok(findings)
}

/// A config to check.
struct Config {
    /// Where it stands: `path` or `path:line`.
    origin: String,
    /// What to check, where it isn't the file as it is.
    text: Option<String>,
}

fn collect(files: &[PathBuf]) -> Result<Vec<Config>> {
    let mut configs = Vec::new();
    for path in files {
        let has_extension = |wanted: &str| path.extension().is_some_and(|ext| ext == wanted);
        let origin = path.display().to_string();
        if has_extension("conf") && PLACES.iter().any(|place| path.starts_with(place)) {
            configs.push(Config { origin, text: None });
        } else if TEMPLATES.iter().any(|template| path == Path::new(template)) {
            let text = fs::read_to_string(root().join(path))?;
            let text = text.replace("@PORT@", "1").replace("@ROOT@", "/").replace("@DIR@", "/");
            configs.push(Config { origin, text: Some(text) });
        } else if has_extension("md") || has_extension("rs") {
            let text = fs::read_to_string(root().join(path))?;
            let text = if has_extension("rs") { docs(&text) } else { text };
            configs.extend(fenced(&text).into_iter().map(|(line, block)| Config {
                origin: format!("{origin}:{line}"),
                text: Some(block),
            }));
        }
    }
    Ok(configs)
}

/// The `//!` documentation of a Rust file, each line where it stands.
fn docs(text: &str) -> String {
    let lines = text.lines().map(|line| line.strip_prefix("//!").unwrap_or_default());
    lines.map(|line| format!("{}\n", line.strip_prefix(' ').unwrap_or(line))).collect()
}

/// The blocks fenced as `gorox` in a Markdown text, each with the line it begins at.
fn fenced(text: &str) -> Vec<(usize, String)> {
    let mut blocks = Vec::new();
    let mut lines = text.lines().zip(1..);
    while let Some((line, number)) = lines.next() {
        let Some(language) = line.trim_start().strip_prefix("```") else { continue };
        let body: Vec<&str> =
            lines.by_ref().map(|(line, _)| line).take_while(|line| line.trim() != "```").collect();
        if language.trim() == "gorox" {
            blocks.push((number + 1, body.join("\n") + "\n"));
        }
    }
    blocks
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_are_found_with_their_lines() {
        let found =
            fenced("a\n```gorox\nstage {\n}\n```\n```sh\n# ```gorox\n```\n  ```gorox\nx\n  ```");
        assert_eq!(found, [(3, "stage {\n}\n".to_owned()), (10, "x\n".to_owned())]);
    }
    #[test]
    fn only_the_docs_of_a_rust_file_count() {
        let found =
            fenced(&docs("//! a\n//!\n//! ```gorox\n//! stage {}\n//! ```\n\n// ```gorox\n"));
        assert_eq!(found, [(4, "stage {}\n".to_owned())]);
    }
}
