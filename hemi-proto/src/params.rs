//! Values with parameters: `text/html; charset=utf-8`, `form-data; name="a"` (RFC 9110 section 5.6.6).

use std::borrow::Cow;

use crate::ascii::{is_token, trim_ows};

/// What comes before the parameters of a value, and the parameters.
pub fn split(value: &[u8]) -> (&[u8], Params<'_>) {
    let end = memchr::memchr(b';', value).unwrap_or(value.len());
    let (essence, params) = value.split_at_checked(end).unwrap_or((value, &[]));
    (trim_ows(essence), Params(params))
}

/// The parameters of a value, in order: names in the case they came in, values without their quotes.
///
/// In quotes a backslash escapes a quote or a backslash, and otherwise stands for itself: there are
/// clients that send file names of Windows as they are.
#[derive(Clone, Debug)]
pub struct Params<'a>(&'a [u8]);

/// A parameter that is not `token=token` or `token="text"`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("malformed parameter")]
pub struct BadParam;

impl<'a> Iterator for Params<'a> {
    type Item = Result<(&'a [u8], Cow<'a, [u8]>), BadParam>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            self.0 = trim_ows(self.0);
            match self.0 {
                [] => return None,
                // Empty parameters are allowed.
                [b';', rest @ ..] => self.0 = trim_ows(rest),
                _ => return Some(self.bad()),
            }
            if !matches!(self.0, [] | [b';', ..]) {
                return Some(self.param().ok_or(BadParam).or_else(|BadParam| self.bad()));
            }
        }
    }
}

impl<'a> Params<'a> {
    /// An error, after which nothing comes.
    fn bad<T>(&mut self) -> Result<T, BadParam> {
        self.0 = &[];
        Err(BadParam)
    }

    fn param(&mut self) -> Option<(&'a [u8], Cow<'a, [u8]>)> {
        let name = self.token()?;
        self.0 = self.0.strip_prefix(b"=")?;
        let value = match self.0 {
            [b'"', ..] => self.quoted()?,
            _ => self.token()?.into(),
        };
        Some((name, value))
    }

    fn token(&mut self) -> Option<&'a [u8]> {
        let end = self.0.iter().position(|&b| !is_token(b)).unwrap_or(self.0.len());
        let (token, rest) = self.0.split_at_checked(end).filter(|(token, _)| !token.is_empty())?;
        self.0 = rest;
        Some(token)
    }

    fn quoted(&mut self) -> Option<Cow<'a, [u8]>> {
        let text = self.0.get(1..)?;
        let mut unescaped = Vec::new();
        let mut from = 0;
        let mut at = 0;
        loop {
            at += memchr::memchr2(b'"', b'\\', text.get(at..)?)?;
            match text.get(at..)? {
                [b'\\', b'"' | b'\\', ..] => {
                    unescaped.extend_from_slice(text.get(from..at)?);
                    from = at + 1;
                    at += 2;
                }
                [b'\\', ..] => at += 1,
                _ => break,
            }
        }
        self.0 = text.get(at + 1..)?;
        let last = text.get(from..at)?;
        if from == 0 {
            return Some(last.into());
        }
        unescaped.extend_from_slice(last);
        Some(unescaped.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn read() {
        for (value, essence, expected) in [
            ("", "", vec![]),
            ("text/html", "text/html", vec![]),
            (" text/html ;", "text/html", vec![]),
            ("a;;; ;\tb=c ; ", "a", vec![("b", "c")]),
            ("a;B=c;d=\"e\"", "a", vec![("B", "c"), ("d", "e")]),
            ("a; b=\"\"; c=\" ; \"", "a", vec![("b", ""), ("c", " ; ")]),
            (r#"a; b="\"c\\""#, "a", vec![("b", r#""c\"#)]),
            (r#"a; b="C:\d\e.txt"; f=g"#, "a", vec![("b", r"C:\d\e.txt"), ("f", "g")]),
            (r#"a; b="\\\"\\";c=d"#, "a", vec![("b", r#"\"\"#), ("c", "d")]),
        ] {
            let (found, params) = split(value.as_bytes());
            assert_eq!(found, essence.as_bytes(), "{value}");
            let params: Result<Vec<_>, _> = params.collect();
            let expected: Vec<_> =
                expected.iter().map(|(n, v)| (n.as_bytes(), v.as_bytes().into())).collect();
            assert_eq!(params, Ok(expected), "{value}");
        }
    }

    #[test]
    fn refused() {
        for value in [
            "a; b",
            "a; b=",
            "a; =c",
            "a; b =c",
            "a; b= c",
            "a; b=c d",
            "a; b=c d=e",
            "a; b=\"c",
            "a; b=\"c\\\"",
            "a; b=\"c\"d",
            "a; b=é",
            "a; b=c/d",
        ] {
            let (_, params) = split(value.as_bytes());
            assert_eq!(params.last(), Some(Err(BadParam)), "{value}");
        }
    }
}
