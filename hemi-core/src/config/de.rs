//! Properties to typed structs.
//!
//! serde hands a deserializer the names of a struct's fields. That is all inheritance needs: each
//! name is looked up on the component and then outwards, whatever the struct is.
use std::{cell::RefCell, fmt};

use serde::de::{
    self, DeserializeOwned, DeserializeSeed, Deserializer, EnumAccess, Expected, IntoDeserializer,
    MapAccess, SeqAccess, VariantAccess, Visitor,
};

use super::{
    diagnostic::{Diagnostic, Diagnostics, suggest},
    literal::{Number, parse_number, quote, show_size},
    source::Span,
    template::unknown_variable_of,
    tree::{Property, Reference, Scope},
    value::{Data, Part, Text, Value},
};

/// Names under which our own types ask for what serde has no word for.
pub(super) const SIZE: &str = "$hemi::Size";
pub(super) const REF: &str = "$hemi::Ref";
pub(super) const SPANNED: &str = "$hemi::Spanned";
pub(super) const TEMPLATE: &str = "$hemi::Template";

/// What [`std::time::Duration`] asks for.
const DURATION: &str = "Duration";

/// Reads typed properties of a component.
pub(super) fn read<T: DeserializeOwned>(scope: Scope<'_>) -> Result<T, Diagnostics> {
    let reading = Reading { scope, bad: RefCell::default(), references: RefCell::default() };
    // serde stops at the first bad property. It is noted and left out of the next attempt, until an
    // attempt reaches the end.
    let result = loop {
        reading.references.borrow_mut().clear();
        match T::deserialize(ScopeDe(&reading)) {
            Err(ReadError::Noted) => {}
            result => break result,
        }
    };
    scope.record(reading.references.into_inner());
    let bad = reading.bad.into_inner();
    let mut errors = Diagnostics::default();
    let missing = match &result {
        Err(ReadError::Missing(field)) => bad.iter().any(|(name, _)| name == field),
        _ => false,
    };
    errors.extend(bad.into_iter().map(|(_, error)| error));
    match result {
        Ok(value) if errors.is_empty() => return Ok(value),
        Ok(_) => {}
        // Not missing: bad.
        Err(_) if missing => {}
        Err(error) => errors.push(error.of_component(scope)),
    }
    Err(errors)
}

/// One call of [`read`].
struct Reading<'a> {
    scope: Scope<'a>,
    /// Properties with bad values.
    bad: RefCell<Vec<(&'static str, Diagnostic)>>,
    references: RefCell<Vec<Reference>>,
}

/// Why reading failed; what serde reports has no place at first.
#[derive(Debug)]
enum ReadError {
    /// In [`Reading::bad`].
    Noted,
    Placed(Box<Diagnostic>),
    Message(String),
    /// A value of another type than this.
    Expected(String),
    Unknown {
        given: String,
        known: &'static [&'static str],
    },
    Missing(&'static str),
}

impl ReadError {
    /// Gives an error that comes from within a value its place.
    fn at(self, value: &Value) -> Self {
        let Value { span, data } = value;
        let error = match self {
            Self::Noted | Self::Placed(_) => return self,
            Self::Message(message) => Diagnostic::new(*span, message),
            Self::Expected(expected) => expected_but(value, &expected),
            Self::Unknown { given, known } => unknown_word(*span, &given, known),
            Self::Missing(key) => Diagnostic::new(*span, format!("{data} lacks the key \"{key}\""))
                .help(format!("add \"{key}\": value")),
        };
        error.into()
    }

    /// An error outside any value.
    fn of_component(self, scope: Scope<'_>) -> Diagnostic {
        match self {
            Self::Placed(error) => *error,
            Self::Missing(name) => {
                let message = format!("`{}` needs the property `.{name}`", scope.sign());
                scope.diagnostic(message).help(format!("add `.{name} = …`"))
            }
            Self::Noted => scope.diagnostic("a property is bad"),
            Self::Message(message) | Self::Expected(message) => scope.diagnostic(message),
            Self::Unknown { given, .. } => scope.diagnostic(format!("unknown `{given}`")),
        }
    }
}

impl From<Diagnostic> for ReadError {
    fn from(error: Diagnostic) -> Self {
        Self::Placed(Box::new(error))
    }
}

impl fmt::Display for ReadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Placed(error) => f.write_str(&error.message),
            Self::Message(message) | Self::Expected(message) => f.write_str(message),
            Self::Unknown { given, .. } => write!(f, "unknown `{given}`"),
            Self::Missing(name) => write!(f, "missing `{name}`"),
            Self::Noted => f.write_str("a property is bad"),
        }
    }
}

impl std::error::Error for ReadError {}

impl de::Error for ReadError {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self::Message(message.to_string())
    }

    fn invalid_type(_: de::Unexpected<'_>, expected: &dyn Expected) -> Self {
        Self::Expected(expected.to_string())
    }

    fn invalid_value(_: de::Unexpected<'_>, expected: &dyn Expected) -> Self {
        Self::Expected(expected.to_string())
    }

    fn invalid_length(length: usize, expected: &dyn Expected) -> Self {
        Self::Message(format!("expected {expected}, found {length}"))
    }

    fn unknown_variant(given: &str, known: &'static [&'static str]) -> Self {
        Self::Unknown { given: given.to_owned(), known }
    }

    fn missing_field(field: &'static str) -> Self {
        Self::Missing(field)
    }
}

fn expected_but(value: &Value, expected: &str) -> Diagnostic {
    let Value { span, data } = value;
    if let Data::Template(parts) = data {
        let variable = parts.iter().find_map(|part| match part {
            Part::Variable(name) => Some(name),
            Part::Text(_) => None,
        });
        if let Some(Text { span, text }) = variable {
            return Diagnostic::new(*span, format!("the variable `${text}` is not allowed here"))
                .help(format!("write {expected} without variables"));
        }
    }
    Diagnostic::new(*span, format!("expected {expected}, found {data}"))
}

fn unknown_word(span: Span, given: &str, known: &[&str]) -> Diagnostic {
    let all: Vec<_> = known.iter().map(|word| quote(word)).collect();
    let all = all.join(", ");
    let help = match (suggest(given, known.iter().copied()), known) {
        (Some(close), _) => format!("did you mean {}? It may be {all}", quote(close)),
        (None, [_]) => format!("it can only be {all}"),
        (None, _) => format!("it may be {all}"),
    };
    Diagnostic::new(span, format!("{} is not known here", quote(given))).help(help)
}

/// A component as a struct, or as a tuple of structs.
#[derive(Clone, Copy)]
struct ScopeDe<'r, 'a>(&'r Reading<'a>);

impl<'de> Deserializer<'de> for ScopeDe<'_, '_> {
    type Error = ReadError;

    fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, ReadError> {
        // `#[serde(flatten)]` ends here: it hides the names of the fields.
        Err(ReadError::Message("properties are read into a struct, or a tuple of structs".into()))
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, ReadError> {
        let Reading { scope, bad, .. } = self.0;
        let found = fields.iter().filter_map(|&name| {
            let property = scope.take(name)?;
            let known_bad = bad.borrow().iter().any(|(bad, _)| *bad == name);
            (!known_bad).then_some((name, property))
        });
        let found: Vec<_> = found.collect();
        visitor.visit_map(Properties { reading: self.0, found: found.into_iter(), next: None })
    }

    fn deserialize_tuple<V: Visitor<'de>>(
        self,
        length: usize,
        visitor: V,
    ) -> Result<V::Value, ReadError> {
        visitor.visit_seq(Groups { scope: self, left: length })
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        length: usize,
        visitor: V,
    ) -> Result<V::Value, ReadError> {
        visitor.visit_seq(Groups { scope: self, left: length })
    }

    fn deserialize_unit<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        visitor.visit_unit()
    }

    fn deserialize_unit_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, ReadError> {
        visitor.visit_unit()
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, ReadError> {
        visitor.visit_newtype_struct(self)
    }

    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option
        seq map enum identifier ignored_any
    }
}

/// The properties of a component that a struct has fields for.
struct Properties<'r, 'a> {
    reading: &'r Reading<'a>,
    found: std::vec::IntoIter<(&'static str, &'a Property)>,
    next: Option<(&'static str, &'a Property)>,
}

impl<'de> MapAccess<'de> for Properties<'_, '_> {
    type Error = ReadError;

    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, ReadError> {
        self.next = self.found.next();
        self.next.map(|(name, _)| seed.deserialize(name.into_deserializer())).transpose()
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, ReadError> {
        let Some((name, property)) = self.next.take() else {
            return Err(ReadError::Message("a value without a key".into()));
        };
        let value = ValueDe { reading: self.reading, value: &property.value };
        seed.deserialize(value).map_err(|error| match error.at(&property.value) {
            ReadError::Placed(error) => {
                self.reading.bad.borrow_mut().push((name, *error));
                ReadError::Noted
            }
            error => error,
        })
    }
}

/// Several structs that are read from the same component.
struct Groups<'r, 'a> {
    scope: ScopeDe<'r, 'a>,
    left: usize,
}

impl<'de> SeqAccess<'de> for Groups<'_, '_> {
    type Error = ReadError;

    fn next_element_seed<S: DeserializeSeed<'de>>(
        &mut self,
        seed: S,
    ) -> Result<Option<S::Value>, ReadError> {
        let Some(left) = self.left.checked_sub(1) else { return Ok(None) };
        self.left = left;
        seed.deserialize(self.scope).map(Some)
    }
}

/// One value.
#[derive(Clone, Copy)]
struct ValueDe<'r, 'a> {
    reading: &'r Reading<'a>,
    value: &'r Value,
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
    fn with(self, value: &'r Value) -> Self {
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

    fn not_a_list(self) -> Diagnostic {
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
        let name = self.text(&format!("the name of a {kind}"))?.to_owned();
        let span = self.value.span;
        self.reading.references.borrow_mut().push(Reference { kind, name, span });
        visitor.visit_seq(WithSpan { value: self, step: 0 })
    }

    fn template<'de, V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        let parts = match &self.value.data {
            Data::Template(parts) => &parts[..],
            _ => {
                let text = self.text("a string")?;
                return visitor.visit_str(text).map_err(|error: ReadError| error.at(self.value));
            }
        };
        // Texts and variables take turns, so that the other side can tell them apart.
        let mut turns: Vec<(Span, std::borrow::Cow<'_, str>)> = Vec::new();
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
            (TEMPLATE, _) => self.template(visitor),
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

/// A span as three numbers, and then the value there.
struct WithSpan<'r, 'a> {
    value: ValueDe<'r, 'a>,
    step: u8,
}

impl<'de> SeqAccess<'de> for WithSpan<'_, '_> {
    type Error = ReadError;

    fn next_element_seed<S: DeserializeSeed<'de>>(
        &mut self,
        seed: S,
    ) -> Result<Option<S::Value>, ReadError> {
        let Span { file, start, end } = self.value.value.span;
        self.step += 1;
        match self.step {
            1 => seed.deserialize(file.into_deserializer()).map(Some),
            2 => seed.deserialize(start.into_deserializer()).map(Some),
            3 => seed.deserialize(end.into_deserializer()).map(Some),
            4 => seed.deserialize(self.value).map(Some),
            _ => Ok(None),
        }
    }
}

/// The other end of [`WithSpan`].
pub(super) fn spanned<'de, A: SeqAccess<'de>, T: de::Deserialize<'de>>(
    mut seq: A,
) -> Result<(Span, T), A::Error> {
    let missing = || de::Error::custom("a span can only be read from a config");
    let mut number = || seq.next_element::<u32>()?.ok_or_else(missing);
    let span = Span { file: number()?, start: number()?, end: number()? };
    let value = seq.next_element()?.ok_or_else(missing)?;
    Ok((span, value))
}

struct Elements<'r, 'a> {
    list: ValueDe<'r, 'a>,
    elements: std::slice::Iter<'r, Value>,
}

impl<'de> SeqAccess<'de> for Elements<'_, '_> {
    type Error = ReadError;

    fn next_element_seed<S: DeserializeSeed<'de>>(
        &mut self,
        seed: S,
    ) -> Result<Option<S::Value>, ReadError> {
        let Some(value) = self.elements.next() else { return Ok(None) };
        seed.deserialize(self.list.with(value)).map(Some).map_err(|error| error.at(value))
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.elements.len())
    }
}

/// A dict as a list of pairs, for those who want its order.
struct Pairs<'r, 'a> {
    dict: ValueDe<'r, 'a>,
    entries: std::slice::Iter<'r, (Text, Value)>,
}

impl<'de> SeqAccess<'de> for Pairs<'_, '_> {
    type Error = ReadError;

    fn next_element_seed<S: DeserializeSeed<'de>>(
        &mut self,
        seed: S,
    ) -> Result<Option<S::Value>, ReadError> {
        let Some((key, value)) = self.entries.next() else { return Ok(None) };
        seed.deserialize(PairDe { dict: self.dict, key, value }).map(Some)
    }
}

struct PairDe<'r, 'a> {
    dict: ValueDe<'r, 'a>,
    key: &'r Text,
    value: &'r Value,
}

impl<'de> Deserializer<'de> for PairDe<'_, '_> {
    type Error = ReadError;

    fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, ReadError> {
        Err(self.dict.not_a_list().into())
    }

    fn deserialize_tuple<V: Visitor<'de>>(
        self,
        _: usize,
        visitor: V,
    ) -> Result<V::Value, ReadError> {
        let key = Value { span: self.key.span, data: Data::Text(self.key.text.clone()) };
        let pair = [&key, self.value];
        visitor.visit_seq(PairElements { dict: self.dict, pair: pair.into_iter() })
    }

    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option
        unit unit_struct newtype_struct seq tuple_struct map struct enum identifier ignored_any
    }
}

struct PairElements<'r, 'a, 'v> {
    dict: ValueDe<'r, 'a>,
    pair: std::array::IntoIter<&'v Value, 2>,
}

impl<'de> SeqAccess<'de> for PairElements<'_, '_, '_> {
    type Error = ReadError;

    fn next_element_seed<S: DeserializeSeed<'de>>(
        &mut self,
        seed: S,
    ) -> Result<Option<S::Value>, ReadError> {
        let Some(value) = self.pair.next() else { return Ok(None) };
        let element = ValueDe { reading: self.dict.reading, value };
        seed.deserialize(element).map(Some).map_err(|error| error.at(value))
    }
}

struct Entries<'r, 'a> {
    dict: ValueDe<'r, 'a>,
    entries: std::slice::Iter<'r, (Text, Value)>,
    next: Option<&'r Value>,
}

impl<'de> MapAccess<'de> for Entries<'_, '_> {
    type Error = ReadError;

    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, ReadError> {
        let Some((key, value)) = self.entries.next() else { return Ok(None) };
        self.next = Some(value);
        let key = Value { span: key.span, data: Data::Text(key.text.clone()) };
        let de = ValueDe { reading: self.dict.reading, value: &key };
        seed.deserialize(de).map(Some).map_err(|error| error.at(&key))
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, ReadError> {
        let Some(value) = self.next.take() else {
            return Err(ReadError::Message("a value without a key".into()));
        };
        seed.deserialize(self.dict.with(value)).map_err(|error| error.at(value))
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.entries.len())
    }
}

/// A string as a variant without content.
struct Word<'t>(&'t str);

impl<'de> EnumAccess<'de> for Word<'_> {
    type Error = ReadError;
    type Variant = Self;

    fn variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<(S::Value, Self), ReadError> {
        let variant = de::value::StrDeserializer::<ReadError>::new(self.0);
        Ok((seed.deserialize(variant)?, self))
    }
}

impl<'de> VariantAccess<'de> for Word<'_> {
    type Error = ReadError;

    fn unit_variant(self) -> Result<(), ReadError> {
        Ok(())
    }

    fn newtype_variant_seed<S: DeserializeSeed<'de>>(self, _: S) -> Result<S::Value, ReadError> {
        Err(has_content(self.0))
    }

    fn tuple_variant<V: Visitor<'de>>(self, _: usize, _: V) -> Result<V::Value, ReadError> {
        Err(has_content(self.0))
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        _: &'static [&'static str],
        _: V,
    ) -> Result<V::Value, ReadError> {
        Err(has_content(self.0))
    }
}

fn has_content(word: &str) -> ReadError {
    ReadError::Message(format!("{} cannot be written in a config: it has content", quote(word)))
}
