//! One value as what serde asks for.
use std::borrow::Cow;

use serde::de::{self, Deserializer, Visitor};

use super::{
    REF, Reading, SEVERAL, SIZE, SPANNED, TEMPLATE,
    access::{Elements, Entries, Pairs, WithSpan, Word},
    error::{ReadError, expected_but, unknown_word},
    quoted::variable_in_quotes,
};
use crate::config::{
    Diagnostic, Span,
    literal::{Number, parse_number, quote, show_size},
    template::unknown_variable_of,
    value::{Data, Part, Value},
};

/// What [`std::time::Duration`] asks for.
const DURATION: &str = "Duration";

/// One value.
#[derive(Clone, Copy)]
pub(super) struct ValueDe<'r, 'a> {
    pub(super) reading: &'r Reading<'a>,
    pub(super) value: &'r Value,
}

macro_rules! integers {
    ($($method:ident $visit:ident $type:ty,)*) => { $(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
            let range = (i128::try_from(<$type>::MIN), i128::try_from(<$type>::MAX));
            let value = self.integer(range.0.unwrap_or(i128::MIN), range.1.unwrap_or(i128::MAX))?;
            match <$type>::try_from(value) {
                Ok(value) => visitor.$visit(value).map_err(|error: ReadError| error.at(self.value)),
                Err(_) => Err(ReadError::Expected("another integer".into()).at(self.value)),
            }
        }
    )* };
}

impl<'r, 'a> ValueDe<'r, 'a> {
    pub(super) fn with(self, value: &'r Value) -> Self {
        Self { value, ..self }
    }

    fn expected(self, expected: &str) -> Diagnostic {
        expected_but(self.value, expected)
    }

    fn integer(self, min: i128, max: i128) -> Result<i64, ReadError> {
        let expected = match (min, max) {
            (0, max) if max < i128::from(u32::MAX) => format!("an integer from 0 to {max}"),
            (0, _) => "an integer that is not negative".into(),
            (min, max) if max <= i128::from(i32::MAX) => format!("an integer from {min} to {max}"),
            _ => "an integer".into(),
        };
        let error = self.expected(&expected);
        Err(match &self.value.data {
            Data::Int(int) if (min..=max).contains(&i128::from(*int)) => return Ok(*int),
            Data::Int(_) => error.help("choose a value in that range"),
            Data::Size(bytes) => {
                error.help(format!("this property has no unit; {} is {bytes}", show_size(*bytes)))
            }
            Data::Duration(_) => error.help("this property has no unit"),
            Data::Text(text) => match parse_number(text) {
                Ok(Number::Int(_)) => error.help(format!("write {text} without quotes")),
                _ => error.help("write a number without quotes"),
            },
            _ => error.help("write a number like 10"),
        }
        .into())
    }

    fn text(self, expected: &str) -> Result<&'r str, ReadError> {
        let error = match &self.value.data {
            Data::Text(text) => return Ok(text),
            Data::Template(_) => self.expected(expected),
            Data::List(elements) => match &elements[..] {
                [_] => self.expected(expected).help("write it without parentheses"),
                _ => self.expected(expected).help("write a single string"),
            },
            Data::Dict(_) => self.expected(expected).help("write a single string"),
            Data::Bool(_) | Data::Int(_) | Data::Size(_) | Data::Duration(_) => {
                self.expected(expected).help("put it in quotes")
            }
        };
        Err(error.into())
    }

    pub(super) fn not_a_list(self) -> Diagnostic {
        let error = self.expected("a list");
        match &self.value.data {
            Data::Dict(_) => error.help("lists are written ( , )"),
            Data::Text(text) => error.help(format!("write ({})", quote(text))),
            Data::Int(int) => error.help(format!("write ({int})")),
            _ => error.help("write it in parentheses: ( , )"),
        }
    }

    fn duration<'de, V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        let error = match &self.value.data {
            Data::Duration(duration) => {
                let parts = [duration.as_secs(), u64::from(duration.subsec_nanos())];
                let parts = de::value::SeqDeserializer::<_, ReadError>::new(parts.into_iter());
                return visitor.visit_seq(parts).map_err(|error| error.at(self.value));
            }
            Data::Text(text) if matches!(parse_number(text), Ok(Number::Duration(_))) => {
                self.expected("a duration like 30s").help(format!("write {text} without quotes"))
            }
            Data::Int(int) => self
                .expected("a duration like 30s")
                .help(format!("add a unit (ms s m h d): did you mean {int}s?")),
            _ => self.expected("a duration like 30s").help("units are ms s m h d"),
        };
        Err(error.into())
    }

    fn size<'de, V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        let expected = "a size like 16K";
        let bytes = match &self.value.data {
            Data::Size(bytes) => Ok(*bytes),
            Data::Int(int) => u64::try_from(*int)
                .map_err(|_| self.expected(expected).help("a size cannot be negative")),
            Data::Text(text) if matches!(parse_number(text), Ok(Number::Size(_))) => {
                Err(self.expected(expected).help(format!("write {text} without quotes")))
            }
            _ => Err(self.expected(expected).help("units are K M G T")),
        };
        visitor.visit_u64(bytes?).map_err(|error: ReadError| error.at(self.value))
    }

    fn reference<'de, V: Visitor<'de>>(
        self,
        kind: &'static str,
        visitor: V,
    ) -> Result<V::Value, ReadError> {
        self.text(&format!("the name of a {kind}"))?;
        visitor.visit_seq(WithSpan { value: self, step: 0 })
    }

    fn template<'de, V: Visitor<'de>>(
        self,
        known: &[&str],
        visitor: V,
    ) -> Result<V::Value, ReadError> {
        let sources = self.reading.scope.tree().sources();
        if let Some(error) = variable_in_quotes(sources, self.value.span, known) {
            return Err(error.into());
        }
        let parts = match &self.value.data {
            Data::Template(parts) => &parts[..],
            _ => {
                let text = self.text("a string")?;
                return visitor.visit_str(text).map_err(|error: ReadError| error.at(self.value));
            }
        };
        // Texts and variables take turns, so that the other side can tell them apart.
        let mut turns: Vec<(Span, Cow<'_, str>)> = Vec::new();
        for part in parts {
            let variable_next = turns.len() % 2 == 1;
            match (part, variable_next) {
                (Part::Text(text), true) => {
                    if let Some((_, before)) = turns.last_mut() {
                        before.to_mut().push_str(&text.text);
                    }
                }
                (Part::Variable(name), false) => {
                    turns.push((name.span, "".into()));
                    turns.push((name.span, (&*name.text).into()));
                }
                (Part::Text(text) | Part::Variable(text), _) => {
                    turns.push((text.span, (&*text.text).into()));
                }
            }
        }
        let mut seen = 0;
        let elements = turns.iter().inspect(|_| seen += 1).map(|(_, text)| &**text);
        let result = visitor.visit_seq(de::value::SeqDeserializer::<_, ReadError>::new(elements));
        result.map_err(|error| match (error, turns.get(seen.max(1) - 1)) {
            (ReadError::Unknown { given, known }, Some((span, _))) => {
                unknown_variable_of(&given, known, *span).into()
            }
            (error, _) => error.at(self.value),
        })
    }

    fn entries<'de, V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        match &self.value.data {
            Data::Dict(entries) => visitor
                .visit_map(Entries { dict: self, entries: entries.iter(), next: None })
                .map_err(|error| error.at(self.value)),
            _ => Err(self.expected("a dict").help("dicts are written [ \"key\": value ]").into()),
        }
    }
}

impl<'de> Deserializer<'de> for ValueDe<'_, '_> {
    type Error = ReadError;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        let result = match &self.value.data {
            Data::Bool(value) => visitor.visit_bool(*value),
            Data::Int(int) => visitor.visit_i64(*int),
            Data::Size(bytes) => visitor.visit_u64(*bytes),
            Data::Duration(_) => self.duration(visitor),
            Data::Text(text) => visitor.visit_str(text),
            Data::Template(_) => Err(ReadError::Expected("a string".into())),
            Data::List(_) => return self.deserialize_seq(visitor),
            Data::Dict(_) => return self.entries(visitor),
        };
        result.map_err(|error| error.at(self.value))
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        let error = self.expected("true or false");
        let error = match &self.value.data {
            Data::Bool(value) => {
                return visitor.visit_bool(*value).map_err(|e: ReadError| e.at(self.value));
            }
            Data::Text(text) if text == "true" || text == "false" => {
                error.help(format!("write {text} without quotes"))
            }
            _ => error.help("write true or false"),
        };
        Err(error.into())
    }

    integers! {
        deserialize_i8 visit_i8 i8,
        deserialize_i16 visit_i16 i16,
        deserialize_i32 visit_i32 i32,
        deserialize_i64 visit_i64 i64,
        deserialize_i128 visit_i128 i128,
        deserialize_u8 visit_u8 u8,
        deserialize_u16 visit_u16 u16,
        deserialize_u32 visit_u32 u32,
        deserialize_u64 visit_u64 u64,
        deserialize_u128 visit_u128 u128,
    }

    fn deserialize_f32<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        self.deserialize_f64(visitor)
    }

    fn deserialize_f64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        let int = self.integer(i128::from(i64::MIN), i128::from(i64::MAX))?;
        visitor.visit_f64(int as f64).map_err(|error: ReadError| error.at(self.value))
    }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        let text = self.text("a string")?;
        visitor.visit_str(text).map_err(|error: ReadError| error.at(self.value))
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        self.deserialize_str(visitor)
    }

    fn deserialize_bytes<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        let text = self.text("a string")?;
        visitor.visit_bytes(text.as_bytes()).map_err(|error: ReadError| error.at(self.value))
    }

    fn deserialize_byte_buf<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        self.deserialize_bytes(visitor)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        visitor.visit_some(self).map_err(|error| error.at(self.value))
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        visitor: V,
    ) -> Result<V::Value, ReadError> {
        match name {
            SIZE => self.size(visitor),
            _ => visitor.visit_newtype_struct(self).map_err(|error| error.at(self.value)),
        }
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        let result = match &self.value.data {
            Data::List(elements) => {
                visitor.visit_seq(Elements { list: self, elements: elements.iter() })
            }
            Data::Dict(entries) => visitor.visit_seq(Pairs { dict: self, entries: entries.iter() }),
            _ => Err(self.not_a_list().into()),
        };
        result.map_err(|error| error.at(self.value))
    }

    fn deserialize_tuple<V: Visitor<'de>>(
        self,
        _: usize,
        visitor: V,
    ) -> Result<V::Value, ReadError> {
        match &self.value.data {
            Data::List(_) => self.deserialize_seq(visitor),
            _ => Err(self.not_a_list().into()),
        }
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        length: usize,
        visitor: V,
    ) -> Result<V::Value, ReadError> {
        self.deserialize_tuple(length, visitor)
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        self.entries(visitor)
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, ReadError> {
        match (name, fields) {
            (DURATION, ["secs", "nanos"]) => self.duration(visitor),
            (REF, [kind]) => self.reference(kind, visitor),
            (SPANNED, _) => visitor.visit_seq(WithSpan { value: self, step: 0 }),
            (TEMPLATE, known) => self.template(known, visitor),
            (SEVERAL, _) => match &self.value.data {
                Data::List(_) => self.deserialize_seq(visitor),
                _ => {
                    let one = std::slice::from_ref(self.value).iter();
                    visitor.visit_seq(Elements { list: self, elements: one })
                }
            },
            _ => {
                if let Data::Dict(entries) = &self.value.data
                    && let Some((key, _)) =
                        entries.iter().find(|(key, _)| !fields.contains(&&*key.text))
                {
                    return Err(unknown_word(key.span, &key.text, fields).into());
                }
                self.entries(visitor)
            }
        }
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, ReadError> {
        let all: Vec<_> = variants.iter().map(|variant| quote(variant)).collect();
        let text = self.text(&format!("one of {}", all.join(", ")))?;
        visitor.visit_enum(Word(text)).map_err(|error| error.at(self.value))
    }

    fn deserialize_identifier<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        self.deserialize_str(visitor)
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        visitor.visit_unit()
    }

    serde::forward_to_deserialize_any! { char unit unit_struct }
}
