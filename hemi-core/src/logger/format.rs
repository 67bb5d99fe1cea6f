//! How records are written.

use std::borrow::Cow;

use serde::de::{Deserialize, Deserializer, Error as _};

use super::escape::{escape_json, escape_text};
use super::{LogSpec, Record};
use crate::config::{AnyVar, ConfigType, Diagnostics, Template, Variable};

/// How a logger writes a record.
#[derive(Clone, Debug)]
pub enum Format {
    /// `"common"`
    Common,
    /// `"combined"`
    Combined,
    /// `"json"`
    Json,
    /// A string with variables.
    Text(Template<AnyVar>),
}

impl<'de> Deserialize<'de> for Format {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let template = Template::deserialize(deserializer)?;
        match template.literal() {
            Some("common") => Ok(Self::Common),
            Some("combined") => Ok(Self::Combined),
            Some("json") => Ok(Self::Json),
            Some(other) => Err(D::Error::unknown_variant(other, &["common", "combined", "json"])),
            None if template.texts().any(|text| text.contains(['\n', '\r'])) => {
                Err(D::Error::custom("a record is one line: it cannot contain a line break"))
            }
            None => Ok(Self::Text(template)),
        }
    }
}

impl ConfigType for Format {
    fn kind() -> Cow<'static, str> {
        "string with variables, or one of \"common\", \"combined\", \"json\"".into()
    }

    fn show(&self) -> String {
        match self {
            Self::Common => "\"common\"".into(),
            Self::Combined => "\"combined\"".into(),
            Self::Json => "\"json\"".into(),
            Self::Text(template) => template.to_string(),
        }
    }
}

/// A [`Format`] over known variables.
pub(super) enum Layout<V> {
    Common,
    Combined,
    Json(Box<[Member<V>]>),
    Text(Template<V>),
}

/// A member of an object.
pub(super) struct Member<V> {
    /// What stands before the value: `{"name":` or `,"name":`.
    head: String,
    /// The value; its fixed parts are escaped.
    value: Template<V>,
    is_number: bool,
}

impl<V: Variable> Layout<V> {
    /// # Errors
    /// For every name that is no variable of `V`.
    pub(super) fn new(spec: &LogSpec) -> Result<Self, Diagnostics> {
        Ok(match &spec.format {
            Format::Common => Self::Common,
            Format::Combined => Self::Combined,
            Format::Text(template) => Self::Text(template.typed(spec.format_span)?),
            Format::Json => Self::Json(members(spec)?),
        })
    }

    pub(super) fn uses(&self, such: &impl Fn(&V) -> bool) -> bool {
        match self {
            Self::Common | Self::Combined => false,
            Self::Json(members) => members.iter().any(|m| m.value.variables().any(such)),
            Self::Text(template) => template.variables().any(such),
        }
    }

    pub(super) fn write(&self, record: &impl Record<V>, line: &mut Vec<u8>) {
        match self {
            Self::Common => record.common(line),
            Self::Combined => record.combined(line),
            Self::Text(template) => template.put(record, line, |line, start| match line.len() {
                len if len == start => line.push(b'-'),
                _ => escape_text(line, start),
            }),
            Self::Json(members) if members.is_empty() => line.extend_from_slice(b"{}"),
            Self::Json(members) => {
                members.iter().for_each(|member| member.write(record, line));
                line.push(b'}');
            }
        }
    }
}

impl<V: Variable> Member<V> {
    fn write(&self, record: &impl Record<V>, line: &mut Vec<u8>) {
        line.extend_from_slice(self.head.as_bytes());
        if self.is_number {
            self.value.put(record, line, |line, start| {
                if line.len() == start {
                    line.extend_from_slice(b"null");
                }
            });
        } else {
            line.push(b'"');
            self.value.put(record, line, escape_json);
            line.push(b'"');
        }
    }
}

fn members<V: Variable>(spec: &LogSpec) -> Result<Box<[Member<V>]>, Diagnostics> {
    let usual = V::logged().iter().map(|name| (name.to_string(), Template::only(name)));
    let fields = match &spec.fields[..] {
        [] => usual.collect(),
        fields => fields.to_vec(),
    };
    let mut errors = Diagnostics::default();
    let mut members = Vec::with_capacity(fields.len());
    for (name, value) in fields {
        let before = if members.is_empty() { '{' } else { ',' };
        let head = format!("{before}\"{}\":", in_json(&name));
        match value.typed::<V>(spec.fields_span) {
            Ok(value) => {
                let is_number = value.variable().is_some_and(V::is_number);
                members.push(Member { head, value: value.map_text(in_json), is_number });
            }
            Err(e) => errors.extend(e),
        }
    }
    if errors.is_empty() { Ok(members.into()) } else { Err(errors) }
}

/// A text as it stands between quotes in JSON.
fn in_json(text: &str) -> String {
    let mut escaped = text.as_bytes().to_vec();
    escape_json(&mut escaped, 0);
    String::from_utf8_lossy(&escaped).into_owned()
}
