//! Variables that were written into quotes, as in other languages: there they would be text.

use crate::config::{
    Diagnostic, Diagnostics, Span,
    lexer::{Kind, in_word, lex},
    source::Sources,
};

/// Longer strings are not written anew to show how it is done.
const SHOWN: usize = 80;

/// The mistake of naming one of these variables in a string in quotes, if that is done in the value there. In
/// backquotes it is none.
pub(super) fn variable_in_quotes(
    sources: &Sources,
    value: Span,
    known: &[&str],
) -> Option<Diagnostic> {
    let tokens = lex(value.file, sources.slice(value), &mut Diagnostics::default()).tokens;
    let places = tokens.iter().filter(|token| matches!(token.kind, Kind::Text(_)));
    places.into_iter().find_map(|token| {
        let start = (value.start + token.span.start) as usize;
        let span = Span::new(value.file, start, (value.start + token.span.end) as usize);
        let text = sources.slice(span).strip_prefix('"')?.strip_suffix('"')?;
        let pieces = pieces(text, known);
        let (at, name) = pieces.iter().find_map(|piece| match piece {
            Piece::Text(_) => None,
            Piece::Variable { at, name } => Some((start + 1 + at, *name)),
        })?;
        let dollar = Span::new(value.file, at, at + 1 + name.len());
        let message = format!("`${name}` in quotes is text, and no variable");
        let joined = match text.len() {
            ..=SHOWN => pieces.iter().map(Piece::written).collect::<Vec<_>>().join(" + "),
            _ => format!("\"…\" + ${name} + \"…\""),
        };
        let help = format!("write `{joined}`, or backquotes instead of quotes if it is to be text");
        Some(Diagnostic::new(dollar, message).help(help))
    })
}

/// A part of what stands between quotes.
enum Piece<'t> {
    Text(&'t str),
    Variable { at: usize, name: &'t str },
}

impl Piece<'_> {
    fn written(&self) -> String {
        match self {
            Self::Text(text) => format!("\"{text}\""),
            Self::Variable { name, .. } => format!("${name}"),
        }
    }
}

/// The text in pieces: `$name` and `${name}` are variables if they are known.
fn pieces<'t>(text: &'t str, known: &[&str]) -> Vec<Piece<'t>> {
    let (mut pieces, mut done) = (Vec::new(), 0);
    for (at, _) in text.match_indices('$') {
        let Some(rest) = text.get(at + 1..) else { break };
        let (open, rest) = rest.strip_prefix('{').map_or((0, rest), |rest| (1, rest));
        let name = &rest[..rest.find(|c| !in_word(c)).unwrap_or(rest.len())];
        let closed = rest[name.len()..].starts_with('}');
        if at < done || !is_known(name, known) || (open == 1 && !closed) {
            continue;
        }
        if done < at {
            pieces.push(Piece::Text(&text[done..at]));
        }
        pieces.push(Piece::Variable { at, name });
        done = at + 1 + name.len() + 2 * open;
    }
    if done < text.len() {
        pieces.push(Piece::Text(&text[done..]));
    }
    pieces
}

fn is_known(name: &str, known: &[&str]) -> bool {
    let word = name.starts_with(|c: char| c.is_ascii_alphabetic());
    word && known.iter().any(|known| match known.strip_suffix('*') {
        Some(prefix) => name.strip_prefix(prefix).is_some_and(|rest| !rest.is_empty()),
        None => name == *known,
    })
}
