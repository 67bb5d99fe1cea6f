//! Tokens to items. After a mistake the parser goes on at the next thing that can be told for sure:
//! a `}`, the next `.property =`, a sign at the start of a line.
mod condition;
mod value;

use super::{
    condition::{Comparison, Operator},
    diagnostic::{Diagnostic, Diagnostics},
    lexer::{Kind, Lexed, Token, lex},
    source::Span,
    syntax::{Component, Expr, Item, Property},
    value::Text,
};
use value::starts_value;

/// Components, values and conditions may be nested so deep.
const MAX_DEPTH: usize = 64;

pub(super) const AFTER_ROOT: &str = "nothing may follow the outermost component";
pub(super) const AFTER_ROOT_HELP: &str = "move it inside the braces of `stage { … }`";

/// What a text stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    /// One component and nothing else.
    Root,
    /// Any number of items, to be included in a component.
    Part,
}

/// The items of a text.
pub(super) struct Parsed {
    pub(super) items: Vec<Item>,
    /// Whether braces are missing, so that it is a guess what belongs to what.
    pub(super) unsure: bool,
}

/// Reads a text as a series of properties, components and includes.
pub(super) fn parse(file: u32, text: &str, role: Role, errors: &mut Diagnostics) -> Parsed {
    let Lexed { mut tokens, lost_braces } = lex(file, text, errors);
    tokens.retain(|token| token.kind != Kind::Comment);
    let mut parser = Parser {
        text,
        tokens,
        at: 0,
        role,
        errors,
        depth: 0,
        unsure_braces: lost_braces,
        open: Vec::new(),
        suspect: None,
    };
    let mut items = parser.items();
    while parser.kind() != &Kind::End {
        // Nothing is open, and yet something closes.
        if !parser.unsure_braces {
            parser.error("this `}` closes nothing", "remove it");
            parser.unsure_braces = true;
        }
        parser.at += 1;
        items.extend(parser.items());
    }
    Parsed { items, unsure: parser.unsure_braces }
}

struct Parser<'t> {
    text: &'t str,
    tokens: Vec<Token>,
    at: usize,
    role: Role,
    errors: &'t mut Diagnostics,
    depth: usize,
    /// A brace was missing: what the others belong to is a guess, and no news.
    unsure_braces: bool,
    open: Vec<Open>,
    /// The first component whose `}` stands further left than its sign: it took the `}` of another.
    suspect: Option<Span>,
}

/// A component whose `}` is still to come.
struct Open {
    brace: Span,
    line_indent: usize,
}

/// The mistake is reported; what remains is to go on at a safe place.
struct Reported;

type Recovered<T> = Result<T, Reported>;

impl Parser<'_> {
    /// Items up to a `}` or the end of the text.
    fn items(&mut self) -> Vec<Item> {
        let mut items = Vec::new();
        loop {
            let root_ended = self.role == Role::Root
                && self.open.is_empty()
                && matches!(items[..], [.., Item::Component(_)])
                && self.kind() != &Kind::End;
            if root_ended {
                if !self.unsure_braces {
                    self.error(AFTER_ROOT, AFTER_ROOT_HELP);
                }
                self.at = self.tokens.len() - 1;
            }
            match self.kind().clone() {
                Kind::CloseBrace | Kind::End => return items,
                Kind::Property(name) => items.push(Item::Property(self.property(name))),
                Kind::Word(_) if matches!(self.next_kind(1), Kind::Equal | Kind::Colon) => {
                    items.push(Item::Property(self.dotless_property()));
                }
                Kind::Word(_) if self.at_bare_value() => {
                    items.push(Item::Property(self.bare_property()));
                }
                Kind::Word(word)
                    if word == "include" && matches!(self.next_kind(1), Kind::Text(_)) =>
                {
                    self.quoted_include();
                }
                Kind::Word(sign) => items.extend(self.component(sign).map(Item::Component)),
                Kind::Include(path) => {
                    items.push(Item::Include(Text { span: self.span(), text: path }));
                    self.at += 1;
                }
                kind => {
                    self.unexpected_item(&kind);
                    // A block of braces is skipped as a whole.
                    self.at += usize::from(kind != Kind::OpenBrace);
                    self.recover();
                }
            }
        }
    }

    fn unexpected_item(&mut self, kind: &Kind) {
        let help = match kind {
            Kind::Bad => return,
            Kind::Comma => "properties need no comma between them",
            Kind::OpenBrace => "a component is written `sign \"name\" { … }`",
            Kind::Text(_) => "a name stands behind its sign, a value behind `.property =`",
            _ => {
                "inside a component stand properties like `.name = value` and components like `sign { … }`"
            }
        };
        let message = format!("expected a property, a component or `}}`, found {}", self.found());
        self.error(message, help);
    }

    fn property(&mut self, name: String) -> Property {
        let name = Text { span: self.span(), text: name };
        self.at += 1;
        let value = self.assigned(&name).map_err(|Reported| self.recover()).ok();
        Property { name, value }
    }

    fn dotless_property(&mut self) -> Property {
        let word = self.slice(self.span()).to_owned();
        self.error(format!("the property `{word}` has no dot"), format!("did you mean `.{word}`?"));
        self.property(word)
    }

    /// Whether a word stands here with a value behind it, which a component can't begin with.
    fn at_bare_value(&self) -> bool {
        let same_line = self.tokens.get(self.at + 1).is_some_and(|token| token.breaks == 0);
        let value = match self.next_kind(1) {
            Kind::Int(_) | Kind::Size(_) | Kind::Duration(_) | Kind::Constant(_) => true,
            Kind::Word(word) => matches!(&**word, "true" | "false"),
            Kind::OpenBracket => true,
            Kind::OpenParen => matches!(self.next_kind(2), Kind::Text(_) | Kind::Int(_)),
            _ => false,
        };
        same_line && value
    }

    /// `name value`
    fn bare_property(&mut self) -> Property {
        let name = Text { span: self.span(), text: self.slice(self.span()).to_owned() };
        self.at += 1;
        let value = self.value().map_err(|Reported| self.recover()).ok();
        let written = value.as_ref().map_or("…", |value| self.slice(value.span));
        let help = format!("did you mean `.{} = {written}`?", name.text);
        let message = format!("the property `{}` has no dot and no `=`", name.text);
        self.errors.push(Diagnostic::new(name.span, message).help(help));
        Property { name, value }
    }

    /// `include "path"`
    fn quoted_include(&mut self) {
        let word = self.span();
        self.at += 1;
        let path = self.slice(self.span()).trim_matches(['"', '`', '\'']);
        let help = format!("did you mean `<{path}>`?");
        let span = word.to(self.span());
        let error = Diagnostic::new(span, "files are not included by a word").help(help);
        self.errors.push(error);
        self.at += 1;
    }

    /// `= value`
    fn assigned(&mut self, name: &Text) -> Recovered<Expr> {
        let equal = self.span();
        match self.kind() {
            Kind::Equal => self.at += 1,
            Kind::Colon
            | Kind::Compare(Comparison { operator: Operator::Equal, negated: false }) => {
                let message =
                    format!("expected `=` after `.{}`, found {}", name.text, self.found());
                self.error(message, "properties are set with a single `=`");
                self.at += 1;
            }
            Kind::Bad => return Err(Reported),
            kind => {
                let starts_value = starts_value(kind) && !self.at_statement();
                let place = if starts_value { self.span() } else { name.span };
                let found =
                    if starts_value { format!(", found {}", self.found()) } else { String::new() };
                let message = format!("expected `=` after `.{}`{found}", name.text);
                let help = format!("write `.{} = value`", name.text);
                self.errors.push(Diagnostic::new(place, message).help(help));
                if !starts_value {
                    return Err(Reported);
                }
            }
        }
        if self.at_statement() || matches!(self.kind(), Kind::CloseBrace | Kind::End) {
            let message = format!("`.{}` has no value", name.text);
            self.errors.push(Diagnostic::new(equal, message).help("write a value after `=`"));
            return Err(Reported);
        }
        self.value()
    }

    /// Whether a `.property =` starts here; without the `=` it could be a reference.
    fn at_statement(&self) -> bool {
        matches!(self.kind(), Kind::Property(_))
            && matches!(self.next_kind(1), Kind::Equal | Kind::Colon)
    }

    /// Guards against nesting that would exhaust the stack.
    fn nested<T>(&mut self, read: impl FnOnce(&mut Self) -> Recovered<T>) -> Recovered<T> {
        if self.depth >= MAX_DEPTH {
            let message = format!("nested more than {MAX_DEPTH} levels deep");
            self.error(message, "make it flatter");
            // Whatever follows is part of the same mistake.
            self.at = self.tokens.len() - 1;
            self.unsure_braces = true;
            return Err(Reported);
        }
        self.depth += 1;
        let result = read(self);
        self.depth -= 1;
        result
    }

    fn component(&mut self, sign: String) -> Option<Component> {
        let sign = Text { span: self.span(), text: sign };
        let line_indent = self.line_indent(sign.span);
        self.at += 1;
        let name = match self.kind().clone() {
            Kind::Text(text) => {
                let name = Text { span: self.span(), text };
                self.at += 1;
                Some(name)
            }
            Kind::Word(word) if self.at_bare_name() => {
                let message = format!("the name `{word}` has no quotes");
                self.error(message, format!("did you mean `{} \"{word}\"`?", sign.text));
                let name = Text { span: self.span(), text: word };
                self.at += 1;
                Some(name)
            }
            _ => None,
        };
        let condition = match self.kind() {
            Kind::Variable(_) | Kind::OpenParen | Kind::Not => {
                let condition = self.nested(Self::any_of).ok();
                if condition.is_none() {
                    self.skip_condition();
                }
                Some(condition)
            }
            _ => None,
        };
        let header = sign.span.to(self.tokens[self.at - 1].span);
        if self.kind() != &Kind::OpenBrace && !self.missing_open_brace(&sign, name.as_ref(), header)
        {
            return None;
        }
        let brace = self.span();
        if self.kind() == &Kind::OpenBrace {
            self.at += 1;
        }
        self.open.push(Open { brace, line_indent });
        let items = self.nested(|parser| Ok(parser.items())).unwrap_or_default();
        let close = self.span();
        let open = self.open.pop();
        if self.kind() == &Kind::CloseBrace {
            self.note_indent(open, close);
            self.at += 1;
        } else if !self.unsure_braces {
            self.unsure_braces = true;
            let brace = self.suspect.unwrap_or(brace);
            let error = Diagnostic::new(brace, "this `{` is never closed");
            self.errors.push(error.help("close it with `}`"));
        }
        Some(Component { sign, name, condition, items, braces: brace.to(close) })
    }

    /// Whether the word here can only be meant as the name of the component that has begun before it.
    fn at_bare_name(&self) -> bool {
        let next = self.next_kind(1);
        self.breaks() == 0 && matches!(next, Kind::OpenBrace | Kind::Variable(_) | Kind::Not)
    }

    /// Reports that `{` is missing; whether the component has a body all the same.
    fn missing_open_brace(&mut self, sign: &Text, name: Option<&Text>, header: Span) -> bool {
        let (kind, breaks) = (self.kind().clone(), self.breaks());
        if kind == Kind::Bad || (kind == Kind::End && self.unsure_braces) {
            self.recover();
            return false;
        }
        // An operator without a value before it is no condition.
        if matches!(kind, Kind::Compare(_) | Kind::PathTest { .. }) {
            let message = format!("expected a variable before {}", self.found());
            self.error(message, "write `$path ^= \"/\"`");
            self.skip_condition();
            return self.kind() == &Kind::OpenBrace;
        }
        let message = match self.slice(header) {
            text if text.len() < 40 => format!("expected `{{` after `{text}`"),
            _ => format!("expected `{{` after this `{}`", sign.text),
        };
        if breaks > 0 || matches!(kind, Kind::End | Kind::CloseBrace) {
            let mut help = write_braces(self.slice(header));
            if let Some(value) = name.filter(|_| self.slice(header).len() < 40) {
                let value = self.slice(value.span);
                help += &format!("; a property is written `.{} = {value}`", sign.text);
            }
            self.errors.push(Diagnostic::new(header, message).help(help));
        } else {
            let message = format!("{message}, found {}", self.found());
            let help = write_braces(self.slice(header));
            self.error(message, help);
        }
        // Its `}` may be missing as well, or be there.
        self.unsure_braces = true;
        if !matches!(kind, Kind::Property(_) | Kind::Word(_) | Kind::CloseBrace | Kind::End) {
            self.recover();
        }
        matches!(kind, Kind::Property(_))
    }

    fn note_indent(&mut self, open: Option<Open>, close: Span) {
        let first_in_line = self.breaks() > 0;
        if let Some(open) = open
            && first_in_line
            && self.line_indent(close) < open.line_indent
        {
            self.suspect.get_or_insert(open.brace);
        }
    }

    /// How far the line of a span is indented.
    fn line_indent(&self, span: Span) -> usize {
        let before = self.text.get(..span.start as usize).unwrap_or_default();
        let line = &before[before.rfind('\n').map_or(0, |newline| newline + 1)..];
        line.len() - line.trim_start().len()
    }

    /// Skips to where an item, or the `}` of the component, can be told for sure.
    fn recover(&mut self) {
        while !self.at_safe_place() {
            if self.kind() == &Kind::OpenBrace {
                self.skip_braces();
            } else {
                self.at += 1;
            }
        }
    }

    fn at_safe_place(&self) -> bool {
        match self.kind() {
            Kind::CloseBrace | Kind::End => true,
            Kind::Property(_) => self.breaks() > 0 && !self.continues() || self.at_statement(),
            Kind::Word(word) if matches!(&**word, "true" | "false") => false,
            Kind::Word(_) => {
                let next = self.next_kind(1);
                let named = matches!(next, Kind::Text(_) | Kind::Variable(_) | Kind::OpenBrace);
                self.breaks() > 0 && named
            }
            Kind::Include(_) => self.breaks() > 0,
            _ => false,
        }
    }

    /// Whether the token before asks for more: a `.name` on the next line is then a reference.
    fn continues(&self) -> bool {
        let before = self.at.checked_sub(1).and_then(|at| self.tokens.get(at));
        before.is_some_and(|token| {
            matches!(
                token.kind,
                Kind::Comma | Kind::Plus | Kind::OpenParen | Kind::OpenBracket | Kind::Colon
            )
        })
    }

    /// Skips from `{` behind the `}` that belongs to it.
    fn skip_braces(&mut self) {
        let mut depth = 0usize;
        loop {
            match self.kind() {
                Kind::OpenBrace => depth += 1,
                Kind::CloseBrace => depth -= 1,
                Kind::End => return,
                _ => {}
            }
            self.at += 1;
            if depth == 0 {
                return;
            }
        }
    }

    fn kind(&self) -> &Kind {
        self.next_kind(0)
    }

    fn next_kind(&self, ahead: usize) -> &Kind {
        self.tokens.get(self.at + ahead).map_or(&Kind::End, |token| &token.kind)
    }

    fn breaks(&self) -> u32 {
        self.tokens.get(self.at).map_or(0, |token| token.breaks)
    }

    fn span(&self) -> Span {
        let last = self.tokens.len() - 1;
        self.tokens[self.at.min(last)].span
    }

    fn slice(&self, span: Span) -> &str {
        self.text.get(span.start as usize..span.end as usize).unwrap_or_default()
    }

    /// What stands here, for an error message.
    fn found(&self) -> String {
        if self.kind() == &Kind::End {
            return "the end of the file".into();
        }
        let text = self.slice(self.span());
        let line = text.lines().next().unwrap_or_default();
        let short: String = line.chars().take(40).collect();
        let more = if short.len() < text.len() { "…" } else { "" };
        format!("`{short}{more}`")
    }

    /// Reports the token here.
    fn error(&mut self, message: impl Into<String>, help: impl Into<String>) {
        self.errors.push(Diagnostic::new(self.span(), message).help(help));
    }
}

fn write_braces(header: &str) -> String {
    match header {
        text if text.len() < 40 && !text.contains('\n') => format!("write `{text} {{ … }}`"),
        _ => "write its properties in `{ … }`".into(),
    }
}
