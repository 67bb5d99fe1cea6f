//! The canonical form of a config.
//!
//! Only space changes: tokens and comments stay as they are, in their order.
use std::sync::Arc;

use super::{
    diagnostic::{Diagnostics, Error},
    lexer::{Kind, Token, lex},
    load::{MAX_SIZE, too_large},
    parser::{Role, parse},
    source::{Sources, Span},
    syntax::{Component, Item},
};

/// A component that stands on one line stays there up to this width, with tabs of four columns.
const WIDTH: usize = 100;
const TAB_WIDTH: usize = 4;

/// Brings a config into its canonical form: tabs, one property per line, at most one blank line.
///
/// Components that stand on one line stay on one line if they fit, and lists are broken where they
/// are broken. Includes are not followed. `name` stands in error messages where a file name would.
///
/// # Errors
/// Text that cannot be parsed.
pub fn fmt(name: &str, text: &str) -> Result<String, Error> {
    let mut sources = Sources::default();
    let mut errors = Diagnostics::default();
    let file = sources.add(name.to_owned(), text, None);
    if text.len() > MAX_SIZE {
        return Err(Diagnostics::from(too_large(Span::new(file, 0, 0))).into_error(sources.into()));
    }
    let items = parse(file, text, Role::Part, &mut errors).items;
    if !errors.is_empty() {
        return Err(errors.into_error(Arc::new(sources)));
    }
    let tokens = lex(file, text, &mut errors).tokens;
    let mut printer = Printer { text, tokens, at: 0, out: String::new(), comment_line: false };
    printer.block(&items, text.len(), 0);
    if !printer.out.is_empty() {
        printer.out.push('\n');
    }
    Ok(printer.out)
}

struct Printer<'t> {
    text: &'t str,
    tokens: Vec<Token>,
    /// The next token to print.
    at: usize,
    out: String,
    /// Whether nothing but block comments stand on the current line.
    comment_line: bool,
}

impl Printer<'_> {
    /// Items on lines of their own, and the comments up to `end`.
    fn block(&mut self, items: &[Item], end: usize, indent: usize) {
        let mut first = true;
        for item in items {
            let start = start(item);
            self.comments(start, indent, &mut first);
            let on_comment_line = self.comment_line && self.breaks() == 0;
            if on_comment_line {
                self.out.push(' ');
            } else {
                self.new_line(indent, first);
            }
            first = false;
            self.item(item, indent);
            self.comment_line = false;
        }
        self.comments(end, indent, &mut first);
    }

    /// Comments between items: behind what they stand behind, or on lines of their own.
    fn comments(&mut self, end: usize, indent: usize, first: &mut bool) {
        while let Some(token) = self.peek(end) {
            if token.kind != Kind::Comment {
                return;
            }
            let comment = self.slice(token.span).to_owned();
            let is_line = !comment.starts_with("/*");
            if token.breaks == 0 && !self.out.is_empty() {
                self.out.push(' ');
                self.comment_line &= !is_line;
            } else {
                self.new_line(indent, *first);
                self.comment_line = !is_line;
            }
            *first = false;
            self.out.push_str(&comment);
            self.at += 1;
        }
    }

    fn item(&mut self, item: &Item, indent: usize) {
        match item {
            Item::Component(component) => self.component(component, indent),
            item => self.run(end(item), indent),
        }
    }

    fn component(&mut self, component: &Component, indent: usize) {
        let Component { sign, braces, items, .. } = component;
        let (at, length) = (self.at, self.out.len());
        if !self.slice(sign.span.to(*braces)).contains('\n') {
            self.inline(component, indent);
            if self.column() <= WIDTH {
                return;
            }
            self.at = at;
            self.out.truncate(length);
        }
        self.run(braces.start as usize, indent);
        self.open_brace(indent);
        let close = braces.end as usize - 1;
        if self.peek(close).is_some() {
            self.comment_line = false;
            self.block(items, close, indent + 1);
            self.new_line(indent, true);
        }
        self.out.push('}');
        self.at += 1;
    }

    /// A component on one line.
    fn inline(&mut self, component: &Component, indent: usize) {
        self.run(component.braces.start as usize, indent);
        self.open_brace(indent);
        let close = component.braces.end as usize - 1;
        let mut gap = " ";
        let comments = |printer: &mut Self, end: usize, gap: &mut &str| {
            while printer.peek(end).is_some_and(|token| token.kind == Kind::Comment) {
                printer.out.push(' ');
                printer.token();
                *gap = " ";
            }
        };
        for item in &component.items {
            comments(self, start(item), &mut gap);
            self.out.push_str(gap);
            match item {
                Item::Component(inner) => self.inline(inner, indent),
                item => self.run(end(item), indent),
            }
            gap = "  ";
        }
        let empty = self.peek(close).is_none() && component.items.is_empty();
        comments(self, close, &mut gap);
        self.out.push_str(if empty { "}" } else { " }" });
        self.at += 1;
    }

    fn open_brace(&mut self, indent: usize) {
        if self.after_line_comment() {
            self.new_line(indent, true);
        } else {
            self.out.push(' ');
        }
        self.out.push('{');
        self.at += 1;
    }

    /// The tokens of a property, an include or the head of a component, up to `end`.
    fn run(&mut self, end: usize, indent: usize) {
        // For each open bracket, whether its elements start on a new line.
        let mut brackets: Vec<bool> = Vec::new();
        let mut before: Option<Kind> = None;
        while let Some(token) = self.peek(end) {
            let Token { kind, breaks, .. } = token.clone();
            let closes = matches!(kind, Kind::CloseParen | Kind::CloseBracket);
            let broken = closes && brackets.pop().unwrap_or_default();
            if let Some(before) = &before {
                let opened = matches!(before, Kind::OpenParen | Kind::OpenBracket);
                let breaks = self.after_line_comment()
                    || match closes {
                        true => broken && !opened,
                        false => breaks > 0 && may_break(before, &kind),
                    };
                if breaks {
                    let continued = usize::from(brackets.is_empty() && !closes);
                    self.new_line(indent + brackets.len() + continued, true);
                } else if spaced(before, &kind) {
                    self.out.push(' ');
                }
            }
            self.token();
            if matches!(kind, Kind::OpenParen | Kind::OpenBracket) {
                brackets.push(self.breaks() > 0 || self.at_line_comment());
            }
            before = Some(kind);
        }
    }

    fn token(&mut self) {
        if let Some(token) = self.tokens.get(self.at) {
            let text = self.text.get(token.span.start as usize..token.span.end as usize);
            self.out.push_str(text.unwrap_or_default());
        }
        self.at += 1;
    }

    /// Starts a line; keeps a blank line before it, unless it is the `first` of its kind.
    fn new_line(&mut self, indent: usize, first: bool) {
        if !self.out.is_empty() {
            self.out.push('\n');
            if !first && self.breaks() > 1 {
                self.out.push('\n');
            }
        }
        self.out.extend(std::iter::repeat_n('\t', indent));
    }

    /// The next token, if it starts before `end`.
    fn peek(&self, end: usize) -> Option<&Token> {
        let token = self.tokens.get(self.at)?;
        ((token.span.start as usize) < end && token.kind != Kind::End).then_some(token)
    }

    fn breaks(&self) -> u32 {
        self.tokens.get(self.at).map_or(0, |token| token.breaks)
    }

    fn at_line_comment(&self) -> bool {
        self.is_line_comment(self.tokens.get(self.at))
    }

    fn after_line_comment(&self) -> bool {
        self.is_line_comment(self.at.checked_sub(1).and_then(|at| self.tokens.get(at)))
    }

    /// Whether a token runs to the end of the line.
    fn is_line_comment(&self, token: Option<&Token>) -> bool {
        token.is_some_and(|token| {
            token.kind == Kind::Comment && !self.slice(token.span).starts_with("/*")
        })
    }

    fn column(&self) -> usize {
        let line = self.out.rsplit('\n').next().unwrap_or_default();
        line.chars().map(|c| if c == '\t' { TAB_WIDTH } else { 1 }).sum()
    }

    fn slice(&self, span: Span) -> &str {
        self.text.get(span.start as usize..span.end as usize).unwrap_or_default()
    }
}

fn start(item: &Item) -> usize {
    match item {
        Item::Property(property) => property.name.span.start as usize,
        Item::Component(component) => component.sign.span.start as usize,
        Item::Include(path) => path.span.start as usize,
    }
}

fn end(item: &Item) -> usize {
    match item {
        Item::Property(property) => {
            property.value.as_ref().map_or(property.name.span.end, |value| value.span.end) as usize
        }
        Item::Component(component) => component.braces.end as usize,
        Item::Include(path) => path.span.end as usize,
    }
}

/// Whether a line break between two tokens is the author's choice.
fn may_break(before: &Kind, after: &Kind) -> bool {
    use Kind::{And, Comma, Comment, OpenBracket, OpenParen, Or, Plus};
    matches!(before, Comma | Plus | And | Or | OpenParen | OpenBracket | Comment)
        || matches!(after, Plus | And | Or | Comment)
}

fn spaced(before: &Kind, after: &Kind) -> bool {
    use Kind::{CloseBracket, CloseParen, Colon, Comma, Comment, Not, OpenBracket, OpenParen};
    if after == &Comment {
        return true;
    }
    !matches!(before, OpenParen | OpenBracket | Not)
        && !matches!(after, CloseParen | CloseBracket | Comma | Colon)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The tokens without space, so that only space may differ.
    fn tokens(text: &str) -> Vec<Kind> {
        let lexed = lex(0, text, &mut Diagnostics::default()).tokens;
        lexed.into_iter().map(|token| token.kind).collect()
    }

    fn comments(text: &str) -> Vec<&str> {
        let lexed = lex(0, text, &mut Diagnostics::default()).tokens;
        let comments = lexed.into_iter().filter(|token| token.kind == Kind::Comment);
        comments.map(|t| &text[t.span.start as usize..t.span.end as usize]).collect()
    }

    #[test]
    fn formats() {
        let cases = [
            ("", ""),
            ("# a\n\n\n\n// b\n", "# a\n\n// b\n"),
            ("stage{}", "stage {}\n"),
            ("stage\n{\n}", "stage {}\n"),
            ("stage { .a=1 .b  =  2 }", "stage { .a = 1  .b = 2 }\n"),
            ("stage {\n.a=1 .b=2\n}", "stage {\n\t.a = 1\n\t.b = 2\n}\n"),
            (
                "stage{.a=1 // one\n\n\n\n.b=2 # two\n\n}",
                "stage {\n\t.a = 1 // one\n\n\t.b = 2 # two\n}\n",
            ),
            (
                "stage { # head\n /* x */ .a = 1 /* y */ .b = 2\n # end\n}\n# last",
                "stage { # head\n\t/* x */ .a = 1 /* y */\n\t.b = 2\n\t# end\n}\n# last\n",
            ),
            (
                "stage {\n.a = (\"x\",\"y\" ,)\n.b=[ \"k\" :1,\"l\":(1,2)]\n.c=(\n1,2,\n3)\n}",
                "stage {\n\t.a = (\"x\", \"y\",)\n\t.b = [\"k\": 1, \"l\": (1, 2)]\n\t.c = (\n\t\t1, 2,\n\t\t3\n\t)\n}\n",
            ),
            (
                "stage {\n.a = ( # why\n1, # one\n2 # two\n)\n.b = \"x\" +\n%topDir\n+ \"y\"\n.c=(\n)\n}",
                "stage {\n\t.a = ( # why\n\t\t1, # one\n\t\t2 # two\n\t)\n\t.b = \"x\" +\n\t\t%topDir\n\t\t+ \"y\"\n\t.c = ()\n}\n",
            ),
            (
                "stage {\nrule   \"r\"\n$path==\"/\"&&!  ($path -f||! $b !=\"x\"  )\n{}\n}",
                "stage {\n\trule \"r\" $path == \"/\" && !($path -f || !$b != \"x\") {}\n}\n",
            ),
            (
                "stage {\nrule $path -f\n|| $path -d { static {} }\n<conf.d/*.conf>   <x>\n}",
                "stage {\n\trule $path -f\n\t\t|| $path -d {\n\t\tstatic {}\n\t}\n\t<conf.d/*.conf>\n\t<x>\n}\n",
            ),
            ("stage # c\n{ /* a */ }", "stage # c\n{ /* a */\n}\n"),
            ("clock{/* a */.b=1/* c */}", "clock { /* a */ .b = 1 /* c */ }\n"),
            (
                "stage {\n.a = \"two\n  lines\"\n/* two\n lines */\n}",
                "stage {\n\t.a = \"two\n  lines\"\n\t/* two\n lines */\n}\n",
            ),
        ];
        for (text, expected) in cases {
            let formatted = fmt("t", text).unwrap_or_else(|error| panic!("{error}"));
            assert_eq!(formatted, expected);
            assert_eq!(fmt("t", &formatted).unwrap_or_default(), formatted, "not stable: {text}");
            assert_eq!(tokens(&formatted), tokens(text), "{text}");
            assert_eq!(comments(&formatted), comments(text), "{text}");
        }
    }

    #[test]
    fn breaks_a_line_that_is_too_long() {
        let inner = format!("node {{ .a = \"{}\" }}", "x".repeat(70));
        let text = format!("stage {{ {inner} {inner} }}");
        assert_eq!(
            fmt("t", &text).unwrap_or_default(),
            format!("stage {{\n\t{inner}\n\t{inner}\n}}\n")
        );
    }

    #[test]
    fn refuses_what_it_cannot_read() {
        let error = fmt("x.conf", "stage {\n\t.a = \n}").map_err(|error| error.to_string());
        assert!(error.is_err_and(|text| text.starts_with("x.conf:2:5: error: `.a` has no value")));
    }
}
