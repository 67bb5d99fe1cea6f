//! Values: `1`, `"a" + %topDir`, `("a", "b")`, `["k": 1]`.
use super::{Parser, Recovered, Reported};
use crate::config::{
    Diagnostic, Span,
    lexer::Kind,
    literal::quote,
    syntax::{Expr, Form},
    value::{Data, Text},
};

impl Parser<'_> {
    pub(super) fn value(&mut self) -> Recovered<Expr> {
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

    pub(super) fn unclosed(&mut self, open: Span, close: &Kind) -> Reported {
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
}

pub(super) fn starts_value(kind: &Kind) -> bool {
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
