//! The conditions of `if` and `elif`: `$a = "b" && ( $c != /^d/ || !$e )`.

use regex::RegexBuilder;

use super::substitute;

/// An expression that can't be read, or whose values are too long.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the expression can't be read")]
pub struct BadExpression;

/// Parentheses and `!` inside each other, at most.
const MAX_DEPTH: usize = 32;

/// Bytes that a compiled regular expression takes, at most.
const REGEX_SIZE: usize = 256 << 10;

/// Whether an expression holds.
///
/// A text alone holds if it is not empty. Texts are compared with `=`, `==`, `!=`, `<`, `<=`, `>` and
/// `>=` as bytes, or with a regular expression between slashes for the first three. Texts stand in
/// quotes, or are words; words in a row are one text with a space between. In all of them, but not in a
/// regular expression, variables are replaced by their values, which are not read as expressions.
///
/// # Errors
/// When it can't be read.
pub fn holds(text: &str, variable: &dyn Fn(&str) -> Option<String>) -> Result<bool, BadExpression> {
    let mut reader = Reader { rest: text, depth: 0, variable };
    let holds = reader.any_of()?;
    reader.rest.trim_start().is_empty().then_some(holds).ok_or(BadExpression)
}

struct Reader<'a> {
    rest: &'a str,
    depth: usize,
    variable: &'a dyn Fn(&str) -> Option<String>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Comparison {
    Equal,
    Unequal,
    AtMost,
    AtLeast,
    Less,
    More,
}

/// Longer ones before those that they begin with.
const COMPARISONS: [(&str, Comparison); 7] = [
    ("==", Comparison::Equal),
    ("!=", Comparison::Unequal),
    ("<=", Comparison::AtMost),
    (">=", Comparison::AtLeast),
    ("=", Comparison::Equal),
    ("<", Comparison::Less),
    (">", Comparison::More),
];

impl<'a> Reader<'a> {
    fn skip(&mut self, token: &str) -> bool {
        let rest = self.rest.trim_start().strip_prefix(token);
        self.rest = rest.unwrap_or(self.rest);
        rest.is_some()
    }

    fn any_of(&mut self) -> Result<bool, BadExpression> {
        let mut holds = self.all_of()?;
        while self.skip("||") {
            holds |= self.all_of()?;
        }
        Ok(holds)
    }

    fn all_of(&mut self) -> Result<bool, BadExpression> {
        let mut holds = self.one()?;
        while self.skip("&&") {
            holds &= self.one()?;
        }
        Ok(holds)
    }

    fn one(&mut self) -> Result<bool, BadExpression> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err(BadExpression);
        }
        let holds = if self.skip("!") {
            !self.one()?
        } else if self.skip("(") {
            let holds = self.any_of()?;
            self.skip(")").then_some(holds).ok_or(BadExpression)?
        } else {
            self.comparison()?
        };
        self.depth -= 1;
        Ok(holds)
    }

    fn comparison(&mut self) -> Result<bool, BadExpression> {
        let left = self.text()?;
        let found = COMPARISONS.iter().find(|(token, _)| self.skip(token));
        let Some((_, comparison)) = found else { return Ok(!left.is_empty()) };
        if matches!(comparison, Comparison::Equal | Comparison::Unequal) && self.skip("/") {
            let matches = self.regex_matches(&left)?;
            return Ok(matches == (*comparison == Comparison::Equal));
        }
        let right = self.text()?;
        Ok(match comparison {
            Comparison::Equal => left == right,
            Comparison::Unequal => left != right,
            Comparison::AtMost => left <= right,
            Comparison::AtLeast => left >= right,
            Comparison::Less => left < right,
            Comparison::More => left > right,
        })
    }

    /// A text in quotes, or words.
    fn text(&mut self) -> Result<String, BadExpression> {
        self.rest = self.rest.trim_start();
        let quote = self.rest.chars().next().filter(|c| matches!(c, '\'' | '"'));
        if let Some(quote) = quote {
            let (text, rest) = self.rest[1..].split_once(quote).ok_or(BadExpression)?;
            self.rest = rest;
            return substitute(text, self.variable).ok_or(BadExpression);
        }
        let is_operator =
            |c| matches!(c, '=' | '!' | '<' | '>' | '&' | '|' | '(' | ')' | '\'' | '"');
        let end = self.rest.find(is_operator).unwrap_or(self.rest.len());
        let (words, rest) = self.rest.split_at(end);
        self.rest = rest;
        let words: Vec<_> = words.split_whitespace().collect();
        if words.is_empty() {
            return Err(BadExpression);
        }
        substitute(&words.join(" "), self.variable).ok_or(BadExpression)
    }

    /// Whether the regular expression, whose first slash was skipped, matches a text.
    fn regex_matches(&mut self, text: &str) -> Result<bool, BadExpression> {
        let mut escaped = false;
        let end = self.rest.find(|c| {
            let ends = c == '/' && !escaped;
            escaped = c == '\\' && !escaped;
            ends
        });
        let (pattern, rest) = self.rest.split_at(end.ok_or(BadExpression)?);
        self.rest = &rest[1..];
        let regex = RegexBuilder::new(pattern).size_limit(REGEX_SIZE).build();
        Ok(regex.map_err(|_| BadExpression)?.is_match(text))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn evaluated(text: &str) -> Result<bool, BadExpression> {
        holds(text, &|name| match name {
            "a" => Some("x".to_owned()),
            "two" => Some("x y".to_owned()),
            "evil" => Some("\" || \"a".to_owned()),
            "path" => Some("/docs/a.html".to_owned()),
            _ => None,
        })
    }

    #[test]
    fn expressions() {
        for (text, expected) in [
            ("$a", true),
            ("$none", false),
            ("!$none", true),
            ("''", false),
            ("word", true),
            ("$a = x", true),
            ("$a=\"x\"", true),
            ("'$a' == 'x'", true),
            ("$a != x", false),
            ("$two = x   y", true),
            ("$two = 'x  y'", false),
            ("$a && $none", false),
            ("$a || $none", true),
            ("$none && $none || $a", true),
            ("$none && ($none || $a)", false),
            ("!($a = x)", false),
            ("!!$a", true),
            ("abc < abd && b > a && a <= a && a >= a", true),
            ("$path = /^\\/docs\\//", true),
            ("$path != /\\.php$/", true),
            ("$path = /a{3}/", false),
            // Values are no expressions.
            ("$evil = ''", false),
            ("'$evil' = ''", false),
            ("$none = ''", true),
        ] {
            assert_eq!(evaluated(text), Ok(expected), "{text}");
        }
        for text in [
            "",
            " ",
            "=",
            "a =",
            "= a",
            "a = = b",
            "(a",
            "a)",
            "()",
            "a b &&",
            "&& a",
            "'a",
            "a = /b",
            "a = /(/",
            "a = /x{1000}{1000}/",
            "a & b",
            "a | b",
            "a 'b'",
            "a = b = c",
            "!",
        ] {
            assert_eq!(evaluated(text), Err(BadExpression), "{text}");
        }
        for (depth, expected) in [(MAX_DEPTH - 1, true), (MAX_DEPTH, false)] {
            let nested = format!("{}a{}", "(".repeat(depth), ")".repeat(depth));
            assert_eq!(evaluated(&nested).is_ok(), expected);
            assert_eq!(evaluated(&format!("{}a", "!".repeat(depth))).is_ok(), expected);
        }
        assert!(evaluated(&"(".repeat(100_000)).is_err());
    }
}
