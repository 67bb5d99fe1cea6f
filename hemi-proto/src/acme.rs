//! What is said to a CA that issues certificates by itself, and what it answers: ACME (RFC 8555), with renewal
//! information (RFC 9773) and profiles.
//!
//! Requests are signed: [`jose`] makes the texts, whoever has the key signs them.

pub mod jose;
mod renewal;
mod resources;

pub use renewal::{Renewal, certificate_id, renew_at, retry_after};
pub use resources::{
    Account, Authorization, Challenge, Directory, Identifier, Order, Problem, State, Step,
};

/// Where a CA looks for the answer to an `http-01` challenge (RFC 8555, 8.3): before the token.
pub const WELL_KNOWN: &str = "/.well-known/acme-challenge/";

/// Whether a token is of the letters that one has (RFC 8555, 8.1), and not too long to be a file's name.
#[must_use]
pub fn is_token(token: &str) -> bool {
    (1..=200).contains(&token.len())
        && token.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
}

/// Whether this is the name of a host, in lower case, as certificates are asked for: of two labels at least, the
/// first of which may be `*`, and short enough to be a file's name.
#[must_use]
pub fn is_host(name: &str) -> bool {
    let host = name.strip_prefix("*.").unwrap_or(name);
    let is_label = |label: &str| {
        (1..=63).contains(&label.len())
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
    };
    host.len() <= 240
        && host.contains('.')
        && host.split('.').all(is_label)
        // An address is none.
        && host.rsplit('.').next().is_some_and(|last| last.bytes().any(|b| !b.is_ascii_digit()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_and_tokens_are_told_from_what_would_be_a_path() {
        for name in ["shop.test", "*.shop.test", "a-b.c3", "xn--bcher-kva.example"] {
            assert!(is_host(name), "{name}");
        }
        let long = format!("{}test", "a.".repeat(130));
        for name in [
            "",
            "localhost",
            "127.0.0.1",
            "::1",
            "*",
            "shop.*",
            "*.test.",
            ".test",
            "a..b",
            "A.test",
            "a/b.test",
            "-a.test",
            "a_.test",
            "*.*.test",
            &long,
        ] {
            assert!(!is_host(name), "{name}");
        }
        assert!(is_token("LoqXcYV8q5ONbJQxbmR7SCTNo3tiAXDfowyjxAjEuX0"));
        assert!(!is_token("") && !is_token("..") && !is_token("a/b") && !is_token("a="));
    }
}
