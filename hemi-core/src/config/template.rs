//! Strings with `$variables` in them, such as `"x-" + $uri`.
use std::{borrow::Cow, fmt, marker::PhantomData};

use serde::de::{Deserialize, Deserializer, Error as _, SeqAccess, Visitor};

use super::{
    de::TEMPLATE,
    diagnostic::{Diagnostic, suggest},
    literal::quote,
    source::Span,
};

/// A set of variables, such as those of an HTTP request.
pub trait Variable: Clone + Send + Sync + 'static {
    /// The variable written `$name`; `None` if there is none of this name.
    fn named(name: &str) -> Option<Self>;

    /// All names, for suggestions. `header_*` stands for every name with that beginning.
    fn known() -> &'static [&'static str];
}

/// Something that variables have values in, such as an HTTP request.
pub trait Lookup<V> {
    /// The value of a variable; empty if it has none.
    fn lookup<'a>(&'a self, variable: &'a V) -> Cow<'a, [u8]>;

    /// Whether the path that `$path` leads to passes a test.
    fn path_is(&self, check: super::PathCheck) -> bool {
        let _ = check;
        false
    }
}

/// A string that may contain variables.
#[derive(Clone)]
pub struct Template<V>(Vec<Piece<V>>);

#[derive(Clone)]
enum Piece<V> {
    Text(Box<str>),
    Variable { name: Box<str>, variable: V },
}

impl<V> Template<V> {
    /// A template without variables.
    pub fn fixed(text: &str) -> Self {
        Self(if text.is_empty() { Vec::new() } else { vec![Piece::Text(text.into())] })
    }

    /// The text, if it contains no variable.
    pub fn literal(&self) -> Option<&str> {
        match &self.0[..] {
            [] => Some(""),
            [Piece::Text(text)] => Some(text),
            _ => None,
        }
    }

    /// Its variables, in order.
    pub fn variables(&self) -> impl Iterator<Item = &V> {
        self.0.iter().filter_map(|piece| match piece {
            Piece::Text(_) => None,
            Piece::Variable { variable, .. } => Some(variable),
        })
    }

    /// The text with the values of its variables. Copies only if it has more than one part.
    pub fn render<'a>(&'a self, lookup: &'a impl Lookup<V>) -> Cow<'a, [u8]> {
        let value = |piece: &'a Piece<V>| match piece {
            Piece::Text(text) => Cow::Borrowed(text.as_bytes()),
            Piece::Variable { variable, .. } => lookup.lookup(variable),
        };
        match &self.0[..] {
            [] => Cow::Borrowed(b""),
            [piece] => value(piece),
            pieces => {
                let mut rendered = Vec::new();
                for piece in pieces {
                    rendered.extend_from_slice(&value(piece));
                }
                Cow::Owned(rendered)
            }
        }
    }
}

impl<V> Default for Template<V> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<V> fmt::Display for Template<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return f.write_str("\"\"");
        }
        for (index, piece) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str(" + ")?;
            }
            match piece {
                Piece::Text(text) => f.write_str(&quote(text))?,
                Piece::Variable { name, .. } => write!(f, "${name}")?,
            }
        }
        Ok(())
    }
}

impl<V> fmt::Debug for Template<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl<'de, V: Variable> Deserialize<'de> for Template<V> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Pieces<V>(PhantomData<fn() -> V>);

        impl<'de, V: Variable> Visitor<'de> for Pieces<V> {
            type Value = Template<V>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string, perhaps with $variables")
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Self::Value, E> {
                Ok(Template::fixed(text))
            }

            /// Texts and names of variables take turns; the first is a text.
            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
                let mut pieces = Vec::new();
                while let Some(text) = seq.next_element::<Cow<'de, str>>()? {
                    if !text.is_empty() {
                        pieces.push(Piece::Text(text.into()));
                    }
                    let Some(name) = seq.next_element::<Cow<'de, str>>()? else { break };
                    let Some(variable) = V::named(&name) else {
                        return Err(A::Error::unknown_variant(&name, V::known()));
                    };
                    pieces.push(Piece::Variable { name: name.into(), variable });
                }
                Ok(Template(pieces))
            }
        }

        deserializer.deserialize_struct(TEMPLATE, &[], Pieces(PhantomData))
    }
}

pub(super) fn unknown_variable<V: Variable>(name: &str, span: Span) -> Diagnostic {
    unknown_variable_of(name, V::known(), span)
}

pub(super) fn unknown_variable_of(name: &str, known: &[&str], span: Span) -> Diagnostic {
    let error = Diagnostic::new(span, format!("unknown variable `${name}`"));
    match suggest(name, known.iter().copied()) {
        Some(close) => {
            // `$headr_host` → `header_*` → `$header_host`
            let close = match (close.strip_suffix('*'), name.split_once('_')) {
                (Some(prefix), Some((_, rest))) => format!("{prefix}{rest}"),
                _ => close.to_owned(),
            };
            error.help(format!("did you mean `${close}`?"))
        }
        None if known.is_empty() => error.help("no variables exist here"),
        None => error.help(format!("known here: ${}", known.join(" $"))),
    }
}
