//! Lists, dicts and words, element by element.
use serde::de::{
    self, DeserializeSeed, Deserializer, EnumAccess, IntoDeserializer, MapAccess, SeqAccess,
    VariantAccess, Visitor,
};

use super::{error::ReadError, value::ValueDe};
use crate::config::{
    Span,
    literal::quote,
    value::{Data, Text, Value},
};

/// A span as three numbers, and then the value there.
pub(super) struct WithSpan<'r, 'a> {
    pub(super) value: ValueDe<'r, 'a>,
    pub(super) step: u8,
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
pub(in crate::config) fn spanned<'de, A: SeqAccess<'de>, T: de::Deserialize<'de>>(
    mut seq: A,
) -> Result<(Span, T), A::Error> {
    let missing = || de::Error::custom("a span can only be read from a config");
    let mut number = || seq.next_element::<u32>()?.ok_or_else(missing);
    let span = Span { file: number()?, start: number()?, end: number()? };
    let value = seq.next_element()?.ok_or_else(missing)?;
    Ok((span, value))
}

pub(super) struct Elements<'r, 'a> {
    pub(super) list: ValueDe<'r, 'a>,
    pub(super) elements: std::slice::Iter<'r, Value>,
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
pub(super) struct Pairs<'r, 'a> {
    pub(super) dict: ValueDe<'r, 'a>,
    pub(super) entries: std::slice::Iter<'r, (Text, Value)>,
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

pub(super) struct Entries<'r, 'a> {
    pub(super) dict: ValueDe<'r, 'a>,
    pub(super) entries: std::slice::Iter<'r, (Text, Value)>,
    pub(super) next: Option<&'r Value>,
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
pub(super) struct Word<'t>(pub(super) &'t str);

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
