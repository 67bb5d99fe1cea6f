//! What is wrong with a config, shown with its place, the line, a caret and a hint.
use std::{fmt, sync::Arc};

use super::source::{Sources, Span};

/// One mistake in a config.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostic {
    /// What is wrong, without a full stop.
    pub message: String,
    /// Where; `None` only if there is no text to point at, as for a file that cannot be read.
    pub span: Option<Span>,
    /// What to do about it.
    pub help: Option<String>,
    /// Other places that matter, each with a short remark.
    pub notes: Vec<(Span, String)>,
}

impl Diagnostic {
    /// A mistake at a place.
    pub fn new(span: Span, message: impl Into<String>) -> Self {
        Self { span: Some(span), ..Self::nowhere(message) }
    }

    /// A mistake that no text can be shown for.
    pub fn nowhere(message: impl Into<String>) -> Self {
        Self { message: message.into(), span: None, help: None, notes: Vec::new() }
    }

    /// Adds what to do about it.
    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// Adds another place that matters.
    #[must_use]
    pub fn note(mut self, span: Span, remark: impl Into<String>) -> Self {
        self.notes.push((span, remark.into()));
        self
    }

    /// Adds "did you mean", if one of the candidates is close to `word`.
    /// `show` turns it into what is to be written, such as `.name`.
    #[must_use]
    pub fn did_you_mean<'a>(
        self,
        word: &str,
        candidates: impl IntoIterator<Item = &'a str>,
        show: impl FnOnce(&str) -> String,
    ) -> Self {
        match suggest(word, candidates) {
            Some(close) => self.help(format!("did you mean `{}`?", show(close))),
            None => self,
        }
    }
}

/// All mistakes found so far.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Diagnostics(Vec<Diagnostic>);

impl Diagnostics {
    /// Adds one mistake.
    pub fn push(&mut self, diagnostic: Diagnostic) {
        self.0.push(diagnostic);
    }

    /// Whether nothing is wrong.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The mistakes in the order they were found.
    pub fn iter(&self) -> std::slice::Iter<'_, Diagnostic> {
        self.0.iter()
    }

    /// These mistakes, with the texts they point into, as an error that can be shown.
    pub(super) fn into_error(self, sources: Arc<Sources>) -> Error {
        let mut diagnostics = self.0;
        diagnostics.sort_by_key(|diagnostic| diagnostic.span);
        // A bad property that ten components inherit is one mistake.
        diagnostics.dedup();
        Error(Box::new(Report { sources, diagnostics }))
    }
}

impl From<Diagnostic> for Diagnostics {
    fn from(diagnostic: Diagnostic) -> Self {
        Self(vec![diagnostic])
    }
}

impl Extend<Diagnostic> for Diagnostics {
    fn extend<I: IntoIterator<Item = Diagnostic>>(&mut self, diagnostics: I) {
        self.0.extend(diagnostics);
    }
}

impl IntoIterator for Diagnostics {
    type Item = Diagnostic;
    type IntoIter = std::vec::IntoIter<Diagnostic>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

/// Everything that is wrong with a config. `Display` shows each mistake with its line.
#[derive(Debug)]
pub struct Error(Box<Report>);

#[derive(Debug)]
struct Report {
    sources: Arc<Sources>,
    diagnostics: Vec<Diagnostic>,
}

impl Error {
    /// The mistakes, in the order of the text.
    pub fn diagnostics(&self) -> &[Diagnostic] {
        &self.0.diagnostics
    }

    /// The texts that the mistakes point into.
    pub fn sources(&self) -> &Sources {
        &self.0.sources
    }
}

impl std::error::Error for Error {}

/// So many mistakes are shown in full.
const SHOWN: usize = 50;

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Report { sources, diagnostics } = &*self.0;
        for (index, diagnostic) in diagnostics.iter().take(SHOWN).enumerate() {
            if index > 0 {
                writeln!(f)?;
            }
            show(f, sources, diagnostic)?;
        }
        match diagnostics.len().saturating_sub(SHOWN) {
            0 => Ok(()),
            1 => writeln!(f, "\nand 1 more error"),
            more => writeln!(f, "\nand {more} more errors"),
        }
    }
}

fn show(f: &mut fmt::Formatter<'_>, sources: &Sources, diagnostic: &Diagnostic) -> fmt::Result {
    let Some(span) = diagnostic.span else {
        writeln!(f, "error: {}", diagnostic.message)?;
        return diagnostic.help.iter().try_for_each(|help| writeln!(f, "  = help: {help}"));
    };
    let margin = show_place(f, sources, span, "error", &diagnostic.message)?;
    for include in sources.include_chain(span) {
        writeln!(f, "{margin} = note: included from {}", sources.locate(include))?;
    }
    if let Some(help) = &diagnostic.help {
        writeln!(f, "{margin} = help: {help}")?;
    }
    for (span, remark) in &diagnostic.notes {
        show_place(f, sources, *span, "note", remark)?;
    }
    Ok(())
}

/// Longer lines are cut around the caret.
const WIDTH: usize = 120;

/// Writes the heading, the line and the caret; returns the margin that stands left of further notes.
fn show_place(
    f: &mut fmt::Formatter<'_>,
    sources: &Sources,
    span: Span,
    level: &str,
    message: &str,
) -> Result<String, fmt::Error> {
    let place = sources.locate(span);
    let number = place.line.to_string();
    let margin = " ".repeat(number.len());
    let [before, inside, after] = sources.line(span).map(printable);
    let (before, inside, after) = cut(&before, &inside, &after);
    let indent = " ".repeat(before.chars().count());
    let carets = "^".repeat(inside.chars().count().max(1));
    writeln!(f, "{place}: {level}: {message}")?;
    writeln!(f, "{margin} |")?;
    writeln!(f, "{}", format!("{number} | {before}{inside}{after}").trim_end())?;
    writeln!(f, "{margin} | {indent}{carets}")?;
    Ok(margin)
}

/// A tab becomes four spaces, so that the caret stands right in every terminal; other control
/// characters must not reach it.
fn printable(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\t' => out.push_str("    "),
            c if c.is_control() => out.push(char::REPLACEMENT_CHARACTER),
            c => out.push(c),
        }
    }
    out
}

fn cut(before: &str, inside: &str, after: &str) -> (String, String, String) {
    let inside: String = inside.chars().take(WIDTH).collect();
    let room = WIDTH - inside.chars().count();
    let skip = before.chars().count().saturating_sub(room.max(WIDTH / 2));
    let before = match skip {
        0 => before.to_owned(),
        skip => format!("…{}", before.chars().skip(skip).collect::<String>()),
    };
    (before, inside, after.chars().take(room).collect())
}

/// The candidate closest to `word`, if one is close enough to be what was meant.
///
/// A candidate that ends with `*` stands for every name with that beginning: only the part up to
/// and with the last `_` of its beginning is compared.
pub fn suggest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let lower = word.to_lowercase();
    candidates
        .into_iter()
        .filter_map(|candidate| {
            let (pattern, word) = match candidate.strip_suffix('*') {
                Some(prefix) => (prefix, prefix_like(&lower, prefix)?),
                None => (candidate, &*lower),
            };
            let distance = strsim::osa_distance(word, &pattern.to_lowercase());
            let allowed = match pattern.chars().count() {
                0..=2 => 0,
                3 => 1,
                4..=7 => 2,
                length => length / 3,
            };
            (distance <= allowed).then_some((distance, candidate))
        })
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// The part of `word` to compare with a pattern's beginning, such as `headr_` of `headr_host`.
fn prefix_like<'w>(word: &'w str, prefix: &str) -> Option<&'w str> {
    let separator = prefix.chars().last()?;
    word.find(separator).map(|at| &word[..at + separator.len_utf8()])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn suggests_only_what_is_close() {
        let names = ["webRoot", "file404", "hostnames", "header_*", "uri"];
        let cases = [
            ("webRot", Some("webRoot")),
            ("webroot", Some("webRoot")),
            ("hostname", Some("hostnames")),
            ("file440", Some("file404")),
            ("headr_host", Some("header_*")),
            ("url", Some("uri")),
            ("readTimeout", None),
            ("x", None),
        ];
        for (word, expected) in cases {
            assert_eq!(suggest(word, names), expected, "{word}");
        }
    }

    #[test]
    fn shows_the_line_and_a_caret_under_the_word() {
        let mut sources = Sources::default();
        let text = "stage {\n\t.größe = \u{1b}x\n}\n";
        let file = sources.add("a.conf".into(), text, None);
        let at = text.find('=').expect("in the text");
        let span = Span::new(file, at, at + 1);
        let error = Diagnostics::from(Diagnostic::new(span, "odd").help("remove it"))
            .into_error(Arc::new(sources));
        assert_eq!(
            error.to_string(),
            "a.conf:2:9: error: odd\n  |\n2 |     .größe = \u{fffd}x\n  |            ^\n  = help: remove it\n"
        );
    }

    #[test]
    fn shows_no_more_than_fifty() {
        let mut errors = Diagnostics::default();
        errors.extend((0..60).map(|n| Diagnostic::nowhere(format!("error {n}"))));
        let shown = errors.into_error(Arc::default()).to_string();
        assert!(shown.contains("error 49") && !shown.contains("error 50"));
        assert!(shown.ends_with("and 10 more errors\n"), "{shown}");
    }

    #[test]
    fn cuts_long_lines_around_the_caret() {
        let mut sources = Sources::default();
        let text = format!("{}!{}", "a".repeat(5000), "b".repeat(5000));
        let file = sources.add("a".into(), &text, None);
        let span = Span::new(file, 5000, 5001);
        let error = Diagnostics::from(Diagnostic::new(span, "here")).into_error(Arc::new(sources));
        let shown = error.to_string();
        let lines: Vec<&str> = shown.lines().collect();
        let column = |line: &str, mark: char| line.chars().position(|c| c == mark);
        assert!(lines[2].chars().count() < 2 * WIDTH + 10, "{shown}");
        assert_eq!(column(lines[2], '!'), column(lines[3], '^'), "{shown}");
        assert!(lines[0].starts_with("a:1:5001: "), "{shown}");
    }
}
