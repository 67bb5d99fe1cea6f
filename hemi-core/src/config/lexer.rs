//! Text to tokens. A mistake is reported once and leaves a [`Kind::Bad`] token or a good guess, so
//! that the rest of the text is still read.
use std::time::Duration;

use super::{
    condition::{Comparison, Operator, PathCheck},
    diagnostic::{Diagnostic, Diagnostics, suggest},
    literal::{BadNumber, Number, parse_number, quote, unescape},
    source::{BOM, Span},
};

#[derive(Clone, Debug, PartialEq)]
pub(super) struct Token {
    pub(super) kind: Kind,
    pub(super) span: Span,
    /// Line breaks between the token before and this one.
    pub(super) breaks: u32,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Kind {
    /// A sign, `true` or `false`.
    Word(String),
    /// `.name`
    Property(String),
    /// `$name`
    Variable(String),
    /// `%name` or `%env.NAME`
    Constant(String),
    Text(String),
    Int(i64),
    Size(u64),
    Duration(Duration),
    /// `<path>`
    Include(String),
    OpenBrace,
    CloseBrace,
    OpenParen,
    CloseParen,
    OpenBracket,
    CloseBracket,
    Comma,
    Colon,
    Equal,
    Plus,
    And,
    Or,
    Not,
    Compare(Comparison),
    /// `-f` and the like; `negated` for `!f`.
    PathTest {
        check: PathCheck,
        negated: bool,
    },
    Comment,
    /// Already reported.
    Bad,
    End,
}

pub(super) const CONSTANTS: [&str; 4] = ["topDir", "logDir", "tmpDir", "varDir"];

/// What a text consists of.
pub(super) struct Lexed {
    pub(super) tokens: Vec<Token>,
    /// Whether braces are missing because something before them is never closed.
    pub(super) lost_braces: bool,
}

/// All tokens with comments, ended by [`Kind::End`].
pub(super) fn lex(file: u32, text: &str, errors: &mut Diagnostics) -> Lexed {
    let mut lexer = Lexer { file, text, at: 0, errors, lost_braces: false };
    let mut tokens = Vec::new();
    if text.starts_with(BOM) {
        lexer.at = BOM.len_utf8();
    }
    loop {
        let breaks = lexer.skip_space();
        let start = lexer.at;
        let Some(c) = lexer.peek() else {
            tokens.push(Token { kind: Kind::End, span: lexer.span(start), breaks });
            return Lexed { tokens, lost_braces: lexer.lost_braces };
        };
        if let Some(kind) = lexer.token(c) {
            tokens.push(Token { kind, span: lexer.span(start), breaks });
        }
    }
}

struct Lexer<'t> {
    file: u32,
    text: &'t str,
    at: usize,
    errors: &'t mut Diagnostics,
    lost_braces: bool,
}

pub(super) fn in_word(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_'
}

impl<'t> Lexer<'t> {
    /// One token; `None` if the text there is reported and best ignored.
    fn token(&mut self, c: char) -> Option<Kind> {
        let rest = self.rest();
        let next = rest.chars().nth(1).unwrap_or_default();
        let simple = match c {
            '{' => Some(Kind::OpenBrace),
            '}' => Some(Kind::CloseBrace),
            '(' => Some(Kind::OpenParen),
            ')' => Some(Kind::CloseParen),
            '[' => Some(Kind::OpenBracket),
            ']' => Some(Kind::CloseBracket),
            ',' => Some(Kind::Comma),
            ':' => Some(Kind::Colon),
            '+' => Some(Kind::Plus),
            _ => None,
        };
        if let Some(kind) = simple {
            self.at += 1;
            return Some(kind);
        }
        match c {
            '#' => Some(self.line_comment()),
            '/' if next == '/' => Some(self.line_comment()),
            '/' if next == '*' => Some(self.block_comment()),
            '"' => Some(self.string()),
            '`' => Some(self.raw_string()),
            '\'' => Some(self.single_quoted()),
            '.' if in_word(next) => Some(Kind::Property(self.name_after(1))),
            '$' => Some(self.variable(next)),
            '%' => Some(self.constant()),
            '<' if next != '=' && !next.is_whitespace() => Some(self.include()),
            ';' => {
                self.at += 1;
                self.error(
                    self.at - 1,
                    "unexpected `;`",
                    "nothing stands between properties but space",
                );
                None
            }
            c if c.is_ascii_digit() || (c == '-' && next.is_ascii_digit()) => Some(self.number()),
            c if c.is_ascii_alphabetic() => Some(Kind::Word(self.name_after(0))),
            _ => Some(self.operator().unwrap_or_else(|| self.stray())),
        }
    }

    fn rest(&self) -> &'t str {
        self.text.get(self.at..).unwrap_or_default()
    }

    fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    fn span(&self, start: usize) -> Span {
        Span::new(self.file, start, self.at)
    }

    /// Reports what stands from `start` to here.
    fn error(&mut self, start: usize, message: impl Into<String>, help: impl Into<String>) {
        self.errors.push(Diagnostic::new(self.span(start), message).help(help));
    }

    fn skip_while(&mut self, keep: impl Fn(char) -> bool) -> &'t str {
        let rest = self.rest();
        let length = rest.find(|c| !keep(c)).unwrap_or(rest.len());
        self.at += length;
        &rest[..length]
    }

    /// Skips what an unclosed string or comment covers.
    fn lose(&mut self, covered: impl Fn(char) -> bool) {
        self.lost_braces |= self.skip_while(covered).contains(['{', '}']);
    }

    fn skip_space(&mut self) -> u32 {
        let space = self.skip_while(char::is_whitespace);
        u32::try_from(space.matches('\n').count()).unwrap_or(u32::MAX)
    }

    fn name_after(&mut self, prefix: usize) -> String {
        self.at += prefix;
        self.skip_while(in_word).to_owned()
    }

    fn line_comment(&mut self) -> Kind {
        let comment = self.skip_while(|c| c != '\n');
        self.at -= comment.len() - comment.trim_end().len();
        Kind::Comment
    }

    fn block_comment(&mut self) -> Kind {
        let start = self.at;
        match self.rest().get(2..).and_then(|rest| rest.find("*/")) {
            Some(end) => self.at += end + 4,
            None => {
                self.at = start + 2;
                self.error(start, "this comment is never closed", "close it with `*/`");
                self.lose(|_| true);
            }
        }
        Kind::Comment
    }

    fn string(&mut self) -> Kind {
        let start = self.at;
        let Some(end) = self.closing_quote() else {
            self.at = start + 1;
            self.error(start, "this string is never closed", "close it with `\"` on the same line");
            self.lose(|c| c != '\n');
            return Kind::Bad;
        };
        let mut text = String::new();
        self.at = start + 1;
        while self.at < end {
            text.push_str(self.skip_while(|c| c != '"' && c != '\\'));
            if self.at >= end {
                break;
            }
            let escape = self.at;
            match unescape(self.rest()) {
                Ok((c, length)) => {
                    text.push(c);
                    self.at += length;
                }
                Err((length, help)) => {
                    self.at = (self.at + length).min(end);
                    self.error(escape, "this escape is not known", help);
                }
            }
        }
        self.at = end + 1;
        Kind::Text(text)
    }

    /// Where the string that starts here ends.
    ///
    /// A string may span lines, so that a forgotten quote would turn everything after it inside
    /// out. What follows a quote tells: nobody writes `"a`⏎`"b`.
    fn closing_quote(&self) -> Option<usize> {
        let mut inside = self.rest().char_indices().skip(1);
        let end = loop {
            match inside.next()? {
                (_, '\\') => drop(inside.next()?),
                (end, '"') => break self.at + end,
                _ => {}
            }
        };
        let spans_lines = self.text.get(self.at..end)?.contains('\n');
        let after = self.text.get(end + 1..)?;
        let plausible = after.is_empty()
            || after.starts_with(|c: char| c.is_whitespace() || ",)]}+{#".contains(c))
            || after.starts_with("//")
            || after.starts_with("/*")
            || after.starts_with(": ");
        (!spans_lines || plausible).then_some(end)
    }

    fn raw_string(&mut self) -> Kind {
        let start = self.at;
        self.at += 1;
        let text = self.skip_while(|c| c != '`');
        if self.peek().is_some() {
            self.at += 1;
            return Kind::Text(text.to_owned());
        }
        self.at = start + 1;
        self.error(start, "this string is never closed", "close it with another backquote");
        self.lose(|_| true);
        Kind::Bad
    }

    fn single_quoted(&mut self) -> Kind {
        let start = self.at;
        self.at += 1;
        let text = self.skip_while(|c| c != '\'' && c != '\n');
        if self.peek() == Some('\'') {
            self.at += 1;
        }
        let help = format!("write {}", quote(text));
        self.error(start, "strings do not stand in single quotes", help);
        Kind::Text(text.to_owned())
    }

    fn variable(&mut self, next: char) -> Kind {
        let start = self.at;
        if self.rest().starts_with("$=") {
            self.at += 2;
            return Kind::Compare(Comparison { operator: Operator::Suffix, negated: false });
        }
        if next == '{' {
            let inner = self.rest().get(2..).unwrap_or_default();
            let name = &inner[..inner.find(|c| !in_word(c)).unwrap_or(inner.len())];
            self.at += 2 + name.len();
            let closed = self.peek() == Some('}');
            self.at += usize::from(closed);
            self.error(start, "variables have no braces", format!("write `${name}`"));
            return Kind::Variable(name.to_owned());
        }
        let name = self.name_after(1);
        if name.is_empty() {
            self.error(start, "`$` without a name", "a variable is written like `$path`");
            return Kind::Bad;
        }
        Kind::Variable(name)
    }

    fn constant(&mut self) -> Kind {
        let start = self.at;
        let mut name = self.name_after(1);
        if name == "env" && self.rest().starts_with('.') {
            let variable = self.name_after(1);
            name = format!("env.{variable}");
            if !variable.is_empty() {
                return Kind::Constant(name);
            }
        }
        if CONSTANTS.contains(&&*name) {
            return Kind::Constant(name);
        }
        let help = match suggest(&name, CONSTANTS) {
            Some(close) => format!("did you mean `%{close}`?"),
            None => "constants are %topDir %logDir %tmpDir %varDir and %env.NAME".into(),
        };
        self.error(start, format!("unknown constant `%{name}`"), help);
        Kind::Bad
    }

    fn include(&mut self) -> Kind {
        let start = self.at;
        self.at += 1;
        let path = self.skip_while(|c| c != '>' && c != '\n').trim().to_owned();
        if self.peek() != Some('>') {
            self.error(start, "this include is never closed", "write `<path/of/the.conf>`");
            return Kind::Bad;
        }
        self.at += 1;
        if path.is_empty() {
            self.error(start, "this include names no file", "write `<path/of/the.conf>`");
            return Kind::Bad;
        }
        Kind::Include(path)
    }

    fn number(&mut self) -> Kind {
        let start = self.at;
        self.at += 1;
        loop {
            self.skip_while(in_word);
            // `1.5` and `10.0.0.1` are one word, to be reported as one.
            let fraction = self
                .rest()
                .strip_prefix('.')
                .is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()));
            if !fraction {
                break;
            }
            self.at += 1;
        }
        let word = self.text.get(start..self.at).unwrap_or_default();
        match parse_number(word) {
            Ok(Number::Int(int)) => Kind::Int(int),
            Ok(Number::Size(bytes)) => Kind::Size(bytes),
            Ok(Number::Duration(duration)) => Kind::Duration(duration),
            Err(BadNumber { message, help }) => {
                self.error(start, message, help);
                Kind::Bad
            }
        }
    }

    /// Operators of conditions, with the ones that other languages have and we have not.
    fn operator(&mut self) -> Option<Kind> {
        let start = self.at;
        let rest = self.rest();
        let third = rest.chars().nth(2).unwrap_or_default();
        let compare = |operator, negated| Some(Kind::Compare(Comparison { operator, negated }));
        if let Some(kind) = match rest.get(..2) {
            Some("==") => compare(Operator::Equal, false),
            Some("^=") => compare(Operator::Prefix, false),
            Some("*=") => compare(Operator::Contains, false),
            Some("~=") => compare(Operator::Regex, false),
            Some("!=") => compare(Operator::Equal, true),
            Some("!^") => compare(Operator::Prefix, true),
            // `!$path` is a variable after a "not".
            Some("!$") if !in_word(third) => compare(Operator::Suffix, true),
            Some("!*") => compare(Operator::Contains, true),
            Some("!~") => compare(Operator::Regex, true),
            Some("&&") => Some(Kind::And),
            Some("||") => Some(Kind::Or),
            _ => None,
        } {
            self.at += 2;
            return Some(kind);
        }
        let wrong = match rest.get(..2) {
            Some("=~") => Some(("=~", "~=", compare(Operator::Regex, false))),
            Some("=^") => Some(("=^", "^=", compare(Operator::Prefix, false))),
            Some("=$") => Some(("=$", "$=", compare(Operator::Suffix, false))),
            Some("=*") => Some(("=*", "*=", compare(Operator::Contains, false))),
            _ if rest.starts_with('&') => Some(("&", "&&", Some(Kind::And))),
            _ if rest.starts_with('|') => Some(("|", "||", Some(Kind::Or))),
            _ if rest.starts_with('^') => Some(("^", "^=", compare(Operator::Prefix, false))),
            _ if rest.starts_with('*') => Some(("*", "*=", compare(Operator::Contains, false))),
            _ if rest.starts_with('~') => Some(("~", "~=", compare(Operator::Regex, false))),
            _ => None,
        };
        if let Some((wrong, right, kind)) = wrong {
            self.at += wrong.len();
            self.error(
                start,
                format!("unknown operator `{wrong}`"),
                format!("did you mean `{right}`?"),
            );
            return kind;
        }
        match rest.chars().next() {
            Some('=') => {
                self.at += 1;
                Some(Kind::Equal)
            }
            Some('<' | '>') => {
                self.skip_while(|c| "<>=".contains(c));
                let help = "operators are == ^= $= *= ~= and their negations != !^ !$ !* !~";
                let operator = self.text.get(start..self.at).unwrap_or_default();
                self.error(start, format!("unknown operator `{operator}`"), help);
                Some(Kind::Bad)
            }
            Some('-') => self.path_test(1, false),
            Some('!') if rest.starts_with("!-") => {
                let kind = self.path_test(2, true)?;
                if let Kind::PathTest { check, .. } = kind {
                    let help = format!("did you mean `!{}`?", check.letter());
                    let operator = self.text.get(start..self.at).unwrap_or_default();
                    self.error(start, format!("unknown operator `{operator}`"), help);
                }
                Some(kind)
            }
            Some('!') => self.path_test(1, true).or_else(|| {
                self.at += 1;
                Some(Kind::Not)
            }),
            _ => None,
        }
    }

    /// `-f`, `!f` and so on, with `prefix` bytes before the letter.
    fn path_test(&mut self, prefix: usize, negated: bool) -> Option<Kind> {
        let start = self.at;
        let rest = self.rest().get(prefix..)?;
        let word = &rest[..rest.find(|c| !in_word(c)).unwrap_or(rest.len())];
        if word.is_empty() {
            return None;
        }
        self.at += prefix + word.len();
        if let Some(check) = PathCheck::from_letter(word) {
            return Some(Kind::PathTest { check, negated });
        }
        if let Some(variable) = self.glued_to(start) {
            self.skip_while(|c| in_word(c) || c == '-');
            let name = self.text.get(variable..self.at).unwrap_or_default();
            let help = format!("did you mean `{}`?", name.replace('-', "_"));
            self.error(variable, format!("`{name}` is not the name of a variable"), help);
            return Some(Kind::Bad);
        }
        let operator = self.text.get(start..self.at).unwrap_or_default();
        let help = "tests of $path are -f -d -e -D -E !f !d !e";
        self.error(start, format!("unknown test `{operator}`"), help);
        Some(Kind::Bad)
    }

    /// Where a variable of a family, such as `$header_user`, begins that ends right here.
    fn glued_to(&self, end: usize) -> Option<usize> {
        let before = self.text.get(..end)?;
        let name = before.rsplit(|c| !in_word(c)).next().unwrap_or_default();
        let dollar = before.strip_suffix(name)?.strip_suffix('$')?.len();
        name.contains('_').then_some(dollar)
    }

    /// What no token starts with.
    fn stray(&mut self) -> Kind {
        let start = self.at;
        let first = self.peek().unwrap_or_default();
        let ends = |c: char| c.is_whitespace() || c.is_control() || "(){}[],\"`#;".contains(c);
        self.at += first.len_utf8();
        self.skip_while(|c| !ends(c));
        let word = self.text.get(start..self.at).unwrap_or_default();
        let (message, help) = match first {
            '“' | '”' | '‘' | '’' | '„' | '«' | '»' => (
                format!("unexpected quotation mark `{first}`"),
                "write strings as \"…\"".to_owned(),
            ),
            c if c.is_control() => {
                let message = format!("unexpected control character U+{:04X}", u32::from(c));
                (message, "remove it, or write it as \\u{…} in a string".to_owned())
            }
            '\\' => {
                ("unexpected `\\`".into(), "a value ends where it ends: lines need no `\\`".into())
            }
            _ => (
                format!("unexpected `{word}`"),
                format!("write strings in quotes: {}", quote(word)),
            ),
        };
        self.error(start, message, help);
        Kind::Bad
    }
}
