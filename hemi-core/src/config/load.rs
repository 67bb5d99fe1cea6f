//! Reads a config with its includes.
//!
//! The path of an include is relative to the directory of the root config, wherever the include
//! stands; an absolute path is taken as it is. `*` and `?` may stand in the last part of the path:
//! the files that match are included in the order of their names, and it is fine if none does.
use std::{
    fs::File,
    io::{self, Read as _},
    path::{Path, PathBuf},
    sync::Arc,
};

use super::{
    diagnostic::{Diagnostic, Diagnostics, Error},
    eval::evaluate,
    fetch::{LIMITS, fetch},
    parser::{AFTER_ROOT, AFTER_ROOT_HELP, Role, parse},
    source::{Constants, Source, Sources, Span},
    syntax::{Component, Item},
    tree::Tree,
    value::Text,
};

/// Includes may be nested so deep.
const MAX_DEPTH: usize = 16;
/// A config with all its includes may have so many bytes.
pub(super) const MAX_SIZE: usize = 16 << 20;
/// A config may consist of so many files.
const MAX_FILES: usize = 10_000;

/// Reads, parses and evaluates a config.
///
/// Blocks while files are read or the URL is fetched.
///
/// # Errors
/// Everything that is wrong with the text, not only the first mistake.
pub fn load(source: &Source, constants: &Constants) -> Result<Tree, Error> {
    let tree = load_tolerantly(source, constants)?;
    match tree.mistakes().is_empty() {
        true => Ok(tree),
        false => Err(tree.error(tree.mistakes().clone())),
    }
}

/// The same, but gives a tree in spite of [mistakes](Tree::mistakes) that leave its shape clear, so that
/// those that show only when it is read are found in the same run.
///
/// # Errors
/// When the text has no clear shape.
pub(crate) fn load_tolerantly(source: &Source, constants: &Constants) -> Result<Tree, Error> {
    let mut loader = Loader::default();
    let root = loader.root(source);
    let Loader { sources, errors, unsure, includes, .. } = loader;
    let flat = sources.flat(&includes);
    let sources = Arc::new(sources);
    match root {
        // What would be found in a text whose braces are wrong is mostly not there.
        Some(root) if !unsure => Ok(evaluate(&root, constants, sources, errors).with_flat(flat)),
        _ => Err(errors.into_error(sources)),
    }
}

#[derive(Default)]
struct Loader {
    sources: Sources,
    errors: Diagnostics,
    unsure: bool,
    base: Option<PathBuf>,
    /// Where includes stand, in the order of the texts they stand in.
    includes: Vec<Span>,
    /// The files being read, outermost first, in their canonical form and as they are named.
    open: Vec<(PathBuf, String)>,
    size: usize,
}

impl Loader {
    fn root(&mut self, source: &Source) -> Option<Component> {
        let (name, text) = match self.read_root(source) {
            Ok(read) => read,
            Err(message) => {
                self.errors.push(Diagnostic::nowhere(message));
                return None;
            }
        };
        self.size = text.len();
        let file = self.sources.add(name, &text, None);
        if text.len() > MAX_SIZE {
            self.errors.push(too_large(Span::new(file, 0, 0)));
            return None;
        }
        let parsed = parse(file, &text, Role::Root, &mut self.errors);
        self.unsure |= parsed.unsure;
        let clean = self.errors.is_empty();
        let items = self.expand(parsed.items);
        let start = Span::new(file, 0, 0);
        match stage(items, start) {
            Ok(root) => Some(root),
            // Text that makes no sense at all is reported already.
            Err(error) if clean || error.span != Some(start) => {
                self.errors.push(error);
                None
            }
            Err(_) => None,
        }
    }

    /// The name and text of the root, with what its includes are relative to.
    fn read_root(&mut self, source: &Source) -> Result<(String, String), String> {
        match source {
            Source::Text { name, text, base } => {
                self.base.clone_from(base);
                Ok((name.clone(), text.clone()))
            }
            Source::Url(url) => match fetch(url, LIMITS) {
                Ok(text) => Ok((url.clone(), text)),
                Err(error) => Err(format!("cannot fetch `{url}`: {error}")),
            },
            Source::File(path) => {
                let name = path.display().to_string();
                let cannot = |error: io::Error| format!("cannot read `{name}`: {error}");
                let text = read(path).map_err(cannot)?;
                let canonical = path.canonicalize().map_err(cannot)?;
                self.base = Some(path.parent().unwrap_or(Path::new("")).to_owned());
                self.open.push((canonical, name.clone()));
                Ok((name, text))
            }
        }
    }

    /// Puts the items of included files in the place of the includes.
    fn expand(&mut self, items: Vec<Item>) -> Vec<Item> {
        let mut expanded = Vec::with_capacity(items.len());
        for item in items {
            match item {
                Item::Property(_) => expanded.push(item),
                Item::Component(mut component) => {
                    component.items = self.expand(component.items);
                    expanded.push(Item::Component(component));
                }
                Item::Include(path) => match self.include(&path) {
                    Ok(items) => expanded.extend(items),
                    Err(error) => self.errors.push(error),
                },
            }
        }
        expanded
    }

    fn include(&mut self, path: &Text) -> Result<Vec<Item>, Diagnostic> {
        self.includes.push(path.span);
        let Some(base) = &self.base else {
            return Err(Diagnostic::new(path.span, "includes are refused here")
                .help("only a config file, or a text with a base directory, can include others"));
        };
        let full = base.join(&path.text);
        if !path.text.contains(['*', '?']) {
            return self.include_file(&full, path.span);
        }
        let mut items = Vec::new();
        for file in matching_files(&full, path.span)? {
            items.extend(self.include_file(&file, path.span)?);
        }
        Ok(items)
    }

    fn include_file(&mut self, path: &Path, span: Span) -> Result<Vec<Item>, Diagnostic> {
        let name = path.display().to_string();
        let cannot = |error: io::Error| {
            Diagnostic::new(span, format!("cannot read `{name}`: {error}"))
                .help("includes are relative to the directory of the root config")
        };
        let canonical = path.canonicalize().map_err(cannot)?;
        if let Some(at) = self.open.iter().position(|(open, _)| *open == canonical) {
            let mut chain: Vec<&str> = self.open[at..].iter().map(|(_, name)| &**name).collect();
            chain.push(&name);
            return Err(Diagnostic::new(span, format!("`{name}` includes itself"))
                .help(format!("break the circle {}", chain.join(" → "))));
        }
        if self.open.len() >= MAX_DEPTH {
            return Err(Diagnostic::new(
                span,
                format!("includes nested more than {MAX_DEPTH} deep"),
            )
            .help("make it flatter"));
        }
        let text = read(path).map_err(cannot)?;
        self.size += text.len();
        if self.size > MAX_SIZE || self.sources.len() >= MAX_FILES {
            return Err(too_large(span));
        }
        let file = self.sources.add(name.clone(), &text, Some(span));
        self.open.push((canonical, name));
        let parsed = parse(file, &text, Role::Part, &mut self.errors);
        self.unsure |= parsed.unsure;
        let items = self.expand(parsed.items);
        self.open.pop();
        Ok(items)
    }
}

/// Reads a text, or fails if it is not UTF-8 or far too large.
fn read(path: &Path) -> io::Result<String> {
    let mut bytes = Vec::new();
    // One byte more than allowed tells too large from just right.
    File::open(path)?.take(MAX_SIZE as u64 + 1).read_to_end(&mut bytes)?;
    String::from_utf8(bytes).map_err(|e| {
        let text = e.as_bytes().iter().take(e.utf8_error().valid_up_to());
        let line = text.filter(|byte| **byte == b'\n').count() + 1;
        io::Error::new(io::ErrorKind::InvalidData, format!("line {line} is not UTF-8"))
    })
}

pub(super) fn too_large(span: Span) -> Diagnostic {
    Diagnostic::new(span, "the config is too large")
        .help(format!("it may have {} MiB in {MAX_FILES} files", MAX_SIZE >> 20))
}

/// The one component of the root file.
fn stage(items: Vec<Item>, start: Span) -> Result<Component, Diagnostic> {
    let mut items = items.into_iter();
    let root = match items.next() {
        None => {
            return Err(Diagnostic::new(start, "the config is empty").help("write `stage { … }`"));
        }
        Some(Item::Component(root)) => root,
        Some(other) => {
            let message = "the outermost component must be `stage`";
            return Err(
                Diagnostic::new(place(&other), message).help("put everything inside `stage { … }`")
            );
        }
    };
    if root.sign.text != "stage" {
        let message =
            format!("the outermost component must be `stage`, found `{}`", root.sign.text);
        return Err(
            Diagnostic::new(root.sign.span, message).help("put everything inside `stage { … }`")
        );
    }
    match items.next() {
        Some(other) => Err(Diagnostic::new(place(&other), AFTER_ROOT).help(AFTER_ROOT_HELP)),
        None => Ok(root),
    }
}

fn place(item: &Item) -> Span {
    match item {
        Item::Property(property) => property.name.span,
        Item::Component(component) => component.sign.span,
        Item::Include(path) => path.span,
    }
}

/// The files whose names match the last part of `pattern`, sorted by name.
fn matching_files(pattern: &Path, span: Span) -> Result<Vec<PathBuf>, Diagnostic> {
    let directory = pattern.parent().unwrap_or(Path::new(""));
    if directory.to_string_lossy().contains(['*', '?']) {
        return Err(Diagnostic::new(span, "a wildcard stands in a directory")
            .help("`*` and `?` may stand in the last part of the path only"));
    }
    let name = pattern.file_name().unwrap_or_default().to_string_lossy();
    let listed = if directory.as_os_str().is_empty() { Path::new(".") } else { directory };
    let entries = match listed.read_dir() {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => {
            let message = format!("cannot read `{}`: {error}", listed.display());
            return Err(Diagnostic::new(span, message).help("include a directory that is readable"));
        }
    };
    let mut files: Vec<PathBuf> = entries
        .filter_map(|entry| Some(entry.ok()?.file_name()))
        .filter(|file| glob_match(&name, &file.to_string_lossy()))
        .map(|file| directory.join(file))
        .filter(|file| file.is_file())
        .collect();
    files.sort();
    Ok(files)
}

/// Whether a file name matches a pattern in which `*` stands for any text and `?` for one
/// character. Names that start with a dot are hidden from wildcards.
fn glob_match(pattern: &str, name: &str) -> bool {
    if name.starts_with('.') && !pattern.starts_with('.') {
        return false;
    }
    let (pattern, name): (Vec<char>, Vec<char>) =
        (pattern.chars().collect(), name.chars().collect());
    let (mut p, mut n) = (0, 0);
    // The last `*`, and how much of the name it has taken: there is never a need to go back further.
    let mut star: Option<(usize, usize)> = None;
    loop {
        match (pattern.get(p), name.get(n)) {
            (Some('*'), _) => {
                star = Some((p, n));
                p += 1;
            }
            (None, None) => return true,
            (Some(a), Some(b)) if a == b || *a == '?' => {
                p += 1;
                n += 1;
            }
            (_, rest) => match star {
                Some((at, taken)) if rest.is_some() || taken < name.len() => {
                    star = Some((at, taken + 1));
                    p = at + 1;
                    n = taken + 1;
                }
                _ => return false,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_config_with_includes_can_be_told_as_one_text() {
        let dir = std::env::temp_dir().join(format!("hemi-flat-{}", std::process::id()));
        std::fs::create_dir_all(dir.join("more")).unwrap();
        let file = |name: &str, text: &str| std::fs::write(dir.join(name), text).unwrap();
        file("root.conf", "stage {\n\t<more/*.conf>\n\t<none*>\n\t<last.conf> .d = 4\n}\n");
        file("more/1.conf", ".a = 1 // a comment");
        file("more/2.conf", "<more/inner>\n.b = 2\n");
        file("more/inner", ".c = 3");
        file("last.conf", "");
        let tree = load(&Source::File(dir.join("root.conf")), &Constants::default()).unwrap();
        std::fs::remove_dir_all(&dir).unwrap();
        let flat = "stage {\n\t.a = 1 // a comment\n.c = 3\n\n.b = 2\n\n\n\t\n\t\n .d = 4\n}\n";
        assert_eq!(tree.flat(), flat);
        assert_eq!(load(&Source::text("flat", flat), &Constants::default()).unwrap().flat(), flat);
    }

    #[test]
    fn matches_globs() {
        let cases = [
            ("*.conf", "a.conf", true),
            ("*.conf", ".conf", false),
            ("*.conf", "a.config", false),
            ("*", "a", true),
            ("*", ".a", false),
            (".*", ".a", true),
            ("a*b*c", "a-b-b-c", true),
            ("a*b*c", "a-b-b-d", false),
            ("?.conf", "é.conf", true),
            ("?.conf", "ab.conf", false),
            ("a", "a", true),
            ("a", "", false),
            ("**", "", true),
        ];
        for (pattern, name, matches) in cases {
            assert_eq!(glob_match(pattern, name), matches, "{pattern} {name}");
        }
    }
}
