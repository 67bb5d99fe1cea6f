//! Where config text comes from, and how a place in it is named.
use std::{collections::BTreeMap, fmt, path::PathBuf};

/// A config to load.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// Text that the program already has.
    Text {
        /// Stands in error messages where a file name would.
        name: String,
        /// The config itself.
        text: String,
        /// The directory that includes are relative to; without one, includes are refused.
        base: Option<PathBuf>,
    },
    /// A file. Its includes are relative to its directory.
    File(PathBuf),
    /// An `http://` URL, fetched within 5 seconds and 1 MiB. Includes are refused.
    Url(String),
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text { name, .. } => f.write_str(name),
            Self::File(path) => path.display().fmt(f),
            Self::Url(url) => f.write_str(url),
        }
    }
}

impl Source {
    /// Text without includes, shown as `name` in error messages.
    pub fn text(name: impl Into<String>, text: impl Into<String>) -> Self {
        Self::Text { name: name.into(), text: text.into(), base: None }
    }
}

/// The values of `%topDir`, `%logDir`, `%tmpDir`, `%varDir` and `%env.NAME`.
///
/// Nothing reads the environment of the process: what a config may see stands here.
#[derive(Clone, Default)]
pub struct Constants {
    /// `%topDir`
    pub top_dir: PathBuf,
    /// `%logDir`
    pub log_dir: PathBuf,
    /// `%tmpDir`
    pub tmp_dir: PathBuf,
    /// `%varDir`
    pub var_dir: PathBuf,
    /// `%env.NAME` for each `NAME`
    pub env: BTreeMap<String, String>,
}

impl fmt::Debug for Constants {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The values of environment variables are often secrets.
        f.debug_struct("Constants")
            .field("top_dir", &self.top_dir)
            .field("log_dir", &self.log_dir)
            .field("tmp_dir", &self.tmp_dir)
            .field("var_dir", &self.var_dir)
            .field("env", &self.env.keys())
            .finish()
    }
}

/// A range of text in one of the files of a config. [`Sources`] turns it into line and column.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Span {
    pub(super) file: u32,
    pub(super) start: u32,
    pub(super) end: u32,
}

impl Span {
    pub(super) fn new(file: u32, start: usize, end: usize) -> Self {
        // The loader refuses configs of more than a few MiB.
        Self { file, start: start as u32, end: end as u32 }
    }

    /// From the start of this span to the end of `last`.
    pub(super) fn to(self, last: Span) -> Self {
        Self { end: last.end.max(self.end), ..self }
    }
}

/// The texts that a config was loaded from, so that places in it can be shown.
#[derive(Debug, Default)]
pub struct Sources {
    files: Vec<SourceFile>,
}

/// One text of a config.
#[derive(Debug)]
struct SourceFile {
    name: String,
    text: String,
    included_at: Option<Span>,
}

/// A place as people name it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Location<'a> {
    /// The file's name.
    pub file: &'a str,
    /// Counted from 1.
    pub line: usize,
    /// Counted from 1, in characters.
    pub column: usize,
}

impl fmt::Display for Location<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.file, self.line, self.column)
    }
}

impl Sources {
    /// Adds a text; the number returned is the `file` of spans in it.
    pub(super) fn add(&mut self, name: String, text: &str, included_at: Option<Span>) -> u32 {
        self.files.push(SourceFile { name, text: text.to_owned(), included_at });
        (self.files.len() - 1) as u32
    }

    /// The first text, with the included ones in the place of their includes, which are all named here.
    pub(super) fn flat(&self, includes: &[Span]) -> String {
        let mut flat = String::new();
        if !self.files.is_empty() {
            self.append_flat(0, includes, &mut flat);
        }
        flat
    }

    fn append_flat(&self, file: u32, includes: &[Span], flat: &mut String) {
        let text = &self.files[file as usize].text;
        let mut at = 0;
        for include in includes.iter().filter(|include| include.file == file) {
            flat.push_str(&text[at..include.start as usize]);
            at = include.end as usize;
            for (index, inner) in self.files.iter().enumerate() {
                if inner.included_at == Some(*include) {
                    self.append_flat(index as u32, includes, flat);
                    // It may end in a comment.
                    flat.push('\n');
                }
            }
        }
        flat.push_str(&text[at..]);
    }

    pub(super) fn len(&self) -> usize {
        self.files.len()
    }

    /// The place where a span starts.
    pub fn locate(&self, span: Span) -> Location<'_> {
        let Some(file) = self.files.get(span.file as usize) else {
            return Location { file: "", line: 1, column: 1 };
        };
        let before = file.text.get(..span.start as usize).unwrap_or(&file.text);
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        Location {
            file: &file.name,
            line: before.matches('\n').count() + 1,
            column: before[line_start..].chars().filter(|c| *c != BOM).count() + 1,
        }
    }

    /// The text of a span.
    pub(super) fn slice(&self, span: Span) -> &str {
        let file = self.files.get(span.file as usize);
        let text = file.and_then(|file| file.text.get(span.start as usize..span.end as usize));
        text.unwrap_or_default()
    }

    /// The line that a span starts in, split into what stands before, in and after the span.
    pub(super) fn line(&self, span: Span) -> [&str; 3] {
        let Some(file) = self.files.get(span.file as usize) else { return [""; 3] };
        let text = &file.text;
        let (start, end) = (span.start as usize, span.end as usize);
        let (Some(before), Some(rest)) = (text.get(..start), text.get(start..)) else {
            return [""; 3];
        };
        let before = &before[before.rfind('\n').map_or(0, |newline| newline + 1)..];
        let rest = rest.split(['\n', '\r']).next().unwrap_or_default();
        let (inside, after) = rest.split_at_checked(end - start).unwrap_or((rest, ""));
        [before.trim_start_matches(BOM), inside, after]
    }

    /// The includes that led to the file of a span, innermost first.
    pub(super) fn include_chain(&self, span: Span) -> impl Iterator<Item = Span> {
        let parent = |span: Span| self.files.get(span.file as usize)?.included_at;
        std::iter::successors(parent(span), move |span| parent(*span))
    }
}

/// Some editors put it at the start of a file.
pub(super) const BOM: char = '\u{feff}';
