//! The parameters of a path, as serde sees them.

use std::borrow::Cow;
use std::fmt;

use serde::de::value::StrDeserializer;
use serde::de::{
    self, DeserializeOwned, DeserializeSeed, Deserializer, IntoDeserializer, MapAccess, SeqAccess,
    Visitor,
};
use serde::forward_to_deserialize_any;

/// A name and a value, decoded.
pub(super) type Pair<'a> = (Cow<'a, str>, Cow<'a, str>);

/// A value from the parameters of a path: a struct or map takes them by name, a tuple or list in their
/// order, and all else the only one.
pub(super) fn from_params<T: DeserializeOwned>(params: &[Pair<'_>]) -> Result<T, Error> {
    T::deserialize(Params(params))
}

/// Why text is no such value.
#[derive(Debug)]
pub(super) struct Error {
    message: String,
    /// No text at all would be, for the parameters are not those that are asked for.
    pub(super) misfit: bool,
}

impl Error {
    fn misfit(message: impl fmt::Display) -> Self {
        Self { message: message.to_string(), misfit: true }
    }

    /// The same about the parameter of this name.
    fn of(self, name: &str) -> Self {
        Self { message: format!("`{name}`: {}", self.message), ..self }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Error {}

impl de::Error for Error {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self { message: message.to_string(), misfit: false }
    }

    fn missing_field(name: &'static str) -> Self {
        Self::misfit(format_args!("the route has no parameter `{name}`"))
    }

    fn invalid_type(unexpected: de::Unexpected<'_>, expected: &dyn de::Expected) -> Self {
        Self::misfit(format_args!("a parameter is {unexpected}, not {expected}"))
    }
}

struct Params<'a>(&'a [Pair<'a>]);

impl<'a> Params<'a> {
    fn only(self) -> Result<Value<'a>, Error> {
        match self.0 {
            [(_, value)] => Ok(Value(value)),
            others => Err(Error::misfit(format_args!("the route has {} parameters", others.len()))),
        }
    }
}

macro_rules! of_the_only {
    ($($method:ident)+) => {
        $(fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
            self.only()?.$method(visitor)
        })+
    };
}

impl<'de> Deserializer<'de> for Params<'_> {
    type Error = Error;

    of_the_only! {
        deserialize_any deserialize_bool deserialize_i8 deserialize_i16 deserialize_i32 deserialize_i64
        deserialize_i128 deserialize_u8 deserialize_u16 deserialize_u32 deserialize_u64 deserialize_u128
        deserialize_f32 deserialize_f64 deserialize_char deserialize_str deserialize_string
        deserialize_bytes deserialize_byte_buf deserialize_identifier deserialize_option
        deserialize_ignored_any
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_map(Each(self.0))
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        self.deserialize_map(visitor)
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_seq(Each(self.0))
    }

    fn deserialize_tuple<V: Visitor<'de>>(self, len: usize, visitor: V) -> Result<V::Value, Error> {
        match self.0.len() {
            here if here == len => self.deserialize_seq(visitor),
            here => Err(Error::misfit(format_args!("the route has {here} parameters, not {len}"))),
        }
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        len: usize,
        visitor: V,
    ) -> Result<V::Value, Error> {
        self.deserialize_tuple(len, visitor)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Error> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_unit<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_unit()
    }

    fn deserialize_unit_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Error> {
        visitor.visit_unit()
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        self.only()?.deserialize_enum(name, variants, visitor)
    }
}

/// Parameters one after the other, with their names or without.
struct Each<'a>(&'a [Pair<'a>]);

impl<'a> Each<'a> {
    fn value<'de, T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, Error> {
        let Some(((name, value), rest)) = self.0.split_first() else { return Ok(None) };
        self.0 = rest;
        seed.deserialize(Value(value)).map(Some).map_err(|e| e.of(name))
    }
}

impl<'de> MapAccess<'de> for Each<'_> {
    type Error = Error;

    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, Error> {
        let Some((name, _)) = self.0.first() else { return Ok(None) };
        seed.deserialize(Value(name)).map(Some)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Error> {
        self.value(seed)?.ok_or_else(|| Error::misfit("there are no more parameters"))
    }
}

impl<'de> SeqAccess<'de> for Each<'_> {
    type Error = Error;

    fn next_element_seed<T: DeserializeSeed<'de>>(
        &mut self,
        seed: T,
    ) -> Result<Option<T::Value>, Error> {
        self.value(seed)
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.0.len())
    }
}

struct Value<'a>(&'a str);

macro_rules! parsed {
    ($($method:ident $visit:ident $what:literal)+) => {
        $(fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
            let wrong = |_| <Error as de::Error>::custom(concat!("it is not ", $what));
            visitor.$visit(self.0.parse().map_err(wrong)?)
        })+
    };
}

impl<'de> Deserializer<'de> for Value<'_> {
    type Error = Error;

    parsed! {
        deserialize_bool visit_bool "true or false"
        deserialize_i8 visit_i8 "an integer of the range"
        deserialize_i16 visit_i16 "an integer of the range"
        deserialize_i32 visit_i32 "an integer of the range"
        deserialize_i64 visit_i64 "an integer of the range"
        deserialize_i128 visit_i128 "an integer of the range"
        deserialize_u8 visit_u8 "a whole number of the range"
        deserialize_u16 visit_u16 "a whole number of the range"
        deserialize_u32 visit_u32 "a whole number of the range"
        deserialize_u64 visit_u64 "a whole number of the range"
        deserialize_u128 visit_u128 "a whole number of the range"
        deserialize_f32 visit_f32 "a number"
        deserialize_f64 visit_f64 "a number"
        deserialize_char visit_char "a single character"
    }

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_str(self.0)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_some(self)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Error> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        let value: StrDeserializer<'_, Error> = self.0.into_deserializer();
        value.deserialize_enum(name, variants, visitor)
    }

    forward_to_deserialize_any! {
        str string bytes byte_buf identifier ignored_any unit unit_struct seq tuple tuple_struct map
        struct
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use serde::Deserialize;

    use super::*;

    fn read<T: DeserializeOwned>(params: &[(&str, &str)]) -> Result<T, Error> {
        let params: Vec<_> = params.iter().map(|(n, v)| ((*n).into(), (*v).into())).collect();
        from_params(&params)
    }

    #[derive(Debug, Deserialize, PartialEq)]
    #[serde(rename_all = "lowercase")]
    enum Choice {
        This,
        That,
    }

    #[derive(Debug, Deserialize, PartialEq)]
    struct Wrapped(f64);

    #[derive(Debug, Deserialize, PartialEq)]
    struct Named {
        b: Wrapped,
        a: Choice,
        c: Option<char>,
    }

    const GIVEN: &[(&str, &str)] = &[("a", "that"), ("b", "1.5")];

    #[test]
    fn parameters_come_by_order_or_name() {
        assert_eq!(read::<(Choice, Wrapped)>(GIVEN).unwrap(), (Choice::That, Wrapped(1.5)));
        let named = Named { b: Wrapped(1.5), a: Choice::That, c: None };
        assert_eq!(read::<Named>(GIVEN).unwrap(), named);
        assert_eq!(read::<Vec<String>>(GIVEN).unwrap(), ["that", "1.5"]);
        assert_eq!(read::<HashMap<String, String>>(GIVEN).unwrap()["b"], "1.5");
        assert_eq!(read::<Wrapped>(&GIVEN[1..]).unwrap(), Wrapped(1.5));
        assert_eq!(read::<Choice>(&[("x", "this")]).unwrap(), Choice::This);
        assert_eq!(read::<i8>(&[("x", "-128")]).unwrap(), -128);
        assert!(read::<bool>(&[("x", "true")]).unwrap());
    }

    #[test]
    fn a_bad_value_is_told_from_a_bad_program() {
        let bad = |e: Error| if e.misfit { String::new() } else { e.message };
        assert_eq!(
            bad(read::<u8>(&[("x", "256")]).unwrap_err()),
            "it is not a whole number of the range"
        );
        assert_eq!(
            bad(read::<(char, u8)>(GIVEN).unwrap_err()),
            "`a`: it is not a single character"
        );
        assert!(bad(read::<Choice>(&[("x", "other")]).unwrap_err()).contains("other"));
        assert!(read::<u8>(GIVEN).unwrap_err().misfit);
        assert!(read::<u8>(&[]).unwrap_err().misfit);
        assert!(read::<(String, String, String)>(GIVEN).unwrap_err().misfit);
        assert!(read::<HashMap<String, Vec<u8>>>(GIVEN).unwrap_err().misfit);
        #[derive(Debug, Deserialize)]
        #[expect(dead_code, reason = "it can't be read")]
        struct Other {
            z: String,
        }
        assert!(read::<Other>(GIVEN).unwrap_err().misfit);
    }
}
