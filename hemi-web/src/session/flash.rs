//! Messages for the next page that a client sees.

use serde::{Deserialize, Serialize};

use super::{Session, SessionError};

/// The name of the messages in the session.
const FLASHES: &str = "_flash";

/// A message for the next page: what was done, or why it was not.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Flash {
    /// Of which kind it is, in the words of the webapp: `notice`, `error`.
    pub kind: String,
    /// What it says.
    pub text: String,
}

impl Session {
    /// Leaves a message for the next page, as before a redirect.
    ///
    /// # Errors
    /// When the session has something else under the name `_flash`.
    pub fn flash(&self, kind: &str, text: impl Into<String>) -> Result<(), SessionError> {
        let mut flashes: Vec<Flash> = self.value(FLASHES)?.unwrap_or_default();
        flashes.push(Flash { kind: kind.to_owned(), text: text.into() });
        self.set(FLASHES, &flashes)
    }

    /// Takes the messages, to be shown once.
    ///
    /// # Errors
    /// When the session has something else under the name `_flash`.
    pub fn take_flashes(&self) -> Result<Vec<Flash>, SessionError> {
        let flashes = self.value(FLASHES)?.unwrap_or_default();
        self.remove(FLASHES);
        Ok(flashes)
    }
}
