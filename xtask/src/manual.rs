//! `cargo xtask manual`: the manual as HTML, by mdbook.
//!
//! The chapters are those in docs/. A reference page for each component is added, made from
//! `gorox explain --json` and from the `//!` of the component's file.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::cargo::{build, cargo, command, root, run as run_command, stdout_of};
use crate::{Result, tidy};

/// Where the manual is put together, and made to HTML.
const PLACE: &str = "target/manual";

/// In the summary, the list of reference pages takes the place of this line.
const MARK: &str = "<!-- reference -->\n";

/// Puts the manual together; makes it to HTML if mdbook is there.
pub(crate) fn run() -> Result {
    let place = root().join(PLACE);
    let source = place.join("src");
    if place.exists() {
        fs::remove_dir_all(&place)?;
    }
    fs::create_dir_all(source.join("reference"))?;
    fs::copy(root().join("docs/book.toml"), place.join("book.toml"))?;
    let mut pages = pages()?;
    for entry in fs::read_dir(root().join("docs"))? {
        let path = entry?.path();
        if let (Some(name), true) = (path.file_name(), path.extension().is_some_and(|e| e == "md"))
        {
            pages.entry(name.into()).or_insert(with_includes(&fs::read_to_string(&path)?)?);
        }
    }
    for (path, text) in &pages {
        fs::write(source.join(path), text)?;
    }
    let broken: Vec<String> =
        pages.iter().flat_map(|(path, text)| broken(&pages, path, text)).collect();
    if !broken.is_empty() {
        return Err(broken.join("\n").into());
    }
    println!("{} pages in {PLACE}/src", pages.len());
    match hemi_test::peer::find("mdbook") {
        Some(mdbook) => run_command(command(mdbook).args(["build", PLACE])),
        None => {
            println!("mdbook is not installed: no HTML made (`cargo install mdbook`)");
            Ok(())
        }
    }
}

/// The text with the files that lines like `{{#include examples/hello/src/main.rs}}` name.
fn with_includes(text: &str) -> Result<String> {
    let mut whole = String::new();
    for line in text.lines() {
        match line.strip_prefix("{{#include ").and_then(|rest| rest.strip_suffix("}}")) {
            Some(path) => whole += &fs::read_to_string(root().join(path))?,
            None => writeln!(whole, "{line}")?,
        }
    }
    Ok(whole)
}

/// Links of a page to pages that there are none of.
fn broken(pages: &BTreeMap<PathBuf, String>, path: &Path, text: &str) -> Vec<String> {
    let dir = path.parent().unwrap_or(Path::new(""));
    let targets = text.split("](").skip(1).filter_map(|rest| rest.split(')').next());
    let local = targets.filter(|to| to.contains(".md") && !to.contains("://"));
    let missing = local.filter(|to| {
        let to = to.split('#').next().unwrap_or_default();
        !pages.contains_key(&dir.join(to)) && !root().join("docs").join(dir).join(to).exists()
    });
    missing.map(|to| format!("{}: no page {to}", path.display())).collect()
}

/// The reference pages and the summary.
fn pages() -> Result<BTreeMap<PathBuf, String>> {
    let built = build(cargo().args(["build", "--quiet", "--package", "gorox"]))?;
    let (_, gorox) = built.first().ok_or("cargo built no gorox")?;
    let components = stdout_of(command(gorox).args(["explain", "--json"]))?;
    let components: Vec<Value> = serde_json::from_str(&components)?;
    let intros = intros()?;
    let mut pages = BTreeMap::new();
    let mut kinds: BTreeMap<&str, String> = BTreeMap::new();
    for component in &components {
        let sign = text(component, "sign");
        let intro = intros.get(sign).map_or("", String::as_str);
        pages.insert(Path::new("reference").join(format!("{sign}.md")), page(component, intro));
        let list = kinds.entry(text(component, "kind")).or_default();
        writeln!(list, "  - [{sign}](reference/{sign}.md)")?;
    }
    let summary = fs::read_to_string(root().join("docs/SUMMARY.md"))?;
    let (before, after) =
        summary.split_once(MARK).ok_or("docs/SUMMARY.md has no <!-- reference -->")?;
    let mut list = String::new();
    for (kind, pages) in kinds {
        write!(list, "- [{kind}]()\n{pages}")?;
    }
    pages.insert("SUMMARY.md".into(), format!("{before}{list}{after}"));
    Ok(pages)
}

/// What the files of components say first, by the sign.
fn intros() -> Result<BTreeMap<String, String>> {
    let mut intros = BTreeMap::new();
    for path in tidy::sources()? {
        let source = fs::read_to_string(root().join(path))?;
        let signs: Vec<&str> = source
            .lines()
            .filter_map(|line| line.trim().strip_prefix("const SIGN: &'static str = \""))
            .filter_map(|rest| rest.strip_suffix("\";"))
            .collect();
        // A file with several has an introduction to all of them.
        for sign in signs {
            intros.insert(sign.to_owned(), intro(&source));
        }
    }
    Ok(intros)
}

/// The `//!` of a file without its first paragraph, which the component's own words repeat.
fn intro(source: &str) -> String {
    let lines = source.lines().map_while(|line| line.strip_prefix("//!"));
    let lines: Vec<&str> = lines.map(|line| line.strip_prefix(' ').unwrap_or(line)).collect();
    let rest = lines.iter().position(|line| line.is_empty()).unwrap_or(lines.len());
    lines[rest..].join("\n").trim().to_owned()
}

fn page(component: &Value, intro: &str) -> String {
    let (sign, kind) = (text(component, "sign"), text(component, "kind"));
    let mut page = format!("# {sign}\n\n{}\n\n", text(component, "about"));
    page += &format!("A component of the kind *{kind}*; it {}.\n", text(component, "place"));
    if !intro.is_empty() {
        page += &format!("\n{intro}\n");
    }
    let properties = component.get("properties").and_then(Value::as_array);
    let properties = properties.map(Vec::as_slice).unwrap_or_default();
    if properties.is_empty() {
        return page + "\n## Properties\n\nNone.\n";
    }
    page += "\n## Properties\n";
    for property in properties {
        let default = match (property.get("default"), property.get("required")) {
            (_, Some(Value::Bool(true))) => "required".to_owned(),
            (Some(Value::String(default)), _) => format!("default `{default}`"),
            _ => "not set unless written".to_owned(),
        };
        page += &format!(
            "\n### .{}\n\n*{}*, {default}\n\n{}\n",
            text(property, "name"),
            text(property, "type"),
            text(property, "doc"),
        );
    }
    page
}

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value.get(key).and_then(Value::as_str).unwrap_or_default()
}
