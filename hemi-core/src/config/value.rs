//! Values after evaluation: no references and constants are left in them.
use std::{
    fmt,
    hash::{Hash, Hasher},
    time::Duration,
};

use super::{
    literal::{quote, show_duration, show_size},
    source::Span,
};

/// A value and its place. Places do not count in comparisons and hashes.
#[derive(Clone, Debug)]
pub(super) struct Value {
    pub(super) span: Span,
    pub(super) data: Data,
}

#[derive(Clone, Debug, PartialEq, Hash)]
pub(super) enum Data {
    Bool(bool),
    Int(i64),
    Size(u64),
    Duration(Duration),
    Text(String),
    /// A string with at least one variable in it.
    Template(Vec<Part>),
    List(Vec<Value>),
    Dict(Vec<(Text, Value)>),
}

/// A part of a string that is joined with `+`.
#[derive(Clone, Debug, PartialEq, Hash)]
pub(super) enum Part {
    Text(Text),
    Variable(Text),
}

impl Part {
    /// The text, or the name of the variable.
    fn written(&self) -> &str {
        match self {
            Self::Text(text) | Self::Variable(text) => &text.text,
        }
    }
}

/// A string and its place.
#[derive(Clone, Debug)]
pub(super) struct Text {
    pub(super) span: Span,
    pub(super) text: String,
}

impl Data {
    /// About how many bytes a copy takes.
    pub(super) fn weight(&self) -> usize {
        const EACH: usize = 256;
        EACH + match self {
            Self::Bool(_) | Self::Int(_) | Self::Size(_) | Self::Duration(_) => 0,
            Self::Text(text) => text.len(),
            Self::Template(parts) => parts.iter().map(|part| EACH + part.written().len()).sum(),
            Self::List(elements) => elements.iter().map(|element| element.data.weight()).sum(),
            Self::Dict(entries) => {
                entries.iter().map(|(key, value)| key.text.len() + value.data.weight()).sum()
            }
        }
    }
}

impl PartialEq for Value {
    fn eq(&self, other: &Self) -> bool {
        self.data == other.data
    }
}

impl Hash for Value {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.data.hash(state);
    }
}

impl PartialEq for Text {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Hash for Text {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.text.hash(state);
    }
}

/// Shown in error messages, with its type: `the size 1K`.
impl fmt::Display for Data {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bool(value) => write!(f, "{value}"),
            Self::Int(value) => write!(f, "the integer {value}"),
            Self::Size(bytes) => write!(f, "the size {}", show_size(*bytes)),
            Self::Duration(duration) => write!(f, "the duration {}", show_duration(*duration)),
            Self::Text(text) if text.chars().count() > 40 => {
                let start: String = text.chars().take(40).collect();
                write!(f, "the string {}…", quote(&start).trim_end_matches('"'))
            }
            Self::Text(text) => write!(f, "the string {}", quote(text)),
            Self::Template(_) => write!(f, "a string with variables"),
            Self::List(_) => write!(f, "a list"),
            Self::Dict(_) => write!(f, "a dict"),
        }
    }
}
