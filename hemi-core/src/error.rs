//! What can go wrong with a stage.

use std::{fmt, io};

use crate::config::{self, Diagnostic, Diagnostics, Span};

/// An error of the engine: a mistake in a config, or something that the surroundings refuse.
///
/// A thin pointer, so that a `Result` stays small where all is well.
#[derive(Debug)]
pub struct Error(Box<Inner>);

/// A result whose error is [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

#[derive(Debug, thiserror::Error)]
enum Inner {
    /// Mistakes that are still to be shown with their text.
    #[error("{}", .0.iter().map(|d| &*d.message).collect::<Vec<_>>().join("; "))]
    Mistakes(Diagnostics),
    /// Mistakes with their text.
    #[error(transparent)]
    Config(config::Error),
    #[error("{what}: {source}")]
    Env { what: String, source: io::Error },
    #[error("{0}")]
    Other(String),
}

impl Error {
    /// A mistake of the config, at its place.
    pub fn config(span: Span, message: impl Into<String>) -> Self {
        Diagnostic::new(span, message).into()
    }

    /// Something that the surroundings refuse: an address that can't be bound, a file that can't be opened.
    pub fn env(what: impl Into<String>, source: io::Error) -> Self {
        Self(Box::new(Inner::Env { what: what.into(), source }))
    }

    /// Anything else.
    pub fn other(what: impl Into<String>) -> Self {
        Self(Box::new(Inner::Other(what.into())))
    }

    /// The mistakes of the config, with their places, if it was these.
    #[must_use]
    pub fn mistakes(&self) -> Option<&config::Error> {
        match &*self.0 {
            Inner::Config(e) => Some(e),
            _ => None,
        }
    }

    /// The same with the text that mistakes were made in.
    pub(crate) fn shown(self, show: impl FnOnce(Diagnostics) -> config::Error) -> Self {
        match *self.0 {
            Inner::Mistakes(mistakes) => show(mistakes).into(),
            _ => self,
        }
    }

    /// As entries of the list that is shown when the whole config was seen.
    pub(crate) fn into_diagnostics(self, span: Span) -> Diagnostics {
        match *self.0 {
            Inner::Mistakes(diagnostics) => diagnostics,
            other => Diagnostic::new(span, other.to_string()).into(),
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        std::error::Error::source(&*self.0)
    }
}

impl From<Diagnostic> for Error {
    fn from(diagnostic: Diagnostic) -> Self {
        Diagnostics::from(diagnostic).into()
    }
}

impl From<Diagnostics> for Error {
    fn from(diagnostics: Diagnostics) -> Self {
        Self(Box::new(Inner::Mistakes(diagnostics)))
    }
}

impl From<config::Error> for Error {
    fn from(error: config::Error) -> Self {
        Self(Box::new(Inner::Config(error)))
    }
}
