//! The list of paths that are tried one after the other.

use std::borrow::Cow;

use hemi_core::config::{ConfigType, Template};
use hemi_web::WebVar;
use http::StatusCode;
use serde::Deserialize;

/// Paths to be tried in order, perhaps with a status after the last.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(try_from = "Vec<Candidate>")]
pub struct TryList(Vec<Candidate>);

/// What is to be tried.
#[derive(Clone, Debug, Deserialize)]
#[serde(try_from = "Template<WebVar>")]
pub enum Candidate {
    /// A path as requests have it; with a slash at its end it means a directory.
    Path(Template<WebVar>),
    /// No file: an answer with this status.
    Status(StatusCode),
}

/// What can't be tried.
#[derive(Debug, thiserror::Error)]
pub enum NoCandidate {
    #[error("\"{0}\" is no path: begin it with a slash, or write a status like \"=404\"")]
    Relative(String),
    #[error("\"={0}\" is no status that can be answered: write one from 400 to 599 like \"=404\"")]
    Status(String),
    #[error("no file has a name with escapes or a query in it: write $path instead")]
    Encoded,
    #[error("nothing is tried after \"={0}\": put it last")]
    AfterStatus(u16),
}

impl TryFrom<Template<WebVar>> for Candidate {
    type Error = NoCandidate;

    fn try_from(template: Template<WebVar>) -> Result<Self, NoCandidate> {
        if template.variables().any(|var| matches!(var, WebVar::Uri | WebVar::EncodedPath)) {
            return Err(NoCandidate::Encoded);
        }
        match template.literal() {
            Some(text) => match text.strip_prefix('=') {
                Some(code) => match code.parse().ok().filter(is_error) {
                    Some(status) => Ok(Self::Status(status)),
                    None => Err(NoCandidate::Status(code.to_owned())),
                },
                None if text.starts_with('/') => Ok(Self::Path(template)),
                None => Err(NoCandidate::Relative(text.to_owned())),
            },
            None => Ok(Self::Path(template)),
        }
    }
}

fn is_error(status: &StatusCode) -> bool {
    status.is_client_error() || status.is_server_error()
}

impl ConfigType for Candidate {
    fn kind() -> Cow<'static, str> {
        "path, perhaps with variables, or \"=STATUS\"".into()
    }

    fn show(&self) -> String {
        match self {
            Self::Path(template) => template.to_string(),
            Self::Status(status) => format!("={}", status.as_u16()).show(),
        }
    }
}

impl TryFrom<Vec<Candidate>> for TryList {
    type Error = NoCandidate;

    fn try_from(list: Vec<Candidate>) -> Result<Self, NoCandidate> {
        let before_last = list.len().saturating_sub(1);
        let misplaced = list.iter().take(before_last).find_map(|candidate| match candidate {
            Candidate::Path(_) => None,
            Candidate::Status(status) => Some(status.as_u16()),
        });
        misplaced.map_or(Ok(Self(list)), |status| Err(NoCandidate::AfterStatus(status)))
    }
}

impl ConfigType for TryList {
    fn kind() -> Cow<'static, str> {
        Candidate::list_kind()
    }

    fn show(&self) -> String {
        Candidate::show_list(self.0.iter())
    }
}

impl TryList {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn iter(&self) -> std::slice::Iter<'_, Candidate> {
        self.0.iter()
    }

    /// Paths without variables.
    pub(super) fn literals(&self) -> impl Iterator<Item = &str> {
        self.0.iter().filter_map(|candidate| match candidate {
            Candidate::Path(template) => template.literal(),
            Candidate::Status(_) => None,
        })
    }

    /// Whether every request is answered: nothing comes after a status.
    pub(super) fn ends_with_status(&self) -> bool {
        matches!(self.0.last(), Some(Candidate::Status(_)))
    }
}
