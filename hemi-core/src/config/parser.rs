//! Tokens to items. After a mistake the parser goes on at the next thing that can be told for sure:
//! a `}`, the next `.property =`, a sign at the start of a line.
use super::{
    condition::{Comparison, Logic, Operator, Test},
    diagnostic::{Diagnostic, Diagnostics},
    lexer::{Kind, Lexed, Token, lex},
    literal::quote,
    source::Span,
    syntax::{Component, Expr, Form, Item, Property},
    value::{Data, Text},
};

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

    fn value(&mut self) -> Recovered<Expr> {
        let first = self.operand()?;
        if self.kind() != &Kind::Plus {
            return Ok(first);
        }
        let mut parts = vec![first];
        while self.kind() == &Kind::Plus {
            self.at += 1;
            parts.push(self.operand()?);
        }
        let span = self.joined(&parts);
        Ok(Expr { span, form: Form::Join(parts) })
    }

    fn joined(&self, parts: &[Expr]) -> Span {
        match parts {
            [first, .., last] => first.span.to(last.span),
            _ => self.span(),
        }
    }

    fn operand(&mut self) -> Recovered<Expr> {
        let span = self.span();
        let form = match self.kind().clone() {
            Kind::Word(word) => return self.word(&word),
            Kind::Text(text) => Form::Plain(Data::Text(text)),
            Kind::Int(int) => Form::Plain(Data::Int(int)),
            Kind::Size(bytes) => Form::Plain(Data::Size(bytes)),
            Kind::Duration(duration) => Form::Plain(Data::Duration(duration)),
            Kind::Constant(name) => Form::Constant(name),
            Kind::Variable(name) => Form::Variable(name),
            Kind::Property(_) if self.at_statement() => return Err(self.no_value()),
            Kind::Property(name) => Form::Reference(name),
            Kind::OpenParen => return self.nested(Self::list),
            Kind::OpenBracket => return self.nested(Self::dict),
            _ => return Err(self.no_value()),
        };
        self.at += 1;
        Ok(Expr { span, form })
    }

    fn word(&mut self, word: &str) -> Recovered<Expr> {
        let span = self.span();
        if let "true" | "false" = word {
            self.at += 1;
            return Ok(Expr { span, form: Form::Plain(Data::Bool(word == "true")) });
        }
        let component = matches!(self.next_kind(1), Kind::OpenBrace)
            || matches!((self.next_kind(1), self.next_kind(2)), (Kind::Text(_), Kind::OpenBrace));
        if component {
            self.error(
                format!("the component `{word}` cannot be a value"),
                "give it a name, let it stand by itself, and write its name here",
            );
            // Its properties are not worth reading.
            while self.kind() != &Kind::OpenBrace {
                self.at += 1;
            }
            self.skip_braces();
            return Err(Reported);
        }
        let help = match word.to_lowercase().as_str() {
            "true" | "on" | "yes" => "write `true`".to_owned(),
            "false" | "off" | "no" => "write `false`".to_owned(),
            "null" | "none" | "nil" => "leave the property out".to_owned(),
            _ => format!("did you mean {}?", quote(self.rest_of_word(span))),
        };
        self.error(format!("expected a value, found the word `{word}`"), help);
        Err(Reported)
    }

    /// The text from here to the next space, as in `example.com`.
    fn rest_of_word(&self, span: Span) -> &str {
        let rest = self.text.get(span.start as usize..).unwrap_or_default();
        let end = rest.find(|c: char| c.is_whitespace() || ",)]};\"".contains(c));
        rest.get(..end.unwrap_or(rest.len())).unwrap_or_default()
    }

    fn no_value(&mut self) -> Reported {
        let help = match self.kind() {
            Kind::Bad => return Reported,
            Kind::OpenBrace => "lists are written `( , )`, dicts `[ \"key\": value ]`",
            Kind::Include(_) => "an include stands by itself, not in a value",
            Kind::Colon => "strings stand in quotes",
            _ => {
                "values are true, false, 1, 10s, 2M, \"text\", (list), [\"key\": value], %constant, .property"
            }
        };
        let message = format!("expected a value, found {}", self.found());
        self.error(message, help);
        Reported
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

    fn list(&mut self) -> Recovered<Expr> {
        let (elements, span) = self.elements(&Kind::CloseParen, Self::value)?;
        Ok(Expr { span, form: Form::List(elements) })
    }

    fn dict(&mut self) -> Recovered<Expr> {
        let (entries, span) = self.elements(&Kind::CloseBracket, Self::entry)?;
        Ok(Expr { span, form: Form::Dict(entries) })
    }

    fn entry(&mut self) -> Recovered<(Text, Expr)> {
        let span = self.span();
        let key = match self.kind().clone() {
            Kind::Bad => return Err(Reported),
            Kind::Text(text) => text,
            _ => {
                let word = self.rest_of_word(span).split([':', '=']).next().unwrap_or_default();
                let help = format!("write {}: value", quote(word));
                let message = format!("expected a key in quotes, found {}", self.found());
                self.error(message, help);
                if !matches!(self.kind(), Kind::Word(_) | Kind::Int(_)) {
                    return Err(Reported);
                }
                String::new()
            }
        };
        self.at += 1;
        match self.kind() {
            Kind::Colon => self.at += 1,
            Kind::Bad => return Err(Reported),
            kind => {
                let assigned = kind == &Kind::Equal;
                let message = format!("expected `:` after the key, found {}", self.found());
                self.error(message, "write `\"key\": value`");
                if !assigned {
                    return Err(Reported);
                }
                self.at += 1;
            }
        }
        Ok((Text { span, text: key }, self.value()?))
    }

    /// What stands between brackets, separated by commas.
    fn elements<T>(
        &mut self,
        close: &Kind,
        read: fn(&mut Self) -> Recovered<T>,
    ) -> Recovered<(Vec<T>, Span)> {
        let open = self.span();
        let mut elements = Vec::new();
        let mut good = true;
        self.at += 1;
        while self.kind() != close {
            if self.at_safe_place() {
                return Err(if good { self.unclosed(open, close) } else { Reported });
            }
            match read(self) {
                Ok(element) => elements.push(element),
                Err(Reported) => {
                    good = false;
                    self.skip_element(close);
                }
            }
            match self.kind() {
                Kind::Comma => self.at += 1,
                kind if kind == close => {}
                _ if self.at_safe_place() => {}
                Kind::Bad => {
                    good = false;
                    self.skip_element(close);
                }
                kind if starts_value(kind) => {
                    let message =
                        format!("expected `,` or `{}`, found {}", symbol(close), self.found());
                    self.error(message, "put a comma between the elements");
                }
                _ => {
                    let message =
                        format!("expected `,` or `{}`, found {}", symbol(close), self.found());
                    self.error(message, format!("close it with `{}`", symbol(close)));
                    good = false;
                    self.at += 1;
                    self.skip_element(close);
                }
            }
        }
        let span = open.to(self.span());
        self.at += 1;
        if good { Ok((elements, span)) } else { Err(Reported) }
    }

    fn unclosed(&mut self, open: Span, close: &Kind) -> Reported {
        let message = format!("this `{}` is never closed", self.slice(open));
        let help = format!("close it with `{}`", symbol(close));
        self.errors.push(Diagnostic::new(open, message).help(help));
        Reported
    }

    /// Skips to the next comma of a list, or to its end.
    fn skip_element(&mut self, close: &Kind) {
        let mut depth = 0usize;
        while !self.at_safe_place() {
            match self.kind() {
                Kind::OpenParen | Kind::OpenBracket => depth += 1,
                Kind::Comma if depth == 0 => return,
                kind if depth == 0 && kind == close => return,
                Kind::CloseParen | Kind::CloseBracket => depth = depth.saturating_sub(1),
                _ => {}
            }
            self.at += 1;
        }
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
        if self.kind() != &Kind::OpenBrace && !self.missing_open_brace(&sign, header) {
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

    /// Reports that `{` is missing; whether the component has a body all the same.
    fn missing_open_brace(&mut self, sign: &Text, header: Span) -> bool {
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
            self.errors
                .push(Diagnostic::new(header, message).help(write_braces(self.slice(header))));
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

    fn any_of(&mut self) -> Recovered<Logic<Test<Expr>>> {
        let parts = self.series(&Kind::Or, Self::all_of)?;
        Ok(single_or(parts, Logic::Any))
    }

    fn all_of(&mut self) -> Recovered<Logic<Test<Expr>>> {
        let parts = self.series(&Kind::And, Self::negation)?;
        Ok(single_or(parts, Logic::All))
    }

    fn series<T>(
        &mut self,
        between: &Kind,
        read: fn(&mut Self) -> Recovered<T>,
    ) -> Recovered<Vec<T>> {
        let mut parts = vec![read(self)?];
        while self.kind() == between {
            self.at += 1;
            parts.push(read(self)?);
        }
        Ok(parts)
    }

    fn negation(&mut self) -> Recovered<Logic<Test<Expr>>> {
        match self.kind().clone() {
            Kind::Not => {
                self.at += 1;
                let inner = self.nested(Self::negation)?;
                Ok(Logic::Not(Box::new(inner)))
            }
            Kind::OpenParen => {
                let open = self.span();
                self.at += 1;
                let inner = self.nested(Self::any_of)?;
                match self.kind() {
                    Kind::CloseParen => {
                        self.at += 1;
                        Ok(inner)
                    }
                    Kind::Bad => Err(Reported),
                    _ => Err(self.unclosed(open, &Kind::CloseParen)),
                }
            }
            Kind::Variable(name) => {
                let variable = Text { span: self.span(), text: name };
                self.at += 1;
                self.test(variable).map(Logic::Test)
            }
            Kind::Bad => Err(Reported),
            _ => {
                let message = format!("expected a condition, found {}", self.found());
                self.error(
                    message,
                    "a condition is written like `$path ^= \"/v1/\"` or `$path -f`",
                );
                Err(Reported)
            }
        }
    }

    fn test(&mut self, variable: Text) -> Recovered<Test<Expr>> {
        let comparison = match self.kind().clone() {
            Kind::PathTest { check, negated } => {
                if variable.text != "path" {
                    let message = format!("{} does not work on `${}`", self.found(), variable.text);
                    let error = Diagnostic::new(variable.span, message);
                    self.errors.push(error.help("only `$path` can be tested for files"));
                }
                self.at += 1;
                return Ok(Test::Path { check, negated });
            }
            Kind::Compare(comparison) => comparison,
            Kind::Equal => {
                self.error("a single `=` does not compare", "did you mean `==`?");
                Comparison { operator: Operator::Equal, negated: false }
            }
            Kind::Bad => return Err(Reported),
            Kind::OpenBrace | Kind::CloseParen | Kind::And | Kind::Or => {
                let message = format!("`${}` alone is not a condition", variable.text);
                let help = format!("compare it: `${} == \"…\"`", variable.text);
                self.errors.push(Diagnostic::new(variable.span, message).help(help));
                return Err(Reported);
            }
            _ => {
                let message = format!(
                    "expected an operator after `${}`, found {}",
                    variable.text,
                    self.found()
                );
                self.error(
                    message,
                    "operators are == ^= $= *= ~= != !^ !$ !* !~ and -f -d -e -D -E !f !d !e",
                );
                return Err(Reported);
            }
        };
        self.at += 1;
        if matches!(self.kind(), Kind::OpenBrace | Kind::And | Kind::Or | Kind::CloseParen) {
            let message = format!("expected a string after `{comparison}`, found {}", self.found());
            self.error(message, "compare with a string or a list of strings");
            return Err(Reported);
        }
        let right = self.value()?;
        Ok(Test::Compare { variable, comparison, right })
    }

    /// Skips to the `{` that ends a bad condition, if it is to be seen.
    fn skip_condition(&mut self) {
        while !matches!(self.kind(), Kind::OpenBrace | Kind::CloseBrace | Kind::End)
            && !self.at_statement()
        {
            self.at += 1;
        }
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

fn starts_value(kind: &Kind) -> bool {
    matches!(
        kind,
        Kind::Word(_)
            | Kind::Property(_)
            | Kind::Variable(_)
            | Kind::Constant(_)
            | Kind::Text(_)
            | Kind::Int(_)
            | Kind::Size(_)
            | Kind::Duration(_)
            | Kind::OpenParen
            | Kind::OpenBracket
    )
}

fn symbol(kind: &Kind) -> char {
    match kind {
        Kind::CloseParen => ')',
        Kind::CloseBracket => ']',
        _ => '}',
    }
}

fn write_braces(header: &str) -> String {
    match header {
        text if text.len() < 40 && !text.contains('\n') => format!("write `{text} {{ … }}`"),
        _ => "write its properties in `{ … }`".into(),
    }
}

fn single_or<T>(mut parts: Vec<T>, several: fn(Vec<T>) -> T) -> T {
    match (parts.len(), parts.pop()) {
        (1, Some(only)) => only,
        (_, last) => {
            parts.extend(last);
            several(parts)
        }
    }
}
