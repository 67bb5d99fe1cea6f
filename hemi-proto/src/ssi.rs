//! Server-side includes: pages with directives in them, such as `<!--#include virtual="/foot.html" -->`.

mod expression;

use bytes::{Buf, Bytes, BytesMut};
use memchr::memmem;

pub use expression::{BadExpression, holds};

/// Bytes of a directive, at most, from its `#` to its `-->`.
pub const MAX_DIRECTIVE: usize = 4096;

/// Bytes of a value with the variables in it, at most.
pub const MAX_VALUE: usize = 8192;

const BEGIN: &[u8] = b"<!--#";
const END: &[u8] = b"-->";

/// A piece of a page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Piece {
    /// Text, to be passed on.
    Text(Bytes),
    /// A directive.
    Directive(Directive),
    /// What begins like a directive and is none, to its `-->`.
    Malformed,
}

/// What is written between `<!--#` and `-->`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Directive {
    /// Its name, in lower case.
    pub name: String,
    /// Names, in lower case, and values, in their order. A backslash before a quote is taken off.
    pub attributes: Vec<(String, String)>,
}

/// Takes a page apart. The directives do not depend on the pieces that it comes in.
#[derive(Debug, Default)]
pub struct Scanner {
    bytes: BytesMut,
    /// Inside of what was malformed.
    skips: bool,
    ended: bool,
}

impl Scanner {
    /// Takes the next bytes. Of them no more than a directive's are kept, once all pieces were taken.
    pub fn push(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// Says that no more bytes will come.
    pub fn end(&mut self) {
        self.ended = true;
    }

    /// The next piece; none if that depends on bytes still to come, or there is no more.
    pub fn take(&mut self) -> Option<Piece> {
        if self.skips {
            let Some(at) = memmem::find(&self.bytes, END) else {
                let kept = END.len() - 1;
                self.bytes.advance(self.bytes.len().saturating_sub(kept));
                return None;
            };
            self.bytes.advance(at + END.len());
            self.skips = false;
        }
        match memmem::find(&self.bytes, BEGIN) {
            Some(0) => self.take_directive(),
            Some(at) => Some(Piece::Text(self.bytes.split_to(at).freeze())),
            None => {
                let kept = if self.ended { 0 } else { begun(&self.bytes) };
                let text = self.bytes.split_to(self.bytes.len() - kept).freeze();
                (!text.is_empty()).then_some(Piece::Text(text))
            }
        }
    }

    fn take_directive(&mut self) -> Option<Piece> {
        let inner = self.bytes.get(BEGIN.len()..).unwrap_or_default();
        let seen = inner.get(..MAX_DIRECTIVE).unwrap_or(inner);
        match Reader(seen).directive() {
            Ok((directive, rest)) => {
                let used = BEGIN.len() + seen.len() - rest;
                self.bytes.advance(used);
                Some(Piece::Directive(directive))
            }
            Err(Stop::Cut) if seen.len() < MAX_DIRECTIVE && !self.ended => None,
            Err(_) => {
                self.bytes.advance(BEGIN.len());
                self.skips = true;
                Some(Piece::Malformed)
            }
        }
    }
}

/// Bytes at the end that may be the beginning of a directive.
fn begun(bytes: &[u8]) -> usize {
    (1..BEGIN.len()).rev().find(|len| bytes.ends_with(&BEGIN[..*len])).unwrap_or(0)
}

/// Why a directive can't be read.
enum Stop {
    /// There are not all of its bytes.
    Cut,
    Malformed,
}

/// The rest of what may be a directive.
struct Reader<'a>(&'a [u8]);

impl Reader<'_> {
    /// The directive, and how many bytes follow it.
    fn directive(mut self) -> Result<(Directive, usize), Stop> {
        let name = self.name()?;
        let mut attributes = Vec::new();
        loop {
            let spaced = self.skip_space();
            if self.0.starts_with(END) {
                return Ok((Directive { name, attributes }, self.0.len() - END.len()));
            }
            if END.starts_with(self.0) {
                return Err(Stop::Cut);
            }
            if !spaced {
                return Err(Stop::Malformed);
            }
            let name = self.name()?;
            self.skip_space();
            match self.0 {
                [b'=', rest @ ..] => self.0 = rest,
                [] => return Err(Stop::Cut),
                _ => return Err(Stop::Malformed),
            }
            self.skip_space();
            attributes.push((name, self.value()?));
        }
    }

    fn skip_space(&mut self) -> bool {
        let before = self.0.len();
        self.0 = self.0.trim_ascii_start();
        self.0.len() < before
    }

    fn name(&mut self) -> Result<String, Stop> {
        let is_part = |b: &u8| b.is_ascii_alphanumeric() || *b == b'_';
        let end = self.0.iter().position(|b| !is_part(b)).ok_or(Stop::Cut)?;
        let (name, rest) = self.0.split_at(end);
        self.0 = rest;
        match str::from_utf8(name) {
            Ok(name) if !name.is_empty() => Ok(name.to_ascii_lowercase()),
            _ => Err(Stop::Malformed),
        }
    }

    fn value(&mut self) -> Result<String, Stop> {
        let (quote, mut rest) = match self.0 {
            [quote @ (b'"' | b'\'' | b'`'), rest @ ..] => (*quote, rest),
            [] => return Err(Stop::Cut),
            _ => return Err(Stop::Malformed),
        };
        let mut value = Vec::new();
        loop {
            match rest {
                [b'\\', escaped, after @ ..] => {
                    if *escaped != quote {
                        value.push(b'\\');
                    }
                    value.push(*escaped);
                    rest = after;
                }
                [byte, after @ ..] if *byte == quote => {
                    self.0 = after;
                    return String::from_utf8(value).map_err(|_| Stop::Malformed);
                }
                [byte, after @ ..] => {
                    value.push(*byte);
                    rest = after;
                }
                [] => return Err(Stop::Cut),
            }
        }
    }
}

/// A text with the values of its variables: `$name` or `${name}`; `\$` is a dollar. None if it is
/// longer than [`MAX_VALUE`].
pub fn substitute(text: &str, variable: impl Fn(&str) -> Option<String>) -> Option<String> {
    let mut out = String::new();
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        let (before, after) = (&rest[..at], &rest[at + 1..]);
        if let Some(before) = before.strip_suffix('\\') {
            out.push_str(before);
            out.push('$');
            rest = after;
        } else {
            out.push_str(before);
            let (name, next) = variable_name(after);
            match name {
                Some(name) => out.push_str(&variable(name).unwrap_or_default()),
                None => out.push('$'),
            }
            rest = next;
        }
        if out.len() > MAX_VALUE {
            return None;
        }
    }
    out.push_str(rest);
    (out.len() <= MAX_VALUE).then_some(out)
}

/// The name after a dollar, if there is one, and what follows.
fn variable_name(text: &str) -> (Option<&str>, &str) {
    if let Some((name, rest)) = text.strip_prefix('{').and_then(|text| text.split_once('}'))
        && is_variable(name)
    {
        return (Some(name), rest);
    }
    let is_part = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let end = text.find(|c| !is_part(c)).unwrap_or(text.len());
    let (name, rest) = text.split_at(end);
    if is_variable(name) { (Some(name), rest) } else { (None, text) }
}

/// Whether this can be the name of a variable: letters, digits and `_`, no digit in front.
pub fn is_variable(name: &str) -> bool {
    let is_part = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
    !name.is_empty() && name.bytes().all(is_part) && !name.as_bytes()[0].is_ascii_digit()
}

/// Appends text as HTML shows it: with entities for what would be markup.
pub fn push_entities(out: &mut Vec<u8>, text: &str) {
    for byte in text.bytes() {
        match byte {
            b'&' => out.extend_from_slice(b"&amp;"),
            b'<' => out.extend_from_slice(b"&lt;"),
            b'>' => out.extend_from_slice(b"&gt;"),
            b'"' => out.extend_from_slice(b"&quot;"),
            b'\'' => out.extend_from_slice(b"&#39;"),
            _ => out.push(byte),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scan(page: &[u8], piece: usize) -> Vec<Piece> {
        let (mut scanner, mut pieces) = (Scanner::default(), Vec::<Piece>::new());
        let mut add = |piece: Piece| match (pieces.last_mut(), piece) {
            (Some(Piece::Text(before)), Piece::Text(text)) => {
                *before = [&before[..], &text].concat().into();
            }
            (_, piece) => pieces.push(piece),
        };
        for bytes in page.chunks(piece) {
            scanner.push(bytes);
            std::iter::from_fn(|| scanner.take()).for_each(&mut add);
        }
        scanner.end();
        std::iter::from_fn(|| scanner.take()).for_each(&mut add);
        pieces
    }

    fn text(text: &str) -> Piece {
        Piece::Text(text.to_owned().into())
    }

    fn directive(name: &str, attributes: &[(&str, &str)]) -> Piece {
        let attributes =
            attributes.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect();
        Piece::Directive(Directive { name: name.to_owned(), attributes })
    }

    #[test]
    fn pages_are_taken_apart() {
        let long = format!("a<!--#echo var=\"{}\" -->b", "x".repeat(MAX_DIRECTIVE));
        for (page, expected) in [
            ("", vec![]),
            ("plain <!-- comment --> <!-", vec![text("plain <!-- comment --> <!-")]),
            (
                "a<!--#include virtual=\"/b.html\" -->c",
                vec![text("a"), directive("include", &[("virtual", "/b.html")]), text("c")],
            ),
            (
                "<!--#ECHO Var='a' encoding = `none`--><!--#endif-->",
                vec![
                    directive("echo", &[("var", "a"), ("encoding", "none")]),
                    directive("endif", &[]),
                ],
            ),
            (
                r#"<!--#if expr="$a = \"x\" && $b = /\.y-->/" -->"#,
                vec![directive("if", &[("expr", r#"$a = "x" && $b = /\.y-->/"#)])],
            ),
            ("<<!--#else -->", vec![text("<"), directive("else", &[])]),
            ("a<!--# echo -->b", vec![text("a"), Piece::Malformed, text("b")]),
            ("a<!--#echo var -->b", vec![text("a"), Piece::Malformed, text("b")]),
            ("a<!--#echo var=x -->b", vec![text("a"), Piece::Malformed, text("b")]),
            ("a<!--#echo var=\"x\"var=\"y\" -->b", vec![text("a"), Piece::Malformed, text("b")]),
            ("a<!--#echo var=\"x -->b", vec![text("a"), Piece::Malformed, text("b")]),
            ("a<!--#", vec![text("a"), Piece::Malformed]),
            (&long, vec![text("a"), Piece::Malformed, text("b")]),
        ] {
            for piece in [1, 2, 3, 5, 8, 100, 10_000] {
                assert_eq!(scan(page.as_bytes(), piece), expected, "{page} by {piece}");
            }
        }
        assert_eq!(scan(b"<!--#echo var=\"\xff\" -->b", 3), [Piece::Malformed, text("b")]);
    }

    #[test]
    fn variables_are_put_in() {
        let variable = |name: &str| match name {
            "a" => Some("1".to_owned()),
            "long" => Some("x".repeat(MAX_VALUE)),
            _ => None,
        };
        for (text, expected) in [
            ("", ""),
            ("$a", "1"),
            ("x${a}b$a-$ab.", "x1b1-."),
            (r"\$a$", "$a$"),
            ("$1 ${1} ${a $$a", "$1 ${1} ${a $1"),
            ("é$a", "é1"),
        ] {
            assert_eq!(substitute(text, variable).as_deref(), Some(expected), "{text}");
        }
        assert!(substitute("$long", variable).is_some());
        assert_eq!(substitute("$long$a", variable), None);
    }

    #[test]
    fn markup_becomes_text() {
        let mut out = Vec::new();
        push_entities(&mut out, "<a href=\"x\" id='é'>&");
        assert_eq!(out, "&lt;a href=&quot;x&quot; id=&#39;é&#39;&gt;&amp;".as_bytes());
    }
}
