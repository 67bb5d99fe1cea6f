//! Tokens of sessions, and those that forms carry against forged requests.

use std::fmt::Write;

use http::StatusCode;
use sha2::{Digest, Sha256};

use super::{Session, SessionError};

/// What the client's cookie says: 128 random bits. Only its hash is known to the store.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Token(String);

impl Token {
    pub(super) fn random() -> Self {
        Self(hex(&random::<16>()))
    }

    pub(super) fn parse(text: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(text).ok()?;
        let digits = text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        (digits && text.len() == 32).then(|| Self(text.to_owned()))
    }

    pub(super) fn text(&self) -> &str {
        &self.0
    }

    /// The key under which the store has the session.
    pub(super) fn key(&self) -> String {
        hex(&Sha256::digest(&self.0))
    }
}

fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    // Without randomness nothing here is safe; Linux has it once it has started.
    getrandom::fill(&mut bytes).expect("the system has random bytes");
    bytes
}

fn hex(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(2 * bytes.len());
    for byte in bytes {
        // Writing to memory does not fail.
        let _ = write!(text, "{byte:02x}");
    }
    text
}

/// The name of the secret in the session.
const CSRF: &str = "_csrf";

/// A form or request that did not come from a page of this webapp.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the token against forged requests is missing or wrong")]
pub struct CsrfError;

impl CsrfError {
    /// 403
    #[must_use]
    pub fn status(&self) -> StatusCode {
        StatusCode::FORBIDDEN
    }
}

impl Session {
    /// A token for a form of this session, or for a script to send along: see [`Session::check_csrf`]. It
    /// looks different each time, so that compressed pages do not give it away (BREACH).
    ///
    /// # Errors
    /// When the session has something else under the name `_csrf`.
    pub fn csrf_token(&self) -> Result<String, SessionError> {
        let secret = match self.value::<String>(CSRF)? {
            Some(secret) => secret,
            None => {
                let secret = hex(&random::<16>());
                self.set(CSRF, &secret)?;
                secret
            }
        };
        let mask = random::<16>();
        Ok(hex(&mask) + &hex(&masked(&secret, &mask)))
    }

    /// Checks the token that came back with a request that changes something.
    ///
    /// # Errors
    /// When it is not one of this session.
    pub fn check_csrf(&self, token: &str) -> Result<(), CsrfError> {
        let secret = self.value::<String>(CSRF).ok().flatten().ok_or(CsrfError)?;
        let (mask, rest) = token.split_at_checked(32).ok_or(CsrfError)?;
        let mask: Vec<u8> = bytes_of(mask).ok_or(CsrfError)?;
        let expected = hex(&masked(&secret, &mask));
        // In time that does not tell how far it was right.
        let differs = expected.bytes().zip(rest.bytes()).fold(0, |diff, (a, b)| diff | (a ^ b));
        if differs == 0 && rest.len() == expected.len() { Ok(()) } else { Err(CsrfError) }
    }
}

fn masked(secret: &str, mask: &[u8]) -> Vec<u8> {
    let secret = bytes_of(secret).unwrap_or_default();
    secret.iter().zip(mask).map(|(byte, mask)| byte ^ mask).collect()
}

fn bytes_of(hex: &str) -> Option<Vec<u8>> {
    let pairs = hex.as_bytes().chunks(2);
    pairs.map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()).collect()
}
