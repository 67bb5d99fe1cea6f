//! Challenges (RFC 9110, 11): the realm, which is what the client is told it asks for, and what comes back.

use std::borrow::Cow;

use hemi_core::config::ConfigType;
use http::HeaderValue;
use serde::Deserialize;

/// A text that can be the realm of a challenge.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub(crate) struct Realm(String);

/// A text that can't.
#[derive(Debug, thiserror::Error)]
#[error("a realm has no control characters, such as line ends")]
pub(crate) struct BadRealm;

impl TryFrom<String> for Realm {
    type Error = BadRealm;

    fn try_from(text: String) -> Result<Self, BadRealm> {
        if text.chars().any(char::is_control) { Err(BadRealm) } else { Ok(Self(text)) }
    }
}

impl Default for Realm {
    fn default() -> Self {
        Self("restricted".to_owned())
    }
}

impl ConfigType for Realm {
    fn kind() -> Cow<'static, str> {
        String::kind()
    }

    fn show(&self) -> String {
        self.0.show()
    }
}

impl Realm {
    /// A challenge of this scheme; `more` is what comes after the realm.
    pub(crate) fn challenge(&self, scheme: &str, more: &str) -> HeaderValue {
        let quoted = self.0.replace('\\', "\\\\").replace('"', "\\\"");
        let challenge = format!("{scheme} realm=\"{quoted}\"{more}");
        HeaderValue::try_from(challenge).unwrap_or(HeaderValue::from_static("Basic"))
    }
}

/// What follows a scheme in a field Authorization; none if that has another scheme.
pub(crate) fn credentials<'f>(field: &'f [u8], scheme: &str) -> Option<&'f [u8]> {
    let (start, rest) = field.split_at_checked(scheme.len())?;
    let rest = rest.strip_prefix(b" ")?;
    start.eq_ignore_ascii_case(scheme.as_bytes()).then(|| rest.trim_ascii())
}
