//! Changes to the fields of a message, as configs write them.

use std::borrow::Cow;
use std::sync::Arc;

use hemi_core::config::{ConfigType, Lookup, Template};
use hemi_proto::fields::FieldLines;
use hemi_web::WebVar;
use http::header::{
    CONNECTION, CONTENT_LENGTH, HOST, HeaderMap, HeaderName, HeaderValue, TE, TRAILER,
    TRANSFER_ENCODING, UPGRADE,
};
use serde::Deserialize;

/// Fields to take away, then fields to set instead of what is there, then fields to add.
///
/// A value that comes out empty, or that no field can have, is not put anywhere; what it was to be set
/// instead of goes all the same. No variable can begin another line.
#[derive(Debug, Default)]
pub(crate) struct FieldEdits {
    removed: Vec<FieldName>,
    set: Vec<(FieldName, FieldValue)>,
    added: Vec<(FieldName, FieldValue)>,
}

/// The same with the values of its variables.
#[derive(Debug)]
pub(crate) struct RenderedEdits {
    edits: Arc<FieldEdits>,
    /// Of fields to set, then of those to add.
    values: Vec<Option<HeaderValue>>,
}

impl FieldEdits {
    pub(crate) fn new(
        removed: Vec<FieldName>,
        set: Vec<(FieldName, FieldValue)>,
        added: Vec<(FieldName, FieldValue)>,
    ) -> Self {
        Self { removed, set, added }
    }

    /// The same, which takes another field away too.
    pub(crate) fn without(mut self, name: HeaderName) -> Self {
        self.removed.push(FieldName(name));
        self
    }

    /// Whether there is nothing to change.
    pub(crate) fn is_empty(&self) -> bool {
        self.removed.is_empty() && self.set.is_empty() && self.added.is_empty()
    }

    /// Whether fields of this name, in any case, do not stay as they are.
    pub(crate) fn replaces(&self, name: &[u8]) -> bool {
        let mut gone = self.removed.iter().chain(self.set.iter().map(|(name, _)| name));
        gone.any(|FieldName(gone)| name.eq_ignore_ascii_case(gone.as_str().as_bytes()))
    }

    /// Puts the fields to set and to add, with the values of their variables.
    pub(crate) fn put(&self, lookup: &impl Lookup<WebVar>, lines: &mut FieldLines) {
        for (FieldName(name), value) in self.set.iter().chain(&self.added) {
            if let Some(value) = value.render(lookup) {
                lines.put(name, &value);
            }
        }
    }

    /// Gives the variables their values.
    pub(crate) fn render(self: &Arc<Self>, lookup: &impl Lookup<WebVar>) -> RenderedEdits {
        let values = self.set.iter().chain(&self.added).map(|(_, value)| value.render(lookup));
        RenderedEdits { values: values.collect(), edits: self.clone() }
    }
}

impl RenderedEdits {
    /// Makes the changes.
    pub(crate) fn apply(self, fields: &mut HeaderMap) {
        let FieldEdits { removed, set, added } = &*self.edits;
        let mut values = self.values.into_iter();
        for FieldName(name) in removed {
            fields.remove(name);
        }
        for ((FieldName(name), _), value) in set.iter().zip(values.by_ref()) {
            match value {
                Some(value) => fields.insert(name, value),
                None => fields.remove(name),
            };
        }
        for ((FieldName(name), _), value) in added.iter().zip(values) {
            if let Some(value) = value {
                fields.append(name, value);
            }
        }
    }
}

/// The name of a field that may be changed: any but those that are about the connection.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Deserialize)]
#[serde(try_from = "String")]
pub(crate) struct FieldName(pub(crate) HeaderName);

/// A text that is no such name.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BadFieldName {
    #[error("\"{0}\" is not the name of a field: write letters, digits and `-`")]
    NoName(String),
    #[error("the field \"{0}\" is about the connection, and not to be changed")]
    OfConnection(HeaderName),
    #[error(
        "the field \"host\" is about the connection, and not to be changed: `.host` of `httpProxy` says which one nodes are asked for"
    )]
    Host,
}

impl TryFrom<String> for FieldName {
    type Error = BadFieldName;

    fn try_from(text: String) -> Result<Self, BadFieldName> {
        let name = HeaderName::try_from(&text).map_err(|_| BadFieldName::NoName(text))?;
        let of_connection = [CONNECTION, CONTENT_LENGTH, TE, TRAILER, TRANSFER_ENCODING, UPGRADE];
        let obsolete = ["keep-alive", "proxy-connection"];
        if name == HOST {
            return Err(BadFieldName::Host);
        }
        if of_connection.contains(&name) || obsolete.contains(&name.as_str()) {
            return Err(BadFieldName::OfConnection(name));
        }
        Ok(Self(name))
    }
}

impl ConfigType for FieldName {
    fn kind() -> Cow<'static, str> {
        "field name".into()
    }

    fn show(&self) -> String {
        self.0.as_str().to_owned().show()
    }
}

/// The value of a field, perhaps with variables.
#[derive(Clone, Debug, Deserialize)]
#[serde(try_from = "Template<WebVar>")]
pub(crate) enum FieldValue {
    Fixed(HeaderValue),
    Template(Template<WebVar>),
}

/// A text that no field can have as its value.
#[derive(Debug, thiserror::Error)]
#[error("a field cannot have this value: it has a control character, such as a line end")]
pub(crate) struct BadFieldValue;

impl TryFrom<Template<WebVar>> for FieldValue {
    type Error = BadFieldValue;

    fn try_from(template: Template<WebVar>) -> Result<Self, BadFieldValue> {
        match template.literal() {
            Some(text) => HeaderValue::from_str(text).map(Self::Fixed).map_err(|_| BadFieldValue),
            None => Ok(Self::Template(template)),
        }
    }
}

impl FieldValue {
    /// The value; none if it is empty, or one that no field can have.
    pub(crate) fn render(&self, lookup: &impl Lookup<WebVar>) -> Option<HeaderValue> {
        let value = match self {
            Self::Fixed(value) => Some(value.clone()),
            Self::Template(template) => HeaderValue::from_bytes(&template.render(lookup)).ok(),
        };
        value.filter(|value| !value.is_empty())
    }
}

impl ConfigType for FieldValue {
    fn kind() -> Cow<'static, str> {
        Template::<WebVar>::kind()
    }

    fn show(&self) -> String {
        match self {
            Self::Fixed(value) => String::from_utf8_lossy(value.as_bytes()).into_owned().show(),
            Self::Template(template) => template.show(),
        }
    }
}
