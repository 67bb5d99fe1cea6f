//! Strings with `$variables` in them, such as `"x-" + $uri`.
use std::{borrow::Cow, fmt, marker::PhantomData};

use serde::de::{Deserialize, Deserializer, Error as _, SeqAccess, Visitor};

use super::{
    de::TEMPLATE,
    diagnostic::{Diagnostic, Diagnostics, suggest},
    literal::quote,
    source::Span,
};

/// A set of variables, such as those of an HTTP request.
pub trait Variable: Clone + Send + Sync + 'static {
    /// The variable written `$name`; `None` if there is none of this name.
    fn named(name: &str) -> Option<Self>;

    /// All names, for suggestions and to find those that stand in quotes. `header_*` stands for every name with
    /// that beginning.
    fn known() -> &'static [&'static str];

    /// Whether its values are numbers in decimal, or empty.
    fn is_number(&self) -> bool {
        false
    }

    /// The names of those that a log in JSON has, unless it is told which.
    fn logged() -> &'static [&'static str] {
        &[]
    }
}

/// A variable of a family that is not known yet: its name, whatever it is. For a component that others
/// use, such as a logger; they know, and give the names their meaning: see [`Template::typed`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AnyVar;

impl Variable for AnyVar {
    fn named(_: &str) -> Option<Self> {
        Some(Self)
    }

    fn known() -> &'static [&'static str] {
        &["*"]
    }
}

/// Something that variables have values in, such as an HTTP request.
pub trait Lookup<V> {
    /// The value of a variable; empty if it has none.
    fn lookup<'a>(&'a self, variable: &'a V) -> Cow<'a, [u8]>;

    /// Appends the value to `text`: for those who can do it without an allocation.
    fn put(&self, variable: &V, text: &mut Vec<u8>) {
        text.extend_from_slice(&self.lookup(variable));
    }

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

    /// The variable, if it consists of nothing else.
    pub fn variable(&self) -> Option<&V> {
        match &self.0[..] {
            [Piece::Variable { variable, .. }] => Some(variable),
            _ => None,
        }
    }

    /// Appends the text to `out`, piece by piece; `escape` sees each value where it was put, with the
    /// place it begins at.
    pub(crate) fn put(
        &self,
        lookup: &impl Lookup<V>,
        out: &mut Vec<u8>,
        escape: impl Fn(&mut Vec<u8>, usize),
    ) {
        for piece in &self.0 {
            match piece {
                Piece::Text(text) => out.extend_from_slice(text.as_bytes()),
                Piece::Variable { variable, .. } => {
                    let start = out.len();
                    lookup.put(variable, out);
                    escape(out, start);
                }
            }
        }
    }

    /// Its fixed parts.
    pub(crate) fn texts(&self) -> impl Iterator<Item = &str> {
        self.0.iter().filter_map(|piece| match piece {
            Piece::Text(text) => Some(&**text),
            Piece::Variable { .. } => None,
        })
    }

    /// The same with its fixed parts changed.
    pub(crate) fn map_text(mut self, change: impl Fn(&str) -> String) -> Self {
        for piece in &mut self.0 {
            if let Piece::Text(text) = piece {
                *text = change(text).into();
            }
        }
        self
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

impl Template<AnyVar> {
    /// The variable of this name, and nothing else.
    pub(crate) fn only(name: &str) -> Self {
        Self(vec![Piece::Variable { name: name.into(), variable: AnyVar }])
    }

    /// Gives the names of its variables their meaning.
    ///
    /// # Errors
    /// For every name that is none, at `span`.
    pub fn typed<V: Variable>(&self, span: Span) -> Result<Template<V>, Diagnostics> {
        let mut errors = Diagnostics::default();
        let typed = self.0.iter().filter_map(|piece| match piece {
            Piece::Text(text) => Some(Piece::Text(text.clone())),
            Piece::Variable { name, .. } => {
                let variable = V::named(name);
                if variable.is_none() {
                    errors.push(unknown_variable::<V>(name, span));
                }
                Some(Piece::Variable { name: name.clone(), variable: variable? })
            }
        });
        let typed = Template(typed.collect());
        if errors.is_empty() { Ok(typed) } else { Err(errors) }
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

        deserializer.deserialize_struct(TEMPLATE, V::known(), Pieces(PhantomData))
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
