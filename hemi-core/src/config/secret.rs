//! What is secret in a config: texts that are not shown to those who look at it.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::fmt;

use serde::Deserialize;

use super::diagnostic::Diagnostics;
use super::explain::ConfigType;
use super::lexer::{Kind, lex};
use crate::Registry;

/// A text that nobody is shown, such as a key.
#[derive(Clone, PartialEq, Eq, Hash, Deserialize)]
#[serde(transparent)]
pub struct Secret(String);

impl Secret {
    /// The text, to be used and not shown.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(HIDDEN)
    }
}

impl ConfigType for Secret {
    fn kind() -> Cow<'static, str> {
        "secret".into()
    }

    fn show(&self) -> String {
        HIDDEN.to_owned()
    }
}

/// Stands where something is secret.
const HIDDEN: &str = "\"…\"";

/// The text of a config without what is secret: the texts of properties whose kind, in any component, is a
/// secret or has to do with passwords, and passwords in URLs.
#[must_use]
pub fn hide_secrets(text: &str, registry: &Registry) -> String {
    let properties = registry.entries().flat_map(|entry| entry.properties());
    let secret = properties
        .filter(|property| property.kind.contains("secret") || property.kind.contains("password"));
    hide(text, &secret.map(|property| property.name).collect())
}

fn hide(text: &str, properties: &BTreeSet<&str>) -> String {
    let tokens = lex(0, text, &mut Diagnostics::default()).tokens;
    let (mut shown, mut at, mut secret) = (String::with_capacity(text.len()), 0, false);
    for (index, token) in tokens.iter().enumerate() {
        let (start, end) = (token.span.start as usize, token.span.end as usize);
        match &token.kind {
            Kind::Property(name) => secret = properties.contains(&**name),
            Kind::OpenBrace | Kind::CloseBrace => secret = false,
            // The sign of the next component.
            Kind::Word(word) if word != "true" && word != "false" => secret = false,
            Kind::Text(_) => {
                let is_key = tokens.get(index + 1).is_some_and(|next| next.kind == Kind::Colon);
                let written = &text[start..end];
                let instead = match secret && !is_key {
                    true => HIDDEN.to_owned(),
                    false => without_password(written),
                };
                shown += &text[at..start];
                shown += &instead;
                at = end;
            }
            _ => {}
        }
    }
    shown + &text[at..]
}

/// A text in quotes, without the password of the URL it may be.
fn without_password(written: &str) -> String {
    let parts = written.split_once("://").and_then(|(scheme, rest)| {
        let (user, host) = rest.split_at(rest.find('@')?);
        let (name, _) = user.split_once(':')?;
        (!user.contains('/')).then(|| format!("{scheme}://{name}:…{host}"))
    });
    parts.unwrap_or_else(|| written.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_secret_is_hidden() {
        let secret = BTreeSet::from(["secret", "users"]);
        for (text, expected) in [
            ("a { .secret = \"x\" b \"y\" {} }", "a { .secret = \"…\" b \"y\" {} }"),
            (
                ".secret = %env.X + `x` + \"y\" .c = \"z\"",
                ".secret = %env.X + \"…\" + \"…\" .c = \"z\"",
            ),
            (
                ".users = [\"ada\": \"x\", \"bob\": \"y\"]",
                ".users = [\"ada\": \"…\", \"bob\": \"…\"]",
            ),
            (".url = \"redis://me:x@h/0\"", ".url = \"redis://me:…@h/0\""),
            (".url = \"http://h:80/a@b\"", ".url = \"http://h:80/a@b\""),
            ("// é \"x\"\n.secret = \"é\"", "// é \"x\"\n.secret = \"…\""),
            ("", ""),
        ] {
            assert_eq!(hide(text, &secret), expected, "{text}");
        }
        assert_eq!(format!("{:?}", Secret("x".into())), HIDDEN);
    }
}
