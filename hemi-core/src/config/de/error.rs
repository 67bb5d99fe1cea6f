//! Why reading failed.
use std::fmt;

use serde::de::{self, Expected};

use crate::config::{
    Diagnostic, Scope, Span,
    diagnostic::suggest,
    literal::quote,
    value::{Data, Part, Text, Value},
};

/// Why reading failed; what serde reports has no place at first.
#[derive(Debug)]
pub(super) enum ReadError {
    /// In [`Reading::bad`].
    Noted,
    Placed(Box<Diagnostic>),
    Message(String),
    /// A value of another type than this.
    Expected(String),
    Unknown {
        given: String,
        known: &'static [&'static str],
    },
    Missing(&'static str),
}

impl ReadError {
    /// Gives an error that comes from within a value its place.
    pub(super) fn at(self, value: &Value) -> Self {
        let Value { span, data } = value;
        let error = match self {
            Self::Noted | Self::Placed(_) => return self,
            Self::Message(message) => Diagnostic::new(*span, message),
            Self::Expected(expected) => expected_but(value, &expected),
            Self::Unknown { given, known } => unknown_word(*span, &given, known),
            Self::Missing(key) => Diagnostic::new(*span, format!("{data} lacks the key \"{key}\""))
                .help(format!("add \"{key}\": value")),
        };
        error.into()
    }

    /// An error outside any value.
    pub(super) fn of_component(self, scope: Scope<'_>) -> Diagnostic {
        match self {
            Self::Placed(error) => *error,
            Self::Missing(name) => {
                let message = format!("`{}` needs the property `.{name}`", scope.sign());
                scope.diagnostic(message).help(format!("add `.{name} = …`"))
            }
            Self::Noted => scope.diagnostic("a property is bad"),
            Self::Message(message) | Self::Expected(message) => scope.diagnostic(message),
            Self::Unknown { given, .. } => scope.diagnostic(format!("unknown `{given}`")),
        }
    }
}

impl From<Diagnostic> for ReadError {
    fn from(error: Diagnostic) -> Self {
        Self::Placed(Box::new(error))
    }
}

impl fmt::Display for ReadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Placed(error) => f.write_str(&error.message),
            Self::Message(message) | Self::Expected(message) => f.write_str(message),
            Self::Unknown { given, .. } => write!(f, "unknown `{given}`"),
            Self::Missing(name) => write!(f, "missing `{name}`"),
            Self::Noted => f.write_str("a property is bad"),
        }
    }
}

impl std::error::Error for ReadError {}

impl de::Error for ReadError {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self::Message(message.to_string())
    }

    fn invalid_type(_: de::Unexpected<'_>, expected: &dyn Expected) -> Self {
        Self::Expected(expected.to_string())
    }

    fn invalid_value(_: de::Unexpected<'_>, expected: &dyn Expected) -> Self {
        Self::Expected(expected.to_string())
    }

    fn invalid_length(length: usize, expected: &dyn Expected) -> Self {
        Self::Message(format!("expected {expected}, found {length}"))
    }

    fn unknown_variant(given: &str, known: &'static [&'static str]) -> Self {
        Self::Unknown { given: given.to_owned(), known }
    }

    fn missing_field(field: &'static str) -> Self {
        Self::Missing(field)
    }
}

pub(super) fn expected_but(value: &Value, expected: &str) -> Diagnostic {
    let Value { span, data } = value;
    if let Data::Template(parts) = data {
        let variable = parts.iter().find_map(|part| match part {
            Part::Variable(name) => Some(name),
            Part::Text(_) => None,
        });
        if let Some(Text { span, text }) = variable {
            return Diagnostic::new(*span, format!("the variable `${text}` is not allowed here"))
                .help(format!("write {expected} without variables"));
        }
    }
    Diagnostic::new(*span, format!("expected {expected}, found {data}"))
}

pub(super) fn unknown_word(span: Span, given: &str, known: &[&str]) -> Diagnostic {
    let all: Vec<_> = known.iter().map(|word| quote(word)).collect();
    let all = all.join(", ");
    let help = match (suggest(given, known.iter().copied()), known) {
        (Some(close), _) => format!("did you mean {}? It may be {all}", quote(close)),
        (None, [_]) => format!("it can only be {all}"),
        (None, _) => format!("it may be {all}"),
    };
    Diagnostic::new(span, format!("{} is not known here", quote(given))).help(help)
}
