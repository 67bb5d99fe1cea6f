//! Conditions: `$path ^= "/a" && ($method == "GET" || !$path -f)`.
use super::{Parser, Recovered, Reported};
use crate::config::{
    Diagnostic,
    condition::{Comparison, Logic, Operator, Test},
    lexer::Kind,
    syntax::Expr,
    value::Text,
};

impl Parser<'_> {
    pub(super) fn any_of(&mut self) -> Recovered<Logic<Test<Expr>>> {
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
    pub(super) fn skip_condition(&mut self) {
        while !matches!(self.kind(), Kind::OpenBrace | Kind::CloseBrace | Kind::End)
            && !self.at_statement()
        {
            self.at += 1;
        }
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
