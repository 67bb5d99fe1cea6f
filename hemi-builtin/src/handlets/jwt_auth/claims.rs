//! What tokens claim (RFC 7519), and whether that is enough.

use serde_json::{Map, Value};

/// The claims of a token whose signature is right.
pub(super) type Claims = Map<String, Value>;

/// What a token must claim.
#[derive(Debug)]
pub(super) struct Expected {
    /// Seconds that clocks may differ.
    pub(super) leeway: f64,
    /// Of which one must be the issuer; none for any.
    pub(super) issuers: Vec<String>,
    /// Of which one must be among those the token is for; none for tokens that are for nobody special.
    pub(super) audiences: Vec<String>,
    /// Claims that must be there.
    pub(super) required: Vec<String>,
}

/// Why a token is refused, as the client is told.
pub(super) type Flaw = &'static str;

impl Expected {
    /// Checks claims at a time in seconds since 1970; gives the time until which they hold.
    pub(super) fn check(&self, claims: &Claims, now: f64) -> Result<f64, Flaw> {
        if self.required.iter().any(|name| claims.get(name).is_none_or(Value::is_null)) {
            return Err("a claim is missing");
        }
        let until = date(claims, "exp")?.map_or(f64::INFINITY, |exp| exp + self.leeway);
        if now >= until {
            return Err("the token has expired");
        }
        if date(claims, "nbf")?.is_some_and(|nbf| now < nbf - self.leeway) {
            return Err("the token is not valid yet");
        }
        let issuer = claims.get("iss").and_then(Value::as_str);
        if !self.issuers.is_empty() && !self.issuers.iter().any(|known| issuer == Some(known)) {
            return Err("the token is of another issuer");
        }
        // Who is not named must not take it (RFC 7519, 4.1.3).
        let for_us = match claims.get("aud") {
            Some(aud) => strings(aud).any(|aud| self.audiences.iter().any(|own| own == aud)),
            None => self.audiences.is_empty(),
        };
        if for_us { Ok(until) } else { Err("the token is for another audience") }
    }
}

fn date(claims: &Claims, name: &str) -> Result<Option<f64>, Flaw> {
    match claims.get(name) {
        None => Ok(None),
        Some(value) => value.as_f64().map(Some).ok_or("a date is not a number"),
    }
}

/// The strings of a value that is one, or a list of them.
fn strings(value: &Value) -> impl Iterator<Item = &str> {
    let list = value.as_array().map_or(std::slice::from_ref(value), Vec::as_slice);
    list.iter().filter_map(Value::as_str)
}

/// Whether this scope is granted: by `scope`, words (RFC 8693, 4.2), or `scp`, a list of them.
pub(super) fn grants(claims: &Claims, scope: &str) -> bool {
    let granted = ["scope", "scp"].into_iter().filter_map(|name| claims.get(name));
    granted.flat_map(strings).flat_map(|words| words.split(' ')).any(|word| word == scope)
}

/// The value of a claim as the text of a field; none if it is not there, or an object.
pub(super) fn text(claims: &Claims, name: &str) -> Option<String> {
    match claims.get(name)? {
        Value::String(text) => Some(text.clone()),
        value @ (Value::Number(_) | Value::Bool(_)) => Some(value.to_string()),
        value @ Value::Array(_) => Some(strings(value).collect::<Vec<_>>().join(", ")),
        Value::Null | Value::Object(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn claims(json: &str) -> Claims {
        serde_json::from_str(json).unwrap()
    }

    fn expected(issuers: &[&str], audiences: &[&str], required: &[&str]) -> Expected {
        let all = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        let (issuers, audiences, required) = (all(issuers), all(audiences), all(required));
        Expected { leeway: 60.0, issuers, audiences, required }
    }

    #[test]
    fn times_hold_within_the_leeway() {
        let expected = expected(&[], &[], &[]);
        for (json, now, result) in [
            (r#"{"exp": 1000}"#, 1059.9, Ok(1060.0)),
            (r#"{"exp": 1000.5}"#, 1060.0, Ok(1060.5)),
            (r#"{"exp": 1000}"#, 1060.0, Err("the token has expired")),
            (r#"{"exp": -1e300}"#, 0.0, Err("the token has expired")),
            (r#"{"nbf": 1000}"#, 940.0, Ok(f64::INFINITY)),
            (r#"{"nbf": 1000}"#, 939.0, Err("the token is not valid yet")),
            (r#"{"exp": "1000"}"#, 0.0, Err("a date is not a number")),
            (r#"{"nbf": null}"#, 0.0, Err("a date is not a number")),
            ("{}", 1e10, Ok(f64::INFINITY)),
        ] {
            assert_eq!(expected.check(&claims(json), now), result, "{json}");
        }
    }

    #[test]
    fn it_matters_who_issued_a_token_and_for_whom() {
        for (issuers, audiences, json, good) in [
            (&[][..], &[][..], r#"{"iss": "x"}"#, true),
            (&["a", "b"], &[], r#"{"iss": "b"}"#, true),
            (&["a", "b"], &[], r#"{"iss": "c"}"#, false),
            (&["a"], &[], r#"{"iss": ["a"]}"#, false),
            (&["a"], &[], "{}", false),
            (&[], &["me"], r#"{"aud": "me"}"#, true),
            (&[], &["me", "us"], r#"{"aud": ["you", "us", 1]}"#, true),
            (&[], &["me"], r#"{"aud": "you"}"#, false),
            (&[], &["me"], r#"{"aud": []}"#, false),
            (&[], &["me"], r#"{"aud": null}"#, false),
            (&[], &["me"], "{}", false),
            (&[], &[], r#"{"aud": "you"}"#, false),
        ] {
            let checked = expected(issuers, audiences, &[]).check(&claims(json), 0.0);
            assert_eq!(checked.is_ok(), good, "{json} {checked:?}");
        }
        let strict = expected(&[], &[], &["exp", "sub"]);
        assert!(strict.check(&claims(r#"{"exp": 1, "sub": ""}"#), 0.0).is_ok());
        for json in [r#"{"exp": 1}"#, r#"{"exp": 1, "sub": null}"#, r#"{"sub": "a"}"#] {
            assert_eq!(strict.check(&claims(json), 0.0), Err("a claim is missing"), "{json}");
        }
    }

    #[test]
    fn scopes_are_words() {
        for (json, granted) in [
            (r#"{"scope": "read write"}"#, true),
            (r#"{"scp": ["read"]}"#, true),
            (r#"{"scp": "read"}"#, true),
            (r#"{"scope": "reader"}"#, false),
            (r#"{"scope": 1}"#, false),
            ("{}", false),
        ] {
            assert_eq!(grants(&claims(json), "read"), granted, "{json}");
        }
    }

    #[test]
    fn claims_become_text() {
        let claims =
            claims(r#"{"s": "a", "n": 1.5, "b": true, "l": ["x", 1, "y"], "o": {}, "z": null}"#);
        for (name, expected) in [
            ("s", Some("a")),
            ("n", Some("1.5")),
            ("b", Some("true")),
            ("l", Some("x, y")),
            ("o", None),
            ("z", None),
            ("none", None),
        ] {
            assert_eq!(text(&claims, name).as_deref(), expected, "{name}");
        }
    }
}
